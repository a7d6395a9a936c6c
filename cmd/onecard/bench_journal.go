package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"onecard/settlement"
	"onecard/terminal"
)

// settlementsADay spreads the rows of a long journal over days, the last of
// which is today.
const settlementsADay = 5000

// wholeRows is up to how many settlements the copies keep request and answer:
// each has 4.4 kB, ten million would not fit on many a disk. Beyond, they are cut
// to a tenth, which leaves rows, indexes and chain as they are.
const wholeRows = 2_000_000

// longJournal measures a journal with a great many settlements: appending
// against an empty one, the start of onecardd with it, and its size.
func (b *bench) longJournal(ctx context.Context) (err error) {
	rows := b.rows
	if b.quick {
		rows = min(rows, 1000)
	}
	state := filepath.Join(b.dir, "long")
	if err := os.Mkdir(state, 0o700); err != nil {
		return err
	}
	path := filepath.Join(state, "journal.db")
	if err := fillJournal(ctx, path, rows); err != nil {
		return fmt.Errorf("a journal with %d rows: %w", rows, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	names := []terminal.Text{
		{Chinese: fmt.Sprintf("日志中有 %d 笔结算", rows), English: fmt.Sprintf("journal with %d settlements", rows)},
		{Chinese: "空日志", English: "empty journal"},
	}
	var sides []side
	var both []*settlement.Journal
	for i, file := range []string{path, filepath.Join(b.dir, "short.db")} {
		journal, err := settlement.OpenJournal(file, time.Now)
		if err != nil {
			return err
		}
		both = append(both, journal)
		number := 0
		sides = append(sides, side{names[i], func(ctx context.Context) ([]time.Duration, error) {
			number++
			took, err := timed(func() error { return journalOne(ctx, journal, fmt.Sprint("bench", number)) })
			return []time.Duration{took}, err
		}})
	}
	found, err := interleave(ctx, b.runs(2000), sides...)
	for _, journal := range both {
		err = errors.Join(err, journal.Close())
	}
	if err != nil {
		return err
	}
	size := fmt.Sprintf(b.say("每笔结算 %.0f 字节，文件共 %.0f MB", "%.0f bytes a settlement, the file has %.0f MB"), float64(info.Size())/float64(rows), float64(info.Size())/1e6)
	if rows > wholeRows {
		size += b.say("（请求和应答缩短为十分之一）", " (request and answer cut to a tenth)")
	}
	b.add(comparison{ID: "long_journal", Unit: "ms", Aim: 1.1,
		Title:   terminal.Text{Chinese: "写入一笔结算（意图和结论）", English: "a settlement in the journal, intention and conclusion"},
		Figures: []figure{summarise(names[0], found[0][0]), summarise(names[1], found[1][0])},
		Note:    size,
	})
	return b.longStart(ctx, state)
}

// longStart measures onecardd from its start to its first line with the journal
// of a state directory.
func (b *bench) longStart(ctx context.Context, state string) error {
	at := *b.demo
	virtual := *b.cmd
	virtual.PCSC = false
	at.cmd, at.state = &virtual, state
	config, err := at.configure(b.hsm, b.center)
	if err != nil {
		return err
	}
	name := terminal.Text{Chinese: "onecardd，从启动到可用", English: "onecardd, from its start until it answers"}
	found, err := interleave(ctx, b.runs(10), side{name, func(context.Context) ([]time.Duration, error) {
		took, err := timed(func() error { _, err := b.start("onecardd", "onecardd", "--config", config); return err })
		if err != nil {
			return nil, err
		}
		return []time.Duration{took}, b.stopLast()
	}})
	if err != nil {
		return err
	}
	b.add(comparison{ID: "long_start", Unit: "ms", Aim: 2000,
		Title:   terminal.Text{Chinese: "带着这份日志启动", English: "start of the daemon with that journal"},
		Figures: []figure{summarise(name, found[0][0])}})
	return nil
}

// journalOne puts one settlement into a journal, with texts as long as those of
// the demonstration's visit.
func journalOne(ctx context.Context, journal *settlement.Journal, id string) error {
	amounts := settlement.Amounts{Total: 38230, Fund: 8725, Account: 8000, Cash: 21505}
	entry, err := journal.Intend(ctx, settlement.Entry{
		Visit: "V" + id, Infno: "2207", MsgID: "M" + id, MdtrtID: "T" + id, PsnNo: "51000000000000000000001001", Holder: "欧**燕",
		Agreed: amounts, Request: []byte(strings.Repeat("q", 1100)),
	})
	if err != nil {
		return err
	}
	return journal.Conclude(ctx, entry, settlement.Conclusion{
		Outcome: settlement.Done, Booked: &amounts, SetlID: "S" + id, Answer: []byte(strings.Repeat("a", 1900)),
	})
}

// fillJournal makes a journal with so many settlements: one is written as
// onecardd writes it, the others are copies of its row under other numbers,
// which a person then accepts as they are. That takes seconds for a million
// rows; settling them would take an hour.
func fillJournal(ctx context.Context, path string, rows int) error {
	journal, err := settlement.OpenJournal(path, time.Now)
	if err != nil {
		return err
	}
	if err := errors.Join(journalOne(ctx, journal, "0"), journal.Close()); err != nil {
		return err
	}
	if err := copyRows(ctx, path, rows); err != nil {
		return err
	}
	return settlement.AcceptJournal(path, time.Now, "onecard bench", "copies of one settlement")
}

// copyRows works without the journal's triggers, whose purpose is to refuse it,
// and without fsync.
func copyRows(ctx context.Context, path string, rows int) (err error) {
	q := url.Values{"_pragma": {"synchronous(OFF)", "foreign_keys(0)", "cache_size(-200000)"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}).String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	run := func(query string, args ...any) {
		if err == nil {
			_, err = db.ExecContext(ctx, query, args...)
		}
	}
	triggers, err := texts(ctx, db, `SELECT sql FROM sqlite_master WHERE type = 'trigger'`)
	if err != nil {
		return err
	}
	names, err := texts(ctx, db, `SELECT name FROM sqlite_master WHERE type = 'trigger'`)
	if err != nil {
		return err
	}
	other := map[string]string{
		"id": "i", "visit": "printf('V%012d', i)", "msgid": "printf('M%029d', i)", "mdtrt_id": "printf('T%018d', i)",
		"setl_id": "printf('S%018d', i)", "born": "2 * i - 1", "seq": "2 * i",
		"day":       "date('now', '+8 hours', '-' || ((?3 - i) / ?4) || ' days')",
		"opened_at": "e.opened_at - (?3 - i) / ?4 * 86400000", "closed_at": "e.closed_at - (?3 - i) / ?4 * 86400000",
	}
	if rows > wholeRows {
		other["request"], other["answer"] = "substr(e.request, 1, 110)", "substr(e.answer, 1, 190)"
	}
	entries, err := copying(ctx, db, "entry", other, "id = 1")
	if err != nil {
		return err
	}
	links, err := copying(ctx, db, "chain", map[string]string{
		"seq": "2 * i - 2 + e.seq", "entry": "i", "prev": "CASE e.prev WHEN 0 THEN 0 ELSE 2 * i - 1 END",
	}, "seq <= 2")
	if err != nil {
		return err
	}
	for _, name := range names {
		run(`DROP TRIGGER ` + name)
	}
	run(`PRAGMA journal_mode = DELETE`)
	run(`PRAGMA journal_mode = OFF`)
	const at = 100_000
	for from := 2; from <= rows && err == nil; from += at {
		to := min(from+at-1, rows)
		run(entries, from, to, rows, settlementsADay)
		run(links, from, to)
	}
	for _, trigger := range triggers {
		run(trigger)
	}
	run(`PRAGMA journal_mode = WAL`)
	return err
}

// copying is the statement that copies rows of a table for i from ?1 to ?2, with
// other values in some columns.
func copying(ctx context.Context, db *sql.DB, table string, other map[string]string, which string) (string, error) {
	columns, err := texts(ctx, db, `SELECT name FROM pragma_table_info(?)`, table)
	if err != nil {
		return "", err
	}
	values := make([]string, len(columns))
	for i, column := range columns {
		values[i] = "e." + column
		if value, found := other[column]; found {
			values[i] = value
		}
	}
	return `WITH RECURSIVE n(i) AS (VALUES(?1) UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
		INSERT INTO ` + table + ` (` + strings.Join(columns, ", ") + `)
		SELECT ` + strings.Join(values, ", ") + ` FROM n CROSS JOIN (SELECT * FROM ` + table + ` WHERE ` + which + `) e`, nil
}

func texts(ctx context.Context, db *sql.DB, query string, args ...any) (list []string, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, rows.Err()
}
