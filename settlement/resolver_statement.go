package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// statementLife is for how long a statement serves other entries of the same
// pass: after an outage many are asked about at once.
const statementLife = 20 * time.Second

// statements are those asked for lately. One is asked for at a time.
type statements struct {
	turn chan struct{} // holds a token while nobody asks

	mu   sync.Mutex
	kept map[string]statement
}

type statement struct {
	at   time.Time // when it was asked for: what was booked by then is in it
	rows []ResultRow
	ours map[string]bool // setl_id of the rows that were listed
}

func newStatements() *statements {
	s := &statements{turn: make(chan struct{}, 1), kept: make(map[string]statement)}
	s.turn <- struct{}{}
	return s
}

// clockDoubt is how far upstream's clock and ours may be apart: it decides on
// which day a settlement near midnight is listed.
const clockDoubt = 30 * time.Minute

// maxDays bounds the days of a settlement that are asked about.
const maxDays = 3

// days are the days on which the entry may be listed.
func (q *inquiry) days() []string {
	e, l := q.entry, q.r.cfg.Lookup
	from := e.OpenedAt.Add(-clockDoubt)
	// A crash leaves an entry open until the next start; its request was gone
	// long before.
	closed := e.ClosedAt
	if latest := e.OpenedAt.Add(time.Hour); closed.After(latest) {
		closed = latest
	}
	to := closed.Add(l.Settled + clockDoubt)
	if now := q.at.Add(clockDoubt); to.After(now) {
		to = now
	}
	var days []string
	for t := from; len(days) < maxDays; t = t.Add(24 * time.Hour) {
		day := FormatDate(t)
		if len(days) == 0 || day <= FormatDate(to) {
			days = append(days, day)
		}
		if day >= FormatDate(to) {
			break
		}
	}
	return days
}

// A listing is what statements say of an entry: rows that are its own, and rows
// that may be.
type listing struct {
	hits   []ResultRow     // with its msgid
	maybe  []ResultRow     // of its person, visit and total, under no msgid that we know
	whole  bool            // every statement that could list it was read
	at     time.Time       // when the first of them was asked for
	listed map[string]bool // our rows by setl_id; true where a statement has it, too
}

// statement asks 3202 for every day and kind of clearing that may list the
// entry, until one does. err is the journal's.
func (q *inquiry) statement(ctx context.Context, settled string) (listing, error) {
	e := q.entry
	found := listing{listed: make(map[string]bool)}
	seen, err := q.r.cfg.Journal.clearings(ctx, settled)
	if err != nil {
		return found, err
	}
	optins := q.r.cfg.Lookup.Optins
	if optins == "" {
		optins = q.r.cfg.Area
	}
	for _, day := range q.days() {
		for _, clrType := range q.r.cfg.Lookup.clrTypes(settled, seen) {
			of := Statement{ClrType: clrType, Optins: optins, From: day, To: day}
			s, err := q.r.statementOf(ctx, q, of, settled)
			if errors.Is(err, ErrJournalUnavailable) || ctx.Err() != nil && err != nil {
				return found, err
			}
			label := day + " " + clrType
			if err != nil {
				// Refused, too: a statement that was not made lists nothing.
				q.failed(infnoStatement, err, about(label))
				return found, nil
			}
			if found.at.IsZero() || s.at.Before(found.at) {
				found.at = s.at
			}
			missing := make(map[string]bool)
			for _, row := range s.rows {
				missing[row.SetlID] = missing[row.SetlID] || row.MsgID == "" && s.ours[row.SetlID]
			}
			for id := range s.ours {
				found.listed[id] = found.listed[id] || !missing[id]
			}
			for _, row := range s.rows {
				switch {
				case row.MsgID == e.MsgID:
					found.hits = append(found.hits, row)
				case !s.ours[row.SetlID] && q.resembles(row):
					other, err := q.another(ctx, row.MsgID)
					if err != nil {
						return found, err
					}
					if !other {
						found.maybe = append(found.maybe, row)
					}
				}
			}
			if len(found.hits) > 0 {
				row := found.hits[0]
				q.note(infnoStatement, SaidBooked, about(label), ofSettlement(row.SetlID, row.Total))
				return found, nil
			}
			q.note(infnoStatement, SaidAbsent, about(label))
		}
	}
	found.whole = !found.at.IsZero() && found.plausible()
	return found, nil
}

// plausible says whether the statements can be those in which the entry would be
// listed: where they have none of our own settlements of these days, the region
// lists them under another kind of clearing or office, and proves nothing.
func (l listing) plausible() bool {
	for _, there := range l.listed {
		if there {
			return true
		}
	}
	return len(l.listed) == 0
}

// resembles says whether a row that does not name the entry may be the entry's
// all the same: centres leave the msgid out, or give one that nobody sent.
func (q *inquiry) resembles(row ResultRow) bool {
	e := q.entry
	switch {
	case row.PsnNo != e.PsnNo, row.Refund != (e.Undoes != 0), row.Total.Valid && row.Total.Fen != e.Agreed.Total:
		return false
	}
	return row.MdtrtID == "" || e.MdtrtID == "" || row.MdtrtID == e.MdtrtID
}

// another says whether a message number is that of another entry.
func (q *inquiry) another(ctx context.Context, msgid string) (bool, error) {
	if msgid == "" {
		return false, nil
	}
	_, err := q.r.cfg.Journal.ByMsgID(ctx, msgid)
	if errors.Is(err, ErrEntryUnknown) {
		return false, nil
	}
	return err == nil, err
}

// statementOf asks for a statement, or returns one that was asked for a moment
// ago.
func (r *Resolver) statementOf(ctx context.Context, q *inquiry, of Statement, settled string) (statement, error) {
	select {
	case <-r.statements.turn:
		defer func() { r.statements.turn <- struct{}{} }()
	case <-ctx.Done():
		return statement{}, ctx.Err()
	}
	key := fmt.Sprint(of, settled, q.scope.InsuplcAdmdvs)
	r.statements.mu.Lock()
	s, kept := r.statements.kept[key]
	now := r.cfg.Now()
	for k, old := range r.statements.kept {
		if age := now.Sub(old.at); age < 0 || age > statementLife {
			delete(r.statements.kept, k)
			kept = kept && k != key
		}
	}
	r.statements.mu.Unlock()
	// One that was asked for too early to be evidence serves only while a new one
	// would be no better.
	since := q.entry.ClosedAt
	if kept && s.at.After(q.fresh) && (s.at.Sub(since) >= r.cfg.Lookup.Settled || s.at.After(since) && now.Sub(since) < r.cfg.Lookup.Settled) {
		return s, nil
	}
	ours, err := r.cfg.Journal.statementRows(ctx, of.From, settled)
	if err != nil {
		return statement{}, err
	}
	s = statement{at: now, ours: make(map[string]bool, len(ours))}
	for _, row := range ours {
		s.ours[row.SetlID] = true
	}
	if s.rows, err = r.cfg.Line.CompareRows(ctx, q.scope, of, ours); err != nil {
		return statement{}, err
	}
	r.statements.mu.Lock()
	r.statements.kept[key] = s
	r.statements.mu.Unlock()
	return s, nil
}

// statementRows are our rows of a day's statement: what is done, settlements of
// the kind and what took them back.
func (j *Journal) statementRows(ctx context.Context, day, settled string) ([]StatementRow, error) {
	var rows []StatementRow
	known := make(map[string]bool)
	for after, more := int64(0), true; more; {
		list, err := j.List(ctx, Filter{Day: day, Outcome: Done, Earliest: true, After: after, Limit: 1000})
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			after = e.ID
			// The number of a reversal is our own: upstream's is not known.
			if kind := nationalInfno(e.Infno); kind != settled && kind != refundInfno[settled] || known[e.SetlID] {
				continue
			}
			known[e.SetlID] = true
			rows = append(rows, StatementRow{
				SetlID: e.SetlID, MdtrtID: e.MdtrtID, PsnNo: e.PsnNo, Refund: e.Undoes != 0,
				Amounts: Amounts{Total: e.Total, Fund: e.Fund, Account: e.Account, Cash: e.Cash},
			})
		}
		more = len(list) == 1000
	}
	return rows, nil
}

const selectAnswered = `SELECT msgid, answer FROM entry
		WHERE id > (SELECT coalesce(max(id), 0) - 200 FROM entry) AND infno = ? AND outcome = 'done' AND answer IS NOT NULL ORDER BY id DESC LIMIT ?`

// clearings are the kinds of clearing that the latest answers to such a
// settlement show: what a region calls it, no table says.
func (j *Journal) clearings(ctx context.Context, infno string) ([]string, error) {
	const looked = 20
	rows, err := j.read.QueryContext(ctx, selectAnswered, infno, looked)
	if err != nil {
		return nil, fmt.Errorf("kinds of clearing: %w", unavailable(err))
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var msgid string
		var sealed []byte
		if err := rows.Scan(&msgid, &sealed); err != nil {
			return nil, fmt.Errorf("kinds of clearing: %w", unavailable(err))
		}
		text, err := j.key.open("answer", msgid, sealed)
		if err != nil {
			return nil, fmt.Errorf("kinds of clearing: %w", err)
		}
		a, err := readAnswer(infno, 200, text)
		var out struct {
			Info Node[struct {
				ClrType Text `json:"clr_type"`
			}] `json:"setlinfo"`
		}
		// What was cut for its length, or came encrypted, shows none.
		if err != nil || len(a.Output) == 0 || a.Decode(&out) != nil {
			continue
		}
		if c := string(out.Info.Value.ClrType); c != "" && len(c) <= 6 && !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("kinds of clearing: %w", unavailable(err))
	}
	return list, nil
}
