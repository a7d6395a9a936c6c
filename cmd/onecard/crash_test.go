package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"onecard/fault"
	"onecard/terminal"
)

// A killPoint is a moment of a settlement at which the daemon is killed.
type killPoint struct {
	name   string
	faults []string
	// gate stalls the line: the connection for the settlement never stands.
	gate bool
	// reached waits for the moment.
	reached func(*counter, *gate) error
	booked  int // settlements at the centre then
}

var killPoints = []killPoint{
	{name: "before the request leaves", gate: true, reached: func(c *counter, g *gate) error {
		late := time.After(patience)
		for {
			select {
			case <-g.met:
			case <-late:
				return errors.New("nobody knocked for the settlement")
			}
			// The probe of the centre's health knocks there, too.
			day, err := c.client.Journal(c.Context(), "", "intended", 0)
			if err != nil || len(day.Entries) > 0 {
				return err
			}
		}
	}},
	{name: "before it is booked", faults: []string{"2207:hang-before"}, reached: func(c *counter, _ *gate) error {
		return c.center.says("2207 meets hang-before")
	}},
	{name: "booked and not answered", faults: []string{"2207:hang-after"}, booked: 1, reached: func(c *counter, _ *gate) error {
		return c.center.says("2207 answered")
	}},
}

// TestKilledWhileSettling kills onecardd between the journal's entry and the
// centre's answer. Started again it must say that the outcome is unknown, and
// never settle that visit again.
func TestKilledWhileSettling(t *testing.T) {
	for _, point := range killPoints {
		for run := range 2 {
			t.Run(fmt.Sprintf("%s/%d", point.name, run+1), func(t *testing.T) {
				t.Parallel()
				killWhileSettling(t, point)
			})
		}
	}
}

func killWhileSettling(t *testing.T, point killPoint) {
	var g *gate
	var upstream func(*counter) string
	if point.gate {
		upstream = func(c *counter) string { g = newGate(c); return g.address }
	}
	c := newCounter(t, setup{faults: point.faults, upstream: upstream})
	visit := c.tried()
	if g != nil {
		g.close()
	}
	answered := make(chan error, 1)
	go func() {
		_, err := c.client.Settle(c.Context(), visit.ID, agreedTo(visit))
		answered <- err
	}()
	c.must(point.reached(c, g))
	c.must(c.daemon.kill())
	if err := <-answered; err == nil {
		t.Fatal("settled, although the daemon was killed before the answer")
	}
	if g != nil {
		g.open()
	}
	c.startDaemon()

	// The tool lists it.
	day := c.journal()
	if len(day.Entries) != 1 || day.Totals.Unknown != 1 || day.Totals.Done+day.Totals.Refused != 0 {
		t.Fatalf("journal: %+v", day)
	}
	entry := day.Entries[0]
	if entry.Outcome != "unknown" || entry.Visit != visit.ID || entry.Total != "126.00" || entry.Fault == nil || entry.Fault.Code != fault.AnswerLost {
		t.Errorf("entry: %+v", entry)
	}
	if unknown := c.journal("--outcome", "unknown"); len(unknown.Entries) != 1 || unknown.Entries[0].ID != entry.ID {
		t.Errorf("journal --outcome unknown: %+v", unknown)
	}
	for _, outcome := range []string{"intended", "done", "refused"} {
		if some := c.journal("--outcome", outcome); len(some.Entries) != 0 {
			t.Errorf("journal --outcome %s: %+v", outcome, some)
		}
	}
	if out, _ := c.tool(1, "doctor"); !strings.Contains(out, "OC-2301") {
		t.Errorf("the doctor does not mention it:\n%s", out)
	}
	// The page says so.
	state := c.await(func(s terminal.State) bool { return s.Visit != nil && s.Journal.Unknown == 1 })
	if v := state.Visit; v.ID != visit.ID || v.State != terminal.VisitUnknown || v.Receipt != nil || v.Fault == nil || v.Journal != entry.ID {
		t.Errorf("the page shows %+v", v)
	}
	// Nobody settles it again, nor changes it.
	if _, err := c.client.Settle(t.Context(), visit.ID, agreedTo(visit)); fault.Of(err).Code != fault.UnknownUnresolved {
		t.Errorf("settled again: %v", err)
	}
	if _, err := c.client.SetLines(t.Context(), visit.ID, terminal.LinesRequest{Lines: fee}); fault.Of(err).Code != fault.UnknownUnresolved {
		t.Errorf("lines changed: %v", err)
	}
	booked := c.booked()
	if len(booked) != point.booked || point.booked == 1 && booked[0] != entry.MsgID {
		t.Fatalf("the centre has booked %v, want %d; the journal's msgid is %s", booked, point.booked, entry.MsgID)
	}
	// The next patient is settled; the doubt stays, over another start as well.
	c.tool(0, "settle", "--file", c.visitFile(), "--yes", "--despite-doubt")
	c.must(c.daemon.stop())
	c.startDaemon()
	day = c.journal()
	if day.Totals.Done != 1 || day.Totals.Unknown != 1 || len(day.Entries) != 2 {
		t.Errorf("journal in the end: %+v", day)
	}
	c.noneTwice(point.booked + 1)
}

// noneTwice holds the centre's ledger against the journal: so many settlements,
// each once, each known to the journal as done or unknown, and each that is
// done there.
func (c *counter) noneTwice(want int) {
	c.Helper()
	outcome := map[string]string{}
	for _, e := range c.journal().Entries {
		outcome[e.MsgID] = e.Outcome
	}
	seen := map[string]bool{}
	for _, id := range c.booked() {
		if seen[id] {
			c.Errorf("%s is booked twice", id)
		}
		seen[id] = true
		if outcome[id] != "done" && outcome[id] != "unknown" {
			c.Errorf("%s is booked and %q in the journal", id, outcome[id])
		}
	}
	for id, o := range outcome {
		if o == "done" && !seen[id] {
			c.Errorf("%s is done in the journal and not booked", id)
		}
	}
	if want >= 0 && len(seen) != want {
		c.Errorf("%d settlements are booked, want %d", len(seen), want)
	}
}

// TestKilledAtAnyMoment kills onecardd as soon as the page says that a
// settlement has begun, wherever that is then. Whatever it was, journal and
// ledger must not contradict each other, and a visit of which nothing is in
// doubt can be settled.
func TestKilledAtAnyMoment(t *testing.T) {
	for run := range 4 {
		t.Run(fmt.Sprint(run+1), func(t *testing.T) {
			t.Parallel()
			c := newCounter(t, setup{})
			visit := c.tried()
			begun := make(chan error, 1)
			go func() {
				_, err := c.client.Await(c.Context(), func(s terminal.State) bool {
					return s.Visit != nil && s.Visit.State != terminal.VisitTried
				})
				begun <- err
			}()
			answered := make(chan error, 1)
			go func() {
				_, err := c.client.Settle(c.Context(), visit.ID, agreedTo(visit))
				answered <- err
			}()
			c.must(<-begun)
			c.must(c.daemon.kill())
			settled := <-answered == nil
			c.startDaemon()
			c.noneTwice(-1)
			day := c.journal()
			state := c.await(func(s terminal.State) bool { return s.Visit != nil }).Visit.State
			t.Logf("killed at an unknown moment: answered %v, journal %+v, visit %s, booked %v", settled, day.Totals, state, c.booked())
			switch {
			case settled && (day.Totals.Done != 1 || state != terminal.VisitSettled):
				t.Errorf("the caller has the receipt; journal %+v, visit %s", day, state)
			case day.Totals.Done == 1 && state != terminal.VisitSettled, day.Totals.Unknown == 1 && state != terminal.VisitUnknown:
				t.Errorf("journal %+v, visit %s", day, state)
			case len(day.Entries) == 0:
				if len(c.booked()) != 0 {
					t.Error("booked without a trace in the journal")
				}
				_, err := c.client.Settle(t.Context(), visit.ID, agreedTo(visit))
				c.must(err)
				c.noneTwice(1)
			}
		})
	}
}

// A gate is a line to the centre that can be stalled: calls knock, and no
// connection stands, so that nothing of a request can have left. It speaks TLS,
// because that needs the other side before the first byte of a request.
type gate struct {
	net.Listener
	address string
	met     chan struct{} // somebody knocked while it was closed

	mu      sync.Mutex
	stalled bool
	waiting []net.Conn
}

// newGate stands before the centre; the daemon trusts its certificate.
func newGate(c *counter) *gate {
	c.Helper()
	center, err := url.Parse(c.center.where)
	c.must(err)
	proxy := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: center.Scheme, Host: center.Host})
	}})
	g := &gate{Listener: proxy.Listener, met: make(chan struct{}, 100)}
	proxy.Listener = g
	proxy.Config.SetKeepAlivesEnabled(false) // every call knocks
	proxy.StartTLS()
	c.Cleanup(func() {
		g.open()
		proxy.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() // the proxy's own to the centre
	})
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})
	c.must(os.WriteFile(c.file("ca.pem"), certificate, 0o600))
	c.env = append(c.env, "SSL_CERT_FILE="+c.file("ca.pem"))
	g.address = proxy.URL + center.Path
	return g
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		if !g.stalled {
			g.mu.Unlock()
			return conn, nil
		}
		g.waiting = append(g.waiting, conn)
		g.mu.Unlock()
		select {
		case g.met <- struct{}{}:
		default:
		}
	}
}

// close stalls the line.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stalled = true
}

// open lets calls through again; those that have waited are cut off.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stalled = false
	for _, c := range g.waiting {
		c.Close()
	}
	g.waiting = nil
}
