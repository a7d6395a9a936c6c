package settlement

import (
	"context"
	"fmt"
)

// Totals are the counts of a day's entries by outcome, and the sums of those
// that are done: what a person is to have collected and the fund to pay. What
// 2601 took back was never done, so it is in no sum.
type Totals struct {
	Intended, Done, Refused, Unknown int
	Amounts                          Amounts // of outcome done
}

// Totals adds up a day (yyyy-MM-dd in China).
func (j *Journal) Totals(ctx context.Context, day string) (Totals, error) {
	var t Totals
	rows, err := j.read.QueryContext(ctx, `SELECT outcome, count(*), sum(total), sum(fund), sum(account), sum(cash)
		FROM entry WHERE day = ? AND NOT (outcome = 'done' AND infno = '2601') GROUP BY outcome`, day)
	if err != nil {
		return t, fmt.Errorf("totals: %w", unavailable(err))
	}
	defer rows.Close()
	for rows.Next() {
		var outcome Outcome
		var n int
		var a Amounts
		if err := rows.Scan(&outcome, &n, &a.Total, &a.Fund, &a.Account, &a.Cash); err != nil {
			return t, fmt.Errorf("totals: %w", unavailable(err))
		}
		switch outcome {
		case Intended:
			t.Intended = n
		case Refused:
			t.Refused = n
		case Unknown:
			t.Unknown = n
		case Done:
			t.Done, t.Amounts = n, a
		}
	}
	if err := rows.Err(); err != nil {
		return t, fmt.Errorf("totals: %w", unavailable(err))
	}
	return t, nil
}
