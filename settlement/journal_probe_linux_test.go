package settlement

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"onecard/fault"
)

// Where a settlement cannot be written the probe fails, though its own row has
// room in the write-ahead log; with room again it does not.
func TestProbeOnAFullDisk(t *testing.T) {
	dir := smallDisk(t)
	j := openJournal(t, filepath.Join(dir, "journal.db"))
	for i := range 30 { // a log with room that is used again
		conclude(t, j, intend(t, j, anEntry(fmt.Sprint("V", i))), Conclusion{Outcome: Refused})
	}
	if _, err := j.write.ExecContext(t.Context(), `PRAGMA wal_checkpoint(FULL)`); err != nil {
		t.Fatal(err)
	}
	if err := j.Probe(t.Context()); err != nil {
		t.Fatalf("with room: %v", err)
	}
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Reserve(t.Context(), 1); err != nil {
		t.Fatalf("a row is meant to fit: %v", err)
	}
	for range 2 {
		if err := j.Probe(t.Context()); !errors.Is(err, ErrJournalUnavailable) || fault.Of(err).Code != fault.JournalUnavailable {
			t.Errorf("full: %v", err)
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := j.Probe(t.Context()); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
