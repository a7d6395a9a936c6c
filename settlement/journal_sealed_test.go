package settlement

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"onecard/fault"
)

// secrets are what must not be found in any file.
var secrets = []string{"410101199003074531", "P-secret", "欧阳海燕"}

func personal(visit string) Entry {
	e := anEntry(visit)
	e.PsnNo, e.Request = secrets[1], []byte(`{"certno":"`+secrets[0]+`"}`)
	return e
}

// fillPersonal settles visits with personal data everywhere it can be.
func fillPersonal(t *testing.T, j *Journal, n int) {
	t.Helper()
	for i := range n {
		visit := fmt.Sprint("V", i)
		if _, err := j.Visits().Put(t.Context(), Visit{ID: visit, State: "tried", Body: []byte(`{"name":"` + secrets[2] + `"}`)}); err != nil {
			t.Fatal(err)
		}
		id := intend(t, j, personal(visit))
		c := Conclusion{Outcome: []Outcome{Done, Refused, Unknown}[i%3], SetlID: "S", Answer: []byte(`{"psn_name":"` + secrets[2] + `"}`)}
		if err := j.Conclude(t.Context(), id, c); err != nil {
			t.Fatal(err)
		}
	}
}

func checkSealed(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if bytes.Contains(content, []byte(s)) {
				t.Errorf("%s holds %q", filepath.Base(file), s)
			}
		}
	}
}

func TestPersonalDataIsSealed(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, filepath.Join(dir, "journal.db"))
	fillPersonal(t, j, 6)
	checkSealed(t, dir)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	checkSealed(t, dir)
	for _, name := range []string{"journal.key", "journal.mark"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, err)
		}
	}
	j = openJournal(t, j.path)
	e, err := j.Get(t.Context(), 1)
	if err != nil || e.PsnNo != secrets[1] || !strings.Contains(string(e.Request), secrets[0]) || !strings.Contains(string(e.Answer), secrets[2]) {
		t.Errorf("%v", err)
	}
	if v, err := j.Visits().Get(t.Context(), "V0"); err != nil || !strings.Contains(string(v.Body), secrets[2]) {
		t.Errorf("%v, %v", v, err)
	}
	// What is sealed opens only in its own row.
	if _, err := j.write.Exec(`UPDATE visit SET body = (SELECT body FROM visit WHERE id = 'V1') WHERE id = 'V0'`); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Visits().Get(t.Context(), "V0"); !errors.Is(err, ErrJournalAltered) {
		t.Errorf("another visit's body: %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	dir, token := t.TempDir(), filepath.Join(t.TempDir(), "desk.key")
	path := filepath.Join(dir, "journal.db")
	j, err := OpenJournal(path, nil, WithKeyFile(token))
	if err != nil {
		t.Fatal(err)
	}
	intend(t, j, personal("V1"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "journal.key")); err == nil {
		t.Error("a key beside the database")
	}
	content, err := os.ReadFile(token)
	if err != nil {
		t.Fatal(err)
	}
	another := filepath.Join(t.TempDir(), "another.key")
	if _, err := makeKey(another); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for name, file := range map[string]string{
		"missing": "", "not there": filepath.Join(dir, "no.key"), "another": another, "exposed": write("exposed", string(content), 0o644),
		"short": write("short", string(content[:40]), 0o600), "empty": write("empty", "", 0o600), "directory": t.TempDir(),
		"not hex": write("nothex", keyHeader+strings.Repeat("x", 64), 0o600), "long": write("long", string(content)+strings.Repeat(" ", 2000), 0o600),
	} {
		if _, err := OpenJournal(path, nil, WithKeyFile(file)); fault.Of(err).Code != fault.JournalKey {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "journal.key")); err == nil {
		t.Error("a key was made for a journal that has one")
	}
	if j, err = OpenJournal(path, nil, WithKeyFile(token)); err != nil {
		t.Fatalf("with its key again: %v", err)
	}
	defer j.Close()
	if e, err := j.Get(t.Context(), 1); err != nil || e.PsnNo != secrets[1] || e.Outcome != Unknown {
		t.Errorf("%v, %v", e, err)
	}
	for _, text := range []string{fmt.Sprint(j.key), fmt.Sprintf("%#v", j.key)} {
		if text != "****" {
			t.Errorf("the key prints as %s", text)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOldFileIsNoticed(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "journal.db"), filepath.Join(t.TempDir(), "old.db")
	j := openJournal(t, path)
	fillPersonal(t, j, 3)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	copyFile(t, path, old)
	j = openJournal(t, path)
	intend(t, j, personal("V9"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	refuse := func(why string, want fault.Code) {
		t.Helper()
		for range 2 { // looking changes nothing
			if _, err := OpenJournal(path, nil); fault.Of(err).Code != want {
				t.Errorf("%s: %v", why, err)
			}
		}
	}
	mark := filepath.Join(dir, "journal.mark")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	refuse("the journal is gone", fault.JournalOld)
	copyFile(t, old, path)
	refuse("an old copy", fault.JournalOld)
	if err := AcceptJournal(path, nil, "", "why"); fault.Of(err).Code != fault.DecisionInvalid {
		t.Errorf("accepted by nobody: %v", err)
	}
	if err := AcceptJournal(path, func() time.Time { return testTime }, "chief", "backup restored"); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, path)
	if v, err := j.Verify(t.Context()); err != nil || v.Entries != 3 {
		t.Errorf("%+v, %v", v, err)
	}
	var who, reason string
	if err := j.read.QueryRow(`SELECT who, reason FROM decision WHERE entry = 0`).Scan(&who, &reason); err != nil || who != "chief" || !strings.HasPrefix(reason, "backup restored (mark: link 7,") {
		t.Errorf("%s, %s, %v", who, reason, err)
	}
	intend(t, j, personal("V9"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	// A slot that a power cut tore is void, the other one counts.
	for slot := range 2 {
		torn := bytes.Clone(content)
		torn[slot*markSlot+30] ^= 1
		if err := os.WriteFile(mark, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		openJournal(t, path).Close()
	}
	if err := os.WriteFile(mark, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	refuse("an unreadable mark", fault.JournalOld)
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	refuse("no mark", fault.JournalOld)
	if err := AcceptJournal(path, nil, "chief", "the mark was lost"); err != nil {
		t.Fatal(err)
	}
	openJournal(t, path)
}

// Whatever another program changes in the file, Verify finds it.
func TestVerifyFindsWhatWasAltered(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, filepath.Join(dir, "whole.db"))
	fillPersonal(t, j, 6)
	if err := j.Decide(t.Context(), 3, Conclusion{Outcome: Refused}, "chief", "looked up"); err != nil {
		t.Fatal(err)
	}
	if v, err := j.Verify(t.Context()); err != nil || v.Entries != 6 || v.Links != 13 || v.Hash != j.hash {
		t.Fatalf("%+v, %v", v, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for i, statement := range []string{
		`UPDATE entry SET cash = cash + 1 WHERE id = 1`, `UPDATE entry SET agreed_cash = 0 WHERE id = 2`, `UPDATE entry SET setl_id = 'other' WHERE id = 1`,
		`UPDATE entry SET holder = '李*' WHERE id = 1`, `UPDATE entry SET note = 'x' WHERE id = 5`, `UPDATE entry SET psn_no = x'00' WHERE id = 1`,
		`UPDATE entry SET request = (SELECT request FROM entry WHERE id = 2) WHERE id = 1`, `UPDATE entry SET answer = NULL WHERE id = 1`,
		`DELETE FROM entry WHERE id = 6`, `DELETE FROM entry WHERE id = 1`, `DELETE FROM chain WHERE seq = 13`, `DELETE FROM chain WHERE seq = 5`, `DELETE FROM chain`,
		`UPDATE chain SET digest = (SELECT digest FROM chain WHERE seq = 2) WHERE seq = 1`, `UPDATE chain SET hash = zeroblob(32) WHERE seq = 12`,
		`DELETE FROM decision`, `UPDATE decision SET who = 'nobody'`, `INSERT INTO decision VALUES (2, 1, 0, 'x', 'y')`,
		`INSERT INTO decision VALUES (99, 1, 0, 'x', 'y')`, `UPDATE entry SET seq = born WHERE id = 1`,
		`UPDATE entry SET outcome = 'intended', closed_at = NULL, setl_id = '', answer = NULL, seq = born WHERE id = 1`,
		`INSERT INTO entry SELECT 7, 'V7', infno, 'm7', day, opened_at, closed_at, outcome, agreed_total, agreed_fund, agreed_account, agreed_cash, total, fund, account, cash, 'M7', psn_no, holder, setl_id, fault, message, note, NULL, request_sha256, request, answer, born, seq, NULL FROM entry WHERE id = 1`,
	} {
		path := filepath.Join(dir, fmt.Sprint(i, ".db"))
		for _, ending := range []string{".db", ".key", ".mark"} {
			copyFile(t, filepath.Join(dir, "whole"+ending), beside(path, ending))
		}
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		rows := []string{}
		r, err := db.Query(`SELECT name FROM sqlite_schema WHERE type = 'trigger'`)
		if err != nil {
			t.Fatal(err)
		}
		for r.Next() {
			var name string
			if err := r.Scan(&name); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, name)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for _, name := range rows {
			if _, err := db.Exec("DROP TRIGGER " + name); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		// The end is looked at when the journal is opened; the rest by Verify.
		j, err := OpenJournal(path, nil)
		if err == nil {
			_, err = j.Verify(t.Context())
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if !errors.Is(err, ErrJournalAltered) && !errors.Is(err, ErrJournalOld) {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

func TestMigrate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	old, err := os.ReadFile("testdata/journal-1.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", dsn(path, "", "journal_mode(WAL)"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 1; %s", applicationID, old)); err != nil {
		t.Fatal(err)
	}
	const n = 300
	for i := 1; i <= n; i++ {
		if _, err := db.Exec(`INSERT INTO entry (id, visit, infno, msgid, day, opened_at, outcome, agreed_total, agreed_fund, agreed_account, agreed_cash,
			total, fund, account, cash, mdtrt_id, psn_no, holder, request_sha256, request)
			VALUES (?1, 'V' || ?1, '2207', 'm' || ?1, '2026-03-09', 1000, 'intended', 10, 6, 3, 1, 10, 6, 3, 1, 'M' || ?1, ?2, '欧*', zeroblob(32), ?3)`,
			i*2, secrets[1], []byte(secrets[0])); err != nil {
			t.Fatal(err)
		}
		if i%4 == 0 {
			continue // a settlement on its way when the old onecardd was killed
		}
		if _, err := db.Exec(`UPDATE entry SET outcome = ?2, closed_at = 2000, cash = 2, setl_id = 'S', note = 'n', answer = ?3 WHERE id = ?1`,
			i*2, []string{"", "done", "refused", "unknown"}[i%4], []byte(secrets[2])); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(`INSERT INTO visit VALUES ('V2', 'settled', 7, 1, 2, ?1); INSERT INTO mark VALUES ('msgid', 42);
		INSERT INTO sign_in VALUES ('1', '2026-03-09', 'x'); UPDATE entry SET reversed_by = 4 WHERE id = 2`, []byte(`{"name":"`+secrets[2]+`"}`)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	j := openJournal(t, path)
	checkSealed(t, dir)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	checkSealed(t, dir)
	j = openJournal(t, path)
	if v, err := j.Verify(t.Context()); err != nil || v.Entries != n {
		t.Errorf("%+v, %v", v, err)
	}
	for i := 1; i <= n; i++ {
		e, err := j.Get(t.Context(), int64(i*2))
		want := []Outcome{Unknown, Done, Refused, Unknown}[i%4]
		if err != nil || e.Outcome != want || e.PsnNo != secrets[1] || string(e.Request) != secrets[0] ||
			i%4 != 0 && (string(e.Answer) != secrets[2] || e.Cash != 2 || e.SetlID != "S") {
			t.Fatalf("%v, %v", e, err)
		}
	}
	if v, err := j.Visits().Get(t.Context(), "V2"); err != nil || v.Version != 7 || !strings.Contains(string(v.Body), secrets[2]) {
		t.Errorf("%v, %v", v, err)
	}
	second, err := j.Reserved(t.Context())
	no, err2 := j.SignNo(t.Context(), "1", "2026-03-09")
	if second != 42 || no != "x" || err != nil || err2 != nil {
		t.Errorf("%d %s %v %v", second, no, err, err2)
	}
	intend(t, j, anEntry("later"))
	if _, err := j.write.Exec(`UPDATE entry SET request = x'00' WHERE id = 2`); err == nil {
		t.Error("the triggers are gone")
	}
}

// Writers at the same time share commits; each gets its own result.
func TestConcurrentWriters(t *testing.T) {
	j := newJournal(t)
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			for i := range 5 {
				visit := fmt.Sprintf("V%d-%d", w, i)
				id, err := j.Intend(context.Background(), anEntry(visit))
				if err != nil {
					t.Error(err)
					return
				}
				again := anEntry(visit)
				again.MsgID += "x"
				if _, err := j.Intend(context.Background(), again); !errors.Is(err, ErrInProgress) {
					t.Errorf("twice: %v", err)
				}
				bad := anEntry("")
				if _, err := j.Intend(context.Background(), bad); err == nil {
					t.Error("an entry without a visit")
				}
				if err := j.Conclude(context.Background(), id, Conclusion{Outcome: Done, SetlID: fmt.Sprint("S", id)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	v, err := j.Verify(t.Context())
	if err != nil || v.Entries != 320 || v.Links != 640 {
		t.Errorf("%+v, %v", v, err)
	}
	if n, err := j.Count(t.Context(), Done); err != nil || n != 320 {
		t.Errorf("%d, %v", n, err)
	}
}
