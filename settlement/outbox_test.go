package settlement

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"onecard/fault"
)

// A post office runs a dispatcher against what a test wants upstream to do.
type postOffice struct {
	t    *testing.T
	box  *Outbox
	post *Dispatcher

	mu      sync.Mutex
	sent    []string // once of every call of the sender, in order
	answer  func(ctx context.Context, item Item) error
	changed chan struct{}
}

func newPostOffice(t *testing.T, j *Journal, cfg Dispatch) *postOffice {
	p := &postOffice{t: t, box: j.Outbox(), changed: make(chan struct{}, 1)}
	cfg.Changed = func() {
		select {
		case p.changed <- struct{}{}:
		default:
		}
	}
	p.post = NewDispatcher(p.box, cfg)
	p.post.Handle("k", func(ctx context.Context, item Item) error {
		p.mu.Lock()
		p.sent = append(p.sent, item.Once)
		answer := p.answer
		p.mu.Unlock()
		if answer == nil {
			return nil
		}
		return answer(ctx, item)
	})
	return p
}

// run starts the loop; what it returns ends it and waits.
func (p *postOffice) run() (stop func()) {
	ctx, cancel := context.WithCancel(p.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.post.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
	})
}

func (p *postOffice) put(letters ...Letter) []int64 {
	p.t.Helper()
	ids, err := p.box.Put(p.t.Context(), letters...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.post.Wake()
	return ids
}

func (p *postOffice) item(id int64) Item {
	p.t.Helper()
	i, err := p.box.Get(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return i
}

// await waits until an item is in a state.
func (p *postOffice) await(id int64, state OutboxState) Item {
	p.t.Helper()
	late := time.After(30 * time.Second) // a test that hangs says where
	for {
		if i := p.item(id); i.State == state {
			return i
		}
		select {
		case <-p.changed:
		case <-late:
			p.t.Fatalf("item %d is not %s: %+v", id, state, p.item(id))
		}
	}
}

func (p *postOffice) calls() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sent)
}

func letter(lane, once string) Letter {
	return Letter{Lane: lane, Kind: "k", Once: once, Body: []byte(`{"about":"` + once + `"}`)}
}

func openClocked(t *testing.T, path string, now func() time.Time) *Journal {
	t.Helper()
	j, err := OpenJournal(path, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() }) // most tests have closed it
	return j
}

// A dead letter blocks its lane and no other, and what is behind it goes on when
// a person has decided.
func TestOutboxDeadLetterBlocksItsLane(t *testing.T) {
	p := newPostOffice(t, newJournal(t), Dispatch{})
	p.answer = func(_ context.Context, item Item) error {
		if item.Once == "a1" {
			return fmt.Errorf("4101: %w", &RefusedError{Infno: "4101", Message: "清单已提交"})
		}
		return nil
	}
	ids := p.put(letter("a", "a1"), letter("a", "a2"), letter("b", "b1"))
	defer p.run()()
	p.await(ids[2], OutboxSent)
	dead := p.await(ids[0], OutboxDead)
	if dead.Fault != fault.UpstreamRefused || dead.Message != "清单已提交" || dead.Attempts != 1 {
		t.Errorf("dead: %+v", dead)
	}
	if i := p.item(ids[1]); i.State != OutboxWaiting {
		t.Errorf("behind the dead letter: %+v", i)
	}
	counts, err := p.box.Counts(t.Context())
	if err != nil || len(counts) != 1 || counts[0].Dead != 1 || counts[0].Wait != 1 || !counts[0].Oldest.Equal(testTime) {
		t.Errorf("counts: %+v, %v", counts, err)
	}
	if err := p.box.Drop(t.Context(), ids[0], "chief", ""); fault.Of(err).Code != fault.DecisionInvalid {
		t.Errorf("dropped without a reason: %v", err)
	}
	if err := p.box.Drop(t.Context(), ids[0], "chief", "sent by hand"); err != nil {
		t.Fatal(err)
	}
	p.post.Wake()
	p.await(ids[1], OutboxSent)
	if err := p.box.Retry(t.Context(), ids[1], "chief", "again"); fault.Of(err).Code != fault.OutboxState {
		t.Errorf("what was acknowledged is sent again: %v", err)
	}
	if err := p.box.Retry(t.Context(), 99, "chief", "again"); fault.Of(err).Code != fault.OutboxUnknown {
		t.Errorf("no such item: %v", err)
	}
	d, err := p.box.Decisions(t.Context(), ids[0])
	if err != nil || len(d) != 1 || d[0].Who != "chief" || d[0].Verdict != OutboxDrop || d[0].Once != "a1" {
		t.Errorf("decisions: %+v, %v", d, err)
	}
	if got := p.calls(); len(got) != 3 {
		t.Errorf("sent %v", got)
	}
}

// What waits only for the line is due at once when the line is back, however
// long its pause had become.
func TestOutboxGoesOnWhenTheLineIsBack(t *testing.T) {
	p := newPostOffice(t, newJournal(t), Dispatch{First: time.Hour, Longest: 24 * time.Hour})
	down := true
	p.answer = func(context.Context, Item) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if down {
			return fmt.Errorf("4101: %w", ErrUnreachable)
		}
		return nil
	}
	ids := p.put(letter("a", "a1"))
	defer p.run()()
	for p.item(ids[0]).Misses == 0 {
		<-p.changed
	}
	if i := p.item(ids[0]); i.Attempts != 0 || i.Doubt || i.Fault != fault.UpstreamUnreachable || !i.Due.Equal(testTime.Add(time.Hour)) {
		t.Errorf("unreachable: %+v", i)
	}
	p.mu.Lock()
	down = false
	p.mu.Unlock()
	if err := p.post.Reached(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.await(ids[0], OutboxSent)
}

// What is on its way when the process is told to end is given time to end, and
// then cut off: the next process finds it in doubt.
func TestOutboxStopsCleanly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := openJournal(t, path)
	p := newPostOffice(t, j, Dispatch{Grace: time.Millisecond})
	began := make(chan struct{})
	p.answer = func(ctx context.Context, _ Item) error {
		close(began)
		<-ctx.Done()
		return fmt.Errorf("4101: %w: %w", ErrAnswerLost, ctx.Err())
	}
	ids := p.put(letter("a", "a1"), letter("a", "a2"))
	stop := p.run()
	<-began
	if err := p.box.Drop(t.Context(), ids[0], "chief", "stop it"); fault.Of(err).Code != fault.OutboxState {
		t.Errorf("dropped on its way: %v", err)
	}
	stop()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	next := newPostOffice(t, openJournal(t, path), Dispatch{First: time.Nanosecond})
	if i := next.item(ids[0]); i.State != OutboxWaiting || !i.Doubt || i.Attempts != 1 {
		t.Fatalf("after the end: %+v", i)
	}
	next.answer = func(_ context.Context, item Item) error {
		if item.Once == "a1" && !item.Doubt {
			return errors.New("the doubt is forgotten")
		}
		return nil
	}
	// The clock of this test stands still: a person need not wait for the pause.
	if err := next.box.Retry(t.Context(), ids[0], "chief", "now"); err != nil {
		t.Fatal(err)
	}
	defer next.run()()
	next.await(ids[1], OutboxSent)
	if got := next.calls(); !slices.Equal(got, []string{"a1", "a2"}) {
		t.Errorf("sent %v", got)
	}
}

// Two loops would send twice: the second is refused.
func TestOutboxHasOneLoop(t *testing.T) {
	p := newPostOffice(t, newJournal(t), Dispatch{})
	began, release := make(chan struct{}), make(chan struct{})
	p.answer = func(context.Context, Item) error { close(began); <-release; return nil }
	ids := p.put(letter("a", "a1"))
	stop := p.run()
	<-began
	if err := p.post.Run(t.Context()); !errors.Is(err, errRunning) {
		t.Errorf("a second loop: %v", err)
	}
	close(release)
	p.await(ids[0], OutboxSent)
	stop()
}

// Many lanes at once, with answers that fail now and then: every item is
// acknowledged once, in the order of its lane.
func TestOutboxManyLanes(t *testing.T) {
	var clock sync.Mutex
	now := testTime
	j := openClocked(t, filepath.Join(t.TempDir(), "journal.db"), func() time.Time {
		clock.Lock()
		defer clock.Unlock()
		now = now.Add(time.Second) // pauses pass as the test goes on
		return now
	})
	p := newPostOffice(t, j, Dispatch{First: time.Second, Longest: 2 * time.Second, Attempts: 1000, Parallel: 8,
		Later: func(time.Duration) (<-chan time.Time, func()) {
			soon := time.NewTimer(time.Millisecond)
			return soon.C, func() { soon.Stop() }
		}})
	var acked []string
	tries := make(map[string]int)
	p.answer = func(_ context.Context, item Item) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if tries[item.Once]++; tries[item.Once] == 1 && len(item.Once)%2 == 0 {
			return ErrAnswerLost
		}
		acked = append(acked, item.Once)
		return nil
	}
	const lanes, each = 12, 3
	var letters []Letter
	for n := range each {
		for l := range lanes {
			letters = append(letters, letter(fmt.Sprint("lane ", l), fmt.Sprintf("%d:%d", l, n)))
		}
	}
	ids := p.put(letters...)
	stop := p.run()
	for _, id := range ids {
		p.await(id, OutboxSent)
	}
	stop()
	if len(acked) != lanes*each {
		t.Fatalf("%d acknowledged, not %d", len(acked), lanes*each)
	}
	last := make(map[string]string)
	for _, once := range acked {
		var l, n int
		if _, err := fmt.Sscanf(once, "%d:%d", &l, &n); err != nil {
			t.Fatal(err)
		}
		lane := fmt.Sprint(l)
		if last[lane] >= once && last[lane] != "" {
			t.Errorf("%s after %s", once, last[lane])
		}
		last[lane] = once
	}
}

// A letter that cannot be kept is refused, and nothing of its company is queued.
func TestOutboxRefusesBadLetters(t *testing.T) {
	box := newJournal(t).Outbox()
	for name, bad := range map[string]Letter{
		"no lane": {Kind: "k", Once: "1"}, "no kind": {Lane: "a", Once: "1"}, "no once": {Lane: "a", Kind: "k"},
		"not text":  {Lane: "a", Kind: "k", Once: "\xff"},
		"two lines": {Lane: "a\nb", Kind: "k", Once: "1"},
		"too large": {Lane: "a", Kind: "k", Once: "1", Body: make([]byte, maxOutboxBody+1)},
		"too long":  {Lane: "a", Kind: "k", Once: string(make([]byte, maxOutboxName+1))},
	} {
		if _, err := box.Put(t.Context(), letter("a", "good"), bad); fault.Of(err).Code != fault.BodyInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list, err := box.List(t.Context(), OutboxFilter{All: true}); err != nil || len(list) != 0 {
		t.Errorf("queued: %v, %v", list, err)
	}
}

// A visit and what is to be sent because of it are stored together, or neither.
func TestOutboxWithAVisit(t *testing.T) {
	j := newJournal(t)
	v, err := j.Outbox().PutWith(t.Context(), Visit{ID: "V1", State: "closed", Body: []byte(`{}`)}, letter("V1", "withdraw V1"))
	if err != nil || v.Version != 1 {
		t.Fatal(v, err)
	}
	stale := v
	if v, err = j.Outbox().PutWith(t.Context(), v, letter("V1", "another")); err != nil || v.Version != 2 {
		t.Fatal(v, err)
	}
	if _, err := j.Outbox().PutWith(t.Context(), stale, letter("V1", "third")); !errors.Is(err, ErrVisitChanged) {
		t.Errorf("a stale visit: %v", err)
	}
	list, err := j.Outbox().List(t.Context(), OutboxFilter{Lane: "V1"})
	if err != nil || len(list) != 2 {
		t.Errorf("queued: %v, %v", list, err)
	}
}

// What is personal is not in the file, and what was altered is never sent.
func TestOutboxBodiesAreSealed(t *testing.T) {
	p := newPostOffice(t, newJournal(t), Dispatch{})
	ids := p.put(letter("a", "a1"), letter("b", "b1"))
	if _, err := p.box.j.write.Exec(`UPDATE outbox SET body = (SELECT body FROM outbox WHERE id = ?2) WHERE id = ?1`, ids[0], ids[1]); err != nil {
		t.Fatal(err)
	}
	defer p.run()()
	if i := p.awaitList(ids[0], OutboxDead); i.Fault != fault.JournalAltered {
		t.Errorf("another's body: %+v", i)
	}
	p.await(ids[1], OutboxSent)
	if got := p.calls(); !slices.Equal(got, []string{"b1"}) {
		t.Errorf("sent %v", got)
	}
}

// awaitList is await for an item whose body does not open.
func (p *postOffice) awaitList(id int64, state OutboxState) Item {
	p.t.Helper()
	late := time.After(30 * time.Second)
	for {
		list, err := p.box.List(p.t.Context(), OutboxFilter{All: true})
		if err != nil {
			p.t.Fatal(err)
		}
		if at := slices.IndexFunc(list, func(i Item) bool { return i.ID == id && i.State == state }); at >= 0 {
			return list[at]
		}
		select {
		case <-p.changed:
		case <-late:
			p.t.Fatalf("item %d is not %s: %v", id, state, list)
		}
	}
}
