package settlement

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"onecard/fault"
)

// The visits' failures.
var (
	ErrVisitUnknown = fault.New(fault.VisitUnknown, "no such visit")
	ErrVisitChanged = fault.New(fault.VisitState, "the visit was changed meanwhile")
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
	if !json.Valid(visit.Body) {
		return Visit{}, fmt.Errorf("put visit: body is not JSON")
	}
	ctx = context.WithoutCancel(ctx)
	now := time.UnixMilli(v.j.now().UnixMilli())
	var result sql.Result
	var err error
	if visit.Version == 0 {
		visit.Opened = now
		result, err = v.j.write.ExecContext(ctx, `INSERT INTO visit (id, state, version, opened_at, updated_at, body)
			VALUES (?1, ?2, 1, ?3, ?3, ?4) ON CONFLICT (id) DO NOTHING`,
			visit.ID, visit.State, now.UnixMilli(), []byte(visit.Body))
	} else {
		result, err = v.j.write.ExecContext(ctx, `UPDATE visit SET state = ?2, version = version + 1, updated_at = ?3, body = ?4
			WHERE id = ?1 AND version = ?5`, visit.ID, visit.State, now.UnixMilli(), []byte(visit.Body), visit.Version)
	}
	if err != nil {
		return Visit{}, fmt.Errorf("put visit: %w", unavailable(err))
	}
	if n, err := result.RowsAffected(); err != nil {
		return Visit{}, fmt.Errorf("put visit: %w", unavailable(err))
	} else if n == 0 {
		return Visit{}, fmt.Errorf("put visit: %w", ErrVisitChanged)
	}
	visit.Version++
	visit.Updated = now
	return visit, nil
}

// Get returns a visit, or ErrVisitUnknown.
func (v *Visits) Get(ctx context.Context, id string) (Visit, error) {
	visit, err := scanVisit(v.j.read.QueryRowContext(ctx,
		`SELECT id, state, version, opened_at, updated_at, body FROM visit WHERE id = ?`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Visit{}, fmt.Errorf("get visit: %w", ErrVisitUnknown)
	}
	if err != nil {
		return Visit{}, fmt.Errorf("get visit: %w", unavailable(err))
	}
	return visit, nil
}

// List returns the visits in a state ("" for any), the latest changed first,
// at most limit.
func (v *Visits) List(ctx context.Context, state string, limit int) ([]Visit, error) {
	rows, err := v.j.read.QueryContext(ctx, `SELECT id, state, version, opened_at, updated_at, body FROM visit
		WHERE ?1 = '' OR state = ?1 ORDER BY updated_at DESC, id LIMIT ?2`, state, limit)
	if err != nil {
		return nil, fmt.Errorf("list visits: %w", unavailable(err))
	}
	defer rows.Close()
	var list []Visit
	for rows.Next() {
		visit, err := scanVisit(rows)
		if err != nil {
			return nil, fmt.Errorf("list visits: %w", unavailable(err))
		}
		list = append(list, visit)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list visits: %w", unavailable(err))
	}
	return list, nil
}

// Delete forgets a visit. Its journal entries stay.
func (v *Visits) Delete(ctx context.Context, id string) error {
	if _, err := v.j.write.ExecContext(context.WithoutCancel(ctx), `DELETE FROM visit WHERE id = ?`, id); err != nil {
		return fmt.Errorf("delete visit: %w", unavailable(err))
	}
	return nil
}

func scanVisit(row interface{ Scan(...any) error }) (Visit, error) {
	var visit Visit
	var opened, updated int64
	var body []byte
	if err := row.Scan(&visit.ID, &visit.State, &visit.Version, &opened, &updated, &body); err != nil {
		return Visit{}, err
	}
	visit.Opened, visit.Updated, visit.Body = time.UnixMilli(opened), time.UnixMilli(updated), body
	return visit, nil
}
