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
		d.end(d.begin(t.Context(), limit)) // leaves the timer running
		ctx := d.begin(t.Context(), limit)
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
		d.end(ctx)
	}
	d.stop()
}

// The parent's end and the parent's nearer deadline count as ever.
func TestDeadlinesOfTheParent(t *testing.T) {
	var d deadlines
	parent, cancel := context.WithCancel(t.Context())
	ctx := d.begin(parent, time.Hour)
	cancel()
	<-ctx.Done()
	if ctx.Err() != context.Canceled {
		t.Errorf("%v", ctx.Err())
	}
	d.end(ctx)
	near, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	ctx = d.begin(near, time.Hour)
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("%v", ctx.Err())
	}
	d.end(ctx)
	d.stop()
}

// own is a context that cannot be compared.
type own struct {
	context.Context
	_ []int
}

// Commands of one parent share a context, which ends with the session and not before;
// a parent of a kind that cannot be compared has one for each.
func TestDeadlinesShareAContext(t *testing.T) {
	var d deadlines
	first := d.begin(t.Context(), time.Hour)
	d.end(first)
	second := d.begin(t.Context(), 2*time.Hour)
	if first != second || second.Err() != nil {
		t.Errorf("not shared: %v", second.Err())
	}
	if at, ok := second.Deadline(); !ok || time.Until(at) < time.Hour {
		t.Errorf("the deadline is the first one's: %v", at)
	}
	d.end(second)
	parent, cancel := context.WithCancel(t.Context())
	third := d.begin(parent, time.Hour)
	if third == second || second.Err() == nil {
		t.Error("one context for two parents")
	}
	d.stop() // the command under way goes on
	if third.Err() != nil {
		t.Error("ended under way")
	}
	d.end(third)
	if third.Err() == nil {
		t.Error("it outlives the session")
	}
	cancel()
	var e deadlines
	for range 2 {
		ctx := e.begin(own{Context: t.Context()}, time.Hour)
		if ctx.Err() != nil {
			t.Error(ctx.Err())
		}
		e.end(ctx)
		if ctx.Err() == nil {
			t.Error("kept")
		}
	}
	e.stop()
}
