package planstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"onecard/card"
	"onecard/card/planstore"
	"onecard/fault"
)

var now = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

func open(t *testing.T, path string) *planstore.Store {
	t.Helper()
	s, err := planstore.Open(path, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

const code = "510100D156000005000356767C31A94E"

func plan(id string) *card.Plan {
	return &card.Plan{ID: strings.Repeat(id, 32), Card: code, Items: []card.PlanItem{
		{File: card.FileID{DF: "DF03", EF: "EF07"}, Number: 2, Tag: "71", Old: []byte{0x71, 3, 0x51, 1, 0}, New: []byte{0x71, 3, 0x33, 1, 0}},
		{File: card.FileID{DF: "DF02", EF: "EF07"}, Append: true, New: []byte("record")},
	}}
}

// Two handles are two processes, and closing the first is its end.
func TestPlansOutliveTheirProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cards.db")
	first, second := open(t, path).Plans(), open(t, path)
	for _, id := range []string{"a", "b", "c"} {
		if done, writing, err := first.Begin(t.Context(), plan(id)); done || writing != -1 || err != nil {
			t.Fatal(done, writing, err)
		}
	}
	if err := first.Progress(t.Context(), plan("b").ID, 1); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(t.Context(), plan("a").ID, card.PlanDone); err != nil {
		t.Fatal(err)
	}
	list, err := second.Plans().Open(t.Context(), code)
	if err != nil || len(list) != 2 || list[0].Writing != 1 || list[1].Writing != -1 || list[0].Plan.ID != plan("b").ID ||
		string(list[0].Plan.Items[0].New) != string(plan("b").Items[0].New) || !list[0].Plan.Items[1].Append || list[0].Plan.Items[1].Old != nil {
		t.Fatalf("%+v, %v", list, err)
	}
	if other, err := second.Plans().Open(t.Context(), "another"); err != nil || len(other) != 0 {
		t.Errorf("%v %v", other, err)
	}
	if done, _, err := second.Plans().Begin(t.Context(), plan("a")); !done || err != nil {
		t.Errorf("a plan that is done: %v %v", done, err)
	}
	if done, writing, err := second.Plans().Begin(t.Context(), plan("b")); done || writing != 1 || err != nil {
		t.Errorf("an open plan: %v %d %v", done, writing, err)
	}
	if err := second.Plans().Close(t.Context(), plan("c").ID, card.PlanRolledBack); err != nil {
		t.Fatal(err)
	}
	if done, writing, err := first.Begin(t.Context(), plan("c")); done || writing != -1 || err != nil {
		t.Errorf("a plan that was rolled back: %v %d %v", done, writing, err)
	}
	all, err := second.List(t.Context(), 10)
	if err != nil || len(all) != 3 || all[2].Outcome != card.PlanDone || strings.Join(all[0].Files, " ") != "DF03EF07 DF02EF07" || !all[0].Opened.Equal(now) {
		t.Errorf("%+v %v", all, err)
	}
}

func TestProgressOfNothing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "cards.db")).Plans()
	if err := s.Progress(t.Context(), plan("a").ID, 0); !errors.Is(err, card.ErrPlanStore) {
		t.Error(err)
	}
	if _, _, err := s.Begin(t.Context(), plan("a")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context(), plan("a").ID, card.PlanDone); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context(), plan("a").ID, card.PlanRolledBack); !errors.Is(err, card.ErrPlanStore) {
		t.Errorf("closed twice: %v", err)
	}
}

// What was on a person's card is not kept longer than it is needed.
func TestClosedPlansHoldNoValues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cards.db")
	s, err := planstore.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := plan("a")
	p.Items[1].New = []byte("SECRET-NAME")
	secret := "5345435245542d4e414d45" // as the plan's JSON has it
	if _, _, err := s.Plans().Begin(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := s.Plans().Close(t.Context(), p.ID, card.PlanDone); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // folds the write-ahead log in
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.ToLower(string(b)), secret) {
		t.Error("the value is still in the file")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func TestDebits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cards.db")
	s := open(t, path)
	tr := card.Transaction{ID: strings.Repeat("d", 32), Card: code, Type: "2", State: card.TransactionIntended, Sequence: 7,
		Terminal: "410100813475", Time: card.Time{Date: card.Date{Year: 2026, Month: 3, Day: 1}, Hour: 9}, Account: 1234, Before: 5000}
	if err := s.Debits().Note(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	list, err := open(t, path).Debits().Undecided(t.Context(), code)
	if err != nil || len(list) != 1 || list[0] != tr || list[0].After() != 3766 {
		t.Fatalf("%+v, %v", list, err)
	}
	tr.State, tr.TAC = card.TransactionDone, "0c51245a"
	if err := s.Debits().Note(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	tr.Verified = true
	if err := s.Debits().Note(t.Context(), tr); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Debits().Undecided(t.Context(), code); err != nil || len(list) != 0 {
		t.Errorf("%+v %v", list, err)
	}
	if list, err := s.Transactions(t.Context(), "", 5); err != nil || len(list) != 1 || list[0] != tr {
		t.Errorf("%+v %v", list, err)
	}
	tr.State = card.TransactionVoid
	if err := s.Debits().Note(t.Context(), tr); fault.Of(err).Code != fault.PlanStoreUnavailable {
		t.Errorf("the card's word was taken back: %v", err)
	}
}

func TestFilesThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"text":      func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("text", 100)), 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"short":     func(p string) error { return os.WriteFile(p, []byte("SQLite format 3\x00"), 0o600) },
		"another database": func(p string) error {
			return os.WriteFile(p, append([]byte("SQLite format 3\x00"+strings.Repeat("\x01", 52)), make40()...), 0o600)
		},
		"no directory": func(string) error { return nil },
	} {
		path := filepath.Join(dir, name)
		if name == "no directory" {
			path = filepath.Join(dir, "missing", "cards.db")
		}
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(path)
		s, err := planstore.Open(path, nil)
		if !errors.Is(err, card.ErrPlanStore) {
			t.Errorf("%s: %v", name, err)
		}
		if s != nil {
			s.Close()
		}
		if after, _ := os.ReadFile(path); string(before) != string(after) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	// A power cut right after the name was made.
	path := filepath.Join(dir, "empty")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}

func make40() []byte { return []byte(strings.Repeat("\x02", 40)) }
