package virtual_test

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"

	"onecard/apdu"
	"onecard/reader"
	"onecard/reader/virtual"
)

// A numbered card tells its number in its answer to reset and in every answer.
type numbered uint64

func (n numbered) PowerOn() []byte {
	return binary.BigEndian.AppendUint64([]byte{0x3B, 0x08}, uint64(n))
}
func (n numbered) PowerOff() {}
func (n numbered) Transmit([]byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(n)), 0x90, 0x00)
}

// atrNumber returns the number in an answer to reset.
func atrNumber(atr []byte) uint64 {
	if len(atr) != 10 {
		return 0
	}
	return binary.BigEndian.Uint64(atr[2:])
}

// A program that is told of every insertion and asks the card for its number.
type asker struct {
	t *testing.T
	w *reader.Watcher

	last      map[string]uint64 // by slot, of the insertion told last
	told      int
	asked     int
	lastAdded map[string]bool

	mu      sync.Mutex
	newest  uint64        // card told of
	changed chan struct{} // closed and replaced with it
}

// follow waits until the program was told of a card and has asked it.
func (a *asker) follow(card uint64) {
	for {
		a.mu.Lock()
		newest, changed := a.newest, a.changed
		a.mu.Unlock()
		if newest >= card {
			return
		}
		<-changed
	}
}

// ended are the ways in which a card may end that is torn out or swapped at any
// moment.
var ended = []error{reader.ErrNoCard, reader.ErrCardRemoved, reader.ErrReaderGone, reader.ErrNoReader, reader.ErrServiceDown, reader.ErrCardReset}

func (a *asker) gone(err error) bool {
	for _, e := range ended {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (a *asker) event(ctx context.Context, e reader.Event) {
	switch e.Kind {
	case reader.SlotAdded:
		if a.lastAdded[e.Slot.Slot] {
			a.t.Errorf("%s was added twice", e.Slot.Slot)
		}
		a.lastAdded[e.Slot.Slot] = true
	case reader.SlotRemoved:
		if !a.lastAdded[e.Slot.Slot] {
			a.t.Errorf("%s was removed before it was added", e.Slot.Slot)
		}
		a.lastAdded[e.Slot.Slot] = false
	case reader.CardRemoved:
		if a.last[e.Slot.Slot] == 0 {
			a.t.Errorf("%s: a card left that was never told of", e.Slot.Slot)
		}
		delete(a.last, e.Slot.Slot)
	case reader.CardInserted:
		a.told++
		if a.last[e.Slot.Slot] != 0 {
			a.t.Errorf("%s: a card came before the last one left", e.Slot.Slot)
		}
		a.last[e.Slot.Slot] = e.Slot.Insertion
		a.ask(ctx, e.Slot)
		a.mu.Lock()
		a.newest = max(a.newest, atrNumber(e.Slot.ATR))
		close(a.changed)
		a.changed = make(chan struct{})
		a.mu.Unlock()
	}
}

// ask opens the card and compares what it says with what was told of it.
func (a *asker) ask(ctx context.Context, told reader.SlotState) {
	s, err := a.w.Open(ctx, told.Slot, reader.Shared)
	if err != nil {
		if !a.gone(err) {
			a.t.Errorf("open: %v", err)
		}
		return
	}
	defer s.Close()
	r, err := s.Exchange(ctx, apdu.Command{INS: 0x84, Le: 8})
	if err != nil {
		if !a.gone(err) {
			a.t.Errorf("exchange: %v", err)
		}
		return
	}
	a.asked++
	answered, state := binary.BigEndian.Uint64(r.Data), s.State()
	if number := atrNumber(s.ATR()); number != answered || atrNumber(state.ATR) != answered {
		a.t.Errorf("card %d answered in the session of card %d, whose state is card %d's", answered, number, atrNumber(state.ATR))
	}
	if state.Insertion == told.Insertion && atrNumber(told.ATR) != answered {
		a.t.Errorf("insertion %d was told with card %d and is card %d", told.Insertion, atrNumber(told.ATR), answered)
	}
}

// storm orders cycles of cards, readers and the service going and coming. Every
// other card stays until the program a has asked it.
func storm(d *virtual.Driver, a *asker, from, to int) error {
	r := rand.New(rand.NewPCG(uint64(from), 1))
	slots := []string{"a", "b", "c"}
	var errs []error
	for n := from; n < to; n++ {
		slot := slots[r.IntN(len(slots))]
		errs = append(errs, d.Insert(slot, numbered(n+1)))
		if n%2 == 0 {
			a.follow(uint64(n + 1))
		}
		switch r.IntN(20) {
		case 0: // swapped by the next insertion
			continue
		case 1:
			errs = append(errs, d.RemoveSlot(slot), d.AddSlot(slot))
			continue
		case 2:
			d.Stop()
			runtime.Gosched()
			d.Start()
		case 3:
			errs = append(errs, d.ResetByOther(slot))
		case 4, 5, 6:
			runtime.Gosched()
		}
		errs = append(errs, d.Remove(slot))
	}
	return errors.Join(errs...)
}

// cycles is how many the storm has: all of them where ONECARD_SOAK is set.
func cycles() int {
	if os.Getenv("ONECARD_SOAK") != "" {
		return 10000
	}
	return 1000
}

// used returns the bytes in use once all garbage is gone.
func used() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// open returns how many files the process has open, 0 where the system does not
// tell.
func open(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		if runtime.GOOS == "linux" {
			t.Fatal(err)
		}
		return 0
	}
	return len(list)
}

// Cards, readers and the service come and go faster than a program can follow:
// it is told of each or of what superseded it, no card is taken for another, and
// nothing is left over.
func TestStorm(t *testing.T) {
	d := virtual.New("a", "b", "c")
	w := reader.NewWatcher([]reader.Driver{d})
	ctx, stop := context.WithCancel(t.Context())
	var watching, asking sync.WaitGroup
	watching.Go(func() { check(t, w.Run(ctx)) })
	askers := make([]*asker, 3)
	for i := range askers {
		a := &asker{t: t, w: w, last: make(map[string]uint64), lastAdded: make(map[string]bool), changed: make(chan struct{})}
		askers[i] = a
		asking.Go(func() {
			for e := range w.Subscribe(ctx) {
				a.event(ctx, e)
				if e.Slot.Slot == "end" {
					return
				}
			}
		})
	}
	warm := cycles() / 10
	check(t, storm(d, askers[0], 0, warm))
	before, goroutines, handles := used(), runtime.NumGoroutine(), open(t)
	check(t, storm(d, askers[0], warm, cycles()))
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines before, %d after", goroutines, n)
	}
	if n := open(t); n > handles {
		t.Errorf("%d open files before, %d after", handles, n)
	}
	after := used()
	if after > before+1<<20 {
		t.Errorf("%d bytes in use before, %d after", before, after)
	}
	// What stands at the end is seen by everybody, the last reader last.
	for _, slot := range []string{"a", "b", "c"} {
		check(t, d.Insert(slot, numbered(1_000_000)))
	}
	check(t, d.AddSlot("end"))
	asking.Wait()
	final := make(map[string]uint64)
	for _, s := range w.Slots() {
		if s.Present {
			final[s.Slot] = s.Insertion
		}
	}
	stop()
	watching.Wait()
	told, asked := 0, 0
	for _, a := range askers {
		told, asked = told+a.told, asked+a.asked
		if !maps.Equal(a.last, final) {
			t.Errorf("a program believes in %v, the readers hold %v", a.last, final)
		}
	}
	t.Logf("%d cycles: %d insertions told to %d programs, %d cards asked; %d goroutines, %d open files, %+d bytes",
		cycles(), told, len(askers), asked, goroutines, handles, int64(after)-int64(before))
	if asked < cycles()/4 {
		t.Error("too little was seen of the storm")
	}
}
