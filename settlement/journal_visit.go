package settlement

import (
	"context"
	"fmt"
)

// Standing returns what of a visit is on its way, in doubt, or done and not
// taken back, the earliest first, without request and answer. What is closed
// otherwise is of no consequence to the visit. It is found by indexes, however
// long the journal is.
func (j *Journal) Standing(ctx context.Context, visit string) ([]Entry, error) {
	rows, err := j.read.QueryContext(ctx, `SELECT `+columns+` FROM entry WHERE id IN (
			SELECT id FROM entry WHERE visit = ?1 AND outcome IN ('intended', 'unknown')
			UNION
			SELECT id FROM entry WHERE visit = ?1
				AND outcome IN ('intended', 'unknown', 'done') AND reversed_by IS NULL AND undoes IS NULL
		) ORDER BY id`, visit)
	if err != nil {
		return nil, fmt.Errorf("standing of visit: %w", unavailable(err))
	}
	defer rows.Close()
	var list []Entry
	for rows.Next() {
		e, err := j.scan(rows)
		if err != nil {
			return nil, fmt.Errorf("standing of visit: %w", err)
		}
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("standing of visit: %w", unavailable(err))
	}
	return list, nil
}
