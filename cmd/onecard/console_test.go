//go:build linux

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"onecard/fault"
	"onecard/terminal"
	"onecard/terminal/api"
)

// An operator sits at the terminal that a daemon was started at.
type operator struct {
	testing.TB
	master *os.File
	mu     sync.Mutex
	screen bytes.Buffer
	news   chan struct{}
}

func (o *operator) follow() {
	var b [512]byte
	for {
		n, err := o.master.Read(b[:])
		o.mu.Lock()
		o.screen.Write(b[:n])
		o.mu.Unlock()
		select {
		case o.news <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// sees waits for a text that was not seen before and returns what came up to its end.
func (o *operator) sees(text string) string {
	o.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		o.mu.Lock()
		i := bytes.Index(o.screen.Bytes(), []byte(text))
		var seen string
		if i >= 0 {
			seen = string(o.screen.Next(i + len(text)))
		}
		rest := o.screen.String()
		o.mu.Unlock()
		if i >= 0 {
			return seen
		}
		select {
		case <-o.news:
		case <-late.C:
			o.Fatalf("the terminal never shows %q, but %q", text, rest)
		}
	}
}

func (o *operator) types(keys string) {
	o.Helper()
	if _, err := io.WriteString(o.master, keys); err != nil {
		o.Fatal(err)
	}
}

// The PIN is typed at the daemon's own terminal, where nothing of it is shown; the
// ways in which an entry ends are told apart by their codes.
func TestConsolePad(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "onecard.toml")
	state := filepath.Join(dir, "state")
	simulator := start(t, dir, os.Environ(), "hsm", "127.0.0.1:0")
	text := hospital{"hsm": simulator.where, "state": state}.toml() + "[pinpad]\nkind = \"console\"\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "ONECARD_LANG=en", "ONECARD_STATE_DIR="+state)

	// Without a terminal it does not start, and says why.
	_, errs, status := finish(t, env, "onecardd", "--config", config)
	if status != 1 || !strings.Contains(errs, string(fault.ConfigInvalid)) || !strings.Contains(errs, "standard input is no terminal") {
		t.Fatalf("status %d: %s", status, errs)
	}

	path, err := exec.LookPath("onecardd")
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(path, "--config", config)
	daemon.Dir, daemon.Env = dir, env
	o := &operator{TB: t, news: make(chan struct{}, 1)}
	if o.master, err = pty.Start(daemon); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() { defer close(read); o.follow() }()
	defer func() {
		if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := daemon.Wait(); err != nil {
			t.Error(err)
		}
		<-read
		if err := o.master.Close(); err != nil {
			t.Error(err)
		}
		// The log came to the terminal, too.
		o.mu.Lock()
		defer o.mu.Unlock()
		if strings.Contains(o.screen.String(), "246813") || strings.Contains(o.screen.String(), demoPIN) {
			t.Error("a PIN is on the terminal")
		}
	}()
	o.sees("onecardd serves http")
	addr := "http" + strings.TrimSpace(o.sees("\n"))
	client, err := api.NewClient(addr, state)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if _, err := client.Await(ctx, func(s terminal.State) bool {
		return len(s.Readers) == 1 && s.Readers[0].State == terminal.ReaderReady
	}); err != nil {
		t.Fatal(err)
	}
	env = append(env, "ONECARD_ADDR="+addr)
	ask := func(args []string, entries ...[2]string) (string, string, int) {
		t.Helper()
		type end struct {
			out, errs string
			status    int
		}
		done := make(chan end, 1)
		go func() {
			out, errs, status := finish(t, env, "onecard", args...)
			done <- end{out, errs, status}
		}()
		for _, e := range entries {
			o.sees(e[0])
			o.sees("cancels): ")
			o.types(e[1])
		}
		e := <-done
		return e.out, e.errs, e.status
	}
	verify := []string{"pin", "verify", "--pad"}
	change := []string{"pin", "change", "--pad"}
	for _, c := range []struct {
		name    string
		args    []string
		entries [][2]string
		code    fault.Code
	}{
		{"cancelled", verify, [][2]string{{"Enter the PIN", "12\x1b"}}, fault.PINCancelled},
		{"too short", verify, [][2]string{{"Enter the PIN", "123\r"}}, fault.PINFormat},
		{"wrong", verify, [][2]string{{"Enter the PIN", "654321\r"}}, fault.PINWrong},
		{"right", verify, [][2]string{{"Enter the PIN", demoPIN + "\r"}}, ""},
		{"differ", change, [][2]string{{"old PIN", demoPIN + "\r"}, {"new PIN (", "246813\r"}, {"PIN again", "246814\r"}}, fault.PINsDiffer},
		{"changed", change, [][2]string{{"old PIN", demoPIN + "\r"}, {"new PIN (", "246813\r"}, {"PIN again", "246813\r"}}, ""},
		{"the new one", verify, [][2]string{{"Enter the PIN", "246813\r"}}, ""},
	} {
		out, errs, status := ask(c.args, c.entries...)
		if c.code == "" && status != 0 || c.code != "" && (status != 1 || !strings.Contains(errs, string(c.code))) {
			t.Errorf("%s: status %d, want %q: %s%s", c.name, status, c.code, out, errs)
		}
	}
}
