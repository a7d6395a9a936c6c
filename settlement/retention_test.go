package settlement

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// What is old and done goes, step by step; what is evidence, young or still to
// be done stays, and the journal verifies as before.
func TestRetention(t *testing.T) {
	now := testTime
	j := openClocked(t, filepath.Join(t.TempDir(), "journal.db"), func() time.Time { return now })
	ctx := t.Context()
	put := func(id, state string) {
		t.Helper()
		if _, err := j.Visits().Put(ctx, Visit{ID: id, State: state, Body: []byte(`{"name":"张三"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	settle := func(visit string, c Conclusion) int64 {
		t.Helper()
		id := intend(t, j, anEntry(visit))
		if err := j.Conclude(ctx, id, c); err != nil {
			t.Fatal(err)
		}
		return id
	}
	const old = 2*retainStep + 10
	for n := range old {
		put(fmt.Sprint("old ", n), "settled")
	}
	settled := settle("old 0", Conclusion{Outcome: Done, SetlID: "S1", Answer: []byte(`{}`)})
	put("open", "registered")
	put("doubt", "settled")
	doubtful := settle("doubt", Conclusion{Outcome: Unknown})
	put("withdrawn", "closed")
	if _, err := j.Outbox().Put(ctx, letter("withdrawn", "withdraw"), letter("elsewhere", "done")); err != nil {
		t.Fatal(err)
	}
	if err := j.Outbox().Drop(ctx, 2, "chief", "sent by hand"); err != nil {
		t.Fatal(err)
	}
	for _, entry := range []int64{settled, doubtful} {
		if err := j.commit(ctx, func(ctx context.Context, b *batch) error {
			return b.exec(ctx, `INSERT INTO attempt (entry, n, at, next_at, finding) VALUES (?1, 1, ?2, NULL, '{}')`, entry, now.UnixMilli())
		}); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(31 * 24 * time.Hour)
	put("young", "settled")

	r := Retention{Visits: 30 * 24 * time.Hour, Finished: []string{"settled", "closed"}, Outbox: 30 * 24 * time.Hour, Attempts: 30 * 24 * time.Hour}
	var all Removed
	steps := 0
	for more := true; more; steps++ {
		var removed Removed
		var err error
		if removed, more, err = j.Retain(ctx, r); err != nil {
			t.Fatal(err)
		}
		if removed.Visits > retainStep {
			t.Errorf("%d visits in one step", removed.Visits)
		}
		all.Visits, all.Items, all.Attempts = all.Visits+removed.Visits, all.Items+removed.Items, all.Attempts+removed.Attempts
	}
	if all != (Removed{old, 1, 1}) || steps != 4 {
		t.Errorf("removed %+v in %d steps", all, steps)
	}
	list, err := j.Visits().List(ctx, "", 1000)
	if err != nil || len(list) != 4 {
		t.Errorf("left: %v, %v", list, err)
	}
	if i, err := j.Outbox().List(ctx, OutboxFilter{All: true}); err != nil || len(i) != 1 || i[0].State != OutboxWaiting {
		t.Errorf("left in the outbox: %v, %v", i, err)
	}
	if d, err := j.Outbox().Decisions(ctx, 2); err != nil || len(d) != 1 {
		t.Errorf("the decision is gone with its item: %v, %v", d, err)
	}
	if e, err := j.Get(ctx, settled); err != nil || string(e.Answer) != `{}` {
		t.Errorf("the entry: %+v, %v", e, err)
	}
	if v, err := j.Verify(ctx); err != nil || v.Entries != 2 {
		t.Errorf("verify: %+v, %v", v, err)
	}
	if removed, more, err := j.Retain(ctx, Retention{}); err != nil || more || removed.any() {
		t.Errorf("for ever: %+v, %v, %v", removed, more, err)
	}
	// Not even by hand.
	if _, err := j.write.Exec(`DELETE FROM outbox WHERE state = 'waiting'`); err == nil {
		t.Error("what is still to be done was deleted")
	}
	if _, err := j.write.Exec(`UPDATE outbox_decision SET who = 'another'`); err == nil {
		t.Error("a decision was changed")
	}
}
