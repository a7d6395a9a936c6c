package settlement

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"onecard/fault"
)

// A Sender delivers one item, once. Its error says what becomes of the item:
//
//   - nil: upstream has acknowledged it. It is never sent again.
//   - an error whose [OutcomeOf] is Refused, or NotSent because the item itself
//     is wrong, or any that wraps an [Undeliverable]: a dead letter.
//   - ErrUnreachable, ErrCredentials, ErrJournalUnavailable, a [Postponed], and
//     what waits for a settlement in doubt (ErrUnknownUnresolved,
//     ErrInProgress): nothing was sent, it is tried again later.
//   - everything else: it may have arrived. It is tried again with Doubt set.
//
// What books must go through the journal's [Settler]; a Sender that is given an
// item in doubt that must not be done twice looks it up first.
type Sender func(ctx context.Context, item Item) error

// An Undeliverable makes a dead letter of an item, whatever its cause means
// elsewhere.
type Undeliverable struct{ Cause error }

// Error is the cause's.
func (u *Undeliverable) Error() string { return u.Cause.Error() }

// Unwrap returns the cause.
func (u *Undeliverable) Unwrap() error { return u.Cause }

// A Postponed error leaves an item for later; nothing was sent.
type Postponed struct{ Cause error }

// Error is the cause's.
func (p *Postponed) Error() string { return p.Cause.Error() }

// Unwrap returns the cause.
func (p *Postponed) Unwrap() error { return p.Cause }

// Dispatch is how a [Dispatcher] goes about it. Zero values are usual ones.
type Dispatch struct {
	Attempts int           // that left or may have, before an item is dead; 0: 12
	GiveUp   time.Duration // after which an item that never left is dead; 0: 14 days
	First    time.Duration // pause after the first failure, doubled after each; 0: 5 s
	Longest  time.Duration // bound of the pause; 0: 30 min
	Parallel int           // lanes at a time; 0: 4
	Grace    time.Duration // for what is on its way when the dispatcher is told to end; 0: 10 s
	// Changed is told that items have changed; may be nil. It must not block.
	Changed func()
	// Failed is told of an attempt that failed, for the log; may be nil.
	Failed func(item Item, dead bool, err error)
	// Later returns a channel that gets a value when the time has passed, and
	// what stops it; nil: a timer. Tests set it.
	Later func(d time.Duration) (<-chan time.Time, func())
}

// A Dispatcher sends what is in an outbox: each lane in order, lanes beside each
// other, an item again and again with growing pauses until upstream has
// acknowledged it or it is dead. Every step is on the disk before the next, so
// that another process goes on where this one ended.
type Dispatcher struct {
	box     *Outbox
	cfg     Dispatch
	senders map[string]Sender

	wake chan struct{}

	mu      sync.Mutex
	running bool
}

// NewDispatcher returns a dispatcher without senders.
func NewDispatcher(box *Outbox, cfg Dispatch) *Dispatcher {
	usually(&cfg.Attempts, 12)
	usually(&cfg.GiveUp, 14*24*time.Hour)
	usually(&cfg.First, 5*time.Second)
	usually(&cfg.Longest, 30*time.Minute)
	usually(&cfg.Parallel, 4)
	usually(&cfg.Grace, 10*time.Second)
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	if cfg.Failed == nil {
		cfg.Failed = func(Item, bool, error) {}
	}
	if cfg.Later == nil {
		cfg.Later = func(d time.Duration) (<-chan time.Time, func()) {
			t := time.NewTimer(d)
			return t.C, func() { t.Stop() }
		}
	}
	return &Dispatcher{box: box, cfg: cfg, senders: make(map[string]Sender), wake: make(chan struct{}, 1)}
}

// usually fills a value that was left out.
func usually[T comparable](to *T, usual T) {
	var zero T
	if *to == zero {
		*to = usual
	}
}

// Handle names who sends the items of a kind. It must be called before
// [Dispatcher.Run]. Items of a kind that nobody sends stay where they are.
func (d *Dispatcher) Handle(kind string, send Sender) { d.senders[kind] = send }

// Wake makes Run look at the outbox now: something was queued.
func (d *Dispatcher) Wake() {
	select {
	case d.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Reached makes everything due that waits only because upstream could not be
// reached, and wakes Run: the line is back.
func (d *Dispatcher) Reached(ctx context.Context) error {
	const late = ` state = 'waiting' AND due_at > ?1 AND misses > 0 AND fault = ?2`
	now, code := d.box.j.now().UnixMilli(), string(fault.UpstreamUnreachable)
	var n int
	if err := d.box.j.read.QueryRowContext(ctx, `SELECT count(*) FROM outbox WHERE`+outboxOpen+`AND`+late, now, code).Scan(&n); err != nil {
		return fmt.Errorf("outbox: %w", unavailable(err))
	}
	if n == 0 {
		return nil
	}
	err := d.box.j.commit(ctx, func(ctx context.Context, b *batch) error {
		return b.exec(ctx, `UPDATE outbox SET due_at = ?1 WHERE`+late, now, code)
	})
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	d.Wake()
	return nil
}

// errRunning: two loops would send an item twice.
var errRunning = errors.New("outbox: another dispatcher runs")

// Run sends until ctx ends. What is on its way then has the grace to end; it
// returns when nothing is. A disk that refuses ends nothing: what was
// acknowledged is written down when the disk is back, and its lane waits.
func (d *Dispatcher) Run(ctx context.Context) error {
	d.mu.Lock()
	if d.running {
		d.mu.Unlock()
		return errRunning
	}
	d.running = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.running = false
		d.mu.Unlock()
	}()

	sending, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	finished := make(chan int64)
	under := make(map[int64]bool) // items on their way
	recovered := false
	for ctx.Err() == nil {
		pause := d.cfg.Longest
		if !recovered {
			recovered = d.recover(ctx) == nil
		}
		if recovered {
			for len(under) < d.cfg.Parallel && ctx.Err() == nil {
				item, next, err := d.claim(ctx, under)
				if err != nil {
					pause = d.cfg.First // the disk; it says so elsewhere
					break
				}
				if item.ID == 0 {
					pause = min(pause, next)
					break
				}
				under[item.ID] = true
				go func() {
					d.deliver(ctx, sending, item)
					finished <- item.ID
				}()
			}
		} else {
			pause = d.cfg.First
		}
		var timer <-chan time.Time
		stop := func() {}
		if len(under) < d.cfg.Parallel {
			timer, stop = d.cfg.Later(pause)
		}
		select {
		case <-ctx.Done():
		case <-d.wake:
		case <-timer:
		case id := <-finished:
			delete(under, id)
		}
		stop()
	}
	if len(under) > 0 {
		late, stop := d.cfg.Later(d.cfg.Grace)
		defer stop()
		for len(under) > 0 {
			select {
			case id := <-finished:
				delete(under, id)
			case <-late:
				cut()
				late = nil
			}
		}
	}
	return nil
}

// recover takes back what an earlier run left on its way: it may have arrived.
func (d *Dispatcher) recover(ctx context.Context) error {
	now := d.box.j.now().UnixMilli()
	return d.box.j.commit(ctx, func(ctx context.Context, b *batch) error {
		return b.exec(ctx, `UPDATE outbox SET state = 'waiting', doubt = 1, due_at = ?1, updated_at = ?1 WHERE state = 'sending'`, now)
	})
}

// claim marks the next item that is due as on its way. Without one, next is how
// long to wait. An item is due when no earlier one of its lane is open.
func (d *Dispatcher) claim(ctx context.Context, under map[int64]bool) (item Item, next time.Duration, err error) {
	now := d.box.j.now()
	rows, err := d.box.j.read.QueryContext(ctx, `SELECT id, kind, due_at FROM outbox AS o WHERE`+outboxOpen+`AND state = 'waiting'
		AND NOT EXISTS (SELECT 1 FROM outbox AS e WHERE e.lane = o.lane AND e.id < o.id AND e.state IN ('held', 'waiting', 'sending', 'dead'))
		ORDER BY due_at, id`)
	if err != nil {
		return Item{}, 0, unavailable(err)
	}
	defer rows.Close()
	next = d.cfg.Longest
	var id int64
	for rows.Next() && id == 0 {
		var candidate, due int64
		var kind string
		if err := rows.Scan(&candidate, &kind, &due); err != nil {
			return Item{}, 0, unavailable(err)
		}
		if under[candidate] || d.senders[kind] == nil {
			continue
		}
		// Nothing waits longer than the longest pause; what seems to was queued
		// before the clock was set back.
		if wait := milli(due).Sub(now); wait > 0 && wait <= d.cfg.Longest {
			next = min(next, wait)
			continue
		}
		id = candidate
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return Item{}, 0, unavailable(err)
	}
	if id == 0 {
		return Item{}, next, nil
	}
	var n int64
	if err := d.box.j.commit(ctx, func(ctx context.Context, b *batch) (err error) {
		n, err = b.affect(ctx, `UPDATE outbox SET state = 'sending', updated_at = ?2 WHERE id = ?1 AND state = 'waiting'`, id, now.UnixMilli())
		return err
	}); err != nil {
		return Item{}, 0, err
	}
	if n == 0 {
		return Item{}, 0, nil // dropped meanwhile: look again at once
	}
	if item, err = d.box.Get(ctx, id); err != nil {
		if !errors.Is(err, ErrJournalAltered) {
			return Item{}, 0, err
		}
		// A body that does not open can never be sent.
		item.ID, item.Body = id, nil
		return d.spoilt(ctx, item, err)
	}
	return item, 0, nil
}

// spoilt makes a dead letter of an item whose body was altered.
func (d *Dispatcher) spoilt(ctx context.Context, item Item, cause error) (Item, time.Duration, error) {
	err := d.write(ctx, item, OutboxDead, &Undeliverable{cause})
	d.cfg.Failed(item, true, cause)
	d.cfg.Changed()
	return Item{}, 0, err
}

// deliver sends an item and writes down what came of it.
func (d *Dispatcher) deliver(ctx, sending context.Context, item Item) {
	err := d.senders[item.Kind](sending, item)
	state := d.after(&item, err)
	if err != nil {
		d.cfg.Failed(item, state == OutboxDead, err)
	}
	for d.write(ctx, item, state, err) != nil {
		// The disk refuses. What upstream said is kept here until it is back; a
		// crash before that leaves the item in doubt.
		timer, stop := d.cfg.Later(d.cfg.First)
		select {
		case <-timer:
			stop()
		case <-ctx.Done():
			stop()
			_ = d.write(ctx, item, state, err) // once more; the next run finds it in doubt
			return
		}
	}
	d.cfg.Changed()
}

// after counts an attempt and says where the item goes.
func (d *Dispatcher) after(item *Item, err error) OutboxState {
	var undeliverable *Undeliverable
	var postponed *Postponed
	var gateway *HTTPError
	if err == nil {
		return OutboxSent
	}
	miss := func() OutboxState {
		item.Misses++
		if d.box.j.now().Sub(item.Queued) > d.cfg.GiveUp {
			return OutboxDead
		}
		return OutboxWaiting
	}
	busy := errors.As(err, &gateway) && gateway.verdict() == 429
	switch {
	case errors.As(err, &undeliverable):
		item.Attempts++
		return OutboxDead
	case errors.As(err, &postponed), errors.Is(err, ErrUnreachable), errors.Is(err, ErrCredentials), busy:
		return miss()
	case errors.Is(err, ErrUnknownUnresolved), errors.Is(err, ErrInProgress), OutcomeOf(err) == NotSent && errors.Is(err, ErrJournalUnavailable):
		return miss()
	}
	item.Attempts++
	switch OutcomeOf(err) {
	case Refused, NotSent:
		return OutboxDead
	}
	item.Doubt = true
	if item.Attempts >= d.cfg.Attempts {
		return OutboxDead
	}
	return OutboxWaiting
}

// write closes an item, or puts it back with the pause that is due.
func (d *Dispatcher) write(ctx context.Context, item Item, state OutboxState, err error) error {
	now := d.box.j.now()
	due := now
	if state == OutboxWaiting {
		due = now.Add(d.pause(item.Attempts + item.Misses))
	}
	code, words, note := reasons(err)
	return d.box.j.commit(ctx, func(ctx context.Context, b *batch) error {
		return b.exec(ctx, `UPDATE outbox SET state = ?2, doubt = ?3, attempts = ?4, misses = ?5, updated_at = ?6, due_at = ?7, fault = ?8, message = ?9, note = ?10
			WHERE id = ?1 AND state = 'sending'`,
			item.ID, string(state), item.Doubt && state != OutboxSent, item.Attempts, item.Misses, now.UnixMilli(), due.UnixMilli(),
			string(code), words, note)
	})
}

// reasons are the code of a failure, upstream's words and ours.
func reasons(err error) (code fault.Code, words, note string) {
	if err == nil {
		return "", "", ""
	}
	var refused *RefusedError
	var gateway *HTTPError
	switch {
	case errors.As(err, &refused):
		words = refused.Message
	case errors.As(err, &gateway):
		words = gateway.Message
	}
	return fault.Of(err).Code, truncate(words), truncate(err.Error())
}

// pause grows with every failure up to its bound.
func (d *Dispatcher) pause(failures int) time.Duration {
	pause := d.cfg.First
	for i := 1; i < failures && pause < d.cfg.Longest; i++ {
		pause *= 2
	}
	return min(pause, d.cfg.Longest)
}

// truncate bounds a text that is kept, at a character's boundary.
func truncate(s string) string {
	if len(s) <= maxOutboxText {
		return s
	}
	end := maxOutboxText
	for end > 0 && s[end]&0xC0 == 0x80 {
		end--
	}
	return s[:end]
}
