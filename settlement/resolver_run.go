package settlement

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Bounds of the loop.
const (
	// lookAgain is how often the journal is looked at where nobody says that
	// something is new.
	lookAgain = 15 * time.Second
	// failedPause is the pause after the journal could not be read or written.
	failedPause = 2 * time.Second
	// latePause is the pause before a late answer is looked at again whose entry
	// is still on its way.
	latePause = 100 * time.Millisecond
	// recallSpread is within what time those are asked about again that failed
	// for the line, once it is back: not all desks at the same moment.
	recallSpread = 2 * time.Second
)

// Wake tells the loop that something is new: an entry became unknown.
func (r *Resolver) Wake() {
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// LineBack tells the loop that upstream can be reached again: what could not be
// asked for that reason is asked now.
func (r *Resolver) LineBack() {
	spread := min(recallSpread, r.cfg.Patience.interval(0))
	at := r.cfg.Now().Add(time.Duration(r.cfg.Random(int64(spread))))
	r.mu.Lock()
	if r.recalled.IsZero() {
		r.recalled = at
	}
	r.mu.Unlock()
	r.Wake()
}

// Run asks about every entry of unknown outcome when its time has come, until
// ctx ends. It returns after the attempt under way has ended; a look-up that is
// cut off is no attempt.
func (r *Resolver) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		pause, err := r.pass(ctx)
		if err != nil && ctx.Err() == nil {
			r.cfg.Failed(fmt.Errorf("resolver: %w", err))
			pause = failedPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-r.wake:
		}
		timer.Stop()
	}
	return nil
}

// RunLate is Run where nothing is asked without a person: it takes late answers
// alone.
func (r *Resolver) RunLate(ctx context.Context) error {
	for ctx.Err() == nil {
		waiting, err := r.takeLate(ctx)
		if err != nil && ctx.Err() == nil {
			r.cfg.Failed(fmt.Errorf("resolver: %w", err))
		}
		var again <-chan time.Time
		timer := time.NewTimer(latePause)
		if waiting || err != nil {
			again = timer.C
		}
		select {
		case <-ctx.Done():
		case <-again:
		case <-r.wake:
		}
		timer.Stop()
	}
	return nil
}

// pass takes the late answers, asks about every entry that is due, and says for
// how long there is nothing to do. Where the line fails it stops: the others
// would wait for the same time-outs.
func (r *Resolver) pass(ctx context.Context) (time.Duration, error) {
	waiting, err := r.takeLate(ctx)
	if err != nil {
		return 0, err
	}
	pause := lookAgain
	if waiting {
		pause = latePause
	}
	doubts, err := r.cfg.Journal.Unknowns(ctx)
	if err != nil {
		return 0, err
	}
	recalled, wait := r.takeRecall()
	pause = min(pause, wait)
	var failure error
	for _, d := range doubts {
		if d.GivenUp() || ctx.Err() != nil {
			continue
		}
		now := r.cfg.Now()
		due := r.due(d, recalled, now)
		if wait := due.Sub(now); wait > 0 {
			pause = min(pause, wait)
			continue
		}
		res, err := r.Resolve(ctx, d.Entry, "")
		switch {
		case errors.Is(err, ErrInProgress), errors.Is(err, ErrEntryClosed), errors.Is(err, context.Canceled):
			// A person asks at this moment, or was faster.
		case err != nil:
			// One that cannot be worked on must not keep the others waiting.
			failure = errors.Join(failure, err)
			if errors.Is(err, ErrJournalUnavailable) {
				return 0, failure
			}
		case res.Attempt.Finding.Reason == ReasonLine:
			// The next one that is due tells whether the line is back.
			return min(pause, r.cfg.Patience.interval(0)), failure
		case !res.Attempt.Next.IsZero() && res.Outcome == Unknown:
			pause = min(pause, max(0, res.Attempt.Next.Sub(r.cfg.Now())))
		}
	}
	return pause, failure
}

// takeRecall says whether those are to be asked about now that failed for the
// line; otherwise for how long there is no need to look.
func (r *Resolver) takeRecall() (now bool, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recalled.IsZero() {
		return false, lookAgain
	}
	wait = min(r.recalled.Sub(r.cfg.Now()), recallSpread) // whatever the clock does
	if wait > 0 {
		return false, wait
	}
	r.recalled = time.Time{}
	return true, lookAgain
}

// due is when an entry is asked about. A clock that was set back must not put it
// off for longer than the longest pause.
func (r *Resolver) due(d UnknownEntry, recalled bool, now time.Time) time.Time {
	p := r.cfg.Patience
	due := d.Latest.Next
	if d.Latest.N == 0 {
		due = d.Since.Add(p.interval(0))
	}
	if recalled && d.Latest.Finding.Reason == ReasonLine {
		due = now
	}
	if latest := now.Add(p.longest() * 5 / 4); due.After(latest) {
		due = latest
	}
	return due
}
