// Package hsmsim simulates an HSM for social security cards: a TCP server of the
// host-command protocol in docs/hsm-protocol.md, which derives card keys from
// root keys and answers with authentication values. Package hsm is its client.
//
//	err := hsmsim.New(hsmsim.WithLog(log)).Serve(ctx, listener) // until ctx ends
//
// Like everything that simulates it has the test keys unless it is given
// others ([WithKeys]), and says so in its log and in every status answer:
// whoever has this source can compute the same answers.
//
// Nothing a peer does can make it fail: frames are bounded before they are
// read, requests in flight and connections are bounded, and a peer that does
// not finish its frame or does not take its answers is dropped. [WithFaults]
// lets a test order the bad luck of real networks and HSMs.
package hsmsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"onecard/hsm-sim/hsm"
)

// A Server answers any number of listeners with one set of keys.
type Server struct {
	options
	counters counters
	requests atomic.Uint64 // numbers the requests for WithFaults
}

// New returns a server.
func New(opts ...Option) *Server {
	s := &Server{options: defaults()}
	for _, o := range opts {
		o(&s.options)
	}
	return s
}

// Serve is [New] and [Server.Serve] in one.
func Serve(ctx context.Context, ln net.Listener, opts ...Option) error {
	return New(opts...).Serve(ctx, ln)
}

// Serve answers connections of the listener until ctx ends: then it closes the
// listener, lets requests that have been read be answered, waits for every
// goroutine and returns nil. It returns an error where the listener fails.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	if s.ring.Test() {
		s.log.WithField("listen", ln.Addr().String()).
			Warn("TEST KEYS: everybody knows these root keys; never use this HSM with real cards")
	}
	// A listener that failed ends its connections, too.
	ctx, cancel := context.WithCancel(ctx)
	var connections sync.WaitGroup
	defer connections.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()

	places := make(chan struct{}, s.maxConnections)
	for {
		nc, err := s.accept(ctx, ln)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accept: %w", err)
		}
		select {
		case places <- struct{}{}:
		default:
			s.counters.turnedAway.Add(1)
			s.log.WithField("peer", nc.RemoteAddr().String()).Warn("too many connections")
			nc.Close()
			continue
		}
		connections.Go(func() {
			defer func() { <-places }()
			s.serve(ctx, nc)
		})
	}
}

// accept is Accept that outlives a shortage, of file descriptors for one.
func (s *Server) accept(ctx context.Context, ln net.Listener) (net.Conn, error) {
	const least, most = 5 * time.Millisecond, time.Second
	for wait := least; ; wait = min(2*wait, most) {
		nc, err := ln.Accept()
		if err == nil || ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nc, err
		}
		var shortage interface{ Temporary() bool }
		if !errors.As(err, &shortage) || !shortage.Temporary() {
			return nil, err
		}
		s.log.WithError(err).Warn("cannot accept a connection now")
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

type counters struct {
	connections, open, turnedAway       atomic.Int64
	requests, answered, refused, broken atomic.Int64
}

// Counters are what has happened since the server was made.
type Counters struct {
	Connections int64 `json:"connections"` // accepted
	Open        int64 `json:"open"`        // of them, now
	TurnedAway  int64 `json:"turned_away"` // more than there may be
	Requests    int64 `json:"requests"`    // well-formed frames
	Answered    int64 `json:"answered"`    // with status 0000
	Refused     int64 `json:"refused"`     // with another status
	Broken      int64 `json:"broken"`      // connections ended for garbage, TLS or a time-out
}

// Counters returns the counters.
func (s *Server) Counters() Counters {
	c := &s.counters
	return Counters{
		Connections: c.connections.Load(), Open: c.open.Load(), TurnedAway: c.turnedAway.Load(),
		Requests: c.requests.Load(), Answered: c.answered.Load(), Refused: c.refused.Load(), Broken: c.broken.Load(),
	}
}

func (s *Server) info() hsm.Info {
	return hsm.Info{
		Product:       s.product,
		OldestVersion: hsm.Version,
		NewestVersion: hsm.Version,
		TestKeys:      s.ring.Test(),
		Time:          s.now(),
		Algorithms:    algorithms,
		MaxRequest:    hsm.MaxRequest,
		MaxInFlight:   s.maxInFlight,
		Keys:          s.ring.Held(),
	}
}

// quiet is the log of a server that was not given one.
func quiet() logrus.FieldLogger {
	l := logrus.New()
	l.SetLevel(logrus.PanicLevel)
	return l
}
