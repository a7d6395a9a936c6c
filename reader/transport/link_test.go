//go:build linux

package transport_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"onecard/apdu"
	"onecard/reader"
	"onecard/reader/serial/serialsim"
	"onecard/reader/transport"
	"onecard/reader/transport/transportsim"
)

// Two sessions on one card keep each other out as two programs would.
func TestSharing(t *testing.T) {
	b := newBed(t, transportsim.New(), nil)
	b.insert(person(t, "3.0"))
	b.until(reader.CardInserted, "kiosk card")
	one, two := b.open("kiosk card"), b.open("kiosk card")
	if _, err := b.watcher.Open(b.ctx, "kiosk card", reader.Exclusive); !errors.Is(err, reader.ErrBusy) {
		t.Errorf("exclusive beside others: %v", err)
	}
	check(t, one.Begin(b.ctx))
	short, cancel := context.WithTimeout(b.ctx, 20*time.Millisecond)
	defer cancel()
	if err := challenge(two, short); !errors.Is(err, reader.ErrBusy) {
		t.Errorf("into a transaction: %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- two.Begin(b.ctx) }()
	check(t, challenge(one, b.ctx))
	check(t, one.End())
	check(t, <-waited)
	check(t, two.End())
	check(t, one.Reset(b.ctx))
	if err := challenge(two, b.ctx); !errors.Is(err, reader.ErrCardReset) {
		t.Errorf("after another session's reset: %v", err)
	}
	check(t, challenge(two, b.ctx))
	check(t, two.Close())
	if err := challenge(two, b.ctx); !errors.Is(err, reader.ErrClosed) {
		t.Errorf("after closing: %v", err)
	}
	check(t, one.Close())
	alone, err := b.watcher.Open(b.ctx, "kiosk card", reader.Exclusive)
	check(t, err)
	if _, err := b.watcher.Open(b.ctx, "kiosk card", reader.Shared); !errors.Is(err, reader.ErrBusy) {
		t.Errorf("beside an exclusive session: %v", err)
	}
	if _, err := alone.Exchange(b.ctx, apdu.Command{INS: 0xB0, Data: make([]byte, 2000)}); err == nil {
		t.Error("a command is sent that no frame holds")
	}
	check(t, challenge(alone, b.ctx))
	check(t, alone.Close())
}

// The cable is pulled and plugged in again, at another unit with a card inside: the
// slots go and come, and the old session is over.
func TestReplugged(t *testing.T) {
	type plugged struct {
		pty   *serialsim.Pty
		ended chan error
	}
	var port atomic.Pointer[string]
	plug := func(sim *transportsim.Unit) plugged {
		pty, err := serialsim.OpenPty(filepath.Join(t.TempDir(), "unit"))
		check(t, err)
		p := plugged{pty, make(chan error, 1)}
		go func() { p.ended <- sim.Serve(context.Background(), pty) }()
		name := pty.Port()
		port.Store(&name)
		return p
	}
	first := plug(transportsim.New(transportsim.WithInside(person(t, "2.0"))))
	d := transport.New(transport.Config{
		Name: "kiosk", Poll: 5 * time.Millisecond, SAMs: -1,
		Open: func() (transport.Port, error) { return transport.OpenPort(*port.Load(), 115200, "") },
		Unit: func(p transport.Port) transport.Unit {
			return transport.NewCRT571(p, transport.WithBaud(115200), transport.WithTiming(quick))
		},
	})
	w := reader.NewWatcher([]reader.Driver{d})
	ctx, stop := context.WithCancel(context.Background())
	ran, told := make(chan error, 1), make(chan struct{})
	go func() { ran <- w.Run(ctx) }()
	b := &bed{T: t, driver: d, watcher: w, events: make(chan reader.Event, 100), ctx: ctx}
	go func() {
		defer close(told)
		for e := range w.Subscribe(ctx) {
			select {
			case b.events <- e:
			case <-ctx.Done():
			}
		}
	}()
	b.until(reader.CardInserted, "kiosk card")
	s := b.open("kiosk card")
	check(t, challenge(s, ctx))
	check(t, first.pty.Close())
	<-first.ended
	b.until(reader.SlotRemoved, "kiosk card")
	if err := challenge(s, ctx); !errors.Is(err, reader.ErrCardRemoved) {
		t.Errorf("a session on a pulled cable: %v", err)
	}
	if _, err := d.Status(); !errors.Is(err, reader.ErrReaderGone) {
		t.Errorf("status of nothing: %v", err)
	}
	if err := d.Return(ctx); !errors.Is(err, reader.ErrReaderGone) {
		t.Errorf("return from nothing: %v", err)
	}
	second := plug(transportsim.New(transportsim.WithInside(person(t, "3.0"))))
	b.until(reader.CardInserted, "kiosk card")
	check(t, challenge(b.open("kiosk card"), ctx))
	stop()
	check(t, <-ran)
	<-told
	check(t, second.pty.Close())
	<-second.ended
}
