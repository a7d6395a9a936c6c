package settlement

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// An OutboxVerdict is what a person wants done with an item.
type OutboxVerdict string

// The verdicts.
const (
	OutboxRetry OutboxVerdict = "retry" // send it again, from the beginning of its attempts
	OutboxDrop  OutboxVerdict = "drop"  // never send it
)

// An OutboxDecision is what a person decided of an item.
type OutboxDecision struct {
	ItemID  int64
	Kind    string
	Once    string
	Verdict OutboxVerdict
	At      time.Time
	Who     string // at most 100 bytes
	Reason  string // at most 1000 bytes
}

// Retry puts a dead letter back, due at once, or makes one that waits due. What
// the item's lane holds behind it goes on when it was sent.
func (o *Outbox) Retry(ctx context.Context, id int64, who, reason string) error {
	return o.decide(ctx, id, OutboxRetry, who, reason, `UPDATE outbox SET state = 'waiting', attempts = 0, misses = 0, queued_at = ?2, updated_at = ?2, due_at = ?2
		WHERE id = ?1 AND state IN ('waiting', 'dead')`)
}

// Drop closes an item unsent: a person answers for what it stood for. One that
// is on its way cannot be dropped.
func (o *Outbox) Drop(ctx context.Context, id int64, who, reason string) error {
	return o.decide(ctx, id, OutboxDrop, who, reason, `UPDATE outbox SET state = 'dropped', updated_at = ?2 WHERE id = ?1 AND state IN ('held', 'waiting', 'dead')`)
}

// decide changes an item and writes down who wanted it, in one commit.
func (o *Outbox) decide(ctx context.Context, id int64, verdict OutboxVerdict, who, reason, query string) error {
	err := checkDecision(who, reason)
	if err == nil {
		now := o.j.now().UnixMilli()
		err = o.j.commit(ctx, func(ctx context.Context, b *batch) error {
			var kind, once string
			switch err := b.tx.QueryRowContext(ctx, `SELECT kind, once FROM outbox WHERE id = ?`, id).Scan(&kind, &once); {
			case errors.Is(err, sql.ErrNoRows):
				return ErrOutboxUnknown
			case err != nil:
				return unavailable(err)
			}
			n, err := b.affect(ctx, query, id, now)
			if err != nil {
				return err
			}
			if n == 0 {
				return ErrOutboxState
			}
			return b.exec(ctx, `INSERT INTO outbox_decision (item, kind, once, verdict, at, who, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)`,
				id, kind, once, string(verdict), now, who, reason)
		})
	}
	if err != nil {
		return fmt.Errorf("%s outbox item %d: %w", verdict, id, err)
	}
	return nil
}

// Decisions returns what people decided of an item, the earliest first, also
// after it was removed.
func (o *Outbox) Decisions(ctx context.Context, id int64) (list []OutboxDecision, err error) {
	rows, err := o.j.read.QueryContext(ctx, `SELECT item, kind, once, verdict, at, who, reason FROM outbox_decision WHERE item = ? ORDER BY id`, id)
	if err != nil {
		return nil, fmt.Errorf("decisions of outbox item %d: %w", id, unavailable(err))
	}
	defer rows.Close()
	for rows.Next() {
		var d OutboxDecision
		var at int64
		if err := rows.Scan(&d.ItemID, &d.Kind, &d.Once, &d.Verdict, &at, &d.Who, &d.Reason); err != nil {
			return nil, fmt.Errorf("decisions of outbox item %d: %w", id, unavailable(err))
		}
		d.At = milli(at)
		list = append(list, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("decisions of outbox item %d: %w", id, unavailable(err))
	}
	return list, nil
}
