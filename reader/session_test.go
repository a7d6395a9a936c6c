package reader_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"onecard/apdu"
	"onecard/fault"
	"onecard/reader"
	"onecard/reader/virtual"
)

// open returns a session with a card in a virtual slot.
func open(t *testing.T, d *virtual.Driver, opts ...reader.SessionOption) *reader.Session {
	t.Helper()
	link, err := d.Open(t.Context(), "counter", reader.Shared)
	check(t, err)
	s := reader.NewSession(link, reader.SlotState{Slot: "counter"}, opts...)
	t.Cleanup(func() { check(t, s.Close()) })
	return s
}

func counter(t *testing.T) *virtual.Driver {
	t.Helper()
	d := virtual.New("counter")
	check(t, d.Insert("counter", ssc))
	return d
}

var challenge = apdu.Command{INS: 0x84, Le: 8}

func TestSession(t *testing.T) {
	s := open(t, counter(t))
	r, err := s.Exchange(t.Context(), challenge)
	if err != nil || !r.Status.OK() || len(r.Data) != 5 {
		t.Fatalf("%+v, %v", r, err)
	}
	if s.Commands() != 1 || s.Exchanges() != 1 || s.Trace().Len() != 1 || s.Slot() != "counter" || len(s.ATR()) != 2 {
		t.Errorf("%d, %d, %d, %s, %X", s.Commands(), s.Exchanges(), s.Trace().Len(), s.Slot(), s.ATR())
	}
	check(t, s.Begin(t.Context()))
	check(t, s.Reset(t.Context()))
	check(t, s.End())
	check(t, s.Close())
	if _, err := s.Exchange(t.Context(), challenge); !errors.Is(err, reader.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Every fault of card and reader has an error of its own.
func TestSessionFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault virtual.Fault
		want  error
		code  fault.Code
		after error // what the next command meets
	}{
		{"removed", virtual.Fault{Kind: virtual.Remove}, reader.ErrCardRemoved, fault.CardRemoved, reader.ErrCardRemoved},
		{"torn", virtual.Fault{Kind: virtual.Tear}, reader.ErrCardRemoved, fault.CardRemoved, reader.ErrCardRemoved},
		{"no bytes", virtual.Fault{Kind: virtual.Empty}, reader.ErrCardRemoved, fault.CardRemoved, reader.ErrCardRemoved},
		{"one byte", virtual.Fault{Kind: virtual.Short}, reader.ErrCardRemoved, fault.CardRemoved, reader.ErrCardRemoved},
		{"reset by another program", virtual.Fault{Kind: virtual.Reset}, reader.ErrCardReset, fault.CardReset, nil},
		{"line", virtual.Fault{Kind: virtual.Fail}, reader.ErrFault, fault.ReaderFault, nil},
		{"noise", virtual.Fault{Kind: virtual.Garbage}, reader.ErrGarbage, fault.CardGarbage, nil},
		{"61xx for ever", virtual.Fault{Kind: virtual.Endless61}, reader.ErrEndless, fault.CardEndless, reader.ErrEndless},
		{"6Cxx for ever", virtual.Fault{Kind: virtual.Endless6C}, reader.ErrEndless, fault.CardEndless, reader.ErrEndless},
		{"hangs", virtual.Fault{Kind: virtual.Hang}, reader.ErrStuck, fault.ReaderStuck, reader.ErrStuck},
		{"too slow", virtual.Fault{Kind: virtual.Slow, Delay: time.Hour}, reader.ErrStuck, fault.ReaderStuck, reader.ErrStuck},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := counter(t)
			s := open(t, d, reader.WithDeadline(50*time.Millisecond))
			test.fault.At = 2
			check(t, d.Order("counter", test.fault))
			if _, err := s.Exchange(t.Context(), challenge); err != nil {
				t.Fatal(err)
			}
			_, err := s.Exchange(t.Context(), challenge)
			if !errors.Is(err, test.want) || fault.Of(err).Code != test.code {
				t.Errorf("%v, want %v", err, test.want)
			}
			if !strings.HasPrefix(err.Error(), "counter: GET CHALLENGE: ") {
				t.Errorf("%v does not say where", err)
			}
			if _, err := s.Exchange(t.Context(), challenge); !errors.Is(err, test.after) {
				t.Errorf("afterwards: %v, want %v", err, test.after)
			}
		})
	}
}

func TestSessionBusy(t *testing.T) {
	d := counter(t)
	s := open(t, d, reader.WithDeadline(50*time.Millisecond))
	check(t, d.HoldByOther("counter", true))
	if err := s.Begin(t.Context()); !errors.Is(err, reader.ErrBusy) {
		t.Errorf("begin: %v", err)
	}
	if _, err := s.Exchange(t.Context(), challenge); !errors.Is(err, reader.ErrBusy) {
		t.Errorf("exchange: %v", err)
	}
	check(t, d.HoldByOther("counter", false))
	check(t, s.Begin(t.Context()))
	check(t, s.End())
}

func TestSessionWaitsForTransaction(t *testing.T) {
	d := counter(t)
	first, second := open(t, d), open(t, d)
	check(t, first.Begin(t.Context()))
	begun := make(chan error)
	go func() { begun <- second.Begin(context.Background()) }()
	if _, err := first.Exchange(t.Context(), challenge); err != nil {
		t.Error(err)
	}
	select {
	case err := <-begun:
		t.Fatalf("begun in another's transaction: %v", err)
	default:
	}
	check(t, first.End())
	check(t, <-begun)
	check(t, second.End())
}

func TestSessionCancelled(t *testing.T) {
	d := counter(t)
	s := open(t, d)
	check(t, d.Order("counter", virtual.Fault{Kind: virtual.Hang}))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := s.Exchange(ctx, challenge)
		failed <- err
	}()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// The reader that is unplugged ends the sessions on it.
func TestSessionReaderGone(t *testing.T) {
	d := counter(t)
	s := open(t, d)
	check(t, d.RemoveSlot("counter"))
	if _, err := s.Exchange(t.Context(), challenge); !errors.Is(err, reader.ErrReaderGone) {
		t.Errorf("%v", err)
	}
}
