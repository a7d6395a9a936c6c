package settlement

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"onecard/fault"
	"pgregory.net/rapid"
)

// modelItem is what a plain list says of an item.
type modelItem struct {
	id       int64
	lane     string
	once     string
	state    OutboxState
	doubt    bool
	attempts int
	misses   int
	due      time.Time
	queued   time.Time
	revived  bool // released after it was dropped: then it is out of order
}

// outboxModel drives an outbox step by step, without its loop: what is claimed
// is delivered, or its process dies.
type outboxModel struct {
	t     *rapid.T
	path  string
	now   time.Time
	j     *Journal
	post  *Dispatcher
	items []*modelItem
	on    map[int64]Item // claimed and not delivered
	acked []int64        // in order of acknowledgement
	next  int
	error error // what the sender answers next
	sent  int   // calls of the sender
}

const (
	modelFirst   = time.Minute
	modelLongest = 8 * time.Minute
	modelTries   = 3
	modelGiveUp  = time.Hour
)

func (m *outboxModel) open() {
	var err error
	if m.j, err = OpenJournal(m.path, func() time.Time { return m.now }); err != nil {
		m.t.Fatal(err)
	}
	// Processes die here, the power does not fail: nothing waits for the disk.
	if _, err := m.j.write.Exec(`PRAGMA synchronous = OFF`); err != nil {
		m.t.Fatal(err)
	}
	m.begin()
}

// begin starts a dispatcher.
func (m *outboxModel) begin() {
	m.post = NewDispatcher(m.j.Outbox(), Dispatch{Attempts: modelTries, GiveUp: modelGiveUp, First: modelFirst, Longest: modelLongest})
	m.post.Handle("k", func(context.Context, Item) error {
		m.sent++
		return m.error
	})
	if err := m.post.recover(context.Background()); err != nil {
		m.t.Fatal(err)
	}
}

func (m *outboxModel) open4(state OutboxState) bool {
	return slices.Contains([]OutboxState{OutboxHeld, OutboxWaiting, OutboxSending, OutboxDead}, state)
}

// head reports whether no earlier item of the lane is open.
func (m *outboxModel) head(of *modelItem) bool {
	for _, i := range m.items {
		if i.lane == of.lane && i.id < of.id && m.open4(i.state) {
			return false
		}
	}
	return true
}

func (m *outboxModel) pick(label string, want func(*modelItem) bool) *modelItem {
	var fit []*modelItem
	for _, i := range m.items {
		if want(i) {
			fit = append(fit, i)
		}
	}
	if len(fit) == 0 {
		m.t.Skip("none " + label)
	}
	return rapid.SampledFrom(fit).Draw(m.t, label)
}

func (m *outboxModel) put(t *rapid.T) {
	var letters []Letter
	for range rapid.IntRange(1, 3).Draw(t, "letters") {
		m.next++
		letters = append(letters, Letter{
			Lane: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "lane"), Kind: "k", Once: fmt.Sprint("once ", m.next),
			Body: []byte(fmt.Sprint("body ", m.next)), Hold: rapid.IntRange(0, 4).Draw(t, "hold") == 0, Doubt: rapid.Bool().Draw(t, "doubt"),
		})
	}
	ids, err := m.j.Outbox().Put(context.Background(), letters...)
	if err != nil {
		t.Fatal(err)
	}
	for n, l := range letters {
		i := &modelItem{id: ids[n], lane: l.Lane, once: l.Once, state: OutboxWaiting, doubt: l.Doubt, due: m.now, queued: m.now}
		if l.Hold {
			i.state = OutboxHeld
		}
		m.items = append(m.items, i)
	}
}

func (m *outboxModel) again(t *rapid.T) {
	i := m.pick("known", func(*modelItem) bool { return true })
	ids, err := m.j.Outbox().Put(context.Background(), Letter{Lane: "elsewhere", Kind: "k", Once: i.once, Body: []byte("another")})
	if err != nil || ids[0] != i.id {
		t.Fatalf("queued again: %v, %v; it is %d", ids, err, i.id)
	}
}

func (m *outboxModel) claim(t *rapid.T) {
	under := make(map[int64]bool)
	for id := range m.on {
		under[id] = true
	}
	item, next, err := m.post.claim(context.Background(), under)
	if err != nil {
		t.Fatal(err)
	}
	var due []*modelItem
	for _, i := range m.items {
		if i.state == OutboxWaiting && m.head(i) && !i.due.After(m.now) {
			due = append(due, i)
		}
	}
	if item.ID == 0 {
		if len(due) > 0 {
			t.Fatalf("nothing is claimed although %d are due", len(due))
		}
		if next <= 0 || next > modelLongest {
			t.Fatalf("look again in %v", next)
		}
		return
	}
	at := slices.IndexFunc(due, func(i *modelItem) bool { return i.id == item.ID })
	if at < 0 {
		t.Fatalf("%v is claimed and is not due, or not the first of its lane", item)
	}
	i := due[at]
	if item.Doubt != i.doubt || !strings.HasPrefix(string(item.Body), "body ") && !strings.HasPrefix(string(item.Body), "released ") {
		t.Fatalf("claimed %+v, the model has %+v", item, i)
	}
	i.state = OutboxSending
	m.on[item.ID] = item
}

func (m *outboxModel) deliver(t *rapid.T) {
	i := m.pick("on its way", func(i *modelItem) bool { return i.state == OutboxSending })
	what := rapid.SampledFrom([]string{"ok", "ok", "lost", "unreachable", "refused", "waits", "hopeless"}).Draw(t, "outcome")
	m.error = map[string]error{
		"lost": ErrAnswerLost, "unreachable": ErrUnreachable, "refused": &RefusedError{Infno: "4101", Message: "不可"},
		"waits": ErrUnknownUnresolved, "hopeless": &Undeliverable{ErrAnswerLost},
	}[what]
	before := m.sent
	m.post.deliver(context.Background(), context.Background(), m.on[i.id])
	delete(m.on, i.id)
	if m.sent != before+1 {
		t.Fatalf("delivered by %d calls", m.sent-before)
	}
	switch what {
	case "ok":
		i.state, i.doubt = OutboxSent, false
		m.acked = append(m.acked, i.id)
		return
	case "unreachable", "waits":
		i.misses++
		i.state = OutboxWaiting
		if m.now.Sub(i.queued) > modelGiveUp {
			i.state = OutboxDead
		}
	case "lost":
		i.attempts++
		i.doubt, i.state = true, OutboxWaiting
		if i.attempts >= modelTries {
			i.state = OutboxDead
		}
	default:
		i.attempts++
		i.state = OutboxDead
	}
	pause := modelFirst << (i.attempts + i.misses - 1)
	i.due = m.now
	if i.state == OutboxWaiting {
		i.due = m.now.Add(min(pause, modelLongest))
	}
}

// crash ends the process, whatever is on its way.
func (m *outboxModel) crash(t *rapid.T) {
	for _, i := range m.items {
		if i.state == OutboxSending {
			i.state, i.doubt, i.due = OutboxWaiting, true, m.now
		}
	}
	m.on = make(map[int64]Item)
	if rapid.IntRange(0, 3).Draw(t, "whole process") > 0 { // its loop alone: opening a journal takes long
		m.begin()
		return
	}
	if err := m.j.Close(); err != nil {
		t.Fatal(err)
	}
	m.open()
}

func (m *outboxModel) person(t *rapid.T) {
	i := m.pick("item", func(*modelItem) bool { return true })
	if rapid.Bool().Draw(t, "retry") {
		err := m.j.Outbox().Retry(context.Background(), i.id, "chief", "again")
		if can := i.state == OutboxWaiting || i.state == OutboxDead; can != (err == nil) || !can && fault.Of(err).Code != fault.OutboxState {
			t.Fatalf("retry of %s: %v", i.state, err)
		} else if can {
			i.state, i.attempts, i.misses, i.due, i.queued = OutboxWaiting, 0, 0, m.now, m.now
		}
		return
	}
	err := m.j.Outbox().Drop(context.Background(), i.id, "chief", "no more")
	if can := i.state == OutboxHeld || i.state == OutboxWaiting || i.state == OutboxDead; can != (err == nil) {
		t.Fatalf("drop of %s: %v", i.state, err)
	} else if can {
		i.state = OutboxDropped
	}
}

func (m *outboxModel) decide(t *rapid.T) {
	i := m.pick("item", func(*modelItem) bool { return true })
	if rapid.Bool().Draw(t, "release") {
		ok, err := m.j.Outbox().Release(context.Background(), i.once, []byte("released "+i.once))
		want := i.state == OutboxHeld || i.state == OutboxDropped && i.attempts+i.misses == 0
		if err != nil || ok != want {
			t.Fatalf("release of %s: %v, %v", i.state, ok, err)
		}
		if ok {
			i.state, i.due, i.revived = OutboxWaiting, m.now, i.state == OutboxDropped
		}
		return
	}
	ok, err := m.j.Outbox().Void(context.Background(), i.once)
	if err != nil || ok != (i.state == OutboxHeld) {
		t.Fatalf("void of %s: %v, %v", i.state, ok, err)
	}
	if ok {
		i.state = OutboxVoid
	}
}

// check compares everything with the model: nothing is lost, and what was
// acknowledged is in order within its lane and never again on its way.
func (m *outboxModel) check(t *rapid.T) {
	list, err := m.j.Outbox().List(context.Background(), OutboxFilter{All: true, Limit: 1000})
	if err != nil || len(list) != len(m.items) {
		t.Fatalf("%d items, the model has %d: %v", len(list), len(m.items), err)
	}
	slices.Reverse(list)
	for n, got := range list {
		want := m.items[n]
		if got.ID != want.id || got.Lane != want.lane || got.Once != want.once || got.State != want.state || got.Doubt != want.doubt ||
			got.Attempts != want.attempts || got.Misses != want.misses || got.State == OutboxWaiting && !got.Due.Equal(want.due) {
			t.Fatalf("the outbox has %+v, the model %+v", got, want)
		}
	}
	if len(m.acked) > 0 {
		last := make(map[string]int64)
		for _, id := range m.acked {
			i := m.items[slices.IndexFunc(m.items, func(i *modelItem) bool { return i.id == id })]
			if i.state != OutboxSent {
				t.Fatalf("item %d was acknowledged and is %s", id, i.state)
			}
			if id <= last[i.lane] && !i.revived {
				t.Fatalf("item %d was acknowledged after item %d of its lane", id, last[i.lane])
			}
			last[i.lane] = max(last[i.lane], id)
		}
	}
}

func TestOutboxModel(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		if run++; run > 12 && !t.Failed() {
			return // each opens a dozen journals
		}
		m := &outboxModel{t: t, path: filepath.Join(dir, fmt.Sprint(run, ".db")), now: testTime, on: make(map[int64]Item)}
		m.open()
		defer func() { _ = m.j.Close() }() // the model has closed and opened it in between
		t.Repeat(map[string]func(*rapid.T){
			"put": m.put, "put again": m.again, "claim": m.claim, "claim more": m.claim, "deliver": m.deliver, "deliver more": m.deliver,
			"crash": m.crash, "person": m.person, "decide": m.decide,
			"wait": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "minutes")) * time.Minute)
			},
			"": m.check,
		})
	})
}
