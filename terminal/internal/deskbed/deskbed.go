// Package deskbed sets up a whole desk for tests: a card in a reader in memory,
// an HSM and an insurance centre behind real connections, a journal in a real
// file. Only the reader's wire is not real; what is simulated answers as its
// documents say and fails to order.
package deskbed

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"onecard/card/cardsim"
	"onecard/card/keys"
	"onecard/card/planstore"
	hsmsim "onecard/hsm-sim"
	"onecard/hsm-sim/hsm"
	"onecard/reader"
	"onecard/reader/pinpad"
	"onecard/reader/virtual"
	"onecard/settlement"
	"onecard/settlement/centersim"
	"onecard/settlement/region"
	"onecard/terminal"
)

// Slot is the name of the one reader, SAMSlot that of the slot beside it where
// Options.SAMRole asks for one, FieldSlot that of a contactless one.
const (
	Slot      = "test reader"
	SAMSlot   = "test reader SAM"
	FieldSlot = "test reader PICC"
)

// PIN is that of every example image.
const PIN = "123456"

// A Bed is a desk under test.
type Bed struct {
	T       testing.TB
	Dir     string // the state directory
	Config  terminal.Config
	Service *terminal.Service
	Reader  *virtual.Driver
	Card    *cardsim.Card
	Center  *centersim.Center
	HTTP    *httptest.Server
	Journal *settlement.Journal
	// Upstream is the desk's own line to the centre.
	Upstream *settlement.Client
	Store    *planstore.Store
	Pad      *Pad
	Log      *Log

	hsm    *hsmControl
	client *hsm.Client
	stop   context.CancelFunc
	ended  chan error
}

// Log keeps what was logged.
type Log struct {
	mu   sync.Mutex
	text []byte
}

func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

// String returns all that was logged.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

// A Pad enters what it is told to.
type Pad struct {
	mu     sync.Mutex
	digits string
	err    error
	asked  chan struct{} // where not nil: told of an entry, which waits for go
	resume chan struct{}
}

// Kind implements pinpad.Pad.
func (p *Pad) Kind() string { return "simulated" }

// Will says what the next entries give.
func (p *Pad) Will(digits string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.digits, p.err = digits, err
}

// Hold makes entries wait: asked tells of one, resume lets it go on.
func (p *Pad) Hold() (asked <-chan struct{}, resume chan<- struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked, p.resume = make(chan struct{}, 1), make(chan struct{}, 1)
	return p.asked, p.resume
}

// Enter implements pinpad.Pad.
func (p *Pad) Enter(ctx context.Context, _ pinpad.Prompt) ([]byte, error) {
	p.mu.Lock()
	digits, err, asked, resume := p.digits, p.err, p.asked, p.resume
	p.mu.Unlock()
	if asked != nil {
		asked <- struct{}{}
		select {
		case <-resume:
		case <-ctx.Done():
			return nil, pinpad.ErrTimeout
		}
	}
	return []byte(digits), err
}

// Options are what a test wants to be different.
type Options struct {
	Image  string // 1.0, 2.0, 3.0; "" is 3.0, "none" no card
	Quirks []cardsim.Quirk
	NoHSM  bool // none configured
	NoPad  bool
	Pad    pinpad.Pad // instead of Bed.Pad
	Digits int        // of a PIN at the reader's own pad; 0 is six
	// SAMRole adds a second slot of this role, empty at first.
	SAMRole string
	// Field adds a slot that is a contactless field by its name.
	Field  bool
	Center centersim.Config
	Dir    string // state directory of an earlier bed
	Answer time.Duration
	Rights []string // of the operator; nil is all
	// Now is the desk's clock; time.Now if nil.
	Now func() time.Time
	// Regional is how the region differs.
	Regional settlement.Regional
	// Region, where not nil, is the region's file instead, and Style signs as it
	// wants; nil signs nothing.
	Region *region.Region
	Style  settlement.Style
	// Front, where not nil, stands before the centre.
	Front func(http.Handler) http.Handler
	// Resolve is how what is in doubt is found out about; without it nothing is
	// asked about by itself.
	Resolve *terminal.ResolveConfig
	// Configure, where not nil, changes the configuration before the service is made.
	Configure func(*terminal.Config)
	// Wrap, where not nil, stands between the service and the reader.
	Wrap func(reader.Driver) reader.Driver
}

// New starts a desk that ends with the test.
func New(t testing.TB, o Options) *Bed {
	t.Helper()
	b := &Bed{T: t, Dir: o.Dir, Log: &Log{}, Pad: &Pad{digits: PIN}, Reader: virtual.New(Slot)}
	if b.Dir == "" {
		b.Dir = t.TempDir()
	}
	log := logrus.New()
	log.SetOutput(b.Log)
	log.SetLevel(logrus.DebugLevel)
	if o.Now == nil {
		o.Now = time.Now
	}
	var err error
	if o.Center.Ledger == "" {
		o.Center.Ledger = filepath.Join(b.Dir, "center.jsonl")
	}
	if b.Center, err = centersim.New(o.Center); err != nil {
		t.Fatal(err)
	}
	handler := b.Center.Handler()
	if o.Front != nil {
		handler = o.Front(handler)
	}
	b.HTTP = httptest.NewServer(handler)
	b.Config = terminal.Config{
		StateDir: b.Dir, Readers: []terminal.ReaderConfig{{Kind: "virtual", Match: "*", Role: "user"}},
		Upstream:    terminal.UpstreamConfig{URL: b.HTTP.URL + "/fsi/api/rsfComIfsService/callService"},
		Institution: terminal.InstitutionConfig{Code: "H51010000001", Name: "样例医院", Area: "510100", Terminal: "510100000001"},
		Operator:    terminal.OperatorConfig{No: "0001", Name: "收费一", Type: "1", Rights: o.Rights},
		Counter: terminal.CounterConfig{
			MedType: "11", DepartmentCode: "0300", DepartmentName: "内科", Specialty: "A03",
			DoctorCode: "D51010000001", DoctorName: "李医生", DiagnosisCode: "I10.x00", DiagnosisName: "原发性高血压",
		},
	}
	if b.Config.Resolve.Automatic = new(bool); o.Resolve != nil {
		b.Config.Resolve = *o.Resolve
	}
	b.Config.PINPad.Digits = o.Digits
	if o.Configure != nil {
		o.Configure(&b.Config)
	}
	if o.SAMRole != "" {
		b.Config.Readers = []terminal.ReaderConfig{
			{Kind: "virtual", Match: SAMSlot, Role: o.SAMRole}, {Kind: "virtual", Match: "*", Role: terminal.RoleAuto},
		}
		if err := b.Reader.AddSlot(SAMSlot); err != nil {
			t.Fatal(err)
		}
	}
	if o.Field {
		b.Config.Readers[len(b.Config.Readers)-1].Role = terminal.RoleAuto
		if err := b.Reader.AddSlot(FieldSlot); err != nil {
			t.Fatal(err)
		}
	}
	if b.Journal, err = settlement.OpenJournal(filepath.Join(b.Dir, "journal.db"), o.Now); err != nil {
		t.Fatal(err)
	}
	ids, err := settlement.NewMsgIDs(b.Config.Institution.Code, b.Journal, o.Now, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := region.Load("one-endpoint")
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := settlement.NewCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	rules.Offline.Declare(catalogue)
	config := settlement.Config{
		URL: b.Config.Upstream.URL, Style: o.Style, Catalogue: catalogue, MsgIDs: ids, AnswerTimeout: o.Answer, Regional: o.Regional,
		Institution: settlement.Institution{Code: b.Config.Institution.Code, Name: b.Config.Institution.Name, Area: b.Config.Institution.Area},
		Operator:    settlement.Operator{Type: "1", No: "0001", Name: "收费一"},
	}
	if o.Region != nil {
		config.URL, config.Catalogue = b.HTTP.URL, nil
		if err := o.Region.Apply(&config); err != nil {
			t.Fatal(err)
		}
	}
	upstream, err := settlement.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	b.Upstream = upstream
	store, err := planstore.Open(filepath.Join(b.Dir, "cards.db"), o.Now)
	if err != nil {
		t.Fatal(err)
	}
	b.Store = store
	parts := terminal.Parts{
		Offline: &rules.Offline, Plans: store.Plans(), Debits: store.Debits(), TerminalSequence: store.NextTerminalSequence,
		Drivers: []reader.Driver{b.Reader}, Pad: b.Pad, Upstream: upstream, Journal: b.Journal,
		Log: log, Now: o.Now, Version: "test",
		Prices: []terminal.PriceItem{{Code: "XC08CAA086A001010190002", Name: "氨氯地平片", Price: "0.85"}},
	}
	if o.Wrap != nil {
		parts.Drivers[0] = o.Wrap(b.Reader)
	}
	if o.Pad != nil {
		parts.Pad = o.Pad
	}
	if o.NoPad {
		parts.Pad = pinpad.None{}
	}
	if !o.NoHSM {
		b.hsm = startHSM(t)
		b.client = hsm.New([]string{b.hsm.addr}, hsm.WithBackoff(time.Millisecond, 10*time.Millisecond))
		parts.Keys = b.client
		parts.KeysCheck = func(ctx context.Context) (bool, error) {
			info, err := b.client.Info(ctx)
			return info.TestKeys, err
		}
	}
	b.Service = terminal.New(b.Config, parts)
	ctx, stop := context.WithCancel(context.Background())
	b.stop, b.ended = stop, make(chan error, 1)
	if o.Image != "none" {
		b.Insert(o.Image, o.Quirks...)
	}
	go func() { b.ended <- b.Service.Run(ctx) }()
	t.Cleanup(func() {
		b.Stop()
		upstream.Close()
		b.HTTP.Close()
		if err := b.Center.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Stop ends service, HSM client and journal, as the end of the process does.
func (b *Bed) Stop() {
	if b.stop == nil {
		return
	}
	b.stop()
	if err := <-b.ended; err != nil {
		b.T.Error(err)
	}
	b.stop = nil
	if b.client != nil {
		b.client.Close()
		b.hsm.halt()
	}
	if err := errors.Join(b.Journal.Close(), b.Store.Close()); err != nil {
		b.T.Error(err)
	}
}

// Insert puts a card in.
func (b *Bed) Insert(image string, quirks ...cardsim.Quirk) {
	b.T.Helper()
	if image == "" {
		image = "3.0"
	}
	img, err := cardsim.Example(image)
	if err != nil {
		b.T.Fatal(err)
	}
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	if b.Card, err = cardsim.New(img, cardsim.WithQuirks(quirks...), cardsim.WithLogger(quiet)); err != nil {
		b.T.Fatal(err)
	}
	if err := b.Reader.Insert(Slot, b.Card); err != nil {
		b.T.Fatal(err)
	}
}

// InsertPSAM puts the example PSAM into the second slot.
func (b *Bed) InsertPSAM() *cardsim.PSAM {
	b.T.Helper()
	img, err := cardsim.ExamplePSAM()
	if err != nil {
		b.T.Fatal(err)
	}
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	p, err := cardsim.NewPSAM(img, cardsim.PSAMWithLogger(quiet))
	if err != nil {
		b.T.Fatal(err)
	}
	if err := b.Reader.Insert(SAMSlot, p); err != nil {
		b.T.Fatal(err)
	}
	return p
}

// Reinsert puts the card that was taken, or torn, out back in: what it holds it
// still holds.
func (b *Bed) Reinsert() {
	b.T.Helper()
	if err := b.Reader.Insert(Slot, b.Card); err != nil {
		b.T.Fatal(err)
	}
}

// Remove takes the card out.
func (b *Bed) Remove() {
	b.T.Helper()
	if err := b.Reader.Remove(Slot); err != nil {
		b.T.Fatal(err)
	}
}

// Await returns the first published state that want is content with.
func (b *Bed) Await(what string, want func(terminal.State) bool) terminal.State {
	b.T.Helper()
	news, end := b.Service.Subscribe()
	defer end()
	late := time.NewTimer(20 * time.Second) // a test that hangs says where
	defer late.Stop()
	for {
		select {
		case <-news:
			if s := b.Service.State(); want(s) {
				return s
			}
		case <-late.C:
			b.T.Fatalf("not seen: %s; the state is %+v", what, b.Service.State())
		}
	}
}

// Ready waits until the card is read, well or not, and returns its reader.
func (b *Bed) Ready() terminal.Reader {
	b.T.Helper()
	s := b.Await("a card that was read", func(s terminal.State) bool {
		if len(s.Readers) != 1 {
			return false
		}
		st := s.Readers[0].State
		return st == terminal.ReaderReady || st == terminal.ReaderFailed || st == terminal.ReaderStuck
	})
	return s.Readers[0]
}

// StopHSM and StartHSM turn the HSM off and, at the same address, on.
func (b *Bed) StopHSM() { b.hsm.halt() }

// StartHSM turns the HSM on again.
func (b *Bed) StartHSM() { b.T.Helper(); b.hsm.start() }

// hsmControl is an HSM at an address of its own that can be switched.
type hsmControl struct {
	t     testing.TB
	addr  string
	stop  context.CancelFunc
	ended chan error
}

func startHSM(t testing.TB) *hsmControl {
	t.Helper()
	h := &hsmControl{t: t, addr: "127.0.0.1:0"}
	h.start()
	return h
}

func (h *hsmControl) start() {
	h.t.Helper()
	ln, err := net.Listen("tcp", h.addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	h.stop, h.ended = stop, make(chan error, 1)
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	go func() {
		h.ended <- hsmsim.Serve(ctx, ln, hsmsim.WithKeys(keys.TestRing(keys.Reference())), hsmsim.WithLog(quiet))
	}()
}

func (h *hsmControl) halt() {
	if h.stop == nil {
		return
	}
	h.stop()
	if err := <-h.ended; err != nil {
		h.t.Error(err)
	}
	h.stop = nil
}

// Lines are fee lines that the centre knows: 411.60 together.
func Lines() []terminal.Line {
	return []terminal.Line{
		{Code: "002203010010000-220301001", Name: "彩色多普勒超声常规检查", Quantity: "2", Price: "85.00"},
		{Code: "XC08CAA086A001010190002", Name: "氨氯地平片", Quantity: "56", Price: "0.85"},
		{Code: "XC10AAB026A001010190004", Name: "阿托伐他汀钙片", Quantity: "28", Price: "4.50"},
		{Code: "001102000010000-110200001", Name: "普通门诊诊察费", Quantity: "1", Price: "15.00"},
		{Code: "T000300789", Name: "人参（饮片，克）", Quantity: "10.6", Price: "5"},
	}
}

// Tried plays a visit up to the trial.
func (b *Bed) Tried() terminal.Visit {
	b.T.Helper()
	ctx := b.T.Context()
	v, err := b.Service.OpenVisit(ctx, terminal.VisitRequest{})
	if err != nil {
		b.T.Fatal("open:", err)
	}
	if v, err = b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: Lines()}); err != nil {
		b.T.Fatal("lines:", err)
	}
	if v, err = b.Service.Trial(ctx, v.ID); err != nil {
		b.T.Fatal("trial:", err)
	}
	return v
}

// Agreed is what the payer agrees to after a trial.
func Agreed(v terminal.Visit) terminal.SettleRequest {
	return terminal.SettleRequest{Agreed: terminal.Agreed{Total: v.Trial.Total, Cash: v.Trial.Cash}}
}
