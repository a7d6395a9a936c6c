package reader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
)

// A Kind says what an [Event] is about.
type Kind int

// The kinds of events.
const (
	SlotAdded    Kind = iota + 1 // a reader is there
	SlotRemoved                  // a reader is gone
	CardInserted                 // a card is in the slot, mute or not
	CardRemoved                  // the slot is empty
	SlotChanged                  // InUse, Exclusive, Stuck, Mute, the ATR or the unit changed; the card is the same
	ServiceUp                    // the driver's service runs
	ServiceDown                  // the driver's service does not run: Err says why
)

// String returns the kind as a word: "card inserted".
func (k Kind) String() string {
	switch k {
	case SlotAdded:
		return "reader added"
	case SlotRemoved:
		return "reader removed"
	case CardInserted:
		return "card inserted"
	case CardRemoved:
		return "card removed"
	case SlotChanged:
		return "slot changed"
	case ServiceUp:
		return "service up"
	case ServiceDown:
		return "service down"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// An Event is one change of the picture.
type Event struct {
	Kind   Kind
	Slot   SlotState // the slot after the change; its last state where it is gone
	Driver Driver
	Err    error     // of ServiceDown
	Time   time.Time // when the watcher saw the change that made it tell
}

// A Watcher watches the slots of several drivers. Its picture is published: it
// can be read at any time, and subscribers are told what changed since they were
// told last. A subscriber that is slow skips states that were superseded
// meanwhile, it never holds up the watcher or another subscriber; that a card
// was swapped is told to it all the same.
type Watcher struct {
	drivers []Driver
	now     func() time.Time
	session []SessionOption
	wait    time.Duration // for a card to be connected
	pause   time.Duration // before a driver that gave up watching is asked again

	mu      sync.Mutex
	ran     bool
	ended   bool
	picture []driverState // by driver
	changed chan struct{} // closed and replaced at every change
}

// driverState is what one driver last reported. Slots is never changed in
// place, so that it can be handed out.
type driverState struct {
	known bool // the driver has reported at all
	at    time.Time
	Snapshot
}

// A WatcherOption changes how a [Watcher] works.
type WatcherOption func(*Watcher)

// WithClock replaces time.Now for the times of events.
func WithClock(now func() time.Time) WatcherOption { return func(w *Watcher) { w.now = now } }

// WithSessions gives every session of [Watcher.Open] these options.
func WithSessions(opts ...SessionOption) WatcherOption {
	return func(w *Watcher) { w.session = append(w.session, opts...) }
}

// DefaultOpenDeadline is how long [Watcher.Open] waits for a card that another
// program holds.
const DefaultOpenDeadline = 5 * time.Second

// WithOpenDeadline replaces [DefaultOpenDeadline].
func WithOpenDeadline(d time.Duration) WatcherOption { return func(w *Watcher) { w.wait = d } }

// NewWatcher returns a watcher of the drivers, in this order. Nothing is watched
// before [Watcher.Run].
func NewWatcher(drivers []Driver, opts ...WatcherOption) *Watcher {
	w := &Watcher{
		drivers: slices.Clone(drivers),
		now:     time.Now,
		wait:    DefaultOpenDeadline,
		pause:   time.Second,
		picture: make([]driverState, len(drivers)),
		changed: make(chan struct{}),
	}
	for _, o := range opts {
		o(w)
	}
	return w
}

// Run watches until ctx ends and every driver has stopped watching. It can be
// called once. Subscriptions end with it.
func (w *Watcher) Run(ctx context.Context) error {
	w.mu.Lock()
	if w.ran {
		w.mu.Unlock()
		return errors.New("watcher: run twice")
	}
	w.ran = true
	w.mu.Unlock()

	var wg sync.WaitGroup
	for i, d := range w.drivers {
		wg.Go(func() { w.watch(ctx, i, d) })
	}
	<-ctx.Done()
	wg.Wait()

	w.mu.Lock()
	w.ended = true
	w.wake()
	w.mu.Unlock()
	return nil
}

// watch keeps one driver watching. A driver that gives up is reported as a
// service that is down and asked again after a pause, as long as ctx lives.
func (w *Watcher) watch(ctx context.Context, i int, d Driver) {
	for {
		err := d.Watch(ctx, func(s Snapshot) { w.report(i, s) })
		if ctx.Err() != nil {
			return
		}
		w.report(i, Snapshot{Err: fmt.Errorf("watch %s readers: %w", d.Kind(), errors.Join(ErrServiceDown, err))})
		retry := time.NewTimer(w.pause)
		select {
		case <-ctx.Done():
			retry.Stop()
			return
		case <-retry.C:
		}
	}
}

// report takes a driver's picture over.
func (w *Watcher) report(i int, s Snapshot) {
	slots := make([]SlotState, 0, len(s.Slots))
	for _, slot := range s.Slots {
		slot.Kind = w.drivers[i].Kind()
		slot.ATR = bytes.Clone(slot.ATR)
		slots = append(slots, slot)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.picture[i] = driverState{true, w.now(), Snapshot{slots, s.Err}}
	w.wake()
}

// wake tells every subscriber to look. The caller holds mu.
func (w *Watcher) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// Slots returns all slots, driver by driver.
func (w *Watcher) Slots() []SlotState {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []SlotState
	for _, d := range w.picture {
		all = append(all, d.Slots...)
	}
	return all
}

// Err returns why readers cannot be seen: the joined errors of the drivers whose
// service is down, nil where every service runs.
func (w *Watcher) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, d := range w.picture {
		errs = append(errs, d.Err)
	}
	return errors.Join(errs...)
}

// Subscribe returns the events, beginning with those that tell how things stand
// now, until ctx or [Watcher.Run] ends or the loop is left. Each range over it is
// a subscription of its own. There is nothing to release.
func (w *Watcher) Subscribe(ctx context.Context) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		told := make([]driverState, len(w.drivers))
		for {
			w.mu.Lock()
			now, changed, ended := slices.Clone(w.picture), w.changed, w.ended
			w.mu.Unlock()
			for i, d := range w.drivers {
				for _, e := range difference(told[i], now[i]) {
					if ctx.Err() != nil {
						return
					}
					e.Driver, e.Time = d, now[i].at
					if !yield(e) {
						return
					}
				}
			}
			told = now
			if ended {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}
}

// difference returns the events that lead from one picture of a driver to
// another: what went, before what came.
func difference(from, to driverState) []Event {
	if !to.known {
		return nil
	}
	var events []Event
	was, is := bySlot(from.Slots), bySlot(to.Slots)
	for _, old := range from.Slots {
		cur, there := is[old.Slot]
		if !there {
			cur = old
		}
		if old.Present && (!there || cur.Insertion != old.Insertion) {
			gone := old
			gone.Present, gone.Mute, gone.InUse, gone.Exclusive, gone.ATR, gone.Insertion = false, false, false, false, nil, 0
			events = append(events, Event{Kind: CardRemoved, Slot: gone})
		}
		if !there {
			events = append(events, Event{Kind: SlotRemoved, Slot: SlotState{Slot: old.Slot, Kind: old.Kind}})
		}
	}
	switch {
	case to.Err != nil && (from.Err == nil || from.Err.Error() != to.Err.Error()):
		events = append(events, Event{Kind: ServiceDown, Err: to.Err})
	case to.Err == nil && (!from.known || from.Err != nil):
		events = append(events, Event{Kind: ServiceUp})
	}
	for _, cur := range to.Slots {
		old, there := was[cur.Slot]
		if !there {
			events = append(events, Event{Kind: SlotAdded, Slot: cur})
		}
		switch {
		case cur.Present && cur.Insertion != old.Insertion:
			events = append(events, Event{Kind: CardInserted, Slot: cur})
		case there && cur.Insertion == old.Insertion && !cur.Equal(old):
			events = append(events, Event{Kind: SlotChanged, Slot: cur})
		}
	}
	return events
}

func bySlot(slots []SlotState) map[string]SlotState {
	m := make(map[string]SlotState, len(slots))
	for _, s := range slots {
		m[s.Slot] = s
	}
	return m
}

// Open connects to the card in a slot that the watcher has seen. The card may be
// another one than was seen: the session's State tells which insertion it is
// connected to. The errors are those of [Driver.Open], and [ErrNoReader] for a
// slot that is not there.
func (w *Watcher) Open(ctx context.Context, slot string, sharing Sharing) (*Session, error) {
	w.mu.Lock()
	var (
		driver Driver
		state  SlotState
		down   error
	)
	for i, d := range w.picture {
		down = errors.Join(down, d.Err)
		for _, s := range d.Slots {
			if s.Slot == slot && driver == nil {
				driver, state = w.drivers[i], s
			}
		}
	}
	w.mu.Unlock()
	switch {
	case driver == nil && down != nil:
		return nil, fmt.Errorf("open %s: %w", slot, down)
	case driver == nil:
		return nil, fmt.Errorf("open %s: %w", slot, ErrNoReader)
	}
	ctx, cancel := context.WithTimeout(ctx, w.wait)
	defer cancel()
	link, err := driver.Open(ctx, slot, sharing)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", slot, err)
	}
	if l, ok := link.(InsertionLink); ok && l.Insertion() != state.Insertion {
		// Another card than the picture shows: the next picture will.
		state.Insertion, state.ATR, state.Present, state.Mute = l.Insertion(), link.ATR(), true, false
	}
	return NewSession(link, state, w.session...), nil
}
