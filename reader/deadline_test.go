package reader

import (
	"context"
	"errors"
	"testing"
	"time"
)

// One timer serves all commands, and none ends before its own time.
func TestDeadlines(t *testing.T) {
	const limit = 30 * time.Millisecond
	var d deadlines
	for range 3 {
		_, done := d.begin(t.Context(), limit) // leaves the timer running
		done()
		ctx, done := d.begin(t.Context(), limit)
		at, limited := ctx.Deadline()
		if !limited || ctx.Err() != nil {
			t.Fatalf("%v %v", limited, ctx.Err())
		}
		child, cancel := context.WithCancel(ctx)
		<-child.Done()
		if time.Now().Before(at) || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Errorf("ended %s early: %v", time.Until(at), ctx.Err())
		}
		cancel()
		done()
	}
	d.stop()
}

// The parent's end and the parent's nearer deadline count as ever.
func TestDeadlinesOfTheParent(t *testing.T) {
	var d deadlines
	parent, cancel := context.WithCancel(t.Context())
	ctx, done := d.begin(parent, time.Hour)
	cancel()
	<-ctx.Done()
	if ctx.Err() != context.Canceled {
		t.Errorf("%v", ctx.Err())
	}
	done()
	near, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	ctx, done = d.begin(near, time.Hour)
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("%v", ctx.Err())
	}
	done()
	d.stop()
}
