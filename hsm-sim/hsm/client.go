// Package hsm is the client of an HSM that holds the root keys of social
// security cards, and the wire protocol between them (docs/hsm-protocol.md).
// The HSM derives a card's keys itself and hands out answers; root keys and
// card keys never leave it. Package hsmsim simulates such an HSM.
//
//	client := hsm.New([]string{"10.0.0.5:9100", "10.0.0.6:9100"})
//	defer client.Close()
//	answer, err := client.InternalAuth(ctx, subject, process, raw)
//
// The first address that answers is used, the others are spare. A [Client]
// connects when it is first needed, keeps a few connections open, sends many
// requests over each without waiting for answers, and connects again by itself.
// It never hangs: a call ends by its context or the client's own time-out,
// whichever is earlier, and fails at once while every address is known to be
// down.
//
// Errors wrap one of [ErrUnreachable], [ErrRefused] (as *[RefusedError]) and
// [ErrProtocol]; a call whose context was cancelled wraps context.Canceled
// alone. All commands compute and change nothing, so a call whose connection
// broke is sent again elsewhere, a bounded number of times.
package hsm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"onecard/card/keys"
	"onecard/fault"
)

var (
	// ErrUnreachable: no HSM answers.
	ErrUnreachable = fault.New(fault.HSMUnreachable, "HSM unreachable")

	// ErrRefused: the HSM answered that it does not do this. The error is a
	// [RefusedError].
	ErrRefused = fault.New(fault.HSMRefused, "HSM refused the request")

	// ErrProtocol: what answers is no HSM that speaks this protocol.
	ErrProtocol = fault.New(fault.HSMProtocol, "HSM protocol violated")
)

// A RefusedError is an HSM's refusal. It unwraps to [ErrRefused].
type RefusedError struct {
	Command Command
	Status  Status
	Text    string // the HSM's own words, fit for logs; may be empty
}

// Error names command, status and the HSM's words.
func (e *RefusedError) Error() string {
	text := fmt.Sprintf("%s %s: %s", ErrRefused, e.Command, e.Status)
	if e.Text != "" {
		text += " (" + e.Text + ")"
	}
	return text
}

// Unwrap returns [ErrRefused].
func (e *RefusedError) Unwrap() error { return ErrRefused }

// A Client talks to one of several equal HSMs. Safe for concurrent use.
type Client struct {
	options

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // dials, and two goroutines for each connection

	mu        sync.Mutex
	closed    bool
	endpoints []*endpoint   // in order of preference
	changed   chan struct{} // closed and replaced when a dial ends
}

// New returns a client for HSMs at these addresses, each host:port, in order of
// preference. It does not connect. A malformed address fails like one that
// nothing answers at; [CheckAddress] tells beforehand.
func New(addrs []string, opts ...Option) *Client {
	c := &Client{options: defaults(), changed: make(chan struct{})}
	for _, o := range opts {
		o(&c.options)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	for _, addr := range addrs {
		c.endpoints = append(c.endpoints, &endpoint{addr: addr})
	}
	return c
}

// Close drops all connections, fails the calls that wait and returns when the
// client's goroutines have ended. Calls made later fail.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	var open []*conn
	for _, e := range c.endpoints {
		open = append(open, e.conns...)
	}
	c.mu.Unlock()
	c.cancel()
	for _, cn := range open {
		cn.fail(errClosed)
	}
	c.wg.Wait()
}

// Ping asks an HSM to repeat 16 random bytes.
func (c *Client) Ping(ctx context.Context) error {
	var nonce [16]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	f, err := c.call(ctx, CommandEcho, []Field{{TagEcho, nonce[:]}})
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	if v, _ := f.Value(TagEcho); !keys.Equal(v, nonce[:]) {
		return fmt.Errorf("ping: %w: echo of other bytes", ErrProtocol)
	}
	return nil
}

// Info asks an HSM who it is and what it holds.
func (c *Client) Info(ctx context.Context) (Info, error) {
	f, err := c.call(ctx, CommandStatus, c.hello())
	if err != nil {
		return Info{}, fmt.Errorf("status: %w", err)
	}
	info, err := ParseInfo(&f.Frame)
	if err != nil {
		return Info{}, fmt.Errorf("status: %w", err)
	}
	info.Address = f.addr
	return info, nil
}

// InternalAuth returns what a genuine card answers to INTERNAL AUTHENTICATE
// with the process factor and raw, by key IRK. Compare with [keys.Equal].
// Besides the client's errors it wraps those of [keys.Subject.Check].
func (c *Client) InternalAuth(ctx context.Context, s keys.Subject, process, raw [8]byte) (answer [8]byte, err error) {
	fields := []Field{{TagProcess, process[:]}, {TagRaw, raw[:]}}
	answer, err = c.authenticate(ctx, CommandInternalAuth, s, "IRK", fields)
	if err != nil {
		return answer, fmt.Errorf("internal authentication: %w", err)
	}
	return answer, nil
}

// ExternalAuth returns the first eight data bytes of EXTERNAL AUTHENTICATE by
// the named key, for the card's last challenge (4, 8 or 16 bytes) and any raw.
// Besides the client's errors it wraps those of [keys.Subject.Check], and
// [keys.ErrSubject] for a challenge of another length.
func (c *Client) ExternalAuth(ctx context.Context, s keys.Subject, key string, challenge []byte, raw [8]byte) (auth [8]byte, err error) {
	switch len(challenge) {
	case 4, 8, 16:
	default:
		return auth, fmt.Errorf("external authentication: %w: challenge of %d bytes", keys.ErrSubject, len(challenge))
	}
	fields := []Field{{TagChallenge, challenge}, {TagRaw, raw[:]}}
	auth, err = c.authenticate(ctx, CommandExternalAuth, s, key, fields)
	if err != nil {
		return auth, fmt.Errorf("external authentication with %q: %w", key, err)
	}
	return auth, nil
}

func (c *Client) authenticate(ctx context.Context, cmd Command, s keys.Subject, key string, fields []Field) (answer [8]byte, err error) {
	f, err := c.ask(ctx, cmd, s, key, fields)
	if err != nil {
		return answer, err
	}
	v, _ := f.Value(TagAnswer)
	return [8]byte(v), nil // CheckResponse saw that it is there and of 8 bytes
}

// ask sends a command about a card's key. It refuses what needs no HSM to be
// refused: a card with SSF33 shall not be told that the HSM is down.
func (c *Client) ask(ctx context.Context, cmd Command, s keys.Subject, key string, fields []Field) (answer, error) {
	if err := s.Check(); err != nil {
		return answer{}, err
	}
	if !keys.ValidName(key) {
		return answer{}, fmt.Errorf("%w: key name", keys.ErrSubject)
	}
	return c.call(ctx, cmd, append(SubjectFields(s, key), fields...))
}

func (c *Client) hello() []Field {
	return []Field{{TagClient, []byte(c.name)}}
}

// answer is a response and where it came from.
type answer struct {
	Frame
	addr string
}

// call sends one command and returns its checked answer. Connections that break
// meanwhile are replaced: one attempt more than there are addresses, since the
// first connection may have gone stale unnoticed.
func (c *Client) call(ctx context.Context, cmd Command, fields []Field) (answer, error) {
	own, cancel := context.WithTimeout(ctx, c.callTimeout)
	defer cancel()
	var failure error
	var failed map[*endpoint]bool // in this call
	note := func(cn *conn, err error) {
		if failed == nil {
			failed = make(map[*endpoint]bool)
		}
		failed[cn.endpoint] = true
		failure = worse(failure, fmt.Errorf("%s: %w", cn.addr(), err))
	}
	for range len(c.endpoints) + 1 {
		cn, err := c.acquire(own, failed)
		if err != nil && len(failed) > 0 && own.Err() == nil {
			// Nobody else is there.
			clear(failed)
			cn, err = c.acquire(own, failed)
		}
		if err != nil {
			return answer{}, c.ended(ctx, own, worse(failure, err))
		}
		f, err := cn.roundTrip(own, cmd, fields)
		switch {
		case err != nil && own.Err() != nil:
			return answer{}, c.ended(ctx, own, err)
		case err != nil:
			note(cn, err)
			continue
		case f.Status != StatusOK:
			text, _ := f.Value(TagText)
			refused := &RefusedError{cmd, f.Status, printable(text)}
			if !f.Status.elsewhere() {
				return answer{}, refused
			}
			cn.fail(refused)
			note(cn, refused)
			continue
		}
		if err := CheckResponse(&f); err != nil {
			cn.fail(err)
			note(cn, err)
			continue
		}
		return answer{f, cn.addr()}, nil
	}
	return answer{}, failure
}

// worse keeps the earlier failure of a call if it says more than the later one:
// that something answered wrongly, rather than that afterwards nothing did.
func worse(earlier, later error) error {
	if earlier != nil && !errors.Is(earlier, ErrUnreachable) {
		return earlier
	}
	return later
}

// ended explains a call that was not answered: cancelled by the caller, over
// the caller's or the client's time, or as err says.
func (c *Client) ended(caller, own context.Context, err error) error {
	switch {
	case errors.Is(caller.Err(), context.Canceled):
		return caller.Err()
	case own.Err() != nil && !errors.Is(err, ErrProtocol):
		return fmt.Errorf("%w: no answer in time: %w", ErrUnreachable, own.Err())
	}
	return err
}

// acquire returns a connection to the first address that has one, dialling where
// none has: the preferred addresses first, one more whenever the others take
// long. Those in failed are passed over.
func (c *Client) acquire(ctx context.Context, failed map[*endpoint]bool) (*conn, error) {
	timer := time.NewTimer(c.stagger)
	defer timer.Stop()
	for atOnce := 1; ; {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, errClosed
		}
		if cn := c.pick(failed); cn != nil {
			c.mu.Unlock()
			return cn, nil
		}
		dialling := 0
		for _, e := range c.endpoints {
			if dialling == atOnce {
				break
			}
			if !failed[e] && c.dial(e) {
				dialling++
			}
		}
		changed, err := c.changed, c.down()
		c.mu.Unlock()
		if dialling == 0 {
			return nil, err
		}
		select {
		case <-changed:
		case <-timer.C:
			atOnce++
			timer.Reset(c.stagger)
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, ctx.Err())
		}
	}
}

// pick returns the least busy connection of the first address that has any, nil
// where none has. In the background it wins back better addresses, and adds a
// connection where one is busy. Under mu.
func (c *Client) pick(failed map[*endpoint]bool) *conn {
	for i, e := range c.endpoints {
		if failed[e] {
			continue
		}
		var best *conn
		for _, cn := range e.conns {
			if best == nil || cn.load() < best.load() {
				best = cn
			}
		}
		if best == nil {
			continue
		}
		for _, better := range c.endpoints[:i] {
			c.dial(better)
		}
		if best.load() >= busy && len(e.conns) < c.connections {
			c.dial(e)
		}
		return best
	}
	return nil
}

// busy is the number of requests in flight from which on another connection is
// worth its dialling.
const busy = 4

// down says what keeps every address from being used. Under mu.
func (c *Client) down() error {
	if len(c.endpoints) == 0 {
		return fmt.Errorf("%w: no address", ErrUnreachable)
	}
	class := ErrUnreachable
	var texts []string
	for _, e := range c.endpoints {
		if e.lastErr == nil {
			continue
		}
		text := e.lastErr.Error()
		switch {
		case errors.Is(e.lastErr, ErrProtocol):
			class = ErrProtocol
		case errors.Is(e.lastErr, ErrRefused) && class != ErrProtocol:
			class = ErrRefused
		default:
			text = strings.TrimPrefix(text, ErrUnreachable.Error()+": ")
		}
		texts = append(texts, e.addr+": "+text)
	}
	return fmt.Errorf("%w: %s", class, strings.Join(texts, "; "))
}
