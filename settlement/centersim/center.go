package centersim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Repeat is what the centre does with a msgid that it has booked before. The
// interface promises none of the three.
type Repeat string

// The behaviours.
const (
	RepeatRefuse Repeat = "refuse" // infcode -1 (the default)
	RepeatBook   Repeat = "book"   // book it again: a settlement is doubled
	RepeatSame   Repeat = "same"   // the first answer again, if the input is the same; else refuse
)

// Lookups is how much the look-ups 5201, 5203 and 5204 tell (regions differ).
type Lookups string

// The behaviours.
const (
	// LookupsStrict is the interface to the letter (the default): 5203 and 5204
	// want the setl_id, 5201 shows visits and nothing of their settlements.
	LookupsStrict Lookups = "strict"
	// LookupsGenerous: 5203 and 5204 find by mdtrt_id alone, 5201 has a row for
	// every settlement of a visit, with setl_id and medins_setl_id.
	LookupsGenerous Lookups = "generous"
)

// Reversal is what 2601 says about a transaction that is not there to be
// reversed. No text says.
type Reversal string

// The behaviours.
const (
	// ReversalRefuse: infcode -1, in different words for a msgid that never
	// arrived and for one that was undone already (the default).
	ReversalRefuse Reversal = "refuse"
	// ReversalAccept: infcode 0 in both cases; of a msgid that never arrived it
	// is booked that it must not, and its request is refused if it comes late.
	ReversalAccept Reversal = "accept"
)

// DefaultMaxBody bounds a request's body, 1 MiB.
const DefaultMaxBody = 1 << 20

// Config is how a centre is to be. The zero value is an open gateway with the
// embedded people, catalogue and policy and no ledger file.
type Config struct {
	// Style is the gateway's signature style, StyleNone (or "") or others, see
	// CheckStyle.
	Style string
	// Tokens are the callers of the styles with headers: paasid to token, access
	// key to secret key, x-ca-key to secret; see ReadTokens.
	Tokens map[string]string
	// Keys are those of the other styles.
	Keys Keys
	// GatewayStatus is the HTTP status of a gateway refusal: 401 if 0; others
	// answer 200.
	GatewayStatus int
	// Ledger is the ledger's file; it is made with mode 0600. Empty: what is
	// booked is forgotten at the end.
	Ledger string
	// Database keeps the ledger in PostgreSQL in place of a file: a URL
	// postgres://USER@HOST:PORT/DATABASE without a password, or a file with mode
	// 0600 that holds one, a password too.
	Database string
	// Data may hold people.json, catalogue.json and policy.json in place of the
	// embedded ones; os.DirFS makes one of a directory.
	Data fs.FS
	// Areas are the places of insurance that this centre answers for, 2, 4 or 6
	// digits each; none: all places.
	Areas []string
	// Routes are the centres of other places of insurance, by 2, 4 or 6 digits:
	// http://127.0.0.1:PORT, on this machine. A transaction about a person who is
	// insured there is handed on. Needs Areas.
	Routes map[string]string
	// Repeat is what happens to a repeated msgid; RepeatRefuse if empty.
	Repeat Repeat
	// Lookups is what 5201, 5203 and 5204 tell; LookupsStrict if empty.
	Lookups Lookups
	// Reversal is what 2601 says of what is not there; ReversalRefuse if empty.
	Reversal Reversal
	// Faults are ordered from the start.
	Faults []Fault
	// MaxBody bounds a request's body in bytes; DefaultMaxBody if 0.
	MaxBody int64
	// Now is the centre's clock; time.Now if nil.
	Now func() time.Time
	// Logf takes one line per request and per oddity, without personal data;
	// nil: no log.
	Logf func(format string, a ...any)
	// Ready is called by [Serve] once ledger and data are found good; may be
	// nil.
	Ready func()
}

// Center is a running centre. Its methods may be called from anywhere.
type Center struct {
	config  Config
	gateway *gateway
	table   table
	rules   *rules
	faults  *faultList
	refmsg  atomic.Uint64

	mu     sync.Mutex // state, ledger.append, closed
	state  *state
	ledger *ledger
	closed bool

	peers *http.Client // to other centres

	stop    chan struct{}   // closed by Close
	running context.Context // until Close
	halt    context.CancelFunc
	active  sync.WaitGroup
}

// ErrConfig is wrapped by every error about a value of Config.
var ErrConfig = errors.New("simulated centre: configuration")

// New reads the data files, replays the ledger and returns a centre ready to
// serve. A ledger that cannot be trusted gives an error wrapping ErrLedger.
func New(config Config) (*Center, error) {
	if err := config.defaults(); err != nil {
		return nil, err
	}
	front, err := newGateway(&config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	t, err := parseTable(fieldsTable + offlineFields)
	if err != nil {
		return nil, err
	}
	// The table says 4 of both, yet 2207A and 100001 exist.
	t.widen("ENVELOPE", "infno", 6)
	t.widen("2601", "oinfno", 6)
	if config.Lookups == LookupsGenerous {
		t.relax("5203", "setl_id")
		t.relax("5204", "setl_id")
	}
	r, err := loadRules(config.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c := &Center{config: config, gateway: front, table: t, rules: r, state: newState(r), faults: newFaultList(), stop: make(chan struct{})}
	// A connection for each request: one that cannot be made has sent nothing,
	// one that was kept and breaks leaves that open.
	c.peers = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, MaxConnsPerHost: 256}}
	c.running, c.halt = context.WithCancel(context.Background())
	if err := c.faults.order(config.Faults...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	kept, err := config.store()
	if err != nil {
		return nil, err
	}
	if c.ledger, err = openLedger(kept, c.replay); err != nil {
		return nil, err
	}
	if c.ledger.cut > 0 {
		config.Logf("ledger: the last line was torn and is cut off, %d bytes; it was never answered", c.ledger.cut)
	}
	if c.ledger.seq == 0 {
		first := &event{Time: c.now(), Opened: &opened{Ledger: ledgerName, Version: ledgerVersion}}
		if _, err := c.ledger.append(first); err != nil {
			c.ledger.close()
			return nil, err
		}
	}
	return c, nil
}

// store opens what the ledger is kept in, nil for nothing.
func (c *Config) store() (store, error) {
	switch {
	case c.Database != "":
		return openPostgres(c.Database)
	case c.Ledger == "":
		return nil, nil
	}
	return openFile(c.Ledger)
}

func (c *Config) defaults() error {
	if c.Style == "" {
		c.Style = StyleNone
	}
	switch c.Repeat {
	case "":
		c.Repeat = RepeatRefuse
	case RepeatRefuse, RepeatBook, RepeatSame:
	default:
		return fmt.Errorf("%w: repeat %q is not refuse, book or same", ErrConfig, c.Repeat)
	}
	switch c.Lookups {
	case "":
		c.Lookups = LookupsStrict
	case LookupsStrict, LookupsGenerous:
	default:
		return fmt.Errorf("%w: lookups %q is not strict or generous", ErrConfig, c.Lookups)
	}
	switch c.Reversal {
	case "":
		c.Reversal = ReversalRefuse
	case ReversalRefuse, ReversalAccept:
	default:
		return fmt.Errorf("%w: reversal %q is not refuse or accept", ErrConfig, c.Reversal)
	}
	if c.GatewayStatus == 0 {
		c.GatewayStatus = http.StatusUnauthorized
	}
	if c.GatewayStatus < 200 || c.GatewayStatus > 599 {
		return fmt.Errorf("%w: gateway status %d", ErrConfig, c.GatewayStatus)
	}
	if err := c.checkRoutes(); err != nil {
		return err
	}
	if c.Database != "" && c.Ledger != "" {
		return fmt.Errorf("%w: a ledger is in a file or in a database", ErrConfig)
	}
	if c.MaxBody <= 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	return nil
}

func (c *Center) now() time.Time { return c.config.Now().In(china) }

// Close ends hanging requests, waits for those under way and closes the
// ledger. Requests that come later get HTTP 503.
func (c *Center) Close() error {
	c.end()
	c.active.Wait()
	return c.ledger.close()
}

// end lets no further request in and ends those that hang.
func (c *Center) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		close(c.stop)
		c.halt()
	}
}

// enter counts a request in; false after Close.
func (c *Center) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.active.Add(1)
	return true
}

// Order adds faults to those that wait for a request.
func (c *Center) Order(faults ...Fault) error { return c.faults.order(faults...) }

// Ordered returns the faults that still wait.
func (c *Center) Ordered() []Fault { return c.faults.list() }

// ClearFaults forgets every ordered fault; requests that hang go on hanging.
func (c *Center) ClearFaults() { c.faults.clear() }

// Release lets every hanging request go on.
func (c *Center) Release() { c.faults.releaseAll() }

// AwaitHanging returns when exactly n requests hang, or with ctx's error.
func (c *Center) AwaitHanging(ctx context.Context, n int) error {
	for {
		now, changed := c.faults.hangs()
		if now == n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d hanging requests, %d hang: %w", n, now, ctx.Err())
		}
	}
}

// CutBytes returns how much of a torn last line of the ledger was cut off when
// the centre started; 0 for a whole ledger.
func (c *Center) CutBytes() int64 { return c.ledger.cut }

// stopping bounds how long Serve waits for requests under way at the end.
const stopping = 5 * time.Second

// Serve runs a centre on a listener until ctx ends, and returns nil then. The
// listener is closed in every case. It listens already: whoever made it knows
// the address and may announce it; requests wait in its queue until the
// ledger is replayed.
func Serve(ctx context.Context, listener net.Listener, config Config) error {
	defer listener.Close()
	c, err := New(config)
	if err != nil {
		return err
	}
	if config.Ready != nil {
		config.Ready()
	}
	server := &http.Server{
		Handler:           c.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(logWriter(c.config.Logf), "", 0),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err = <-served:
		return errors.Join(err, server.Close(), c.Close())
	case <-ctx.Done():
	}
	// Shutdown would wait for requests that hang.
	c.end()
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopping)
	defer cancel()
	if server.Shutdown(deadline) != nil {
		err = errors.Join(err, server.Close())
	}
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, c.Close())
}

type logWriter func(format string, a ...any)

func (w logWriter) Write(b []byte) (int, error) {
	w("http: %s", b)
	return len(b), nil
}
