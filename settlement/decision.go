package settlement

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"onecard/fault"
)

// ErrDecision is what a decision lacks that cannot be taken.
var ErrDecision = fault.New(fault.DecisionInvalid, "who decides, why, and what was booked must be said")

// A Decision is what a person decided of an entry, who that was, and why.
type Decision struct {
	EntryID int64
	At      time.Time
	Who     string // at most 100 bytes
	Reason  string // at most 1000 bytes
}

// checkDecision refuses a decision that nobody answers for.
func checkDecision(who, reason string) error {
	for _, text := range []struct {
		name, value string
		limit       int
	}{{"who decides", who, 100}, {"why", reason, 1000}} {
		if strings.TrimSpace(text.value) == "" || len(text.value) > text.limit || !utf8.ValidString(text.value) {
			return decisionError(fmt.Sprintf("%s: 1 to %d bytes", text.name, text.limit))
		}
	}
	return nil
}

// A decisionError says which rule a decision breaks. Its words are shown.
type decisionError string

func (e decisionError) Error() string       { return string(e) + ": " + ErrDecision.Error() }
func (e decisionError) FaultDetail() string { return string(e) }
func (decisionError) Unwrap() error         { return ErrDecision }

// checkConclusion refuses what no entry can have become.
func checkConclusion(c Conclusion) error {
	switch {
	case c.Outcome == Refused && c.SetlID == "" && c.Booked == nil:
		return nil
	case c.Outcome != Done || c.SetlID == "" || len(c.SetlID) > 30 || c.Booked == nil:
		return decisionError("done with setl_id (1 to 30 bytes) and amounts, or refused without")
	}
	b := *c.Booked
	if b.Total < 0 { // of an entry that takes another back
		b = Amounts{-b.Total, -b.Fund, -b.Account, -b.Cash}
	}
	switch {
	case b.Total <= 0:
		return decisionError("the total must not be 0")
	case b.Fund < 0 || b.Account < 0 || b.Cash < 0:
		return decisionError("fund, account and cash must have the sign of the total")
	case b.Fund > b.Total || b.Account > b.Total || b.Cash > b.Total || b.Fund > b.Total-b.Account-b.Cash:
		// Less is possible: the hospital may bear a part.
		return decisionError("fund, account and cash are together more than the total")
	}
	return nil
}

// checkAmounts refuses amounts of another transaction than the entry's, of which
// the total is as it was sent.
func checkAmounts(booked Amounts, total Fen, undoes bool) error {
	if (booked.Total < 0) != undoes {
		return decisionError("the sign of the amounts booked: what takes a settlement back is negative, and nothing else")
	}
	if total != 0 && booked.Total != total {
		return decisionError(fmt.Sprintf(
			"the total is %s and %s was sent: a settlement of another total is to be taken back at the centre, and the entry decided as refused", booked.Total, total))
	}
	return nil
}

// Decide closes an entry of unknown outcome as a person found it to be
// upstream: Done with its setl_id and the amounts booked, or Refused. Who
// decided and why becomes part of the chain. An entry that is on its way
// (ErrInProgress) or closed (ErrEntryClosed) is nobody's to decide. Amounts that
// do not add up, another total than was sent, and a setl_id that is another
// entry's are ErrDecision, with words for the person.
func (j *Journal) Decide(ctx context.Context, id int64, c Conclusion, who, reason string) error {
	err := checkDecision(who, reason)
	if err == nil {
		err = checkConclusion(c)
	}
	forget := func() {}
	if err == nil && c.Outcome == Done {
		forget, err = j.claimDecided(ctx, id, c)
	}
	if err == nil {
		by := &Decision{EntryID: id, At: milli(j.now().UnixMilli()), Who: who, Reason: reason}
		c.Note = "decided by a person"
		err = j.commit(ctx, func(ctx context.Context, b *batch) error {
			return b.conclude(ctx, conclusion{id, by.At.UnixMilli(), c}, by)
		})
		if err != nil {
			forget() // the number may be another entry's after all
		}
	}
	if err != nil {
		return fmt.Errorf("decide entry %d: %w", id, err)
	}
	return nil
}

// Decision returns who decided an entry; ok is false where nobody had to.
func (j *Journal) Decision(ctx context.Context, id int64) (d Decision, ok bool, err error) {
	var at int64
	err = j.read.QueryRowContext(ctx, `SELECT d.entry, d.at, d.who, d.reason FROM entry e JOIN decision d ON d.seq = e.seq WHERE e.id = ?`, id).
		Scan(&d.EntryID, &at, &d.Who, &d.Reason)
	if errors.Is(err, sql.ErrNoRows) {
		return Decision{}, false, nil
	}
	if err != nil {
		return Decision{}, false, fmt.Errorf("decision: %w", unavailable(err))
	}
	d.At = milli(at)
	return d, true, nil
}
