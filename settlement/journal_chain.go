package settlement

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"onecard/fault"
)

// ErrJournalAltered is what a journal says in which a row was changed, added or
// removed by something else than onecard.
var ErrJournalAltered = fault.New(fault.JournalAltered, "the journal was altered")

// The kinds of links.
const (
	linkIntended  = "intended"
	linkConcluded = "concluded"
	linkDecided   = "decided"  // by a person, see [Decision]
	linkAccepted  = "accepted" // the journal itself, after it was behind its mark
)

// tailLinks is how many of the latest links are verified when a journal is
// opened.
const tailLinks = 256

// state is what may change of an entry.
type state struct {
	closed                     int64 // Unix milliseconds, 0 while intended
	outcome                    Outcome
	total, fund, account, cash int64
	setlID, fault              string
	message, note              string
	reversedBy                 int64
	answer                     []byte // sealed
}

// sent is what never changes of an entry.
type sent struct {
	id                         int64
	visit, infno, msgid, day   string
	opened                     int64
	total, fund, account, cash int64
	mdtrtID                    string
	psnNo                      []byte // sealed
	holder                     string
	sum                        []byte
	request                    []byte // sealed
	undoes                     int64
}

// born is the state that every entry begins with.
func (s *sent) born() state {
	return state{outcome: Intended, total: s.total, fund: s.fund, account: s.account, cash: s.cash}
}

// digest is SHA-256 over the values, each with its length. s is nil for a
// conclusion: what was sent is in the entry's first link.
func digest(id int64, s *sent, st state) []byte {
	h := canonical{sha256.New()}
	if s != nil {
		h.text("sent", s.visit, s.infno, s.msgid, s.day, s.mdtrtID, s.holder)
		h.blob(s.psnNo, s.sum, s.request)
		h.number(s.opened, s.total, s.fund, s.account, s.cash)
		if s.undoes != 0 { // without it the digest is that of journals before version 3
			h.text("undoes")
			h.number(s.undoes)
		}
	}
	h.text("state", string(st.outcome), st.setlID, st.fault, st.message, st.note)
	h.number(id, st.closed, st.total, st.fund, st.account, st.cash, st.reversedBy)
	h.blob(st.answer)
	return h.Sum(nil)
}

// canonical writes values so that no two lists of values look the same.
type canonical struct{ hash.Hash }

func (c canonical) number(values ...int64) {
	for _, v := range values {
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(v))
		c.Write(b[:])
	}
}

func (c canonical) blob(values ...[]byte) {
	for _, v := range values {
		c.number(int64(len(v)))
		c.Write(v)
	}
}

func (c canonical) text(values ...string) {
	for _, v := range values {
		c.blob([]byte(v))
	}
}

// A link is one row of the chain.
type link struct {
	seq, entry, prev int64
	kind             string
	digest           []byte
	decision         *Decision // of a person, else nil
}

// hash binds a link to the one before it.
func (k *journalKey) hash(before [32]byte, l link) (sum [32]byte) {
	h := canonical{hmac.New(sha256.New, k.chain)}
	h.Write(before[:])
	h.number(l.seq, l.entry, l.prev)
	h.text(l.kind)
	h.blob(l.digest)
	if d := l.decision; d != nil {
		h.number(d.EntryID, d.At.UnixMilli())
		h.text(d.Who, d.Reason)
	}
	h.Sum(sum[:0])
	return sum
}

// A Verification is what a journal was found to hold.
type Verification struct {
	Entries int64
	Links   int64    // of the chain, that is changes of entries
	Hash    [32]byte // of the last link
}

// Verify reads the whole journal and recomputes its chain: an error that wraps
// ErrJournalAltered names the first row that was changed, removed or added by
// something else than onecard. Work goes on meanwhile.
func (j *Journal) Verify(ctx context.Context) (Verification, error) {
	j.marked.Lock()
	if j.mark == nil {
		j.marked.Unlock()
		return Verification{}, fmt.Errorf("verify journal: closed: %w", ErrJournalUnavailable)
	}
	seq, sum := j.mark.seq, j.mark.hash
	j.marked.Unlock()
	v, err := verify(ctx, j.read, j.key, seq, sum)
	if err != nil {
		return v, fmt.Errorf("verify journal: %w", err)
	}
	return v, nil
}

func altered(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrJournalAltered)
}

// verify reads one state of a database. Its chain must go through link seq with
// that hash.
func verify(ctx context.Context, db *sql.DB, key *journalKey, seq int64, sum [32]byte) (v Verification, err error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return v, unavailable(err)
	}
	defer func() { _ = tx.Rollback() }() // it read only
	var decisions int64
	if err := tx.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM entry), (SELECT coalesce(max(seq), 0) FROM chain), (SELECT count(*) FROM decision)`).
		Scan(&v.Entries, &v.Links, &decisions); err != nil {
		return v, unavailable(err)
	}
	// Every link is followed by one of the same entry, or is what the entry
	// says now: each exactly once.
	used := make([]bool, v.Links+1)
	use := func(seq int64) bool {
		if seq <= 0 || seq > v.Links || used[seq] {
			return false
		}
		used[seq] = true
		return true
	}
	seen, intentions := int64(0), int64(0)
	err = links(ctx, tx, key, 0, [32]byte{}, func(l link, hash [32]byte) error {
		seen = l.seq
		if l.decision != nil {
			decisions--
		}
		if l.kind == linkIntended {
			intentions++
		}
		if (l.kind == linkIntended || l.kind == linkAccepted) != (l.prev == 0) || l.prev != 0 && !use(l.prev) || l.kind == linkAccepted && !use(l.seq) {
			return altered("link %d", l.seq)
		}
		if l.seq == seq && hash != sum {
			return altered("link %d is not the one of the mark", seq)
		}
		v.Hash = hash
		return nil
	})
	switch {
	case err != nil:
		return v, err
	case seen != v.Links || seen < seq:
		return v, altered("the chain ends at %d", seen)
	case decisions != 0:
		return v, altered("decisions without a link")
	case intentions != v.Entries:
		return v, altered("%d intentions, %d entries", intentions, v.Entries)
	}
	err = entries(ctx, tx, 0, func(id, last int64) error {
		if !use(last) {
			return altered("entry %d is not as it was last written", id)
		}
		return nil
	})
	if err != nil {
		return v, err
	}
	for seq, ok := range used {
		if !ok && seq > 0 {
			return v, altered("link %d belongs to nothing", seq)
		}
	}
	return v, nil
}

// links recomputes the chain after a link of which the hash is known.
func links(ctx context.Context, tx *sql.Tx, key *journalKey, after int64, hash [32]byte, each func(link, [32]byte) error) error {
	rows, err := tx.QueryContext(ctx, `SELECT c.seq, c.entry, c.prev, c.kind, c.digest, c.hash, d.entry, d.at, d.who, d.reason
		FROM chain c LEFT JOIN decision d ON d.seq = c.seq WHERE c.seq > ? ORDER BY c.seq`, after)
	if err != nil {
		return unavailable(err)
	}
	defer rows.Close()
	for seq := after + 1; rows.Next(); seq++ {
		var l link
		var kept []byte
		var entry, at sql.NullInt64
		var who, reason sql.NullString
		if err := rows.Scan(&l.seq, &l.entry, &l.prev, &l.kind, &l.digest, &kept, &entry, &at, &who, &reason); err != nil {
			return unavailable(err)
		}
		if entry.Valid {
			l.decision = &Decision{EntryID: entry.Int64, At: milli(at.Int64), Who: who.String, Reason: reason.String}
		}
		if l.seq != seq {
			return altered("link %d is missing", seq)
		}
		if (l.kind == linkDecided || l.kind == linkAccepted) != entry.Valid {
			return altered("the decision of link %d", seq)
		}
		if hash = key.hash(hash, l); string(hash[:]) != string(kept) {
			return altered("link %d", seq)
		}
		if err := each(l, hash); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return unavailable(err)
	}
	return nil
}

// entries compares the entries whose latest link is after a number with their
// first and latest links.
func entries(ctx context.Context, tx *sql.Tx, after int64, each func(id, last int64) error) error {
	query := `SELECT e.id, e.visit, e.infno, e.msgid, e.day, e.opened_at, e.agreed_total, e.agreed_fund, e.agreed_account, e.agreed_cash,
		e.mdtrt_id, e.psn_no, e.holder, e.request_sha256, e.request, coalesce(e.undoes, 0),
		coalesce(e.closed_at, 0), e.outcome, e.total, e.fund, e.account, e.cash, e.setl_id, e.fault, e.message, e.note, coalesce(e.reversed_by, 0), e.answer,
		e.born, e.seq, b.entry, b.kind, b.digest, l.entry, l.digest
		FROM entry e LEFT JOIN chain b ON b.seq = e.born LEFT JOIN chain l ON l.seq = e.seq`
	if after > 0 {
		query += ` WHERE e.id IN (SELECT entry FROM chain WHERE seq > ?1)`
	} else {
		query += ` WHERE ?1 = 0 ORDER BY e.id`
	}
	rows, err := tx.QueryContext(ctx, query, after)
	if err != nil {
		return unavailable(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s sent
		var st state
		var born, last int64
		var bornEntry, lastEntry sql.NullInt64
		var kind sql.NullString
		var bornDigest, lastDigest []byte
		if err := rows.Scan(&s.id, &s.visit, &s.infno, &s.msgid, &s.day, &s.opened, &s.total, &s.fund, &s.account, &s.cash,
			&s.mdtrtID, &s.psnNo, &s.holder, &s.sum, &s.request, &s.undoes,
			&st.closed, &st.outcome, &st.total, &st.fund, &st.account, &st.cash, &st.setlID, &st.fault, &st.message, &st.note, &st.reversedBy, &st.answer,
			&born, &last, &bornEntry, &kind, &bornDigest, &lastEntry, &lastDigest); err != nil {
			return unavailable(err)
		}
		now := digest(s.id, nil, st)
		if last == born {
			now = digest(s.id, &s, st)
		}
		if bornEntry.Int64 != s.id || lastEntry.Int64 != s.id || kind.String != linkIntended ||
			string(bornDigest) != string(digest(s.id, &s, s.born())) || string(lastDigest) != string(now) {
			return altered("entry %d", s.id)
		}
		if err := each(s.id, last); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return unavailable(err)
	}
	return nil
}

// checkTail verifies the end of the chain and the entries it is about, as far
// back as the last time a person accepted the journal as it was.
func (j *Journal) checkTail(ctx context.Context) error {
	tx, err := j.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = tx.Rollback() }() // it read only
	var from int64
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM decision WHERE entry = 0`).Scan(&from); err != nil {
		return unavailable(err)
	}
	from = max(from, j.seq-tailLinks)
	hash, err := hashAt(ctx, tx, from)
	if err != nil {
		return err
	}
	end := from
	if err := links(ctx, tx, j.key, from, hash, func(l link, _ [32]byte) error { end = l.seq; return nil }); err != nil {
		return err
	}
	if end != j.seq {
		return altered("the chain ends at %d", end)
	}
	if from == j.seq {
		return nil
	}
	return entries(ctx, tx, from, func(int64, int64) error { return nil })
}

// hashAt reads the hash of a link; zeros stand before the first.
func hashAt(ctx context.Context, tx *sql.Tx, seq int64) (hash [32]byte, err error) {
	if seq == 0 {
		return hash, nil
	}
	var kept []byte
	err = tx.QueryRowContext(ctx, `SELECT hash FROM chain WHERE seq = ?`, seq).Scan(&kept)
	if errors.Is(err, sql.ErrNoRows) {
		return hash, altered("link %d is missing", seq)
	}
	if err != nil {
		return hash, unavailable(err)
	}
	copy(hash[:], kept)
	return hash, nil
}
