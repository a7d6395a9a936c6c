package settlement

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of the search for a setl_id that a person gave. No index has them, so
// the entries around the decided one are read: who misreads a list takes the
// number from a line near the right one.
const (
	claimsStep   = 5000 // entries a question
	claimsAround = 20   // questions, a half of them before the entry
	claimsTime   = 5 * time.Second
)

// A number that reconciliation found to be in no statement is free again, and
// the journal's own entry that says so has none.
const (
	stillHeld = ` +e.outcome = 'done' AND e.infno <> '` + infnoNotBooked + `' AND NOT EXISTS (
		SELECT 1 FROM entry r WHERE r.id = e.reversed_by AND r.infno = '` + infnoNotBooked + `') `

	heldNear = `SELECT coalesce(min(e.id), 0) FROM entry e WHERE e.id BETWEEN ?1 AND ?2 AND e.id <> ?3 AND e.setl_id = ?4 AND` + stillHeld

	// What is on its way has claimed its number and not written it down.
	heldByMsgID = `SELECT coalesce(min(e.id), 0) FROM entry e WHERE e.msgid = ?1 AND (e.outcome = 'intended' OR` + stillHeld + `)`
)

// claimDecided claims the setl_id of an entry that a person decides, as
// [Journal.claim] does for an answer. One that another entry has is ErrDecision;
// an entry that is not there or closed is left to the commit. forget takes the
// claim back.
func (j *Journal) claimDecided(ctx context.Context, id int64, c Conclusion) (forget func(), err error) {
	var msgID string
	var outcome Outcome
	nothing := func() {}
	err = j.read.QueryRowContext(ctx, `SELECT msgid, outcome FROM entry WHERE id = ?1`, id).Scan(&msgID, &outcome)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nothing, nil
	case err != nil:
		return nothing, unavailable(err)
	case outcome != Unknown:
		return nothing, nil
	}
	if forget, err = j.takeClaim(ctx, c.SetlID, msgID); err != nil {
		return nothing, err
	}
	// After the claim: what another commits from now on has another number.
	other, err := j.heldNear(ctx, id, c.SetlID)
	if err == nil && other != 0 {
		err = heldBy(other)
	}
	if err != nil {
		forget()
		return nothing, err
	}
	return forget, nil
}

func heldBy(id int64) error {
	return decisionError(fmt.Sprintf("entry %d has this setl_id already", id))
}

// takeClaim makes a setl_id the one of a msgid, unless it is that of an entry
// that is done or on its way.
func (j *Journal) takeClaim(ctx context.Context, setlID, msgID string) (forget func(), err error) {
	c := &j.claimed
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := j.knowClaims(ctx); err != nil {
		return nil, err
	}
	by, taken := c.by[setlID]
	switch {
	case taken && by == msgID:
		return func() {}, nil
	case taken:
		var other int64
		if err := j.read.QueryRowContext(ctx, heldByMsgID, by).Scan(&other); err != nil {
			return nil, unavailable(err)
		}
		if other != 0 {
			return nil, heldBy(other)
		}
		c.by[setlID] = msgID
	default:
		c.add(setlID, msgID)
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.by[setlID] != msgID:
		case taken:
			c.by[setlID] = by
		default:
			delete(c.by, setlID)
			c.order = slices.DeleteFunc(c.order, func(s string) bool { return s == setlID })
		}
	}, nil
}

// heldNear returns the entry near another one that is done with a setl_id, 0
// where there is none. It reads the nearest first and stops when its time is
// over: what it has not read, reconciliation shows as a duplicate.
func (j *Journal) heldNear(ctx context.Context, id int64, setlID string) (other int64, err error) {
	bounded, cancel := context.WithTimeout(ctx, claimsTime)
	defer cancel()
	for n := range int64(claimsAround) {
		first := id + n/2*claimsStep
		if n%2 == 1 {
			first = id - (n/2+1)*claimsStep
		}
		err := j.read.QueryRowContext(bounded, heldNear, first, first+claimsStep-1, id, setlID).Scan(&other)
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case bounded.Err() != nil:
			return 0, nil
		case err != nil:
			return 0, unavailable(err)
		case other != 0:
			return other, nil
		}
	}
	return 0, nil
}
