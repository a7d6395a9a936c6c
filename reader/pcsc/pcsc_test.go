package pcsc

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ebfe/scard"

	"onecard/apdu"
	"onecard/fault"
	"onecard/reader"
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

// A reader that does not come back within the deadline is reported as stuck until
// it does.
func TestStuck(t *testing.T) {
	k := newDesk(t, reader.WithSessions(reader.WithDeadline(100*time.Millisecond)))
	card := insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)
	card.hang()
	_, err := s.Exchange(k.c, challenge)
	if !errors.Is(err, reader.ErrStuck) || fault.Of(err).Code != fault.ReaderStuck {
		t.Errorf("%v", err)
	}
	if _, err := s.Exchange(k.c, challenge); !errors.Is(err, reader.ErrStuck) {
		t.Errorf("afterwards: %v", err)
	}
	if err := s.End(); err != nil {
		t.Errorf("end without begin: %v", err)
	}
	for !k.until(reader.SlotChanged, slot0).Slot.Stuck {
	}
	check(t, s.Close())
	card.remove()
	k.until(reader.CardRemoved, slot0)
	insert(t, "ONECARD_VPCD_ADDR", atrB, nil)
	k.until(reader.CardInserted, slot0)
	if _, err := k.open(reader.Shared).Exchange(k.c, challenge); err != nil {
		t.Errorf("after the reader came back: %v", err)
	}
}

// A row of commands in Do has the same deadlines and the same errors, and its
// panic is its caller's.
func TestDo(t *testing.T) {
	k := newDesk(t, reader.WithSessions(reader.WithDeadline(100*time.Millisecond)))
	card := insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)
	exchange := func() error { _, err := s.Exchange(k.c, challenge); return err }
	check(t, s.Do(k.c, func() error {
		if err := s.Begin(k.c); err != nil {
			return err
		}
		if err := exchange(); err != nil {
			return err
		}
		return s.Do(k.c, s.End)
	}))
	own := errors.New("own")
	if err := s.Do(k.c, func() error { return own }); err != own {
		t.Errorf("%v", err)
	}
	func() {
		defer func() {
			if p := recover(); p != "own" {
				t.Errorf("panic %v", p)
			}
		}()
		_ = s.Do(k.c, func() error { panic("own") })
	}()
	check(t, exchange())

	card.hang()
	inside := make(chan error, 1)
	err := s.Do(k.c, func() error {
		err := exchange()
		inside <- err
		return err
	})
	if !errors.Is(err, reader.ErrStuck) || len(inside) != 0 {
		t.Errorf("%v; %d", err, len(inside))
	}
	if err := exchange(); !errors.Is(err, reader.ErrStuck) {
		t.Errorf("afterwards: %v", err)
	}
	card.remove()
	if err := <-inside; !errors.Is(err, reader.ErrStuck) {
		t.Errorf("inside: %v", err)
	}
}

// The end of the context ends a command in Do at once.
func TestDoCancelled(t *testing.T) {
	k := newDesk(t)
	card := insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)
	card.hang()
	ctx, cancel := context.WithCancel(k.c)
	done := make(chan error)
	go func() {
		done <- s.Do(ctx, func() error { _, err := s.Exchange(ctx, challenge); return err })
	}()
	<-card.arrived
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Another program's transaction keeps everybody else waiting, connecting
// included, and only so long.
func TestBlockedByTransaction(t *testing.T) {
	k := newDesk(t, reader.WithOpenDeadline(200*time.Millisecond), reader.WithSessions(reader.WithDeadline(200*time.Millisecond)))
	insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	first, second := k.open(reader.Shared), k.open(reader.Shared)
	o := newAnother(t)
	o.do("connect", slot0)
	o.do("begin")
	if err := first.Begin(k.c); !errors.Is(err, reader.ErrBusy) {
		t.Errorf("begin: %v", err)
	}
	if _, err := second.Exchange(k.c, challenge); !errors.Is(err, reader.ErrStuck) {
		t.Errorf("exchange: %v", err)
	}
	for range maxAbandoned + 2 {
		if _, err := k.w.Open(k.c, slot0, reader.Shared); !errors.Is(err, reader.ErrBusy) && !errors.Is(err, reader.ErrStuck) {
			t.Errorf("open: %v", err)
		}
	}
	k.d.mu.Lock()
	hanging := k.d.abandoned[slot0].calls
	k.d.mu.Unlock()
	if hanging > maxAbandoned {
		t.Errorf("%d calls hang", hanging)
	}
	check(t, first.Close())
	check(t, second.Close())
	o.do("end")
	check(t, k.idle())
	if _, err := k.open(reader.Shared).Exchange(k.c, challenge); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// idle waits until no call to the card's slot hangs.
func (k *desk) idle() error {
	for {
		k.d.mu.Lock()
		hanging := k.d.abandoned[slot0].calls
		k.d.mu.Unlock()
		if hanging == 0 {
			return nil
		}
		if _, ok := k.next(); !ok {
			return k.c.Err()
		}
	}
}

// A command that meets another's transaction waits for its end and is carried out
// once.
func TestCommandWaitsForTransaction(t *testing.T) {
	k := newDesk(t)
	card := insert(t, "ONECARD_VPCD_ADDR", atrA, nil)
	k.until(reader.CardInserted, slot0)
	s := k.open(reader.Shared)
	o := newAnother(t)
	o.do("connect", slot0)
	o.do("begin")
	done := make(chan error)
	go func() {
		_, err := s.Exchange(k.c, challenge)
		done <- err
	}()
	o.do("atr")
	o.do("end")
	check(t, <-done)
	if card.seen() != 1 {
		t.Errorf("%d commands", card.seen())
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

// What a command costs through a session and through a link, beside the bare
// binding on the same card in the same moments. The card is a process of its own.
func BenchmarkTransmit(b *testing.B) {
	k := newDesk(b)
	stop := cardProcess(b)
	k.until(reader.CardInserted, slot0)
	defer func() {
		stop()
		k.until(reader.CardRemoved, slot0)
	}()
	command := []byte{0x00, 0x84, 0x00, 0x00, 0x08}

	ctx, err := scard.EstablishContext()
	check(b, err)
	defer func() { check(b, ctx.Release()) }()
	card, err := ctx.Connect(slot0, scard.ShareShared, scard.ProtocolAny)
	check(b, err)
	defer func() { check(b, card.Disconnect(scard.LeaveCard)) }()
	l, err := k.d.Open(k.c, slot0, reader.Shared)
	check(b, err)
	defer func() { check(b, l.Close()) }()
	s, err := k.w.Open(k.c, slot0, reader.Shared)
	check(b, err)
	defer func() { check(b, s.Close()) }()

	// Runs of seven, as identity has them, in turns: what else the machine does
	// meets all.
	const run = 7
	repeat := func(f func() error) error {
		for range run {
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	}
	exchange := func() error { _, err := s.Exchange(k.c, challenge); return err }
	ways := []func() error{
		func() error { return repeat(func() error { _, err := card.Transmit(command); return err }) },
		func() error { return repeat(func() error { _, err := l.Transmit(k.c, command); return err }) },
		func() error { return repeat(exchange) },
		func() error { return s.Do(k.c, func() error { return repeat(exchange) }) },
	}
	took := make([][]time.Duration, len(ways))
	for b.Loop() {
		for i, way := range ways {
			start := time.Now()
			check(b, way())
			took[i] = append(took[i], time.Since(start)/run)
		}
	}
	median := func(i int) float64 {
		slices.Sort(took[i])
		return float64(took[i][len(took[i])/2])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(0)/1e3, "bare-µs")
	b.ReportMetric(median(1)/1e3, "link-µs")
	b.ReportMetric(median(2)/1e3, "session-µs")
	b.ReportMetric(median(1)/median(0), "link/bare")
	b.ReportMetric(median(2)/median(0), "session/bare")
	b.ReportMetric(median(3)/median(0), "do/bare")
}
