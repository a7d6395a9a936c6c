// Package remote brings the slots of one machine to another over TLS with
// certificates on both sides: a kiosk board without a service of its own lends its
// reader, and the desk uses it like one of its own.
//
//	// where the reader is
//	err := remote.Lend(ctx, listener, driver) // a tls.Listener that asks for certificates
//
//	// where the desk is
//	d := remote.New("kiosk.hospital.example:8760", config)
//	w := reader.NewWatcher([]reader.Driver{d})
//
// A connection is made for watching and one for every open card. A link that is
// lost is a removal: the card's session ends with [reader.ErrCardRemoved], what was
// under way is not repeated, and the side with the card resets it, so that nobody
// inherits a PIN that was verified. A slot is named as on the other machine, with
// " at " and the address.
//
// Every message is a frame of four bytes length, most significant byte first, and at
// most 128 KiB of JSON; every answer has a deadline. Data of commands crosses the
// line encrypted and is logged nowhere.
package remote

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"onecard/fault"
	"onecard/reader"
)

// maxFrame bounds one message: an extended command or answer in base64, and a list
// of readers, fit.
const maxFrame = 128 << 10

// Deadlines of the line. A side that has nothing to say says so every beat, and one
// that was not heard for patience is gone.
const (
	dialTime = 5 * time.Second
	beat     = 2 * time.Second
	patience = 3 * beat
	grace    = 2 * time.Second // of the line, added to the caller's own deadline
)

// Operations.
const (
	opWatch    = "watch"
	opOpen     = "open"
	opTransmit = "transmit"
	opBegin    = "begin"
	opEnd      = "end"
	opReset    = "reset"
	opClose    = "close"
)

// request is what the desk asks. Milliseconds is its deadline, 0 for none.
type request struct {
	Op           string `json:"op"`
	Slot         string `json:"slot,omitempty"`
	Exclusive    bool   `json:"exclusive,omitempty"`
	Data         []byte `json:"data,omitempty"`
	Milliseconds int64  `json:"ms,omitempty"`
}

// answer is what the lending side says: of a watch a picture, or nothing but that it
// lives.
type answer struct {
	Fault     fault.Code `json:"fault,omitempty"`
	Data      []byte     `json:"data,omitempty"`
	ATR       []byte     `json:"atr,omitempty"`
	T0        bool       `json:"t0,omitempty"`
	Insertion uint64     `json:"insertion,omitempty"`
	Picture   *picture   `json:"picture,omitempty"`
}

type picture struct {
	Down  bool               `json:"down,omitempty"`
	Slots []reader.SlotState `json:"slots"`
}

// The ways in which the other machine is not there. Both are [reader.ErrServiceDown],
// too.
var (
	// ErrUnreachable: nothing answers at the address, or the line was lost.
	ErrUnreachable = fault.New(fault.RemoteUnreachable, "the machine that lends the reader cannot be reached")
	// ErrRefused: one side does not accept the certificate of the other.
	ErrRefused = fault.New(fault.RemoteRefused, "the certificate of one side is not accepted")
)

// A lineError is why there is no line to the other machine.
type lineError struct {
	kind  error // ErrUnreachable, ErrRefused
	cause error
}

func (e *lineError) Error() string {
	return "remote readers: " + e.kind.Error() + ": " + e.cause.Error()
}
func (e *lineError) Unwrap() []error { return []error{e.kind, reader.ErrServiceDown, e.cause} }

// FaultDetail says which side refuses what: addresses and names of certificates, no
// person's.
func (e *lineError) FaultDetail() string { return e.cause.Error() }

// noLine makes the error of a line that could not be made or was lost. With TLS 1.3 a
// certificate is refused after this side believes the line to stand: the alert comes
// in place of the first answer.
func noLine(err error) error {
	var verification *tls.CertificateVerificationError
	var op *net.OpError
	if errors.As(err, &verification) || errors.As(err, &op) && op.Op == "remote error" {
		return &lineError{ErrRefused, err}
	}
	return &lineError{ErrUnreachable, err}
}

// faults are the errors that cross the line, by code.
var faults = func() map[fault.Code]error {
	m := make(map[fault.Code]error)
	for _, err := range []error{reader.ErrNoCard, reader.ErrMute, reader.ErrCardRemoved, reader.ErrCardReset, reader.ErrCardChanged,
		reader.ErrServiceDown, reader.ErrNoReader, reader.ErrReaderGone, reader.ErrBusy, reader.ErrStuck, reader.ErrFault, reader.ErrGarbage} {
		m[fault.Of(err).Code] = err
	}
	return m
}()

// failure is the error of an answer, nil where it has none.
func (a answer) failure() error {
	if a.Fault == "" {
		return nil
	}
	if err, ok := faults[a.Fault]; ok {
		return fmt.Errorf("remote: %w", err)
	}
	return fmt.Errorf("remote: %s: %w", a.Fault, reader.ErrFault)
}

// failed is the answer to what failed.
func failed(err error) answer {
	code := fault.Of(err).Code
	if _, ok := faults[code]; !ok {
		code = fault.Of(reader.ErrFault).Code
		if errors.Is(err, context.DeadlineExceeded) {
			code = fault.Of(reader.ErrStuck).Code
		}
	}
	return answer{Fault: code}
}

// send writes one frame.
func send(conn net.Conn, message any, within time.Duration) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	defer clear(body) // it may have been a PIN
	if len(body) > maxFrame {
		return fmt.Errorf("frame of %d bytes", len(body))
	}
	if err := conn.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	frame := append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body))), body...)
	defer clear(frame)
	_, err = conn.Write(frame)
	return err
}

// receive reads one frame, within 0 for as long as it takes.
func receive(conn net.Conn, message any, within time.Duration) error {
	var until time.Time
	if within > 0 {
		until = time.Now().Add(within)
	}
	if err := conn.SetReadDeadline(until); err != nil {
		return err
	}
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return fmt.Errorf("frame of %d bytes", n)
	}
	body := make([]byte, n)
	defer clear(body)
	if _, err := io.ReadFull(conn, body); err != nil {
		return err
	}
	return json.Unmarshal(body, message)
}

// A Driver is the readers of another machine. It is safe for use by several
// goroutines.
type Driver struct {
	address string
	config  *tls.Config
	lines   atomic.Uint64 // that were watched: insertions of one are not those of another
}

// local is the name of a slot here: two machines may have readers of one name.
func (d *Driver) local(theirs string) string { return theirs + " at " + d.address }

// insertion numbers an insertion of the other side.
func (d *Driver) insertion(theirs uint64) uint64 {
	if theirs == 0 {
		return 0
	}
	return d.lines.Load()<<40 + theirs
}

// New returns the readers that are lent at an address. The configuration has to
// have a certificate and to know the authority of the other side's.
func New(address string, config *tls.Config) *Driver {
	c := config.Clone()
	c.MinVersion = tls.VersionTLS13
	return &Driver{address: address, config: c}
}

// Kind returns "remote".
func (d *Driver) Kind() string { return "remote" }

func (d *Driver) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, err := (&tls.Dialer{Config: d.config}).DialContext(ctx, "tcp", d.address)
	if err != nil {
		return nil, noLine(err)
	}
	return conn, nil
}

// Watch reports the readers; see [reader.Driver]. A line that is lost counts as a
// service that is down, so every card on it as removed.
func (d *Driver) Watch(ctx context.Context, report func(reader.Snapshot)) error {
	pause := 100 * time.Millisecond
	down := ""
	for {
		err := d.watch(ctx, func(s reader.Snapshot) {
			pause, down = 100*time.Millisecond, ""
			report(s)
		})
		if ctx.Err() != nil {
			return nil
		}
		if err.Error() != down {
			down = err.Error()
			report(reader.Snapshot{Err: err})
		}
		again := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			again.Stop()
			return nil
		case <-again.C:
		}
		pause = min(2*pause, time.Second)
	}
}

func (d *Driver) watch(ctx context.Context, report func(reader.Snapshot)) error {
	conn, err := d.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	d.lines.Add(1)
	if err := send(conn, request{Op: opWatch}, dialTime); err != nil {
		return noLine(err)
	}
	for {
		var a answer
		if err := receive(conn, &a, patience); err != nil {
			return noLine(err)
		}
		switch p := a.Picture; {
		case p == nil: // it lives
		case p.Down:
			report(reader.Snapshot{Err: fmt.Errorf("remote readers: %w", reader.ErrServiceDown)})
		default:
			for i := range p.Slots {
				p.Slots[i].Slot = d.local(p.Slots[i].Slot)
				p.Slots[i].Insertion = d.insertion(p.Slots[i].Insertion)
			}
			report(reader.Snapshot{Slots: p.Slots})
		}
	}
}

// Open connects to a card; see [reader.Driver].
func (d *Driver) Open(ctx context.Context, slot string, sharing reader.Sharing) (reader.Link, error) {
	theirs, ok := strings.CutSuffix(slot, d.local(""))
	if !ok {
		return nil, reader.ErrNoReader
	}
	conn, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn}
	a, err := l.ask(ctx, request{Op: opOpen, Slot: theirs, Exclusive: sharing == reader.Exclusive})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.atr, l.t0, l.insertion = a.ATR, a.T0, d.insertion(a.Insertion)
	return l, nil
}

// A link is a card on the other side of a connection.
type link struct {
	conn      net.Conn
	atr       []byte
	t0        bool
	insertion uint64

	mu   sync.Mutex
	dead error
	once sync.Once
}

// ask sends a request and waits for its answer until ctx ends, at the latest as
// long as the other side may take.
func (l *link) ask(ctx context.Context, r request) (answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return answer{}, l.dead
	}
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	within := reader.DefaultDeadline
	if at, ok := ctx.Deadline(); ok {
		within = time.Until(at)
	}
	r.Milliseconds = max(within.Milliseconds(), 1)
	// The end of ctx cuts the line: the answer, when it comes, is nobody's.
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			l.conn.Close()
		}
	})
	defer stop()
	var a answer
	err := send(l.conn, r, dialTime)
	if err == nil {
		err = receive(l.conn, &a, within+grace)
	}
	switch {
	case err == nil:
		return a, a.failure()
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		l.dead = ctx.Err()
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		l.dead = fmt.Errorf("remote: %w: %w", reader.ErrStuck, err)
	case r.Op == opOpen:
		l.dead = noLine(err)
	default:
		l.dead = fmt.Errorf("remote: %w: the line was lost: %w", reader.ErrCardRemoved, err)
	}
	return answer{}, l.dead
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

func (l *link) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	a, err := l.ask(ctx, request{Op: opTransmit, Data: command})
	if err == nil && len(a.Data) < 2 {
		err = fmt.Errorf("remote: %w: answer of %d bytes", reader.ErrCardRemoved, len(a.Data))
	}
	return a.Data, err
}

func (l *link) ATR() []byte       { return l.atr }
func (l *link) T0() bool          { return l.t0 }
func (l *link) Insertion() uint64 { return l.insertion }

func (l *link) Begin(ctx context.Context) error {
	_, err := l.ask(ctx, request{Op: opBegin})
	return err
}

func (l *link) End() error {
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	_, err := l.ask(ctx, request{Op: opEnd})
	return err
}

func (l *link) Reset(ctx context.Context) error {
	_, err := l.ask(ctx, request{Op: opReset})
	return err
}

// Close tells the other side that the card is to be left as it is, and hangs up.
// Another goroutine may wait for an answer meanwhile: hanging up ends that.
func (l *link) Close() error {
	l.once.Do(func() {
		if l.mu.TryLock() {
			if l.dead == nil {
				_ = send(l.conn, request{Op: opClose}, time.Second) // the line may be dead
				l.dead = reader.ErrClosed
			}
			l.mu.Unlock()
		}
		_ = l.conn.Close()
	})
	return nil
}
