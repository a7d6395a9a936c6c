package settlement

import (
	"io"
	"net"
	"sync"
)

// A watchedConn knows whether anything was ever handed to it for sending, so
// that a failure can be told apart from a loss with certainty.
type watchedConn struct {
	net.Conn

	mu     sync.Mutex
	given  int64
	sealed bool
}

// Write counts before it writes: what has been counted may have left.
func (w *watchedConn) Write(b []byte) (int, error) {
	w.mu.Lock()
	if w.sealed {
		w.mu.Unlock()
		return 0, net.ErrClosed
	}
	w.given += int64(len(b))
	w.mu.Unlock()
	return w.Conn.Write(b)
}

func (w *watchedConn) count() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.given
}

// seal stops every later write, also of the transport's own goroutine that
// might only now get to it, closes the connection and returns the count.
func (w *watchedConn) seal() int64 {
	w.mu.Lock()
	w.sealed = true
	n := w.given
	w.mu.Unlock()
	_ = w.Conn.Close() // nothing more is wanted of it
	return n
}

// sightings are the connections one request was given.
type sightings struct {
	mu    sync.Mutex
	conns []*watchedConn
	start []int64
	blind bool // a connection that cannot be watched
	kept  bool // the connection served an earlier request
}

func (s *sightings) add(conn net.Conn, kept bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = kept
	// TLS hides the watched connection; its handshake is counted already.
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	w, ok := conn.(*watchedConn)
	if !ok {
		s.blind = true
		return
	}
	s.conns = append(s.conns, w)
	s.start = append(s.start, w.count())
}

// unused seals the connections of a failed request and says whether not one
// byte of it was handed to any of them.
func (s *sightings) unused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	unused := !s.blind
	for i, w := range s.conns {
		if w.seal() != s.start[i] {
			unused = false
		}
	}
	return unused
}

// onceBody is a request body that can be read once only.
type onceBody struct{ rest []byte }

func (b *onceBody) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *onceBody) Close() error { return nil }
