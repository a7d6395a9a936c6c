package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ebfe/scard"

	"onecard/terminal"
	"onecard/terminal/api"
)

// eventTime bounds the wait for an event.
const eventTime = 20 * time.Second

// eventDelay measures from the moment a card is put in until a page at the WebSocket is
// told, against a program that does nothing but wait for the PC/SC event, in the same
// insertion. pcscd looks at these readers a few times a second: that is most of both.
func (b *bench) eventDelay(ctx context.Context) (err error) {
	title := terminal.Text{Chinese: "从插卡到事件", English: "from the insertion of a card to the event"}
	if !b.cmd.PCSC {
		b.add(comparison{ID: "event", Title: title, Skip: "no PC/SC: " + b.because})
		return nil
	}
	client, first, err := b.daemon(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stopNamed("onecardd")) }()
	e := &eventBench{slot: first.Name, page: make(chan eventSeen, 64), bare: make(chan eventSeen, 64)}
	watching, stop := context.WithCancel(ctx)
	ended := make(chan error, 2)
	go func() { ended <- e.watchPage(watching, client) }()
	go func() { ended <- e.watchBare(watching) }()
	defer func() {
		stop()
		for range 2 {
			if werr := <-ended; werr != nil && ctx.Err() == nil && !errors.Is(werr, context.Canceled) {
				err = errors.Join(err, werr)
			}
		}
	}()
	// The first card is in the reader since the stage was set.
	if err := b.stopNamed("card"); err != nil {
		return err
	}
	if _, _, err := e.both(watching, false); err != nil {
		return err
	}
	var page, bare, between samples
	for range b.runs(40) {
		if err := b.startCard(); err != nil {
			return err
		}
		inserted := time.Now() // the card has connected to the reader before it says so
		atPage, atBare, err := e.both(watching, true)
		if err != nil {
			return err
		}
		ms := func(d time.Duration) float64 { return max(0, d.Seconds()*1000) }
		page, bare = append(page, ms(atPage.Sub(inserted))), append(bare, ms(atBare.Sub(inserted)))
		between = append(between, ms(atPage.Sub(atBare)))
		if err := b.stopNamed("card"); err != nil {
			return err
		}
		if _, _, err := e.both(watching, false); err != nil {
			return err
		}
	}
	b.add(comparison{ID: "event", Unit: "ms", Title: title,
		Figures: []figure{
			summarise(terminal.Text{Chinese: "onecardd 的 WebSocket", English: "the WebSocket of onecardd"}, page),
			summarise(terminal.Text{Chinese: "PC/SC 事件", English: "the PC/SC event"}, bare),
			summarise(terminal.Text{Chinese: "PC/SC 事件之后到 WebSocket", English: "from the PC/SC event to the WebSocket"}, between),
		}})
	// What follows needs the card.
	if err := b.startCard(); err != nil {
		return err
	}
	_, _, err = e.both(watching, true)
	return err
}

// stopNamed ends a program that runs beside others. It must be one that was started.
func (b *bench) stopNamed(name string) error {
	at := slices.IndexFunc(b.procs, func(p *process) bool { return p.name == name })
	last := b.procs[at]
	b.procs = append(slices.Delete(b.procs, at, at+1), last)
	return b.stopLast()
}

// eventSeen is a change of the slot as one side saw it.
type eventSeen struct {
	present bool
	at      time.Time
}

// eventBench are two who wait for the same card.
type eventBench struct {
	slot       string
	page, bare chan eventSeen
}

// both waits until both sides have seen the card come, or go.
func (e *eventBench) both(ctx context.Context, present bool) (page, bare time.Time, err error) {
	late := time.NewTimer(eventTime)
	defer late.Stop()
	for page.IsZero() || bare.IsZero() {
		select {
		case s := <-e.page:
			if s.present == present && page.IsZero() {
				page = s.at
			}
		case s := <-e.bare:
			if s.present == present && bare.IsZero() {
				bare = s.at
			}
		case <-late.C:
			return page, bare, fmt.Errorf("bench: no event within %s: %w", eventTime, os.ErrDeadlineExceeded)
		case <-ctx.Done():
			return page, bare, ctx.Err()
		}
	}
	return page, bare, nil
}

// tell hands a change on; a side that is far ahead of the other waits.
func tell(ctx context.Context, to chan<- eventSeen, s eventSeen) {
	select {
	case to <- s:
	case <-ctx.Done():
	}
}

func (e *eventBench) watchPage(ctx context.Context, client *api.Client) error {
	was := true
	_, err := client.Await(ctx, func(s terminal.State) bool {
		now := time.Now()
		for _, r := range s.Readers {
			if is := r.State != terminal.ReaderEmpty; r.Name == e.slot && is != was {
				was = is
				tell(ctx, e.page, eventSeen{is, now})
			}
		}
		return false
	})
	return err
}

func (e *eventBench) watchBare(ctx context.Context) (err error) {
	c, err := scard.EstablishContext()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Release()) }()
	states := []scard.ReaderState{{Reader: e.slot, CurrentState: scard.StateUnaware}}
	was := true
	for ctx.Err() == nil {
		err := c.GetStatusChange(states, 200*time.Millisecond)
		now := time.Now()
		if errors.Is(err, scard.ErrTimeout) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for %s: %w", strings.TrimSpace(e.slot), err)
		}
		states[0].CurrentState = states[0].EventState
		if is := states[0].EventState&scard.StatePresent != 0; is != was {
			was = is
			tell(ctx, e.bare, eventSeen{is, now})
		}
	}
	return nil
}
