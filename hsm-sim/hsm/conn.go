package hsm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

var (
	errClosed   = fmt.Errorf("%w: client closed", ErrUnreachable)
	errIdle     = fmt.Errorf("%w: connection idle", ErrUnreachable)
	errNoAnswer = fmt.Errorf("%w: connected, but no answer in time", ErrUnreachable)
)

// A conn is one connection. A reader and a writer goroutine, which the client
// owns, serve any number of callers.
//
// The read deadline is the watchdog: while requests are unanswered it is that
// of the oldest, otherwise the end of idleness. A request whose caller has gone
// stays in the books until it is answered, so that its answer is recognised and
// an HSM that has stopped answering is noticed however impatient callers are.
type conn struct {
	client   *Client
	endpoint *endpoint
	raw      net.Conn // closed without TLS's farewell, which may block
	nc       net.Conn // raw, or TLS on it
	r        *bufio.Reader
	slots    chan struct{} // one token for each request in flight
	out      chan []byte   // as long as slots: who has a token never waits
	dead     chan struct{} // closed by fail

	mu      sync.Mutex
	cause   error // why dead
	next    uint32
	oldest  uint32 // no request before it is in flight
	flights map[uint32]flight
	proven  bool // the client knows that this address works
}

type flight struct {
	command  Command
	deadline time.Time
	done     chan Frame // of capacity 1; nothing comes when the connection fails
}

func newConn(c *Client, e *endpoint, raw, nc net.Conn, r *bufio.Reader, next uint32) *conn {
	return &conn{
		client: c, endpoint: e, raw: raw, nc: nc, r: r,
		slots:   make(chan struct{}, c.inFlight),
		out:     make(chan []byte, c.inFlight),
		dead:    make(chan struct{}),
		next:    next,
		oldest:  next,
		flights: make(map[uint32]flight),
	}
}

func (cn *conn) addr() string { return cn.endpoint.addr }

// load is the number of requests in flight.
func (cn *conn) load() int { return len(cn.slots) }

// roundTrip sends a request and waits for its answer, the end of ctx or of the
// connection.
func (cn *conn) roundTrip(ctx context.Context, cmd Command, fields []Field) (Frame, error) {
	select {
	case cn.slots <- struct{}{}:
	case <-ctx.Done():
		return Frame{}, ctx.Err()
	case <-cn.dead:
		return Frame{}, cn.failure()
	}
	done := make(chan Frame, 1)
	if err := cn.send(cmd, fields, done); err != nil {
		<-cn.slots
		return Frame{}, err
	}
	select {
	case f := <-done:
		return f, nil
	case <-ctx.Done():
		return Frame{}, ctx.Err()
	case <-cn.dead:
	}
	// It may have been answered and then failed.
	select {
	case f := <-done:
		return f, nil
	default:
		return Frame{}, cn.failure()
	}
}

func (cn *conn) send(cmd Command, fields []Field, done chan Frame) error {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.cause != nil {
		return cn.cause
	}
	id := cn.next
	b, err := AppendFrame(nil, Frame{Version: Version, Kind: Request, Command: cmd, ID: id, Fields: fields})
	if err != nil {
		return err
	}
	if cn.next++; cn.next == 0 {
		cn.next = 1 // 0 is how servers answer what has no request id
	}
	deadline := time.Now().Add(cn.client.answerTimeout)
	cn.flights[id] = flight{cmd, deadline, done}
	if len(cn.flights) == 1 {
		cn.oldest = id
		cn.setReadDeadline(deadline)
	}
	cn.out <- b
	return nil
}

// land takes an answer to whoever waits for it.
func (cn *conn) land(f Frame) error {
	cn.mu.Lock()
	fl, ok := cn.flights[f.ID]
	if !ok || f.Kind != Response || f.Command != fl.command {
		cn.mu.Unlock()
		return fmt.Errorf("%w: answer to a request that was not sent", ErrProtocol)
	}
	delete(cn.flights, f.ID)
	fl.done <- f
	if len(cn.flights) == 0 {
		cn.setReadDeadline(time.Now().Add(cn.client.idleTimeout))
	} else if f.ID == cn.oldest {
		for {
			cn.oldest++
			if o, ok := cn.flights[cn.oldest]; ok {
				cn.setReadDeadline(o.deadline)
				break
			}
		}
	}
	proven := cn.proven
	cn.proven = true
	cn.mu.Unlock()
	<-cn.slots
	if !proven {
		cn.client.answered(cn.endpoint)
	}
	return nil
}

// setReadDeadline fails on a closed connection only, which the reader notices.
func (cn *conn) setReadDeadline(t time.Time) { _ = cn.nc.SetReadDeadline(t) }

// read serves the connection until it fails.
func (cn *conn) read() {
	cn.mu.Lock()
	if len(cn.flights) == 0 {
		cn.setReadDeadline(time.Now().Add(cn.client.idleTimeout))
	}
	cn.mu.Unlock()
	for {
		f, err := ReadFrame(cn.r, MaxFrame)
		if err == nil {
			err = cn.land(f)
		}
		if err != nil {
			cn.fail(cn.explain(err))
			return
		}
	}
}

// explain says what the end of reading means.
func (cn *conn) explain(err error) error {
	switch {
	case errors.Is(err, ErrProtocol):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		cn.mu.Lock()
		defer cn.mu.Unlock()
		// A request may have come just as idleness ended: that is no silence.
		if o, ok := cn.flights[cn.oldest]; ok && !time.Now().Before(o.deadline) {
			return errNoAnswer
		}
		return errIdle
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// write sends what callers hand over, everything that lies there in one go.
func (cn *conn) write() {
	const batch = 1 << 15
	var b []byte
	for {
		select {
		case next := <-cn.out:
			b = append(b[:0], next...)
		case <-cn.dead:
			return
		}
	more:
		for len(b) < batch {
			select {
			case next := <-cn.out:
				b = append(b, next...)
			default:
				break more
			}
		}
		err := cn.nc.SetWriteDeadline(time.Now().Add(cn.client.answerTimeout))
		if err == nil {
			_, err = cn.nc.Write(b)
		}
		if err != nil {
			cn.fail(fmt.Errorf("%w: %w", ErrUnreachable, err))
			return
		}
	}
}

// fail ends the connection; callers that wait learn the cause. Only the first
// call counts. It does not block.
//
// The client forgets the connection before anybody learns that it has failed,
// so that who tries again does not get it again. A connection that has worked
// and breaks may be replaced at once, since servers restart and close what is
// idle; one that broke over its first request, or whose HSM is silent or makes
// no sense, has its address left alone for a while.
func (cn *conn) fail(cause error) {
	cn.client.mu.Lock()
	defer cn.client.mu.Unlock()
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.cause != nil {
		return
	}
	cn.cause = cause
	bad := !errors.Is(cause, errIdle) && len(cn.flights) > 0 && !cn.proven ||
		errors.Is(cause, errNoAnswer) || errors.Is(cause, ErrProtocol) || errors.Is(cause, ErrRefused)
	cn.client.forget(cn, bad)
	close(cn.dead)
	cn.raw.Close()
}

func (cn *conn) failure() error {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	return cn.cause
}
