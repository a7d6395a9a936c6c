package terminal_test

import (
	"strings"
	"testing"

	"onecard/fault"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// Whatever the centre answers to the cancellation, the desk is free again, and
// stays so after a restart.
func TestAbandonFreesTheDesk(t *testing.T) {
	for _, kind := range []centersim.FaultKind{centersim.DropAfter, centersim.DropBefore, centersim.Refuse} {
		b := deskbed.New(t, deskbed.Options{})
		b.Ready()
		v := b.Tried()
		if err := b.Center.Order(centersim.Fault{Infno: "2202", Kind: kind, Text: "不可撤销"}); err != nil {
			t.Fatal(err)
		}
		if err := b.Service.Abandon(t.Context(), v.ID); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if s := b.Service.State(); s.Visit != nil {
			t.Errorf("%s: still shown: %+v", kind, s.Visit)
		}
		if _, err := b.Service.OpenVisit(t.Context(), terminal.VisitRequest{}); err != nil {
			t.Errorf("%s: the next visit: %v", kind, err)
		}
	}
}

func TestOneVisitIsUnderWayAtADesk(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	first := b.Tried()
	_, err := b.Service.OpenVisit(t.Context(), terminal.VisitRequest{})
	if code(err) != fault.VisitState || !strings.Contains(terminal.Explain(err).Detail, first.ID) {
		t.Fatalf("a second visit: %v", err)
	}
	if _, err := b.Service.Settle(t.Context(), first.ID, deskbed.Agreed(first)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.OpenVisit(t.Context(), terminal.VisitRequest{}); err != nil {
		t.Fatalf("after the first is settled: %v", err)
	}
}

// Whoever has a settlement in doubt is not settled again without a word.
func TestEarlierDoubtIsSaid(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	first := b.Tried()
	if first.Earlier != nil {
		t.Fatalf("nothing is in doubt yet: %+v", first.Earlier)
	}
	if err := b.Center.Order(centersim.Fault{Infno: "2207", Kind: centersim.DropAfter}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Settle(t.Context(), first.ID, deskbed.Agreed(first)); code(err) != fault.AnswerLost {
		t.Fatal(err)
	}
	second, err := b.Service.OpenVisit(t.Context(), terminal.VisitRequest{})
	if err != nil || second.Earlier == nil || second.Earlier.Code != fault.UnknownUnresolved {
		t.Fatalf("the second visit: %+v, %v", second.Earlier, err)
	}
}

func TestDismissedVisitStaysAway(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	v := b.Tried()
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); err != nil {
		t.Fatal(err)
	}
	if err := b.Service.Abandon(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	dir := b.Dir
	b.Stop()
	b.HTTP.Close()
	if err := b.Center.Close(); err != nil {
		t.Fatal(err)
	}
	again := deskbed.New(t, deskbed.Options{Dir: dir})
	again.Ready()
	if s := again.Service.State(); s.Visit != nil {
		t.Fatalf("the last patient's receipt is shown again: %+v", s.Visit)
	}
}

// A gateway that does not take our credentials answers all the same: health says
// so until a call succeeds.
func TestRefusedCredentialsAreAConditionOfHealth(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	if err := b.Center.Order(centersim.Fault{Infno: "1101", Kind: centersim.HTTPBefore, Number: 401, Count: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.OpenVisit(t.Context(), terminal.VisitRequest{}); code(err) != fault.UpstreamCredentials {
		t.Fatalf("open: %v", err)
	}
	for _, c := range b.Service.Doctor(t.Context()) {
		if c.Name == "upstream" && (c.OK || c.Fault.Code != fault.UpstreamCredentials) {
			t.Errorf("doctor: %+v", c)
		}
	}
	if _, err := b.Service.OpenVisit(t.Context(), terminal.VisitRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, h := range b.Service.State().Health {
		if h.Name == terminal.HealthUpstream && !h.OK {
			t.Errorf("health after a success: %+v", h)
		}
	}
}
