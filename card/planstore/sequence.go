package planstore

import (
	"context"
	"fmt"
)

// NextTerminalSequence draws the next purchase number of a terminal (12 digits),
// from 1: durable before it returns, so that none is ever drawn twice. A number
// that was drawn and not used is a gap, which harms nobody.
func (s *Store) NextTerminalSequence(ctx context.Context, terminal string) (uint32, error) {
	var n int64
	err := s.db.QueryRowContext(context.WithoutCancel(ctx), `INSERT INTO terminal (number, sequence) VALUES (?1, 1)
		ON CONFLICT (number) DO UPDATE SET sequence = sequence + 1 RETURNING sequence`, terminal).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("terminal sequence: %w", unavailable(err))
	}
	return uint32(n), nil
}
