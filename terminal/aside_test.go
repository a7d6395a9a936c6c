package terminal_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"onecard/fault"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

func ids(list []terminal.Visit) (out []string) {
	for _, v := range list {
		out = append(out, v.ID)
	}
	return out
}

// A visit set aside leaves the desk to others and goes on when it is resumed,
// with its own card or none, never with another's.
func TestVisitIsSetAsideAndResumed(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	ctx, step := t.Context(), must(t)
	first := b.Tried()
	if _, err := b.Service.OpenVisit(ctx, terminal.VisitRequest{}); code(err) != fault.VisitState {
		t.Fatalf("two visits at one desk: %v", err)
	}
	if v := step(b.Service.SetAside(ctx, first.ID)); !v.SetAside || v.State != terminal.VisitTried {
		t.Fatalf("%+v", v)
	}
	if s := b.Service.State(); s.Visit != nil {
		t.Errorf("still shown: %+v", s.Visit)
	}
	second := step(b.Service.OpenVisit(ctx, terminal.VisitRequest{}))
	list, err := b.Service.Visits(ctx, terminal.OpenVisits, 50)
	if err != nil || !slices.Equal(ids(list), []string{second.ID, first.ID}) {
		t.Errorf("open: %v, %v", ids(list), err)
	}
	if list, err = b.Service.Visits(ctx, terminal.VisitTried, 50); err != nil || !slices.Equal(ids(list), []string{first.ID}) {
		t.Errorf("tried: %v, %v", ids(list), err)
	}
	if list, err = b.Service.Visits(ctx, terminal.OpenVisits, 1); err != nil || len(list) != 1 {
		t.Errorf("one: %v, %v", ids(list), err)
	}
	for _, bad := range []struct {
		state string
		limit int
	}{{"asleep", 10}, {"", 10}, {"open", 0}, {"open", 201}} {
		if _, err := b.Service.Visits(ctx, bad.state, bad.limit); code(err) != fault.BodyInvalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := b.Service.Resume(ctx, first.ID, terminal.ResumeRequest{}); code(err) != fault.VisitState {
		t.Errorf("resumed over another: %v", err)
	}
	if err := b.Service.Abandon(ctx, second.ID); err != nil {
		t.Fatal(err)
	}
	b.Remove()
	b.Await("an empty reader", func(s terminal.State) bool { return s.Readers[0].State == terminal.ReaderEmpty })
	b.Insert("2.0")
	b.Ready()
	if _, err := b.Service.Resume(ctx, first.ID, terminal.ResumeRequest{}); code(err) != fault.VisitCardDiffers {
		t.Errorf("resumed with another's card: %v", err)
	}
	b.Remove()
	b.Await("an empty reader", func(s terminal.State) bool { return s.Readers[0].State == terminal.ReaderEmpty })
	v := step(b.Service.Resume(ctx, first.ID, terminal.ResumeRequest{}))
	if v.SetAside || b.Service.State().Visit == nil {
		t.Errorf("%+v", v)
	}
	if _, err := b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)); code(err) != fault.NoCard {
		t.Errorf("settled without the card: %v", err)
	}
	b.Insert("")
	b.Ready()
	v = step(b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)))
	if _, err := b.Service.SetAside(ctx, v.ID); code(err) != fault.VisitState {
		t.Errorf("a settled visit was set aside: %v", err)
	}
	// A receipt that was put away is shown again.
	if err := b.Service.Abandon(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if v = step(b.Service.Resume(ctx, v.ID, terminal.ResumeRequest{})); v.Receipt == nil || b.Service.State().Visit == nil {
		t.Errorf("%+v", v)
	}
	if _, err := b.Service.Resume(ctx, second.ID, terminal.ResumeRequest{}); code(err) != fault.VisitState {
		t.Errorf("a visit that was given up goes on: %v", err)
	}
}

// A visit begun yesterday by another process is settled today, with today's
// sign-in.
func TestVisitSpansDays(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	options := func(o *deskbed.Options) { o.Now, o.Center.Now = now, now }
	o := deskbed.Options{Center: centersim.Config{}}
	options(&o)
	b := deskbed.New(t, o)
	b.Ready()
	ctx, step := t.Context(), must(t)
	first := b.Tried()
	yesterday := signNo(t, b)
	step(b.Service.SetAside(ctx, first.ID))
	ahead.Store(int64(30 * time.Hour))
	b = restarted(t, b, options)
	if s := b.Service.State(); s.Visit != nil {
		t.Errorf("a visit set aside is shown: %+v", s.Visit)
	}
	list, err := b.Service.Visits(ctx, terminal.OpenVisits, 50)
	if err != nil || !slices.Equal(ids(list), []string{first.ID}) {
		t.Fatalf("open: %v, %v", ids(list), err)
	}
	v := step(b.Service.Resume(ctx, first.ID, terminal.ResumeRequest{}))
	v = step(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: append(deskbed.Lines(), terminal.Line{
		Code: "002501010150000-250101015", Name: "血细胞分析", Quantity: "1", Price: "18.00", Date: now().In(terminal.ChinaTime).Format("2006-01-02"),
	})}))
	v = step(b.Service.Trial(ctx, v.ID))
	v = step(b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)))
	if v.State != terminal.VisitSettled || v.Receipt.Total != "429.60" {
		t.Errorf("%+v", v)
	}
	today, err := b.Journal.SignNo(ctx, b.Config.Operator.No, now().In(terminal.ChinaTime).Format("2006-01-02"))
	if err != nil || today == "" || today == yesterday {
		t.Errorf("signed in as %q yesterday, %q today, %v", yesterday, today, err)
	}
	// And refunded tomorrow.
	ahead.Store(int64(54 * time.Hour))
	b = restarted(t, b, options)
	if _, err := b.Service.Refund(ctx, "", terminal.RefundRequest{Entry: v.Journal}); err != nil {
		t.Error(err)
	}
	reconciled(b)
}
