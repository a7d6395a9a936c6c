package planstore

import (
	"path/filepath"
	"testing"
	"time"
)

func TestTerminalSequenceNeverRepeats(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cards.db")
	for want := uint32(1); want <= 6; {
		s, err := Open(path, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // and then the process ends
			got, err := s.NextTerminalSequence(t.Context(), "510100000001")
			if err != nil || got != want {
				t.Fatalf("drew %d, %v, want %d", got, err, want)
			}
			want++
		}
		if other, err := s.NextTerminalSequence(t.Context(), "510100000002"); err != nil || other >= want {
			t.Fatalf("another terminal drew %d, %v", other, err)
		}
		if _, err := s.NextTerminalSequence(t.Context(), "short"); err == nil {
			t.Error("a number that is no terminal's is taken")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
