package settlement

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Contact returns when upstream last answered a transaction, as [Journal.SetContact]
// was told; zero in a new journal.
func (j *Journal) Contact(ctx context.Context) (time.Time, error) {
	var ms int64
	err := j.read.QueryRowContext(ctx, `SELECT value FROM mark WHERE name = 'contact'`).Scan(&ms)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("last contact: %w", unavailable(err))
	}
	return milli(ms), nil
}

// SetContact keeps that upstream has answered now.
func (j *Journal) SetContact(ctx context.Context) error {
	now := j.now().UnixMilli()
	err := j.commit(ctx, func(ctx context.Context, b *batch) error {
		return b.exec(ctx, `INSERT INTO mark (name, value) VALUES ('contact', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, now)
	})
	if err != nil {
		return fmt.Errorf("last contact: %w", err)
	}
	return nil
}
