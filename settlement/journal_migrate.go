package settlement

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// migrate brings a journal of version 1, which had everything in the clear and
// no chain, to this version: in one transaction, so that a crash leaves the one
// or the other. Nothing of the old text stays in the file.
func (j *Journal) migrate(ctx context.Context) (err error) {
	if j.key, err = makeKey(j.keyFile); err != nil {
		return err
	}
	if j.mark == nil {
		if j.mark, err = newMark(beside(j.path, ".mark"), 0, [32]byte{}); err != nil {
			return err
		}
	}
	db, err := sql.Open("sqlite", dsn(j.path, "immediate", "synchronous(FULL)", "foreign_keys(0)", "secure_delete(1)", "legacy_alter_table(1)"))
	if err != nil {
		return unavailable(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	b := &batch{j: j, tx: tx, own: true}
	if err := b.rebuild(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return unavailable(err)
	}
	// The write-ahead log holds old pages, too.
	var busy, frames, done int
	if err := db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &done); err != nil {
		return unavailable(err)
	}
	if busy != 0 {
		return fmt.Errorf("the write-ahead log is in use: %w", ErrJournalUnavailable)
	}
	return nil
}

// extend brings a journal of version 2, which could take nothing back, to this
// version. Its rows stay as they are.
func (j *Journal) extend(ctx context.Context) error {
	tx, err := j.write.BeginTx(ctx, nil)
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	b := &batch{j: j, tx: tx}
	statements, err := b.dropping(ctx, "trigger")
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	statements = append(statements, `ALTER TABLE entry ADD COLUMN undoes INTEGER REFERENCES entry (id)`)
	for _, index := range []string{"entry_unresolved", "entry_standing", "entry_mdtrt", "entry_undoing"} {
		_, definition, found := strings.Cut(schema, "CREATE UNIQUE INDEX "+index+" ")
		definition, _, ended := strings.Cut(definition, ";")
		if !found || !ended {
			return fmt.Errorf("migrate: no index %s in this version: %w", index, ErrJournalForeign)
		}
		statements = append(statements, "DROP INDEX IF EXISTS "+index, "CREATE UNIQUE INDEX "+index+" "+definition)
	}
	for _, statement := range append(statements, work, triggers, fmt.Sprintf(`PRAGMA user_version = %d`, schemaVersion)) {
		if err := b.exec(ctx, statement); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return unavailable(err)
	}
	return nil
}

// dropping returns the statements that drop the schema's own objects of some
// types, such as triggers.
func (b *batch) dropping(ctx context.Context, types string) (drop []string, err error) {
	rows, err := b.tx.QueryContext(ctx, `SELECT 'DROP ' || type || ' ' || name FROM sqlite_schema
		WHERE instr(?1, type) > 0 AND sql IS NOT NULL`, types)
	if err != nil {
		return nil, unavailable(err)
	}
	defer rows.Close()
	for rows.Next() {
		var statement string
		if err := rows.Scan(&statement); err != nil {
			return nil, unavailable(err)
		}
		drop = append(drop, statement)
	}
	if err := rows.Err(); err != nil {
		return nil, unavailable(err)
	}
	return drop, nil
}

func (b *batch) rebuild(ctx context.Context) error {
	drop, err := b.dropping(ctx, "trigger index")
	if err != nil {
		return err
	}
	for _, table := range []string{"entry", "visit", "mark", "sign_in"} {
		drop = append(drop, "ALTER TABLE "+table+" RENAME TO "+table+"_1")
	}
	for _, statement := range append(drop, schema, work,
		`INSERT INTO mark SELECT * FROM mark_1`, `INSERT INTO sign_in SELECT * FROM sign_in_1`) {
		if err := b.exec(ctx, statement); err != nil {
			return err
		}
	}
	for _, s := range []struct {
		statement **sql.Stmt
		query     string
	}{{&b.j.insert, insertEntry}, {&b.j.chain, insertLink}} {
		prepared, err := b.tx.PrepareContext(ctx, s.query)
		if err != nil {
			return unavailable(err)
		}
		defer prepared.Close()
		defer func() { *s.statement = nil }()
		*s.statement = prepared
	}
	for after, more := int64(0), true; more; {
		if after, more, err = b.copyEntry(ctx, after); err != nil {
			return err
		}
	}
	for after, more := "", true; more; {
		if after, more, err = b.copyVisit(ctx, after); err != nil {
			return err
		}
	}
	for _, statement := range []string{
		`DROP TABLE entry_1`, `DROP TABLE visit_1`, `DROP TABLE mark_1`, `DROP TABLE sign_in_1`, triggers,
		fmt.Sprintf(`INSERT INTO mark VALUES ('key', %d)`, b.j.key.id), fmt.Sprintf(`PRAGMA user_version = %d`, schemaVersion),
	} {
		if err := b.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// copyEntry copies the next entry with its number.
func (b *batch) copyEntry(ctx context.Context, after int64) (id int64, more bool, err error) {
	var s sent
	var st state
	var psnNo string
	var request []byte
	err = b.tx.QueryRowContext(ctx, `SELECT id, visit, infno, msgid, day, opened_at, agreed_total, agreed_fund, agreed_account, agreed_cash,
		mdtrt_id, psn_no, holder, request_sha256, request,
		coalesce(closed_at, 0), outcome, total, fund, account, cash, setl_id, fault, message, note, coalesce(reversed_by, 0), answer
		FROM entry_1 WHERE id > ? ORDER BY id LIMIT 1`, after).Scan(&s.id, &s.visit, &s.infno, &s.msgid, &s.day, &s.opened,
		&s.total, &s.fund, &s.account, &s.cash, &s.mdtrtID, &psnNo, &s.holder, &s.sum, &request,
		&st.closed, &st.outcome, &st.total, &st.fund, &st.account, &st.cash, &st.setlID, &st.fault, &st.message, &st.note, &st.reversedBy, &st.answer)
	if err == sql.ErrNoRows {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, unavailable(err)
	}
	key := b.j.key
	s.psnNo, s.request = key.seal("psn_no", s.msgid, []byte(psnNo)), key.seal("request", s.msgid, request)
	if st.answer != nil {
		st.answer = key.seal("answer", s.msgid, st.answer)
	}
	number := s.id
	if err := b.intend(ctx, &s); err != nil {
		return 0, false, fmt.Errorf("entry %d: %w", number, err)
	}
	if st.outcome == Intended {
		return number, true, nil
	}
	var answer, reversed any
	if st.answer != nil {
		answer = st.answer
	}
	if st.reversedBy != 0 {
		reversed = st.reversedBy
	}
	seq, prev := b.seq+1, b.seq
	if err := b.exec(ctx, `UPDATE entry SET outcome = ?2, closed_at = ?3, total = ?4, fund = ?5, account = ?6, cash = ?7,
		setl_id = ?8, fault = ?9, message = ?10, note = ?11, answer = ?12, reversed_by = ?13, seq = ?14 WHERE id = ?1`,
		number, string(st.outcome), st.closed, st.total, st.fund, st.account, st.cash,
		st.setlID, st.fault, st.message, st.note, answer, reversed, seq); err != nil {
		return 0, false, err
	}
	return number, true, b.link(ctx, link{seq: seq, entry: number, prev: prev, kind: linkConcluded, digest: digest(number, nil, st)})
}

// copyVisit copies the next visit.
func (b *batch) copyVisit(ctx context.Context, after string) (id string, more bool, err error) {
	var name string
	var version, opened, updated int64
	var body []byte
	err = b.tx.QueryRowContext(ctx, `SELECT id, state, version, opened_at, updated_at, body FROM visit_1 WHERE id > ? ORDER BY id LIMIT 1`, after).
		Scan(&id, &name, &version, &opened, &updated, &body)
	if err == sql.ErrNoRows {
		return "", false, nil
	}
	if err != nil {
		return "", false, unavailable(err)
	}
	return id, true, b.exec(ctx, `INSERT INTO visit (id, state, version, opened_at, updated_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)`,
		id, name, version, opened, updated, b.j.key.seal("visit", visitOwner(id, version), body))
}
