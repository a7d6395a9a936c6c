package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"onecard/fault"
	"onecard/settlement"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/api"
)

// TestCrashes kills onecardd at random moments while desks settle and the line
// and the centre misbehave, again and again on the same journal: as often as
// ONECARD_KILLS says, which is 50 in scripts/test and 500 in scripts/soak. After
// every start the journal and the centre's ledger agree on every settlement, and
// in the end nothing is in doubt and every visit is settled once.
func TestCrashes(t *testing.T) {
	const perHospital = 50
	kills := 4
	if text := os.Getenv("ONECARD_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	var all tally
	for kills > 0 {
		runs := min(kills, perHospital)
		kills -= runs
		t.Run("", func(t *testing.T) {
			w := newWard(t, 4)
			for run := range runs {
				w.run()
				if t.Failed() {
					t.Fatalf("run %d, orders %v", run+1, w.orders)
				}
			}
			w.end()
			all.add(w.tally)
		})
	}
	t.Log(&all)
}

// A tally is what became of the settlements of a test.
type tally struct {
	runs, told, doubted, refused, cut int // before the crash
	settled, refunded, unknown        int // in the end
	refunds                           int // asked for
}

func (a *tally) add(b tally) {
	a.runs += b.runs
	a.told += b.told
	a.doubted += b.doubted
	a.refused += b.refused
	a.cut += b.cut
	a.settled += b.settled
	a.refunded += b.refunded
	a.unknown += b.unknown
}

func (a *tally) String() string {
	return fmt.Sprintf("%d kills: when onecardd died %d callers had their receipt, %d were told that it is in doubt, %d that it was refused, and %d nothing; "+
		"in the end %d settlements and %d refunds of them are in journal and ledger alike, 0 lost, 0 doubled, %d unknown",
		a.runs, a.told, a.doubted, a.refused, a.cut, a.settled, a.refunded, a.unknown)
}

// A ward is a hospital with several desks, whose daemon is killed.
type ward struct {
	*counter
	tally
	desks  []string // readers
	orders []string // of the run

	receipts map[errand]string // setl_id, as callers were told
	pending  []errand          // that a clerk has to click again
}

func newWard(t *testing.T, desks int) *ward {
	t.Helper()
	w := &ward{receipts: make(map[errand]string)}
	w.counter = newCounter(t, setup{config: hospital{
		"timeout": "5s", "match": "desk 1", "resolve": `intervals = ["200ms", "500ms"]; attempts = 100; settled_after = "500ms"`,
	}, before: func(c *counter) {
		text, err := os.ReadFile(c.file("onecard.toml"))
		c.must(err)
		for n := 2; n <= desks; n++ {
			text = fmt.Appendf(text, "[[reader]]\nkind = \"virtual\"\nmatch = \"desk %d\"\nrole = \"user\"\nimage = \"3.0\"\n", n)
		}
		c.must(os.WriteFile(c.file("onecard.toml"), text, 0o600))
	}})
	for n := range desks {
		w.desks = append(w.desks, fmt.Sprint("desk ", n+1))
	}
	return w
}

// mishaps are what a centre and its line do to a settlement. The setl_id of an
// earlier settlement is not among them: where that one's own answer was lost,
// nothing but reconciliation can tell.
var mishaps = []string{
	"drop-before", "drop-after", "hang-before", "hang-after", "delay=5ms", "delay=30ms", "http-before=503", "http-after=502",
	"html-before", "html-after", "truncate", "cut", "broken-json", "identity=1", "identity=3", "wrong-setl",
	"sloppy", "refuse=目录停用", "maintenance",
}

// An errand is a visit that a clerk settles, or, where it has an entry, takes
// back.
type errand struct {
	visit  string
	agreed terminal.Agreed
	entry  int64
}

func (e errand) infno() string {
	if e.entry != 0 {
		return "2208"
	}
	return "2207"
}

// do returns the setl_id of the receipt.
func (w *ward) do(ctx context.Context, e errand) (string, error) {
	if e.entry != 0 {
		refund, err := w.client.Refund(ctx, e.visit, terminal.RefundRequest{Entry: e.entry})
		return refund.Settlement, err
	}
	settled, err := w.client.Settle(ctx, e.visit, e.agreed)
	if err != nil {
		return "", err
	}
	return settled.Receipt.SettlementID, nil
}

// run is one kill: visits up to the payer's consent over a good line, some of
// them settled; then those settle and these are refunded all at once over a bad
// one, and onecardd dies; then it is started again.
func (w *ward) run() {
	w.Helper()
	w.runs++
	var errands []errand
	for _, v := range w.visits() {
		e := errand{visit: v.ID, agreed: agreedTo(v)}
		if rand.IntN(3) == 0 {
			settled, err := w.client.Settle(w.Context(), v.ID, agreedTo(v))
			w.must(err)
			e.entry = settled.Journal
			w.refunds++
		}
		errands = append(errands, e)
	}
	w.orders = nil
	for _, e := range errands[:rand.IntN(len(errands)+1)] {
		w.orders = append(w.orders, e.infno()+":"+mishaps[rand.IntN(len(mishaps))])
	}
	w.sim(map[string]any{"order": w.orders})
	killAfter := time.Duration(rand.IntN(40_000)) * time.Microsecond

	var running sync.WaitGroup
	said := make([]error, len(errands))
	told := make([]string, len(errands))
	for i, e := range errands {
		running.Go(func() { told[i], said[i] = w.do(context.Background(), e) })
	}
	time.Sleep(killAfter) // a random moment: that is what is tested
	w.must(w.daemon.kill())
	running.Wait()
	for i, e := range errands {
		switch {
		case said[i] == nil:
			w.told++
			w.receipts[e] = told[i]
		case errors.Is(said[i], api.ErrDaemon):
			w.cut++
		case fault.Of(said[i]).Code == fault.UpstreamRefused:
			w.refused++
		default:
			w.doubted++
		}
	}
	w.sim(map[string]any{"clear": true, "release": true})
	w.startDaemon()
	w.agree()
	w.pending = append(w.pending, errands...)
	w.clickAgain()
	w.agree()
}

// clickAgain is a clerk who goes on with what has no receipt yet, or was not seen
// again since the crash: what stands is shown, what is in doubt, or being brought
// out of it, is refused, and what never left or never arrived is sent.
func (w *ward) clickAgain() {
	w.Helper()
	var left []errand
	for _, e := range w.pending {
		setlID, err := w.do(w.Context(), e)
		switch {
		case err == nil:
			if earlier := w.receipts[e]; earlier != "" && earlier != setlID {
				w.Errorf("%s of visit %s had receipt %s and has %s", e.infno(), e.visit, earlier, setlID)
			}
			w.receipts[e] = setlID
			if e.entry != 0 {
				// It could be settled anew; the desk is wanted for the next one.
				_, err = w.client.SetAside(w.Context(), e.visit)
			}
			if err == nil {
				continue
			}
			if c := fault.Of(err).Code; c != fault.VisitState && c != fault.InProgress {
				w.Errorf("visit %s is not set aside: %v", e.visit, err)
			}
		case !slices.Contains([]fault.Code{fault.UnknownUnresolved, fault.VisitState, fault.InProgress, fault.Refunded}, fault.Of(err).Code):
			w.Errorf("%s of visit %s, again: %v", e.infno(), e.visit, err)
		case w.receipts[e] != "":
			w.Errorf("%s of visit %s has a receipt and is refused: %v", e.infno(), e.visit, err)
		}
		left = append(left, e)
	}
	w.pending = left
}

// visits are as many as there are desks, each up to the payer's consent.
func (w *ward) visits() []terminal.Visit {
	w.Helper()
	list := make([]terminal.Visit, len(w.desks))
	for i, desk := range w.desks {
		reader := ""
		w.await(func(s terminal.State) bool {
			for _, r := range s.Readers {
				if r.Name == desk && r.State == terminal.ReaderReady {
					reader = r.ID
				}
			}
			return reader != ""
		})
		v, err := w.client.OpenVisit(w.Context(), terminal.VisitRequest{Reader: reader})
		for late := time.Now().Add(patience); fault.Of(err).Code == fault.VisitState && time.Now().Before(late); {
			// The visit before it, of which nobody knew, turned out never to have
			// arrived: it is settled first.
			w.clickAgain()
			v, err = w.client.OpenVisit(w.Context(), terminal.VisitRequest{Reader: reader})
		}
		w.must(err)
		v, err = w.client.SetLines(w.Context(), v.ID, terminal.LinesRequest{Lines: fee})
		w.must(err)
		list[i], err = w.client.Trial(w.Context(), v.ID)
		w.must(err)
	}
	return list
}

// sim gives the centre an order.
func (w *ward) sim(order map[string]any) {
	w.Helper()
	text, err := json.Marshal(order)
	w.must(err)
	w.fetch(http.MethodPost, "/sim/faults", bytes.NewReader(text), nil)
}

func (w *ward) fetch(method, path string, body io.Reader, out any) {
	w.Helper()
	center, err := url.Parse(w.center.where)
	w.must(err)
	center.Path, center.RawQuery = path, ""
	req, err := http.NewRequestWithContext(w.Context(), method, center.String(), body)
	w.must(err)
	// No connection is kept: the tests look for what is left running.
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	w.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	w.must(err)
	if resp.StatusCode != http.StatusOK {
		w.Fatalf("%s %s: %s %s", method, path, resp.Status, text)
	}
	if out != nil {
		w.must(json.Unmarshal(text, out))
	}
}

// ledger is what the centre has booked.
func (w *ward) ledger() []centersim.Settlement {
	w.Helper()
	var list struct{ Settlements []centersim.Settlement }
	w.fetch(http.MethodGet, "/sim/settlements", nil, &list)
	return list.Settlements
}

// entries is the journal, the earliest first.
func (w *ward) entries() []terminal.Entry {
	w.Helper()
	day, err := w.client.Journal(w.Context(), terminal.AllDays, "", 1000)
	w.must(err)
	if len(day.Entries) == 1000 {
		w.Fatal("the journal's list is cut off")
	}
	return day.Entries
}

// agree holds the ledger against the journal.
func (w *ward) agree() {
	w.Helper()
	entries := make(map[string]terminal.Entry)
	for _, e := range w.entries() {
		entries[e.MsgID] = e
	}
	w.tally.unknown, w.tally.settled, w.tally.refunded = 0, 0, 0
	booked := make(map[string]centersim.Settlement)
	standing := make(map[string]int) // settlements by mdtrt_id
	for _, s := range w.ledger() {
		e, found := entries[s.MsgID]
		_, twice := booked[s.MsgID]
		switch {
		case twice:
			w.Errorf("doubled: %s", s.MsgID)
		case !found:
			w.Errorf("booked without a trace in the journal: %s", s.MsgID)
		case e.Outcome != "done" && e.Outcome != "unknown" && s.State != centersim.StateReversed:
			w.Errorf("booked, and %s in the journal: entry %d, %s", e.Outcome, e.ID, s.MsgID)
		}
		booked[s.MsgID] = s
		if s.State == centersim.StateSettled {
			if standing[s.MdtrtID]++; standing[s.MdtrtID] > 1 {
				w.Errorf("doubled: visit %s has two settlements that stand", s.MdtrtID)
			}
		}
	}
	receipts := make(map[string]bool)
	for _, e := range entries {
		s, found := booked[e.MsgID]
		switch e.Outcome {
		case "unknown":
			w.tally.unknown++
		case "intended":
			w.Errorf("entry %d is still on its way", e.ID)
		case "done":
			if e.Transaction == "2208" {
				w.tally.refunded++
			} else {
				w.tally.settled++
			}
			receipts[e.SettlementID] = true
			if !found || s.SetlID != e.SettlementID || fen(s.Total) != e.Total || fen(s.Fund) != e.Fund || fen(s.Account) != e.Account || fen(s.Cash) != e.Cash {
				w.Errorf("done in the journal: %+v; the centre has %+v", e, s)
			}
		}
	}
	for e, setlID := range w.receipts {
		if !receipts[setlID] {
			w.Errorf("lost: %s of visit %s has receipt %s, which the journal has not", e.infno(), e.visit, setlID)
		}
	}
}

func fen(n int64) string { return settlement.Fen(n).Yuan() }

// end waits until nothing is in doubt any more, the centre being reachable, and
// looks at the journal with the daemon gone.
func (w *ward) end() {
	w.Helper()
	w.await(func(s terminal.State) bool { return s.Unknown.Count == 0 })
	for late := time.Now().Add(patience); len(w.pending) > 0 && time.Now().Before(late) && !w.Failed(); {
		w.clickAgain() // until the visits know what the journal knows
	}
	w.agree()
	if w.unknown != 0 || len(w.pending) != 0 {
		w.Errorf("%d are in doubt, and the page says that none is; %d errands are not done", w.unknown, len(w.pending))
	}
	// Every visit is settled, and every refund refunded, once.
	visits := w.runs * len(w.desks)
	if w.settled != visits || w.refunded != w.refunds || len(w.receipts) != visits {
		w.Errorf("%d visits, %d of them taken back: %d settlements, %d refunds, %d receipts", visits, w.refunds, w.settled, w.refunded, len(w.receipts))
	}
	w.must(w.daemon.stop())
	journal, err := settlement.OpenJournal(w.file("state/journal.db"), time.Now)
	w.must(err)
	defer func() { w.must(journal.Close()) }()
	if v, err := journal.Verify(w.Context()); err != nil {
		w.Errorf("%+v, %v", v, err)
	}
}
