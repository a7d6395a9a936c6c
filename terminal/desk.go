package terminal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"onecard/apdu"
	"onecard/card"
	"onecard/fault"
	"onecard/reader"
)

// Bounds of a desk's work.
const (
	readTime   = 30 * time.Second // opening a card and reading its holder
	busyPause  = 2 * time.Second  // before a card that another program holds is tried again
	faultTries = 3                // of a card whose line fails
	queueDepth = 16
)

// ErrTooManyJobs refuses a caller where a card has a queue already.
var ErrTooManyJobs = fault.New(fault.TooManyCallers, "too many calls for one reader")

// A desk is one slot for user cards. Its goroutine owns the session with the
// card in it; others ask it through jobs and read what it published.
type desk struct {
	svc  *Service
	id   string
	slot reader.SlotState // name and kind; the rest as at creation
	role string           // by configuration

	jobs   chan *job
	wake   chan struct{}    // the slot looks different, or the keys are back
	ended  chan struct{}    // closed when nobody serves jobs any more
	held   *held            // the open card; nil while there is none
	sam    *reader.Session  // the open PSAM; nil while there is none
	tried  uint64           // the insertion that was read last, well or not
	retry  <-chan time.Time // set while the card is to be tried again
	faults int              // errors of the line met by this insertion in a row

	mu      sync.Mutex
	seen    reader.SlotState // as the watcher saw it last
	there   bool
	used    time.Time // when somebody last wanted something of the card
	keys    bool      // the key holder came back
	failing bool      // a call to the PSAM failed
	view    Reader
}

// held is an open card.
type held struct {
	session   *reader.Session
	card      *card.Card
	identity  card.Identity
	insertion uint64
	pin       bool // verified in this insertion
	// unfinished: what was begun on this card earlier could not be ended
	unfinished error
}

// job is one call for the goroutine that owns the card.
type job struct {
	ctx  context.Context
	do   func(context.Context, *held) error
	raw  func(context.Context, exchanger) error // instead of do: also without an open card
	move func(context.Context) error            // instead of do: the card is let go of before
	done chan error
}

// exchanger takes commands; a reader.Session is one.
type exchanger interface {
	Exchange(context.Context, apdu.Command) (apdu.Response, error)
}

func newDesk(s *Service, id string, slot reader.SlotState, role string) *desk {
	return &desk{
		svc: s, id: id, slot: slot, role: role,
		jobs: make(chan *job, queueDepth), wake: make(chan struct{}, 1), ended: make(chan struct{}),
		view: Reader{ID: id, Name: slot.Slot, Kind: slot.Kind, Role: shownRole(slot, role), PINPad: s.parts.Pad.Kind(), State: ReaderEmpty},
	}
}

func (d *desk) key() string { return d.slot.Kind + "\x00" + d.slot.Slot }

// saw tells the desk how its slot looks now.
func (d *desk) saw(slot reader.SlotState, there bool) {
	d.mu.Lock()
	if slot.Insertion != d.seen.Insertion {
		d.used = d.svc.parts.Now()
	}
	d.seen, d.there = slot, there
	d.mu.Unlock()
	d.nudge()
}

// keysBack tells the desk that the key holder answers.
func (d *desk) keysBack() {
	d.mu.Lock()
	d.keys = true
	d.mu.Unlock()
	d.nudge()
}

func (d *desk) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// published returns the desk as pages see it, and whether the slot exists.
func (d *desk) published() (Reader, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	view := d.view
	view.Unit = unitView(d.seen.Unit)
	return view, d.there
}

// quiet reports whether the view says what the slot holds, and whether that is
// a card.
func (d *desk) quiet() (settled, present bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	present = d.there && d.seen.Present
	settled = d.view.State != ReaderReading && present == (d.view.State != ReaderEmpty)
	return settled, present && d.view.Role != RolePSAM
}

// publish changes the view and tells everybody.
func (d *desk) publish(change func(*Reader)) {
	d.mu.Lock()
	// Cards in a published view are never changed in place: readers hold them.
	if d.view.Card != nil {
		c := *d.view.Card
		d.view.Card = &c
	}
	change(&d.view)
	d.mu.Unlock()
	d.svc.pub.changed()
}

// run owns the card until ctx ends.
func (d *desk) run(ctx context.Context) {
	defer close(d.ended)
	defer d.drop()
	beat := time.NewTicker(beatInterval)
	defer beat.Stop()
	for {
		// By the wall clock: the other one stands still while a machine sleeps.
		waiting := time.Now().Round(0)
		slept := func() { d.slept(ctx, time.Now().Round(0).Sub(waiting)) }
		select {
		case <-ctx.Done():
			d.refuse()
			return
		case <-beat.C:
			slept()
		case <-d.wake:
			slept()
			d.look(ctx)
		case <-d.retry:
			d.retry = nil
			d.tried = 0
			d.look(ctx)
		case j := <-d.jobs:
			slept()
			d.serve(ctx, j)
		}
	}
}

// refuse answers what is still queued when the service stops.
func (d *desk) refuse() {
	for {
		select {
		case j := <-d.jobs:
			j.done <- ErrShuttingDown
		default:
			return
		}
	}
}

// look compares the slot with the card that is held and reads a new one.
func (d *desk) look(ctx context.Context) {
	d.mu.Lock()
	seen, there, keys := d.seen, d.there, d.keys
	d.keys = false
	d.mu.Unlock()
	d.checkPSAM()
	switch {
	case !there || !seen.Present:
		d.drop()
		d.tried, d.retry, d.faults = 0, nil, 0
		d.publish(func(v *Reader) {
			v.State, v.Fault, v.Card, v.Role = ReaderEmpty, nil, nil, shownRole(d.slot, d.role)
		})
		if d.role == RolePSAM && d.svc.psamTerminal() == "" {
			d.svc.health.set(HealthPSAM, card.ErrNoPSAM)
		}
	case seen.Insertion != d.tried:
		d.drop()
		d.tried = seen.Insertion
		d.read(ctx, seen)
	case keys && d.held != nil && d.needsKeys():
		d.identify(ctx)
	}
}

// needsKeys reports whether the card was not authenticated only because the
// key holder could not be asked.
func (d *desk) needsKeys() bool {
	if d.held.identity.Authenticated {
		return false
	}
	switch fault.Of(d.held.identity.AuthError).Code {
	case fault.HSMUnreachable, fault.NoKeyHolder, fault.NoPSAM, fault.PSAMLacksKey:
		return true
	}
	return false
}

// drop ends the session. A card whose PIN was verified is reset, so that no
// other program inherits it.
func (d *desk) drop() {
	d.dropPSAM()
	if d.held == nil {
		return
	}
	h := d.held
	d.held = nil
	if h.pin {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		if err := h.session.Reset(ctx); err != nil {
			d.svc.parts.Log.WithError(err).Debug("the card was gone before it could be reset")
		}
		cancel()
	}
	if err := h.session.Close(); err != nil {
		d.svc.parts.Log.WithError(err).Debug("the session ended with its card")
	}
}

// read opens the card in the slot and reads its holder.
func (d *desk) read(ctx context.Context, seen reader.SlotState) {
	if seen.Mute {
		d.failed(reader.ErrMute)
		return
	}
	if d.role == RolePSAM {
		d.readPSAM(ctx, seen)
		return
	}
	d.publish(func(v *Reader) {
		v.State, v.Fault, v.Card, v.Role = ReaderReading, nil, nil, shownRole(d.slot, d.role)
	})
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	began := d.svc.parts.Now()
	session, err := d.svc.watcher.Open(ctx, seen.Slot, reader.Shared)
	if err != nil {
		d.failed(err)
		return
	}
	if session.State().Insertion != seen.Insertion {
		// The card was swapped since. The watcher is about to tell of the one that
		// is connected; where it does not, the slot is looked at again.
		if cerr := session.Close(); cerr != nil {
			d.svc.parts.Log.WithError(cerr).Debug("close after a swap")
		}
		d.tried, d.retry = 0, time.After(busyPause)
		return
	}
	h := &held{session: session, insertion: seen.Insertion}
	err = d.transaction(ctx, h, func() error {
		// A row of commands runs where the reader is talked to. Where the reader
		// hangs the row may still be running: h is dropped unread then.
		return session.Do(ctx, func() error {
			c, err := card.Open(ctx, session, d.svc.parts.CardOptions...)
			if err != nil {
				return err
			}
			h.card = c
			if h.identity, err = c.Identity(ctx, d.svc.keys()); err == nil {
				h.unfinished = d.svc.settleAccounts(ctx, c)
			}
			return err
		})
	})
	if err != nil {
		isPSAM := d.role == RoleAuto && answersAsPSAM(ctx, session, err)
		if cerr := session.Close(); cerr != nil {
			d.svc.parts.Log.WithError(cerr).Debug("close after a failed read")
		}
		if isPSAM {
			d.readPSAM(ctx, seen)
			return
		}
		d.failed(err)
		return
	}
	d.held, d.faults = h, 0
	d.ready(d.svc.parts.Now().Sub(began), session.Commands())
	d.svc.parts.Log.WithFields(map[string]any{
		"reader": d.id, "version": h.identity.Issuer.Version, "commands": session.Commands(),
		"authenticated": h.identity.Authenticated,
	}).Info("card read")
}

// identify reads the holder again, after the key holder came back.
func (d *desk) identify(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	began, sent := d.svc.parts.Now(), d.held.session.Commands()
	err := d.transaction(ctx, d.held, func() (err error) {
		d.held.identity, err = d.held.card.Identity(ctx, d.svc.keys())
		return err
	})
	if err != nil {
		d.lost(ctx, err)
		return
	}
	d.ready(d.svc.parts.Now().Sub(began), d.held.session.Commands()-sent)
}

// transaction keeps other programs out while do runs.
func (d *desk) transaction(ctx context.Context, h *held, do func() error) error {
	if err := h.session.Begin(ctx); err != nil {
		return err
	}
	if h.card != nil {
		// The card was anybody's since the last transaction.
		h.card.ForgetSelection()
	}
	err := do()
	if end := h.session.End(); err == nil && end != nil {
		return end
	}
	return err
}

// failed publishes why the card cannot be used. A card that another program
// holds is tried again while it stays in the reader.
func (d *desk) failed(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	d.svc.parts.Log.WithError(err).WithField("reader", d.id).WithField("code", fault.Of(err).Code).Warning("card not read")
	state := ReaderFailed
	switch {
	case errors.Is(err, reader.ErrStuck):
		state = ReaderStuck
	case errors.Is(err, reader.ErrBusy), errors.Is(err, reader.ErrCardReset):
		d.retry = time.After(busyPause)
	case (errors.Is(err, reader.ErrFault) || errors.Is(err, reader.ErrCardRemoved)) && d.faults < faultTries:
		// A card that was swapped, or torn out and put in again, faster than the
		// service looks fails at a command, and is well when it is connected anew.
		d.faults++
		d.retry = time.After(busyPause)
	}
	d.publish(func(v *Reader) { v.State, v.Fault, v.Card = state, Explain(err), nil })
}

// ready publishes the card that was read.
func (d *desk) ready(took time.Duration, commands int) {
	c := maskedCard(d.held.identity)
	c.Insertion, c.Commands = d.held.insertion, commands
	c.Milliseconds = float64(took.Microseconds()) / 1000
	c.PIN = PIN{Verified: d.held.pin, Phase: PINIdle}
	c.Unfinished = Explain(d.held.unfinished)
	d.publish(func(v *Reader) { v.State, v.Fault, v.Card = ReaderReady, nil, &c })
}

// ask runs do with the open card, in the goroutine that owns it. insertion
// names the card that is meant; 0 is whichever is there.
func (d *desk) ask(ctx context.Context, insertion uint64, do func(context.Context, *held) error) error {
	j := &job{ctx: ctx, done: make(chan error, 1)}
	j.do = func(ctx context.Context, h *held) error {
		if insertion != 0 && h.insertion != insertion {
			return reader.ErrCardChanged
		}
		return do(ctx, h)
	}
	return d.submit(j)
}

// raw runs do with whatever card is in the slot, also one that is no social
// security card. Afterwards the card is read anew: nobody knows what was done
// to it.
func (d *desk) raw(ctx context.Context, do func(context.Context, exchanger) error) error {
	return d.submit(&job{ctx: ctx, raw: do, done: make(chan error, 1)})
}

func (d *desk) submit(j *job) error {
	ctx := j.ctx
	d.touch()
	defer d.touch()
	select {
	case d.jobs <- j:
	default:
		return ErrTooManyJobs
	}
	select {
	case err := <-j.done:
		return err
	case <-d.ended:
		return ErrShuttingDown
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s: %w", d.id, errors.Join(reader.ErrStuck, ctx.Err()))
	}
}

// serve runs one job.
func (d *desk) serve(ctx context.Context, j *job) {
	if j.ctx.Err() != nil {
		j.done <- j.ctx.Err()
		return
	}
	switch {
	case j.raw != nil:
		j.done <- d.serveRaw(ctx, j)
		return
	case j.move != nil:
		j.done <- d.serveMove(ctx, j)
		return
	}
	if d.held == nil {
		j.done <- d.absent()
		return
	}
	// The job ends with its caller's deadline or with the service.
	jctx, cancel := context.WithTimeout(j.ctx, readTime)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	err := d.transaction(jctx, d.held, func() error { return j.do(jctx, d.held) })
	if err != nil {
		d.lost(ctx, err)
	}
	j.done <- err
}

// serveRaw runs raw commands on a session of their own.
func (d *desk) serveRaw(ctx context.Context, j *job) error {
	jctx, cancel := context.WithTimeout(j.ctx, readTime)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	d.drop()
	session, err := d.svc.watcher.Open(jctx, d.slot.Slot, reader.Shared)
	if err != nil {
		return err
	}
	h := &held{session: session, pin: true} // reset it when done
	err = d.transaction(jctx, h, func() error { return j.raw(jctx, session) })
	d.held = h
	d.drop()
	d.tried = 0
	d.look(ctx)
	return err
}

// lost ends a session that an error has ended and, where the card is still
// there (another program reset it), reads it anew.
func (d *desk) lost(ctx context.Context, err error) {
	for _, end := range []error{reader.ErrCardReset, reader.ErrCardRemoved, reader.ErrServiceDown, reader.ErrReaderGone, reader.ErrStuck, reader.ErrFault, reader.ErrGarbage, reader.ErrEndless} {
		if errors.Is(err, end) {
			d.drop()
			d.failed(err)
			if errors.Is(err, reader.ErrCardReset) {
				d.retry = nil
				d.tried = 0
				d.look(ctx)
			}
			return
		}
	}
}
