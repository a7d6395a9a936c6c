package settlement

import (
	"context"
	"fmt"
	"sync"
)

// Bounds of what is remembered of setl_ids: an index over all of them would cost
// a page in every commit, and a centre that repeats one repeats a recent one.
const (
	claimsKept   = 10000
	claimsLoaded = 500 // of an earlier run
)

// claims are the setl_ids of the latest settlements, each with the msgid that it
// was answered to.
type claims struct {
	mu     sync.Mutex
	loaded bool
	by     map[string]string
	order  []string // the earliest first
}

// claim notes that a setl_id is the one of a msgid. One that was another's is
// ErrMismatch: two settlements cannot have the same number, so the answer tells
// nothing about what was booked.
func (j *Journal) claim(ctx context.Context, setlID, msgID string) error {
	c := &j.claimed
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := j.knowClaims(ctx); err != nil {
		return err
	}
	if by, taken := c.by[setlID]; taken {
		if by != msgID {
			return fmt.Errorf("setl_id is another settlement's: %w", ErrMismatch)
		}
		return nil
	}
	c.add(setlID, msgID)
	return nil
}

func (c *claims) add(setlID, msgID string) {
	if c.by == nil {
		c.by = make(map[string]string)
	}
	if len(c.order) >= claimsKept {
		delete(c.by, c.order[0])
		c.order = c.order[1:]
	}
	c.by[setlID] = msgID
	c.order = append(c.order, setlID)
}

// knowClaims loads the claims of an earlier run once.
func (j *Journal) knowClaims(ctx context.Context) error {
	if j.claimed.loaded {
		return nil
	}
	err := j.loadClaims(ctx)
	j.claimed.loaded = err == nil
	return err
}

func (j *Journal) loadClaims(ctx context.Context) error {
	rows, err := j.read.QueryContext(ctx, `SELECT setl_id, msgid FROM (
		SELECT id, setl_id, msgid FROM entry ORDER BY id DESC LIMIT ?) WHERE setl_id <> '' ORDER BY id`, claimsLoaded)
	if err != nil {
		return fmt.Errorf("latest settlements: %w", unavailable(err))
	}
	defer rows.Close()
	for rows.Next() {
		var setlID, msgID string
		if err := rows.Scan(&setlID, &msgID); err != nil {
			return fmt.Errorf("latest settlements: %w", unavailable(err))
		}
		if _, twice := j.claimed.by[setlID]; !twice {
			j.claimed.add(setlID, msgID)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("latest settlements: %w", unavailable(err))
	}
	return nil
}
