package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"onecard/fault"
	"onecard/terminal"
)

// The tests of this file go through the real pcscd: `onecard sim card` in vpcd's
// reader, onecardd with kind = "pcsc". scripts/pcsc-namespace makes the stack.

func pcscStack(t testing.TB) {
	t.Helper()
	if os.Getenv("ONECARD_PCSC") == "" {
		t.Skip("no PC/SC stack: run under scripts/pcsc-namespace")
	}
}

// foreign runs somebody else's PC/SC program.
func foreign(t testing.TB, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("ONECARD_PCSC_REQUIRED") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	out, errs, status := finish(t, os.Environ(), path, args...)
	if status != 0 {
		t.Fatalf("%s %v: status %d\n%s%s", name, args, status, out, errs)
	}
	return out
}

// pcscd stops, starts or restarts the daemon of the namespace.
func pcscd(t testing.TB, verb string) {
	t.Helper()
	args := append(strings.Fields(os.Getenv("ONECARD_PCSCD")), verb)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("pcscd %s: %v\n%s", verb, err, out)
	}
}

// atVPCD starts one of these programs where vpcd can be reached, which may be
// another network than the test's.
func (c *counter) atVPCD(name string, args ...string) *program {
	c.Helper()
	path, err := exec.LookPath(name)
	c.must(err)
	line := append(append(strings.Fields(os.Getenv("ONECARD_VPCD_EXEC")), path), args...)
	return start(c.TB, c.dir, c.env, line[0], line[1:]...)
}

// insert puts a simulated card into the first reader.
func (c *counter) insert(image string) *program {
	c.Helper()
	card := c.atVPCD("onecard", "sim", "card", "--image", image, "--vpcd", os.Getenv("ONECARD_VPCD_ADDR"))
	c.cards = append(c.cards, card)
	return card
}

// first is the reader in which the cards of these tests are.
func first(s terminal.State) terminal.Reader {
	for _, r := range s.Readers {
		if r.Name == "Virtual PCD 00 00" {
			return r
		}
	}
	return terminal.Reader{}
}

func readyWith(version string) func(terminal.State) bool {
	return func(s terminal.State) bool {
		r := first(s)
		return r.State == terminal.ReaderReady && r.Card != nil && r.Card.Version == version
	}
}

func inState(state string) func(terminal.State) bool {
	return func(s terminal.State) bool { return first(s).State == state }
}

// pcscCounter is a counter with the PC/SC readers, and a card in the first.
func pcscCounter(t *testing.T) (c *counter, card *program) {
	pcscStack(t)
	c = newCounter(t, setup{config: hospital{"kind": "pcsc"}, before: func(c *counter) { card = c.insert("3.0") }})
	c.await(readyWith("3.00"))
	c.emptyAtEnd()
	return c, card
}

// emptyAtEnd takes the card out at the test's end and waits until that was seen:
// pcscd looks at a reader a few times a second and would take the next test's
// card for the same.
func (c *counter) emptyAtEnd() {
	c.Cleanup(func() {
		if c.Failed() {
			return
		}
		for _, card := range c.cards {
			select {
			case <-card.ended:
			default:
				c.must(card.stop())
			}
		}
		// The test's own context has ended.
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := c.client.Await(ctx, inState(terminal.ReaderEmpty)); err != nil {
			c.Error(err)
		}
	})
}

func TestPCSCVisit(t *testing.T) {
	c, _ := pcscCounter(t)
	out, _ := c.tool(0, "read", "--json")
	var doc terminal.IdentityDocument
	c.must(json.Unmarshal([]byte(out), &doc))
	if doc.Card.Version != "3.00" || doc.Holder == nil || doc.Holder.Name != "欧阳海燕" || !doc.Authenticated || doc.Commands > 7 {
		t.Errorf("%+v", doc)
	}
	out, errs, status := c.toolWith("123456\n", "read", "--file", "DF03EF07", "--pin-stdin", "--json")
	if status != 0 || !strings.Contains(out, "企业职工基本养老保险") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	// The second reader is empty, and that is no fault.
	if out, _ := c.tool(0, "doctor"); !strings.Contains(out, "ok     the smart-card service\nok     reader Virtual PCD 00 00\nok     reader Virtual PCD 00 01\n") {
		t.Error(out)
	}
	c.tool(0, "settle", "--file", c.visitFile(), "--yes")
	if day := c.journal(); day.Totals.Done != 1 {
		t.Errorf("%+v", day)
	}
	c.noneTwice(1)
}

// Another program lists the readers and reads the ATR while onecardd holds the
// card open, and may even talk to it.
func TestPCSCOthers(t *testing.T) {
	c, _ := pcscCounter(t)
	if list := foreign(t, "opensc-tool", "--list-readers"); !strings.Contains(list, "Virtual PCD 00 00") || !strings.Contains(list, "Virtual PCD 00 01") {
		t.Error(list)
	}
	atr := foreign(t, "opensc-tool", "--reader", "0", "--atr")
	if !strings.Contains(strings.ToLower(atr), "3b:6d:00:00:00:81:54:4c:96:86:84:51:01:00:03:56:76") {
		t.Error(atr)
	}
	if list := foreign(t, "pcsc_scan", "-r"); !strings.Contains(list, "Virtual PCD 00 00") {
		t.Error(list)
	}
	// It takes the ATR apart, too.
	if list := foreign(t, "pcsc_scan", "-n", "-c"); !strings.Contains(list, "3B 6D 00 00 00 81 54 4C 96 86 84 51 01 00 03 56 76") {
		t.Error(list)
	}
	// What it selected does not lead onecardd astray.
	foreign(t, "opensc-tool", "--reader", "0", "-s", "00A40000023F00")
	out, errs, status := c.toolWith("123456\n", "read", "--file", "DF03EF05", "--pin-stdin")
	if status != 0 || !strings.Contains(out, ": 242") {
		t.Errorf("after another program: status %d\n%s%s", status, out, errs)
	}
	// Its reset takes the PIN away: that is told, the card read anew, and
	// nothing is shown without the PIN.
	foreign(t, "opensc-tool", "--reader", "0", "--reset")
	_, errs, status = c.toolWith("", "read", "--file", "DF03EF05")
	if status != 1 || !strings.Contains(errs, string(fault.CardReset)) && !strings.Contains(errs, string(fault.PINRequired)) {
		t.Errorf("after another program's reset: status %d\n%s", status, errs)
	}
	c.await(func(s terminal.State) bool { return readyWith("3.00")(s) && !first(s).Card.PIN.Verified })
	c.tool(0, "read")
}

func TestPCSCHotPlug(t *testing.T) {
	c, card := pcscCounter(t)
	began := time.Now()
	c.must(card.kill())
	c.await(inState(terminal.ReaderEmpty))
	t.Logf("a card pulled out is known after %s", time.Since(began).Round(time.Millisecond))
	if _, errs := c.tool(1, "read"); !strings.Contains(errs, string(fault.NoCard)) {
		t.Error(errs)
	}
	began = time.Now()
	card = c.insert("2.0")
	c.await(readyWith("2.00"))
	t.Logf("another is started, put in and read after %s", time.Since(began).Round(time.Millisecond))
	c.must(card.stop())
	c.await(inState(terminal.ReaderEmpty))
}

func TestPCSCRestart(t *testing.T) {
	c, _ := pcscCounter(t)
	before := c.await(readyWith("3.00"))
	// In the middle of a visit, too.
	visit := c.tried()
	began := time.Now()
	pcscd(t, "restart")
	c.await(func(s terminal.State) bool {
		return readyWith("3.00")(s) && first(s).Card.Insertion != first(before).Card.Insertion
	})
	t.Logf("after a restart of pcscd the card is read again after %s", time.Since(began).Round(time.Millisecond))
	if _, err := c.client.Settle(t.Context(), visit.ID, agreedTo(visit)); err != nil {
		t.Error("the visit that was under way:", err)
	}
	c.noneTwice(1)

	pcscd(t, "stop")
	c.await(func(s terminal.State) bool {
		for _, h := range s.Health {
			if h.Name == terminal.HealthReader && !h.OK && h.Fault.Code == fault.SmartCardServiceDown {
				return true
			}
		}
		return false
	})
	if _, errs := c.tool(1, "read"); !strings.Contains(errs, string(fault.SmartCardServiceDown)) {
		t.Error(errs)
	}
	if out, _ := c.tool(1, "doctor"); !strings.Contains(out, "FAULT  the smart-card service") {
		t.Error(out)
	}
	pcscd(t, "start")
	c.await(readyWith("3.00"))
	c.tool(0, "read")
}

// TestPCSCTorn takes the card out in the middle of reading a file that the PIN
// has opened.
func TestPCSCTorn(t *testing.T) {
	pcscStack(t)
	var line *program
	c := newCounter(t, setup{config: hospital{"kind": "pcsc"}, before: func(c *counter) {
		line = c.atVPCD("torn-line", os.Getenv("ONECARD_VPCD_ADDR"))
		c.atVPCD("onecard", "sim", "card", "--image", "3.0", "--vpcd", line.where)
	}})
	c.await(readyWith("3.00"))
	c.emptyAtEnd()
	_, errs, status := c.toolWith("123456\n", "read", "--file", "DF03EF07", "--pin-stdin")
	if status != 1 || !strings.Contains(errs, string(fault.CardRemoved)) {
		t.Errorf("status %d\n%s\n%s", status, errs, line.printed())
	}
	c.await(inState(terminal.ReaderEmpty))
	if _, errs := c.tool(1, "read"); !strings.Contains(errs, string(fault.NoCard)) {
		t.Error(errs)
	}
	// The next card is read as if nothing had been.
	c.insert("1.0")
	c.await(readyWith("1.00"))
}

// TestPCSCTornWrite tears a card out while a file is written. When it is put in
// again, the write is ended before anything else: old or new, as a whole, and
// told in the log. Proving a key is two writes to a card's memory, so 7 to 9 are
// the three records of the file.
func TestPCSCTornWrite(t *testing.T) {
	pcscStack(t)
	for _, tear := range []string{"7:before", "7:during", "8:committed", "9:after"} {
		t.Run(tear, func(t *testing.T) {
			eeprom := filepath.Join(t.TempDir(), "card")
			insert := func(c *counter, more ...string) *program {
				card := c.atVPCD("onecard", append([]string{"sim", "card", "--image", "3.0", "--vpcd", os.Getenv("ONECARD_VPCD_ADDR"), "--eeprom", eeprom}, more...)...)
				c.cards = append(c.cards, card)
				return card
			}
			var torn *program
			c := newCounter(t, setup{config: hospital{"kind": "pcsc"}, before: func(c *counter) { torn = insert(c, "--tear-at", tear) }})
			c.await(readyWith("3.00"))
			c.emptyAtEnd()
			write := []string{"write", "--file", "DF03EF07", "--set", "71=330100", "--set", "73=2026-11-21", "--set", "6E=1998-07-02"}
			_, errs := c.tool(1, write...)
			if !strings.Contains(errs, string(fault.WriteUnfinished)) {
				t.Error(errs)
			}
			if tear != "7:during" { // there it comes back by itself
				c.must(torn.kill())
				insert(c)
			}
			c.must(c.daemon.says("a write that was torn was ended"))
			c.await(readyWith("3.00"))
			out, errs, status := c.toolWith("123456\n", "read", "--file", "DF03EF07", "--pin-stdin", "--json")
			if status != 0 {
				t.Fatal(errs)
			}
			news := 0
			for _, value := range []string{`"330100"`, `"2026-11-21"`, `"1998-07-02"`} {
				if strings.Contains(out, value) {
					news++
				}
			}
			if news != 0 && news != 3 {
				t.Errorf("%d of three values are new\n%s", news, out)
			}
			t.Logf("torn at %s: %d of 3 values are new", tear, news)
			// The same again is once, and nothing is left of it.
			c.tool(0, write...)
			if out, _ := c.tool(0, write...); !strings.Contains(out, "nothing to change") {
				t.Error(out)
			}
		})
	}
}

// tornLine is a program: the wire between a card and vpcd. Once a PIN has gone
// through, the card is taken out at the next READ RECORD.
func tornLine() int {
	err := func() error {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(listener.Addr())
		card, err := listener.Accept()
		if err != nil {
			return err
		}
		defer card.Close()
		listener.Close()
		vpcd, err := net.Dial("tcp", os.Args[1])
		if err != nil {
			return err
		}
		defer vpcd.Close()
		go io.Copy(vpcd, card)
		in, verified := bufio.NewReader(vpcd), false
		for {
			var length [2]byte
			if _, err := io.ReadFull(in, length[:]); err != nil {
				return err
			}
			frame := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(in, frame); err != nil {
				return err
			}
			if len(frame) > 5 && frame[1] == 0x20 {
				verified = true
			}
			if verified && len(frame) > 1 && frame[1] == 0xB2 {
				return nil
			}
			if _, err := card.Write(append(length[:], frame...)); err != nil {
				return err
			}
		}
	}()
	if err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
