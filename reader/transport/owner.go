package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"onecard/reader"
)

// An owner drives the unit while the line holds. It lives on the goroutine of
// [Driver.Watch].
type owner struct {
	d      *Driver
	unit   Unit
	serial string
	user   *slot
	field  *slot
	sams   []*slot

	inside bool // the card inside has been looked at
	moving bool // the motor was told to bring it out
	entry  bool // the mouth lets a card in
	mouth  Monitor
	idle   Monitor
}

// own opens the line, makes the unit ready and serves until ctx ends or the line
// or the unit fails.
func (d *Driver) own(ctx context.Context, report func()) (err error) {
	port, err := d.cfg.Open()
	if err != nil {
		return err
	}
	o := &owner{
		d: d, unit: d.cfg.Unit(port),
		mouth: Monitor{After: d.cfg.CaptureAfter, Now: d.cfg.Now}, idle: Monitor{After: d.cfg.ReturnAfter, Now: d.cfg.Now},
	}
	defer func() { err = errors.Join(err, o.unit.Close()) }()
	if err := o.start(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	d.slots = append([]*slot{o.user, o.field}, o.sams...)
	d.down = make(chan struct{})
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		for _, s := range d.slots {
			s.held.End(removed(err))
		}
		d.slots = nil
		close(d.down)
		d.wake()
		d.mu.Unlock()
	}()
	d.tell(nil) // it has answered and is ready
	poll := time.NewTicker(d.cfg.Poll)
	defer poll.Stop()
	if err := o.look(ctx); err != nil {
		return err
	}
	for {
		d.mu.Lock()
		changed := d.mu.Changed()
		d.mu.Unlock()
		report()
		// By the wall clock: the other one stands still while a machine sleeps.
		waiting := time.Now().Round(0)
		select {
		case <-ctx.Done():
			return nil
		case r := <-d.requests:
			o.slept(time.Now().Round(0).Sub(waiting))
			if err := o.serve(ctx, r); err != nil {
				return err
			}
		case <-poll.C:
			o.slept(time.Now().Round(0).Sub(waiting))
			if err := o.look(ctx); err != nil {
				return err
			}
		case <-changed:
			o.slept(time.Now().Round(0).Sub(waiting))
		}
	}
}

// sleep is how much longer than the time between two looks nobody looked, when this
// machine or program must have slept.
const sleep = 5 * time.Second

// slept ends what is known of the card inside after a long time without a look: the unit
// goes on by itself meanwhile, and whoever took a card out may have put another in.
func (o *owner) slept(waited time.Duration) {
	if o.inside && !o.moving && waited > o.d.cfg.Poll+sleep {
		o.forget(reader.ErrCardRemoved)
	}
}

// start initialises the unit, after which a card inside is held, and looks which
// SAM slots have a module.
func (o *owner) start(ctx context.Context) error {
	// A unit that was switched on, or whose power failed, says so until it is
	// initialised.
	_, err := o.unit.Status(ctx)
	fresh := errors.Is(err, ErrNotInitialised)
	if err != nil && !refused(err) {
		return err
	}
	if _, err := o.unit.Initialise(ctx, ParkHold); err != nil {
		return err
	}
	if fresh {
		st, err := o.unit.Status(ctx)
		if err != nil {
			return err
		}
		if st.Card == reader.Inside {
			o.d.happened(ErrPowerLost)
		}
	}
	if o.serial, err = o.unit.SerialNumber(ctx); err != nil {
		if !refused(err) {
			return err
		}
		o.serial = "" // it has none
	}
	if err := o.countBin(ctx); err != nil {
		return err
	}
	o.inside, o.entry, o.moving = false, false, false
	name := o.d.cfg.Name
	o.user = &slot{name: name + userSuffix, chip: UserChip}
	o.field = &slot{name: name + " contactless", chip: FieldChip}
	o.sams = nil
	for n := range max(o.d.cfg.SAMs, 0) {
		atr, err := o.unit.PowerOn(ctx, SAM(n), false)
		if err != nil {
			if errors.Is(err, ErrRefused) {
				break // no such slot
			}
			if !refused(err) {
				return err
			}
			atr = nil
		}
		s := &slot{name: fmt.Sprintf("%s %s", name, SAM(n)), chip: SAM(n)}
		if len(atr) > 0 {
			s.present, s.atr, s.insertion = true, bytes.Clone(atr), o.d.inserted()
		}
		o.sams = append(o.sams, s)
	}
	return nil
}

// userSuffix ends the name of the slot for the card under the contacts.
const userSuffix = " card"

// refused reports whether the unit answered and said no.
func refused(err error) bool {
	var e *Error
	return errors.As(err, &e) || errors.Is(err, ErrMute)
}

func (d *Driver) inserted() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.insertion++
	return d.insertion
}

// serve runs one request. Its error is the unit's where the unit is of no use any
// more; what the request's caller meets is told to the caller.
func (o *owner) serve(ctx context.Context, r request) error {
	within, cancel := context.WithCancel(r.ctx)
	stop := context.AfterFunc(ctx, cancel)
	defer func() { stop(); cancel() }()
	err := r.run(within, o)
	if err != nil && ctx.Err() != nil && r.ctx.Err() == nil {
		err = reader.ErrReaderGone // the watch ends, not the request's time
	}
	r.done <- err
	if errors.Is(err, ErrNotInitialised) {
		return o.look(ctx)
	}
	if errors.Is(err, reader.ErrReaderGone) {
		return err
	}
	return nil
}

// look asks the sensors and does what follows from them.
func (o *owner) look(ctx context.Context) error {
	st, err := o.unit.Status(ctx)
	if errors.Is(err, ErrNotInitialised) {
		// The power failed: every chip has forgotten everything.
		return err
	}
	if err != nil {
		return err
	}
	o.d.mu.Lock()
	if o.d.status != st {
		o.d.status = st
		o.d.wake()
	}
	o.d.mu.Unlock()
	if st.Card != reader.Inside && o.inside {
		if !o.moving {
			o.d.happened(ErrMovedByHand)
		}
		o.forget(reader.ErrCardRemoved)
	}
	var problem error
	acted := st.Card == reader.Nowhere // whatever was wrong with a card is over
	switch st.Card {
	case reader.Nowhere:
		if !o.entry {
			if problem = o.unit.Accept(ctx, true); problem == nil {
				o.entry = true
			}
		}
	case reader.Inside:
		if !o.inside {
			problem, acted = o.connect(ctx), true
		}
	}
	if o.mouth.Look(st.Card == reader.AtMouth) && problem == nil {
		problem = o.capture(ctx, LeftAtMouth)
	}
	if o.idle.Look(o.inside && !o.used()) && problem == nil {
		problem = o.giveBack(ctx)
	}
	if problem != nil || acted {
		o.d.tell(problem)
	}
	if problem != nil && !refused(problem) && !errors.Is(problem, ErrUnrecorded) {
		return problem
	}
	return nil
}

// used reports whether a session is open on the card.
func (o *owner) used() bool {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	return o.user.held.Connected() || o.field.held.Connected()
}

// connect brings the card that is inside to the contacts, and into the field where
// it has none or they are mute, and looks for a chip. A card that no chip answers
// of is a mute card in the user's slot.
func (o *owner) connect(ctx context.Context) error {
	o.inside, o.moving = true, false
	slot, atr, err := o.user, []byte(nil), o.unit.Move(ctx, Contact)
	if err == nil {
		atr, err = o.unit.PowerOn(ctx, UserChip, false)
	}
	if err != nil && refused(err) && !errors.Is(err, ErrNotInitialised) {
		var ferr error
		if ferr = o.unit.Move(ctx, Field); ferr == nil {
			var inField []byte
			if inField, ferr = o.unit.PowerOn(ctx, FieldChip, false); ferr == nil {
				slot, atr, err = o.field, inField, nil
			}
		}
		if ferr != nil && !refused(ferr) {
			return ferr
		}
	}
	if err != nil && !refused(err) {
		return err
	}
	number := o.d.inserted()
	o.d.mu.Lock()
	slot.present, slot.atr, slot.insertion = true, bytes.Clone(atr), number
	o.d.wake()
	o.d.mu.Unlock()
	if errors.Is(err, ErrMute) || errors.Is(err, ErrChip) {
		return nil // the slot says so
	}
	return err
}

// forget ends what is known of the card inside.
func (o *owner) forget(why error) {
	o.inside = false
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	for _, s := range []*slot{o.user, o.field} {
		s.held.End(removed(why))
		s.present, s.atr, s.insertion = false, nil, 0
	}
	o.d.wake()
}

// release takes the power off the card before the motor moves it.
func (o *owner) release(ctx context.Context) error {
	chip, on := UserChip, false
	o.d.mu.Lock()
	switch {
	case o.user.present:
		on = len(o.user.atr) > 0
	case o.field.present:
		chip, on = FieldChip, true
	}
	o.d.mu.Unlock()
	o.forget(reader.ErrCardRemoved)
	if !on {
		return nil
	}
	if err := o.unit.PowerOff(ctx, chip); err != nil && !refused(err) {
		return err
	}
	return nil // a card that cannot be powered down can still be moved
}

// shut keeps cards from being pushed in while one is moved out.
func (o *owner) shut(ctx context.Context) error {
	o.entry = false
	return o.unit.Accept(ctx, false)
}

func (o *owner) giveBack(ctx context.Context) error {
	st, err := o.unit.Status(ctx)
	if err != nil {
		return err
	}
	if st.Card != reader.Inside {
		return fmt.Errorf("return the card: %w", reader.ErrNoCard)
	}
	if err := o.release(ctx); err != nil {
		return err
	}
	o.inside, o.moving = true, true // until it has left
	if err := o.shut(ctx); err != nil {
		return err
	}
	return o.unit.Move(ctx, Mouth)
}

func (o *owner) capture(ctx context.Context, reason string) error {
	st, err := o.unit.Status(ctx)
	switch {
	case err != nil:
		return err
	case st.Card == reader.Nowhere:
		return fmt.Errorf("capture the card: %w", reader.ErrNoCard)
	case st.BinFull:
		return fmt.Errorf("capture the card: %w", &Error{Unit: "A1"})
	}
	if err := o.release(ctx); err != nil {
		return err
	}
	o.inside, o.moving = true, true
	if err := o.shut(ctx); err != nil {
		return err
	}
	if err := o.unit.Move(ctx, Bin); err != nil {
		return err
	}
	o.inside, o.moving = false, false
	o.d.happened(fmt.Errorf("%w: %s", ErrCaptured, reason))
	n, err := o.binCount(ctx)
	if rerr := o.record(reason, n); rerr != nil {
		o.d.happened(rerr)
		return errors.Join(rerr, err)
	}
	return err
}

// record keeps that a card was captured.
func (o *owner) record(reason string, inBin int) error {
	c := Capture{Time: o.d.cfg.Now().UTC(), Unit: o.d.cfg.Name, Serial: o.serial, Reason: reason, BinCount: inBin}
	if err := o.d.cfg.Record(c); err != nil {
		return fmt.Errorf("%w: %w", ErrUnrecorded, err)
	}
	return nil
}

// binCount asks for the unit's counter, -1 where it has none, and shows it.
func (o *owner) binCount(ctx context.Context) (int, error) {
	n, err := o.unit.BinCount(ctx)
	if err != nil {
		n = -1
		if refused(err) {
			err = nil
		}
	}
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	if o.d.inBin != n {
		o.d.inBin = n
		o.d.wake()
	}
	return n, err
}

// countBin compares the unit's counter with the records: a card that was captured
// when this program, or its disk, could not write it down is recorded now.
func (o *owner) countBin(ctx context.Context) error {
	n, err := o.binCount(ctx)
	if err != nil || n < 0 {
		return err
	}
	recorded, known, err := o.d.cfg.Recorded(o.serial)
	if err != nil {
		o.d.happened(fmt.Errorf("%w: %w", ErrUnrecorded, err))
		return nil // cards can be read all the same
	}
	if known && n > recorded {
		if err := o.record(FoundInBin, n); err != nil {
			o.d.happened(err)
			return nil
		}
		o.d.happened(fmt.Errorf("%w: %s", ErrCaptured, FoundInBin))
	}
	return nil
}

// acted shows how a move went that somebody ordered, and looks where the card is.
func (o *owner) acted(ctx context.Context, err error) error {
	var e *Error
	switch {
	case err == nil:
		o.d.tell(nil)
		return o.look(ctx)
	case errors.As(err, &e):
		o.d.tell(err)
	}
	return err
}

// emptied sets the unit's counter to 0 and records that, so that what is captured
// next is not taken for what was there before.
func (o *owner) emptied(ctx context.Context) error {
	if err := o.unit.ResetBinCount(ctx); err != nil {
		return fmt.Errorf("reset the counter of the bin: %w", err)
	}
	n, err := o.binCount(ctx)
	if err != nil {
		return err
	}
	if err := o.record(Emptied, n); err != nil {
		return err
	}
	return o.look(ctx)
}

func (o *owner) dispense(ctx context.Context) error {
	st, err := o.unit.Status(ctx)
	switch {
	case err != nil:
		return err
	case st.Card != reader.Nowhere:
		return fmt.Errorf("dispense a card: %w", ErrOccupied)
	case st.Hopper == reader.HopperEmpty:
		return fmt.Errorf("dispense a card: %w", &Error{Unit: "A0"})
	}
	if err := o.shut(ctx); err != nil {
		return err
	}
	return o.unit.Move(ctx, Contact)
}

// transmit sends a link's command.
func (o *owner) transmit(ctx context.Context, chip Chip, command []byte) ([]byte, error) {
	answer, err := o.unit.Transmit(ctx, chip, command)
	if err == nil || !refused(err) || chip >= 0 {
		return answer, err
	}
	switch {
	case errors.Is(err, ErrNotInitialised), errors.Is(err, ErrMovedByHand):
		return nil, removed(err)
	}
	// A card that was pulled makes errors of many kinds; the sensors know.
	if st, serr := o.unit.Status(ctx); serr == nil && st.Card != reader.Inside {
		return nil, removed(err)
	}
	// There is a card, and it has no power: it is another one than was powered on, which
	// nobody saw come. The next look takes it for what it is.
	var told *Error
	if errors.As(err, &told) && told.Unit == outOfSequence {
		o.forget(reader.ErrCardRemoved)
		return nil, removed(err)
	}
	return nil, err
}

// outOfSequence is the code of a command to a chip that was not powered on.
const outOfSequence = "02"
