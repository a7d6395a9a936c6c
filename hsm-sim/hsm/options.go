package hsm

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

type options struct {
	name          string
	tls           *tls.Config
	connections   int
	inFlight      int
	callTimeout   time.Duration
	dialTimeout   time.Duration
	answerTimeout time.Duration
	idleTimeout   time.Duration
	stagger       time.Duration
	minBackoff    time.Duration
	maxBackoff    time.Duration
	now           func() time.Time
}

func defaults() options {
	return options{
		name:          "onecard",
		connections:   2,
		inFlight:      32,
		callTimeout:   5 * time.Second,
		dialTimeout:   2 * time.Second,
		answerTimeout: 2 * time.Second,
		// Shorter than a server's, so that it is the client who lets go first
		// and no request runs into a closing connection.
		idleTimeout: time.Minute,
		stagger:     250 * time.Millisecond,
		minBackoff:  100 * time.Millisecond,
		maxBackoff:  2 * time.Second,
		now:         time.Now,
	}
}

// An Option changes a client's defaults. A value of zero or less changes
// nothing.
type Option func(*options)

// WithName is what the HSM's log calls this client, at most 64 bytes. Default
// "onecard".
func WithName(name string) Option {
	return func(o *options) { o.name = name[:min(len(name), 64)] }
}

// WithTLS encrypts the connections. The server name is the host of each
// address, unless the configuration has one. See [LoadTLS].
func WithTLS(config *tls.Config) Option { return func(o *options) { o.tls = config } }

// WithConnections is the number of connections to one HSM. Default 2.
func WithConnections(n int) Option { return func(o *options) { set(&o.connections, n) } }

// WithInFlight is the number of requests that may be unanswered on one
// connection; more wait. Default 32.
func WithInFlight(n int) Option { return func(o *options) { set(&o.inFlight, n) } }

// WithCallTimeout is the longest that a call takes, fail-over included, even if
// its context permits more. Default 5 s.
func WithCallTimeout(d time.Duration) Option { return func(o *options) { set(&o.callTimeout, d) } }

// WithDialTimeout is the longest that connecting takes, with TLS and the first
// status command. Default 2 s.
func WithDialTimeout(d time.Duration) Option { return func(o *options) { set(&o.dialTimeout, d) } }

// WithAnswerTimeout is how long an HSM may leave a request unanswered before
// the connection is given up and another address is tried. Default 2 s.
func WithAnswerTimeout(d time.Duration) Option { return func(o *options) { set(&o.answerTimeout, d) } }

// WithIdleTimeout is how long an unused connection is kept. Default one minute.
func WithIdleTimeout(d time.Duration) Option { return func(o *options) { set(&o.idleTimeout, d) } }

// WithBackoff is how long an address that failed is left alone: least at first,
// then twice as long each time up to most. Defaults 100 ms and 2 s.
func WithBackoff(least, most time.Duration) Option {
	return func(o *options) {
		set(&o.minBackoff, least)
		set(&o.maxBackoff, max(most, o.minBackoff))
	}
}

// WithClock is the clock by which back-off is measured.
func WithClock(now func() time.Time) Option { return func(o *options) { o.now = now } }

func set[T int | time.Duration](p *T, v T) {
	if v > 0 {
		*p = v
	}
}

// CheckAddress returns nil for host:port.
func CheckAddress(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("HSM address: %w", err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); host == "" || err != nil || n == 0 {
		return fmt.Errorf("HSM address %q: want host:port", addr)
	}
	return nil
}

// LoadTLS makes a client's TLS configuration from PEM files: ca holds the
// certificates that may sign the HSM's, the system's where it is empty; cert
// and key are the client's own, both or none. serverName replaces the host of
// the address where the certificate names another.
func LoadTLS(ca, cert, key, serverName string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if ca != "" {
		pool, err := LoadCertificates(ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	if (cert == "") != (key == "") {
		return nil, errors.New("TLS: a client certificate needs its key, and a key its certificate")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("TLS: client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// LoadCertificates reads a PEM file of CA certificates.
func LoadCertificates(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("TLS: CA certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("TLS: %s holds no certificate", file)
	}
	return pool, nil
}
