package settlement

import (
	"context"
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
	ErrInProgress         = fault.New(fault.InProgress, "a settlement or refund of the visit is under way")
	ErrSettled            = fault.New(fault.VisitState, "the visit is settled")
	ErrEntryUnknown       = fault.New(fault.EntryUnknown, "no such journal entry")
	ErrEntryClosed        = fault.New(fault.EntryClosed, "the journal entry is closed")
	ErrRefunded           = fault.New(fault.Refunded, "the settlement was taken back")
	ErrNotRefundable      = fault.New(fault.VisitState, "the journal entry is not one that can be taken back")
)

// A Journal is the truth about every transaction that books: an entry is on
// the disk before its request leaves, and its outcome before anybody is told.
// It is one SQLite file (WAL, synchronous FULL) that one process holds.
//
// Requests, answers, psn_no and the bodies of visits are encrypted with a key in
// a file of its own ([WithKeyFile]): who has the database alone reads masked
// names, numbers of the centre and amounts. Every change of an entry is a link
// of a chain that only the key can forge, and a mark beside the database keeps
// how far the chain got: [Journal.Verify] finds what was changed by something
// else, and [OpenJournal] an old file that was copied back.
//
// All writes go through one connection; those that come at the same time share
// one commit. Reads have connections of their own and never wait for them.
type Journal struct {
	path, keyFile string
	now           func() time.Time
	write         *sql.DB // one connection
	read          *sql.DB
	lock          fileLock
	key           *journalKey

	// The statements of every settlement, parsed once: with the schema's
	// triggers, parsing costs as much as the fsync.
	insert, readOne, update, chain, openVisit, changeVisit *sql.Stmt

	queue   sync.Mutex // protects the next three
	waiting []*change
	writing bool
	// Conclusions that the disk refused. They are tried again before every
	// later write; after a restart their entries are unknown.
	refused []conclusion

	// The end of the chain; whoever leads a batch has it.
	seq  int64
	hash [32]byte

	marked sync.Mutex
	mark   *headMark

	claimed claims

	probing sync.Mutex
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
	Undoes                     int64      // the entry that this one takes back (2208, 2305, 2103, 2601), or 0
	ReversedBy                 int64      // the entry, done, that took this one back, or 0
	RequestSHA256              [32]byte
	Request, Answer            []byte // only from Get
}

// String names the entry without personal data.
func (e Entry) String() string {
	return fmt.Sprintf("entry %d: %s %s %s %s", e.ID, e.Infno, e.MsgID, e.Total, e.Outcome)
}

// A Filter selects entries. Its zero value selects the latest hundred.
type Filter struct {
	Day     string  // yyyy-MM-dd in China, "" for any
	Outcome Outcome // "" for any
	Visit   string  // "" for any
	Before  int64   // only entries with smaller numbers, 0 for any
	Limit   int     // 0: 100; at most 1000
	// Earliest turns the order round; then After is the number of the entry
	// after which the list begins.
	Earliest bool
	After    int64
}

const columns = `id, visit, infno, msgid, opened_at, coalesce(closed_at, 0), outcome,
	total, fund, account, cash, agreed_total, agreed_fund, agreed_account, agreed_cash,
	setl_id, mdtrt_id, psn_no, holder, fault, message, note,
	coalesce(undoes, 0), coalesce(reversed_by, 0), request_sha256`

// List returns entries, the latest first unless told otherwise, without request
// and answer.
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
	order := "DESC"
	if f.Earliest {
		order = "ASC"
		add("id > ?", f.After)
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	args = append(args, min(f.Limit, 1000))
	rows, err := j.read.QueryContext(ctx, `SELECT `+columns+` FROM entry WHERE `+strings.Join(where, " AND ")+` ORDER BY id `+order+` LIMIT ?`, args...)
	if err != nil {
		return nil, fmt.Errorf("list entries: %w", unavailable(err))
	}
	defer rows.Close()
	var list []Entry
	for rows.Next() {
		e, err := j.scan(rows)
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
	e, err := j.scan(j.read.QueryRowContext(ctx, `SELECT `+columns+`, request, answer FROM entry WHERE id = ?`, id), &request, &answer)
	if err != nil {
		return Entry{}, fmt.Errorf("entry %d: %w", id, err)
	}
	if e.Request, err = j.key.open("request", e.MsgID, request); err == nil && answer != nil {
		e.Answer, err = j.key.open("answer", e.MsgID, answer)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("entry %d: %w", id, err)
	}
	return e, nil
}

// Unresolved returns a visit's entry that is intended or unknown, first the
// settlement itself and then what takes one back; ok is false where there is
// none.
func (j *Journal) Unresolved(ctx context.Context, visit string) (e Entry, ok bool, err error) {
	e, err = j.scan(j.read.QueryRowContext(ctx, `SELECT `+columns+` FROM entry
		WHERE visit = ? AND outcome IN ('intended', 'unknown') ORDER BY coalesce(undoes, 0) LIMIT 1`, visit))
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

func (j *Journal) scan(row interface{ Scan(...any) error }, more ...any) (Entry, error) {
	var e Entry
	var opened, closed int64
	var sum, psnNo []byte
	err := row.Scan(append([]any{&e.ID, &e.Visit, &e.Infno, &e.MsgID, &opened, &closed, &e.Outcome,
		&e.Total, &e.Fund, &e.Account, &e.Cash, &e.Agreed.Total, &e.Agreed.Fund, &e.Agreed.Account, &e.Agreed.Cash,
		&e.SetlID, &e.MdtrtID, &psnNo, &e.Holder, &e.Fault, &e.Message, &e.Note,
		&e.Undoes, &e.ReversedBy, &sum}, more...)...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Entry{}, ErrEntryUnknown
	case err != nil:
		return Entry{}, unavailable(err)
	}
	e.OpenedAt = milli(opened)
	if closed != 0 {
		e.ClosedAt = milli(closed)
	}
	copy(e.RequestSHA256[:], sum)
	text, err := j.key.open("psn_no", e.MsgID, psnNo)
	if err != nil {
		return Entry{}, fmt.Errorf("entry %d: %w", e.ID, err)
	}
	e.PsnNo = string(text)
	return e, nil
}

// Reserve and Reserved make the journal the [HighWater] of message numbers.

// Reserve stores the second up to which message numbers may be drawn.
func (j *Journal) Reserve(ctx context.Context, second int64) error {
	err := j.commit(ctx, func(ctx context.Context, b *batch) error {
		return b.exec(ctx, `INSERT INTO mark (name, value) VALUES ('msgid', ?1)
			ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)`, second)
	})
	if err != nil {
		return fmt.Errorf("reserve message numbers: %w", err)
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
	err := j.commit(ctx, func(ctx context.Context, b *batch) error {
		if err := b.exec(ctx, `INSERT INTO sign_in (opter, day, sign_no) VALUES (?1, ?2, ?3)
			ON CONFLICT (opter, day) DO UPDATE SET sign_no = excluded.sign_no`, opter, day, signNo); err != nil {
			return err
		}
		return b.exec(ctx, `DELETE FROM sign_in WHERE opter = ?1 AND day < ?2`, opter, day)
	})
	if err != nil {
		return fmt.Errorf("keep sign_no: %w", err)
	}
	return nil
}

func milli(ms int64) time.Time { return time.UnixMilli(ms) }

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
