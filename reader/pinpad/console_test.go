//go:build linux

package pinpad

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// A desk is a terminal with a person at it.
type desk struct {
	*testing.T
	master *os.File
	name   string
	mu     sync.Mutex
	seen   bytes.Buffer
	news   chan struct{}
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{T: t, master: master, name: slave.Name(), news: make(chan struct{}, 1)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		var b [256]byte
		for {
			n, err := master.Read(b[:])
			d.mu.Lock()
			d.seen.Write(b[:n])
			d.mu.Unlock()
			select {
			case d.news <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		if err := errors.Join(slave.Close(), master.Close()); err != nil {
			t.Error(err)
		}
		<-read
	})
	return d
}

func (d *desk) screen() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen.String()
}

// shows waits for a text on the screen and clears it up to there.
func (d *desk) shows(text string) {
	d.Helper()
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	for {
		d.mu.Lock()
		i := bytes.Index(d.seen.Bytes(), []byte(text))
		if i >= 0 {
			d.seen.Next(i + len(text))
		}
		d.mu.Unlock()
		if i >= 0 {
			return
		}
		select {
		case <-d.news:
		case <-late.C:
			d.Fatalf("%q is never shown; the screen has %q", text, d.screen())
		}
	}
}

func (d *desk) types(keys string) {
	d.Helper()
	if _, err := d.master.WriteString(keys); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) echoes() bool {
	d.Helper()
	t, err := unix.IoctlGetTermios(int(d.master.Fd()), unix.TCGETS)
	if err != nil {
		d.Fatal(err)
	}
	return t.Lflag&unix.ECHO != 0
}

func TestConsole(t *testing.T) {
	d := newDesk(t)
	c, err := NewConsole(d.name)
	if err != nil {
		t.Fatal(err)
	}
	if c.Kind() != "console" {
		t.Error(c.Kind())
	}
	for _, step := range []struct {
		name   string
		prompt Prompt
		shows  string
		keys   string
		want   string
		err    error
		after  string
	}{
		{"entered", Enter, "Enter the PIN (", "123456\r", "123456", nil, ""},
		{"old", Old, "Enter the old PIN (", "4711\n", "4711", nil, ""},
		{"new", New, "Enter the new PIN (", "9182736450918273\r", "9182736450918273", nil, ""},
		{"again", Again, "Enter the new PIN again (", "12x 34\t56\r", "123456", nil, ""},
		{"corrected", Enter, "Enter the PIN (", "12\x7f34\b\b\b98765\x7f4\r", "98764", nil, ""},
		{"all taken back", Enter, "Enter the PIN (", "99999\x151234\r", "1234", nil, ""},
		{"escape", Enter, "Enter the PIN (", "1234\x1b", "", ErrCancelled, "cancelled"},
		{"interrupt", New, "Enter the new PIN (", "12\x03", "", ErrCancelled, "cancelled"},
		{"too short", Enter, "Enter the PIN (", "123\r", "", ErrLength, "4 to 16 digits"},
		{"nothing", Enter, "Enter the PIN (", "\r", "", ErrLength, "4 to 16 digits"},
		{"too long", Enter, "Enter the PIN (", "12345678901234567\r", "", ErrLength, "4 to 16 digits"},
		{"one too many, taken back", Enter, "Enter the PIN (", "12345678901234567\x7f\r", "1234567890123456", nil, ""},
	} {
		t.Run(step.name, func(t *testing.T) {
			done := make(chan error, 1)
			var got []byte
			go func() {
				var err error
				got, err = c.Enter(t.Context(), step.prompt)
				done <- err
			}()
			d.shows(step.shows)
			d.shows("cancels): ")
			if d.echoes() {
				t.Error("the terminal echoes")
			}
			d.types(step.keys)
			if err := <-done; !errors.Is(err, step.err) || step.err == nil && err != nil {
				t.Errorf("%v, want %v", err, step.err)
			}
			if string(got) != step.want {
				t.Errorf("%d digits, want %d", len(got), len(step.want))
			}
			if step.after != "" {
				d.shows(step.after)
			}
			d.shows("\r\n")
			if rest := d.screen(); strings.ContainsAny(rest, "0123456789*") {
				t.Errorf("the screen shows %q", rest)
			}
			if !d.echoes() {
				t.Error("the terminal is left without echo")
			}
		})
	}
}

// What was typed before the prompt is no PIN.
func TestConsoleForgetsWhatWasTypedBefore(t *testing.T) {
	d := newDesk(t)
	c, err := NewConsole(d.name)
	if err != nil {
		t.Fatal(err)
	}
	d.types("999999\r")
	d.shows("999999") // echoed: nobody asked
	done := make(chan error, 1)
	var got []byte
	go func() {
		var err error
		got, err = c.Enter(t.Context(), Enter)
		done <- err
	}()
	d.shows("cancels): ")
	d.types("246813\r")
	if err := <-done; err != nil || string(got) != "246813" {
		t.Errorf("%d digits, %v", len(got), err)
	}
}

func TestConsoleEnds(t *testing.T) {
	d := newDesk(t)
	c, err := NewConsole(d.name)
	if err != nil {
		t.Fatal(err)
	}
	late, stop := context.WithDeadline(t.Context(), time.Now().Add(50*time.Millisecond))
	defer stop()
	if _, err := c.Enter(late, Enter); !errors.Is(err, ErrTimeout) {
		t.Errorf("nothing typed: %v", err)
	}
	d.shows("timed out")
	if !d.echoes() {
		t.Error("the terminal is left without echo")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { _, err := c.Enter(ctx, Enter); done <- err }()
	d.shows("cancels): ")
	cancel()
	if err := <-done; !errors.Is(err, ErrCancelled) {
		t.Errorf("the caller has gone: %v", err)
	}
}

func TestNoConsole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, file + "x", "/dev/null"} {
		if _, err := NewConsole(name); !errors.Is(err, ErrNoConsole) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stdin := os.Stdin
	defer func() { os.Stdin = stdin }()
	var err error
	if os.Stdin, err = os.Open(os.DevNull); err != nil {
		t.Fatal(err)
	}
	if _, err := NewConsole(""); !errors.Is(err, ErrNoConsole) || !strings.Contains(err.Error(), "standard input") {
		t.Errorf("%v", err)
	}
	if err := os.Stdin.Close(); err != nil {
		t.Error(err)
	}
}
