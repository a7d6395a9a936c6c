//go:build linux

package transport_test

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onecard/apdu"
	"onecard/card"
	"onecard/card/cardsim"
	"onecard/reader"
	"onecard/reader/serial/serialsim"
	"onecard/reader/transport"
	"onecard/reader/transport/transportsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quick are the times of a unit that is in the same machine. They bound the
// tests' waits, none of them is asserted.
var quick = transport.Timing{
	Ack: 300 * time.Millisecond, Gap: 60 * time.Millisecond,
	Query: 2 * time.Second, Motor: 4 * time.Second, Chip: 4 * time.Second,
}

// bed is a driver on a simulated unit over a real pseudo-terminal.
type bed struct {
	*testing.T
	sim     *transportsim.Unit
	driver  *transport.Driver
	watcher *reader.Watcher
	events  chan reader.Event
	ctx     context.Context
}

func newBed(t *testing.T, sim *transportsim.Unit, change func(*transport.Config)) *bed {
	t.Helper()
	pty, err := serialsim.OpenPty(filepath.Join(t.TempDir(), "unit"))
	check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- sim.Serve(ctx, pty) }()
	cfg := transport.Config{
		Name: "kiosk", Poll: 5 * time.Millisecond, SAMs: 4,
		Open: func() (transport.Port, error) { return transport.OpenPort(pty.Port(), 115200, "") },
		Unit: func(p transport.Port) transport.Unit {
			return transport.NewCRT571(p, transport.WithBaud(115200), transport.WithTiming(quick))
		},
		Problem: func(err error) { t.Log("problem:", err) },
	}
	if change != nil {
		change(&cfg)
	}
	b := &bed{T: t, sim: sim, driver: transport.New(cfg), events: make(chan reader.Event, 100), ctx: ctx}
	b.watcher = reader.NewWatcher([]reader.Driver{b.driver})
	ran, told := make(chan error, 1), make(chan struct{})
	go func() { ran <- b.watcher.Run(ctx) }()
	go func() {
		defer close(told)
		for e := range b.watcher.Subscribe(ctx) {
			select {
			case b.events <- e:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		<-told
	})
	return b
}

// until waits for an event on a slot.
func (b *bed) until(kind reader.Kind, slot string) reader.SlotState {
	b.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for {
		select {
		case e := <-b.events:
			if e.Kind == kind && e.Slot.Slot == slot {
				return e.Slot
			}
		case <-limit.C:
			b.Fatalf("no event %q of %s", kind, slot)
		}
	}
}

func (b *bed) insert(c *transportsim.Card) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	check(b.T, b.sim.InsertWhenOpen(ctx, c))
}

func (b *bed) see(what string, wanted func(transportsim.State) bool) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
	defer cancel()
	if err := b.sim.Wait(ctx, wanted); err != nil {
		b.Fatalf("%s: %v; %+v", what, err, b.sim.State())
	}
}

func (b *bed) open(slot string) *reader.Session {
	b.Helper()
	s, err := b.watcher.Open(b.ctx, slot, reader.Shared)
	check(b.T, err)
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// person makes one of the cards of the simulator, with an antenna where it has one.
func person(t *testing.T, version string) *transportsim.Card {
	t.Helper()
	image, err := cardsim.Example(version)
	check(t, err)
	contact, err := cardsim.New(image)
	check(t, err)
	c := &transportsim.Card{Contact: contact}
	if version == "3.0" {
		field, err := cardsim.New(image, cardsim.WithContactless())
		check(t, err)
		c.Field = field
	}
	return c
}

// Every image is read through the whole unit: pseudo-terminal, frames, motor,
// contacts.
func TestCardsAreRead(t *testing.T) {
	for _, version := range []string{"1.0", "2.0", "3.0"} {
		t.Run(version, func(t *testing.T) {
			b := newBed(t, transportsim.New(), nil)
			p := person(t, version)
			b.insert(p)
			state := b.until(reader.CardInserted, "kiosk card")
			if len(state.ATR) == 0 || state.Insertion == 0 {
				t.Fatalf("%+v", state)
			}
			s := b.open("kiosk card")
			c, err := card.Open(b.ctx, s)
			check(t, err)
			image, err := cardsim.Example(version)
			check(t, err)
			same, err := cardsim.New(image)
			check(t, err)
			v := reader.NewSession(direct{same}, reader.SlotState{})
			same.PowerOn()
			want, err := card.Open(b.ctx, v)
			check(t, err)
			if !reflect.DeepEqual(c.Issuer(), want.Issuer()) || c.Issuer().Version == "" {
				t.Errorf("%+v, want %+v", c.Issuer(), want.Issuer())
			}
		})
	}
}

// direct is a link without anything between.
type direct struct{ c *cardsim.Card }

func (d direct) Transmit(_ context.Context, command []byte) ([]byte, error) {
	return d.c.Transmit(command), nil
}
func (d direct) ATR() []byte               { return d.c.ATR() }
func (direct) Begin(context.Context) error { return nil }
func (direct) End() error                  { return nil }
func (direct) Reset(context.Context) error { return nil }
func (direct) Close() error                { return nil }

// A card whose contacts are mute is read in the field; both slots are a session
// like any other.
func TestContactless(t *testing.T) {
	b := newBed(t, transportsim.New(), nil)
	c := person(t, "3.0")
	c.Contact = nil
	b.insert(c)
	state := b.until(reader.CardInserted, "kiosk contactless")
	if _, err := reader.ParseATR(state.ATR); err != nil {
		t.Errorf("%X: %v", state.ATR, err)
	}
	opened, err := card.Open(b.ctx, b.open("kiosk contactless"))
	check(t, err)
	if opened.Issuer().Version != "3.00" {
		t.Errorf("%+v", opened.Issuer())
	}
	check(t, b.sim.Pull())
	b.until(reader.CardRemoved, "kiosk contactless")
}

// A card without any chip is a mute card.
func TestMute(t *testing.T) {
	b := newBed(t, transportsim.New(), nil)
	b.insert(&transportsim.Card{})
	if state := b.until(reader.CardInserted, "kiosk card"); !state.Mute {
		t.Errorf("%+v", state)
	}
	if _, err := b.watcher.Open(b.ctx, "kiosk card", reader.Shared); !errors.Is(err, reader.ErrMute) {
		t.Errorf("%v", err)
	}
}

func challenge(s *reader.Session, ctx context.Context) error {
	_, err := s.Exchange(ctx, apdu.Command{INS: 0x84, Le: 8})
	return err
}

// The PSAM is a slot of its own, and talks while the card does.
func TestPSAM(t *testing.T) {
	image, err := cardsim.ExamplePSAM()
	check(t, err)
	psam, err := cardsim.NewPSAM(image)
	check(t, err)
	b := newBed(t, transportsim.New(transportsim.WithSAM(1, psam)), nil)
	b.until(reader.CardInserted, "kiosk SAM 2")
	b.insert(person(t, "3.0"))
	b.until(reader.CardInserted, "kiosk card")
	user, sam := b.open("kiosk card"), b.open("kiosk SAM 2")
	if !errors.Is(errorOf(b.watcher.Open(b.ctx, "kiosk SAM 1", reader.Shared)), reader.ErrNoCard) {
		t.Error("an empty SAM slot opens")
	}
	for range 3 {
		check(t, challenge(user, b.ctx))
		check(t, challenge(sam, b.ctx))
	}
	check(t, user.Reset(b.ctx))
	check(t, challenge(user, b.ctx))
	check(t, sam.Reset(b.ctx))
	check(t, challenge(sam, b.ctx))
	// The card goes, the PSAM stays.
	check(t, b.sim.Pull())
	b.until(reader.CardRemoved, "kiosk card")
	check(t, challenge(sam, b.ctx))
}

func errorOf(_ *reader.Session, err error) error { return err }

// Whatever goes wrong on the line, the card's answer is right or there is none.
func TestFaultsOfTheLine(t *testing.T) {
	b := newBed(t, transportsim.New(), func(c *transport.Config) { c.Poll = time.Hour })
	sim := b.sim
	// The look at the sensors is far away, so the faults meet the session's commands.
	b.see("the mouth opens", func(s transportsim.State) bool { return s.Open })
	check(t, b.driver.Do(b.ctx, func(context.Context, transport.Unit) error { return nil }))
	check(t, sim.Insert(person(t, "3.0")))
	check(t, b.driver.Look(b.ctx))
	b.until(reader.CardInserted, "kiosk card")
	s := b.open("kiosk card")
	want, err := s.Exchange(b.ctx, apdu.Command{INS: 0xB0, P1: 0x85, Le: 16})
	check(t, err)
	for _, f := range []transportsim.Fault{
		{Kind: transportsim.Nak}, {Kind: transportsim.Nak, Times: 3}, {Kind: transportsim.LostAck},
		{Kind: transportsim.Corrupt}, {Kind: transportsim.Corrupt, Times: 1, At: 1}, {Kind: transportsim.NoiseBefore},
		{Kind: transportsim.Foreign}, {Kind: transportsim.Fragment}, {Kind: transportsim.Slow, Delay: 150 * time.Millisecond},
	} {
		sim.Order(f)
		got, err := s.Exchange(b.ctx, apdu.Command{INS: 0xB0, P1: 0x85, Le: 16})
		if err != nil || string(got.Data) != string(want.Data) || got.Status != want.Status {
			t.Errorf("%s: %v, %v", f.Kind, got.Status, err)
		}
	}
	sim.Order(transportsim.Fault{Kind: transportsim.Nak, Times: 4})
	if _, err := s.Exchange(b.ctx, apdu.Command{INS: 0xB0, P1: 0x85, Le: 16}); !errors.Is(err, reader.ErrFault) {
		t.Errorf("NAK without end: %v", err)
	}
	for _, text := range transport.ErrorTexts() {
		if text.Is(transport.ErrNotInitialised) || text.Is(transport.ErrMovedByHand) || text.Code == "02" {
			continue // these end the session
		}
		sim.Order(transportsim.Fault{Kind: transportsim.Fail, Code: text.Code})
		if text.Code == "00" || text.Code == "03" {
			// Such a firmware has no 39: the driver asks with the protocol.
			_, err := s.Exchange(b.ctx, apdu.Command{INS: 0xB0, P1: 0x85, Le: 16})
			check(t, err)
			continue
		}
		_, err := s.Exchange(b.ctx, apdu.Command{INS: 0xB0, P1: 0x85, Le: 16})
		var e *transport.Error
		if !errors.As(err, &e) || e.Unit != text.Code || !errors.Is(err, reader.ErrFault) && !errors.Is(err, reader.ErrMute) {
			t.Errorf("error %s: %v", text.Code, err)
		}
	}
	// A question that was not heard is asked again; a command is not.
	sim.Order(transportsim.Fault{Kind: transportsim.Deaf, CM: 0x31})
	check(t, b.driver.Look(b.ctx))
	before := sim.State().Commands
	sim.Order(transportsim.Fault{Kind: transportsim.Unanswered})
	short, cancel := context.WithTimeout(b.ctx, 400*time.Millisecond)
	defer cancel()
	if _, err := s.Exchange(short, apdu.Command{INS: 0xB0, P1: 0x85, Le: 16}); !errors.Is(err, reader.ErrStuck) {
		t.Errorf("no answer: %v", err)
	}
	if n := sim.State().Commands - before; n != 1 {
		t.Errorf("the unit carried out %d commands for one", n)
	}
	check(t, s.Close())
	s = b.open("kiosk card")
	// An answer that comes after its command's deadline is no answer to the next.
	sim.Order(transportsim.Fault{Kind: transportsim.Slow, Delay: 400 * time.Millisecond})
	short, cancel = context.WithTimeout(b.ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := s.Exchange(short, apdu.Command{INS: 0xB0, P1: 0x85, Le: 16}); !errors.Is(err, reader.ErrStuck) {
		t.Errorf("slow: %v", err)
	}
	if err := challenge(s, b.ctx); !errors.Is(err, reader.ErrStuck) {
		t.Errorf("a session that is over: %v", err)
	}
	again := b.open("kiosk card")
	got, err := again.Exchange(b.ctx, apdu.Command{INS: 0x84, Le: 4})
	if err != nil || len(got.Data) != 4 {
		t.Errorf("after a late answer: %X, %v", got.Data, err)
	}
}

// A card pulled by hand ends the session, in the middle of a command and between
// two.
func TestPulledByHand(t *testing.T) {
	b := newBed(t, transportsim.New(), nil)
	for _, during := range []bool{true, false} {
		b.insert(person(t, "3.0"))
		b.until(reader.CardInserted, "kiosk card")
		s := b.open("kiosk card")
		check(t, challenge(s, b.ctx))
		if during {
			b.sim.Order(transportsim.Fault{Kind: transportsim.PullOut, CM: 0x51})
		} else {
			check(t, b.sim.Pull())
			b.until(reader.CardRemoved, "kiosk card")
		}
		for range 2 {
			if err := challenge(s, b.ctx); !errors.Is(err, reader.ErrCardRemoved) {
				t.Errorf("during %t: %v", during, err)
			}
		}
		if during {
			b.until(reader.CardRemoved, "kiosk card")
		}
	}
}

// After a power failure the card is still inside: it counts as inserted anew, and
// nothing of the old session is left.
func TestPowerLoss(t *testing.T) {
	b := newBed(t, transportsim.New(), nil)
	b.insert(person(t, "3.0"))
	before := b.until(reader.CardInserted, "kiosk card")
	s := b.open("kiosk card")
	b.sim.Order(transportsim.Fault{Kind: transportsim.PowerLoss, CM: 0x51})
	short, cancel := context.WithTimeout(b.ctx, 300*time.Millisecond)
	defer cancel()
	if err := challenge(s, short); !errors.Is(err, reader.ErrStuck) && !errors.Is(err, reader.ErrCardRemoved) {
		t.Errorf("%v", err)
	}
	after := b.until(reader.CardInserted, "kiosk card")
	if after.Insertion == before.Insertion {
		t.Error("the same insertion")
	}
	if err := challenge(s, b.ctx); err == nil {
		t.Error("the old session goes on")
	}
	check(t, challenge(b.open("kiosk card"), b.ctx))
	// And one while nothing is going on.
	b.sim.PowerFail()
	third := b.until(reader.CardInserted, "kiosk card")
	if third.Insertion == after.Insertion {
		t.Error("the same insertion after an idle power failure")
	}
}
