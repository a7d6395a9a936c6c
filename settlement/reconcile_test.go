package settlement_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"onecard/settlement"
	"onecard/settlement/centersim"
)

// reconciler compares the desk's journal, as if the clock stood a while later.
func (b *bookkeeper) reconciler(t *testing.T, change ...func(*settlement.ReconcilePolicy)) *settlement.Reconciler {
	t.Helper()
	// What a real institution would say, and no entry is too young to be judged.
	policy := settlement.ReconcilePolicy{Sole: true, Young: time.Nanosecond}
	for _, c := range change {
		c(&policy)
	}
	scope := b.signed(t)
	return settlement.NewReconciler(settlement.ReconcilerParts{
		Client: b.client, Journal: b.journal, Policy: policy, Now: b.read,
		Scope: func(context.Context) (settlement.Scope, error) { return scope, nil },
	})
}

// day reconciles and says what was found, a difference a line.
func reconcileDay(t *testing.T, r *settlement.Reconciler, day string) settlement.Report {
	t.Helper()
	report, err := r.Reconcile(t.Context(), day)
	if err != nil {
		var refused *settlement.RefusedError
		if errors.As(err, &refused) {
			t.Log(refused.Message)
		}
		t.Fatal(err)
	}
	return report
}

func wants(t *testing.T, r settlement.Report, state settlement.ReportState, differences ...string) {
	t.Helper()
	var got []string
	for _, d := range r.Differences {
		got = append(got, fmt.Sprintf("%s %s %s", d.Kind, d.Finding, d.Action))
	}
	if r.State != state || fmt.Sprint(got) != fmt.Sprint(differences) {
		t.Errorf("%s %s, want %s %s", r.State, got, state, differences)
	}
}

// order is the clerk's. The people of these tests are insured elsewhere in the
// country, which nobody knows of a settlement that is in no journal.
func order(action settlement.Action) settlement.Order {
	return settlement.Order{Action: action, Who: "0001", Reason: "looked up at the centre", InsuplcAdmdvs: "410100"}
}

// execute has the row done, and a second order changes nothing.
func execute(t *testing.T, r *settlement.Reconciler, report settlement.Report, n int, action settlement.Action) settlement.Report {
	t.Helper()
	report, err := r.Execute(t.Context(), report.ID, n, order(action))
	if err != nil {
		t.Fatal(err)
	}
	d := report.Differences[n-1]
	if d.State != settlement.StateDone || d.Executed == nil || d.Executed.Who != "0001" || d.Executed.Ended.IsZero() {
		t.Errorf("%+v", d)
	}
	if again, err := r.Execute(t.Context(), report.ID, n, order(action)); err != nil || fmt.Sprint(again.Differences[n-1].Executed) != fmt.Sprint(d.Executed) {
		t.Errorf("again: %v", err)
	}
	return report
}

func (b *bookkeeper) fault(t *testing.T, order string) {
	t.Helper()
	f, err := centersim.ParseFault(order)
	if err == nil {
		err = b.center.Order(f)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// settled settles and wants no error.
func (b *bookkeeper) settled(t *testing.T, number string) settlement.Receipt {
	t.Helper()
	receipt, err := b.settler.Settle(t.Context(), b.visit(t, number))
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// lost settles with a fault, and the outcome is unknown.
func (b *bookkeeper) lost(t *testing.T, number, fault string) {
	t.Helper()
	in := b.visit(t, number)
	b.fault(t, "2207:"+fault)
	if _, err := b.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
		t.Fatalf("%v", err)
	}
}

func (b *bookkeeper) today() string { return settlement.FormatDate(b.now()) }

func TestReconcileBalanced(t *testing.T) {
	d := newBookkeeper(t, noon)
	r := d.reconciler(t)
	wants(t, reconcileDay(t, r, d.today()), settlement.Balanced)
	first := d.settled(t, "OP1")
	d.settled(t, "OP2")
	if _, err := d.settler.Refund(t.Context(), settlement.Refunding{Entry: first.EntryID, Scope: d.signed(t)}); err != nil {
		t.Fatal(err)
	}
	report := reconcileDay(t, r, d.today())
	wants(t, report, settlement.Balanced)
	for _, l := range report.Totals {
		if !l.Asked || !l.Balanced {
			t.Errorf("%+v", l)
		}
		if l.Ours.Count == 3 && l.Ours.Total == 34114 && l.Insutype == "310" && l.ClrType == "11" && l.Optins == "510100" {
			return
		}
	}
	t.Errorf("%+v", report.Totals)
}

// TestReconcileBook: the answer of a settlement is lost, the statement names it,
// and one execution books it here as it is there.
func TestReconcileBook(t *testing.T) {
	d := newBookkeeper(t, noon)
	r := d.reconciler(t)
	d.settled(t, "OP1")
	d.lost(t, "OP2", "drop-after")
	report := reconcileDay(t, r, d.today())
	wants(t, report, settlement.Unbalanced, "upstream unknown-here book")
	if report.Differences[0].Entry == 0 || report.Differences[0].Theirs == nil {
		t.Errorf("%+v", report.Differences[0])
	}
	for _, bad := range []settlement.Order{{Who: "0001"}, {Reason: "x"}, {Who: "0001", Reason: "x", Action: settlement.ActRefund}} {
		if _, err := r.Execute(t.Context(), report.ID, 1, bad); err == nil {
			t.Errorf("executed by %+v", bad)
		}
	}
	for _, n := range []int{0, 2, -1} {
		if _, err := r.Execute(t.Context(), report.ID, n, order(settlement.ActBook)); !errors.Is(err, settlement.ErrReconcileRow) {
			t.Errorf("row %d: %v", n, err)
		}
	}
	wants(t, execute(t, r, report, 1, ""), settlement.HandledAll, "upstream unknown-here book")
	booked := d.center.Settlements()[1]
	e, err := d.journal.Get(t.Context(), report.Differences[0].Entry)
	if err != nil || e.Outcome != settlement.Done || e.SetlID != booked.SetlID || int64(e.Total) != int64(booked.Total) || int64(e.Cash) != int64(booked.Cash) {
		t.Errorf("%+v, %v", e, err)
	}
	if by, ok, err := d.journal.Decision(t.Context(), e.ID); err != nil || !ok || by.Who != "0001" {
		t.Errorf("%+v, %v, %v", by, ok, err)
	}
	again := reconcileDay(t, r, d.today())
	wants(t, again, settlement.Balanced)
	// The report in which somebody did something stays; it is no longer to be executed.
	if _, err := r.Execute(t.Context(), report.ID, 1, order(settlement.ActAsk)); !errors.Is(err, settlement.ErrReport) {
		t.Errorf("the report before: %v", err)
	}
	if old, err := d.journal.Report(t.Context(), report.ID); err != nil || old.Differences[0].Executed == nil {
		t.Errorf("%+v, %v", old, err)
	}
	d.verify(t)
}

// verify reads the chain.
func (b *bookkeeper) verify(t *testing.T) {
	t.Helper()
	if _, err := b.journal.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestReconcileNeverArrived: in doubt here and in no statement.
func TestReconcileNeverArrived(t *testing.T) {
	d := newBookkeeper(t, noon)
	d.lost(t, "OP1", "drop-before")
	young := d.reconciler(t, func(p *settlement.ReconcilePolicy) { p.Young = time.Hour })
	wants(t, reconcileDay(t, young, d.today()), settlement.Unbalanced, "doubt too-young ask")
	d.set(noon.Add(time.Minute))
	r := d.reconciler(t)
	report := reconcileDay(t, r, d.today())
	wants(t, report, settlement.Unbalanced, "doubt not-there void")
	execute(t, r, report, 1, settlement.ActVoid)
	wants(t, reconcileDay(t, r, d.today()), settlement.Balanced)
	in := d.visit(t, "OP1b")
	in.Visit = "OP1" // free again
	if _, err := d.settler.Settle(t.Context(), in); err != nil {
		t.Error(err)
	}
	wants(t, reconcileDay(t, r, d.today()), settlement.Balanced)
	d.verify(t)
}

// TestReconcileNobody: the centre has what no entry here knows, as after a
// journal that was lost: it is written down, refunded and balances.
func TestReconcileNobody(t *testing.T) {
	d := newBookkeeper(t, noon)
	other := d.beside(t)
	other.settled(t, "OP1")
	d.settled(t, "OP2")
	foreign := d.reconciler(t, func(p *settlement.ReconcilePolicy) { p.Sole = false })
	wants(t, reconcileDay(t, foreign, d.today()), settlement.Unbalanced, "upstream not-ours ask")
	r := d.reconciler(t)
	report := reconcileDay(t, r, d.today())
	wants(t, report, settlement.Unbalanced, "upstream nobody refund")
	// The line fails in the middle: it can be ordered again.
	d.fault(t, "2208:refuse=系统维护")
	if report, err := r.Execute(t.Context(), report.ID, 1, order("")); settlement.OutcomeOf(err) != settlement.Refused || report.Differences[0].State != settlement.StateBegun || report.Differences[0].Executed.Fault != "OC-2201" {
		t.Errorf("%+v, %v", report.Differences[0].Executed, err)
	}
	report = execute(t, r, report, 1, "")
	if x := report.Differences[0].Executed; x.Refund == 0 || x.Entry == 0 {
		t.Errorf("%+v", x)
	}
	rows := d.center.Settlements()
	if len(rows) != 3 || rows[2].Refunds != rows[0].SetlID {
		t.Errorf("%+v", rows)
	}
	wants(t, reconcileDay(t, r, d.today()), settlement.Balanced)
	d.verify(t)
}

// TestReconcileRefused: told the clerk that it failed, and booked.
func TestReconcileRefused(t *testing.T) {
	d := newBookkeeper(t, noon)
	d.lost(t, "OP1", "drop-after")
	entries, err := d.journal.List(t.Context(), settlement.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	// A person was mistaken.
	if err := d.journal.Decide(t.Context(), entries[0].ID, settlement.Conclusion{Outcome: settlement.Refused}, "clerk", "nothing seen"); err != nil {
		t.Fatal(err)
	}
	r := d.reconciler(t)
	report := reconcileDay(t, r, d.today())
	wants(t, report, settlement.Unbalanced, "upstream refused-here refund")
	// The answer to the refund is lost: it is not sent again.
	d.fault(t, "2208:drop-after")
	if _, err := r.Execute(t.Context(), report.ID, 1, order("")); settlement.OutcomeOf(err) != settlement.Unknown {
		t.Errorf("%v", err)
	}
	if _, err := r.Execute(t.Context(), report.ID, 1, order("")); !errors.Is(err, settlement.ErrUnknownUnresolved) {
		t.Errorf("%v", err)
	}
	if n := len(d.center.Settlements()); n != 2 {
		t.Fatalf("%d rows at the centre", n)
	}
	report = reconcileDay(t, r, d.today())
	wants(t, report, settlement.Unbalanced, "upstream unknown-here book")
	execute(t, r, report, 1, "")
	wants(t, reconcileDay(t, r, d.today()), settlement.Balanced)
	d.verify(t)
}

// TestReconcileReversed: what 2601 took back needs nothing.
func TestReconcileReversed(t *testing.T) {
	d := newBookkeeper(t, noon)
	d.lost(t, "OP1", "drop-after")
	entries, err := d.journal.List(t.Context(), settlement.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.settler.Reverse(t.Context(), entries[0].ID, d.signed(t)); err != nil {
		t.Fatal(err)
	}
	report := reconcileDay(t, d.reconciler(t), d.today())
	wants(t, report, settlement.Balanced, "upstream reversed none", "upstream reversed none")
}

// TestReconcileOnlyHere: done here, and the centre has lost it.
func TestReconcileOnlyHere(t *testing.T) {
	d := newBookkeeper(t, noon)
	d.settled(t, "OP1")
	e := d.phantom(t, "OP2")
	r := d.reconciler(t)
	report := reconcileDay(t, r, d.today())
	wants(t, report, settlement.Unbalanced, "here missing void")
	if report.Differences[0].Entry != e {
		t.Errorf("%+v", report.Differences[0])
	}
	report = execute(t, r, report, 1, "")
	wants(t, reconcileDay(t, r, d.today()), settlement.Balanced)
	// Then the visit can be settled as it should have been.
	d.settled(t, "OP2")
	wants(t, reconcileDay(t, r, d.today()), settlement.Balanced)
	if was, err := d.journal.Get(t.Context(), e); err != nil || was.ReversedBy != report.Differences[0].Executed.Refund {
		t.Errorf("%+v, %v", was, err)
	}
	d.verify(t)
}

// TestReconcileDiffers: both have it, and not alike.
func TestReconcileDiffers(t *testing.T) {
	d := newBookkeeper(t, noon)
	d.lost(t, "OP1", "drop-after")
	entries, err := d.journal.List(t.Context(), settlement.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	booked, e := d.center.Settlements()[0], entries[0]
	wrong := e.Agreed
	wrong.Account, wrong.Cash = wrong.Account+100, wrong.Cash-100
	if err := d.journal.Decide(t.Context(), e.ID, settlement.Conclusion{Outcome: settlement.Done, SetlID: booked.SetlID, Booked: &wrong}, "clerk", "misread"); err != nil {
		t.Fatal(err)
	}
	r := d.reconciler(t)
	report := reconcileDay(t, r, d.today())
	wants(t, report, settlement.Unbalanced, "differs amounts ask")
	x := report.Differences[0]
	if x.Ours == nil || x.Theirs == nil || x.Ours.Account-x.Theirs.Account != 100 || x.Ours.Total != x.Theirs.Total {
		t.Errorf("%+v", x)
	}
	wants(t, execute(t, r, report, 1, settlement.ActAsk), settlement.HandledAll, "differs amounts ask")
	// Compared again it is still known what a person found out.
	report = reconcileDay(t, r, d.today())
	wants(t, report, settlement.HandledAll, "differs amounts ask")
	if x := report.Differences[0].Executed; x == nil || x.Reason == "" {
		t.Errorf("%+v", report.Differences[0])
	}
}

// TestReconcileMidnight: begun before midnight, booked after it: it is counted
// on the centre's day and the other one balances, too.
func TestReconcileMidnight(t *testing.T) {
	d := newBookkeeper(t, time.Date(2026, 11, 20, 23, 59, 0, 0, chinaZone), 5*time.Minute)
	d.settled(t, "OP1")
	d.set(time.Date(2026, 11, 21, 12, 0, 0, 0, chinaZone))
	r := d.reconciler(t)
	for day, count := range map[string]int{"2026-11-20": 0, "2026-11-21": 1} {
		report := reconcileDay(t, r, day)
		wants(t, report, settlement.Balanced)
		n := 0
		for _, l := range report.Totals {
			n += l.Ours.Count
		}
		if n != count {
			t.Errorf("%s: %d", day, n)
		}
	}
	if _, err := r.Reconcile(t.Context(), "2026-11-22"); !errors.Is(err, settlement.ErrPeriod) {
		t.Errorf("tomorrow: %v", err)
	}
}

// TestReconcileMonth: totals of the month, and the days only where they differ.
func TestReconcileMonth(t *testing.T) {
	d := newBookkeeper(t, noon)
	r := d.reconciler(t)
	d.settled(t, "OP1")
	month := d.today()[:7]
	if report := reconcileDay(t, r, month); report.State != settlement.Balanced || len(report.Days) != 0 {
		t.Errorf("%+v", report)
	}
	d.lost(t, "OP2", "drop-after")
	d.set(noon.AddDate(0, 0, 2))
	r = d.reconciler(t)
	report := reconcileDay(t, r, month)
	if report.State != settlement.Unbalanced || len(report.Days) != 1 || report.Days[0].Day != settlement.FormatDate(noon) || report.Days[0].Open != 1 {
		t.Errorf("%+v", report)
	}
	day, err := d.journal.LatestReport(t.Context(), report.Days[0].Day)
	if err != nil || day.ID != report.Days[0].Report {
		t.Fatalf("%+v, %v", day, err)
	}
	execute(t, r, day, 1, "")
	if report := reconcileDay(t, r, month); report.State != settlement.Balanced {
		t.Errorf("%+v", report)
	}
}
