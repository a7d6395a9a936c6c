package pcsc

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ebfe/scard"

	"onecard/reader"
)

// vpcd's readers cannot be unplugged. A service in memory stands for pcscd here, as
// it was seen to answer: it knows readers that come and go.
type memory struct {
	pnp bool // it tells of readers that come and go

	mu      sync.Mutex
	readers map[string]scard.StateFlag
	plugs   int
	changed chan struct{}
}

func (s *memory) set(f func(readers map[string]scard.StateFlag)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.readers)
	f(s.readers)
	if len(s.readers) != before {
		s.plugs++
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *memory) ListReaders() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.readers) == 0 {
		return nil, scard.ErrNoReadersAvailable
	}
	return slices.Sorted(maps.Keys(s.readers)), nil
}

func (s *memory) GetStatusChange(states []scard.ReaderState, wait time.Duration) error {
	if len(states) == 0 {
		panic("index out of range") // as the binding does
	}
	limit := time.NewTimer(wait)
	defer limit.Stop()
	for {
		s.mu.Lock()
		changed, news := s.changed, false
		for i := range states {
			now, known := s.readers[states[i].Reader]
			if states[i].Reader == plugAndPlay {
				now, known = scard.StateFlag(s.plugs)<<16, s.pnp
			}
			if !known {
				s.mu.Unlock()
				return scard.ErrUnknownReader
			}
			states[i].EventState = now
			if now != states[i].CurrentState {
				states[i].EventState |= scard.StateChanged
				news = true
			}
			if now&scard.StatePresent != 0 {
				states[i].Atr = []byte{0x3B, 0x00}
			}
		}
		s.mu.Unlock()
		if news {
			return nil
		}
		select {
		case <-changed:
		case <-limit.C:
			return scard.ErrTimeout
		}
	}
}

func (s *memory) Release() error { return nil }

func TestReaderUnplugged(t *testing.T) {
	for name, pnp := range map[string]bool{"with plug and play": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			s := &memory{pnp: pnp, readers: make(map[string]scard.StateFlag), changed: make(chan struct{})}
			d := New()
			d.watcher = func() (watching, error) { return s, nil }
			if !pnp {
				// The list is read again every two seconds: of this clock.
				var mu sync.Mutex
				clock := time.Unix(0, 0)
				d.now = func() time.Time {
					mu.Lock()
					defer mu.Unlock()
					clock = clock.Add(relist)
					return clock
				}
			}
			ctx, cancel := context.WithCancel(context.Background())
			w := reader.NewWatcher([]reader.Driver{d})
			var wg sync.WaitGroup
			wg.Go(func() { check(t, w.Run(ctx)) })
			defer wg.Wait()
			defer cancel()

			steps := []struct {
				do   func(map[string]scard.StateFlag)
				want []reader.Kind
			}{
				{func(map[string]scard.StateFlag) {}, []reader.Kind{reader.ServiceUp}},
				{func(r map[string]scard.StateFlag) { r["A"] = scard.StateEmpty }, []reader.Kind{reader.SlotAdded}},
				{func(r map[string]scard.StateFlag) { r["A"] = scard.StatePresent | 1<<16 }, []reader.Kind{reader.CardInserted}},
				{func(r map[string]scard.StateFlag) { r["A"] = scard.StatePresent | 3<<16 }, []reader.Kind{reader.CardRemoved, reader.CardInserted}},
				{func(r map[string]scard.StateFlag) { delete(r, "A") }, []reader.Kind{reader.CardRemoved, reader.SlotRemoved}},
				{func(r map[string]scard.StateFlag) { r["B"] = scard.StatePresent }, []reader.Kind{reader.SlotAdded, reader.CardInserted}},
			}
			step, got := 0, []reader.Kind(nil)
			for e := range w.Subscribe(ctx) {
				if got = append(got, e.Kind); len(got) < len(steps[step].want) {
					continue
				}
				if !slices.Equal(got, steps[step].want) {
					t.Fatalf("step %d: %v, want %v", step, got, steps[step].want)
				}
				step, got = step+1, nil
				if step == len(steps) {
					break
				}
				s.set(steps[step].do)
			}
			if step != len(steps) {
				t.Errorf("the events ended at step %d", step)
			}
		})
	}
}
