package terminal_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"onecard/fault"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// soon has what is in doubt found out about at once.
func soon() *terminal.ResolveConfig {
	return &terminal.ResolveConfig{
		Intervals: []terminal.Pause{terminal.Pause(10 * time.Millisecond), terminal.Pause(50 * time.Millisecond)}, Attempts: 5,
		SettledAfter: terminal.Pause(300 * time.Millisecond),
	}
}

func resolved(s terminal.State) bool { return s.Unknown.Count == 0 && s.Journal.UnknownTotal == 0 }

// A lost answer is found out about without a person, and the visit learns.
func TestLostAnswerResolvesItself(t *testing.T) {
	for order, state := range map[string]string{
		"2207:drop-after": terminal.VisitSettled, "2207:http-after=504": terminal.VisitSettled, "2207:identity=2": terminal.VisitSettled,
		"2207:drop-before": terminal.VisitTried,
	} {
		t.Run(order, func(t *testing.T) {
			b := deskbed.New(t, deskbed.Options{Resolve: soon()})
			b.Ready()
			v := b.Tried()
			f, err := centersim.ParseFault(order)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Center.Order(f); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); err == nil {
				t.Fatal("no answer, and no failure")
			}
			b.Await("the visit learned", func(s terminal.State) bool { return resolved(s) && s.Visit != nil && s.Visit.State == state })
			got, err := b.Service.Visit(v.ID)
			if err != nil {
				t.Fatal(err)
			}
			if state == terminal.VisitTried {
				if got.Fault == nil || got.Fault.Code != fault.NeverArrived || got.Receipt != nil {
					t.Fatalf("never arrived: %+v", got)
				}
				if got, err = b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); err != nil {
					t.Fatalf("settle again: %v", err)
				}
			}
			booked := b.Center.Settlements()
			if len(booked) != 1 || got.Receipt == nil || booked[0].SetlID != got.Receipt.SettlementID || got.Receipt.Total != v.Total || got.Receipt.Cash != v.Trial.Cash || got.Receipt.Hospital != v.Trial.Hospital {
				t.Fatalf("booked %+v, receipt %+v", booked, got.Receipt)
			}
			// A second click gets the same receipt, and nothing is booked.
			again, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v))
			if err != nil || again.Receipt.SettlementID != got.Receipt.SettlementID || len(b.Center.Settlements()) != 1 {
				t.Fatalf("again: %+v, %v", again.Receipt, err)
			}
			view, err := b.Service.EntryView(t.Context(), 1)
			if err != nil || view.Inquiry == nil || view.Inquiry.State != terminal.InquiryClosed || len(view.Inquiry.Attempts) == 0 {
				t.Fatalf("inquiry: %+v, %v", view.Inquiry, err)
			}
			if strings.Contains(b.Log.String(), "张三") {
				t.Error("a name in the log")
			}
		})
	}
}

// However many windows click while it is found out: it is booked once.
func TestClicksWhileResolving(t *testing.T) {
	for _, order := range []centersim.FaultKind{centersim.DropAfter, centersim.DropBefore} {
		t.Run(string(order), func(t *testing.T) {
			b := deskbed.New(t, deskbed.Options{Resolve: soon()})
			b.Ready()
			v := b.Tried()
			if err := b.Center.Order(centersim.Fault{Infno: "2207", Kind: order}); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			receipts := make([]string, 4)
			for i := range receipts {
				wg.Go(func() {
					for receipts[i] == "" && t.Context().Err() == nil {
						got, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v))
						if err == nil {
							receipts[i] = got.Receipt.SettlementID
							return
						}
						switch c := code(err); c {
						case fault.AnswerLost, fault.UnknownUnresolved, fault.InProgress, fault.VisitState:
							// In doubt, or another window is at it: wait for news, then click again.
							b.Await("news of the visit", func(s terminal.State) bool {
								return s.Visit != nil && (s.Visit.State == terminal.VisitSettled || s.Visit.State == terminal.VisitTried)
							})
						default:
							t.Errorf("window %d: %v", i, err)
							return
						}
					}
				})
			}
			wg.Wait()
			booked := b.Center.Settlements()
			if len(booked) != 1 {
				t.Fatalf("the centre booked %d", len(booked))
			}
			for i, setl := range receipts {
				if setl != booked[0].SetlID {
					t.Errorf("window %d has receipt %q, the centre booked %q", i, setl, booked[0].SetlID)
				}
			}
		})
	}
}

// An answer that comes after its time-out is matched: nobody has to ask.
func TestLateAnswerSettles(t *testing.T) {
	t.Parallel() // it waits for a time-out
	b := deskbed.New(t, deskbed.Options{Answer: 4 * time.Second})
	b.Ready()
	v := b.Tried()
	if err := b.Center.Order(centersim.Fault{Infno: "2207", Kind: centersim.HangAfter}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); code(err) != fault.AnswerLost {
		t.Fatal(err)
	}
	b.Center.Release()
	s := b.Await("settled by the late answer", func(s terminal.State) bool { return resolved(s) && s.Visit.State == terminal.VisitSettled })
	if booked := b.Center.Settlements(); len(booked) != 1 || s.Visit.Receipt == nil || s.Visit.Receipt.SettlementID != booked[0].SetlID {
		t.Errorf("%+v, %+v", booked, s.Visit.Receipt)
	}
}

// What a person decided before the late answer came stands, and is said loudly.
func TestLateAnswerContradictsAPerson(t *testing.T) {
	t.Parallel() // it waits for a time-out
	b := deskbed.New(t, deskbed.Options{Answer: 4 * time.Second})
	b.Ready()
	v := b.Tried()
	if err := b.Center.Order(centersim.Fault{Infno: "2207", Kind: centersim.HangAfter}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); code(err) != fault.AnswerLost {
		t.Fatal(err)
	}
	if _, err := b.Service.Resolve(t.Context(), 1, terminal.ResolveRequest{Outcome: "refused", Who: "chief", Reason: "they said so"}); err != nil {
		t.Fatal(err)
	}
	b.Center.Release()
	b.Await("the contradiction is shown", func(s terminal.State) bool {
		c, there := condition(s, terminal.HealthUnresolved)
		return there && !c.OK && c.Fault.Code == fault.LateContradicts && len(s.Unknown.Contradicted) == 1
	})
	view, err := b.Service.EntryView(t.Context(), 1)
	if err != nil || view.Outcome != "refused" || view.Inquiry.State != terminal.InquiryContradicted || view.Inquiry.Todo == nil {
		t.Fatalf("%+v, %v", view, err)
	}
	// Asked again, the centre still has it.
	d, err := b.Service.Ask(t.Context(), 1)
	if err != nil || d.Inquiry.State != terminal.InquiryContradicted {
		t.Fatalf("%+v, %v", d.Inquiry, err)
	}
	if _, err := b.Service.Resolve(t.Context(), 1, terminal.ResolveRequest{Outcome: terminal.Acknowledged, Who: "chief"}); code(err) != fault.DecisionInvalid {
		t.Errorf("without a reason: %v", err)
	}
	if d, err = b.Service.Resolve(t.Context(), 1, terminal.ResolveRequest{Outcome: terminal.Acknowledged, Who: "chief", Reason: "the centre took it back"}); err != nil || d.Inquiry.State != terminal.InquiryClosed {
		t.Fatalf("%+v, %v", d.Inquiry, err)
	}
	b.Await("well again", func(s terminal.State) bool {
		c, _ := condition(s, terminal.HealthUnresolved)
		return c.OK && len(s.Unknown.Contradicted) == 0
	})
}

// What asking cannot resolve goes to a person, who can ask again and decide.
func TestGivenUpToAPerson(t *testing.T) {
	config := soon()
	b := deskbed.New(t, deskbed.Options{Resolve: config})
	b.Ready()
	v := b.Tried()
	if err := b.Center.Order(
		centersim.Fault{Infno: "2207", Kind: centersim.DropAfter},
		centersim.Fault{Infno: "3202", Kind: centersim.Refuse, Text: "对账未开放", Count: centersim.Always},
	); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); code(err) != fault.AnswerLost {
		t.Fatal(err)
	}
	s := b.Await("given up", func(s terminal.State) bool { return s.Unknown.GivenUp == 1 })
	b.Await("and said", func(s terminal.State) bool {
		c, there := condition(s, terminal.HealthUnresolved)
		return there && !c.OK && c.Fault.Code == fault.ResolveGivenUp
	})
	if s.Unknown.Oldest == nil || s.Unknown.Attempts < int64(config.Attempts) {
		t.Errorf("%+v", s.Unknown)
	}
	view, err := b.Service.EntryView(t.Context(), 1)
	if err != nil || view.Inquiry.State != terminal.InquiryGivenUp || view.Inquiry.Todo == nil || view.Inquiry.Next != nil {
		t.Fatalf("%+v, %v", view.Inquiry, err)
	}
	for _, text := range []string{view.Inquiry.Todo.Chinese, view.Inquiry.Todo.English} {
		for _, needed := range []string{view.MsgID, view.MdtrtID, view.Total, "onecard journal resolve 1"} {
			if !strings.Contains(text, needed) {
				t.Errorf("%q lacks %q", text, needed)
			}
		}
	}
	// The centre makes statements again: one more question is enough.
	b.Center.ClearFaults()
	d, err := b.Service.Ask(t.Context(), 1)
	if err != nil || d.Outcome != "done" || d.Inquiry.State != terminal.InquiryClosed || d.Inquiry.Attempts[len(d.Inquiry.Attempts)-1].By != "0001" {
		t.Fatalf("%+v, %v", d, err)
	}
	b.Await("well again", func(s terminal.State) bool {
		c, _ := condition(s, terminal.HealthUnresolved)
		return c.OK && resolved(s) && s.Visit.State == terminal.VisitSettled
	})
	if _, err := b.Service.Ask(t.Context(), 1); code(err) != fault.EntryClosed {
		t.Errorf("asked about a closed entry: %v", err)
	}
	if _, err := b.Service.Ask(t.Context(), 99); code(err) != fault.EntryUnknown {
		t.Errorf("no such entry: %v", err)
	}
}

// Where nothing decides and 2601 is permitted, it is taken back, and the visit may
// be settled again.
func TestLostAnswerIsReversed(t *testing.T) {
	config := soon()
	config.Reverse = new(bool)
	*config.Reverse = true
	b := deskbed.New(t, deskbed.Options{Resolve: config})
	b.Ready()
	v := b.Tried()
	if err := b.Center.Order(
		centersim.Fault{Infno: "2207", Kind: centersim.DropAfter},
		centersim.Fault{Infno: "3202", Kind: centersim.Refuse, Text: "对账未开放", Count: centersim.Always},
	); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); code(err) != fault.AnswerLost {
		t.Fatal(err)
	}
	s := b.Await("reversed", func(s terminal.State) bool {
		return resolved(s) && s.Visit != nil && s.Visit.State == terminal.VisitTried
	})
	if s.Visit.Fault == nil || s.Visit.Fault.Code != fault.Reversed {
		t.Errorf("%+v", s.Visit.Fault)
	}
	got, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v))
	if err != nil {
		t.Fatalf("settle again: %v", err)
	}
	stands := 0
	for _, x := range b.Center.Settlements() {
		if x.Refunds == "" && x.RefundedBy == "" {
			stands++
			if x.SetlID != got.Receipt.SettlementID {
				t.Errorf("%s stands, the receipt says %s", x.SetlID, got.Receipt.SettlementID)
			}
		}
	}
	if stands != 1 {
		t.Errorf("%d stand at the centre", stands)
	}
}

// Only who may resolve asks and decides.
func TestResolvingIsARight(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{Rights: []string{terminal.RightSettle}})
	b.Ready()
	v := b.Tried()
	if err := b.Center.Order(centersim.Fault{Infno: "2207", Kind: centersim.DropAfter}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); code(err) != fault.AnswerLost {
		t.Fatal(err)
	}
	if _, err := b.Service.Ask(t.Context(), 1); code(err) != fault.NotPermitted {
		t.Error(err)
	}
	if _, err := b.Service.Resolve(t.Context(), 1, terminal.ResolveRequest{Outcome: "refused", Who: "x", Reason: "y"}); code(err) != fault.NotPermitted {
		t.Error(err)
	}
	if view, err := b.Service.EntryView(t.Context(), 1); err != nil || view.Inquiry.State != terminal.InquiryManual {
		t.Errorf("%+v, %v", view.Inquiry, err)
	}
}

// The next process resolves what this one left in doubt, as soon as the centre
// can be reached.
func TestResolvedAfterARestart(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{})
	b.Ready()
	v := b.Tried()
	if err := b.Center.Order(centersim.Fault{Infno: "2207", Kind: centersim.DropAfter}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.Settle(t.Context(), v.ID, deskbed.Agreed(v)); code(err) != fault.AnswerLost {
		t.Fatal(err)
	}
	b.Stop()
	if err := b.Center.Close(); err != nil {
		t.Fatal(err)
	}
	next := deskbed.New(t, deskbed.Options{Dir: b.Dir, Resolve: soon()})
	next.Await("resolved", func(s terminal.State) bool {
		return resolved(s) && s.Visit != nil && s.Visit.State == terminal.VisitSettled
	})
	if booked := next.Center.Settlements(); len(booked) != 1 {
		t.Errorf("%+v", booked)
	}
}
