package settlement

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

// A number belongs to one settlement, also of an earlier run.
func TestSettlementNumberIsClaimedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := openJournal(t, path)
	ctx := t.Context()
	e := anEntry("V1")
	id := intend(t, j, e)
	if err := j.claim(ctx, "S1", e.MsgID); err != nil {
		t.Fatal(err)
	}
	conclude(t, j, id, Conclusion{Outcome: Done, SetlID: "S1"})
	if err := j.claim(ctx, "S1", e.MsgID); err != nil {
		t.Errorf("its own: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, path)
	if err := j.claim(ctx, "S1", "another"); !errors.Is(err, ErrMismatch) {
		t.Errorf("another's: %v", err)
	}
	for i := range claimsKept {
		if err := j.claim(ctx, fmt.Sprint("T", i), fmt.Sprint("m", i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(j.claimed.by) != claimsKept || len(j.claimed.order) != claimsKept {
		t.Errorf("%d, %d are kept", len(j.claimed.by), len(j.claimed.order))
	}
	if err := j.claim(ctx, "T9999", "another"); !errors.Is(err, ErrMismatch) {
		t.Errorf("the latest: %v", err)
	}
}
