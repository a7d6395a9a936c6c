package settlement_test

import (
	"testing"
	"time"

	"onecard/fault"
	"onecard/settlement"
	"onecard/settlement/centersim"
)

// late has a settlement time out while the centre keeps its answer, which the
// client goes on waiting for.
func late(t *testing.T, order string) (*rescue, settlement.Settling, *settlement.Client) {
	t.Helper()
	t.Parallel() // it waits for a time-out
	r := newRescue(t, centersim.Config{})
	in := r.visit("OP1")
	r.order(order)
	hasty := r.newClient(2 * time.Second)
	hasty.TakeLate(r.resolver.Late)
	t.Cleanup(hasty.Close)
	if _, err := settlement.NewSettler(hasty, r.journal).Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown || fault.Of(err).Code != fault.AnswerLost {
		t.Fatalf("settle: %v", err)
	}
	return r, in, hasty
}

// runLate has late answers taken, and nothing asked.
func (r *rescue) runLate(what string, done func() bool) {
	r.t.Helper()
	r.runWith(r.resolver.RunLate, what, done)
}

func TestLateAnswer(t *testing.T) {
	for order, want := range map[string]settlement.Outcome{"2207:hang-after": settlement.Done, "2207:hang-before": settlement.Done} {
		t.Run(order, func(t *testing.T) {
			r, in, _ := late(t, order)
			if err := r.center.AwaitHanging(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			r.center.Release()
			r.runLate("the late answer", func() bool { return r.unknown() == 0 })
			e := r.entry(1)
			if e.Outcome != want || e.SetlID == "" || len(e.Answer) == 0 {
				t.Errorf("%v", e)
			}
			r.agree()
			attempts, err := r.journal.Attempts(t.Context(), 1)
			if err != nil || len(attempts) != 1 || attempts[0].Finding.Asked[0].Found != settlement.SaidLate {
				t.Errorf("%+v, %v", attempts, err)
			}
			if _, err := r.settler.Settle(t.Context(), in); fault.Of(err).Code != fault.VisitState {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// A late answer to what was decided otherwise is kept for a person.
func TestLateAnswerContradicts(t *testing.T) {
	r, _, _ := late(t, "2207:hang-after")
	ctx := t.Context()
	if err := r.journal.Decide(ctx, 1, settlement.Conclusion{Outcome: settlement.Refused}, "chief", "they said so"); err != nil {
		t.Fatal(err)
	}
	r.center.Release()
	r.runLate("the contradiction", func() bool {
		list, err := r.journal.Contradicted(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(list) == 1 && list[0] == 1
	})
	if e := r.entry(1); e.Outcome != settlement.Refused {
		t.Errorf("a person's decision was changed: %v", e)
	}
	told := r.resolutions()
	if len(told) != 1 || !told[0].Contradicts || told[0].Attempt.Finding.Reason != settlement.ReasonLateBooked {
		t.Errorf("%+v", told)
	}
	// It survives a restart, and is over when the centre has taken it back.
	r.stop()
	r.start()
	if list, err := r.journal.Contradicted(ctx); err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	if res, err := r.resolver.Resolve(ctx, 1, "0001"); err != nil || !res.Contradicts {
		t.Fatalf("%+v, %v", res, err)
	}
	signNo, err := r.signNo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	e, booked := r.entry(1), r.center.Settlements()[0]
	if _, err := r.client.Call(ctx, settlement.Request{Infno: "2208", InsuplcAdmdvs: "410100", SignNo: signNo, Input: map[string]settlement.RefundInput{
		"data": {SetlID: booked.SetlID, MdtrtID: e.MdtrtID, PsnNo: e.PsnNo},
	}}); err != nil {
		t.Fatal(err)
	}
	if res, err := r.resolver.Resolve(ctx, 1, "0001"); err != nil || res.Contradicts || res.Attempt.Finding.Reason != settlement.ReasonTakenBack {
		t.Fatalf("%+v, %v", res, err)
	}
	if list, err := r.journal.Contradicted(ctx); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if err := r.resolver.Acknowledge(ctx, 1, "chief", "x"); fault.Of(err).Code != fault.EntryClosed {
		t.Errorf("nothing to acknowledge: %v", err)
	}
}

// A client that is closed gives up what it still waits for, at once.
func TestLateAnswerIsGivenUpWithTheClient(t *testing.T) {
	r, _, hasty := late(t, "2207:hang-after")
	hasty.Close()
	if n := r.unknown(); n != 1 {
		t.Errorf("%d unknown", n)
	}
	r.center.Release()
}

// A person who decides while upstream is being asked is not overruled, and is
// told where upstream says otherwise.
func TestDecidedWhileAsked(t *testing.T) {
	for decision, contradicts := range map[settlement.Outcome]bool{settlement.Refused: true, settlement.Done: false} {
		t.Run(string(decision), func(t *testing.T) {
			r := newRescue(t, centersim.Config{})
			in := r.visit("OP1")
			r.order("2207:drop-after", "9101:hang-before")
			if _, err := r.settler.Settle(t.Context(), in); settlement.OutcomeOf(err) != settlement.Unknown {
				t.Fatal(err)
			}
			booked := r.center.Settlements()[0]
			type result struct {
				res settlement.Resolution
				err error
			}
			done := make(chan result, 1)
			go func() {
				res, err := r.resolver.Resolve(t.Context(), 1, "")
				done <- result{res, err}
			}()
			if err := r.center.AwaitHanging(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if _, err := r.resolver.Resolve(t.Context(), 1, "0001"); fault.Of(err).Code != fault.InProgress {
				t.Errorf("asked twice at once: %v", err)
			}
			c := settlement.Conclusion{Outcome: decision}
			if decision == settlement.Done {
				c.SetlID, c.Booked = booked.SetlID, &in.Agreed
			}
			if err := r.journal.Decide(t.Context(), 1, c, "chief", "they said so"); err != nil {
				t.Fatal(err)
			}
			r.center.Release()
			got := <-done
			if got.err != nil || got.res.Outcome != decision || got.res.Contradicts != contradicts {
				t.Errorf("%+v, %v", got.res, got.err)
			}
			list, err := r.journal.Contradicted(t.Context())
			if err != nil || (len(list) == 1) != contradicts {
				t.Errorf("%v, %v", list, err)
			}
			if e := r.entry(1); e.Outcome != decision {
				t.Errorf("%v", e)
			}
		})
	}
}
