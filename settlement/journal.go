package settlement

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"onecard/fault"
)

// The journal's failures.
var (
	ErrJournalUnavailable = fault.New(fault.JournalUnavailable, "journal unavailable")
	ErrJournalForeign     = fault.New(fault.JournalForeign, "not a journal of this onecard version")
	ErrAlreadyRunning     = fault.New(fault.AlreadyRunning, "another onecardd uses the journal")
	ErrUnknownUnresolved  = fault.New(fault.UnknownUnresolved, "the visit has a settlement of unknown outcome")
	ErrInProgress         = fault.New(fault.VisitState, "the visit's settlement is on its way")
	ErrSettled            = fault.New(fault.VisitState, "the visit is settled")
	ErrEntryUnknown       = fault.New(fault.EntryUnknown, "no such journal entry")
	ErrEntryClosed        = fault.New(fault.VisitState, "the journal entry is closed")
)

// A Journal is the truth about every transaction that books: an entry is on
// the disk before its request leaves, and its outcome before anybody is told.
// It is one SQLite file (WAL, synchronous FULL) that one process holds. Entries
// keep request and answer, which are personal data: the file is 0600 and its
// directory must be private, too.
//
// All writes go through one connection, one after the other; reads have
// connections of their own and never wait for them.
type Journal struct {
	path  string
	now   func() time.Time
	write *sql.DB // one connection
	read  *sql.DB
	lock  fileLock

	// The two statements of every settlement, parsed once: with the schema's
	// triggers, parsing costs as much as the fsync.
	insert, update *sql.Stmt

	// Conclusions that the disk refused. They are tried again before every
	// later write; after a restart their entries are unknown.
	mu      sync.Mutex
	pending []conclusion
}

// An Entry is one transaction that books.
type Entry struct {
	ID       int64
	Visit    string // the terminal's number of the visit
	Infno    string
	MsgID    string
	OpenedAt time.Time
	ClosedAt time.Time // zero while intended
	Outcome  Outcome
	// As booked; before that, and where nothing was booked, as agreed.
	Total, Fund, Account, Cash Fen
	Agreed                     Amounts // what the payer agreed to
	SetlID                     string
	MdtrtID                    string
	PsnNo                      string
	Holder                     string     // masked
	Fault                      fault.Code // why it is not done
	Message                    string     // upstream's words, for a person
	Note                       string     // ours
	RequestSHA256              [32]byte
	Request, Answer            []byte // only from Get
}

// String names the entry without personal data.
func (e Entry) String() string {
	return fmt.Sprintf("entry %d: %s %s %s %s", e.ID, e.Infno, e.MsgID, e.Total, e.Outcome)
}

const (
	insertEntry = `INSERT INTO entry (visit, infno, msgid, day, opened_at, outcome,
		agreed_total, agreed_fund, agreed_account, agreed_cash, total, fund, account, cash,
		mdtrt_id, psn_no, holder, request_sha256, request)
		VALUES (?1, ?2, ?3, ?4, ?5, 'intended', ?6, ?7, ?8, ?9, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)`

	updateEntry = `UPDATE entry SET outcome = ?2, closed_at = ?3,
		total = coalesce(?4, total), fund = coalesce(?5, fund), account = coalesce(?6, account), cash = coalesce(?7, cash),
		setl_id = CASE WHEN ?8 <> '' THEN ?8 ELSE setl_id END, fault = ?9, message = ?10, note = ?11,
		answer = coalesce(?12, answer)
		WHERE id = ?1 AND outcome IN ('intended', 'unknown')`

	// unresolved lets SQLite use the small index of what is not resolved.
	unresolved = ` outcome IN ('intended', 'unknown') `
)

// Intend writes an entry down, durably, before its request is sent: Visit,
// Infno, MsgID, Agreed, MdtrtID, PsnNo, Holder and Request of e. It refuses a
// visit that has a transaction on its way (ErrInProgress), in doubt
// (ErrUnknownUnresolved) or settled already (ErrSettled), and everything while
// the disk does (ErrJournalUnavailable): then nothing may be sent.
func (j *Journal) Intend(ctx context.Context, e Entry) (id int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("intend: %w", err)
	}
	ctx = context.WithoutCancel(ctx)
	if err := j.flush(ctx); err != nil {
		return 0, fmt.Errorf("intend: %w", err)
	}
	now := j.now()
	sum := sha256.Sum256(e.Request)
	a := e.Agreed
	result, err := j.insert.ExecContext(ctx,
		e.Visit, e.Infno, e.MsgID, FormatDate(now), now.UnixMilli(),
		int64(a.Total), int64(a.Fund), int64(a.Account), int64(a.Cash),
		e.MdtrtID, e.PsnNo, e.Holder, sum[:], e.Request)
	if err != nil {
		if unique(err) {
			if taken := j.taken(ctx, e); taken != nil {
				return 0, fmt.Errorf("intend: %w", taken)
			}
			return 0, fmt.Errorf("intend: message number used before")
		}
		return 0, fmt.Errorf("intend: %w", unavailable(err))
	}
	id, err = result.LastInsertId()
	if err != nil {
		return 0, fmt.Errorf("intend: %w", unavailable(err))
	}
	return id, nil
}

// taken says which entry stands in e's way.
func (j *Journal) taken(ctx context.Context, e Entry) error {
	var outcome Outcome
	err := j.write.QueryRowContext(ctx, `SELECT outcome FROM entry
		WHERE visit = ?1 AND outcome IN ('intended', 'unknown')
		   OR mdtrt_id = ?2 AND mdtrt_id <> '' AND outcome IN ('intended', 'unknown')
		   OR visit = ?1 AND infno = ?3 AND outcome = 'done' AND reversed_by IS NULL
		ORDER BY outcome = 'unknown' DESC, outcome = 'intended' DESC LIMIT 1`,
		e.Visit, e.MdtrtID, e.Infno).Scan(&outcome)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return unavailable(err)
	case outcome == Unknown:
		return ErrUnknownUnresolved
	case outcome == Intended:
		return ErrInProgress
	}
	return ErrSettled
}

// A Conclusion is how an entry ends, or why it is in doubt.
type Conclusion struct {
	Outcome Outcome // Done, Refused or Unknown
	Booked  *Amounts
	SetlID  string // required where done
	Fault   fault.Code
	Message string
	Note    string
	Answer  []byte
}

type conclusion struct {
	id int64
	at time.Time
	c  Conclusion
}

// maxAnswer bounds what is kept of an answer.
const maxAnswer = 1 << 20

// Conclude closes an entry that is intended, or decides one that is unknown. It
// cannot be cancelled. Where the disk refuses, the conclusion is kept in
// memory and tried again before every later write, and the error wraps
// ErrJournalUnavailable: until then the entry stays as it is, and after a
// restart it is unknown.
func (j *Journal) Conclude(ctx context.Context, id int64, c Conclusion) error {
	if c.Outcome == Done && c.SetlID == "" {
		return fmt.Errorf("conclude entry %d: done without setl_id: %w", id, ErrMalformed)
	}
	if len(c.Answer) > maxAnswer {
		c.Answer = c.Answer[:maxAnswer]
	}
	ctx = context.WithoutCancel(ctx)
	done := conclusion{id, j.now(), c}
	err := j.flush(ctx)
	if err == nil {
		err = j.conclude(ctx, done)
	}
	if errors.Is(err, ErrJournalUnavailable) {
		j.mu.Lock()
		j.pending = append(j.pending, done)
		j.mu.Unlock()
	}
	if err != nil {
		return fmt.Errorf("conclude entry %d: %w", id, err)
	}
	return nil
}

func (j *Journal) conclude(ctx context.Context, d conclusion) error {
	c := d.c
	var total, fund, account, cash any
	if c.Booked != nil {
		total, fund, account, cash = int64(c.Booked.Total), int64(c.Booked.Fund), int64(c.Booked.Account), int64(c.Booked.Cash)
	}
	result, err := j.update.ExecContext(ctx,
		d.id, string(c.Outcome), d.at.UnixMilli(), total, fund, account, cash,
		c.SetlID, string(c.Fault), c.Message, c.Note, c.Answer)
	if err != nil {
		return unavailable(err)
	}
	if n, err := result.RowsAffected(); err != nil {
		return unavailable(err)
	} else if n == 1 {
		return nil
	}
	var one int
	switch err := j.write.QueryRowContext(ctx, `SELECT 1 FROM entry WHERE id = ?1`, d.id).Scan(&one); {
	case errors.Is(err, sql.ErrNoRows):
		return ErrEntryUnknown
	case err != nil:
		return unavailable(err)
	}
	return ErrEntryClosed
}

// flush writes conclusions that the disk refused earlier.
func (j *Journal) flush(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.pending) > 0 {
		err := j.conclude(ctx, j.pending[0])
		if errors.Is(err, ErrJournalUnavailable) {
			return err
		}
		// Closed meanwhile by a person: theirs stands.
		j.pending = j.pending[1:]
	}
	return nil
}

// A Filter selects entries. Its zero value selects the latest hundred.
type Filter struct {
	Day     string  // yyyy-MM-dd in China, "" for any
	Outcome Outcome // "" for any
	Visit   string  // "" for any
	Before  int64   // only entries with smaller numbers, 0 for any
	Limit   int     // 0: 100; at most 1000
}

const columns = `id, visit, infno, msgid, opened_at, coalesce(closed_at, 0), outcome,
	total, fund, account, cash, agreed_total, agreed_fund, agreed_account, agreed_cash,
	setl_id, mdtrt_id, psn_no, holder, fault, message, note, request_sha256`

// List returns entries, the latest first, without request and answer.
func (j *Journal) List(ctx context.Context, f Filter) ([]Entry, error) {
	where := []string{"1"}
	var args []any
	add := func(condition string, arg any) {
		where = append(where, condition)
		args = append(args, arg)
	}
	if f.Day != "" {
		add("day = ?", f.Day)
	}
	if f.Outcome != "" {
		add("outcome = ?", string(f.Outcome))
		if f.Outcome == Intended || f.Outcome == Unknown {
			where = append(where, unresolved)
		}
	}
	if f.Visit != "" {
		add("visit = ?", f.Visit)
	}
	if f.Before > 0 {
		add("id < ?", f.Before)
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	args = append(args, min(f.Limit, 1000))
	rows, err := j.read.QueryContext(ctx, `SELECT `+columns+` FROM entry WHERE `+strings.Join(where, " AND ")+` ORDER BY id DESC LIMIT ?`, args...)
	if err != nil {
		return nil, fmt.Errorf("list entries: %w", unavailable(err))
	}
	defer rows.Close()
	var list []Entry
	for rows.Next() {
		e, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list entries: %w", err)
		}
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list entries: %w", unavailable(err))
	}
	return list, nil
}

// Get returns one entry with request and answer, or ErrEntryUnknown.
func (j *Journal) Get(ctx context.Context, id int64) (Entry, error) {
	var request, answer []byte
	e, err := scan(j.read.QueryRowContext(ctx, `SELECT `+columns+`, request, answer FROM entry WHERE id = ?`, id), &request, &answer)
	if err != nil {
		return Entry{}, fmt.Errorf("entry %d: %w", id, err)
	}
	e.Request, e.Answer = request, answer
	return e, nil
}

// Unresolved returns a visit's entry that is intended or unknown; ok is false
// where there is none.
func (j *Journal) Unresolved(ctx context.Context, visit string) (e Entry, ok bool, err error) {
	e, err = scan(j.read.QueryRowContext(ctx, `SELECT `+columns+` FROM entry
		WHERE visit = ? AND outcome IN ('intended', 'unknown')`, visit))
	if errors.Is(err, ErrEntryUnknown) {
		return Entry{}, false, nil
	}
	if err != nil {
		return Entry{}, false, fmt.Errorf("unresolved of visit: %w", err)
	}
	return e, true, nil
}

// Count returns the number of entries of an outcome.
func (j *Journal) Count(ctx context.Context, o Outcome) (n int, err error) {
	query := `SELECT count(*) FROM entry WHERE outcome = ?`
	if o == Intended || o == Unknown {
		query += ` AND ` + unresolved
	}
	if err := j.read.QueryRowContext(ctx, query, string(o)).Scan(&n); err != nil {
		return 0, fmt.Errorf("count entries: %w", unavailable(err))
	}
	return n, nil
}

func scan(row interface{ Scan(...any) error }, more ...any) (Entry, error) {
	var e Entry
	var opened, closed int64
	var sum []byte
	err := row.Scan(append([]any{&e.ID, &e.Visit, &e.Infno, &e.MsgID, &opened, &closed, &e.Outcome,
		&e.Total, &e.Fund, &e.Account, &e.Cash, &e.Agreed.Total, &e.Agreed.Fund, &e.Agreed.Account, &e.Agreed.Cash,
		&e.SetlID, &e.MdtrtID, &e.PsnNo, &e.Holder, &e.Fault, &e.Message, &e.Note, &sum}, more...)...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Entry{}, ErrEntryUnknown
	case err != nil:
		return Entry{}, unavailable(err)
	}
	e.OpenedAt = time.UnixMilli(opened)
	if closed != 0 {
		e.ClosedAt = time.UnixMilli(closed)
	}
	copy(e.RequestSHA256[:], sum)
	return e, nil
}

// Reserve and Reserved make the journal the [HighWater] of message numbers.

// Reserve stores the second up to which message numbers may be drawn.
func (j *Journal) Reserve(ctx context.Context, second int64) error {
	_, err := j.write.ExecContext(context.WithoutCancel(ctx), `INSERT INTO mark (name, value) VALUES ('msgid', ?1)
		ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)`, second)
	if err != nil {
		return fmt.Errorf("reserve message numbers: %w", unavailable(err))
	}
	return nil
}

// Reserved returns the stored second, 0 in a new journal.
func (j *Journal) Reserved(ctx context.Context) (second int64, err error) {
	err = j.read.QueryRowContext(ctx, `SELECT value FROM mark WHERE name = 'msgid'`).Scan(&second)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("reserved message numbers: %w", unavailable(err))
	}
	return second, nil
}

// SignNo returns the sign_no an operator got on a day (yyyy-MM-dd), "" where
// there is none.
func (j *Journal) SignNo(ctx context.Context, opter, day string) (signNo string, err error) {
	err = j.read.QueryRowContext(ctx, `SELECT sign_no FROM sign_in WHERE opter = ? AND day = ?`, opter, day).Scan(&signNo)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("sign_no: %w", unavailable(err))
	}
	return signNo, nil
}

// SetSignNo keeps the sign_no of an operator and day and forgets those of
// earlier days.
func (j *Journal) SetSignNo(ctx context.Context, opter, day, signNo string) error {
	ctx = context.WithoutCancel(ctx)
	_, err := j.write.ExecContext(ctx, `INSERT INTO sign_in (opter, day, sign_no) VALUES (?1, ?2, ?3)
		ON CONFLICT (opter, day) DO UPDATE SET sign_no = excluded.sign_no`, opter, day, signNo)
	if err == nil {
		_, err = j.write.ExecContext(ctx, `DELETE FROM sign_in WHERE opter = ?1 AND day < ?2`, opter, day)
	}
	if err != nil {
		return fmt.Errorf("keep sign_no: %w", unavailable(err))
	}
	return nil
}

func unavailable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrJournalUnavailable, err)
}

func unique(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE
}
