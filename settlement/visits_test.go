package settlement

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"onecard/fault"
)

func TestSignNumbers(t *testing.T) {
	j := newJournal(t)
	ctx := t.Context()
	for _, x := range []struct{ opter, day, no string }{{"1", "2026-03-08", "a"}, {"1", "2026-03-09", "b"}, {"2", "2026-03-08", "c"}, {"1", "2026-03-09", "d"}} {
		if err := j.SetSignNo(ctx, x.opter, x.day, x.no); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct{ opter, day, want string }{{"1", "2026-03-08", ""}, {"1", "2026-03-09", "d"}, {"2", "2026-03-08", "c"}, {"3", "2026-03-09", ""}} {
		if got, err := j.SignNo(ctx, x.opter, x.day); err != nil || got != x.want {
			t.Errorf("%s on %s: %q, %v; want %q", x.opter, x.day, got, err, x.want)
		}
	}
	if err := j.Reserve(ctx, 100); err != nil {
		t.Fatal(err)
	}
	if err := j.Reserve(ctx, 50); err != nil {
		t.Fatal(err)
	}
	if s, err := j.Reserved(ctx); err != nil || s != 100 {
		t.Errorf("reserved %d, %v", s, err)
	}
}

func TestVisits(t *testing.T) {
	now := testTime
	path := filepath.Join(t.TempDir(), "journal.db")
	j, err := OpenJournal(path, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	v, ctx := j.Visits(), t.Context()
	first, err := v.Put(ctx, Visit{ID: "V1", State: "registered", Body: []byte(`{"mdtrt_id":"M1"}`)})
	if err != nil || first.Version != 1 {
		t.Fatalf("%v, %v", first, err)
	}
	if _, err := v.Put(ctx, Visit{ID: "V1", Body: []byte(`{}`)}); !errors.Is(err, ErrVisitChanged) {
		t.Errorf("put anew: %v", err)
	}
	now = now.Add(time.Minute)
	second := first
	second.State, second.Body = "tried", []byte(`{"mdtrt_id":"M1","trial":1}`)
	if second, err = v.Put(ctx, second); err != nil || second.Version != 2 {
		t.Fatalf("%v, %v", second, err)
	}
	if _, err := v.Put(ctx, first); fault.Of(err).Code != fault.VisitState {
		t.Errorf("put by a stale window: %v", err)
	}
	if _, err := v.Put(ctx, Visit{ID: "V2", State: "x", Body: []byte(`{`)}); err == nil {
		t.Error("a body that is not JSON")
	}
	if _, err := v.Put(ctx, Visit{ID: "V2", State: "registered", Body: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, path)
	v = j.Visits()
	got, err := v.Get(ctx, "V1")
	if err != nil || got.State != "tried" || string(got.Body) != `{"mdtrt_id":"M1","trial":1}` || got.Version != 2 || !got.Opened.Equal(testTime) || !got.Updated.Equal(now) {
		t.Errorf("%+v, %v", got, err)
	}
	if list, err := v.List(ctx, "registered", 10); err != nil || len(list) != 1 || list[0].ID != "V2" {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := v.List(ctx, "", 10); err != nil || len(list) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	if err := v.Delete(ctx, "V1"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Get(ctx, "V1"); fault.Of(err).Code != fault.VisitUnknown {
		t.Errorf("%v", err)
	}
}
