package main

import (
	"slices"
	"strings"
	"testing"

	"onecard/terminal"
)

// TestStayOutlivesKills takes one stay from admission to settlement, and back
// again to nothing, and kills onecardd in every step on the way: while the request
// is on its way, or after the centre has booked it and before anybody was told.
// The next onecardd goes on from there.
func TestStayOutlivesKills(t *testing.T) {
	t.Parallel()
	c := newCounter(t, setup{})
	ctx := c.Context()
	// killed orders that a transaction hangs, begins a step that sends it, and kills
	// the daemon when it does.
	killed := func(fault, seen string, step func() error) {
		t.Helper()
		before := 0
		c.must(c.center.until(func() bool { before = strings.Count(c.center.errs.String(), seen); return true }))
		c.must(orderFaults(c.center.where, fault))
		ended := make(chan error, 1)
		go func() { ended <- step() }()
		c.must(c.center.until(func() bool { return strings.Count(c.center.errs.String(), seen) > before }))
		c.must(c.daemon.kill())
		if err := <-ended; err == nil {
			t.Fatalf("%s: the step was answered", fault)
		}
		c.must(releaseFaults(c.center.where))
		c.startDaemon()
	}
	var id string
	keep := func(v terminal.Visit, err error) terminal.Visit {
		t.Helper()
		c.must(err)
		id = v.ID
		return v
	}
	killed("2401:hang-after", "2401 answered", func() error {
		_, err := c.client.OpenVisit(ctx, terminal.VisitRequest{Kind: "inpatient", Begin: "2025-03-03", Bed: "12"})
		return err
	})
	open, err := c.client.Visits(ctx, "", 0)
	c.must(err)
	if len(open) != 1 || open[0].State != terminal.VisitOpening {
		t.Fatalf("open visits: %+v", open)
	}
	v := keep(c.client.Resume(ctx, open[0].ID, ""))
	if v.State != terminal.VisitRegistered || v.MdtrtID == "" {
		t.Fatalf("admitted: %+v", v)
	}
	keep(c.client.SetLines(ctx, id, terminal.LinesRequest{Lines: fee}))
	killed("2301:hang-after", "2301 answered", func() error {
		_, err := c.client.Trial(ctx, id)
		return err
	})
	if v = keep(c.client.Trial(ctx, id)); v.Trial.Total != "126.00" {
		t.Fatalf("tried: %+v", v.Trial)
	}
	leave := func() error {
		_, err := c.client.Discharge(ctx, id, terminal.DischargeRequest{})
		return err
	}
	killed("2402:hang-before", "2402 meets hang-before", leave)
	c.must(leave())
	killed("2405:hang-after", "2405 answered", func() error {
		_, err := c.client.Readmit(ctx, id)
		return err
	})
	if v = keep(c.client.Trial(ctx, id)); v.Discharged != nil || !slices.Contains(v.Next, terminal.StepDischarge) {
		t.Fatalf("readmitted: %+v", v)
	}
	c.must(leave())
	v = keep(c.client.Trial(ctx, id))
	killed("2304:hang-after", "2304 answered", func() error {
		_, err := c.client.Settle(ctx, id, agreedTo(v))
		return err
	})
	// The desk finds out by itself, or when it is told to ask.
	ask := func() {
		t.Helper()
		v := keep(c.client.Visit(ctx, id))
		if v.State != terminal.VisitUnknown {
			t.Fatalf("not in doubt: %+v", v)
		}
		_, err := c.client.Ask(ctx, v.Journal)
		c.must(err)
	}
	ask()
	is := func(state string) func(terminal.State) bool {
		return func(s terminal.State) bool { return s.Visit != nil && s.Visit.ID == id && s.Visit.State == state }
	}
	v = *c.await(is(terminal.VisitSettled)).Visit
	if v.Receipt == nil || v.Receipt.Total != "126.00" {
		t.Fatalf("settled: %+v", v)
	}
	killed("2305:hang-after", "2305 answered", func() error {
		_, err := c.client.Refund(ctx, id, terminal.RefundRequest{Entry: v.Journal, Reason: "x"})
		return err
	})
	ask()
	v = *c.await(is(terminal.VisitLines)).Visit
	if len(v.Refunds) != 1 || v.Refunds[0].Total != "-126.00" || v.Refunds[0].Reason != "" && v.Refunds[0].Reason != "x" {
		t.Fatalf("refunded: %+v", v)
	}
	for _, infno := range []string{"2405", "2302", "2404"} {
		killed(infno+":hang-after", infno+" answered", func() error { return c.client.Abandon(ctx, id) })
	}
	c.must(c.client.Abandon(ctx, id))
	if v = keep(c.client.Visit(ctx, id)); v.State != terminal.VisitClosed {
		t.Fatalf("given up: %+v", v)
	}
	day := c.journal()
	if len(day.Entries) != 2 || day.Totals.Done != 2 || day.Totals.Unknown != 0 || day.Totals.Total != "0.00" {
		t.Errorf("journal: %+v", day)
	}
	// Nothing of it is left that keeps the person from being admitted.
	keep(c.client.OpenVisit(ctx, terminal.VisitRequest{Kind: "inpatient", Bed: "13"}))
}
