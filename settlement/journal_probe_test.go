package settlement

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A crash leaves a probe's file; the next one goes on, and leaves none.
func TestProbeLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := openJournal(t, path)
	left := beside(path, ".probe")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := j.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := j.Probe(t.Context()); !errors.Is(err, ErrJournalUnavailable) {
		t.Errorf("in the way: %v", err)
	}
}
