package pcsc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ebfe/scard"
	"go.uber.org/goleak"

	"onecard/reader"
)

// The tests of this package use the real pcscd with vpcd's virtual readers, in
// the namespace of scripts/pcsc-namespace. The card on the far side of vpcd and
// the other program on the near side are made here.

func TestMain(m *testing.M) {
	switch os.Getenv("ONECARD_TEST_OTHER") {
	case "program":
		otherMain()
		return
	case "card":
		cardMain()
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	slot0 = "Virtual PCD 00 00"
	slot1 = "Virtual PCD 00 01"
)

// stack skips the test where the PC/SC stack is not there.
func stack(t testing.TB) {
	t.Helper()
	if os.Getenv("ONECARD_PCSC") == "1" && os.Getenv("ONECARD_VPCD_EXEC") == "" {
		return
	}
	const how = "needs the PC/SC stack: scripts/pcsc-namespace --private-net go test ./reader/pcsc"
	if os.Getenv("CI") == "true" && os.Getenv("ONECARD_PCSC_REQUIRED") == "1" {
		t.Fatal("FAIL: " + how)
	}
	t.Skip("SKIP: " + how)
}

// pcscd stops, starts or restarts the daemon.
func pcscd(t testing.TB, verb string) {
	t.Helper()
	args := append(strings.Fields(os.Getenv("ONECARD_PCSCD")), verb)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("pcscd %s: %v\n%s", verb, err, out)
	}
}

// A vcard is a card on the far side of vpcd. Answer is called for every command;
// where it returns nil the card takes itself out.
type vcard struct {
	atr    []byte
	answer func(command []byte) []byte
	mute   bool // no ATR once there is power

	conn net.Conn
	done chan struct{}

	mu       sync.Mutex
	commands [][]byte
	resets   int
	out      bool
	hold     chan struct{} // where not nil, answers wait for it
	arrived  chan struct{} // has one value as soon as a command has come
}

// insertMute puts a card into a slot of vpcd that gives no answer to reset. vpcd
// asks for the ATR to see whether a card is there, and waits for ever for one that
// is empty: this card answers, goes away when it gets power, and comes back before
// vpcd looks again.
func insertMute(t testing.TB, address string) *vcard {
	t.Helper()
	return put(t, address, &vcard{atr: unhex(t, atrA), mute: true})
}

// insert puts a card into a slot of vpcd.
func insert(t testing.TB, address string, atr string, answer func([]byte) []byte) *vcard {
	t.Helper()
	if answer == nil {
		answer = func(command []byte) []byte { return append(bytes.Clone(command), 0x90, 0x00) }
	}
	return put(t, address, &vcard{atr: unhex(t, atr), answer: answer})
}

func put(t testing.TB, address string, c *vcard) *vcard {
	t.Helper()
	c.done, c.arrived = make(chan struct{}), make(chan struct{}, 1)
	var err error
	if c.conn, err = net.Dial("tcp", os.Getenv(address)); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		c.serve(c.conn)
		c.conn.Close()
		for c.mute && !c.removed() {
			back, err := net.Dial("tcp", os.Getenv(address))
			if err != nil {
				return
			}
			c.mu.Lock()
			c.conn = back
			c.mu.Unlock()
			if !c.removed() {
				c.serve(back)
			}
			back.Close()
		}
	}()
	t.Cleanup(c.remove)
	return c
}

// remove takes the card out.
func (c *vcard) remove() {
	c.mu.Lock()
	c.out = true
	c.conn.Close()
	if c.hold != nil {
		close(c.hold)
		c.hold = nil
	}
	c.mu.Unlock()
	<-c.done
}

func (c *vcard) removed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out
}

func (c *vcard) serve(conn net.Conn) {
	in := bufio.NewReader(conn)
	powered := false
	for {
		quickACK(conn)
		var length [2]byte
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint16(length[:]))
		quickACK(conn)
		if _, err := io.ReadFull(in, frame); err != nil {
			return
		}
		var answer []byte
		switch {
		case len(frame) == 1 && frame[0] == 4:
			if c.mute && powered {
				return
			}
			answer = c.atr
		case len(frame) == 1:
			c.mu.Lock()
			if frame[0] == 2 {
				c.resets++
			}
			c.mu.Unlock()
			powered = true
			continue
		default:
			c.mu.Lock()
			c.commands = append(c.commands, frame)
			hold := c.hold
			c.mu.Unlock()
			select {
			case c.arrived <- struct{}{}:
			default:
			}
			if hold != nil {
				<-hold
			}
			if answer = c.answer(frame); answer == nil {
				return
			}
		}
		out := append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

// hang makes the card keep its answers back until it is removed.
func (c *vcard) hang() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = make(chan struct{})
}

// seen returns how many commands have reached the card.
func (c *vcard) seen() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.commands)
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// atrs of two cards and of one that gives none.
const (
	atrA = "3B6D000000814E43238697410100BF7C7A"
	atrB = "3B6D00000081544C968684510100035676"
)

// desk is a driver with a watcher and a subscriber, for one test.
type desk struct {
	t testing.TB
	d *Driver
	w *reader.Watcher
	c context.Context

	next func() (reader.Event, bool)
}

func newDesk(t testing.TB, opts ...reader.WatcherOption) *desk {
	t.Helper()
	stack(t)
	// A limit for a test that hangs; no test waits for it.
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	k := &desk{t: t, d: New(), c: ctx}
	k.w = reader.NewWatcher([]reader.Driver{k.d}, opts...)
	var wg sync.WaitGroup
	running, stop := context.WithCancel(ctx)
	wg.Go(func() {
		if err := k.w.Run(running); err != nil {
			t.Error(err)
		}
	})
	next, end := iter.Pull(k.w.Subscribe(ctx))
	k.next = next
	t.Cleanup(func() {
		end()
		stop()
		wg.Wait()
		if err := k.d.Close(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	})
	// An earlier test's card is gone when pcscd has looked.
	first := k.until(reader.SlotAdded, slot0)
	if first.Slot.Present {
		k.until(reader.CardRemoved, slot0)
	}
	return k
}

// until reads events until one is of this kind and, where slot is not empty, of
// this slot.
func (k *desk) until(kind reader.Kind, slot string) reader.Event {
	k.t.Helper()
	for {
		e, ok := k.next()
		if !ok {
			k.t.Fatalf("no %q of %q", kind, slot)
		}
		if e.Kind == kind && (slot == "" || e.Slot.Slot == slot) {
			return e
		}
	}
}

// another is another PC/SC program: this test binary, as a process of its own.
type another struct {
	t   testing.TB
	in  io.WriteCloser
	out *bufio.Reader
	cmd *exec.Cmd
}

func newAnother(t testing.TB) *another {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ONECARD_TEST_OTHER=program")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	o := &another{t, in, bufio.NewReader(out), cmd}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("other program: %v", err)
		}
	})
	return o
}

// do tells the other program to do something and returns what it says.
func (o *another) do(words ...string) string {
	o.t.Helper()
	fmt.Fprintln(o.in, strings.Join(words, "\t"))
	line, err := o.out.ReadString('\n')
	if err != nil {
		o.t.Fatalf("other program: %v: %v", words, err)
	}
	line = strings.TrimSuffix(line, "\n")
	if after, failed := strings.CutPrefix(line, "error "); failed {
		o.t.Fatalf("other program: %v: %s", words, after)
	}
	return line
}

// cardProcess puts a card into the first slot that is a process of its own, and
// returns what takes it out.
func cardProcess(t testing.TB) (stop func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ONECARD_TEST_OTHER=card")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	check(t, err)
	check(t, cmd.Start())
	return func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("card: %v", err)
		}
	}
}

// cardMain is that card: it is in the slot until its input ends.
func cardMain() {
	conn, err := net.Dial("tcp", os.Getenv("ONECARD_VPCD_ADDR"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	atr, err := hex.DecodeString(atrA)
	if err != nil {
		panic(err)
	}
	c := &vcard{atr: atr, conn: conn, answer: func(command []byte) []byte {
		return append(bytes.Clone(command), 0x90, 0x00)
	}}
	go c.serve(conn)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// otherMain is the other program: it reads what to do line by line.
func otherMain() {
	ctx, err := scard.EstablishContext()
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	defer ctx.Release()
	var card *scard.Card
	do := func(words []string) (string, error) {
		switch words[0] {
		case "list":
			names, err := ctx.ListReaders()
			return strings.Join(names, ","), err
		case "connect", "exclusive":
			mode := scard.ShareShared
			if words[0] == "exclusive" {
				mode = scard.ShareExclusive
			}
			var err error
			card, err = ctx.Connect(words[1], mode, scard.ProtocolAny)
			return "connected", err
		case "atr":
			status, err := card.Status()
			if err != nil {
				return "", err
			}
			return hex.EncodeToString(status.Atr), nil
		case "begin":
			return "begun", card.BeginTransaction()
		case "end":
			return "ended", card.EndTransaction(scard.LeaveCard)
		case "disconnect":
			return "disconnected", card.Disconnect(scard.LeaveCard)
		case "reset":
			return "reset", card.Disconnect(scard.ResetCard)
		case "wait": // reader, present or empty
			states := []scard.ReaderState{{Reader: words[1]}}
			for {
				err := ctx.GetStatusChange(states, time.Second)
				if err != nil && !errors.Is(err, scard.ErrTimeout) {
					return "", err
				}
				states[0].CurrentState = states[0].EventState
				if (states[0].EventState&scard.StatePresent != 0) == (words[2] == "present") {
					return "seen", nil
				}
			}
		}
		return "", fmt.Errorf("unknown: %q", words)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		said, err := do(strings.Split(in.Text(), "\t"))
		if err != nil {
			said = "error " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(said)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
