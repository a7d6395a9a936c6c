package settlement_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"onecard/fault"
	"onecard/settlement"
	"onecard/settlement/centersim"
)

// A rescue is a desk with a resolver, on a line to the simulated centre, that
// can be stopped and started again.
type rescue struct {
	t        *testing.T
	dir      string
	center   *centersim.Center
	server   *httptest.Server
	client   *settlement.Client
	ids      settlement.MsgIDSource
	journal  *settlement.Journal
	settler  *settlement.Settler
	resolver *settlement.Resolver
	lookup   settlement.Lookup
	patience settlement.Patience
	reverse  bool

	mu   sync.Mutex
	told []settlement.Resolution
	news chan struct{}
}

// settledSoon is for how long, in these tests, something may still arrive.
const settledSoon = 40 * time.Millisecond

func newRescue(t *testing.T, config centersim.Config, change ...func(*rescue)) *rescue {
	t.Helper()
	r := &rescue{
		t: t, dir: t.TempDir(), news: make(chan struct{}, 1),
		lookup: settlement.Lookup{Settled: settledSoon},
		patience: settlement.Patience{
			Intervals: []time.Duration{5 * time.Millisecond, 20 * time.Millisecond}, Attempts: 6,
		},
	}
	for _, c := range change {
		c(r)
	}
	config.Ledger = filepath.Join(r.dir, "ledger.jsonl")
	var err error
	if r.center, err = centersim.New(config); err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewServer(r.center.Handler())
	r.start()
	t.Cleanup(func() {
		r.stop()
		r.server.CloseClientConnections()
		r.server.Close()
		if err := r.center.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// start opens the journal as a process does.
func (r *rescue) start() {
	r.t.Helper()
	var err error
	if r.journal, err = settlement.OpenJournal(filepath.Join(r.dir, "journal.db"), time.Now); err != nil {
		r.t.Fatal(err)
	}
	ids, err := settlement.NewMsgIDs("H51010000001", r.journal, time.Now, 0, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.ids = ids
	r.client = r.newClient(20 * time.Second)
	r.settler = settlement.NewSettler(r.client, r.journal)
	config := settlement.ResolverConfig{
		Journal: r.journal, Line: r.client, SignNo: r.signNo, Area: "510100", Lookup: r.lookup, Patience: r.patience,
		Failed: func(err error) { r.t.Errorf("resolver: %v", err) },
		Told: func(res settlement.Resolution) {
			r.mu.Lock()
			r.told = append(r.told, res)
			r.mu.Unlock()
			select {
			case r.news <- struct{}{}:
			default:
			}
		},
	}
	if r.reverse {
		config.Reverse, config.Lookup.Reverse = r.settler, true
	}
	if r.resolver, err = settlement.NewResolver(config); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rescue) newClient(answer time.Duration) *settlement.Client {
	r.t.Helper()
	c, err := settlement.NewClient(settlement.Config{
		URL: r.server.URL + "/fsi/api/rsfComIfsService/callService", MsgIDs: r.ids, AnswerTimeout: answer, LateTimeout: time.Minute,
		Institution: settlement.Institution{Code: "H51010000001", Name: "样例医院", Area: "510100"},
		Operator:    settlement.Operator{Type: "1", No: "0001", Name: "样例收费员"},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rescue) signNo(ctx context.Context) (string, error) {
	signed, err := r.client.SignIn(ctx, settlement.SignIn{OpterNo: "0001", Mac: "00-00-5E-00-53-01", IP: "192.0.2.1"})
	return string(signed.SignNo), err
}

// stop ends it as the end of the process does.
func (r *rescue) stop() {
	r.t.Helper()
	if r.journal == nil {
		return
	}
	r.client.Close()
	if err := r.journal.Close(); err != nil {
		r.t.Error(err)
	}
	r.journal = nil
}

func (r *rescue) order(faults ...string) {
	r.t.Helper()
	for _, text := range faults {
		f, err := centersim.ParseFault(text)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := r.center.Order(f); err != nil {
			r.t.Fatal(err)
		}
	}
}

// run has the resolver work until done says that it is enough.
func (r *rescue) run(what string, done func() bool) {
	r.t.Helper()
	r.runWith(r.resolver.Run, what, done)
}

func (r *rescue) runWith(loop func(context.Context) error, what string, done func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- loop(ctx) }()
	late := time.NewTimer(60 * time.Second)
	defer late.Stop()
	for !done() {
		select {
		case <-r.news:
		case <-late.C:
			cancel()
			<-ended
			told := r.resolutions()
			r.t.Fatalf("not seen: %s; told %d, the last %+v", what, len(told), told[max(0, len(told)-2):])
		}
	}
	cancel()
	if err := <-ended; err != nil {
		r.t.Error(err)
	}
}

func (r *rescue) resolutions() []settlement.Resolution {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.told)
}

func (r *rescue) unknown() int {
	r.t.Helper()
	n, err := r.journal.Count(r.t.Context(), settlement.Unknown)
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r *rescue) entry(id int64) settlement.Entry {
	r.t.Helper()
	e, err := r.journal.Get(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

// agree holds the journal against the centre's ledger: what is done stands there
// with the same number and amounts, and nothing stands there that is not done
// here.
func (r *rescue) agree() {
	r.t.Helper()
	entries, err := r.journal.List(r.t.Context(), settlement.Filter{Limit: 1000})
	if err != nil {
		r.t.Fatal(err)
	}
	type row struct {
		setlID                     string
		total, fund, account, cash int64
	}
	here, there := make(map[string]row), make(map[string]row)
	for _, e := range entries {
		if e.Outcome == settlement.Done && e.ReversedBy == 0 && e.Undoes == 0 {
			here[e.MsgID] = row{e.SetlID, int64(e.Total), int64(e.Fund), int64(e.Account), int64(e.Cash)}
		}
	}
	for _, s := range r.center.Settlements() {
		if s.RefundedBy == "" && s.Refunds == "" {
			there[s.MsgID] = row{s.SetlID, s.Total, s.Fund, s.Account, s.Cash}
		}
	}
	if len(here) != len(there) {
		r.t.Errorf("%d stand here, %d at the centre", len(here), len(there))
	}
	for msgid, x := range here {
		if there[msgid] != x {
			r.t.Errorf("%s: here %+v, at the centre %+v", msgid, x, there[msgid])
		}
	}
}

func (r *rescue) visit(number string) settlement.Settling {
	r.t.Helper()
	d := &desk{center: r.center, client: r.client, journal: r.journal, settler: r.settler}
	return d.visit(r.t, number)
}

// Every way in which an answer is lost is resolved, and the ledger agrees.
func TestResolveEveryMisfortune(t *testing.T) {
	for order, want := range map[string]settlement.Outcome{
		"drop-before":      settlement.Refused,
		"drop-after":       settlement.Done,
		"http-before=502":  settlement.Refused,
		"http-after=504":   settlement.Done,
		"html-before":      settlement.Refused,
		"html-after":       settlement.Done,
		"truncate":         settlement.Done,
		"cut":              settlement.Done,
		"broken-json":      settlement.Done,
		"oversize=9000000": settlement.Done,
		"identity=1":       settlement.Done,
		"identity=4":       settlement.Done,
		"wrong-setl":       settlement.Done,
		"foreign-msgid":    settlement.Done,
	} {
		t.Run(order, func(t *testing.T) {
			r := newRescue(t, centersim.Config{})
			in := r.visit("OP1")
			r.order("2207:" + order)
			if _, err := r.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
				t.Fatalf("settle: %v", err)
			}
			r.run("resolved", func() bool { return r.unknown() == 0 })
			e := r.entry(1)
			if e.Outcome != want || want == settlement.Refused && e.Fault != fault.NeverArrived {
				t.Errorf("%v, %s; want %s", e, e.Fault, want)
			}
			r.agree()
			// What is booked cannot be settled again, and what never arrived can.
			_, err := r.settler.Settle(t.Context(), in)
			if want == settlement.Done && !errors.Is(err, settlement.ErrSettled) || want == settlement.Refused && err != nil {
				t.Errorf("again: %v", err)
			}
			r.agree()
			attempts, err := r.journal.Attempts(t.Context(), 1)
			if err != nil || len(attempts) == 0 || len(attempts[len(attempts)-1].Finding.Asked) == 0 {
				t.Errorf("attempts: %+v, %v", attempts, err)
			}
		})
	}
}

// A statement that names other message numbers is no evidence that ours is not
// there: what looks like it is asked about by its number.
func TestResolveByAForeignStatement(t *testing.T) {
	for name, x := range map[string]struct {
		order []string
		want  settlement.Outcome
	}{"5203 tells": {nil, settlement.Done}, "nothing else": {[]string{"3202"}, settlement.Unknown}} {
		t.Run(name, func(t *testing.T) {
			r := newRescue(t, centersim.Config{}, func(r *rescue) { r.lookup.Order, r.patience.Attempts = x.order, 3 })
			in := r.visit("OP1")
			r.order("2207:drop-after", "9102:foreign-msgid@always")
			if _, err := r.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
				t.Fatal(err)
			}
			r.run("decided or given up", func() bool {
				told := r.resolutions()
				return len(told) > 0 && (told[len(told)-1].GivenUp() || told[len(told)-1].Outcome != settlement.Unknown)
			})
			if e := r.entry(1); e.Outcome != x.want {
				t.Errorf("%v", e)
			}
		})
	}
}

// Statements that have none of what we know to be booked are not those that would
// list it: they are no evidence.
func TestResolveByAStatementOfSomethingElse(t *testing.T) {
	r := newRescue(t, centersim.Config{}, func(r *rescue) {
		r.lookup.ClrTypes, r.patience.Attempts = map[string][]string{"2207": {"99"}}, 3
	})
	for n := range 2 {
		in := r.visit(fmt.Sprint("OP", n))
		r.order("2207:drop-after")
		if _, err := r.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
			t.Fatal(err)
		}
		if n == 0 { // decided by a person: there is no answer to learn the kind of clearing from
			booked := r.center.Settlements()[0]
			if err := r.journal.Decide(t.Context(), 1, settlement.Conclusion{Outcome: settlement.Done, SetlID: booked.SetlID, Booked: &in.Agreed}, "chief", "the centre's list"); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.run("given up", func() bool { told := r.resolutions(); return len(told) > 0 && told[len(told)-1].GivenUp() })
	if e := r.entry(2); e.Outcome != settlement.Unknown {
		t.Errorf("%v: decided by a statement of another kind of clearing", e)
	}
}

// The line comes and goes while the resolver asks.
func TestResolveOverABadLine(t *testing.T) {
	r := newRescue(t, centersim.Config{}, func(r *rescue) { r.patience.Attempts = 100 })
	in := r.visit("OP1")
	r.order("2207:drop-after")
	if _, err := r.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
		t.Fatal(err)
	}
	r.order("5203:drop-before@2", "3202:http-before=503@2", "9102:truncate@2", "9101:html-before@2", "9001:drop-before@2", "9102:cut@1", "5203:broken-json@1", "5201:flap=1@3")
	r.run("resolved", func() bool { return r.unknown() == 0 })
	if e := r.entry(1); e.Outcome != settlement.Done {
		t.Errorf("%v", e)
	}
	r.agree()
}

// What could not be asked for the line's sake is asked when the line is back,
// not only when its time has come.
func TestResolveWhenTheLineIsBack(t *testing.T) {
	r := newRescue(t, centersim.Config{}, func(r *rescue) {
		r.patience.Intervals = []time.Duration{10 * time.Millisecond, time.Hour}
	})
	in := r.visit("OP1")
	r.order("2207:drop-after", "9001:drop-before@2")
	if _, err := r.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
		t.Fatal(err)
	}
	back := 0
	r.run("resolved", func() bool {
		told := r.resolutions()
		if len(told) > back && told[len(told)-1].Attempt.Finding.Reason == settlement.ReasonLine {
			back = len(told)
			r.resolver.LineBack()
		}
		return r.unknown() == 0
	})
	if back == 0 {
		t.Error("the line never failed")
	}
	r.agree()
}

// A transaction that is booked after its time-out, and after the first look-ups,
// is found: what is not there yet is no evidence.
func TestResolveWhatIsBookedLate(t *testing.T) {
	t.Parallel() // it waits for a time-out
	r := newRescue(t, centersim.Config{}, func(r *rescue) {
		r.lookup.Settled, r.patience.Intervals = time.Minute, []time.Duration{10 * time.Millisecond, 100 * time.Millisecond}
	})
	in := r.visit("OP1")
	r.order("2207:delay=4s")
	hasty := r.newClient(2 * time.Second) // and without an ear for late answers
	defer hasty.Close()
	if _, err := settlement.NewSettler(hasty, r.journal).Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
		t.Fatal(err)
	}
	r.run("resolved", func() bool { return r.unknown() == 0 })
	if e := r.entry(1); e.Outcome != settlement.Done {
		t.Errorf("%v", e)
	}
	if told := r.resolutions(); len(told) > 1 && told[0].Attempt.Finding.Reason != settlement.ReasonEarly {
		t.Errorf("%+v", told[0])
	}
	r.agree()
}

// A process that ends in the middle goes on after its restart where it was.
func TestResolveAfterRestart(t *testing.T) {
	r := newRescue(t, centersim.Config{}, func(r *rescue) {
		r.patience.Intervals = []time.Duration{10 * time.Millisecond, 30 * time.Millisecond, time.Hour}
		r.lookup.Settled = time.Hour
	})
	in := r.visit("OP1")
	r.order("2207:drop-before")
	if _, err := r.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
		t.Fatal(err)
	}
	r.run("two attempts", func() bool { return len(r.resolutions()) == 2 })
	before, err := r.journal.Attempts(t.Context(), 1)
	if err != nil || len(before) != 2 || before[1].Finding.Reason != settlement.ReasonEarly {
		t.Fatalf("%+v, %v", before, err)
	}
	r.stop()
	r.start()
	list, err := r.journal.Unknowns(t.Context())
	if err != nil || len(list) != 1 || list[0].Latest.N != 2 || !list[0].Latest.Next.Equal(before[1].Next) {
		t.Fatalf("after the restart: %+v, %v", list, err)
	}
	r.stop()
	// Nothing was asked too early: by then nobody would wait for so long.
	r.lookup.Settled, r.patience.Intervals = settledSoon, []time.Duration{5 * time.Millisecond}
	r.start()
	r.run("resolved", func() bool { return r.unknown() == 0 })
	after, err := r.journal.Attempts(t.Context(), 1)
	if err != nil || len(after) < 3 || after[2].N != 3 {
		t.Errorf("%+v, %v", after, err)
	}
	r.agree()
}

// What a crash left on its way is found out at the next start, without a person.
func TestResolveWhatACrashLeft(t *testing.T) {
	for name, order := range map[string]string{"booked": "", "never sent": "drop-before"} {
		t.Run(name, func(t *testing.T) {
			r := newRescue(t, centersim.Config{})
			in := r.visit("OP1")
			p, err := r.client.Prepare(t.Context(), settlement.Request{
				Infno: "2207", InsuplcAdmdvs: in.Scope.InsuplcAdmdvs, SignNo: in.Scope.SignNo, Input: map[string]settlement.SettleInput{"data": in.Input},
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.journal.Intend(t.Context(), settlement.Entry{
				Visit: in.Visit, Infno: "2207", MsgID: p.MsgID, Agreed: in.Agreed, MdtrtID: in.Input.MdtrtID, PsnNo: in.Input.PsnNo, Holder: in.Holder, Request: p.Body,
			}); err != nil {
				t.Fatal(err)
			}
			if order != "" {
				r.order("2207:" + order)
			}
			_, err = r.client.Do(t.Context(), p)
			if (err == nil) != (order == "") {
				t.Fatal(err)
			}
			r.stop()
			r.start()
			if r.unknown() != 1 {
				t.Fatal("what was on its way is not in doubt")
			}
			r.run("resolved", func() bool { return r.unknown() == 0 })
			r.agree()
		})
	}
}

// Many answers lost in one outage, of several people and with settlements that
// went well between them.
func TestResolveAfterAnOutage(t *testing.T) {
	r := newRescue(t, centersim.Config{})
	orders := []string{"", "drop-after", "drop-before", "http-after=502", "html-before"}
	for i := range 10 {
		in := r.visit(fmt.Sprintf("OP%d", i))
		if o := orders[i%len(orders)]; o != "" {
			r.order("2207:" + o)
		}
		_, err := r.settler.Settle(t.Context(), in)
		if settlement.OutcomeOf(err) == settlement.Refused {
			t.Fatal(err)
		}
	}
	if n := r.unknown(); n != 8 {
		t.Fatalf("%d unknown", n)
	}
	r.run("resolved", func() bool { return r.unknown() == 0 })
	r.agree()
}
