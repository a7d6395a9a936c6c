package reader_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"onecard/fault"
	"onecard/reader"
	"onecard/reader/virtual"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A card that answers every command by its own bytes.
type echo struct{ atr []byte }

func (c echo) PowerOn() []byte { return c.atr }
func (c echo) PowerOff()       {}
func (c echo) Transmit(command []byte) []byte {
	return append(append([]byte(nil), command...), 0x90, 0x00)
}

var ssc = echo{[]byte{0x3B, 0x00}}

// watching runs a watcher over d until the test ends.
func watching(t *testing.T, drivers ...reader.Driver) *reader.Watcher {
	t.Helper()
	w := reader.NewWatcher(drivers)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return w
}

// events reads what a subscriber is told, with a limit for a test that hangs.
type events struct {
	t    *testing.T
	next func() (reader.Event, bool)
}

func subscribe(t *testing.T, w *reader.Watcher) *events {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	next, stop := iter.Pull(w.Subscribe(ctx))
	t.Cleanup(func() { cancel(); stop() })
	return &events{t, next}
}

// want reads the next events; "+" and "-" for slots and cards.
func (e *events) want(list ...string) reader.Event {
	e.t.Helper()
	var last reader.Event
	for _, want := range list {
		got, ok := e.next()
		if !ok {
			e.t.Fatalf("no event where %q should come", want)
		}
		text := got.Kind.String()
		if got.Slot.Slot != "" {
			text += " " + got.Slot.Slot
		}
		if text != want {
			e.t.Fatalf("%q, want %q", text, want)
		}
		last = got
	}
	return last
}

func TestWatcherTells(t *testing.T) {
	d := virtual.New("a", "b")
	check(t, d.Insert("b", ssc))
	w := watching(t, d)
	e := subscribe(t, w)
	in := e.want("service up", "reader added a", "reader added b", "card inserted b")
	if !in.Slot.Present || in.Slot.Kind != "virtual" || in.Driver != reader.Driver(d) || in.Slot.Insertion == 0 || in.Time.IsZero() {
		t.Errorf("%+v", in)
	}
	check(t, d.Remove("b"))
	if out := e.want("card removed b"); out.Slot.Present || out.Slot.ATR != nil {
		t.Errorf("%+v", out)
	}
	check(t, d.AddSlot("c"))
	e.want("reader added c")
	check(t, d.Insert("c", ssc))
	e.want("card inserted c")
	check(t, d.RemoveSlot("c"))
	e.want("card removed c", "reader removed c")
	check(t, d.Insert("a", ssc))
	e.want("card inserted a")
	d.Stop()
	down := e.want("card removed a", "reader removed a", "reader removed b", "service down")
	if !errors.Is(down.Err, reader.ErrServiceDown) || !errors.Is(w.Err(), reader.ErrServiceDown) {
		t.Errorf("%v; %v", down.Err, w.Err())
	}
	d.Start()
	e.want("service up", "reader added a", "card inserted a", "reader added b")
}

func TestWatcherTellsOfUse(t *testing.T) {
	d := virtual.New("a")
	check(t, d.Insert("a", ssc))
	w := watching(t, d)
	e := subscribe(t, w)
	e.want("service up", "reader added a", "card inserted a")
	s, err := w.Open(t.Context(), "a", reader.Exclusive)
	check(t, err)
	if c := e.want("slot changed a"); !c.Slot.InUse || !c.Slot.Exclusive {
		t.Errorf("%+v", c.Slot)
	}
	if _, err := w.Open(t.Context(), "a", reader.Shared); !errors.Is(err, reader.ErrBusy) {
		t.Errorf("%v", err)
	}
	check(t, s.Close())
	e.want("slot changed a")
}

// A subscriber that looks rarely is told of a swapped card, and only of the last
// of many states.
func TestSlowSubscriber(t *testing.T) {
	d := virtual.New("a")
	check(t, d.Insert("a", ssc))
	w := watching(t, d)
	e := subscribe(t, w)
	before := e.want("service up", "reader added a", "card inserted a")
	fast := subscribe(t, w)
	fast.want("service up", "reader added a", "card inserted a")
	for range 100 {
		check(t, d.Remove("a"))
		fast.want("card removed a")
		check(t, d.Insert("a", ssc))
		fast.want("card inserted a")
	}
	after := e.want("card removed a", "card inserted a")
	if after.Slot.Insertion != before.Slot.Insertion+100 {
		t.Errorf("insertion %d after %d", after.Slot.Insertion, before.Slot.Insertion)
	}
}

func TestWatcherOpenErrors(t *testing.T) {
	d := virtual.New("empty", "mute")
	check(t, d.Insert("mute", echo{}))
	w := watching(t, d)
	subscribe(t, w).want("service up", "reader added empty", "reader added mute", "card inserted mute")
	for slot, want := range map[string]error{"empty": reader.ErrNoCard, "mute": reader.ErrMute, "none": reader.ErrNoReader} {
		if _, err := w.Open(t.Context(), slot, reader.Shared); !errors.Is(err, want) {
			t.Errorf("%s: %v", slot, err)
		}
	}
	d.Stop()
	e := subscribe(t, w)
	for ev, ok := e.next(); ok && ev.Kind != reader.ServiceDown; ev, ok = e.next() {
	}
	if _, err := w.Open(t.Context(), "empty", reader.Shared); fault.Of(err).Code != fault.SmartCardServiceDown {
		t.Errorf("%v", err)
	}
}

func TestWatcherRunsOnce(t *testing.T) {
	w := reader.NewWatcher(nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	check(t, w.Run(ctx))
	if w.Run(ctx) == nil {
		t.Error("ran twice")
	}
	for e := range w.Subscribe(context.Background()) {
		t.Errorf("event after the end: %v", e)
	}
}

// flaky gives up watching at once, a few times.
type flaky struct {
	*virtual.Driver
	left int
}

func (f *flaky) Watch(ctx context.Context, report func(reader.Snapshot)) error {
	if f.left--; f.left >= 0 {
		return errors.New("gave up")
	}
	return f.Driver.Watch(ctx, report)
}

func TestWatcherAsksAgain(t *testing.T) {
	w := watching(t, &flaky{virtual.New("a"), 1})
	e := subscribe(t, w)
	if down := e.want("service down"); !errors.Is(down.Err, reader.ErrServiceDown) {
		t.Error(down.Err)
	}
	e.want("service up", "reader added a")
}

// Whatever happens to the slots and however slowly a subscriber looks, what it
// has been told adds up to what is.
func TestSubscriberConverges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := virtual.New("a", "b")
		w := reader.NewWatcher([]reader.Driver{d})
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _ = w.Run(ctx) })
		defer wg.Wait()
		defer cancel()
		next, stop := iter.Pull(w.Subscribe(ctx))
		defer stop()
		told := make(map[string]uint64) // slot to insertion
		read := func() {
			e, ok := next()
			if !ok {
				rt.Fatal("the events ended")
			}
			switch e.Kind {
			case reader.SlotAdded:
				if _, have := told[e.Slot.Slot]; have {
					rt.Fatalf("%s added twice", e.Slot.Slot)
				}
				told[e.Slot.Slot] = 0
			case reader.SlotRemoved:
				if told[e.Slot.Slot] != 0 {
					rt.Fatalf("%s removed with its card", e.Slot.Slot)
				}
				delete(told, e.Slot.Slot)
			case reader.CardInserted:
				if told[e.Slot.Slot] != 0 {
					rt.Fatalf("%s: a second card", e.Slot.Slot)
				}
				told[e.Slot.Slot] = e.Slot.Insertion
			case reader.CardRemoved:
				if told[e.Slot.Slot] == 0 {
					rt.Fatalf("%s: no card to remove", e.Slot.Slot)
				}
				told[e.Slot.Slot] = 0
			}
		}
		// catchUp reads until a slot that is new now has been told of.
		markers := 0
		catchUp := func() {
			markers++
			marker := fmt.Sprintf("z%04d", markers)
			check(rt, d.AddSlot(marker))
			for {
				if _, ok := told[marker]; ok {
					return
				}
				read()
			}
		}
		down := false
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			slot := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "slot")
			// An operation that does not fit the state is refused and changes
			// nothing.
			switch rapid.IntRange(0, 6).Draw(rt, "operation") {
			case 0:
				_ = d.Insert(slot, ssc)
			case 1:
				_ = d.Remove(slot)
			case 2:
				_ = d.AddSlot(slot)
			case 3:
				_ = d.RemoveSlot(slot)
			case 4:
				d.Stop()
				down = true
			case 5:
				d.Start()
				down = false
			case 6:
				if !down {
					catchUp()
				}
			}
		}
		d.Start()
		catchUp()
		want := make(map[string]uint64)
		for _, s := range w.Slots() {
			want[s.Slot] = s.Insertion
		}
		// The marker sorts behind all others: what comes with it came before it.
		if fmt.Sprint(told) != fmt.Sprint(want) {
			rt.Fatalf("told %v, is %v", told, want)
		}
	})
}

func check(t interface {
	Helper()
	Fatal(...any)
}, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
