package hsmsim

import (
	"crypto/tls"
	"time"

	"github.com/sirupsen/logrus"

	"onecard/card/keys"
	"onecard/hsm-sim/hsm"
)

// Product is the name and firmware text that the simulator gives itself.
const Product = "onecard hsm-sim 1.0"

type options struct {
	ring           *keys.Ring
	product        string
	tls            *tls.Config
	maxConnections int
	maxInFlight    int
	idleTimeout    time.Duration
	frameTimeout   time.Duration
	writeTimeout   time.Duration
	log            logrus.FieldLogger
	now            func() time.Time
	faults         func(n uint64, request hsm.Frame) Fault
}

func defaults() options {
	return options{
		ring:           keys.TestRing(keys.Reference()),
		product:        Product,
		maxConnections: 64,
		maxInFlight:    64,
		idleTimeout:    5 * time.Minute,
		frameTimeout:   10 * time.Second,
		writeTimeout:   10 * time.Second,
		log:            quiet(),
		now:            time.Now,
	}
}

// An Option changes a server's defaults. A value of zero or less changes
// nothing.
type Option func(*options)

// WithKeys gives the server its root keys. Default the test keys of the
// reference profile.
func WithKeys(ring *keys.Ring) Option {
	return func(o *options) {
		if ring != nil {
			o.ring = ring
		}
	}
}

// WithProduct changes the product text in the status answer, at most 64 bytes.
func WithProduct(text string) Option {
	return func(o *options) {
		if text != "" {
			o.product = text[:min(len(text), 64)]
		}
	}
}

// WithTLS makes the server speak TLS only. For client certificates set
// ClientCAs and ClientAuth.
func WithTLS(config *tls.Config) Option { return func(o *options) { o.tls = config } }

// WithMaxConnections is the number of connections at a time; more are closed at
// once. Default 64.
func WithMaxConnections(n int) Option { return func(o *options) { set(&o.maxConnections, n) } }

// WithMaxInFlight is the number of requests of one connection that are worked on
// at a time; further ones are left unread meanwhile. Default 64.
func WithMaxInFlight(n int) Option {
	return func(o *options) { set(&o.maxInFlight, min(n, 1<<16-1)) }
}

// WithIdleTimeout is how long a connection may be without a request. Default 5
// minutes.
func WithIdleTimeout(d time.Duration) Option { return func(o *options) { set(&o.idleTimeout, d) } }

// WithFrameTimeout is how long a frame, once begun, and the TLS handshake may
// take. Default 10 s.
func WithFrameTimeout(d time.Duration) Option { return func(o *options) { set(&o.frameTimeout, d) } }

// WithWriteTimeout is how long a client may leave its answers untaken. Default
// 10 s.
func WithWriteTimeout(d time.Duration) Option { return func(o *options) { set(&o.writeTimeout, d) } }

// WithLog is where the server reports. Default nowhere.
func WithLog(log logrus.FieldLogger) Option { return func(o *options) { o.log = log } }

// WithClock is the clock of the status answer.
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

// WithFaults orders faults: order is called for every well-formed request, n
// counts them from 1 over all connections. It may be called concurrently.
func WithFaults(order func(n uint64, request hsm.Frame) Fault) Option {
	return func(o *options) { o.faults = order }
}

func set[T int | time.Duration](p *T, v T) {
	if v > 0 {
		*p = v
	}
}

// A Fault is what goes wrong with one request. The zero Fault is none.
type Fault struct {
	Delay  time.Duration   // answer so much later
	Until  <-chan struct{} // answer when it is closed
	Drop   bool            // never answer
	Cut    bool            // close the connection instead of answering
	Wrong  bool            // a well-formed answer with wrong bytes
	Refuse hsm.Status      // answer with this status, StatusOK: do not
	Raw    []byte          // send these bytes in the place of the answer
}
