package pcsc

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ebfe/scard"

	"onecard/apdu"
	"onecard/fault"
	"onecard/reader"
	"onecard/reader/pinpad"
)

var challenge = apdu.Command{INS: 0x84, Le: 8}

func (k *desk) open(sharing reader.Sharing) *reader.Session {
	k.t.Helper()
	s, err := k.w.Open(k.c, slot0, sharing)
	check(k.t, err)
	k.t.Cleanup(func() { check(k.t, s.Close()) })
	return s
}

func TestInsertAndRemove(t *testing.T) {
	k := newDesk(t)
	for _, atr := range []string{atrA, atrB} {
		start := time.Now()
		card := insert(t, "ONECARD_VPCD_ADDR", atr, nil)
		in := k.until(reader.CardInserted, slot0)
		t.Logf("inserted card known after %s", time.Since(start))
		if !in.Slot.Present || in.Slot.Mute || !bytes.Equal(in.Slot.ATR, unhex(t, atr)) || in.Slot.Kind != "pcsc" {
			t.Errorf("%+v", in.Slot)
		}
		start = time.Now()
		card.remove()
		// The service still holds the old card's ATR: it must not show.
		out := k.until(reader.CardRemoved, slot0)
		t.Logf("removed card known after %s", time.Since(start))
		if out.Slot.Present || out.Slot.ATR != nil {
			t.Errorf("%+v", out.Slot)
		}
	}
	for _, s := range k.w.Slots() {
		if s.Present || s.ATR != nil || s.Insertion != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestExchange(t *testing.T) {
	k := newDesk(t)
	card := insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)
	if !bytes.Equal(s.ATR(), unhex(t, atrA)) {
		t.Errorf("ATR %X", s.ATR())
	}
	r, err := s.Exchange(k.c, challenge)
	if err != nil || !r.Status.OK() || !bytes.Equal(r.Data, []byte{0, 0x84, 0, 0, 8}) {
		t.Errorf("%+v, %v", r, err)
	}
	// A command of case 4 leaves whole: this reader hands over APDUs.
	if r, err = s.Exchange(k.c, apdu.Command{INS: 0xA4, P1: 4, Data: []byte{1}, Le: 256}); err != nil || len(r.Data) != 7 {
		t.Errorf("%+v, %v", r, err)
	}
	if card.seen() != 2 || s.Commands() != 2 {
		t.Errorf("%d commands seen, %d sent", card.seen(), s.Commands())
	}
	check(t, s.Begin(k.c))
	check(t, s.Reset(k.c))
	check(t, s.End())
	if _, err := s.Exchange(k.c, challenge); err != nil {
		t.Error(err)
	}
}

// The binding panics on an empty command; the link does not.
func TestEmptyCommand(t *testing.T) {
	k := newDesk(t)
	insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	l, err := k.d.Open(k.c, slot0, reader.Shared)
	check(t, err)
	defer l.Close()
	for n := range 4 {
		if _, err := l.Transmit(k.c, make([]byte, n)); !errors.Is(err, apdu.ErrCommand) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	k := newDesk(t)
	for slot, want := range map[string]error{slot0: reader.ErrNoCard, "no such reader": reader.ErrReaderGone} {
		if _, err := k.d.Open(k.c, slot, reader.Shared); !errors.Is(err, want) {
			t.Errorf("%s: %v", slot, err)
		}
	}
	card := insertMute(t, "ONECARD_VPCD_ADDR")
	if in := k.until(reader.CardInserted, slot0); !in.Slot.Mute || in.Slot.ATR != nil {
		t.Errorf("not mute: %+v", in.Slot)
	}
	if _, err := k.d.Open(k.c, slot0, reader.Shared); !errors.Is(err, reader.ErrMute) {
		t.Errorf("mute: %v", err)
	}
	card.remove()
	k.until(reader.CardRemoved, slot0)
	insert(t, "ONECARD_VPCD_ADDR", "FF0102", nil)
	k.until(reader.CardInserted, slot0)
	if _, err := k.d.Open(k.c, slot0, reader.Shared); !errors.Is(err, reader.ErrMute) && !errors.Is(err, reader.ErrFault) {
		t.Errorf("nonsense for an ATR: %v", err)
	} else {
		t.Log(err)
	}
}

// While a session is open, another program lists the readers, reads the ATR and
// may talk to the card; it is kept out while a transaction lasts.
func TestSharing(t *testing.T) {
	k := newDesk(t)
	insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)
	o := newAnother(t)
	if names := o.do("list"); names != slot0+","+slot1 {
		t.Errorf("list: %q", names)
	}
	o.do("connect", slot0)
	if atr := o.do("atr"); !bytes.Equal(unhex(t, atr), unhex(t, atrA)) {
		t.Errorf("ATR %s", atr)
	}
	if _, err := s.Exchange(k.c, challenge); err != nil {
		t.Error(err)
	}
	if _, err := k.w.Open(k.c, slot0, reader.Exclusive); !errors.Is(err, reader.ErrBusy) {
		t.Errorf("exclusive beside another: %v", err)
	}
	o.do("disconnect")
	check(t, s.Close())
	o.do("exclusive", slot0)
	if _, err := k.w.Open(k.c, slot0, reader.Shared); !errors.Is(err, reader.ErrBusy) || fault.Of(err).Code != fault.ReaderBusy {
		t.Errorf("beside an exclusive one: %v", err)
	}
	o.do("disconnect")
}

func TestResetByAnother(t *testing.T) {
	k := newDesk(t)
	card := insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)
	if _, err := s.Exchange(k.c, challenge); err != nil {
		t.Fatal(err)
	}
	o := newAnother(t)
	o.do("connect", slot0)
	o.do("reset")
	before := card.seen()
	if _, err := s.Exchange(k.c, challenge); !errors.Is(err, reader.ErrCardReset) {
		t.Fatalf("%v", err)
	}
	if card.seen() != before {
		t.Error("the command reached the card all the same")
	}
	if _, err := s.Exchange(k.c, challenge); err != nil {
		t.Errorf("after the reset: %v", err)
	}
	o.do("connect", slot0)
	o.do("reset")
	if err := s.Begin(k.c); !errors.Is(err, reader.ErrCardReset) {
		t.Errorf("begin: %v", err)
	}
	check(t, s.Begin(k.c))
	check(t, s.End())
}

// A card that is swapped while nobody looks is another insertion.
func TestSwapBetweenLooks(t *testing.T) {
	stack(t)
	d := New()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var (
		gate     sync.Mutex                         // while it is locked nothing is looked at
		reported = make(chan struct{}, 100)         // a report has come, to the gate at least
		pictures = make(chan reader.Snapshot, 1000) // and has passed it
		ended    = make(chan error, 1)
	)
	running, stop := context.WithCancel(ctx)
	go func() {
		ended <- d.Watch(running, func(s reader.Snapshot) {
			reported <- struct{}{}
			gate.Lock()
			defer gate.Unlock()
			pictures <- s
		})
	}()
	// next returns the slot in the next picture that satisfies f.
	next := func(f func(reader.SlotState) bool) reader.SlotState {
		t.Helper()
		for {
			select {
			case p := <-pictures:
				for _, s := range p.Slots {
					if s.Slot == slot0 && f(s) {
						return s
					}
				}
			case <-ctx.Done():
				t.Fatal("no such picture")
			}
		}
	}
	next(func(s reader.SlotState) bool { return !s.Present }) // an earlier test's card is gone
	card := insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	before := next(func(s reader.SlotState) bool { return s.Present })
	gate.Lock()
	for len(reported) > 0 {
		<-reported
	}
	o := newAnother(t)
	o.do("connect", slot0)
	select { // that the slot is in use now: from here on the watch is blind
	case <-reported:
	case <-ctx.Done():
		t.Fatal("no report")
	}
	card.remove()
	o.do("wait", slot0, "empty")
	insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	o.do("wait", slot0, "present")
	gate.Unlock()
	after := next(func(s reader.SlotState) bool {
		if !s.Present {
			t.Error("the removal was seen: nothing is put to the test")
		}
		return s.Insertion != before.Insertion
	})
	if !after.Present || after.Insertion == 0 {
		t.Errorf("%+v after %+v", after, before)
	}
	stop()
	check(t, <-ended)
	check(t, d.Close(ctx))
}

func TestServiceRestart(t *testing.T) {
	k := newDesk(t)
	card := insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)

	pcscd(t, "stop")
	t.Cleanup(func() { pcscd(t, "restart") })
	card.remove()
	k.until(reader.CardRemoved, slot0)
	down := k.until(reader.ServiceDown, "")
	if !errors.Is(down.Err, reader.ErrServiceDown) || fault.Of(down.Err).Code != fault.SmartCardServiceDown {
		t.Errorf("%v", down.Err)
	}
	if _, err := s.Exchange(k.c, challenge); !errors.Is(err, reader.ErrServiceDown) {
		t.Errorf("session: %v", err)
	}
	if _, err := k.w.Open(k.c, slot0, reader.Shared); !errors.Is(err, reader.ErrServiceDown) {
		t.Errorf("open: %v", err)
	}
	if _, err := k.d.Open(k.c, slot0, reader.Shared); !errors.Is(err, reader.ErrServiceDown) {
		t.Errorf("driver open: %v", err)
	}

	pcscd(t, "start")
	start := time.Now()
	k.until(reader.ServiceUp, "")
	t.Logf("back after %s", time.Since(start))
	insert(t, "ONECARD_VPCD_ADDR", atrB, nil)
	k.until(reader.CardInserted, slot0)
	if _, err := k.open(reader.Shared).Exchange(k.c, challenge); err != nil {
		t.Error(err)
	}

	// A daemon that is back at once: who looks in time is told of both.
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		pcscd(t, "restart")
	}()
	k.until(reader.ServiceDown, "")
	start = time.Now()
	k.until(reader.ServiceUp, "")
	t.Logf("back after %s", time.Since(start))
	<-restarted
}

// vpcd reports success with no bytes when the card's link is cut in the middle of
// a command.
func TestTornOut(t *testing.T) {
	k := newDesk(t)
	insert(t, "ONECARD_VPCD_ADDR", atrA, func([]byte) []byte { return nil })
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)
	for range 2 {
		if _, err := s.Exchange(k.c, challenge); !errors.Is(err, reader.ErrCardRemoved) || fault.Of(err).Code != fault.CardRemoved {
			t.Errorf("%v", err)
		}
	}
	k.until(reader.CardRemoved, slot0)
}

// A session on a card that has gone between two commands says so, whatever is in
// the slot meanwhile.
func TestRemovedBetweenCommands(t *testing.T) {
	k := newDesk(t)
	card := insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)
	card.remove()
	k.until(reader.CardRemoved, slot0)
	other := insert(t, "ONECARD_VPCD_ADDR", atrB, nil)
	k.until(reader.CardInserted, slot0)
	for range 2 {
		if _, err := s.Exchange(k.c, challenge); !errors.Is(err, reader.ErrCardRemoved) {
			t.Errorf("%v", err)
		}
	}
	if other.seen() != 0 {
		t.Error("the command went to the other card")
	}
}

func TestOneWatchInAProcess(t *testing.T) {
	k := newDesk(t)
	if err := New().Watch(k.c, func(reader.Snapshot) {}); !errors.Is(err, ErrWatched) {
		t.Errorf("%v", err)
	}
}

func TestNext(t *testing.T) {
	const present, empty = scard.StatePresent, scard.StateEmpty
	at := func(n int) scard.StateFlag { return scard.StateFlag(n << 16) }
	old := []byte{0x3B, 0x00}
	was := look{flags: present | at(3), atr: old, insertion: 7}
	for _, test := range []struct {
		name  string
		flags scard.StateFlag
		want  uint64
		atr   bool
	}{
		{"the same card", present | at(3), 7, true},
		{"connected to", present | scard.StateInuse | at(3), 7, true},
		{"swapped between two looks", present | at(5), 0, true},
		{"swapped, and the counter went round", present | at(3+1<<16), 7, true},
		{"removed, the ATR still there", empty | at(4), 0, false},
	} {
		now := next(was, test.flags, old)
		if now.insertion != test.want || (now.atr != nil) != test.atr {
			t.Errorf("%s: %+v", test.name, now)
		}
	}
}

func TestTranslation(t *testing.T) {
	for _, test := range []struct {
		code                scard.Error
		connecting, talking error
	}{
		{scard.ErrNoSmartcard, reader.ErrNoCard, reader.ErrCardRemoved},
		{scard.ErrRemovedCard, reader.ErrNoCard, reader.ErrCardRemoved},
		{scard.ErrUnresponsiveCard, reader.ErrMute, reader.ErrMute},
		{scard.ErrSharingViolation, reader.ErrBusy, reader.ErrBusy},
		{scard.ErrUnknownReader, reader.ErrReaderGone, reader.ErrReaderGone},
		{scard.ErrReaderUnavailable, reader.ErrReaderGone, reader.ErrReaderGone},
		{scard.ErrNoService, reader.ErrServiceDown, reader.ErrServiceDown},
		{scard.ErrServiceStopped, reader.ErrServiceDown, reader.ErrServiceDown},
		{scard.ErrNotTransacted, reader.ErrFault, reader.ErrFault},
	} {
		if err := connecting(test.code); !errors.Is(err, test.connecting) || !errors.Is(err, test.code) {
			t.Errorf("%v", err)
		}
		if err := talking(test.code); !errors.Is(err, test.talking) {
			t.Errorf("%v", err)
		}
	}
}

func TestGuarded(t *testing.T) {
	if err := guarded(func() error { panic("index out of range") }); !errors.Is(err, reader.ErrFault) {
		t.Errorf("%v", err)
	}
}

// vpcd's reader has no pad, and pcscd says so by refusing the question: the session
// goes on.
func TestReaderWithoutPad(t *testing.T) {
	k := newDesk(t)
	insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s, err := k.w.Open(k.c, slot0, reader.Shared)
	check(t, err)
	defer s.Close()
	if features, err := pinpad.Features(k.c, s); err == nil && len(features) > 0 || err != nil && !errors.Is(err, pinpad.ErrNone) {
		t.Errorf("features %v, %v", features, err)
	}
	if r, err := s.Exchange(k.c, apdu.Command{INS: 0x84, Le: 8}); err != nil || !r.Status.OK() {
		t.Errorf("afterwards: %v, %v", r.Status, err)
	}
}
