package settlement

import (
	"errors"
	"strings"
	"testing"

	"onecard/fault"
)

// inDoubt makes entries of unknown outcome, with the amounts agreed.
func inDoubt(t *testing.T, j *Journal, visits ...string) (ids []int64) {
	t.Helper()
	for _, visit := range visits {
		id := intend(t, j, anEntry(visit))
		conclude(t, j, id, Conclusion{Outcome: Unknown})
		ids = append(ids, id)
	}
	return ids
}

func decideDone(t *testing.T, j *Journal, id int64, setlID string, a Amounts) error {
	t.Helper()
	return j.Decide(t.Context(), id, Conclusion{Outcome: Done, SetlID: setlID, Booked: &a}, "chief", "the centre's list")
}

// wantDecision checks that a decision is refused with words for a person.
func wantDecision(t *testing.T, name string, err error, words string) {
	t.Helper()
	var told interface{ FaultDetail() string }
	if !errors.Is(err, ErrDecision) || fault.Of(err).Code != fault.DecisionInvalid || !errors.As(err, &told) || !strings.Contains(told.FaultDetail(), words) {
		t.Errorf("%s: %v", name, err)
	}
}

func TestDecisionAmountsAddUp(t *testing.T) {
	j := newJournal(t)
	first := inDoubt(t, j, "V1")[0]
	refund := func(a Amounts) Amounts { return Amounts{-a.Total, -a.Fund, -a.Account, -a.Cash} }
	wrong := []struct {
		name, words string
		a           Amounts
	}{
		{"too much together", "together more than the total", Amounts{10000, 8467, 1534, 0}},
		{"too much together, all of it large", "together more than the total", Amounts{10000, 10000, 10000, 10000}},
		{"too much cash", "together more than the total", Amounts{10000, 6000, 2500, 1501}},
		{"more than there is", "together more than the total", Amounts{10000, 10001, 0, 0}},
		{"mixed signs", "the sign of the total", Amounts{10000, 6000, 5500, -1500}},
		{"nothing", "must not be 0", Amounts{}},
		{"another total", "the total is 99.00 and 100.00 was sent", Amounts{9900, 6000, 2500, 1400}},
		{"a larger total", "taken back at the centre", Amounts{10001, 6000, 2500, 1500}},
	}
	for _, x := range wrong {
		wantDecision(t, x.name, decideDone(t, j, first, "S1", x.a), x.words)
	}
	wantDecision(t, "negative", decideDone(t, j, first, "S1", refund(agreed)), "the sign of the amounts")
	if e := outcome(t, j, first); e != Unknown {
		t.Fatalf("refused decisions left %s", e)
	}
	// Another split is possible, also one of which the hospital bears a part.
	if err := decideDone(t, j, first, "S1", Amounts{10000, 5000, 2500, 2000}); err != nil {
		t.Fatal(err)
	}
	back := intend(t, j, refundOf(t, j, first, "2208", "R1"))
	conclude(t, j, back, Conclusion{Outcome: Unknown})
	for _, x := range wrong {
		wantDecision(t, "refund, "+x.name, decideDone(t, j, back, "S2", refund(x.a)), "")
	}
	if err := decideDone(t, j, back, "S2", Amounts{-10000, -5000, -2500, -2000}); err != nil {
		t.Error(err)
	}
}

// A number is decided once, whether the journal has it from an answer, from a
// person or from an earlier run.
func TestDecisionNumberIsAnotherEntrys(t *testing.T) {
	path := t.TempDir() + "/journal.db"
	j := openJournal(t, path)
	ids := inDoubt(t, j, "V1", "V2", "V3")
	if err := decideDone(t, j, ids[1], "S2", agreed); err != nil {
		t.Fatal(err)
	}
	wantDecision(t, "decided before", decideDone(t, j, ids[0], "S2", agreed), "entry 2 has this setl_id already")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, path)
	wantDecision(t, "of an earlier run", decideDone(t, j, ids[0], "S2", agreed), "entry 2 has")
	// Long ago, when nothing of it is remembered.
	j.claimed.by, j.claimed.order = nil, nil
	wantDecision(t, "later, forgotten", decideDone(t, j, ids[0], "S2", agreed), "entry 2 has")
	wantDecision(t, "earlier, forgotten", decideDone(t, j, ids[2], "S2", agreed), "entry 2 has")
	if len(j.claimed.by) != 0 || len(j.claimed.order) != 0 {
		t.Errorf("refused decisions hold a number: %v", j.claimed.order)
	}
	// On its way: the answer is here and not yet in the journal.
	way := anEntry("V4")
	wayID := intend(t, j, way)
	if err := j.claim(t.Context(), "S4", way.MsgID); err != nil {
		t.Fatal(err)
	}
	wantDecision(t, "on its way", decideDone(t, j, ids[0], "S4", agreed), "entry 4 has")
	conclude(t, j, wayID, Conclusion{Outcome: Refused})
	if err := decideDone(t, j, ids[0], "S4", agreed); err != nil {
		t.Errorf("a number of nobody: %v", err)
	}
	if err := j.claim(t.Context(), "S4", "another"); !errors.Is(err, ErrMismatch) {
		t.Errorf("an answer with a number that a person decided: %v", err)
	}
	// A decision that was refused for its total leaves the number to its owner.
	wantDecision(t, "total", decideDone(t, j, ids[2], "S5", Amounts{9900, 6000, 2500, 1400}), "was sent")
	if err := j.claim(t.Context(), "S5", "its owner"); err != nil {
		t.Errorf("a number that was not decided is claimed: %v", err)
	}
}

// What reconciliation marked as not booked has no number any more.
func TestDecisionNumberOfWhatIsNotBooked(t *testing.T) {
	j := newJournal(t)
	ids := inDoubt(t, j, "V1", "V2")
	if err := decideDone(t, j, ids[0], "S2", agreed); err != nil {
		t.Fatal(err)
	}
	wantDecision(t, "misread", decideDone(t, j, ids[1], "S2", agreed), "entry 1 has")
	e, err := j.Get(t.Context(), ids[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.markNotBooked(t.Context(), e, map[string]any{}, Order{Who: "chief", Reason: "in no statement"}); err != nil {
		t.Fatal(err)
	}
	if err := decideDone(t, j, ids[1], "S2", agreed); err != nil {
		t.Error(err)
	}
	if _, err := j.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}
