package settlement

import (
	"context"
	"crypto/sha256"
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
	"pgregory.net/rapid"
)

func openJournal(t testing.TB, path string) *Journal {
	t.Helper()
	j, err := OpenJournal(path, func() time.Time { return testTime })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() }) // most tests have closed it
	return j
}

func newJournal(t testing.TB) *Journal {
	t.Helper()
	return openJournal(t, filepath.Join(t.TempDir(), "journal.db"))
}

func anEntry(visit string) Entry {
	return Entry{
		Visit: visit, Infno: "2207", MsgID: "H51010000001" + visit, Agreed: agreed, MdtrtID: "M" + visit, PsnNo: "P1", Holder: "张*",
		Request: []byte(`{"infno":"2207","visit":"` + visit + `"}`),
	}
}

func intend(t testing.TB, j *Journal, e Entry) int64 {
	t.Helper()
	id, err := j.Intend(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func outcome(t testing.TB, j *Journal, id int64) Outcome {
	t.Helper()
	e, err := j.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return e.Outcome
}

func TestJournalKeepsWhatItIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := openJournal(t, path)
	id := intend(t, j, anEntry("V1"))
	e, err := j.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if e.Outcome != Intended || e.Total != 10000 || e.Fund != 6000 || e.Account != 2500 || e.Cash != 1500 || e.Agreed != agreed ||
		!e.OpenedAt.Equal(testTime) || !e.ClosedAt.IsZero() || e.Holder != "张*" || e.MdtrtID != "MV1" || e.PsnNo != "P1" ||
		e.RequestSHA256 != sha256.Sum256(e.Request) || !strings.Contains(string(e.Request), "V1") {
		t.Errorf("intended: %+v", e)
	}
	booked := Amounts{10000, 7000, 2000, 1000}
	if err := j.Conclude(t.Context(), id, Conclusion{Outcome: Done, Booked: &booked, SetlID: "S1", Answer: []byte(`{"infcode":0}`), Note: "n"}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, path)
	if e, err = j.Get(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if e.Outcome != Done || e.SetlID != "S1" || e.Cash != 1000 || e.Agreed != agreed || !e.ClosedAt.Equal(testTime) || string(e.Answer) != `{"infcode":0}` {
		t.Errorf("done: %+v", e)
	}
	for name, mode := range map[string]os.FileMode{path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600, path + ".lock": 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", filepath.Base(name), info.Mode(), err)
		}
	}
	if _, err := j.Get(t.Context(), 4711); fault.Of(err).Code != fault.EntryUnknown {
		t.Errorf("%v", err)
	}
	if err := j.Conclude(t.Context(), 4711, Conclusion{Outcome: Refused}); !errors.Is(err, ErrEntryUnknown) {
		t.Errorf("%v", err)
	}
}

func TestJournalList(t *testing.T) {
	now := testTime
	j, err := OpenJournal(filepath.Join(t.TempDir(), "journal.db"), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for i := range 6 {
		now = testTime.Add(time.Duration(i) * 6 * time.Hour) // 10:30, 16:30, 22:30 in China, then the next day
		id := intend(t, j, anEntry(fmt.Sprint("V", i)))
		if i%2 == 0 {
			if err := j.Conclude(t.Context(), id, Conclusion{Outcome: Unknown, Fault: fault.AnswerLost}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, x := range []struct {
		f    Filter
		want string
	}{
		{Filter{}, "V5 V4 V3 V2 V1 V0"}, {Filter{Day: "2026-03-09"}, "V2 V1 V0"}, {Filter{Day: "2026-03-10"}, "V5 V4 V3"},
		{Filter{Outcome: Unknown}, "V4 V2 V0"}, {Filter{Day: "2026-03-10", Outcome: Intended}, "V5 V3"}, {Filter{Limit: 2}, "V5 V4"},
		{Filter{Limit: 2, Before: 5}, "V3 V2"}, {Filter{Visit: "V1"}, "V1"}, {Filter{Day: "1999-01-01"}, ""}, {Filter{Limit: 1 << 30}, "V5 V4 V3 V2 V1 V0"},
	} {
		list, err := j.List(t.Context(), x.f)
		if err != nil {
			t.Fatal(err)
		}
		var visits []string
		for _, e := range list {
			visits = append(visits, e.Visit)
			if e.Request != nil {
				t.Error("a list with requests")
			}
		}
		if got := strings.Join(visits, " "); got != x.want {
			t.Errorf("%+v: %s, want %s", x.f, got, x.want)
		}
	}
	if n, err := j.Count(t.Context(), Unknown); err != nil || n != 3 {
		t.Errorf("%d unknown, %v", n, err)
	}
	if e, ok, err := j.Unresolved(t.Context(), "V4"); err != nil || !ok || e.Outcome != Unknown {
		t.Errorf("%v %v %v", e, ok, err)
	}
	if _, ok, err := j.Unresolved(t.Context(), "V9"); err != nil || ok {
		t.Errorf("%v %v", ok, err)
	}
}

func TestOneSettlementPerVisit(t *testing.T) {
	j := newJournal(t)
	id := intend(t, j, anEntry("V1"))
	again := anEntry("V1")
	again.MsgID += "2"
	check := func(e Entry, want error) {
		t.Helper()
		if _, err := j.Intend(t.Context(), e); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	check(again, ErrInProgress)
	sameUpstream := again
	sameUpstream.Visit = "V2" // another window's number of the same visit
	check(sameUpstream, ErrInProgress)
	if err := j.Conclude(t.Context(), id, Conclusion{Outcome: Unknown}); err != nil {
		t.Fatal(err)
	}
	check(again, ErrUnknownUnresolved)
	check(sameUpstream, ErrUnknownUnresolved)
	if err := j.Conclude(t.Context(), id, Conclusion{Outcome: Refused, Note: "looked up: never arrived"}); err != nil {
		t.Fatal(err)
	}
	id = intend(t, j, again)
	if err := j.Conclude(t.Context(), id, Conclusion{Outcome: Done, SetlID: "S1"}); err != nil {
		t.Fatal(err)
	}
	third := anEntry("V1")
	third.MsgID += "3"
	check(third, ErrSettled)
	used := anEntry("V3")
	used.MsgID = again.MsgID
	if _, err := j.Intend(t.Context(), used); err == nil || errors.Is(err, ErrJournalUnavailable) {
		t.Errorf("a message number twice: %v", err)
	}
	check2 := anEntry("V4")
	check2.Visit = ""
	if _, err := j.Intend(t.Context(), check2); err == nil {
		t.Error("an entry without a visit")
	}
}

// However many windows click at once, one settlement begins.
func TestManyWindows(t *testing.T) {
	j := newJournal(t)
	for round := range 20 {
		var wg sync.WaitGroup
		won := make(chan int64, 16)
		for w := range 16 {
			wg.Go(func() {
				e := anEntry(fmt.Sprint("V", round))
				e.MsgID += fmt.Sprint("-", w)
				if w%2 == 1 {
					e.Visit += "other" // the same mdtrt_id under another number
				}
				id, err := j.Intend(context.Background(), e)
				switch {
				case err == nil:
					won <- id
				case !errors.Is(err, ErrInProgress):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d settlements began", len(won))
		}
	}
}

// An outcome goes forward only, by whatever way somebody tries.
func TestOutcomesNeverGoBack(t *testing.T) {
	j := newJournal(t)
	done := intend(t, j, anEntry("V1"))
	if err := j.Conclude(t.Context(), done, Conclusion{Outcome: Done}); err == nil {
		t.Error("done without setl_id")
	}
	if err := j.Conclude(t.Context(), done, Conclusion{Outcome: Done, SetlID: "S1"}); err != nil {
		t.Fatal(err)
	}
	for _, o := range []Outcome{Unknown, Refused, Done, Intended} {
		if err := j.Conclude(t.Context(), done, Conclusion{Outcome: o, SetlID: "S2"}); !errors.Is(err, ErrEntryClosed) {
			t.Errorf("done to %s: %v", o, err)
		}
	}
	open := intend(t, j, anEntry("V2"))
	for _, o := range []Outcome{Intended, NotSent, "", "perhaps"} {
		if err := j.Conclude(t.Context(), open, Conclusion{Outcome: o}); err == nil {
			t.Errorf("concluded as %q", o)
		}
	}
	if o := outcome(t, j, open); o != Intended {
		t.Errorf("the entry is %s", o)
	}
	for _, statement := range []string{
		`UPDATE entry SET outcome = 'unknown' WHERE id = 1`, `UPDATE entry SET outcome = 'intended', closed_at = NULL WHERE id = 1`,
		`UPDATE entry SET cash = 0 WHERE id = 1`, `UPDATE entry SET setl_id = 'x' WHERE id = 1`, `UPDATE entry SET agreed_cash = 0 WHERE id = 2`,
		`UPDATE entry SET request = x'00' WHERE id = 2`, `UPDATE entry SET msgid = 'x' WHERE id = 2`, `UPDATE entry SET closed_at = 1 WHERE id = 2`,
		`DELETE FROM entry`, `DELETE FROM chain`, `UPDATE chain SET hash = zeroblob(32)`, `UPDATE entry SET reversed_by = 99 WHERE id = 1`,
		`INSERT INTO entry SELECT 9, 'V9', infno, 'm9', day, opened_at, closed_at, outcome, agreed_total, agreed_fund, agreed_account, agreed_cash, total, fund, account, cash, 'M9', psn_no, holder, setl_id, fault, message, note, NULL, request_sha256, request, answer, born, seq FROM entry WHERE id = 1`,
	} {
		if _, err := j.write.Exec(statement); err == nil {
			t.Errorf("possible: %s", statement)
		}
	}
}

// The journal against a plain model: random visits, conclusions and restarts.
func TestJournalModel(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		path := filepath.Join(dir, fmt.Sprint(run, ".db"))
		j, err := OpenJournal(path, func() time.Time { return testTime })
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = j.Close() }()
		type model struct {
			visit   string
			outcome Outcome
		}
		entries := make(map[int64]*model)
		standing := func(visit string) Outcome {
			worst := Outcome("")
			for _, m := range entries {
				if m.visit == visit && m.outcome != Refused {
					worst = m.outcome
				}
			}
			return worst
		}
		for n := range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				if j, err = OpenJournal(path, func() time.Time { return testTime }); err != nil {
					t.Fatal(err)
				}
				for _, m := range entries {
					if m.outcome == Intended {
						m.outcome = Unknown
					}
				}
			case 1, 2, 3, 4:
				visit := fmt.Sprint("V", rapid.IntRange(0, 4).Draw(t, "visit"))
				e := anEntry(visit)
				e.MsgID += fmt.Sprint("-", n)
				id, err := j.Intend(context.Background(), e)
				want := map[Outcome]error{"": nil, Intended: ErrInProgress, Unknown: ErrUnknownUnresolved, Done: ErrSettled}[standing(visit)]
				if !errors.Is(err, want) {
					t.Fatalf("intend %s: %v, want %v", visit, err, want)
				}
				if err == nil {
					entries[id] = &model{visit, Intended}
				}
			default:
				id := int64(rapid.IntRange(1, 8).Draw(t, "id"))
				o := rapid.SampledFrom([]Outcome{Done, Refused, Unknown}).Draw(t, "outcome")
				err := j.Conclude(context.Background(), id, Conclusion{Outcome: o, SetlID: "S"})
				m := entries[id]
				switch {
				case m == nil && !errors.Is(err, ErrEntryUnknown):
					t.Fatalf("conclude none: %v", err)
				case m == nil:
				case m.outcome == Done || m.outcome == Refused:
					if !errors.Is(err, ErrEntryClosed) {
						t.Fatalf("conclude closed: %v", err)
					}
				case err != nil:
					t.Fatal(err)
				default:
					m.outcome = o
				}
			}
		}
		list, err := j.List(context.Background(), Filter{Limit: 1000})
		if err != nil || len(list) != len(entries) {
			t.Fatalf("%d entries, %v; want %d", len(list), err, len(entries))
		}
		for _, e := range list {
			if m := entries[e.ID]; m.outcome != e.Outcome || m.visit != e.Visit {
				t.Fatalf("%v, want %+v", e, *m)
			}
		}
	})
}

func TestSecondProcess(t *testing.T) {
	j := newJournal(t)
	if _, err := OpenJournal(j.path, nil); fault.Of(err).Code != fault.AlreadyRunning {
		t.Errorf("opened twice: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	openJournal(t, j.path)
}

func TestForeignFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := filepath.Join(dir, "other.db")
	db, err := sql.Open("sqlite", other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`CREATE TABLE entry (id INTEGER); INSERT INTO entry VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	newer := newJournal(t)
	if _, err := newer.write.Exec(fmt.Sprintf(`PRAGMA user_version = %d`, schemaVersion+1)); err != nil {
		t.Fatal(err)
	}
	if err := newer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"text": put("text", []byte(strings.Repeat("not a database\n", 100))), "empty": put("empty", nil), "another database": other,
		"newer version": newer.path, "header only": put("header", []byte("SQLite format 3\x00")), "directory": filepath.Join(dir, "directory"),
	} {
		before, _ := os.ReadFile(path)
		_, err := OpenJournal(path, nil)
		if fault.Of(err).Code != fault.JournalForeign {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := os.ReadFile(path); string(after) != string(before) {
			t.Errorf("%s was changed", name)
		}
	}
}

func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	j := openJournal(t, filepath.Join(dir, "journal.db"))
	for i := range 200 {
		id := intend(t, j, anEntry(fmt.Sprint("V", i)))
		if err := j.Conclude(t.Context(), id, Conclusion{Outcome: Done, SetlID: "S", Answer: []byte(strings.Repeat("x", 500))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(j.path)
	if err != nil {
		t.Fatal(err)
	}
	scrambled := append([]byte(nil), whole...)
	for i := 3 * 4096; i < len(scrambled); i += 7 {
		scrambled[i] ^= 0x5a
	}
	for name, content := range map[string][]byte{
		"cut in the middle": whole[:len(whole)/2/4096*4096], "cut in a page": whole[:len(whole)/2+100], "one page": whole[:4096],
		"header": whole[:100], "scrambled": scrambled,
	} {
		path := filepath.Join(dir, "damaged.db")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenJournal(path, nil); fault.Of(err).Code != fault.JournalUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The file is gone and its write-ahead log is there: not a new journal.
	path := filepath.Join(dir, "lost.db")
	if err := os.WriteFile(path+"-wal", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(path, nil); fault.Of(err).Code != fault.JournalUnavailable {
		t.Errorf("lost: %v", err)
	}
	// A crash while the first journal was made leaves a draft, no journal.
	path = filepath.Join(dir, "draft.db")
	if err := os.WriteFile(path+".new", whole[:5000], 0o600); err != nil {
		t.Fatal(err)
	}
	openJournal(t, path)
	if _, err := OpenJournal(filepath.Join(dir, "no", "such", "dir.db"), nil); fault.Of(err).Code != fault.JournalUnavailable {
		t.Errorf("no directory: %v", err)
	}
}

func TestExposedFileIsClosed(t *testing.T) {
	j := newJournal(t)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(j.path, 0o644); err != nil {
		t.Fatal(err)
	}
	openJournal(t, j.path)
	if info, err := os.Stat(j.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestCancelledCallersWriteNothing(t *testing.T) {
	j := newJournal(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Intend(ctx, anEntry("V1")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	id := intend(t, j, anEntry("V1"))
	if err := j.Conclude(ctx, id, Conclusion{Outcome: Refused}); err != nil {
		t.Errorf("a conclusion was cancelled: %v", err)
	}
}

// A state directory may have any name.
func TestJournalInOddPlaces(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "状态 目录 %20?mode=memory#x&y")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "journal.db")
	j := openJournal(t, path)
	id := intend(t, j, anEntry("V1"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	if o := outcome(t, openJournal(t, path), id); o != Unknown {
		t.Errorf("%s", o)
	}
}
