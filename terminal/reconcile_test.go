package terminal_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"onecard/fault"
	"onecard/settlement"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// A setClock is what desk and centre read; a test sets it.
type setClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *setClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	// It goes on: numbers and time-outs need that.
	c.t = c.t.Add(time.Millisecond)
	return c.t
}

func (c *setClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

var bookDay = time.Date(2026, 11, 20, 12, 0, 0, 0, terminal.ChinaTime)

// bookbed is a desk whose centre has the same clock.
func bookbed(t *testing.T, c *setClock, dir string, change ...func(*deskbed.Options)) *deskbed.Bed {
	t.Helper()
	o := deskbed.Options{Now: c.now, Dir: dir, Center: centersim.Config{Now: c.now}, Configure: func(cfg *terminal.Config) { cfg.Reconcile.Sole = true }}
	for _, f := range change {
		f(&o)
	}
	b := deskbed.New(t, o)
	b.Ready()
	return b
}

// closed ends a desk and its centre.
func closed(t *testing.T, b *deskbed.Bed) {
	t.Helper()
	b.Stop()
	b.HTTP.CloseClientConnections()
	b.HTTP.Close()
	if err := b.Center.Close(); err != nil {
		t.Fatal(err)
	}
}

func orderFault(t *testing.T, b *deskbed.Bed, order string) {
	t.Helper()
	f, err := centersim.ParseFault(order)
	if err == nil {
		err = b.Center.Order(f)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func bookHealth(s terminal.State) (c terminal.Condition, shown bool) {
	for _, c := range s.Health {
		if c.Name == terminal.HealthReconciliation {
			return c, true
		}
	}
	return c, false
}

// TestReconcileOvernight: a day in which an answer was lost is compared at its
// time by a desk that was started anew, the condition says so, and one order
// ends it, however often it is given.
func TestReconcileOvernight(t *testing.T) {
	clock := &setClock{t: bookDay}
	dir := t.TempDir()
	b := bookbed(t, clock, dir)
	v := b.Tried()
	orderFault(t, b, "2207:drop-after")
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); err == nil {
		t.Fatal("no answer, and no failure")
	}
	if _, shown := bookHealth(b.Service.State()); shown {
		t.Error("a condition before anything was compared")
	}
	closed(t, b)

	clock.set(time.Date(2026, 11, 21, 2, 31, 0, 0, terminal.ChinaTime))
	b = bookbed(t, clock, dir)
	state := b.Await("the day was compared", func(s terminal.State) bool { return len(s.Books.Unbalanced) > 0 })
	if c, shown := bookHealth(state); state.Books.Latest != "2026-11-20" || state.Books.Open != 1 || state.Books.Unbalanced[0] != "2026-11-20" || !shown || c.OK || c.Fault.Code != fault.ReconciliationDiffers {
		t.Errorf("%+v %+v", state.Books, c)
	}
	d, err := b.Service.Reconciliation(t.Context(), "")
	if err != nil || d.Period != "2026-11-20" || len(d.Differences) != 1 || d.Differences[0].Finding != string(settlement.FoundUnknown) || d.Differences[0].Proposed.Action != string(settlement.ActBook) || len(d.Recent) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	if text := mustJSON(t, d); strings.Contains(text, "psn_no") || strings.Contains(text, "510104195807120024") || strings.Contains(text, "欧阳") {
		t.Error("the report names the patient")
	}
	if _, err := b.Service.ExecuteReconciliation(t.Context(), d.ID, 1, terminal.ReconcileOrder{}); code(err) != fault.DecisionInvalid {
		t.Errorf("without a reason: %v", err)
	}
	// Eight windows at once.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := b.Service.ExecuteReconciliation(t.Context(), d.ID, 1, terminal.ReconcileOrder{Reason: "seen on the centre's list"})
			if c := code(err); err != nil && c != fault.ReconciliationUnknown && c != fault.InProgress {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	state = b.Await("the day balances", func(s terminal.State) bool { return len(s.Books.Unbalanced) == 0 })
	if c, shown := bookHealth(state); !shown || !c.OK {
		t.Errorf("%+v", c)
	}
	if v := state.Visit; v == nil || v.State != terminal.VisitSettled || v.Receipt == nil || v.Receipt.SettlementID != b.Center.Settlements()[0].SetlID {
		t.Errorf("the visit: %+v", v)
	}
	if n := len(b.Center.Settlements()); n != 1 {
		t.Errorf("%d rows at the centre", n)
	}
	if v, err := b.Service.VerifyJournal(t.Context()); err != nil || v.Links != 3 {
		t.Errorf("decided more than once: %+v, %v", v, err)
	}
}

// TestReconcileCentreLost: the centre has lost its books; the visit can be
// settled again once somebody has said so.
func TestReconcileCentreLost(t *testing.T) {
	clock := &setClock{t: bookDay}
	dir := t.TempDir()
	b := bookbed(t, clock, dir)
	v := b.Tried()
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); err != nil {
		t.Fatal(err)
	}
	b.Stop()
	clock.set(bookDay.Add(time.Hour))
	b = bookbed(t, clock, dir, func(o *deskbed.Options) { o.Center.Ledger = filepath.Join(t.TempDir(), "empty.jsonl") })
	d, err := b.Service.Reconcile(t.Context(), "2026-11-20")
	if err != nil {
		// The centre does not know the sign-in of the morning either.
		t.Fatal(err)
	}
	if len(d.Differences) != 1 || d.Differences[0].Finding != string(settlement.FoundMissing) || d.State != string(settlement.Unbalanced) {
		t.Fatalf("%+v", d)
	}
	if d, err = b.Service.ExecuteReconciliation(t.Context(), d.ID, 1, terminal.ReconcileOrder{Action: "void", Reason: "the centre's desk has nothing"}); err != nil || d.State != string(settlement.Balanced) {
		t.Fatalf("%+v, %v", d, err)
	}
	got, err := b.Service.Visit(v.ID)
	if err != nil || got.State != terminal.VisitTried || got.Receipt != nil || got.Fault == nil || got.Fault.Code != fault.NeverArrived {
		t.Errorf("%+v, %v", got, err)
	}
	b.Stop()
	// The same after a new start.
	b = bookbed(t, clock, dir, func(o *deskbed.Options) { o.Center.Ledger = filepath.Join(t.TempDir(), "empty.jsonl") })
	if got, err := b.Service.Visit(v.ID); err != nil || got.State != terminal.VisitTried {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestReconcileRights: who may not deal with differences may look.
func TestReconcileRights(t *testing.T) {
	clock := &setClock{t: bookDay}
	b := bookbed(t, clock, t.TempDir(), func(o *deskbed.Options) { o.Rights = []string{terminal.RightSettle} })
	d, err := b.Service.Reconcile(t.Context(), "2026-11-20")
	if err != nil || d.State != string(settlement.Balanced) {
		t.Fatalf("%+v, %v", d, err)
	}
	if _, err := b.Service.ExecuteReconciliation(t.Context(), d.ID, 1, terminal.ReconcileOrder{Reason: "x"}); !errors.Is(err, terminal.ErrNotPermitted) {
		t.Errorf("%v", err)
	}
	for _, period := range []string{"2026-11-21", "2026-13", "x", "2026-1-1"} {
		if _, err := b.Service.Reconcile(t.Context(), period); code(err) != fault.ReconciliationPeriod {
			t.Errorf("%s: %v", period, err)
		}
	}
	if _, err := b.Service.ReconciliationTable(t.Context(), "2026-11-20", "pdf", ""); code(err) != fault.BodyInvalid {
		t.Errorf("%v", err)
	}
}

// TestReconcileSchedule: what is due, and when something is next.
func TestReconcileSchedule(t *testing.T) {
	clock := &setClock{t: bookDay}
	dir := t.TempDir()
	b := bookbed(t, clock, dir, func(o *deskbed.Options) {
		o.Configure = func(c *terminal.Config) { c.Reconcile.At, c.Reconcile.Days = "never", 3 }
	})
	v := b.Tried()
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); err != nil {
		t.Fatal(err)
	}
	b.Stop()
	for _, x := range []struct {
		at, due, next string
	}{
		{"2026-11-20 23:59", "", "2026-11-21 02:30"},
		{"2026-11-21 02:29", "", "2026-11-21 02:30"},
		{"2026-11-21 02:30", "2026-11-20", "2026-11-22 02:30"},
		{"2026-11-22 01:00", "2026-11-20", "2026-11-22 02:30"},
		{"2026-11-23 12:00", "2026-11-20 2026-11-21 2026-11-22", "2026-11-24 02:30"},
		{"2026-12-01 02:29", "2026-11-27 2026-11-28 2026-11-29", "2026-12-01 02:30"},
		{"2026-12-01 02:30", "2026-11-28 2026-11-29 2026-11-30 2026-11", "2026-12-02 02:30"},
		{"2027-02-01 03:00", "2027-01-29 2027-01-30 2027-01-31 2027-01", "2027-02-02 02:30"},
	} {
		at, err := time.ParseInLocation("2006-01-02 15:04", x.at, terminal.ChinaTime)
		if err != nil {
			t.Fatal(err)
		}
		due, next, err := terminal.ReconcileDue(t, filepath.Join(dir, "journal.db"), at, terminal.ReconcileConfig{Days: 3})
		if err != nil || strings.Join(due, " ") != x.due || next.In(terminal.ChinaTime).Format("2006-01-02 15:04") != x.next {
			t.Errorf("%s: %v, next %s, %v", x.at, due, next, err)
		}
	}
}
