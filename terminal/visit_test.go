package terminal_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onecard/card/cardsim"
	"onecard/fault"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func code(err error) fault.Code {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

func TestVisitOfEveryCardVersion(t *testing.T) {
	for _, version := range []string{"1.0", "2.0", "3.0"} {
		t.Run(version, func(t *testing.T) {
			b := deskbed.New(t, deskbed.Options{Image: version})
			r := b.Ready()
			if r.State != terminal.ReaderReady || !r.Card.Authenticated || r.Card.Commands > 7 {
				t.Fatalf("reader: %+v, card: %+v", r, r.Card)
			}
			v := b.Tried()
			if v.State != terminal.VisitTried || v.Total != v.Trial.Total {
				t.Fatalf("after the trial: %+v", v)
			}
			v, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v))
			if err != nil {
				t.Fatal(err)
			}
			if v.State != terminal.VisitSettled || v.Receipt == nil || v.Receipt.Total != v.Total {
				t.Fatalf("after the settlement: %+v", v)
			}
			booked := b.Center.Settlements()
			if len(booked) != 1 || booked[0].SetlID != v.Receipt.SettlementID {
				t.Fatalf("the centre booked %+v, the receipt says %s", booked, v.Receipt.SettlementID)
			}
			day, err := b.Service.Journal(t.Context(), "", "", 10)
			if err != nil || len(day.Entries) != 1 || day.Entries[0].Outcome != "done" || day.Totals.Total != v.Total {
				t.Fatalf("journal: %+v, %v", day, err)
			}
			again, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v))
			if err != nil || again.Receipt.SettlementID != v.Receipt.SettlementID || len(b.Center.Settlements()) != 1 {
				t.Fatalf("settled again: %+v, %v", again.Receipt, err)
			}
		})
	}
}

// Whatever goes wrong on the line: the journal says what is known, and nothing
// is ever booked twice.
func TestSettlementThatGoesWrong(t *testing.T) {
	for _, c := range []struct {
		name    string
		fault   centersim.Fault
		code    fault.Code
		state   string
		outcome string
		booked  int
	}{
		{"answer lost after booking", centersim.Fault{Kind: centersim.DropAfter}, fault.AnswerLost, terminal.VisitUnknown, "unknown", 1},
		{"connection lost before booking", centersim.Fault{Kind: centersim.DropBefore}, fault.AnswerLost, terminal.VisitUnknown, "unknown", 0},
		{"cut in the middle", centersim.Fault{Kind: centersim.Cut}, fault.AnswerLost, terminal.VisitUnknown, "unknown", 1},
		{"truncated as if complete", centersim.Fault{Kind: centersim.Truncate}, fault.AnswerLost, terminal.VisitUnknown, "unknown", 1},
		{"maintenance page", centersim.Fault{Kind: centersim.HTMLAfter}, fault.AnswerLost, terminal.VisitUnknown, "unknown", 1},
		{"gateway failure", centersim.Fault{Kind: centersim.HTTPAfter, Number: 502}, fault.AnswerLost, terminal.VisitUnknown, "unknown", 1},
		{"sums disagree", centersim.Fault{Kind: centersim.Identity, Number: 1}, fault.SumsDisagree, terminal.VisitUnknown, "unknown", 1},
		{"another's answer", centersim.Fault{Kind: centersim.WrongSetl}, fault.AnswerMismatch, terminal.VisitUnknown, "unknown", 1},
		{"refused", centersim.Fault{Kind: centersim.Refuse, Text: "待遇已冻结"}, fault.UpstreamRefused, terminal.VisitTried, "refused", 0},
		{"turned away", centersim.Fault{Kind: centersim.HTTPBefore, Number: 401}, fault.UpstreamCredentials, terminal.VisitTried, "refused", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := deskbed.New(t, deskbed.Options{})
			b.Ready()
			v := b.Tried()
			c.fault.Infno = "2207"
			if err := b.Center.Order(c.fault); err != nil {
				t.Fatal(err)
			}
			_, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v))
			if code(err) != c.code {
				t.Fatalf("settle: %v (%s), want %s", err, code(err), c.code)
			}
			got, err := b.Service.Visit(v.ID)
			if err != nil || got.State != c.state || got.Receipt != nil || got.Fault == nil || got.Fault.Code != c.code {
				t.Fatalf("visit: %+v, %v", got, err)
			}
			if c.fault.Kind == centersim.Refuse && got.Fault.Detail != "待遇已冻结" {
				t.Errorf("the centre's words are lost: %+v", got.Fault)
			}
			day, err := b.Service.Journal(t.Context(), "", c.outcome, 10)
			if err != nil || len(day.Entries) != 1 || day.Entries[0].Fault.Code != c.code {
				t.Fatalf("journal: %+v, %v", day, err)
			}
			if n := len(b.Center.Settlements()); n != c.booked {
				t.Fatalf("the centre booked %d, want %d", n, c.booked)
			}
			_, err = b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v))
			if c.state == terminal.VisitUnknown {
				if code(err) != fault.UnknownUnresolved || len(b.Center.Settlements()) != c.booked {
					t.Fatalf("settled again over an unknown outcome: %v", err)
				}
				if s := b.Service.State(); s.Journal.Unknown != 1 {
					t.Errorf("state counts %+v", s.Journal)
				}
			} else if err != nil || len(b.Center.Settlements()) != 1 {
				t.Fatalf("a refused settlement cannot be tried again: %v", err)
			}
		})
	}
}

func TestUpstreamDownBeforeSending(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	v := b.Tried()
	b.HTTP.CloseClientConnections()
	b.HTTP.Listener.Close()
	_, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v))
	if code(err) != fault.UpstreamUnreachable {
		t.Fatalf("settle: %v", err)
	}
	got, err := b.Service.Visit(v.ID)
	if err != nil || got.State != terminal.VisitTried {
		t.Fatalf("visit: %+v, %v", got, err)
	}
	day, err := b.Service.Journal(t.Context(), "", "", 10)
	if err != nil || day.Totals.Unknown != 0 || day.Totals.Done != 0 || day.Totals.Refused != 1 {
		t.Fatalf("journal: %+v, %v", day, err)
	}
	b.Await("upstream is down", func(s terminal.State) bool {
		for _, h := range s.Health {
			if h.Name == terminal.HealthUpstream && !h.OK {
				return true
			}
		}
		return false
	})
}

func TestFeeLineRefusedAndCorrected(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	ctx := t.Context()
	v, err := b.Service.OpenVisit(ctx, terminal.VisitRequest{})
	if err != nil {
		t.Fatal(err)
	}
	wrong := append(deskbed.Lines(), terminal.Line{Code: "NOSUCHCODE", Name: "目录外", Quantity: "1", Price: "1"})
	if _, err = b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: wrong}); err != nil {
		t.Fatal(err)
	}
	if _, err = b.Service.Trial(ctx, v.ID); code(err) != fault.FeeLineRefused {
		t.Fatalf("trial: %v", err)
	}
	if f := terminal.Explain(err); f.Detail == "" {
		t.Error("the centre's words are missing")
	}
	if _, err = b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: deskbed.Lines()}); err != nil {
		t.Fatal(err)
	}
	if v, err = b.Service.Trial(ctx, v.ID); err != nil || v.State != terminal.VisitTried {
		t.Fatalf("trial after the correction: %+v, %v", v, err)
	}
	// Changed once more after a trial: what is uploaded is cancelled first.
	if _, err = b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: deskbed.Lines()[:2]}); err != nil {
		t.Fatal(err)
	}
	if v, err = b.Service.Trial(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if v, err = b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)); err != nil || v.Receipt.Total != "217.60" {
		t.Fatalf("settle: %+v, %v", v.Receipt, err)
	}
}

func TestLostUploadIsTakenBackFirst(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	ctx := t.Context()
	v, err := b.Service.OpenVisit(ctx, terminal.VisitRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: deskbed.Lines()}); err != nil {
		t.Fatal(err)
	}
	if err := b.Center.Order(centersim.Fault{Infno: "2204", Kind: centersim.DropAfter}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Trial(ctx, v.ID); code(err) != fault.NoAnswer {
		t.Fatalf("trial: %v", err)
	}
	if v, err = b.Service.Trial(ctx, v.ID); err != nil {
		t.Fatal(err)
	}
	if v, err = b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)); err != nil || v.Receipt == nil {
		t.Fatal(err)
	}
}

func TestTwoWindowsSettleOnce(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	v := b.Tried()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)) })
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		switch {
		case err == nil:
			done++
		case code(err) != fault.InProgress:
			t.Errorf("the slower window was told %v", err)
		}
	}
	if done == 0 || len(b.Center.Settlements()) != 1 {
		t.Fatalf("%d succeeded, the centre booked %d", done, len(b.Center.Settlements()))
	}
}

func TestSettleNeedsTheVisitsCardAndTheAgreedAmounts(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	v := b.Tried()
	for _, agreed := range []terminal.Agreed{{}, {Total: "1.00", Cash: v.Trial.Cash}, {Total: v.Trial.Total, Cash: "0.01"}, {Total: "x", Cash: "y"}} {
		_, err := b.Service.Settle(t.Context(), v.ID, terminal.SettleRequest{Agreed: agreed})
		if c := code(err); c != fault.AgreedDiffers && c != fault.AmountInvalid {
			t.Errorf("agreed %+v: %v", agreed, err)
		}
	}
	b.Remove()
	b.Await("no card", func(s terminal.State) bool { return s.Readers[0].State == terminal.ReaderEmpty })
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); code(err) != fault.NoCard {
		t.Errorf("without a card: %v", err)
	}
	b.Insert("2.0")
	b.Ready()
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); code(err) != fault.VisitCardDiffers {
		t.Errorf("with another card: %v", err)
	}
	if len(b.Center.Settlements()) != 0 {
		t.Fatal("something was booked")
	}
	b.Remove()
	b.Insert("3.0")
	b.Await("the card is back", func(s terminal.State) bool {
		return s.Readers[0].Card != nil && s.Readers[0].Card.Version == "3.00"
	})
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); err != nil {
		t.Errorf("with the visit's card again: %v", err)
	}
}

func TestVisitOutlivesTheDaemon(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	v := b.Tried()
	dir := b.Dir
	b.Stop()
	b.HTTP.Close()
	if err := b.Center.Close(); err != nil {
		t.Fatal(err)
	}
	again := deskbed.New(t, deskbed.Options{Dir: dir})
	again.Ready()
	if s := again.Service.State(); s.Visit == nil || s.Visit.ID != v.ID || s.Visit.State != terminal.VisitTried {
		t.Fatalf("after the restart: %+v", s.Visit)
	}
	got, err := again.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v))
	if err != nil || got.Receipt == nil {
		t.Fatalf("settle after the restart: %v", err)
	}
}

func TestUnknownOutlivesTheDaemon(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	v := b.Tried()
	if err := b.Center.Order(centersim.Fault{Infno: "2207", Kind: centersim.DropAfter}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); err == nil {
		t.Fatal("settled")
	}
	dir := b.Dir
	b.Stop()
	b.HTTP.Close()
	if err := b.Center.Close(); err != nil {
		t.Fatal(err)
	}
	again := deskbed.New(t, deskbed.Options{Dir: dir})
	again.Ready()
	if s := again.Service.State(); s.Visit == nil || s.Visit.State != terminal.VisitUnknown || s.Visit.Receipt != nil {
		t.Fatalf("after the restart: %+v", s.Visit)
	}
	if _, err := again.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); code(err) != fault.UnknownUnresolved {
		t.Fatalf("settle after the restart: %v", err)
	}
}

func TestAbandonTakesBackWhatStandsUpstream(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	v := b.Tried()
	if err := b.Service.Abandon(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	if s := b.Service.State(); s.Visit != nil {
		t.Errorf("still shown: %+v", s.Visit)
	}
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); code(err) != fault.VisitState {
		t.Errorf("an abandoned visit: %v", err)
	}
	if _, err := b.Service.Visit("V0"); code(err) != fault.VisitUnknown {
		t.Errorf("no such visit: %v", err)
	}
}

func TestUnauthenticatedCardsAreReadAndNotSettled(t *testing.T) {
	t.Run("no HSM configured", func(t *testing.T) {
		b := deskbed.New(t, deskbed.Options{Image: "2.0", NoHSM: true})
		r := b.Ready()
		if r.Card == nil || r.Card.Authenticated || r.Card.Holder == nil || r.Card.AuthFault.Code != fault.NoKeyHolder {
			t.Fatalf("card: %+v", r.Card)
		}
		if _, err := b.Service.OpenVisit(t.Context(), terminal.VisitRequest{}); code(err) != fault.NotAuthenticated {
			t.Fatalf("open: %v", err)
		}
	})
	t.Run("not genuine", func(t *testing.T) {
		b := deskbed.New(t, deskbed.Options{Quirks: []cardsim.Quirk{cardsim.QuirkNotGenuine}})
		r := b.Ready()
		if r.Card == nil || r.Card.Authenticated || r.Card.AuthFault.Code != fault.CardNotGenuine {
			t.Fatalf("card: %+v", r.Card)
		}
		if _, err := b.Service.OpenVisit(t.Context(), terminal.VisitRequest{}); code(err) != fault.CardNotGenuine {
			t.Fatalf("open: %v", err)
		}
	})
	t.Run("HSM down and back", func(t *testing.T) {
		b := deskbed.New(t, deskbed.Options{Image: "none"})
		b.StopHSM()
		b.Insert("3.0")
		r := b.Ready()
		if r.Card == nil || r.Card.Authenticated || r.Card.AuthFault.Code != fault.HSMUnreachable || r.Card.Version != "3.00" {
			t.Fatalf("card: %+v", r.Card)
		}
		b.StartHSM()
		b.Await("the card is authenticated by itself", func(s terminal.State) bool {
			c := s.Readers[0].Card
			return c != nil && c.Authenticated && c.Holder != nil
		})
		v, err := b.Service.OpenVisit(t.Context(), terminal.VisitRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if v.State != terminal.VisitRegistered {
			t.Fatalf("visit after the HSM came back: %+v", v)
		}
	})
}

func TestLinesAreChecked(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	ctx := t.Context()
	v, err := b.Service.OpenVisit(ctx, terminal.VisitRequest{})
	if err != nil {
		t.Fatal(err)
	}
	good := deskbed.Lines()[0]
	with := func(change func(*terminal.Line)) []terminal.Line {
		l := good
		change(&l)
		return []terminal.Line{good, l}
	}
	for name, lines := range map[string][]terminal.Line{
		"too many":       make([]terminal.Line, 501),
		"no code":        with(func(l *terminal.Line) { l.Code = "" }),
		"no name":        with(func(l *terminal.Line) { l.Name = "" }),
		"price":          with(func(l *terminal.Line) { l.Price = "1,00" }),
		"negative price": with(func(l *terminal.Line) { l.Price = "-1" }),
		"no quantity":    with(func(l *terminal.Line) { l.Quantity = "0" }),
		"huge":           with(func(l *terminal.Line) { l.Price, l.Quantity = "9999999999", "999999999999" }),
		"amount":         with(func(l *terminal.Line) { l.Amount = "0.01" }),
	} {
		_, err := b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: lines})
		if code(err) != fault.FeeLineInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: []terminal.Line{}}); err != nil || got.State != terminal.VisitRegistered {
		t.Errorf("the last line taken away: %+v, %v", got, err)
	}
	if _, err := b.Service.Trial(ctx, v.ID); code(err) != fault.VisitState {
		t.Errorf("trial without lines: %v", err)
	}
	if _, err := b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: []terminal.Line{good}, Diagnoses: []terminal.Named{{Code: "I10"}}}); code(err) != fault.FieldMissing {
		t.Errorf("diagnosis without name: %v", err)
	}
}

func TestNothingPersonalIsLoggedOrPublished(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	if err := b.Service.VerifyPIN(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	doc, err := b.Service.Identity(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	v := b.Tried()
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); err != nil {
		t.Fatal(err)
	}
	log := b.Log.String()
	state := mustJSON(t, b.Service.State())
	for name, secret := range map[string]string{
		"PIN": deskbed.PIN, "name": doc.Holder.Name, "ID number": doc.Holder.SocialSecurityNumber,
		"card number": doc.Card.Number, "identification code": doc.Card.IdentificationCode,
	} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds the %s", name)
		}
		if name != "PIN" && strings.Contains(state, secret) {
			t.Errorf("the state holds the %s", name)
		}
	}
	if !strings.Contains(log, `audit`) {
		t.Error("showing the identity was not audited")
	}
}

func TestStoppedServiceRefuses(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	b.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := b.Service.Identity(ctx, ""); err == nil {
		t.Fatal("a stopped service answers")
	}
}
