package reader

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// deadlines gives the commands of a session their deadlines with one timer for
// all of them. A command takes a fraction of a millisecond and its deadline is
// many seconds away: a timer for each, set and stopped, wakes the scheduler twice
// and costs more than all else that a session does. So the timer of one command
// is left to run, and when it fires it is set again for the command that is then
// under way.
type deadlines struct {
	mu    sync.Mutex
	timer *time.Timer
	set   bool     // the timer will fire
	now   *command // under way
}

// command is the context of one command: its parent's, with a deadline.
type command struct {
	context.Context
	cancel context.CancelFunc
	at     time.Time
	late   atomic.Bool
}

// Deadline returns the command's.
func (c *command) Deadline() (time.Time, bool) { return c.at, true }

// Err returns DeadlineExceeded where it was the deadline that ended the context.
func (c *command) Err() error {
	if c.late.Load() {
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}

// begin returns the context of a command that may take so long. The caller calls
// done when the command has ended.
func (d *deadlines) begin(ctx context.Context, limit time.Duration) (_ context.Context, done func()) {
	at := time.Now().Add(limit)
	if earlier, ok := ctx.Deadline(); ok && earlier.Before(at) {
		return ctx, func() {}
	}
	c := &command{at: at}
	c.Context, c.cancel = context.WithCancel(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = c
	switch {
	case d.timer == nil:
		d.timer, d.set = time.AfterFunc(limit, d.fire), true
	case !d.set:
		d.timer.Reset(limit)
		d.set = true
	}
	return c, func() {
		d.mu.Lock()
		if d.now == c {
			d.now = nil
		}
		d.mu.Unlock()
		c.cancel()
	}
}

// fire ends the command under way if its time is over.
func (d *deadlines) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set = false
	c := d.now
	if c == nil {
		return
	}
	if rest := time.Until(c.at); rest > 0 {
		d.timer.Reset(rest)
		d.set = true
		return
	}
	c.late.Store(true)
	c.cancel()
}

// stop lets the timer go. A command that is still under way sets it again.
func (d *deadlines) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && d.now == nil {
		d.timer.Stop()
		d.set = false
	}
}
