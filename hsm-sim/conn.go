package hsmsim

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"onecard/hsm-sim/hsm"
)

// A session serves one connection: the goroutine that made it reads, one writes,
// and each request in flight has its own.
type session struct {
	server *Server
	log    logrus.FieldLogger
	raw    net.Conn
	nc     net.Conn // raw, or TLS on it
	r      *bufio.Reader

	// stopping ends when the server stops: no more requests. leaving ends then
	// or when the peer sends no more: whatever waits answers now. broken ends
	// when nothing can be written any more.
	stopping   context.Context
	leaving    context.Context
	broken     context.Context
	markBroken context.CancelFunc

	slots    chan struct{} // one token for each request in flight
	requests sync.WaitGroup
	out      chan []byte
}

var errIdle = errors.New("idle")

func (s *Server) serve(ctx context.Context, raw net.Conn) {
	defer raw.Close()
	s.counters.connections.Add(1)
	s.counters.open.Add(1)
	defer s.counters.open.Add(-1)

	log := s.log.WithField("peer", raw.RemoteAddr().String())
	nc, err := s.handshake(ctx, raw)
	if err != nil {
		s.counters.broken.Add(1)
		log.WithError(err).Warn("TLS failed")
		return
	}
	defer nc.Close()
	c := &session{
		server: s, log: log, raw: raw, nc: nc, stopping: ctx,
		r:     bufio.NewReaderSize(nc, hsm.MaxRequest),
		slots: make(chan struct{}, s.maxInFlight),
		out:   make(chan []byte, s.maxInFlight),
	}
	c.broken, c.markBroken = context.WithCancel(context.Background())
	defer c.markBroken()
	var leave context.CancelFunc
	c.leaving, leave = context.WithCancel(ctx)
	defer leave()
	log.Debug("connected")

	var writer sync.WaitGroup
	writer.Go(c.write)
	// Ends the wait for the next request; receive sees to it that no later
	// deadline takes its place.
	stop := context.AfterFunc(ctx, func() { _ = raw.SetReadDeadline(time.Now()) })
	err = c.receive()
	stop()
	leave()
	c.requests.Wait()
	close(c.out)
	writer.Wait()

	switch {
	case errors.Is(err, io.EOF), errors.Is(err, errIdle), ctx.Err() != nil:
		log.WithError(err).Debug("disconnected")
	default:
		s.counters.broken.Add(1)
		log.WithError(err).Warn("connection ended")
	}
}

func (s *Server) handshake(ctx context.Context, raw net.Conn) (net.Conn, error) {
	if s.tls == nil {
		return raw, nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.frameTimeout)
	defer cancel()
	nc := tls.Server(raw, s.tls)
	return nc, nc.HandshakeContext(ctx)
}

// receive reads requests until there is a reason to end the connection. io.EOF
// and errIdle are the decent ones.
func (c *session) receive() error {
	for {
		if err := c.await(); err != nil {
			return err
		}
		f, err := hsm.ReadFrame(c.r, hsm.MaxRequest)
		var form *hsm.FormError
		switch {
		case errors.As(err, &form):
			// After a wrong length nobody knows where the next frame begins;
			// whatever has no kind or comes from a server is no client.
			if f.Kind == hsm.Request {
				c.put(refusal(f, form.Status, form.Text))
			}
			return err
		case err != nil:
			return err
		}
		select {
		case c.slots <- struct{}{}:
		case <-c.broken.Done():
			return errors.New("answers were not taken")
		}
		c.requests.Go(func() {
			defer func() { <-c.slots }()
			c.answer(f)
		})
	}
}

// await returns when a frame has begun, with the deadline for all of it set
// unless it is there already.
func (c *session) await() error {
	for c.r.Buffered() == 0 {
		if err := c.setReadDeadline(c.server.idleTimeout); err != nil {
			return err
		}
		_, err := c.r.Peek(1)
		switch {
		case err == nil:
		case c.stopping.Err() != nil:
			return c.stopping.Err()
		case errors.Is(err, os.ErrDeadlineExceeded) && len(c.slots) == 0:
			return errIdle
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
	}
	if n := c.r.Buffered(); n >= 4 {
		// Peek of what is buffered does not fail.
		if head, err := c.r.Peek(4); err == nil && uint64(n) >= 4+uint64(binary.BigEndian.Uint32(head)) {
			return nil
		}
	}
	return c.setReadDeadline(c.server.frameTimeout)
}

func (c *session) setReadDeadline(d time.Duration) error {
	if err := c.raw.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	return c.stopping.Err()
}

// answer computes and sends one answer, with the fault that was ordered for it.
func (c *session) answer(f hsm.Frame) {
	s := c.server
	s.counters.requests.Add(1)
	var fault Fault
	if n := s.requests.Add(1); s.faults != nil {
		fault = s.faults(n, f)
	}
	if fault.Delay > 0 {
		timer := time.NewTimer(fault.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.leaving.Done():
		case <-c.broken.Done():
		}
	}
	if fault.Until != nil {
		select {
		case <-fault.Until:
		case <-c.leaving.Done():
		case <-c.broken.Done():
		}
	}
	switch {
	case fault.Cut:
		c.raw.Close()
		return
	case fault.Drop:
		return
	case fault.Raw != nil:
		c.send(fault.Raw)
		return
	}
	a := s.answer(f)
	switch {
	case fault.Refuse != hsm.StatusOK:
		a = refusal(f, fault.Refuse, "fault to order")
	case fault.Wrong:
		for i := range a.Fields {
			v := append([]byte(nil), a.Fields[i].Value...)
			for j := range v {
				v[j] ^= 0xFF
			}
			a.Fields[i].Value = v
		}
	}
	if a.Status == hsm.StatusOK {
		s.counters.answered.Add(1)
	} else {
		s.counters.refused.Add(1)
		c.log.WithFields(logrus.Fields{"command": f.Command.String(), "status": a.Status.String()}).Info("refused")
	}
	c.put(a)
}

func (c *session) put(f hsm.Frame) {
	b, err := hsm.AppendFrame(nil, f)
	if err != nil {
		// No answer of ours is that long; were one, its client must not wait.
		c.log.WithError(err).Error("answer does not fit into a frame")
		c.raw.Close()
		return
	}
	c.send(b)
}

func (c *session) send(b []byte) {
	select {
	case c.out <- b:
	case <-c.broken.Done():
	}
}

// write sends answers until out is closed, everything that lies there in one
// go. After a failure it goes on emptying out.
func (c *session) write() {
	const batch = 1 << 15
	var b []byte
	for next := range c.out {
		b = append(b[:0], next...)
	more:
		for len(b) < batch {
			select {
			case next, ok := <-c.out:
				if !ok {
					break more
				}
				b = append(b, next...)
			default:
				break more
			}
		}
		if c.broken.Err() != nil {
			continue
		}
		err := c.nc.SetWriteDeadline(time.Now().Add(c.server.writeTimeout))
		if err == nil {
			_, err = c.nc.Write(b)
		}
		if err != nil {
			c.log.WithError(fmt.Errorf("write: %w", err)).Debug("answers lost")
			c.markBroken()
			c.raw.Close()
		}
	}
}
