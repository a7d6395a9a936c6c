// Package pcsc drives whatever the operating system's smart-card service (PC/SC)
// drives: pcsc-lite on Linux, the Smart Card service on Windows.
//
// It is one [reader.Driver] per process:
//
//	d := pcsc.New()
//	defer d.Close(ctx)
//	w := reader.NewWatcher([]reader.Driver{d})
//
// PC/SC calls can block for as long as another program or a reader's firmware
// likes, and nothing can call them back. So every context has a goroutine of its
// own that makes its calls, and whoever waits for it stops waiting at a
// deadline; the context is then abandoned and cleans up behind itself when its
// call returns. One context watches; every card session has its own, because a
// wait and any other call on one context hold each other up.
package pcsc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ebfe/scard"

	"onecard/reader"
)

// How long calls may take that the caller has set no deadline for.
const (
	openTime     = 10 * time.Second
	transmitTime = 30 * time.Second
	closeTime    = 2 * time.Second // disconnecting and ending a transaction
)

// maxAbandoned is how many calls to one slot may hang at the same time. Each
// costs a thread of the operating system.
const maxAbandoned = 4

// wholeAPDU lists the beginnings of the names of readers that hand a command to
// the card as it is even when the card speaks T=0. All others are taken to hand
// over TPDUs, from which a program has to leave the Le of case 4 away (PC/SC
// part 10 gives no way to ask).
var wholeAPDU = []string{"Virtual PCD "}

// A Driver is the machine's smart-card service. It is safe for use by several
// goroutines.
type Driver struct {
	now     func() time.Time
	watcher func() (watching, error) // establishes a context to watch with

	mu        sync.Mutex
	seen      map[string]reader.SlotState // by Watch, last
	counts    map[string]uint16           // of events, as the service said with it
	changed   chan struct{}               // closed and replaced when seen changes
	abandoned map[string]abandoned        // by slot, "" for the watch
	insertion uint64
	threads   int
	idle      chan struct{} // closed while threads is 0
}

// abandoned tells of calls that did not come back in time.
type abandoned struct {
	calls int
	err   error // what the last of them was told
}

// An Option changes how a [Driver] works.
type Option func(*Driver)

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(d *Driver) { d.now = now } }

// New returns the driver. Nothing is connected before Watch or Open.
func New(opts ...Option) *Driver {
	d := &Driver{
		now:       time.Now,
		watcher:   establish,
		seen:      make(map[string]reader.SlotState),
		counts:    make(map[string]uint16),
		changed:   make(chan struct{}),
		abandoned: make(map[string]abandoned),
		idle:      make(chan struct{}),
	}
	close(d.idle)
	for _, o := range opts {
		o(d)
	}
	return d
}

// Kind returns "pcsc".
func (d *Driver) Kind() string { return "pcsc" }

// Close waits until every call that was ever begun has come back, those of
// abandoned contexts included. Links and Watch must have ended; where a call
// hangs Close returns when ctx ends, with an error wrapping [reader.ErrStuck].
func (d *Driver) Close(ctx context.Context) error {
	d.mu.Lock()
	idle := d.idle
	d.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		d.mu.Lock()
		defer d.mu.Unlock()
		return fmt.Errorf("%w: %d PC/SC contexts still in a call", reader.ErrStuck, d.threads)
	}
}

// Open connects to the card in a reader; see [reader.Driver]. It waits while
// another program holds a transaction, until ctx ends, and for at most 10 seconds.
func (d *Driver) Open(ctx context.Context, slot string, sharing reader.Sharing) (reader.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	d.mu.Lock()
	before := d.seen[slot]
	d.mu.Unlock()
	t, err := d.start(slot)
	if err != nil {
		return nil, err
	}
	l := &link{d: d, slot: slot, thread: t, mode: scard.ShareShared}
	if sharing == reader.Exclusive {
		l.mode = scard.ShareExclusive
	}
	late := reader.ErrStuck
	if before.InUse {
		// Connecting waits for the transaction of whoever is connected.
		late = reader.ErrBusy
	}
	if err := t.do(ctx, late, l.connect); err != nil {
		t.stop()
		return nil, err
	}
	l.insertion = d.insertionAt(ctx, slot, l.events)
	return l, nil
}

// connect runs in the link's thread.
func (l *link) connect() error {
	var err error
	if l.context, err = scard.EstablishContext(); err != nil {
		return service(err)
	}
	l.thread.release = l.disconnect
	if l.card, err = l.context.Connect(l.slot, l.mode, scard.ProtocolAny); err != nil {
		return connecting(err)
	}
	return l.learn()
}

// learn takes over protocol and ATR after a connect, reconnect or reset. It runs
// in the link's thread.
func (l *link) learn() error {
	status, err := l.card.Status()
	if err != nil {
		return connecting(err)
	}
	switch l.card.ActiveProtocol() {
	case scard.ProtocolT0, scard.ProtocolT1:
	default:
		// The binding knows no other protocol to transmit with.
		return fmt.Errorf("%w: neither T=0 nor T=1", reader.ErrFault)
	}
	if len(status.Atr) == 0 {
		return reader.ErrMute
	}
	l.events = events(scard.StateFlag(status.State))
	atr := bytes.Clone(status.Atr)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.atr, l.t0 = atr, l.card.ActiveProtocol() == scard.ProtocolT0
	for _, name := range wholeAPDU {
		if strings.HasPrefix(l.slot, name) {
			l.t0 = false
		}
	}
	return nil
}

// disconnect gives everything back. It runs in the link's thread, last.
func (l *link) disconnect() {
	// Nothing is left to do about an error here: the service is gone, or the
	// card is.
	if l.card != nil {
		_ = l.card.Disconnect(scard.LeaveCard) // ends a transaction, too
	}
	_ = l.context.Release()
}

// service translates an error about the service.
func service(err error) error {
	return fmt.Errorf("%w: %w", reader.ErrServiceDown, err)
}

// connecting translates an error of connecting to a card.
func connecting(err error) error {
	var code scard.Error
	if !errors.As(err, &code) {
		return fmt.Errorf("%w: %w", reader.ErrFault, err)
	}
	switch code {
	case scard.ErrNoSmartcard, scard.ErrRemovedCard:
		return fmt.Errorf("%w: %w", reader.ErrNoCard, err)
	case scard.ErrUnresponsiveCard, scard.ErrUnpoweredCard, scard.ErrUnsupportedCard, scard.ErrInvalidAtr:
		return fmt.Errorf("%w: %w", reader.ErrMute, err)
	}
	return talking(err)
}

// talking translates an error of a call to a connected card.
func talking(err error) error {
	var code scard.Error
	if !errors.As(err, &code) {
		return fmt.Errorf("%w: %w", reader.ErrFault, err)
	}
	as := reader.ErrFault
	switch code {
	case scard.ErrNoSmartcard, scard.ErrRemovedCard:
		as = reader.ErrCardRemoved
	case scard.ErrResetCard:
		as = reader.ErrCardReset
	case scard.ErrUnresponsiveCard, scard.ErrUnpoweredCard, scard.ErrUnsupportedCard:
		as = reader.ErrMute
	case scard.ErrSharingViolation:
		as = reader.ErrBusy
	case scard.ErrUnknownReader, scard.ErrReaderUnavailable, scard.ErrNoReadersAvailable:
		as = reader.ErrReaderGone
	case scard.ErrNoService, scard.ErrServiceStopped, scard.ErrShutdown, scard.ErrSystemCancelled,
		scard.ErrCommError,     // pcsc-lite: the connection to pcscd broke
		scard.ErrInvalidHandle: // pcsc-lite: pcscd is another one than the handle's
		as = reader.ErrServiceDown
	}
	return fmt.Errorf("%w: %w", as, err)
}
