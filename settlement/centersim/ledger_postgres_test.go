//go:build unix

package centersim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestPostgres holds the ledger in a database to what it is in a file.
func TestPostgres(t *testing.T) {
	s := startPostgres(t)
	for _, x := range []struct {
		name string
		test func(*testing.T, *aPostgres)
	}{
		{"same as a file", postgresIsAFile}, {"damage", postgresDamage}, {"one centre", postgresHasOneCentre}, {"model", postgresModel},
		{"configuration", postgresConfiguration}, {"connection lost", postgresConnectionLost}, {"another ledger", postgresComesBackOther},
		{"taken over", postgresTakenOver}, {"settled once", postgresSettlesOnce}, {"restart", postgresRestart},
	} {
		t.Run(x.name, func(t *testing.T) { x.test(t, s) })
	}
}

// postgresIsAFile books the same in both: the lines are the same, byte by byte,
// and so are the exports, the tables in SQL, and what a new start makes of them.
func postgresIsAFile(t *testing.T, s *aPostgres) {
	name, db := s.fresh(t)
	file, table := Config{Ledger: t.TempDir() + "/l"}, Config{Database: s.url(name)}
	a, _ := books(t, file)
	b, d := books(t, table)
	export := func(c Config, f Format) string {
		t.Helper()
		var w bytes.Buffer
		if err := Export(c, f, &w); err != nil {
			t.Fatal(err)
		}
		return w.String()
	}
	for _, f := range []Format{FormatLines, FormatCSV, FormatJSON} {
		if x := export(file, f); x != export(table, f) || x == "" {
			t.Errorf("%s: the file has\n%s\nthe database\n%s", f, x, export(table, f))
		}
	}
	if get(b, "/sim/ledger").Body.String() != get(a, "/sim/ledger").Body.String() {
		t.Error("/sim/ledger differs")
	}
	rows, err := db.QueryContext(context.Background(), `SELECT setl_id, infno, coalesce(refunds, ''), msgid, mdtrt_id, medfee_sumamt::text, fund_pay_sumamt::text, psn_cash_pay::text FROM center_settlements ORDER BY seq`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	want := b.Settlements()
	for rows.Next() {
		var x [8]string
		if err := rows.Scan(&x[0], &x[1], &x[2], &x[3], &x[4], &x[5], &x[6], &x[7]); err != nil {
			t.Fatal(err)
		}
		w := want[0]
		if x != [8]string{w.SetlID, w.Infno, w.Refunds, w.MsgID, w.MdtrtID, fen(w.Total).yuan(), fen(w.Fund).yuan(), fen(w.Cash).yuan()} {
			t.Errorf("the view has %v, booked %+v", x, w)
		}
		want = want[1:]
	}
	if err := rows.Err(); err != nil || len(want) != 0 {
		t.Errorf("%v, %d rows missing", err, len(want))
	}
	// A caller's NUL would be in the way of every later question in SQL.
	d.refused(t, d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m\x00", "ip": "i"}}), "无效字符")
	was := encode(b.Settlements())
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, table)
	if !bytes.Equal(encode(again.Settlements()), was) {
		t.Error("a new start knows other settlements")
	}
	next := newDesk(again)
	next.n = 100
	next.signIn(t)
	if v, _, info := next.settleOne(t, "王秀英", "MZ9", "300"); info.text("act_pay_dedc") != "50.00" {
		t.Errorf("%s after the refund: %v", v.mdtrtID, info)
	}
}

// postgresDamage changes, takes out and adds rows, for which the trigger has to
// be taken away first.
func postgresDamage(t *testing.T, s *aPostgres) {
	name, db := s.fresh(t)
	config := Config{Database: s.url(name), Now: noon().now}
	c, _ := books(t, config)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"UPDATE center_ledger SET event = event WHERE seq = 2", "DELETE FROM center_ledger WHERE seq = 2", "TRUNCATE center_ledger"} {
		if _, err := db.ExecContext(context.Background(), statement); err == nil || !strings.Contains(err.Error(), "only appended") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	run(t, db, "CREATE TABLE kept AS SELECT * FROM center_ledger")
	run(t, db, "ALTER TABLE center_ledger DISABLE TRIGGER center_ledger_appended")
	for _, statement := range []string{
		`UPDATE center_ledger SET event = replace(event, '300.00', '300.01') WHERE event LIKE '%300.00%'`,
		`UPDATE center_ledger SET event = ' ' || event WHERE seq = 3`,
		`UPDATE center_ledger SET sum = translate(sum, '0123456789', '1234567890') WHERE seq = 4`,
		`DELETE FROM center_ledger WHERE seq = 1`,
		`DELETE FROM center_ledger WHERE seq = 5`,
		`UPDATE center_ledger SET seq = seq + 1000 WHERE seq > 7`,
		`INSERT INTO center_ledger SELECT seq + 1, sum, encode(sha256(sum::bytea), 'hex'), event FROM center_ledger ORDER BY seq DESC LIMIT 1`,
	} {
		run(t, db, statement)
		if c, err := New(config); !errors.Is(err, ErrLedger) {
			t.Errorf("%s: %v", statement, err)
			if c != nil {
				c.Close()
			}
		}
		run(t, db, "DELETE FROM center_ledger")
		run(t, db, "INSERT INTO center_ledger SELECT * FROM kept")
	}
	start(t, config) // as it was, it is taken
}

func postgresHasOneCentre(t *testing.T, s *aPostgres) {
	name, db := s.fresh(t)
	config := Config{Database: s.url(name), Now: noon().now}
	c := start(t, config)
	if _, err := New(config); !errors.Is(err, ErrLedger) || !strings.Contains(err.Error(), "another centre") {
		t.Errorf("a second centre: %v", err)
	}
	if err := Export(config, FormatCSV, io.Discard); err != nil {
		t.Errorf("an export beside it: %v", err)
	}
	// Two schemas of one database are two ledgers.
	run(t, db, "CREATE SCHEMA other")
	start(t, Config{Database: s.url(name) + "&search_path=other", Now: noon().now})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, config)
}

// postgresModel plays the model of TestModel on some ledgers in the database.
func postgresModel(t *testing.T, s *aPostgres) {
	name, db := s.fresh(t)
	n := 0
	playModel(t, func() (Config, bool) {
		n++
		schema := fmt.Sprintf("model%d", n)
		if n <= 8 {
			run(t, db, "CREATE SCHEMA "+schema)
		}
		return Config{Database: s.url(name) + "&search_path=" + schema}, n <= 8
	})
}

func postgresConfiguration(t *testing.T, s *aPostgres) {
	name, _ := s.fresh(t)
	dir := t.TempDir()
	write := func(file, text string, mode os.FileMode) string {
		t.Helper()
		file = filepath.Join(dir, file)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	withPassword := strings.Replace(s.url(name), "onecard@", "onecard:s3cret@", 1)
	start(t, Config{Database: write("url", withPassword+"\n", 0o600), Now: noon().now})
	for what, config := range map[string]Config{
		"a password on the command line":  {Database: withPassword},
		"a password among the parameters": {Database: s.url(name) + "&password=s3cret"},
		"a file that others read":         {Database: write("open", withPassword, 0o644)},
		"no such file":                    {Database: filepath.Join(dir, "none")},
		"nonsense":                        {Database: write("nonsense", "postgres://[s3cret", 0o600)},
		"a file and a database":           {Database: s.url(name), Ledger: filepath.Join(dir, "l")},
	} {
		c, err := New(config)
		if !errors.Is(err, ErrConfig) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", what, err)
		}
		if c != nil {
			c.Close()
		}
	}
	if _, err := New(Config{Database: s.url("nowhere")}); err == nil || errors.Is(err, ErrLedger) {
		t.Errorf("no such database: %v", err)
	}
	if err := Export(Config{Database: s.url("postgres")}, FormatCSV, io.Discard); err == nil {
		t.Error("a database without a ledger was exported")
	}
}

// cutOff ends every session of the centre in a database.
const cutOff = `SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'onecard sim center'`

// postgresConnectionLost breaks the connection: while nobody else has taken the
// ledger nobody notices.
func postgresConnectionLost(t *testing.T, s *aPostgres) {
	name, db := s.fresh(t)
	c := start(t, Config{Database: s.url(name)})
	d := newDesk(c)
	d.signIn(t)
	for range 3 {
		run(t, db, cutOff)
		d.signIn(t)
	}
	// Somebody has the ledger meanwhile, and writes nothing: refused until then.
	thief, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	steal := fmt.Sprintf(`SELECT pg_advisory_lock((%d::bigint << 32) | 'center_ledger'::regclass::oid::bigint)`, ledgerLock)
	wait := make(chan error, 1)
	go func() {
		_, err := thief.ExecContext(context.Background(), steal)
		wait <- err
	}()
	waits := `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`
	for n := 0; n == 0; {
		if err := db.QueryRowContext(context.Background(), waits).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	run(t, db, cutOff)
	if err := <-wait; err != nil {
		t.Fatal(err)
	}
	e := d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}})
	booked := c.ledger.seq
	if w := d.post(callService, encode(e)); w.Code != 500 || !strings.Contains(w.Body.String(), "结果未知") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	d.refused(t, d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}}), "账本数据库暂不可用，未记账")
	if w := get(c, "/healthz"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("/healthz: %d %s", w.Code, w.Body)
	}
	if _, err := thief.ExecContext(context.Background(), "SELECT pg_advisory_unlock_all()"); err != nil {
		t.Fatal(err)
	}
	d.afterwards(t, func() msg {
		return d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}})
	})
	if c.ledger.seq != booked+2 { // the unknown one, and the last
		t.Errorf("%d bookings more", c.ledger.seq-booked)
	}
}

// afterwards sends until it is taken, and returns the answer.
func (d *desk) afterwards(t *testing.T, envelope func() msg) msg {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		w := d.post(callService, encode(envelope()))
		a, err := parseObject(w.Body.Bytes())
		if text, _ := a["err_msg"].(string); err == nil && w.Code == 200 && !strings.Contains(text, "暂不可用") {
			if a["output"] == nil {
				t.Fatalf("%v", a["err_msg"])
			}
			return a
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %d %s", w.Code, w.Body)
		}
		time.Sleep(databasePause / 4) // how often the centre itself tries
	}
}

// postgresComesBackOther: where the database comes back with other lines,
// nothing is booked any more.
func postgresComesBackOther(t *testing.T, s *aPostgres) {
	name, db := s.fresh(t)
	c := start(t, Config{Database: s.url(name)})
	d := newDesk(c)
	d.signIn(t)
	run(t, db, "ALTER TABLE center_ledger DISABLE TRIGGER center_ledger_appended")
	run(t, db, "DELETE FROM center_ledger WHERE seq > 1")
	run(t, db, cutOff)
	e := d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}})
	for range 2 {
		if w := d.post(callService, encode(e)); w.Code != 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if err := c.ledger.failure(); !errors.Is(err, ErrLedger) || !strings.Contains(err.Error(), "another ledger") {
		t.Errorf("%v", err)
	}
	var n int
	if err := db.QueryRowContext(context.Background(), "SELECT count(*) FROM center_ledger").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d lines, %v", n, err)
	}
}

// postgresTakenOver: a centre that was cut off while another took the ledger and
// booked books nothing any more, neither while that one runs nor after it.
func postgresTakenOver(t *testing.T, s *aPostgres) {
	name, db := s.fresh(t)
	config := Config{Database: s.url(name), Now: noon().now}
	old := start(t, config)
	d := newDesk(old)
	d.signIn(t)
	run(t, db, cutOff)
	taker, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	other := newDesk(taker)
	other.n = 100
	other.signIn(t)
	other.settleOne(t, "张三", "MZ1", "300")
	e := d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}})
	if w := d.post(callService, encode(e)); w.Code != http.StatusInternalServerError {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	d.refused(t, d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}}), "未记账")
	booked := taker.ledger.seq
	if err := taker.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); old.ledger.failure() == nil; time.Sleep(databasePause / 4) {
		if w := d.post(callService, encode(e)); w.Code == http.StatusOK && strings.Contains(w.Body.String(), `"infcode":0`) || time.Now().After(deadline) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if err := old.ledger.failure(); !errors.Is(err, ErrLedger) {
		t.Errorf("%v", err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if c := start(t, config); c.ledger.seq != booked || len(c.Settlements()) != 1 {
		t.Errorf("%d lines, want %d", c.ledger.seq, booked)
	}
}

func postgresSettlesOnce(t *testing.T, s *aPostgres) {
	name, _ := s.fresh(t)
	settlesOnce(t, Config{Database: s.url(name), Now: noon().now})
}

// postgresRestart restarts the server under many desks at once: nothing is
// lost, nothing doubled, and who asked meanwhile was told.
func postgresRestart(t *testing.T, s *aPostgres) {
	name, db := s.fresh(t)
	config := Config{Database: s.url(name), Repeat: RepeatSame}
	c := start(t, config)
	d := newDesk(c)
	d.signIn(t)
	const desks, batches = 6, 10
	envelopes := make([][]msg, desks)
	for i := range desks {
		v := d.register(t, []string{"欧阳海燕", "张三", "王秀英"}[i%3], fmt.Sprint("MZ", i))
		for n := range batches {
			b := fmt.Sprintf("B%d", n)
			o := d.call(t, "2204", v.area, v.feeInput(b, fee{"001102000010000-110200001", "15.00", "1", "15.00"}))
			envelopes[i] = append(envelopes[i], d.envelope("2207", v.area, v.settleInput(b, sumsOf(t, o), true)))
		}
	}
	var wait sync.WaitGroup
	half := make(chan struct{}, desks)
	for _, list := range envelopes {
		wait.Go(func() {
			mine := &desk{c: c, handler: d.handler}
			for n, e := range list {
				if n == batches/2 {
					half <- struct{}{}
				}
				// Sent again under its msgid, which this centre answers as the
				// first time, until it is answered.
				mine.afterwards(t, func() msg { return e })
			}
		})
	}
	for range desks {
		<-half
	}
	s.stop(t)
	// Now it is away: what books nothing says so, too.
	told := d.post(callService, encode(d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}})))
	if text := told.Body.String(); !strings.Contains(text, "结果未知") && !strings.Contains(text, "未记账") {
		t.Errorf("%d %s", told.Code, text)
	}
	s.start(t)
	wait.Wait()
	if n := len(c.Settlements()); n != desks*batches {
		t.Errorf("%d settlements booked, want %d", n, desks*batches)
	}
	once := map[string]bool{}
	for _, x := range c.Settlements() {
		if once[x.MsgID] {
			t.Errorf("%s is booked twice", x.MsgID)
		}
		once[x.MsgID] = true
	}
	var n int
	if err := db.QueryRowContext(context.Background(), "SELECT count(*) FROM center_settlements").Scan(&n); err != nil || n != desks*batches {
		t.Errorf("%d in the database, %v", n, err)
	}
	was := encode(c.Settlements())
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if again := start(t, config); !bytes.Equal(encode(again.Settlements()), was) {
		t.Error("a new start knows other settlements")
	}
}
