package settlement

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// A Retention says how long is kept what is personal and not evidence. Entries,
// their chain and what people decided are kept for ever; of the rest, what is
// still to be done is never removed, however old. Zero keeps for ever.
type Retention struct {
	Visits   time.Duration // since a visit was last changed
	Finished []string      // the terminal's names of the states in which a visit has ended
	Outbox   time.Duration // since an item was sent, dropped or void
	Attempts time.Duration // at entries that are decided
}

// Removed counts what a step of retention has removed.
type Removed struct{ Visits, Items, Attempts int64 }

func (r Removed) any() bool { return r.Visits+r.Items+r.Attempts > 0 }

// retainStep bounds what one commit removes, of each kind: a settlement that comes
// meanwhile waits for no more.
const retainStep = 200

// Retain removes the oldest of what has been kept long enough, at most some
// hundred rows in one commit. more says that there may be some left.
//
// A visit stays while one of its settlements is on its way or in doubt, or its
// lane of the outbox is not closed.
func (j *Journal) Retain(ctx context.Context, r Retention) (removed Removed, more bool, err error) {
	now := j.now()
	before := func(keep time.Duration) int64 { return now.Add(-keep).UnixMilli() }
	type removal struct {
		count *int64
		query string
		args  []any
	}
	var list []removal
	if r.Visits > 0 && len(r.Finished) > 0 {
		args := []any{before(r.Visits)}
		for _, state := range r.Finished {
			args = append(args, state)
		}
		list = append(list, removal{&removed.Visits, `visit WHERE id IN (SELECT id FROM visit AS v
			WHERE v.updated_at < ? AND v.state IN (?` + strings.Repeat(`, ?`, len(r.Finished)-1) + `)
			AND NOT EXISTS (SELECT 1 FROM entry AS e WHERE e.visit = v.id AND e.outcome IN ('intended', 'unknown'))
			AND NOT EXISTS (SELECT 1 FROM outbox AS o WHERE o.lane = v.id AND o.state IN ('held', 'waiting', 'sending', 'dead'))
			LIMIT %d)`, args})
	}
	if r.Outbox > 0 {
		list = append(list, removal{&removed.Items, `outbox WHERE id IN (SELECT id FROM outbox
			WHERE state IN ('sent', 'dropped', 'void') AND updated_at < ? LIMIT %d)`, []any{before(r.Outbox)}})
	}
	if r.Attempts > 0 {
		list = append(list, removal{&removed.Attempts, `attempt WHERE (entry, n) IN (SELECT a.entry, a.n FROM attempt AS a JOIN entry AS e ON e.id = a.entry
			WHERE a.at < ? AND e.outcome IN ('done', 'refused') LIMIT %d)`, []any{before(r.Attempts)}})
	}
	// What there is to remove is looked for without the journal's one writer: the
	// disk is written to, and waited for, only where there is something.
	var due []removal
	for _, l := range list {
		var n int64
		if err := j.read.QueryRowContext(ctx, `SELECT count(*) FROM `+fmt.Sprintf(l.query, 1), l.args...).Scan(&n); err != nil {
			return Removed{}, false, fmt.Errorf("retain: %w", unavailable(err))
		}
		if n > 0 {
			due = append(due, l)
		}
	}
	if len(due) == 0 {
		return Removed{}, false, nil
	}
	err = j.commit(ctx, func(ctx context.Context, b *batch) error {
		for _, l := range due {
			n, err := b.affect(ctx, `DELETE FROM `+fmt.Sprintf(l.query, retainStep), l.args...)
			if err != nil {
				return err
			}
			*l.count = n
		}
		return nil
	})
	if err != nil {
		return Removed{}, false, fmt.Errorf("retain: %w", err)
	}
	return removed, removed.any(), nil
}
