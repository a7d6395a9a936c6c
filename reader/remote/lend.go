package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"onecard/reader"
)

// Bounds of the lending side.
const (
	maxConns = 32
	maxTime  = time.Minute // for one operation, whatever the desk permits
)

// Lend serves the readers of drivers to whoever the listener lets in, until ctx
// ends and everything it began has ended. The listener is closed. It must ask for
// certificates. Refused, where not nil, is told of who was not let in.
func Lend(ctx context.Context, listener net.Listener, drivers []reader.Driver, refused func(from net.Addr, why error)) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &lender{drivers: drivers, refused: refused, now: make([]reader.Snapshot, len(drivers)), known: make([]bool, len(drivers)), changed: make(chan struct{})}
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	watching := make([]error, len(drivers))
	for i, d := range drivers {
		work.Go(func() {
			watching[i] = d.Watch(ctx, func(now reader.Snapshot) { s.report(i, now) })
			cancel()
		})
	}
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
				return errors.Join(watching...)
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
	drivers []reader.Driver
	refused func(net.Addr, error)

	mu      sync.Mutex
	known   []bool            // the driver has told
	now     []reader.Snapshot // by driver
	changed chan struct{}     // closed and replaced with now
}

func (s *lender) report(driver int, now reader.Snapshot) {
	now.Slots = slices.Clone(now.Slots)
	for i := range now.Slots {
		now.Slots[i].Unit = nil // motors are the board's
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[driver], s.now[driver] = true, now
	close(s.changed)
	s.changed = make(chan struct{})
}

// picture is what all drivers say; known is false until each has told once. It is down
// where none has a service.
func (s *lender) picture() (p picture, known bool, changed chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Down = true
	for _, now := range s.now {
		p.Slots = append(p.Slots, now.Slots...)
		p.Down = p.Down && now.Err != nil
	}
	return p, !slices.Contains(s.known, false), s.changed
}

// open connects to a card in a slot of whichever driver has it, and returns which
// insertion that is: as the link knows it, otherwise as it was seen before.
func (s *lender) open(ctx context.Context, slot string, sharing reader.Sharing) (link reader.Link, insertion uint64, err error) {
	s.mu.Lock()
	var driver reader.Driver
	for i, now := range s.now {
		at := slices.IndexFunc(now.Slots, func(s reader.SlotState) bool { return s.Slot == slot })
		if driver == nil && at >= 0 {
			driver, insertion = s.drivers[i], now.Slots[at].Insertion
		}
	}
	s.mu.Unlock()
	if driver == nil {
		return nil, 0, reader.ErrNoReader
	}
	link, err = driver.Open(ctx, slot, sharing)
	if l, ok := link.(reader.InsertionLink); ok && err == nil {
		insertion = l.Insertion()
	}
	return link, insertion, err
}

// serve answers one connection.
func (s *lender) serve(ctx context.Context, conn net.Conn) {
	var first request
	if c, ok := conn.(*tls.Conn); ok {
		within, done := context.WithTimeout(ctx, dialTime)
		err := c.HandshakeContext(within)
		done()
		if err != nil {
			if s.refused != nil && ctx.Err() == nil {
				s.refused(conn.RemoteAddr(), err)
			}
			return
		}
	}
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
		now, known, changed := s.picture()
		if known {
			if send(conn, answer{Picture: &now}, dialTime) != nil {
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
	link, insertion, err := s.open(octx, r.Slot, sharing)
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
	a := answer{ATR: link.ATR(), Insertion: insertion}
	if l, ok := link.(reader.T0Link); ok {
		a.T0 = l.T0()
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
