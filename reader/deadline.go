package reader

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

// deadlines gives the commands of a session their deadlines with one timer and one
// context for all of them. A command takes a fraction of a millisecond and its
// deadline is many seconds away: a timer for each, set and stopped, wakes the
// scheduler twice, a context for each is entered into its parent and taken out again,
// and both cost more than all else that a session does. So the timer of one command is
// left to run, and when it fires it is set again for the command that is then under
// way; and the context stays for the next command of the same parent.
type deadlines struct {
	mu    sync.Mutex
	timer *time.Timer
	set   bool     // the timer will fire
	ctx   *command // of the last command; nil where it cannot serve another
	busy  bool     // a command is under way with ctx
	ended bool     // by stop
}

// command is the context of commands: their parent's, with the deadline of the one
// under way.
type command struct {
	context.Context
	parent context.Context
	cancel context.CancelFunc
	began  time.Time
	limit  atomic.Int64 // nanoseconds after began
	late   atomic.Bool
}

// Deadline returns that of the command under way.
func (c *command) Deadline() (time.Time, bool) {
	return c.began.Add(time.Duration(c.limit.Load())), true
}

// Err returns DeadlineExceeded where it was the deadline that ended the context.
func (c *command) Err() error {
	if c.late.Load() {
		return context.DeadlineExceeded
	}
	return c.Context.Err()
}

// begin returns the context of a command that may take so long. The caller calls
// end when the command has ended.
func (d *deadlines) begin(ctx context.Context, limit time.Duration) context.Context {
	now := time.Now()
	if earlier, ok := ctx.Deadline(); ok && earlier.Before(now.Add(limit)) {
		return ctx
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ctx == nil || d.ctx.parent != ctx || d.ctx.Err() != nil {
		d.drop()
		c := &command{parent: ctx, began: now}
		c.Context, c.cancel = context.WithCancel(ctx)
		// What cannot be compared is never the same again.
		if reflect.TypeOf(ctx).Kind() != reflect.Pointer {
			c.parent = nil
		}
		d.ctx = c
	}
	d.ctx.limit.Store(int64(now.Sub(d.ctx.began) + limit))
	d.busy = true
	switch {
	case d.timer == nil:
		d.timer, d.set = time.AfterFunc(limit, d.fire), true
	case !d.set:
		d.timer.Reset(limit)
		d.set = true
	}
	return d.ctx
}

// end says that the command of begin has ended.
func (d *deadlines) end(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c, ok := ctx.(*command); !ok || c != d.ctx {
		return
	}
	d.busy = false
	if d.ended || d.ctx.parent == nil {
		d.drop()
	}
}

// drop lets the context go. The caller holds mu.
func (d *deadlines) drop() {
	if d.ctx != nil {
		d.ctx.cancel()
		d.ctx = nil
	}
}

// fire ends the command under way if its time is over.
func (d *deadlines) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.set = false
	if !d.busy {
		return
	}
	at, _ := d.ctx.Deadline()
	if rest := time.Until(at); rest > 0 {
		d.timer.Reset(rest)
		d.set = true
		return
	}
	d.ctx.late.Store(true)
	d.ctx.cancel()
}

// stop lets timer and context go, at the end of the command that is still under way.
func (d *deadlines) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.busy {
		return
	}
	d.drop()
	if d.timer != nil {
		d.timer.Stop()
		d.set = false
	}
}
