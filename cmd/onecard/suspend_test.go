//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"onecard/terminal"
)

// A machine that sleeps is, for its programs, one that is stopped and goes on later. The
// tests of this file stop programs and change the card meanwhile: whose card was in the
// reader before must not be shown for the one that is in it now.

// sleep is longer than what a desk takes for a slow machine: nothing tells that it is
// over but the time.
const sleep = 7 * time.Second

func (p *program) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// holders reads the card again and again until the daemon shows the wanted one. Every
// reading that succeeds must be of it.
func (c *counter) holders(t *testing.T, name string, ready func(terminal.State) bool) {
	t.Helper()
	began := time.Now()
	for done := false; !done; {
		out, _, status := finish(t, c.env, "onecard", "--json", "read")
		var doc terminal.IdentityDocument
		if status == 0 {
			c.must(json.Unmarshal([]byte(out), &doc))
			if doc.Holder == nil || doc.Holder.Name != name {
				t.Fatalf("the card of somebody else is read: %s", out)
			}
		}
		s, err := c.client.State(t.Context())
		c.must(err)
		done = status == 0 && ready(s)
		if time.Since(began) > patience {
			t.Fatalf("not read within %s: %+v", patience, s.Readers)
		}
	}
	t.Logf("right %s after it went on", time.Since(began).Round(time.Millisecond))
}

// The daemon of a kiosk sleeps while the card in the unit is exchanged.
func TestUnitChangesWhileTheDaemonSleeps(t *testing.T) {
	port := filepath.Join(t.TempDir(), "unit")
	unit := start(t, t.TempDir(), os.Environ(), "onecard", "sim", "transport", "--image", "3.0", "--image", "2.0", "--pty-link", port)
	tellUnit := func(line string) {
		t.Helper()
		if _, err := fmt.Fprintln(unit.in, line); err != nil {
			t.Fatal(err)
		}
	}
	c := newCounter(t, setup{config: hospital{"kind": "transport", "reader": fmt.Sprintf("port = %q\nbaud = 115200", port)}})
	version := func(v string) func(terminal.State) bool {
		return func(s terminal.State) bool {
			for _, r := range s.Readers {
				if r.State == terminal.ReaderReady && r.Card.Version == v {
					return true
				}
			}
			return false
		}
	}
	c.await(version("3.00"))
	c.daemon.signal(t, syscall.SIGSTOP)
	tellUnit("pull")
	tellUnit("insert")
	inside := "position 2, hopper 0, bin 0"
	for asked := 1; !strings.Contains(unit.printed(), inside); asked++ {
		tellUnit("state")
		if err := unit.until(func() bool { return strings.Count(unit.out.String(), "position ") >= asked }); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(sleep)
	c.daemon.signal(t, syscall.SIGCONT)
	c.holders(t, "张三", version("2.00"))
}

// The same with PC/SC: the daemon sleeps, then the smart-card service.
func TestPCSCChangesDuringSleep(t *testing.T) {
	c, card := pcscCounter(t)
	change := func(image string) {
		t.Helper()
		c.must(card.stop())
		card = c.insert(image)
	}
	t.Run("of the daemon", func(t *testing.T) {
		c.daemon.signal(t, syscall.SIGSTOP)
		change("2.0")
		time.Sleep(sleep)
		c.daemon.signal(t, syscall.SIGCONT)
		c.holders(t, "张三", readyWith("2.00"))
	})
	t.Run("of the service", func(t *testing.T) {
		text, err := os.ReadFile("/run/pcscd/pcscd.pid")
		c.must(err)
		pid, err := strconv.Atoi(strings.Trim(string(text), "\x00\n "))
		c.must(err)
		c.must(syscall.Kill(pid, syscall.SIGSTOP))
		change("3.0")
		// The desk answers while its readers do not.
		if _, err := c.client.State(t.Context()); err != nil {
			t.Error(err)
		}
		c.must(syscall.Kill(pid, syscall.SIGCONT))
		// The service looks at its readers a few times a second: until then nobody
		// knows.
		c.await(readyWith("3.00"))
		c.holders(t, "欧阳海燕", readyWith("3.00"))
	})
}
