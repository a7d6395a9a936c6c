package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"onecard/reader"
	"onecard/reader/hold"
)

// A Config says which unit a [Driver] drives, and how.
type Config struct {
	// Name begins the names of the slots: "NAME card", "NAME contactless",
	// "NAME SAM 1".
	Name string
	// Open opens the line, anew after every loss of it.
	Open func() (Port, error)
	// Unit makes the unit on an open line and owns it; one of [Units].
	Unit func(Port) Unit
	// SAMs is how many SAM slots are looked for, 4 where 0, none where negative.
	SAMs int
	// Poll is the time between two looks at the sensors, 200 ms where 0.
	Poll time.Duration
	// CaptureAfter is how long a card may lie at the mouth before it is captured;
	// 0 leaves it there.
	CaptureAfter time.Duration
	// ReturnAfter is how long a card may be inside, with no session open, before it
	// is returned; 0 keeps it.
	ReturnAfter time.Duration
	// Hopper says that the unit has a hopper, so that an empty one counts.
	Hopper bool
	// Recorded returns what the unit of this number counted in its bin when a
	// capture was recorded last; known is false where none was. May be nil.
	Recorded func(serial string) (inBin int, known bool, err error)
	// Record is told of every captured card, and when the bin was emptied; may be nil. Where it fails the card is
	// in the bin all the same, and Problem is told.
	Record func(Capture) error
	// Problem is told what goes wrong where no caller waits for it, and nil when it
	// is over; may be nil.
	Problem func(error)
	// Now replaces time.Now.
	Now func() time.Time
}

// A Driver is the [reader.Driver] of one unit. Its slots are there while
// [Driver.Watch] runs and the unit answers. It is safe for use by several
// goroutines.
type Driver struct {
	cfg      Config
	requests chan request

	mu        hold.Board
	slots     []*slot       // none while the unit does not answer
	down      chan struct{} // closed while there is no unit
	insertion uint64
	status    Status
	inBin     int // -1: the unit does not say
	problem   error
	incident  reader.Incident
}

// slot is one place of a chip. The driver's mu guards it.
type slot struct {
	name      string
	chip      Chip
	present   bool
	atr       []byte
	insertion uint64
	held      hold.Slot
}

// A request is run by the goroutine that owns the unit.
type request struct {
	ctx  context.Context
	run  func(ctx context.Context, o *owner) error
	done chan error // buffered
}

// UnitName is the name of the unit on a serial port, which begins the names of its
// slots.
func UnitName(port string) string { return "card unit " + port }

// New returns a driver. Nothing is opened before [Driver.Watch].
func New(cfg Config) *Driver {
	if cfg.Poll <= 0 {
		cfg.Poll = 200 * time.Millisecond
	}
	if cfg.SAMs == 0 {
		cfg.SAMs = 4
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Recorded == nil {
		cfg.Recorded = func(string) (int, bool, error) { return 0, false, nil }
	}
	if cfg.Record == nil {
		cfg.Record = func(Capture) error { return nil }
	}
	if cfg.Problem == nil {
		cfg.Problem = func(error) {}
	}
	d := &Driver{cfg: cfg, requests: make(chan request), inBin: -1, down: make(chan struct{})}
	close(d.down)
	return d
}

// Kind returns "transport".
func (d *Driver) Kind() string { return "transport" }

// Watch owns the unit until ctx ends; see [reader.Driver]. While the line or the
// unit is gone there are no slots, and both are looked for again with growing
// pauses of at most 2 seconds. The first picture comes when the unit was made ready,
// or was not within 4 seconds.
func (d *Driver) Watch(ctx context.Context, report func(reader.Snapshot)) error {
	const shortest, longest = 100 * time.Millisecond, 2 * time.Second
	pause := shortest
	p := &pictures{d: d, report: report}
	defer p.end()
	first := time.AfterFunc(4*time.Second, p.give)
	defer first.Stop()
	for {
		began := d.cfg.Now()
		err := d.own(ctx, p.give)
		if ctx.Err() != nil {
			return nil
		}
		d.tell(err)
		d.refusing(err)
		p.give()
		if d.cfg.Now().Sub(began) > longest {
			pause = shortest
		}
		retry := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			retry.Stop()
			return nil
		case <-retry.C:
		}
		pause = min(2*pause, longest)
	}
}

// refusing keeps the slot of a unit that answers and says that it cannot work, so
// that what is wrong with it is seen. It is empty: nothing can be opened.
func (d *Driver) refusing(err error) {
	if err == nil || !refused(err) || errors.Is(err, ErrNotInitialised) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slots = []*slot{{name: d.cfg.Name + userSuffix, chip: UserChip}}
}

// tell tells a problem once, and shows it.
func (d *Driver) tell(err error) {
	d.mu.Lock()
	news := what(err) != what(d.problem)
	if news {
		d.problem = err
		d.wake()
	}
	d.mu.Unlock()
	if news {
		d.cfg.Problem(err)
	}
}

// what tells problems apart: by the unit's own code, whatever was being done.
func what(err error) string {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Error()
	}
	return err.Error()
}

// happened shows what a person should know although it is over.
func (d *Driver) happened(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.incident = reader.Incident{Time: d.cfg.Now(), Err: err}
	d.wake()
}

// unitState is what the unit holds. The caller holds mu.
func (d *Driver) unitState() *reader.UnitState {
	return &reader.UnitState{
		Name: d.cfg.Name, Card: d.status.Card, Hopper: d.status.Hopper, BinFull: d.status.BinFull, InBin: d.inBin,
		Dispenses: d.cfg.Hopper, Problem: d.problem, Incident: d.incident,
	}
}

func (d *Driver) wake() { d.mu.Wake() }

// pictures reports them in their order, and none after the end.
type pictures struct {
	d      *Driver
	mu     sync.Mutex
	report func(reader.Snapshot) // nil after the end
}

func (p *pictures) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report = nil
}

// give reports how things are, slots sorted by name.
func (p *pictures) give() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report == nil {
		return
	}
	p.d.mu.Lock()
	list := make([]reader.SlotState, 0, len(p.d.slots))
	unit := p.d.unitState()
	for _, s := range p.d.slots {
		around := unit
		if s.chip >= 0 {
			around = nil // no card is moved to a SAM slot
		}
		list = append(list, reader.SlotState{
			Unit: around,
			Slot: s.name, Kind: p.d.Kind(), Present: s.present, Mute: s.present && len(s.atr) == 0,
			InUse: s.held.InUse(), Exclusive: s.held.Exclusive(), ATR: bytes.Clone(s.atr), Insertion: s.insertion,
		})
	}
	p.d.mu.Unlock()
	slices.SortFunc(list, func(a, b reader.SlotState) int { return strings.Compare(a.Slot, b.Slot) })
	p.report(reader.Snapshot{Slots: list})
}

// call has the owner run something, and waits for it or for ctx.
func (d *Driver) call(ctx context.Context, run func(ctx context.Context, o *owner) error) error {
	if err := ctx.Err(); err != nil {
		return late(err)
	}
	d.mu.Lock()
	down := d.down
	d.mu.Unlock()
	r := request{ctx, run, make(chan error, 1)}
	select {
	case d.requests <- r:
	case <-down:
		return d.gone()
	case <-ctx.Done():
		return late(ctx.Err())
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		// The owner meets the end of ctx too; what it then says is more exact, but
		// it may be in a call to the line that has to end first.
		return late(ctx.Err())
	}
}

// gone is why nobody drives the unit: it is away, or it says what is wrong with it.
func (d *Driver) gone() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.slots) > 0 && d.problem != nil {
		return d.problem
	}
	return reader.ErrReaderGone
}

// Status returns what the sensors said last. It fails with
// [reader.ErrReaderGone] while the unit does not answer.
func (d *Driver) Status() (Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.down:
		return Status{}, reader.ErrReaderGone
	default:
		return d.status, nil
	}
}

// Return brings the card to the mouth, where its holder takes it. Sessions with it
// end with [reader.ErrCardRemoved]. It fails with [reader.ErrNoCard] where there is
// no card inside.
func (d *Driver) Return(ctx context.Context) error {
	return d.call(ctx, func(ctx context.Context, o *owner) error { return o.acted(ctx, o.giveBack(ctx)) })
}

// Capture brings the card into the reject bin and records it. Sessions with it end.
// It fails with [reader.ErrNoCard] where there is none, and with [ErrBinFull].
func (d *Driver) Capture(ctx context.Context) error {
	return d.call(ctx, func(ctx context.Context, o *owner) error { return o.acted(ctx, o.capture(ctx, ByOrder)) })
}

// Dispense fetches a card from the hopper and connects to it. It fails with
// [ErrOccupied] where there is a card already, and with [ErrHopperEmpty].
func (d *Driver) Dispense(ctx context.Context) error {
	return d.call(ctx, func(ctx context.Context, o *owner) error { return o.acted(ctx, o.dispense(ctx)) })
}

// Emptied sets the unit's counter of captured cards to 0, when a person has emptied
// the reject bin.
func (d *Driver) Emptied(ctx context.Context) error {
	return d.call(ctx, func(ctx context.Context, o *owner) error { return o.emptied(ctx) })
}

// UnitState returns what the unit held when it was last looked at.
func (d *Driver) UnitState() *reader.UnitState {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unitState()
}

// Look looks at the sensors now, not at the next time.
func (d *Driver) Look(ctx context.Context) error {
	return d.call(ctx, func(ctx context.Context, o *owner) error { return o.look(ctx) })
}

// Do runs f on the goroutine that owns the unit, for what has no method of its
// own: versions, the bin's counter. f must not keep u.
func (d *Driver) Do(ctx context.Context, f func(ctx context.Context, u Unit) error) error {
	return d.call(ctx, func(ctx context.Context, o *owner) error { return f(ctx, o.unit) })
}

// Open connects to the chip in a slot; see [reader.Driver]. The line belongs to
// this program alone, so only its own links keep each other out.
func (d *Driver) Open(ctx context.Context, name string, sharing reader.Sharing) (reader.Link, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.slots, func(s *slot) bool { return s.name == name })
	if i < 0 {
		return nil, reader.ErrReaderGone
	}
	switch s := d.slots[i]; {
	case !s.present:
		return nil, reader.ErrNoCard
	case len(s.atr) == 0:
		return nil, reader.ErrMute
	default:
		held, err := s.held.Connect(&d.mu, sharing)
		if err != nil {
			return nil, err
		}
		return &link{Link: held, d: d, s: s, atr: bytes.Clone(s.atr)}, nil
	}
}

// removed is what links meet whose card went, with the reason.
func removed(why error) error {
	if why == nil || errors.Is(why, reader.ErrCardRemoved) {
		return reader.ErrCardRemoved
	}
	return fmt.Errorf("%w: %w", reader.ErrCardRemoved, why)
}
