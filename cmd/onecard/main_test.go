package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"onecard/card/keys"
	"onecard/cmd/internal/daemon"
	hsmsim "onecard/hsm-sim"
)

// TestMain makes the test binary every program that a hospital runs, so that
// tests start real processes of what is being tested.
func TestMain(m *testing.M) {
	// The race detector would have every program sleep for a second at its end.
	if err := os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0")); err != nil {
		panic(err)
	}
	testscript.Main(leakless{m}, map[string]func(){
		"onecard":   main,
		"onecardd":  func() { os.Exit(daemon.Main("development", os.Args[1:], os.Stdout, os.Stderr)) },
		"hsm":       func() { os.Exit(serveHSM()) },
		"torn-line": func() { os.Exit(tornLine()) },
	})
}

// leakless fails the tests where a goroutine of theirs is left.
type leakless struct{ *testing.M }

func (m leakless) Run() int {
	status := m.M.Run()
	if status != 0 {
		return status
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// serveHSM is the simulated HSM; the program hsm-sim around it has tests of its own.
func serveHSM() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", os.Args[1])
	if err == nil {
		fmt.Println(listener.Addr())
		err = hsmsim.Serve(ctx, listener, hsmsim.WithKeys(keys.TestRing(keys.Reference())))
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
