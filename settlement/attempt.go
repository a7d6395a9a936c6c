package settlement

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"onecard/fault"
)

// A Verdict is what an attempt at an entry of unknown outcome came to.
type Verdict string

// The verdicts. The first four end an inquiry.
const (
	VerdictBooked       Verdict = "booked"       // upstream has it: the entry is done
	VerdictNever        Verdict = "never"        // it never arrived: the entry is refused
	VerdictReversed     Verdict = "reversed"     // 2601 took it back: the entry is refused
	VerdictGivenUp      Verdict = "given_up"     // a person decides
	VerdictUndecided    Verdict = "undecided"    // asked again later
	VerdictContradicted Verdict = "contradicted" // a late answer says something else than the closed entry
	VerdictAcknowledged Verdict = "acknowledged" // a person has seen to a contradiction, or upstream no longer has it
)

// A Reason is why an attempt did not decide, or why a person must.
type Reason string

// The reasons.
const (
	ReasonLine       Reason = "line"        // upstream could not be reached or did not answer
	ReasonEarly      Reason = "early"       // not there, but it may still arrive
	ReasonSilent     Reason = "silent"      // nothing that was asked says whether it is booked
	ReasonWaits      Reason = "waits"       // what takes it back is in doubt itself
	ReasonBound      Reason = "bound"       // asked as often, or for as long, as configured
	ReasonNoLookup   Reason = "no_lookup"   // this region honours nothing that could decide
	ReasonDiffers    Reason = "differs"     // upstream has it with another visit, person or total
	ReasonSums       Reason = "sums"        // upstream has it with amounts that do not add up
	ReasonTwice      Reason = "twice"       // upstream has it twice, or under the number of another
	ReasonTakenBack  Reason = "taken_back"  // upstream has it and has taken it back
	ReasonNotRefund  Reason = "refund"      // a refund of which neither look-up is certain
	ReasonReversal   Reason = "reversal"    // 2601 was refused
	ReasonLateBooked Reason = "late_booked" // booked, says a late answer; the entry says not
	ReasonLateOther  Reason = "late_other"  // refused, or booked otherwise, says a late answer; the entry is done
)

// What one question found.
const (
	SaidBooked    = "booked"    // the settlement, as it should be
	SaidAbsent    = "absent"    // a statement without it
	SaidNothing   = "nothing"   // an answer that says neither
	SaidRefused   = "refused"   // upstream refused the question
	SaidLine      = "line"      // no answer, or none that could be used: Fault says why
	SaidStands    = "stands"    // of a refund's settlement: it stands
	SaidTakenBack = "takenback" // it was taken back
	SaidDiffers   = "differs"   // another visit, person or total
	SaidSums      = "sums"      // amounts that do not add up
	SaidTwice     = "twice"     // several
	SaidReversed  = "reversed"  // 2601 took it back
	SaidUnknown   = "unknown"   // 2601 knows no such transaction
	SaidNotAsked  = "notasked"  // the region's tables do not permit the question
	SaidLate      = "late"      // an answer that came after its time-out
)

// An Asked is one question of an attempt and its answer, without personal data.
type Asked struct {
	Infno  string     `json:"infno"`
	At     time.Time  `json:"at"`
	Found  string     `json:"found"`
	Fault  fault.Code `json:"fault,omitempty"`
	SetlID string     `json:"setl_id,omitempty"`
	Total  *Fen       `json:"total,omitempty"`
	About  string     `json:"about,omitempty"` // of 3202: day and kind of clearing
}

// An AttemptFinding is what an attempt asked, and what follows.
type AttemptFinding struct {
	Verdict Verdict `json:"verdict"`
	Reason  Reason  `json:"reason,omitempty"`
	Asked   []Asked `json:"asked,omitempty"`
	By      string  `json:"by,omitempty"` // who asked for the attempt, where a person did
}

// An Attempt is one try at finding out what became of an entry.
type Attempt struct {
	Entry   int64
	N       int // from 1
	At      time.Time
	Next    time.Time // zero: nothing more is asked
	Finding AttemptFinding
}

// maxFinding bounds what is kept of one attempt.
const maxFinding = 16 << 10

// addAttempt keeps an attempt and gives it its number.
func (j *Journal) addAttempt(ctx context.Context, a Attempt) (Attempt, error) {
	text, err := json.Marshal(a.Finding)
	if err == nil && len(text) > maxFinding {
		a.Finding.Asked = nil
		text, err = json.Marshal(a.Finding)
	}
	if err != nil {
		return a, fmt.Errorf("attempt at entry %d: %w", a.Entry, err)
	}
	var next any
	if !a.Next.IsZero() {
		next = a.Next.UnixMilli()
	}
	err = j.commit(ctx, func(ctx context.Context, b *batch) error {
		var n int
		if err := b.tx.QueryRowContext(ctx, `SELECT coalesce(max(n), 0) + 1 FROM attempt WHERE entry = ?1`, a.Entry).Scan(&n); err != nil {
			return unavailable(err)
		}
		if err := b.exec(ctx, `INSERT INTO attempt (entry, n, at, next_at, finding) VALUES (?1, ?2, ?3, ?4, ?5)`,
			a.Entry, n, a.At.UnixMilli(), next, string(text)); err != nil {
			return err
		}
		a.N = n
		switch a.Finding.Verdict {
		case VerdictContradicted:
			return b.exec(ctx, `INSERT INTO mark (name, value) VALUES (?1, 1) ON CONFLICT (name) DO NOTHING`, contradicted(a.Entry))
		case VerdictAcknowledged:
			return b.exec(ctx, `DELETE FROM mark WHERE name = ?1`, contradicted(a.Entry))
		}
		return nil
	})
	if err != nil {
		return a, fmt.Errorf("attempt at entry %d: %w", a.Entry, err)
	}
	return a, nil
}

// contradictedMark begins the marks of entries that a late answer contradicts.
const contradictedMark = "contradicted "

func contradicted(entry int64) string { return contradictedMark + strconv.FormatInt(entry, 10) }

// Contradicted returns the entries that a late answer contradicts and that no
// person has seen to yet.
func (j *Journal) Contradicted(ctx context.Context) ([]int64, error) {
	rows, err := j.read.QueryContext(ctx, `SELECT name FROM mark WHERE name >= ?1 AND name < ?2 LIMIT 1000`, contradictedMark, contradictedMark+"~")
	if err != nil {
		return nil, fmt.Errorf("contradicted entries: %w", unavailable(err))
	}
	defer rows.Close()
	var list []int64
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("contradicted entries: %w", unavailable(err))
		}
		id, err := strconv.ParseInt(strings.TrimPrefix(name, contradictedMark), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("contradicted entries: %w", ErrJournalAltered)
		}
		list = append(list, id)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("contradicted entries: %w", unavailable(err))
	}
	return list, nil
}

// Attempts returns what was asked of an entry, the earliest first.
func (j *Journal) Attempts(ctx context.Context, entry int64) ([]Attempt, error) {
	rows, err := j.read.QueryContext(ctx, `SELECT entry, n, at, coalesce(next_at, 0), finding FROM attempt WHERE entry = ? ORDER BY n LIMIT 1000`, entry)
	if err != nil {
		return nil, fmt.Errorf("attempts: %w", unavailable(err))
	}
	defer rows.Close()
	var list []Attempt
	for rows.Next() {
		a, err := scanAttempt(rows)
		if err != nil {
			return nil, fmt.Errorf("attempts: %w", err)
		}
		list = append(list, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("attempts: %w", unavailable(err))
	}
	return list, nil
}

func scanAttempt(row interface{ Scan(...any) error }) (Attempt, error) {
	var a Attempt
	var at, next int64
	var text string
	if err := row.Scan(&a.Entry, &a.N, &at, &next, &text); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			return a, err
		}
		return a, unavailable(err)
	}
	a.At = milli(at)
	if next != 0 {
		a.Next = milli(next)
	}
	if err := json.Unmarshal([]byte(text), &a.Finding); err != nil {
		return a, fmt.Errorf("attempt %d at entry %d: %w", a.N, a.Entry, ErrJournalAltered)
	}
	return a, nil
}

// An UnknownEntry is an entry of unknown outcome with the latest attempt at it.
type UnknownEntry struct {
	Entry  int64
	Since  time.Time // when it became unknown
	Latest Attempt   // N 0: nobody has asked yet
}

// GivenUp says whether a person has to decide it.
func (d UnknownEntry) GivenUp() bool { return d.Latest.N > 0 && d.Latest.Next.IsZero() }

// maxUnknowns bounds what one look at the journal returns.
const maxUnknowns = 1000

const selectUnknowns = `SELECT e.id, coalesce(e.closed_at, 0), coalesce(a.n, 0), coalesce(a.at, 0), coalesce(a.next_at, 0), coalesce(a.finding, '{}')
		FROM entry e INDEXED BY entry_unresolved LEFT JOIN attempt a ON a.entry = e.id AND a.n = (SELECT max(n) FROM attempt WHERE entry = e.id)
		WHERE e.outcome = 'unknown' AND e.outcome IN ('intended', 'unknown') ORDER BY e.id LIMIT ?`

// Unknowns returns the entries of unknown outcome, those in doubt for longest
// first.
func (j *Journal) Unknowns(ctx context.Context) ([]UnknownEntry, error) {
	rows, err := j.read.QueryContext(ctx, selectUnknowns, maxUnknowns)
	if err != nil {
		return nil, fmt.Errorf("doubts: %w", unavailable(err))
	}
	defer rows.Close()
	var list []UnknownEntry
	for rows.Next() {
		var d UnknownEntry
		var since, at, next int64
		var text string
		if err := rows.Scan(&d.Entry, &since, &d.Latest.N, &at, &next, &text); err != nil {
			return nil, fmt.Errorf("doubts: %w", unavailable(err))
		}
		d.Since, d.Latest.Entry = milli(since), d.Entry
		if d.Latest.N > 0 {
			d.Latest.At = milli(at)
			if next != 0 {
				d.Latest.Next = milli(next)
			}
			if err := json.Unmarshal([]byte(text), &d.Latest.Finding); err != nil {
				return nil, fmt.Errorf("attempt %d at entry %d: %w", d.Latest.N, d.Entry, ErrJournalAltered)
			}
		}
		list = append(list, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("doubts: %w", unavailable(err))
	}
	return list, nil
}

// ByMsgID returns the entry of a message number, without request and answer, or
// ErrEntryUnknown.
func (j *Journal) ByMsgID(ctx context.Context, msgid string) (Entry, error) {
	e, err := j.scan(j.read.QueryRowContext(ctx, `SELECT `+columns+` FROM entry WHERE msgid = ?`, msgid))
	if err != nil {
		return Entry{}, fmt.Errorf("entry of a message number: %w", err)
	}
	return e, nil
}

const selectUndoing = `SELECT id FROM entry
		WHERE undoes = ? AND outcome IN ('intended', 'unknown', 'done') AND outcome <> 'done'`

// undoing returns the entry that is on its way or in doubt and takes another
// back; ok is false where there is none.
func (j *Journal) undoing(ctx context.Context, entry int64) (id int64, ok bool, err error) {
	err = j.read.QueryRowContext(ctx, selectUndoing, entry).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("what undoes entry %d: %w", entry, unavailable(err))
	}
	return id, true, nil
}
