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
			return fmt.Errorf("%s: 1 to %d bytes: %w", text.name, text.limit, ErrDecision)
		}
	}
	return nil
}

// Decide closes an entry of unknown outcome as a person found it to be
// upstream: Done with its setl_id and the amounts booked, or Refused. Who
// decided and why becomes part of the chain. An entry that is on its way
// (ErrInProgress) or closed (ErrEntryClosed) is nobody's to decide.
func (j *Journal) Decide(ctx context.Context, id int64, c Conclusion, who, reason string) error {
	err := checkDecision(who, reason)
	switch {
	case err != nil:
	case c.Outcome == Refused && c.SetlID == "" && c.Booked == nil:
	case c.Outcome == Done && c.SetlID != "" && len(c.SetlID) <= 30 && c.Booked != nil:
		b := *c.Booked
		if b.Total < 0 { // of an entry that takes another back
			b = Amounts{-b.Total, -b.Fund, -b.Account, -b.Cash}
		}
		if b.Total <= 0 || b.Fund < 0 || b.Account < 0 || b.Cash < 0 || b.Fund > b.Total || b.Account > b.Total || b.Cash > b.Total {
			err = fmt.Errorf("the amounts booked: %w", ErrDecision)
		}
	default:
		err = fmt.Errorf("done with setl_id and amounts, or refused without: %w", ErrDecision)
	}
	if err != nil {
		return fmt.Errorf("decide entry %d: %w", id, err)
	}
	by := &Decision{EntryID: id, At: milli(j.now().UnixMilli()), Who: who, Reason: reason}
	c.Note = "decided by a person"
	err = j.commit(ctx, func(ctx context.Context, b *batch) error {
		return b.conclude(ctx, conclusion{id, by.At.UnixMilli(), c}, by)
	})
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
