package settlement

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"testing"
)

// refundOf is an entry that takes another back.
func refundOf(t testing.TB, j *Journal, id int64, infno, msgid string) Entry {
	t.Helper()
	e, err := j.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	a := e.Agreed
	return Entry{
		Visit: e.Visit, Infno: infno, MsgID: msgid, Undoes: id, MdtrtID: e.MdtrtID, PsnNo: e.PsnNo, Holder: e.Holder,
		Agreed: Amounts{-a.Total, -a.Fund, -a.Account, -a.Cash}, Request: []byte(`{"infno":"` + infno + `"}`),
	}
}

func conclude(t testing.TB, j *Journal, id int64, c Conclusion) {
	t.Helper()
	if err := j.Conclude(t.Context(), id, c); err != nil {
		t.Fatal(err)
	}
}

// A refund that is done takes the settlement back in the same commit, once, and
// the visit can be settled anew.
func TestRefundTakesTheSettlementBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := openJournal(t, path)
	first := intend(t, j, anEntry("V1"))
	if _, err := j.Intend(t.Context(), refundOf(t, j, first, "2208", "R0")); !errors.Is(err, ErrInProgress) {
		t.Errorf("refund of what is on its way: %v", err)
	}
	conclude(t, j, first, Conclusion{Outcome: Done, SetlID: "S1"})
	if _, err := j.Intend(t.Context(), refundOf(t, j, first, infnoReversal, "R0")); !errors.Is(err, ErrNotRefundable) {
		t.Errorf("reversal of what is done: %v", err)
	}
	other := refundOf(t, j, first, "2208", "R0")
	other.Visit = "V2"
	if _, err := j.Intend(t.Context(), other); !errors.Is(err, ErrNotRefundable) {
		t.Errorf("refund by another visit: %v", err)
	}
	again := anEntry("V1")
	again.MsgID = "second"

	// Refused: the settlement stands.
	refund := intend(t, j, refundOf(t, j, first, "2208", "R1"))
	if _, err := j.Intend(t.Context(), again); err == nil {
		t.Error("settled while its refund is on its way")
	}
	conclude(t, j, refund, Conclusion{Outcome: Refused})
	if _, err := j.Intend(t.Context(), again); !errors.Is(err, ErrSettled) {
		t.Errorf("settled twice: %v", err)
	}

	// Unknown, then done.
	refund = intend(t, j, refundOf(t, j, first, "2208", "R2"))
	if _, err := j.Intend(t.Context(), refundOf(t, j, first, "2208", "R3")); !errors.Is(err, ErrInProgress) {
		t.Errorf("refunded twice: %v", err)
	}
	conclude(t, j, refund, Conclusion{Outcome: Unknown})
	if _, err := j.Intend(t.Context(), refundOf(t, j, first, "2208", "R3")); !errors.Is(err, ErrUnknownUnresolved) {
		t.Errorf("refunded while a refund is in doubt: %v", err)
	}
	if e, open, err := j.Unresolved(t.Context(), "V1"); err != nil || !open || e.ID != refund || e.Undoes != first {
		t.Errorf("unresolved: %v %v %v", e, open, err)
	}
	booked := Amounts{-10000, -6000, -2500, -1500}
	conclude(t, j, refund, Conclusion{Outcome: Done, SetlID: "S2", Booked: &booked})
	if e, err := j.Get(t.Context(), first); err != nil || e.Outcome != Done || e.ReversedBy != refund || e.Total != 10000 {
		t.Errorf("the settlement taken back: %+v, %v", e, err)
	}
	if _, err := j.Intend(t.Context(), refundOf(t, j, first, "2208", "R4")); !errors.Is(err, ErrRefunded) {
		t.Errorf("refunded again: %v", err)
	}
	totals, err := j.Totals(t.Context(), FormatDate(testTime))
	if err != nil || totals.Amounts != (Amounts{}) {
		t.Errorf("totals: %+v, %v", totals, err)
	}
	second := intend(t, j, again)
	conclude(t, j, second, Conclusion{Outcome: Done, SetlID: "S3"})
	conclude(t, j, intend(t, j, refundOf(t, j, second, "2208", "R5")), Conclusion{Outcome: Done, SetlID: "S4", Booked: &booked})
	if v, err := j.Verify(t.Context()); err != nil || v.Entries != 5 {
		t.Errorf("%+v, %v", v, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, path)
	if e, err := j.Get(t.Context(), second); err != nil || e.ReversedBy == 0 {
		t.Errorf("reopened: %+v, %v", e, err)
	}
}

// 2601 takes back what nobody knows the outcome of: then it is known not to
// stand, and the visit is free.
func TestReversalResolvesTheUnknown(t *testing.T) {
	j := newJournal(t)
	first := intend(t, j, anEntry("V1"))
	conclude(t, j, first, Conclusion{Outcome: Unknown})
	if _, err := j.Intend(t.Context(), refundOf(t, j, first, "2208", "R0")); !errors.Is(err, ErrUnknownUnresolved) {
		t.Errorf("refund of what is in doubt: %v", err)
	}
	e := refundOf(t, j, first, infnoReversal, "R1")
	e.Agreed = Amounts{}
	reversal := intend(t, j, e)
	if open, _, err := j.Unresolved(t.Context(), "V1"); err != nil || open.ID != first {
		t.Errorf("unresolved: %v %v", open, err)
	}
	conclude(t, j, reversal, Conclusion{Outcome: Done, SetlID: "R"})
	if e, err := j.Get(t.Context(), first); err != nil || e.Outcome != Refused || e.ReversedBy != reversal {
		t.Errorf("reversed: %+v, %v", e, err)
	}
	if _, open, err := j.Unresolved(t.Context(), "V1"); open || err != nil {
		t.Errorf("still open: %v", err)
	}
	again := anEntry("V1")
	again.MsgID = "second"
	intend(t, j, again)
	if _, err := j.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// A person's decision of a refund has negative amounts, of a settlement positive.
func TestDecisionsHaveTheSignOfTheEntry(t *testing.T) {
	j := newJournal(t)
	first := intend(t, j, anEntry("V1"))
	conclude(t, j, first, Conclusion{Outcome: Unknown})
	plus, minus := agreed, Amounts{-agreed.Total, -agreed.Fund, -agreed.Account, -agreed.Cash}
	decide := func(id int64, a Amounts) error {
		return j.Decide(t.Context(), id, Conclusion{Outcome: Done, SetlID: fmt.Sprint("S", id), Booked: &a}, "clerk 1", "seen at the centre")
	}
	if err := decide(first, minus); !errors.Is(err, ErrDecision) {
		t.Errorf("a negative settlement: %v", err)
	}
	if err := decide(first, plus); err != nil {
		t.Fatal(err)
	}
	refund := intend(t, j, refundOf(t, j, first, "2208", "R1"))
	conclude(t, j, refund, Conclusion{Outcome: Unknown})
	if err := decide(refund, plus); !errors.Is(err, ErrDecision) {
		t.Errorf("a positive refund: %v", err)
	}
	if err := decide(refund, minus); err != nil {
		t.Fatal(err)
	}
	if e, err := j.Get(t.Context(), first); err != nil || e.ReversedBy != refund {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := j.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// A journal of version 2 is extended; its chain goes on.
func TestExtendVersion2(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := openJournal(t, path)
	first := intend(t, j, anEntry("V1"))
	conclude(t, j, first, Conclusion{Outcome: Done, SetlID: "S1"})
	doubt := intend(t, j, anEntry("V2"))
	// What version 2 had not.
	var statements []string
	for _, table := range regexp.MustCompile(`CREATE TABLE (\w+)`).FindAllStringSubmatch(work, -1) {
		statements = append(statements, "DROP TABLE "+table[1])
	}
	for _, statement := range append(statements,
		`DROP TRIGGER entry_sent`,
		`DROP INDEX entry_unresolved`, `DROP INDEX entry_standing`, `DROP INDEX entry_mdtrt`, `DROP INDEX entry_undoing`,
		`ALTER TABLE entry DROP COLUMN undoes`,
		`CREATE UNIQUE INDEX entry_unresolved ON entry (visit) WHERE outcome IN ('intended', 'unknown')`,
		`CREATE UNIQUE INDEX entry_standing ON entry (visit, infno)
		   WHERE outcome IN ('intended', 'unknown', 'done') AND reversed_by IS NULL`,
		`CREATE UNIQUE INDEX entry_mdtrt ON entry (mdtrt_id) WHERE outcome IN ('intended', 'unknown') AND mdtrt_id <> ''`,
		`PRAGMA user_version = 2`,
	) {
		if _, err := j.write.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(statement, err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, path)
	if outcome(t, j, first) != Done || outcome(t, j, doubt) != Unknown {
		t.Error("the entries changed")
	}
	conclude(t, j, intend(t, j, refundOf(t, j, first, "2208", "R1")), Conclusion{Outcome: Done, SetlID: "S2"})
	if v, err := j.Verify(t.Context()); err != nil || v.Entries != 3 {
		t.Errorf("%+v, %v", v, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	openJournal(t, path)
}
