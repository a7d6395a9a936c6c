package settlement

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"onecard/fault"
)

// The visits' failures.
var (
	ErrVisitUnknown = fault.New(fault.VisitUnknown, "no such visit")
	ErrVisitChanged = fault.New(fault.VisitState, "the visit was changed meanwhile")
)

const (
	insertVisit = `INSERT INTO visit (id, state, version, opened_at, updated_at, body)
		VALUES (?1, ?2, 1, ?3, ?3, ?4) ON CONFLICT (id) DO NOTHING`

	updateVisit = `UPDATE visit SET state = ?2, version = version + 1, updated_at = ?3, body = ?4
		WHERE id = ?1 AND version = ?5`
)

// Visits keeps what a terminal knows of its visits in the journal's file, so
// that a visit can be resumed after a crash. What a visit is made of is the
// terminal's matter; here it is a JSON text. Visits hold personal data.
type Visits struct{ j *Journal }

// Visits returns the journal's visits.
func (j *Journal) Visits() *Visits { return &Visits{j} }

// A Visit is one visit as the terminal left it.
type Visit struct {
	ID      string
	State   string // the terminal's own name of the step
	Version int64  // 0: not stored yet; Put counts it up
	Opened  time.Time
	Updated time.Time
	Body    json.RawMessage
}

// String names the visit without its content.
func (v Visit) String() string {
	return fmt.Sprintf("visit %s (%s, version %d)", v.ID, v.State, v.Version)
}

// Put stores a visit durably and returns it with its new version. The version
// must be the one last read: where another window was faster it is
// ErrVisitChanged and nothing is stored.
func (v *Visits) Put(ctx context.Context, visit Visit) (Visit, error) {
	return v.put(ctx, visit, func(context.Context, *batch) error { return nil })
}

// put stores a visit together with what also writes.
func (v *Visits) put(ctx context.Context, visit Visit, also func(context.Context, *batch) error) (Visit, error) {
	if !json.Valid(visit.Body) {
		return Visit{}, fmt.Errorf("put visit: body is not JSON")
	}
	now := time.UnixMilli(v.j.now().UnixMilli())
	if visit.Version == 0 {
		visit.Opened = now
	}
	body := v.j.key.seal("visit", visitOwner(visit.ID, visit.Version+1), visit.Body)
	var n int64
	err := v.j.commit(ctx, func(ctx context.Context, b *batch) (err error) {
		if visit.Version == 0 {
			n, err = b.affectBy(ctx, v.j.openVisit, visit.ID, visit.State, now.UnixMilli(), body)
		} else {
			n, err = b.affectBy(ctx, v.j.changeVisit, visit.ID, visit.State, now.UnixMilli(), body, visit.Version)
		}
		if err != nil || n == 0 {
			return err
		}
		return also(ctx, b)
	})
	if err != nil {
		return Visit{}, fmt.Errorf("put visit: %w", err)
	}
	if n == 0 {
		return Visit{}, fmt.Errorf("put visit: %w", ErrVisitChanged)
	}
	visit.Version++
	visit.Updated = now
	return visit, nil
}

// Get returns a visit, or ErrVisitUnknown.
func (v *Visits) Get(ctx context.Context, id string) (Visit, error) {
	visit, err := v.scan(v.j.read.QueryRowContext(ctx,
		`SELECT id, state, version, opened_at, updated_at, body FROM visit WHERE id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Visit{}, fmt.Errorf("get visit: %w", ErrVisitUnknown)
	}
	if err != nil {
		return Visit{}, fmt.Errorf("get visit: %w", err)
	}
	return visit, nil
}

// List returns the visits in a state ("" for any), the latest changed first,
// at most limit. They are found by an index, however many there are.
func (v *Visits) List(ctx context.Context, state string, limit int) ([]Visit, error) {
	states := []string{state}
	if state == "" {
		var err error
		if states, err = v.states(ctx); err != nil {
			return nil, fmt.Errorf("list visits: %w", err)
		}
	}
	var list []Visit
	for _, one := range states {
		some, err := v.latest(ctx, one, limit)
		if err != nil {
			return nil, fmt.Errorf("list visits: %w", err)
		}
		list = append(list, some...)
	}
	if len(states) > 1 {
		slices.SortFunc(list, func(a, b Visit) int {
			return cmp.Or(b.Updated.Compare(a.Updated), cmp.Compare(a.ID, b.ID))
		})
	}
	return list[:min(len(list), limit)], nil
}

// states returns the states in which there are visits, by a step in the index for
// each.
func (v *Visits) states(ctx context.Context) (list []string, err error) {
	rows, err := v.j.read.QueryContext(ctx, `WITH RECURSIVE has(state) AS (
			SELECT min(state) FROM visit
			UNION ALL SELECT (SELECT min(v.state) FROM visit v WHERE v.state > has.state) FROM has WHERE has.state IS NOT NULL)
		SELECT state FROM has WHERE state IS NOT NULL`)
	if err != nil {
		return nil, unavailable(err)
	}
	defer rows.Close()
	for rows.Next() {
		var state string
		if err := rows.Scan(&state); err != nil {
			return nil, unavailable(err)
		}
		list = append(list, state)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable(err)
	}
	return list, nil
}

// latest returns the visits in one state, the latest changed first.
func (v *Visits) latest(ctx context.Context, state string, limit int) (list []Visit, err error) {
	rows, err := v.j.read.QueryContext(ctx, `SELECT id, state, version, opened_at, updated_at, body FROM visit
		WHERE state = ?1 ORDER BY updated_at DESC, id LIMIT ?2`, state, limit)
	if err != nil {
		return nil, unavailable(err)
	}
	defer rows.Close()
	for rows.Next() {
		visit, err := v.scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, visit)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable(err)
	}
	return list, nil
}

// Delete forgets a visit. Its journal entries stay.
func (v *Visits) Delete(ctx context.Context, id string) error {
	err := v.j.commit(ctx, func(ctx context.Context, b *batch) error {
		return b.exec(ctx, `DELETE FROM visit WHERE id = ?`, id)
	})
	if err != nil {
		return fmt.Errorf("delete visit: %w", err)
	}
	return nil
}

func (v *Visits) scan(row interface{ Scan(...any) error }) (Visit, error) {
	var visit Visit
	var opened, updated int64
	var body []byte
	err := row.Scan(&visit.ID, &visit.State, &visit.Version, &opened, &updated, &body)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Visit{}, err
	case err != nil:
		return Visit{}, unavailable(err)
	}
	visit.Opened, visit.Updated = milli(opened), milli(updated)
	if visit.Body, err = v.j.key.open("visit", visitOwner(visit.ID, visit.Version), body); err != nil {
		return Visit{}, err
	}
	return visit, nil
}

// visitOwner binds a sealed body to its visit and version.
func visitOwner(id string, version int64) string { return fmt.Sprintf("%s %d", id, version) }
