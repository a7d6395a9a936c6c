package settlement

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"onecard/fault"
)

// A backup made while settlements go on is whole, and is a journal again when it
// is put in its place.
func TestBackupWhileRunning(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	j := openJournal(t, path)
	fillPersonal(t, j, 3)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id, err := j.Intend(context.Background(), personal(fmt.Sprintf("W%d-%d", w, i)))
				if err == nil {
					err = j.Conclude(context.Background(), id, Conclusion{Outcome: Done, SetlID: "S"})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	file := filepath.Join(dir, "copy.db")
	b, err := j.Backup(t.Context(), file)
	stop()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil || b.SHA256 != sha256.Sum256(content) || b.Bytes != int64(len(content)) || b.Entries < 3 {
		t.Errorf("%+v, %v", b, err)
	}
	line, err := os.ReadFile(file + ".sha256")
	if err != nil || string(line) != fmt.Sprintf("%x  copy.db\n", b.SHA256) {
		t.Errorf("%q, %v", line, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	checkSealed(t, dir)
	if _, err := j.Backup(t.Context(), file); fault.Of(err).Code != fault.BackupFailed || !errors.Is(err, os.ErrExist) {
		t.Errorf("over another backup: %v", err)
	}
	if again, err := os.ReadFile(file); err != nil || string(again) != string(content) {
		t.Error("the other backup is gone")
	}
	if _, err := j.Backup(t.Context(), filepath.Join(dir, "no", "copy.db")); fault.Of(err).Code != fault.BackupFailed {
		t.Errorf("nowhere: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file, path); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(path, nil); !errors.Is(err, ErrJournalOld) {
		t.Errorf("restored without a word: %v", err)
	}
	if err := AcceptJournal(path, nil, "chief", "restored"); err != nil {
		t.Fatal(err)
	}
	if v, err := openJournal(t, path).Verify(t.Context()); err != nil || v.Entries != b.Entries || v.Links <= b.Links {
		t.Errorf("%+v, %v; the copy was %+v", v, err, b)
	}
}

func TestDecide(t *testing.T) {
	j := newJournal(t)
	id := intend(t, j, anEntry("V1"))
	booked := &Amounts{10000, 6000, 2500, 1500}
	done := Conclusion{Outcome: Done, SetlID: "S7", Booked: booked}
	if err := j.Decide(t.Context(), id, done, "chief", "why"); !errors.Is(err, ErrInProgress) {
		t.Errorf("on its way: %v", err)
	}
	if err := j.Conclude(t.Context(), id, Conclusion{Outcome: Unknown, Fault: fault.AnswerLost, Answer: []byte("half")}); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		c           Conclusion
		who, reason string
	}{
		"nobody": {done, " ", "why"}, "no reason": {done, "chief", ""}, "long": {done, strings.Repeat("x", 101), "why"}, "not text": {done, "\xff", "why"},
		"no id": {Conclusion{Outcome: Done, Booked: booked}, "chief", "why"}, "no amounts": {Conclusion{Outcome: Done, SetlID: "S"}, "chief", "why"},
		"negative": {Conclusion{Outcome: Done, SetlID: "S", Booked: &Amounts{100, 0, 0, -1}}, "chief", "why"},
		"more":     {Conclusion{Outcome: Done, SetlID: "S", Booked: &Amounts{100, 101, 0, 0}}, "chief", "why"},
		"unknown":  {Conclusion{Outcome: Unknown}, "chief", "why"}, "refused with amounts": {Conclusion{Outcome: Refused, Booked: booked}, "chief", "why"},
	} {
		if err := j.Decide(t.Context(), id, x.c, x.who, x.reason); fault.Of(err).Code != fault.DecisionInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := j.Decide(t.Context(), id, done, "chief", "seen in the centre's list"); err != nil {
		t.Fatal(err)
	}
	e, err := j.Get(t.Context(), id)
	if err != nil || e.Outcome != Done || e.SetlID != "S7" || e.Cash != 1500 || string(e.Answer) != "half" {
		t.Errorf("%v, %v", e, err)
	}
	d, ok, err := j.Decision(t.Context(), id)
	if err != nil || !ok || d.Who != "chief" || d.Reason != "seen in the centre's list" || !d.At.Equal(testTime) {
		t.Errorf("%+v, %v, %v", d, ok, err)
	}
	if err := j.Decide(t.Context(), id, done, "chief", "again"); !errors.Is(err, ErrEntryClosed) {
		t.Errorf("twice: %v", err)
	}
	if err := j.Decide(t.Context(), 99, done, "chief", "why"); !errors.Is(err, ErrEntryUnknown) {
		t.Errorf("no entry: %v", err)
	}
	if _, ok, err := j.Decision(t.Context(), 99); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if _, err := j.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}
