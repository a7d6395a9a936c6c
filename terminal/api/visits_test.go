package api_test

import (
	"testing"

	"onecard/fault"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// A visit through the interface: set aside, found, resumed, settled, refunded, and
// the same for a stay.
func TestVisitsByCall(t *testing.T) {
	d := open(t, deskbed.Options{})
	d.Ready()
	ctx, c := t.Context(), d.client
	v := d.Tried()
	if _, err := c.SetAside(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	list, err := c.Visits(ctx, "", 0)
	if err != nil || len(list) != 1 || list[0].ID != v.ID || !list[0].SetAside {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := c.Visits(ctx, "asleep", 0); fault.Of(err).Code != fault.BodyInvalid {
		t.Errorf("%v", err)
	}
	if v, err = c.Resume(ctx, v.ID, ""); err != nil {
		t.Fatal(err)
	}
	if v, err = c.Settle(ctx, v.ID, terminal.Agreed{Total: v.Trial.Total, Cash: v.Trial.Cash}); err != nil {
		t.Fatal(err)
	}
	refund, err := c.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal, Reason: "x"})
	if err != nil || refund.Refunds != v.Journal || refund.Reason != "x" {
		t.Fatalf("%+v, %v", refund, err)
	}
	again, err := c.Refund(ctx, "", terminal.RefundRequest{Entry: v.Journal})
	if err != nil || again != refund {
		t.Errorf("%+v, %v", again, err)
	}
	e, err := c.Entry(ctx, v.Journal)
	if err != nil || e.ReversedBy != refund.Journal {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err = c.Entry(ctx, refund.Journal); err != nil || e.Undoes != v.Journal || e.Transaction != "2208" {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := c.Discharge(ctx, v.ID, terminal.DischargeRequest{}); fault.Of(err).Code != fault.VisitState {
		t.Errorf("an outpatient was discharged: %v", err)
	}
	if _, err := c.Register(ctx, v.ID); fault.Of(err).Code != fault.VisitState {
		t.Errorf("registered twice: %v", err)
	}
	if err := c.Abandon(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if v, err = c.OpenVisit(ctx, terminal.VisitRequest{Kind: "inpatient", Bed: "1"}); err != nil {
		t.Fatal(err)
	}
	if _, err = c.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: deskbed.Lines()}); err != nil {
		t.Fatal(err)
	}
	if v, err = c.Discharge(ctx, v.ID, terminal.DischargeRequest{}); err != nil || v.Discharged == nil {
		t.Fatalf("%+v, %v", v, err)
	}
	if v, err = c.Readmit(ctx, v.ID); err != nil || v.Discharged != nil {
		t.Fatalf("%+v, %v", v, err)
	}
	if err := c.Abandon(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
}
