package pcsc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ebfe/scard"

	"onecard/reader"
)

const (
	// A wait for changes is cut into slices, because a Cancel that comes before
	// the wait has begun is lost: ctx is looked at between slices.
	slice = 500 * time.Millisecond
	// Not every service tells of new readers: the list is read again every so
	// often.
	relist = 2 * time.Second
	// hung is how long a call of the watch may take beyond its slice before the
	// service counts as down.
	hung = 5 * time.Second
	// A service that is down is looked for again after pauses that grow from the
	// first to the second, short enough to be back within two seconds of it.
	firstPause = 100 * time.Millisecond
	lastPause  = time.Second
)

// plugAndPlay is the name under which a service tells of readers that come and
// go.
const plugAndPlay = `\\?PnP?\Notification`

// watching is what a watch needs of a PC/SC context.
type watching interface {
	ListReaders() ([]string, error)
	GetStatusChange(states []scard.ReaderState, wait time.Duration) error
	Release() error
}

// establish returns a context of the machine's service.
func establish() (watching, error) {
	c, err := scard.EstablishContext()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// watched is set while a Watch runs. The binding keeps the names of readers that
// it has handed to the service in a table of the whole process, by name: a
// second wait for the same reader frees the first one's memory under it.
var watched atomic.Bool

// ErrWatched is the error of a second Watch in the same process.
var ErrWatched = fmt.Errorf("%w: the readers are being watched already", reader.ErrBusy)

// Watch reports the readers; see [reader.Driver]. There can be one at a time in a
// process, whatever the number of drivers: another returns [ErrWatched].
func (d *Driver) Watch(ctx context.Context, report func(reader.Snapshot)) error {
	if !watched.CompareAndSwap(false, true) {
		return ErrWatched
	}
	var (
		pause = firstPause
		last  reader.Snapshot
		known bool
	)
	tell := func(s reader.Snapshot) {
		d.mark(&s)
		if known && same(last, s) {
			return
		}
		known, last = true, s
		report(s)
	}
	defer watched.Store(false)
	defer d.publish(nil, nil)
	for {
		t, err := d.start("")
		if err == nil {
			w := watch{d: d, t: t}
			err = w.run(ctx, func(s reader.Snapshot) {
				pause = firstPause
				tell(s)
			})
			t.stop()
		}
		if ctx.Err() != nil {
			return nil
		}
		d.publish(nil, nil)
		tell(reader.Snapshot{Err: service(err)})
		again := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			again.Stop()
			return nil
		case <-again.C:
		}
		pause = min(2*pause, lastPause)
	}
}

// mark adds to a snapshot which readers have a call hanging.
func (d *Driver) mark(s *reader.Snapshot) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range s.Slots {
		a := d.abandoned[s.Slots[i].Slot]
		s.Slots[i].Stuck = a.calls > 0 && errors.Is(a.err, reader.ErrStuck)
	}
}

// publish keeps the picture for Open and for links whose command failed.
func (d *Driver) publish(slots []reader.SlotState, counts map[string]uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.seen)
	for _, s := range slots {
		d.seen[s.Slot] = s
	}
	d.counts = counts
	close(d.changed)
	d.changed = make(chan struct{})
}

// gone waits until the watch has seen that an insertion is over, or ctx ends.
func (d *Driver) gone(ctx context.Context, slot string, insertion uint64) bool {
	for {
		d.mu.Lock()
		now, changed := d.seen[slot].Insertion, d.changed
		d.mu.Unlock()
		if now != insertion {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// insertionAt returns the insertion of a card that the service counted so many
// events up to, as soon as the watch has seen it. It is 0 where the watch does not
// run or does not see it in time: then nobody knows which card it is.
func (d *Driver) insertionAt(ctx context.Context, slot string, count uint16) uint64 {
	ctx, cancel := context.WithTimeout(ctx, removalTime)
	defer cancel()
	for {
		d.mu.Lock()
		s, watched := d.seen[slot]
		same, changed := d.counts[slot] == count || !counted, d.changed
		d.mu.Unlock()
		switch {
		case !watched:
			return 0
		case same && s.Present:
			return s.Insertion
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0
		}
	}
}

// counted tells whether the service counts events in a card's status, too. The one
// of Windows does so in a wait alone.
const counted = runtime.GOOS != "windows"

// A watch is the life of one watching context.
type watch struct {
	d *Driver
	t *thread

	context watching
	states  []scard.ReaderState // plug-and-play first, where the service has it
	pnp     bool
	looks   map[string]look
	listed  time.Time
}

// A look is what was last seen of a reader.
type look struct {
	flags     scard.StateFlag // without Changed; the event counter in the high word
	atr       []byte
	insertion uint64
}

// run watches until ctx ends or the context fails.
func (w *watch) run(ctx context.Context, report func(reader.Snapshot)) error {
	if err := w.call(ctx, w.establish); err != nil {
		return err
	}
	w.pnp, w.looks = true, make(map[string]look)
	again := true // the list has to be read
	for {
		if again || w.d.now().Sub(w.listed) >= relist {
			if err := w.call(ctx, w.list); err != nil {
				return err
			}
			w.listed, again = w.d.now(), false
			if len(w.readers()) == 0 {
				report(w.publish()) // the wait has nothing to tell at once
			}
		}
		var err error
		if len(w.states) == 0 {
			// Nothing to wait on, and the binding panics on no states.
			err = w.rest(ctx)
		} else {
			err = w.call(ctx, w.wait)
		}
		var code scard.Error
		switch {
		case err == nil:
			again = w.look()
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.As(err, &code):
			return err
		case code == scard.ErrTimeout:
		case code == scard.ErrUnknownReader, code == scard.ErrReaderUnavailable:
			// One of the names is no longer known. Where it is none of the
			// readers', the service has no plug and play.
			before := w.readers()
			if err := w.call(ctx, w.list); err != nil {
				return err
			}
			if w.pnp && slices.Equal(before, w.readers()) {
				w.pnp, again = false, true
			}
		default:
			return err
		}
		report(w.publish())
	}
}

// publish makes the picture known to the driver and returns it.
func (w *watch) publish() reader.Snapshot {
	slots, counts := w.slots(), make(map[string]uint16, len(w.looks))
	for name, l := range w.looks {
		counts[name] = events(l.flags)
	}
	w.d.publish(slots, counts)
	return reader.Snapshot{Slots: slots}
}

// readers returns the names that are watched.
func (w *watch) readers() []string {
	var names []string
	for _, s := range w.states {
		if s.Reader != plugAndPlay {
			names = append(names, s.Reader)
		}
	}
	return names
}

// call makes one call in the watch's thread. The end of ctx does not cut it
// short: no call here is meant to take longer than a slice.
func (w *watch) call(ctx context.Context, f func() error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), slice+hung)
	defer cancel()
	return w.t.do(ctx, reader.ErrStuck, f)
}

func (w *watch) establish() error {
	c, err := w.d.watcher()
	if err != nil {
		return err
	}
	w.context = c
	w.t.release = func() { _ = c.Release() } // it may be dead already
	return nil
}

// list brings the states in line with the readers there are. Every reader is
// Unaware after it, so that the next wait tells its state at once: pcsc-lite does
// not wake a wait for a program that connects. It runs in the watch's thread.
func (w *watch) list() error {
	names, err := w.context.ListReaders()
	if err != nil && !errors.Is(err, scard.ErrNoReadersAvailable) {
		return err
	}
	if w.pnp {
		names = append([]string{plugAndPlay}, names...)
	}
	var pnp scard.StateFlag
	if len(w.states) > 0 && w.states[0].Reader == plugAndPlay {
		pnp = w.states[0].CurrentState
	}
	w.states = w.states[:0]
	for _, name := range names {
		s := scard.ReaderState{Reader: name}
		if name == plugAndPlay {
			s.CurrentState = pnp
		}
		w.states = append(w.states, s)
	}
	for name := range w.looks {
		if !slices.Contains(names, name) {
			delete(w.looks, name)
		}
	}
	return nil
}

// wait waits for a change. It runs in the watch's thread, which writes into the
// states; the watch looks at them only after it.
func (w *watch) wait() error {
	for i := range w.states {
		// The binding leaves an ATR standing when there is none any more.
		w.states[i].Atr = nil
	}
	return w.context.GetStatusChange(w.states, slice)
}

// rest is a wait without a service to wait for.
func (w *watch) rest(ctx context.Context) error {
	t := time.NewTimer(slice)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	return scard.ErrTimeout
}

// look takes over what a wait brought and reports whether the list of readers has
// to be read again.
func (w *watch) look() (again bool) {
	for i := range w.states {
		s := &w.states[i]
		flags := s.EventState &^ scard.StateChanged
		if s.Reader == plugAndPlay {
			again = again || s.EventState&scard.StateChanged != 0
			s.CurrentState = flags
			continue
		}
		if flags&(scard.StateUnknown|scard.StateUnavailable|scard.StateIgnore) != 0 {
			again = true
		}
		s.CurrentState = flags
		before := w.looks[s.Reader]
		now := next(before, flags, s.Atr)
		if now.insertion == 0 && present(flags) {
			now.insertion = w.d.inserted()
		}
		w.looks[s.Reader] = now
	}
	return again
}

// inserted numbers an insertion.
func (d *Driver) inserted() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.insertion++
	return d.insertion
}

// next returns the look after before. Its insertion is before's where the same
// card is still there, else 0.
func next(before look, flags scard.StateFlag, atr []byte) look {
	now := look{flags: flags}
	if !present(flags) {
		return now // the ATR may be the last card's
	}
	now.atr = bytes.Clone(atr)
	if present(before.flags) && events(before.flags) == events(flags) {
		now.insertion = before.insertion
	}
	return now
}

// present tells by the flag alone whether a card is there.
func present(flags scard.StateFlag) bool { return flags&scard.StatePresent != 0 }

// events is the service's count of insertions and removals, modulo 2^16.
func events(flags scard.StateFlag) uint16 { return uint16(flags >> 16) }

// slots returns the picture, sorted by name.
func (w *watch) slots() []reader.SlotState {
	slots := make([]reader.SlotState, 0, len(w.looks))
	for name, l := range w.looks {
		s := reader.SlotState{
			Slot: name, Kind: "pcsc",
			Present:   present(l.flags),
			InUse:     l.flags&(scard.StateInuse|scard.StateExclusive) != 0,
			Exclusive: l.flags&scard.StateExclusive != 0,
			ATR:       l.atr,
			Insertion: l.insertion,
		}
		s.Mute = s.Present && (l.flags&scard.StateMute != 0 || len(l.atr) == 0)
		slots = append(slots, s)
	}
	slices.SortFunc(slots, func(a, b reader.SlotState) int { return strings.Compare(a.Slot, b.Slot) })
	return slots
}

// same compares snapshots.
func same(a, b reader.Snapshot) bool {
	if (a.Err == nil) != (b.Err == nil) || a.Err != nil && a.Err.Error() != b.Err.Error() {
		return false
	}
	return slices.EqualFunc(a.Slots, b.Slots, reader.SlotState.Equal)
}
