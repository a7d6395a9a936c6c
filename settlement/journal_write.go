package settlement

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"

	"onecard/fault"
)

const (
	insertEntry = `INSERT INTO entry (visit, infno, msgid, day, opened_at, outcome,
		agreed_total, agreed_fund, agreed_account, agreed_cash, total, fund, account, cash,
		mdtrt_id, psn_no, holder, request_sha256, request, born, seq, id, undoes)
		VALUES (?1, ?2, ?3, ?4, ?5, 'intended', ?6, ?7, ?8, ?9, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?15, ?16, ?17)`

	readEntry = `SELECT msgid, seq, outcome, total, fund, account, cash, setl_id, coalesce(reversed_by, 0), answer, coalesce(undoes, 0)
		FROM entry WHERE id = ?1`

	updateEntry = `UPDATE entry SET outcome = ?2, closed_at = ?3, total = ?4, fund = ?5, account = ?6, cash = ?7,
		setl_id = ?8, fault = ?9, message = ?10, note = ?11, answer = ?12, seq = ?13
		WHERE id = ?1`

	readUndone = `SELECT seq, outcome, coalesce(closed_at, 0), total, fund, account, cash, setl_id, fault, message, note, coalesce(reversed_by, 0), answer
		FROM entry WHERE id = ?1`

	updateUndone = `UPDATE entry SET outcome = ?2, closed_at = ?3, fault = ?4, message = ?5, note = ?6, reversed_by = ?7, seq = ?8
		WHERE id = ?1`

	insertLink = `INSERT INTO chain (seq, entry, prev, kind, digest, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)`

	insertDecision = `INSERT INTO decision (seq, entry, at, who, reason) VALUES (?1, ?2, ?3, ?4, ?5)`

	// inTheWay has one question for each index that refuses an entry: asked
	// together they would read the whole journal while everybody waits to write.
	inTheWay = `SELECT outcome FROM (
			SELECT outcome FROM entry WHERE visit = ?1 AND outcome IN ('intended', 'unknown')
			UNION ALL SELECT outcome FROM entry
				WHERE mdtrt_id = ?2 AND mdtrt_id <> '' AND outcome IN ('intended', 'unknown') AND undoes IS NULL
			UNION ALL SELECT outcome FROM entry
				WHERE visit = ?1 AND infno = ?3 AND outcome IN ('intended', 'unknown', 'done') AND reversed_by IS NULL AND undoes IS NULL)
		ORDER BY outcome = 'unknown' DESC, outcome = 'intended' DESC LIMIT 1`

	// unresolved lets SQLite use the small index of what is not resolved.
	unresolved = ` outcome IN ('intended', 'unknown') `
)

// maxBatch bounds how many changes share a commit.
const maxBatch = 64

// A change is one caller's write. It may be run again after its transaction was
// rolled back, and where it fails with anything but ErrJournalUnavailable it
// has changed nothing.
type change struct {
	run  func(context.Context, *batch) error
	err  error
	turn chan bool // true: committed or refused; false: lead the next batch
}

// A batch is the transaction that changes share.
type batch struct {
	j    *Journal
	tx   *sql.Tx
	seq  int64
	hash [32]byte
	own  bool // the statements were prepared in tx
}

func (b *batch) statement(ctx context.Context, s *sql.Stmt) *sql.Stmt {
	if b.own {
		return s
	}
	return b.tx.StmtContext(ctx, s)
}

func (b *batch) exec(ctx context.Context, query string, args ...any) error {
	_, err := b.affect(ctx, query, args...)
	return err
}

func (b *batch) affect(ctx context.Context, query string, args ...any) (int64, error) {
	return affected(b.tx.ExecContext(ctx, query, args...))
}

// affectBy is affect with a statement that is parsed already.
func (b *batch) affectBy(ctx context.Context, s *sql.Stmt, args ...any) (int64, error) {
	return affected(b.statement(ctx, s).ExecContext(ctx, args...))
}

func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, unavailable(err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, unavailable(err)
	}
	return n, nil
}

// commit runs one change and returns when it is durable. It cannot be
// cancelled. Changes that arrive while another commit is on its way to the disk
// share the next one: who came first leads it, so that a caller who is alone
// waits for nobody.
func (j *Journal) commit(ctx context.Context, run func(context.Context, *batch) error) error {
	ctx = context.WithoutCancel(ctx)
	c := &change{run: run, turn: make(chan bool, 1)}
	j.queue.Lock()
	j.waiting = append(j.waiting, c)
	wait := j.writing
	j.writing = true
	j.queue.Unlock()
	if wait && <-c.turn {
		return c.err
	}
	j.queue.Lock()
	n := min(len(j.waiting), maxBatch)
	together := j.waiting[:n:n] // c is the first
	j.waiting = j.waiting[n:]
	j.queue.Unlock()
	j.writeBatch(ctx, together)
	j.queue.Lock()
	if len(j.waiting) > 0 {
		j.waiting[0].turn <- false
	} else {
		j.waiting, j.writing = nil, false
	}
	j.queue.Unlock()
	for _, other := range together[1:] {
		other.turn <- true
	}
	return c.err
}

// writeBatch commits a batch, or where that fails each change by itself, so that
// none fails for another's sake.
func (j *Journal) writeBatch(ctx context.Context, together []*change) {
	err := j.flush(ctx)
	if err == nil {
		if err = j.transact(ctx, together); err == nil {
			return
		}
	}
	if len(together) == 1 {
		together[0].err = err
		return
	}
	for _, c := range together {
		if c.err = j.flush(ctx); c.err == nil {
			if err := j.transact(ctx, []*change{c}); err != nil {
				c.err = err
			}
		}
	}
}

// transact runs changes in one transaction. Its error says that none of them is
// in the journal; otherwise each has its own.
func (j *Journal) transact(ctx context.Context, together []*change) error {
	if err := j.remark(); err != nil {
		return err
	}
	tx, err := j.write.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err)
	}
	b := &batch{j: j, tx: tx, seq: j.seq, hash: j.hash}
	for _, c := range together {
		if c.err = c.run(ctx, b); errors.Is(c.err, ErrJournalUnavailable) {
			_ = tx.Rollback() // the first error is the one that counts
			return c.err
		}
	}
	if err := tx.Commit(); err != nil {
		return unavailable(err)
	}
	j.seq, j.hash = b.seq, b.hash
	// The commit stands whatever becomes of the mark; where it cannot be written
	// the next transaction is refused.
	_ = j.remark()
	return nil
}

// remark brings the mark to the end of the chain.
func (j *Journal) remark() error {
	j.marked.Lock()
	defer j.marked.Unlock()
	if j.mark == nil {
		return fmt.Errorf("closed: %w", ErrJournalUnavailable)
	}
	if j.mark.seq == j.seq {
		return nil
	}
	return j.mark.set(j.seq, j.hash)
}

// link appends to the chain. Its errors are ErrJournalUnavailable: the
// transaction is over.
func (b *batch) link(ctx context.Context, l link) error {
	if l.seq != b.seq+1 {
		return fmt.Errorf("link %d after %d: %w", l.seq, b.seq, ErrJournalUnavailable)
	}
	hash := b.j.key.hash(b.hash, l)
	if _, err := b.statement(ctx, b.j.chain).ExecContext(ctx, l.seq, l.entry, l.prev, l.kind, l.digest, hash[:]); err != nil {
		return b.broken(err)
	}
	if d := l.decision; d != nil {
		if _, err := b.tx.ExecContext(ctx, insertDecision, l.seq, d.EntryID, d.At.UnixMilli(), d.Who, d.Reason); err != nil {
			return b.broken(err)
		}
	}
	b.seq, b.hash = l.seq, hash
	return nil
}

func (b *batch) broken(err error) error { return fmt.Errorf("chain: %w", unavailable(err)) }

// infnoReversal is 2601: it takes back a transaction of which nobody knows the
// outcome.
const infnoReversal = "2601"

// Intend writes an entry down, durably, before its request is sent: Visit,
// Infno, MsgID, Agreed, MdtrtID, PsnNo, Holder, Undoes and Request of e. It
// refuses a visit that has a transaction on its way (ErrInProgress), in doubt
// (ErrUnknownUnresolved) or settled already (ErrSettled), and everything while
// the disk does (ErrJournalUnavailable): then nothing may be sent.
//
// What takes another entry back names it in Undoes: one of the same visit that
// is done and stands (otherwise ErrRefunded or ErrNotRefundable), or, for 2601
// alone, unknown.
func (j *Journal) Intend(ctx context.Context, e Entry) (id int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("intend: %w", err)
	}
	s := j.sent(e)
	err = j.commit(ctx, func(ctx context.Context, b *batch) error {
		s.id = 0 // of a transaction that was rolled back
		return b.intend(ctx, &s)
	})
	if err != nil {
		return 0, fmt.Errorf("intend: %w", err)
	}
	return s.id, nil
}

// sent is what will never change of an entry.
func (j *Journal) sent(e Entry) sent {
	now := j.now()
	sum := sha256.Sum256(e.Request)
	a := e.Agreed
	return sent{
		visit: e.Visit, infno: e.Infno, msgid: e.MsgID, day: FormatDate(now), opened: now.UnixMilli(),
		total: int64(a.Total), fund: int64(a.Fund), account: int64(a.Account), cash: int64(a.Cash),
		mdtrtID: e.MdtrtID, psnNo: j.key.seal("psn_no", e.MsgID, []byte(e.PsnNo)), holder: e.Holder,
		sum: sum[:], request: j.key.seal("request", e.MsgID, e.Request), undoes: e.Undoes,
	}
}

// intend inserts an entry and gives it the next number where it has none.
func (b *batch) intend(ctx context.Context, s *sent) error {
	seq := b.seq + 1
	var number any // the next one
	if s.id != 0 {
		number = s.id
	}
	var undoes any
	if s.undoes != 0 {
		if err := b.undoable(ctx, s); err != nil {
			return err
		}
		undoes = s.undoes
	}
	result, err := b.statement(ctx, b.j.insert).ExecContext(ctx, s.visit, s.infno, s.msgid, s.day, s.opened,
		s.total, s.fund, s.account, s.cash, s.mdtrtID, s.psnNo, s.holder, s.sum, s.request, seq, number, undoes)
	if err != nil {
		if !unique(err) {
			return unavailable(err)
		}
		if taken := b.taken(ctx, s); taken != nil {
			return taken
		}
		return errors.New("message number used before")
	}
	if s.id, err = result.LastInsertId(); err != nil {
		return unavailable(err)
	}
	return b.link(ctx, link{seq: seq, entry: s.id, kind: linkIntended, digest: digest(s.id, s, s.born())})
}

// undoable refuses what does not take back an entry that stands.
func (b *batch) undoable(ctx context.Context, s *sent) error {
	var visit string
	var outcome Outcome
	var undoes, reversedBy int64
	err := b.tx.QueryRowContext(ctx, `SELECT visit, outcome, coalesce(undoes, 0), coalesce(reversed_by, 0) FROM entry WHERE id = ?1`, s.undoes).
		Scan(&visit, &outcome, &undoes, &reversedBy)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrEntryUnknown
	case err != nil:
		return unavailable(err)
	case visit != s.visit || undoes != 0:
		return ErrNotRefundable
	case reversedBy != 0:
		return ErrRefunded
	case s.infno == infnoReversal && outcome == Unknown, s.infno != infnoReversal && outcome == Done:
		return nil
	case outcome == Unknown:
		return ErrUnknownUnresolved
	case outcome == Intended:
		return ErrInProgress
	}
	return ErrNotRefundable
}

// taken says which entry stands in the way of s.
func (b *batch) taken(ctx context.Context, s *sent) error {
	var outcome Outcome
	err := b.tx.QueryRowContext(ctx, inTheWay, s.visit, s.mdtrtID, s.infno).Scan(&outcome)
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
	at int64 // Unix milliseconds
	c  Conclusion
}

// maxAnswer bounds what is kept of an answer.
const maxAnswer = 1 << 20

// Conclude closes an entry that is intended, or decides one that is unknown. It
// cannot be cancelled. An entry that takes another back and is done marks that
// one ReversedBy in the same commit; what was unknown is refused then. Where the disk refuses, the conclusion is kept in
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
	d := conclusion{id, j.now().UnixMilli(), c}
	err := j.commit(ctx, func(ctx context.Context, b *batch) error { return b.conclude(ctx, d, nil) })
	if errors.Is(err, ErrJournalUnavailable) {
		j.queue.Lock()
		j.refused = append(j.refused, d)
		j.queue.Unlock()
	}
	if err != nil {
		return fmt.Errorf("conclude entry %d: %w", id, err)
	}
	return nil
}

// conclude changes an entry that is not closed. A person's decision is part of
// the link.
func (b *batch) conclude(ctx context.Context, d conclusion, by *Decision) error {
	var st state
	var msgid string
	var prev, undoes int64
	err := b.statement(ctx, b.j.readOne).QueryRowContext(ctx, d.id).Scan(&msgid, &prev, &st.outcome,
		&st.total, &st.fund, &st.account, &st.cash, &st.setlID, &st.reversedBy, &st.answer, &undoes)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrEntryUnknown
	case err != nil:
		return unavailable(err)
	case st.outcome != Intended && st.outcome != Unknown:
		return ErrEntryClosed
	case by != nil && st.outcome != Unknown:
		return ErrInProgress
	}
	c := d.c
	if by != nil && c.Booked != nil {
		if err := checkAmounts(*c.Booked, Fen(st.total), undoes != 0); err != nil {
			return err
		}
	}
	st.closed, st.outcome, st.fault, st.message, st.note = d.at, c.Outcome, string(c.Fault), c.Message, c.Note
	if c.Booked != nil {
		st.total, st.fund, st.account, st.cash = int64(c.Booked.Total), int64(c.Booked.Fund), int64(c.Booked.Account), int64(c.Booked.Cash)
	}
	if c.SetlID != "" {
		st.setlID = c.SetlID
	}
	if len(c.Answer) > 0 {
		st.answer = b.j.key.seal("answer", msgid, c.Answer)
	}
	var answer any
	if st.answer != nil {
		answer = st.answer
	}
	seq := b.seq + 1
	if _, err := b.statement(ctx, b.j.update).ExecContext(ctx, d.id, string(st.outcome), st.closed,
		st.total, st.fund, st.account, st.cash, st.setlID, st.fault, st.message, st.note, answer, seq); err != nil {
		return unavailable(err)
	}
	kind := linkConcluded
	if by != nil {
		kind = linkDecided
	}
	if err := b.link(ctx, link{seq: seq, entry: d.id, prev: prev, kind: kind, digest: digest(d.id, nil, st), decision: by}); err != nil {
		return err
	}
	if undoes == 0 || st.outcome != Done {
		return nil
	}
	return b.undone(ctx, undoes, d)
}

// undone marks an entry as taken back by the one just concluded. One that was
// in doubt is thereby known to stand no more.
func (b *batch) undone(ctx context.Context, id int64, by conclusion) error {
	var st state
	var prev int64
	err := b.tx.QueryRowContext(ctx, readUndone, id).Scan(&prev, &st.outcome, &st.closed, &st.total, &st.fund, &st.account, &st.cash,
		&st.setlID, &st.fault, &st.message, &st.note, &st.reversedBy, &st.answer)
	if err != nil {
		return b.broken(err)
	}
	st.reversedBy = by.id
	if st.outcome == Unknown {
		st.outcome, st.closed, st.note = Refused, by.at, "taken back by "+infnoReversal
	}
	seq := b.seq + 1
	if _, err := b.tx.ExecContext(ctx, updateUndone, id, string(st.outcome), st.closed, st.fault, st.message, st.note, st.reversedBy, seq); err != nil {
		return b.broken(err)
	}
	return b.link(ctx, link{seq: seq, entry: id, prev: prev, kind: linkConcluded, digest: digest(id, nil, st)})
}

// flush writes conclusions that the disk refused earlier. Only who leads a
// batch calls it.
func (j *Journal) flush(ctx context.Context) error {
	for {
		j.queue.Lock()
		if len(j.refused) == 0 {
			j.queue.Unlock()
			return nil
		}
		d := j.refused[0]
		j.queue.Unlock()
		c := &change{run: func(ctx context.Context, b *batch) error { return b.conclude(ctx, d, nil) }}
		if err := j.transact(ctx, []*change{c}); err != nil {
			return err
		}
		// Closed meanwhile by a person: theirs stands.
		j.queue.Lock()
		j.refused = j.refused[1:]
		j.queue.Unlock()
	}
}
