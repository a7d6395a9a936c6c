package settlement_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"onecard/settlement"
	"onecard/settlement/centersim"
)

// TestReconcileLanes: of several desks each answers for its own.
func TestReconcileLanes(t *testing.T) {
	d := newBookkeeper(t, noon)
	other := d.beside(t)
	other.settled(t, "OP1")
	d.settled(t, "OP2")
	d.lost(t, "OP3", "drop-after")
	r := d.reconciler(t, func(p *settlement.ReconcilePolicy) { p.Sole, p.Lane, p.Lanes = false, 0, 3 })
	report := reconcileDay(t, r, d.today())
	wants(t, report, settlement.Unbalanced, "upstream unknown-here book")
	if report.Others.Count != 1 || report.Others.Total != 34114 {
		t.Errorf("%+v", report.Others)
	}
	execute(t, r, report, 1, "")
	wants(t, reconcileDay(t, r, d.today()), settlement.Balanced)
	for msgid, want := range map[string]int{"H51010000001202611201200000000": 0, "H51010000001202611201200005000": 1, "H51010000001202611201200009999": 1, "X51010000001202611201200000000": -1, "H510100000012026112012000x0000": -1, "short": -1} {
		lane, ok := settlement.Lane(msgid, "H51010000001", 2)
		if ok != (want >= 0) || ok && lane != want {
			t.Errorf("%s: %d %v", msgid, lane, ok)
		}
	}
}

// TestReconcileRefundRows: regions that count refunds in their own ways.
func TestReconcileRefundRows(t *testing.T) {
	d := newBookkeeper(t, noon)
	first := d.settled(t, "OP1")
	d.settled(t, "OP2")
	if _, err := d.settler.Refund(t.Context(), settlement.Refunding{Entry: first.EntryID, Scope: d.signed(t)}); err != nil {
		t.Fatal(err)
	}
	for how, count := range map[settlement.RefundRows]int{settlement.RefundsCounted: 3, settlement.RefundsNetted: 1, settlement.RefundsExcluded: 2} {
		r := d.reconciler(t, func(p *settlement.ReconcilePolicy) { p.Refunds = how })
		report := reconcileDay(t, r, d.today())
		n := 0
		for _, l := range report.Totals {
			n += l.Ours.Count
		}
		// This centre counts both; where it would not, nothing is to be done either.
		if n != count || report.State != settlement.Balanced {
			t.Errorf("%s: %d rows, %s %+v", how, n, report.State, report.Differences)
		}
	}
}

// TestReconcileCrash: the process ends after an action and before the report
// says so. The same order ends the row and does nothing twice.
func TestReconcileCrash(t *testing.T) {
	for name, x := range map[string]struct {
		prepare func(*testing.T, *bookkeeper)
		rows    int // at the centre, in the end
		entries int
	}{
		"book": {func(t *testing.T, d *bookkeeper) { d.lost(t, "OP1", "drop-after") }, 1, 1},
		"void in doubt": {func(t *testing.T, d *bookkeeper) {
			d.lost(t, "OP1", "drop-before")
			d.set(noon.Add(time.Minute))
		}, 0, 1},
		"void":   {func(t *testing.T, d *bookkeeper) { d.phantom(t, "OP1") }, 0, 2},
		"refund": {func(t *testing.T, d *bookkeeper) { d.beside(t).settled(t, "OP1") }, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			d := newBookkeeper(t, noon)
			x.prepare(t, d)
			r := d.reconciler(t)
			before := reconcileDay(t, r, d.today())
			if len(before.Differences) != 1 {
				t.Fatalf("%+v", before.Differences)
			}
			execute(t, r, before, 1, "")
			// As it was written down when it was begun.
			before.Differences[0].State = settlement.StateBegun
			o := order(before.Differences[0].Action)
			before.Differences[0].Executed = &settlement.Execution{Action: o.Action, Who: o.Who, Reason: o.Reason, Begun: d.read()}
			if err := d.journal.Forget(t.Context(), before); err != nil {
				t.Fatal(err)
			}
			again := d.reconciler(t) // of a new process
			execute(t, again, before, 1, "")
			wants(t, reconcileDay(t, again, d.today()), settlement.Balanced)
			entries, err := d.journal.List(t.Context(), settlement.Filter{})
			if err != nil || len(entries) != x.entries {
				t.Errorf("%d entries, %v", len(entries), err)
			}
			if n := len(d.center.Settlements()); n != x.rows {
				t.Errorf("%d rows at the centre", n)
			}
			d.verify(t)
		})
	}
}

// TestReconcileDuplicate: two entries with one number do not keep the day from
// being compared.
func TestReconcileDuplicate(t *testing.T) {
	d := newBookkeeper(t, noon)
	d.lost(t, "OP1", "drop-after")
	d.lost(t, "OP2", "drop-after")
	entries, err := d.journal.List(t.Context(), settlement.Filter{Earliest: true})
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	booked := d.center.Settlements()
	amounts := func(b centersim.Settlement) *settlement.Amounts {
		return &settlement.Amounts{Total: settlement.Fen(b.Total), Fund: settlement.Fen(b.Fund), Account: settlement.Fen(b.Account), Cash: settlement.Fen(b.Cash)}
	}
	for i, e := range entries {
		// As of an earlier version, which let a person read the first line of the list twice.
		c := settlement.Conclusion{Outcome: settlement.Done, SetlID: booked[0].SetlID, Booked: amounts(booked[i])}
		if i == 1 {
			if err := d.journal.Decide(t.Context(), e.ID, c, "clerk", "list of the day"); !errors.Is(err, settlement.ErrDecision) {
				t.Errorf("the same line twice: %v", err)
			}
		}
		if err := d.journal.Conclude(t.Context(), e.ID, c); err != nil {
			t.Fatal(err)
		}
	}
	r := d.reconciler(t)
	report := reconcileDay(t, r, d.today())
	wants(t, report, settlement.Unbalanced, "here duplicate ask", "upstream other-number ask")
	if report.Differences[0].Entry != entries[1].ID || report.Differences[1].Entry != entries[1].ID {
		t.Errorf("%+v", report.Differences)
	}
}

// TestReconcileMisnumbered: an answer carries the number of the settlement
// before it. What the centre has of the request under its own number is its only
// booking: nobody is told to take it back, and nothing can.
func TestReconcileMisnumbered(t *testing.T) {
	d := newBookkeeper(t, noon)
	d.lost(t, "OP1", "wrong-setl")
	in := d.visit(t, "OP2")
	d.fault(t, "2207:duplicate-setl")
	receipt, err := d.settler.Settle(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	booked := d.center.Settlements()
	if len(booked) != 2 || receipt.SetlID != booked[0].SetlID || receipt.MsgID != booked[1].MsgID {
		t.Fatalf("%+v of %+v", receipt, booked)
	}
	d.set(noon.Add(time.Hour))
	r := d.reconciler(t)
	report := reconcileDay(t, r, d.today())
	wants(t, report, settlement.Unbalanced, "differs anothers ask", "upstream other-number ask")
	if x := report.Differences[0]; x.Entry != receipt.EntryID || x.MsgID != booked[0].MsgID || x.SetlID != booked[0].SetlID {
		t.Errorf("%+v", x)
	}
	if x := report.Differences[1]; x.Entry != receipt.EntryID || x.MsgID != booked[1].MsgID || x.SetlID != booked[1].SetlID || x.Answered != booked[0].SetlID {
		t.Errorf("%+v", x)
	}
	for n := range report.Differences {
		for _, a := range []settlement.Action{settlement.ActRefund, settlement.ActBook} {
			if _, err := r.Execute(t.Context(), report.ID, n+1, order(a)); !errors.Is(err, settlement.ErrReconcileRow) {
				t.Errorf("row %d, %s: %v", n+1, a, err)
			}
		}
	}
	// As a report from before the centre was asked about the other number says it.
	old := report
	old.Differences = slices.Clone(report.Differences)
	x := &old.Differences[1]
	x.Finding, x.Action, x.Choices, x.Answered = settlement.FoundTwice, settlement.ActRefund, []settlement.Action{settlement.ActRefund, settlement.ActAsk}, ""
	if err := d.journal.Forget(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Execute(t.Context(), old.ID, 2, order("")); !errors.Is(err, settlement.ErrReconcileRow) {
		t.Errorf("an old report: %v", err)
	}
	if n := len(d.center.Settlements()); n != 2 {
		t.Errorf("%d rows at the centre", n)
	}
	report = reconcileDay(t, r, d.today())
	wants(t, report, settlement.Unbalanced, "differs anothers ask", "upstream other-number ask")

	// A person gets it right: ours is marked, the number goes to the entry that it
	// belongs to, and only then can the other row be taken back.
	execute(t, r, report, 1, settlement.ActVoid)
	report = reconcileDay(t, r, d.today())
	wants(t, report, settlement.Unbalanced, "upstream unknown-here book", "upstream other-number ask")
	execute(t, r, report, 1, "")
	execute(t, r, report, 2, settlement.ActRefund)
	wants(t, reconcileDay(t, r, d.today()), settlement.Balanced)
	if rows := d.center.Settlements(); len(rows) != 3 || rows[2].Refunds != booked[1].SetlID {
		t.Errorf("%+v", rows)
	}
	in = d.visit(t, "OP2b")
	in.Visit = "OP2" // free again
	if _, err := d.settler.Settle(t.Context(), in); err != nil {
		t.Error(err)
	}
	wants(t, reconcileDay(t, r, d.today()), settlement.Balanced)
	d.verify(t)
}

// TestReconcileSales: what a pharmacy sells is compared, booked and refunded in
// its own statement.
func TestReconcileSales(t *testing.T) {
	d := newBookkeeper(t, time.Now().Add(time.Minute))
	other := d.beside(t)
	if _, err := other.settler.Sell(t.Context(), other.sale(t, "PH1")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.settler.Sell(t.Context(), d.sale(t, "PH2")); err != nil {
		t.Fatal(err)
	}
	in := d.sale(t, "PH3")
	d.fault(t, "2102:drop-after")
	if _, err := d.settler.Sell(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
		t.Fatalf("%v", err)
	}
	r := d.reconciler(t)
	report := reconcileDay(t, r, d.today())
	wants(t, report, settlement.Unbalanced, "upstream nobody refund", "upstream unknown-here book")
	for _, x := range report.Differences {
		if x.ClrType != "41" {
			t.Errorf("%+v", x)
		}
		execute(t, r, report, x.N, "")
	}
	wants(t, reconcileDay(t, r, d.today()), settlement.Balanced)
	d.verify(t)
}
