package terminal_test

import (
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

// settled brings a desk to a settled visit.
func settled(t *testing.T, b *deskbed.Bed) terminal.Visit {
	t.Helper()
	b.Ready()
	v := b.Tried()
	v, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func opposite(yuan string) string {
	if n, err := settlement.ParseYuan(yuan); err == nil {
		return (-n).Yuan()
	}
	return "not an amount"
}

// ledger adds up what the centre has booked.
func ledger(b *deskbed.Bed) (rows int, total settlement.Fen) {
	for _, x := range b.Center.Settlements() {
		rows++
		total += settlement.Fen(x.Total)
	}
	return rows, total
}

// agree holds the journal's sum of what stands against the centre's ledger.
func agree(b *deskbed.Bed) {
	b.T.Helper()
	day, err := b.Service.Journal(b.T.Context(), "", "", 1000)
	if err != nil {
		b.T.Fatal(err)
	}
	if _, total := ledger(b); total.Yuan() != day.Totals.Total {
		b.T.Errorf("the centre has booked %s, the journal %s", total.Yuan(), day.Totals.Total)
	}
}

// A part is refunded by taking the whole back and settling the lines that stay.
func TestPartIsRefunded(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	first := settled(t, b)
	ctx := t.Context()
	req := terminal.RefundRequest{Entry: first.Journal, Reason: "退一盒"}
	refund, err := b.Service.Refund(ctx, first.ID, req)
	if err != nil {
		t.Fatal(err)
	}
	r := first.Receipt
	if refund.Total != opposite(r.Total) || refund.Fund != opposite(r.Fund) || refund.Account != opposite(r.Account) || refund.Cash != opposite(r.Cash) ||
		refund.Refunded != r.SettlementID || refund.Settlement == "" || refund.Settlement == r.SettlementID || refund.Refunds != first.Journal ||
		refund.Reason != "退一盒" || refund.Time == "" || refund.Holder != r.Holder {
		t.Fatalf("%+v of %+v", refund, r)
	}
	again, err := b.Service.Refund(ctx, "", terminal.RefundRequest{Entry: first.Journal})
	if err != nil || again != refund {
		t.Fatalf("once more: %+v, %v", again, err)
	}
	v, err := b.Service.Visit(first.ID)
	if err != nil || v.State != terminal.VisitLines || v.Receipt != nil || v.Trial != nil || len(v.Refunds) != 1 || v.Refunds[0] != refund || v.Journal != 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	if v, err = b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: deskbed.Lines()[:2]}); err != nil {
		t.Fatal(err)
	}
	if v, err = b.Service.Trial(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if v, err = b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)); err != nil || v.Receipt.Total == r.Total || v.Receipt.SettlementID == r.SettlementID {
		t.Fatalf("settled again: %+v, %v", v, err)
	}
	// The first settlement's refund stays what it was; it does not take back the second.
	if again, err = b.Service.Refund(ctx, v.ID, req); err != nil || again != refund {
		t.Fatalf("once more: %+v, %v", again, err)
	}
	if rows, _ := ledger(b); rows != 3 {
		t.Errorf("%d rows at the centre", rows)
	}
	agree(b)
	for _, secret := range []string{"510104195807120024", "B51000035", "欧阳海燕"} {
		if strings.Contains(b.Log.String(), secret) {
			t.Error("the log names the holder")
		}
	}
}

// The same lines may be settled again at once: they are still with the centre.
func TestRefundedVisitIsSettledAgainOrGivenUp(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	first := settled(t, b)
	ctx := t.Context()
	if _, err := b.Service.Refund(ctx, first.ID, terminal.RefundRequest{Entry: first.Journal}); err != nil {
		t.Fatal(err)
	}
	v, err := b.Service.Trial(ctx, first.ID)
	if err != nil || v.Trial.Total != first.Receipt.Total {
		t.Fatalf("%+v, %v", v, err)
	}
	if v, err = b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal}); err != nil {
		t.Fatal(err)
	}
	if err := b.Service.Abandon(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.Log.String(), "stays there") {
		t.Error("the centre kept something of the visit")
	}
	if v, err = b.Service.Visit(v.ID); err != nil || v.State != terminal.VisitClosed || len(v.Refunds) != 2 {
		t.Errorf("%+v, %v", v, err)
	}
	if b.Service.State().Visit != nil {
		t.Error("the visit is still on the page")
	}
	if _, total := ledger(b); total != 0 {
		t.Errorf("%s stands at the centre", total)
	}
	agree(b)
}

func TestRefundThatGoesWrong(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault centersim.Fault
		code  fault.Code
		state string
		rows  int
	}{
		{"answer lost", centersim.Fault{Kind: centersim.DropAfter}, fault.AnswerLost, terminal.VisitUnknown, 2},
		{"request lost", centersim.Fault{Kind: centersim.DropBefore}, fault.AnswerLost, terminal.VisitUnknown, 1},
		{"another's answer", centersim.Fault{Kind: centersim.WrongSetl}, fault.AnswerMismatch, terminal.VisitUnknown, 2},
		{"refused", centersim.Fault{Kind: centersim.Refuse, Text: "已清算，不能退费"}, fault.UpstreamRefused, terminal.VisitSettled, 1},
		{"turned away", centersim.Fault{Kind: centersim.HTTPBefore, Number: 401}, fault.UpstreamCredentials, terminal.VisitSettled, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := deskbed.New(t, deskbed.Options{})
			v := settled(t, b)
			ctx := t.Context()
			c.fault.Infno = "2208"
			if err := b.Center.Order(c.fault); err != nil {
				t.Fatal(err)
			}
			_, err := b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal})
			if code(err) != c.code {
				t.Fatalf("%v (%s), want %s", err, code(err), c.code)
			}
			got, err := b.Service.Visit(v.ID)
			if err != nil || got.State != c.state || got.Fault == nil || got.Fault.Code != c.code || got.Undoing != (c.state == terminal.VisitUnknown) || got.Receipt == nil {
				t.Fatalf("%+v, %v", got, err)
			}
			if rows, _ := ledger(b); rows != c.rows {
				t.Errorf("%d rows at the centre", rows)
			}
			_, err = b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal})
			if c.state == terminal.VisitSettled {
				if err != nil {
					t.Errorf("a refused refund cannot be tried again: %v", err)
				}
				agree(b)
				return
			}
			if code(err) != fault.UnknownUnresolved {
				t.Errorf("refunded over an unknown refund: %v", err)
			}
			if _, err := b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: deskbed.Lines()}); code(err) != fault.UnknownUnresolved {
				t.Errorf("lines over an unknown refund: %v", err)
			}
		})
	}
}

// A refund in doubt outlives the daemon; what a person decides is what the visit
// says.
func TestRefundInDoubtIsDecided(t *testing.T) {
	for _, outcome := range []string{"done", "refused"} {
		t.Run(outcome, func(t *testing.T) {
			b := deskbed.New(t, deskbed.Options{})
			v := settled(t, b)
			ctx := t.Context()
			kind := centersim.DropAfter
			if outcome == "refused" {
				kind = centersim.DropBefore
			}
			if err := b.Center.Order(centersim.Fault{Infno: "2208", Kind: kind}); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal, Reason: "退药"}); code(err) != fault.AnswerLost {
				t.Fatal(err)
			}
			b = restarted(t, b)
			got, err := b.Service.Visit(v.ID)
			if err != nil || got.State != terminal.VisitUnknown || !got.Undoing || got.Journal == v.Journal || b.Service.State().Visit == nil {
				t.Fatalf("after a restart: %+v, %v", got, err)
			}
			req := terminal.ResolveRequest{Outcome: outcome, Who: "chief", Reason: "asked"}
			if outcome == "done" {
				r := v.Receipt
				req.SettlementID, req.Total, req.Fund, req.Account, req.Cash = "R1", opposite(r.Total), opposite(r.Fund), opposite(r.Account), opposite(r.Cash)
			}
			if _, err := b.Service.Resolve(ctx, got.Journal, req); err != nil {
				t.Fatal(err)
			}
			if got, err = b.Service.Visit(v.ID); err != nil {
				t.Fatal(err)
			}
			if outcome == "refused" {
				if got.State != terminal.VisitSettled || got.Journal != v.Journal || got.Receipt == nil || got.Receipt.SettlementID != v.Receipt.SettlementID || len(got.Refunds) != 0 {
					t.Errorf("%+v", got)
				}
				return
			}
			if got.State != terminal.VisitLines || len(got.Refunds) != 1 || got.Refunds[0].Settlement != "R1" || got.Refunds[0].Reason != "退药" ||
				got.Refunds[0].Total != opposite(v.Receipt.Total) || got.Refunds[0].Refunded != v.Receipt.SettlementID {
				t.Errorf("%+v", got)
			}
			if again, err := b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal}); err != nil || again.Settlement != "R1" {
				t.Errorf("%+v, %v", again, err)
			}
			agree(b)
		})
	}
}

// A refund that the journal has and the visit does not know of, because the
// daemon was killed in between.
func TestRefundIsLearnedFromTheJournal(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	v := settled(t, b)
	ctx := t.Context()
	e, err := b.Journal.Get(ctx, v.Journal)
	if err != nil {
		t.Fatal(err)
	}
	refunded, err := settlement.NewSettler(b.Upstream, b.Journal).Refund(ctx, settlement.Refunding{Entry: e.ID, Scope: settlement.Scope{SignNo: signNo(t, b)}})
	if err != nil {
		t.Fatal(err)
	}
	b = restarted(t, b)
	got, err := b.Service.Visit(v.ID)
	if err != nil || got.State != terminal.VisitLines || len(got.Refunds) != 1 || got.Refunds[0].Settlement != refunded.SetlID || got.Receipt != nil ||
		got.Refunds[0].Refunded != v.Receipt.SettlementID {
		t.Fatalf("%+v, %v", got, err)
	}
	again, err := b.Service.Refund(ctx, "", terminal.RefundRequest{Entry: e.ID})
	if err != nil || again.Settlement != refunded.SetlID {
		t.Errorf("%+v, %v", again, err)
	}
}

// What the retention has forgotten is refunded by its entry.
func TestEntryIsRefundedWithoutItsVisit(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	v := settled(t, b)
	ctx := t.Context()
	if err := b.Service.Abandon(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.Journal.Visits().Delete(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	b = restarted(t, b)
	refund, err := b.Service.Refund(ctx, "", terminal.RefundRequest{Entry: v.Journal, Reason: "x"})
	if err != nil || refund.Total != opposite(v.Receipt.Total) || refund.Refunded != v.Receipt.SettlementID || refund.Visit != v.ID || refund.Reason != "x" {
		t.Fatalf("%+v, %v", refund, err)
	}
	again, err := b.Service.Refund(ctx, "", terminal.RefundRequest{Entry: v.Journal})
	if err != nil || again.Settlement != refund.Settlement || again.Total != refund.Total {
		t.Errorf("once more: %+v, %v", again, err)
	}
	agree(b)
}

func TestRefundIsAskedForProperly(t *testing.T) {
	dir := t.TempDir()
	b := deskbed.New(t, deskbed.Options{Dir: dir})
	v := settled(t, b)
	ctx := t.Context()
	for name, c := range map[string]struct {
		visit string
		req   terminal.RefundRequest
		code  fault.Code
	}{
		"no entry":           {v.ID, terminal.RefundRequest{}, fault.FieldMissing},
		"no such entry":      {"", terminal.RefundRequest{Entry: 99}, fault.EntryUnknown},
		"another's visit":    {"V1", terminal.RefundRequest{Entry: v.Journal}, fault.EntryUnknown},
		"a very long reason": {v.ID, terminal.RefundRequest{Entry: v.Journal, Reason: strings.Repeat("长", 201)}, fault.BodyInvalid},
	} {
		if _, err := b.Service.Refund(ctx, c.visit, c.req); code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Two windows at once refund once.
	var both sync.WaitGroup
	refunds := make([]terminal.Refund, 2)
	for i := range refunds {
		both.Go(func() {
			var err error
			if refunds[i], err = b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal}); err != nil && code(err) != fault.InProgress {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if rows, _ := ledger(b); rows != 2 {
		t.Errorf("%d rows at the centre, refunds %+v", rows, refunds)
	}
	// A refund cannot be refunded.
	refund, err := b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: refund.Journal}); code(err) != fault.VisitState {
		t.Errorf("a refund was refunded: %v", err)
	}
	b = restarted(t, b, func(o *deskbed.Options) { o.Rights = []string{"settle"} })
	if _, err := b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal}); code(err) != fault.NotPermitted {
		t.Errorf("without the right: %v", err)
	}
}

// restarted ends a desk and its centre and starts them again on the same files.
func restarted(t *testing.T, b *deskbed.Bed, change ...func(*deskbed.Options)) *deskbed.Bed {
	t.Helper()
	b.Stop()
	b.HTTP.Close()
	if err := b.Center.Close(); err != nil {
		t.Fatal(err)
	}
	o := deskbed.Options{Dir: b.Dir}
	for _, c := range change {
		c(&o)
	}
	b = deskbed.New(t, o)
	b.Ready()
	return b
}

func signNo(t *testing.T, b *deskbed.Bed) string {
	t.Helper()
	no, err := b.Journal.SignNo(t.Context(), b.Config.Operator.No, settlement.FormatDate(time.Now()))
	if err != nil || no == "" {
		t.Fatal(no, err)
	}
	return no
}
