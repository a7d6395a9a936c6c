// Package planstore keeps what onecard has begun on cards and not finished, on
// SQLite: write plans (card.PlanStore) and transactions of the medical account
// with their TACs (card.DebitJournal). It is what makes a card that was torn out
// recognisable when it returns, to whatever process it returns to.
//
//	store, err := planstore.Open(filepath.Join(stateDir, "cards.db"), time.Now)
//	if err != nil {
//		return err // nothing may be written to cards
//	}
//	defer store.Close()
//	err = c.Execute(ctx, hsm, store.Plans(), plan)
//	t, err := c.Purchase(ctx, hsm, store.Debits(), order)
//
// Every call is on the disk before it returns. Several processes may have the
// file open; SQLite's locks keep their writes apart. The values of a plan are
// removed when it is closed; the file is readable by its owner alone.
package planstore

import (
	"bytes"
	"context"
	"database/sql"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"onecard/card"
)

//go:embed schema.sql
var schema string

const (
	applicationID = 0x4F4E4343 // "ONCC", in the header of the file
	schemaVersion = 1
)

// A Store is an open file. Safe for concurrent use.
type Store struct {
	db  *sql.DB
	now func() time.Time
}

// Open opens the file, or makes it with mode 0600 where it does not exist.
// Errors wrap card.ErrPlanStore: the file is something else, of a newer
// version, damaged, or the disk refuses.
func Open(path string, now func() time.Time) (*Store, error) {
	if now == nil {
		now = time.Now
	}
	s := &Store{now: now}
	if err := s.open(path); err != nil {
		if s.db != nil {
			_ = s.db.Close() // the first error is the one that counts
		}
		return nil, fmt.Errorf("open %s: %w", filepath.Base(path), unavailable(err))
	}
	return s, nil
}

func unavailable(err error) error {
	if err == nil || errors.Is(err, card.ErrPlanStore) {
		return err
	}
	return fmt.Errorf("%w: %w", card.ErrPlanStore, err)
}

func (s *Store) open(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if err := prepare(path); err != nil {
		return err
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "trusted_schema(0)", "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(1)"}}
	if s.db, err = sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}).String()); err != nil {
		return err
	}
	s.db.SetMaxOpenConns(1)
	return s.migrate(context.Background())
}

// prepare looks at a file before SQLite may touch it, and makes a new one with
// the right mode.
func prepare(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		if err := f.Close(); err != nil {
			return err
		}
		return syncDir(filepath.Dir(path))
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	if info.Size() == 0 {
		return nil // made, and then the power went
	}
	if f, err = os.Open(path); err != nil {
		return err
	}
	defer f.Close()
	var header [100]byte
	if _, err := io.ReadFull(f, header[:]); err != nil || !bytes.HasPrefix(header[:], []byte("SQLite format 3\x00")) {
		return errors.New("not a database")
	}
	// The identifier is 0 where the power went before the schema was there.
	if id := binary.BigEndian.Uint32(header[68:]); id != applicationID && id != 0 {
		return errors.New("another program's database")
	}
	return nil
}

// migrate brings the schema about, in one transaction.
func (s *Store) migrate(ctx context.Context) (err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	var id, version, tables int
	row := tx.QueryRowContext(ctx, `SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_schema)
		FROM pragma_application_id a, pragma_user_version v`)
	if err := row.Scan(&id, &version, &tables); err != nil {
		return err
	}
	switch {
	case id == applicationID && version == schemaVersion:
	case id == applicationID:
		return fmt.Errorf("schema version %d, this onecard knows %d", version, schemaVersion)
	case tables > 0:
		return errors.New("another program's database")
	default:
		statement := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; %s", applicationID, schemaVersion, schema)
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	var check string
	if err := tx.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&check); err != nil {
		return err
	}
	if check != "ok" {
		return errors.New("the file is damaged")
	}
	return tx.Commit()
}

// Close closes the file.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close plan store: %w", err)
	}
	return nil
}

// Plans returns the store of write plans.
func (s *Store) Plans() card.PlanStore { return plans{s} }

// Debits returns the journal of transactions.
func (s *Store) Debits() card.DebitJournal { return debits{s} }

// A Summary is a plan as the store lists it, without values.
type Summary struct {
	ID      string           `json:"id"`
	Card    string           `json:"card"`
	Files   []string         `json:"files"`
	Outcome card.PlanOutcome `json:"outcome,omitempty"` // "": open
	Opened  time.Time        `json:"opened"`
}

// List returns the newest plans first, at most limit.
func (s *Store) List(ctx context.Context, limit int) (list []Summary, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, card, files, outcome, opened_at FROM plan ORDER BY number DESC LIMIT ?`, limit)
	if err != nil {
		return nil, fmt.Errorf("list plans: %w", unavailable(err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var p Summary
		var files, outcome string
		var opened int64
		if err := rows.Scan(&p.ID, &p.Card, &files, &outcome, &opened); err != nil {
			return list, fmt.Errorf("list plans: %w", unavailable(err))
		}
		p.Files, p.Outcome, p.Opened = strings.Fields(files), card.PlanOutcome(outcome), time.UnixMilli(opened)
		list = append(list, p)
	}
	return list, unavailable(rows.Err())
}

// Transactions returns the newest transactions of a card first, at most limit;
// card "" is all cards.
func (s *Store) Transactions(ctx context.Context, code string, limit int) ([]card.Transaction, error) {
	return s.transactions(ctx, `SELECT body FROM debit WHERE ?1 = '' OR card = ?1 ORDER BY number DESC LIMIT ?2`, code, limit)
}

func (s *Store) transactions(ctx context.Context, query string, args ...any) (list []card.Transaction, err error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("transactions: %w", unavailable(err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var body []byte
		var t card.Transaction
		if err := rows.Scan(&body); err != nil {
			return list, fmt.Errorf("transactions: %w", unavailable(err))
		}
		if err := json.Unmarshal(body, &t); err != nil {
			return list, fmt.Errorf("transactions: %w", unavailable(err))
		}
		list = append(list, t)
	}
	return list, unavailable(rows.Err())
}

type plans struct{ *Store }

// Begin implements card.PlanStore.
func (s plans) Begin(ctx context.Context, p *card.Plan) (done bool, writing int, err error) {
	body, err := json.Marshal(p)
	if err != nil {
		return false, -1, fmt.Errorf("begin plan: %w", unavailable(err))
	}
	var files []string
	for _, i := range p.Items {
		if !slices.Contains(files, i.File.String()) {
			files = append(files, i.File.String())
		}
	}
	// A plan that was closed without being done is begun anew; one that is
	// open or done stays as it is.
	_, err = s.db.ExecContext(ctx, `INSERT INTO plan (id, card, body, files, opened_at) VALUES (?1, ?2, ?3, ?4, ?5)
		ON CONFLICT (id) DO UPDATE SET body = ?3, writing = -1, outcome = '', closed_at = NULL WHERE outcome NOT IN ('', 'done')`,
		p.ID, p.Card, string(body), strings.Join(files, " "), s.now().UnixMilli())
	if err == nil {
		var outcome string
		err = s.db.QueryRowContext(ctx, `SELECT outcome, writing FROM plan WHERE id = ?`, p.ID).Scan(&outcome, &writing)
		done = outcome == string(card.PlanDone)
	}
	if err != nil {
		return false, -1, fmt.Errorf("begin plan: %w", unavailable(err))
	}
	return done, writing, nil
}

// Progress implements card.PlanStore.
func (s plans) Progress(ctx context.Context, id string, item int) error {
	return s.one(ctx, "note progress", `UPDATE plan SET writing = ?2 WHERE id = ?1 AND outcome = ''`, id, item)
}

// Close implements card.PlanStore. A plan that is closed already stays so.
func (s plans) Close(ctx context.Context, id string, outcome card.PlanOutcome) error {
	return s.one(ctx, "close plan", `UPDATE plan SET outcome = ?2, body = '', closed_at = ?3 WHERE id = ?1 AND outcome = ''`,
		id, string(outcome), s.now().UnixMilli())
}

// one runs an update that must find its row.
func (s plans) one(ctx context.Context, what, query string, args ...any) error {
	r, err := s.db.ExecContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", what, unavailable(err))
	}
	if n, err := r.RowsAffected(); err != nil || n != 1 {
		return fmt.Errorf("%s: %w: no such open plan", what, card.ErrPlanStore)
	}
	return nil
}

// Open implements card.PlanStore.
func (s plans) Open(ctx context.Context, code string) (list []card.OpenPlan, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT body, writing FROM plan WHERE card = ? AND outcome = '' ORDER BY number`, code)
	if err != nil {
		return nil, fmt.Errorf("open plans: %w", unavailable(err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var body []byte
		o := card.OpenPlan{}
		if err := rows.Scan(&body, &o.Writing); err != nil {
			return list, fmt.Errorf("open plans: %w", unavailable(err))
		}
		if o.Plan, err = card.ParsePlan(body); err != nil {
			return list, fmt.Errorf("open plans: %w", err)
		}
		list = append(list, o)
	}
	return list, unavailable(rows.Err())
}

type debits struct{ *Store }

// Note implements card.DebitJournal. A transaction that is decided stays so.
func (s debits) Note(ctx context.Context, t card.Transaction) error {
	body, err := json.Marshal(t)
	if err == nil {
		_, err = s.db.ExecContext(ctx, `INSERT INTO debit (id, card, state, body, noted_at) VALUES (?1, ?2, ?3, ?4, ?5)
			ON CONFLICT (id) DO UPDATE SET state = ?3, body = ?4, noted_at = ?5`,
			t.ID, t.Card, string(t.State), string(body), s.now().UnixMilli())
	}
	if err != nil {
		return fmt.Errorf("note transaction: %w", unavailable(err))
	}
	return nil
}

// Undecided implements card.DebitJournal.
func (s debits) Undecided(ctx context.Context, code string) ([]card.Transaction, error) {
	return s.transactions(ctx, `SELECT body FROM debit WHERE card = ? AND state = 'intended' ORDER BY number`, code)
}

// Transaction returns one transaction by its ID; found is false where none of it
// was noted.
func (s debits) Transaction(ctx context.Context, id string) (t card.Transaction, found bool, err error) {
	list, err := s.transactions(ctx, `SELECT body FROM debit WHERE id = ?`, id)
	if err != nil || len(list) == 0 {
		return card.Transaction{}, false, err
	}
	return list[0], true, nil
}
