package settlement

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
)

// maxDrains bounds the answers that are awaited beyond their time-out.
const maxDrains = 64

var errDrainEnded = errors.New("no answer beyond the time-out either")

// drains are the requests whose callers have been told that no answer came in
// time, and whose answers are still awaited.
type drains struct {
	mu     sync.Mutex
	take   func(Late)
	ends   map[int]context.CancelCauseFunc
	next   int
	closed bool
	wg     sync.WaitGroup
}

// TakeLate has the answers to what books, takes back or reverses awaited for
// [Config].LateTimeout beyond their time-out, and hands them to take: the caller
// of [Client.Do] was told ErrAnswerLost by then. take must not block. It is set
// before the first call; without it a request ends with its time-out.
func (c *Client) TakeLate(take func(Late)) {
	c.drains.mu.Lock()
	defer c.drains.mu.Unlock()
	c.drains.take = take
}

// lateFor is what a late reply to a request is handed to, nil where none is
// awaited.
func (c *Client) lateFor(p *Prepared) func(reply, error) {
	c.drains.mu.Lock()
	take := c.drains.take
	c.drains.mu.Unlock()
	if take == nil || !booksMoney(p.Infno) {
		return nil
	}
	infno, msgid := p.Infno, p.MsgID
	return func(r reply, err error) {
		if err != nil {
			return // never: nothing is known that was not known before
		}
		a, err := c.read(infno, r)
		take(Late{Infno: infno, MsgID: msgid, Answer: a, Err: err})
	}
}

// booksMoney says whether a transaction is one of those that the journal keeps.
func booksMoney(infno string) bool {
	infno = strings.TrimRight(infno, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	if _, ok := refundInfno[infno]; ok || infno == infnoReversal {
		return true
	}
	for _, refund := range refundInfno {
		if infno == refund {
			return true
		}
	}
	return false
}

// begin makes room for one more; ok is false where there is none.
func (d *drains) begin(end context.CancelCauseFunc) (number int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || len(d.ends) >= maxDrains {
		return 0, false
	}
	if d.ends == nil {
		d.ends = make(map[int]context.CancelCauseFunc)
	}
	d.next++
	d.ends[d.next] = end
	d.wg.Add(1)
	return d.next, true
}

func (d *drains) end(number int) {
	d.mu.Lock()
	delete(d.ends, number)
	d.mu.Unlock()
	d.wg.Done()
}

// close ends what is awaited and waits until it has ended.
func (d *drains) close() {
	d.mu.Lock()
	d.closed = true
	for _, end := range d.ends {
		end(errDrainEnded)
	}
	d.mu.Unlock()
	d.wg.Wait()
}

// postAwaiting is post for a message whose answer is still awaited when its
// caller has been told that none came in time. Where not one byte has left by
// then the request ends with its time-out, as any other does.
func (c *Client) postAwaiting(ctx context.Context, m *Message) (reply, bool, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := make(chan struct{})
	var once sync.Once // a second connection sets the timer again
	timer := time.AfterFunc(math.MaxInt64, func() { once.Do(func() { close(late) }) })
	defer timer.Stop()
	type ended struct {
		r     reply
		stale bool
		err   error
	}
	line := new(sightings)
	done := make(chan ended, 1)
	go func() {
		r, stale, err := c.roundTrip(ctx, m, line, timer)
		done <- ended{r, stale, err}
	}()
	select {
	case e := <-done:
		cancel(nil)
		return e.r, e.stale, e.err
	case <-late:
	}
	number, room := c.drains.begin(cancel)
	if !room || line.untouched() {
		if room {
			c.drains.end(number)
		}
		cancel(errAnswerTimeout)
		e := <-done
		return e.r, e.stale, e.err
	}
	bound := time.AfterFunc(c.cfg.LateTimeout, func() { cancel(errDrainEnded) })
	go func() {
		defer c.drains.end(number)
		e := <-done
		bound.Stop()
		cancel(nil)
		m.late(e.r, e.err)
	}()
	return reply{}, false, fmt.Errorf("%w: %w", ErrAnswerLost, errAnswerTimeout)
}

// untouched says whether nothing was handed to any connection so far; unlike
// unused it seals none.
func (s *sightings) untouched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	untouched := !s.blind
	for i, w := range s.conns {
		if w.count() != s.start[i] {
			untouched = false
		}
	}
	return untouched
}
