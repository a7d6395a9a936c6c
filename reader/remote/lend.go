package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"onecard/reader"
)

// Bounds of the lending side.
const (
	maxConns = 32
	maxTime  = time.Minute // for one operation, whatever the desk permits
)

// Lend serves the readers of a driver to whoever the listener lets in, until ctx
// ends and everything it began has ended. The listener is closed. It must ask for
// certificates.
func Lend(ctx context.Context, listener net.Listener, driver reader.Driver) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &lender{driver: driver, changed: make(chan struct{})}
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	var watching error
	work.Go(func() {
		watching = driver.Watch(ctx, s.report)
		cancel()
	})
	turns := make(chan struct{}, maxConns)
	for {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
		}
		conn, err := listener.Accept()
		if err != nil {
			cancel()
			work.Wait()
			if errors.Is(err, net.ErrClosed) {
				return watching
			}
			return fmt.Errorf("lend readers: %w", err)
		}
		work.Go(func() {
			defer func() { <-turns }()
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			s.serve(ctx, conn)
		})
	}
}

// A lender is the lending side.
type lender struct {
	driver reader.Driver

	mu      sync.Mutex
	known   bool
	now     reader.Snapshot
	changed chan struct{} // closed and replaced with now
}

func (s *lender) report(now reader.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.now = true, now
	close(s.changed)
	s.changed = make(chan struct{})
}

// serve answers one connection.
func (s *lender) serve(ctx context.Context, conn net.Conn) {
	var first request
	if receive(conn, &first, dialTime) != nil {
		return
	}
	switch first.Op {
	case opWatch:
		s.watch(ctx, conn)
	case opOpen:
		s.card(ctx, conn, first)
	}
}

// watch tells the picture, and that it lives.
func (s *lender) watch(ctx context.Context, conn net.Conn) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		s.mu.Lock()
		known, now, changed := s.known, s.now, s.changed
		s.mu.Unlock()
		if known {
			if send(conn, answer{Picture: &picture{Down: now.Err != nil, Slots: now.Slots}}, dialTime) != nil {
				return
			}
		}
		for quiet := true; quiet; {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				quiet = false
			case <-tick.C:
				if send(conn, answer{}, dialTime) != nil {
					return
				}
			}
		}
	}
}

// card carries out what the desk asks of one card until it hangs up. Where it does
// so without a word the card is reset: it may have a verified PIN.
func (s *lender) card(ctx context.Context, conn net.Conn, r request) {
	sharing := reader.Shared
	if r.Exclusive {
		sharing = reader.Exclusive
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	octx, done := limited(ctx, r)
	link, err := s.driver.Open(octx, r.Slot, sharing)
	done()
	if err != nil {
		_ = send(conn, failed(err), dialTime) // the desk notices by itself
		return
	}
	orderly := false
	defer func() {
		if !orderly {
			rctx, done := context.WithTimeout(context.WithoutCancel(ctx), dialTime)
			_ = link.Reset(rctx) // the card may be gone
			done()
		}
		_ = link.Close() // nobody is left to be told
	}()
	a := answer{ATR: link.ATR()}
	if l, ok := link.(reader.T0Link); ok {
		a.T0 = l.T0()
	}
	if l, ok := link.(reader.InsertionLink); ok {
		a.Insertion = l.Insertion()
	}
	for {
		if send(conn, a, dialTime) != nil {
			return
		}
		var r request
		// A desk may keep a card for as long as it likes.
		if receive(conn, &r, 0) != nil {
			return
		}
		if r.Op == opClose {
			orderly = true
			return
		}
		a = do(ctx, link, r)
		clear(r.Data)
	}
}

// do carries out one request.
func do(ctx context.Context, link reader.Link, r request) answer {
	ctx, done := limited(ctx, r)
	defer done()
	var a answer
	var err error
	switch r.Op {
	case opTransmit:
		a.Data, err = link.Transmit(ctx, r.Data)
	case opBegin:
		err = link.Begin(ctx)
	case opEnd:
		err = link.End()
	case opReset:
		err = link.Reset(ctx)
	default:
		err = reader.ErrFault
	}
	if err != nil {
		return failed(err)
	}
	return a
}

// limited gives a request its deadline.
func limited(ctx context.Context, r request) (context.Context, context.CancelFunc) {
	within := time.Duration(r.Milliseconds) * time.Millisecond
	if within <= 0 || within > maxTime {
		within = maxTime
	}
	return context.WithTimeout(ctx, within)
}
