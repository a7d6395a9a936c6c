package settlement

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"onecard/fault"
)

// The outbox's failures.
var (
	ErrOutboxDead    = fault.New(fault.OutboxDead, "the outbox has dead letters")
	ErrOutboxUnknown = fault.New(fault.OutboxUnknown, "no such outbox item")
	ErrOutboxState   = fault.New(fault.OutboxState, "the outbox item's state does not permit this")

	errOutboxItem = fault.New(fault.BodyInvalid, "outbox item not valid")
)

// An OutboxState is how far an item of the outbox has come.
type OutboxState string

// The states. An item that is not closed stands in the way of the later ones of
// its lane.
const (
	OutboxHeld    OutboxState = "held"    // written down before it is known whether it has to be sent
	OutboxWaiting OutboxState = "waiting" // for its time, its turn or upstream
	OutboxSending OutboxState = "sending" // on its way
	OutboxDead    OutboxState = "dead"    // refused, or tried too often: a person decides
	OutboxSent    OutboxState = "sent"    // closed: upstream has acknowledged it
	OutboxDropped OutboxState = "dropped" // closed: a person gave it up
	OutboxVoid    OutboxState = "void"    // closed: what was held has not happened
)

// outboxOpen are the states that block a lane, as the index outbox_open has them.
const outboxOpen = ` state IN ('held', 'waiting', 'sending', 'dead') `

// Bounds of an item.
const (
	maxOutboxName = 80        // bytes of lane, kind and once
	maxOutboxBody = 256 << 10 // bytes of a body
	maxOutboxText = 1000      // bytes kept of upstream's words and ours
)

// A Letter is something that may wait until upstream takes it.
type Letter struct {
	// Lane keeps order: an item is sent when all earlier ones of its lane are
	// closed. Lanes are independent. A visit's number, a day; never what
	// identifies a person ([Outbox.Pseudonym]).
	Lane string
	// Kind says who sends it, see [Dispatcher].
	Kind string
	// Once names what is queued: the same is not queued twice, also after it was
	// sent, for as long as the item is kept. It is seen in lists.
	Once string
	// Body is what the sender needs, at most 256 KiB. It is sealed.
	Body []byte
	// Doubt says that it was tried before, and may have arrived.
	Doubt bool
	// Hold keeps it from being sent until [Outbox.Release].
	Hold bool
}

// An Item is a letter in the outbox.
type Item struct {
	ID    int64
	Lane  string
	Kind  string
	Once  string
	State OutboxState
	// Doubt: an attempt may have arrived of which no answer came. What must not
	// be done twice is looked up before it is sent again.
	Doubt    bool
	Attempts int // that left, or may have; since Queued
	Misses   int // of which nothing left; since Queued
	Created  time.Time
	Queued   time.Time // created, or put back by a person
	Updated  time.Time
	Due      time.Time
	Fault    fault.Code // of the last attempt
	Message  string     // upstream's words, for a person
	Note     string     // ours
	Body     []byte     // only from Get and for senders
}

// String names the item without its content.
func (i Item) String() string {
	return fmt.Sprintf("outbox %d: %s %s %s", i.ID, i.Kind, i.State, i.Lane)
}

// An Outbox keeps what may wait in the journal's file: an item is on the disk
// before anybody is told that it will be sent.
type Outbox struct {
	j *Journal
}

// Outbox returns the journal's outbox.
func (j *Journal) Outbox() *Outbox { return &Outbox{j} }

// Pseudonym returns 16 hexadecimal digits that stand for a text and say nothing
// of it without the journal's key: for lanes of cards.
func (o *Outbox) Pseudonym(text string) string {
	h := hmac.New(sha256.New, o.j.key.chain)
	h.Write([]byte("onecard outbox lane\x00" + text))
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (l Letter) check() error {
	for _, f := range []struct{ name, text string }{{"lane", l.Lane}, {"kind", l.Kind}, {"once", l.Once}} {
		if f.text == "" || len(f.text) > maxOutboxName || !utf8.ValidString(f.text) || strings.ContainsFunc(f.text, func(r rune) bool { return r < ' ' }) {
			return fmt.Errorf("%s: 1 to %d bytes of text: %w", f.name, maxOutboxName, errOutboxItem)
		}
	}
	if len(l.Body) > maxOutboxBody {
		return fmt.Errorf("body: more than %d bytes: %w", maxOutboxBody, errOutboxItem)
	}
	return nil
}

// Put queues letters, durably, all or none, in their order. A letter whose Once
// is known already is not queued again: its place in the answer has the number
// of the first. Errors wrap ErrJournalUnavailable where the disk refuses: then
// nothing is queued.
func (o *Outbox) Put(ctx context.Context, letters ...Letter) (ids []int64, err error) {
	put, err := o.putting(letters)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	err = o.j.commit(ctx, func(ctx context.Context, b *batch) (err error) {
		ids, err = put(ctx, b)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	return ids, nil
}

// PutWith stores a visit and queues letters in one commit: after a crash there
// are both or neither. ErrVisitChanged as of [Visits.Put]; then nothing is queued.
func (o *Outbox) PutWith(ctx context.Context, visit Visit, letters ...Letter) (Visit, error) {
	put, err := o.putting(letters)
	if err != nil {
		return Visit{}, fmt.Errorf("outbox: %w", err)
	}
	return o.j.Visits().put(ctx, visit, func(ctx context.Context, b *batch) error {
		_, err := put(ctx, b)
		return err
	})
}

// putting checks and seals letters.
func (o *Outbox) putting(letters []Letter) (func(context.Context, *batch) ([]int64, error), error) {
	bodies := make([][]byte, len(letters))
	for i, l := range letters {
		if err := l.check(); err != nil {
			return nil, err
		}
		bodies[i] = o.j.key.seal("outbox", l.Once, l.Body)
	}
	now := o.j.now().UnixMilli()
	return func(ctx context.Context, b *batch) ([]int64, error) {
		ids := make([]int64, len(letters))
		for i, l := range letters {
			state := OutboxWaiting
			if l.Hold {
				state = OutboxHeld
			}
			if err := b.exec(ctx, `INSERT INTO outbox (lane, kind, once, state, doubt, created_at, queued_at, updated_at, due_at, body)
				VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?6, ?6, ?7) ON CONFLICT (once) DO NOTHING`,
				l.Lane, l.Kind, l.Once, string(state), l.Doubt, now, bodies[i]); err != nil {
				return nil, err
			}
			if err := b.tx.QueryRowContext(ctx, `SELECT id FROM outbox WHERE once = ?`, l.Once).Scan(&ids[i]); err != nil {
				return nil, unavailable(err)
			}
		}
		return ids, nil
	}, nil
}

// Release lets a held item be sent, with the body that is known now. It says
// whether it was held; one that a person dropped unsent is released, too: what
// it stands for has happened after all.
func (o *Outbox) Release(ctx context.Context, once string, body []byte) (bool, error) {
	if len(body) > maxOutboxBody {
		return false, fmt.Errorf("release: body: more than %d bytes: %w", maxOutboxBody, errOutboxItem)
	}
	return o.settleHeld(ctx, "release", once, `UPDATE outbox SET state = 'waiting', body = ?2, updated_at = ?3, due_at = ?3
		WHERE once = ?1 AND (state = 'held' OR state = 'dropped' AND attempts + misses = 0)`,
		o.j.key.seal("outbox", once, body))
}

// Void closes a held item whose matter has not happened. It says whether it was
// held.
func (o *Outbox) Void(ctx context.Context, once string) (bool, error) {
	return o.settleHeld(ctx, "void", once, `UPDATE outbox SET state = 'void', body = ?2, updated_at = ?3 WHERE once = ?1 AND state = 'held'`,
		o.j.key.seal("outbox", once, nil))
}

func (o *Outbox) settleHeld(ctx context.Context, what, once, query string, body []byte) (bool, error) {
	now := o.j.now().UnixMilli()
	var n int64
	err := o.j.commit(ctx, func(ctx context.Context, b *batch) (err error) {
		n, err = b.affect(ctx, query, once, body, now)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("outbox: %s: %w", what, err)
	}
	return n > 0, nil
}

// An OutboxFilter selects items. Its zero value selects the latest hundred that
// are not closed.
type OutboxFilter struct {
	State  OutboxState // "": those that are not closed
	All    bool        // whatever the state, where State is ""
	Kind   string      // "": any
	Lane   string      // "": any
	Since  time.Time   // created then or later
	Before int64       // only smaller numbers, 0: any
	Limit  int         // 0: 100; at most 1000
}

const outboxColumns = `id, lane, kind, once, state, doubt, attempts, misses, created_at, queued_at, updated_at, due_at, fault, message, note`

// List returns items, the latest first, without bodies.
func (o *Outbox) List(ctx context.Context, f OutboxFilter) ([]Item, error) {
	return o.list(ctx, f, false)
}

// Bodies is List with the bodies, for those who add up what is in them.
func (o *Outbox) Bodies(ctx context.Context, f OutboxFilter) ([]Item, error) {
	return o.list(ctx, f, true)
}

func (o *Outbox) list(ctx context.Context, f OutboxFilter, bodies bool) (list []Item, err error) {
	where, args := []string{"1"}, []any(nil)
	add := func(condition string, arg any) {
		where = append(where, condition)
		args = append(args, arg)
	}
	switch {
	case f.State != "":
		add("state = ?", string(f.State))
		switch f.State {
		case OutboxHeld, OutboxWaiting, OutboxSending, OutboxDead:
			where = append(where, outboxOpen) // lets SQLite use the small index of what is open
		}
	case !f.All:
		where = append(where, outboxOpen)
	}
	if f.Kind != "" {
		add("kind = ?", f.Kind)
	}
	if f.Lane != "" {
		add("lane = ?", f.Lane)
	}
	if !f.Since.IsZero() {
		add("created_at >= ?", f.Since.UnixMilli())
	}
	if f.Before > 0 {
		add("id < ?", f.Before)
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	args = append(args, min(f.Limit, 1000))
	body := "NULL"
	if bodies {
		body = "body"
	}
	rows, err := o.j.read.QueryContext(ctx, `SELECT `+outboxColumns+`, `+body+` FROM outbox WHERE `+strings.Join(where, " AND ")+` ORDER BY id DESC LIMIT ?`, args...)
	if err != nil {
		return nil, fmt.Errorf("list outbox: %w", unavailable(err))
	}
	defer rows.Close()
	for rows.Next() {
		item, err := o.scan(rows)
		if err != nil {
			return nil, fmt.Errorf("list outbox: %w", err)
		}
		list = append(list, item)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list outbox: %w", unavailable(err))
	}
	return list, nil
}

// Get returns one item with its body, or ErrOutboxUnknown.
func (o *Outbox) Get(ctx context.Context, id int64) (Item, error) {
	item, err := o.scan(o.j.read.QueryRowContext(ctx, `SELECT `+outboxColumns+`, body FROM outbox WHERE id = ?`, id))
	if err != nil {
		return Item{}, fmt.Errorf("outbox item %d: %w", id, err)
	}
	return item, nil
}

// Once returns the item of that name with its body; found is false where there is
// none.
func (o *Outbox) Once(ctx context.Context, once string) (item Item, found bool, err error) {
	item, err = o.scan(o.j.read.QueryRowContext(ctx, `SELECT `+outboxColumns+`, body FROM outbox WHERE once = ?`, once))
	switch {
	case errors.Is(err, ErrOutboxUnknown):
		return Item{}, false, nil
	case err != nil:
		return Item{}, false, fmt.Errorf("outbox item: %w", err)
	}
	return item, true, nil
}

func (o *Outbox) scan(row interface{ Scan(...any) error }) (Item, error) {
	var i Item
	var created, queued, updated, due int64
	var body []byte
	err := row.Scan(&i.ID, &i.Lane, &i.Kind, &i.Once, &i.State, &i.Doubt, &i.Attempts, &i.Misses,
		&created, &queued, &updated, &due, &i.Fault, &i.Message, &i.Note, &body)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Item{}, ErrOutboxUnknown
	case err != nil:
		return Item{}, unavailable(err)
	}
	i.Created, i.Queued, i.Updated, i.Due = milli(created), milli(queued), milli(updated), milli(due)
	if body != nil {
		if i.Body, err = o.j.key.open("outbox", i.Once, body); err != nil {
			return Item{}, fmt.Errorf("outbox item %d: %w", i.ID, err)
		}
	}
	return i, nil
}

// An OutboxCount is how many items of a kind are not closed.
type OutboxCount struct {
	Kind   string
	Held   int
	Wait   int // waiting or on their way
	Dead   int
	Oldest time.Time // when the oldest of them was created
}

// Counts returns the kinds of which something is not closed, by name.
func (o *Outbox) Counts(ctx context.Context) (list []OutboxCount, err error) {
	rows, err := o.j.read.QueryContext(ctx, `SELECT kind, sum(state = 'held'), sum(state IN ('waiting', 'sending')), sum(state = 'dead'), min(created_at)
		FROM outbox WHERE`+outboxOpen+`GROUP BY kind ORDER BY kind`)
	if err != nil {
		return nil, fmt.Errorf("count outbox: %w", unavailable(err))
	}
	defer rows.Close()
	for rows.Next() {
		var c OutboxCount
		var oldest int64
		if err := rows.Scan(&c.Kind, &c.Held, &c.Wait, &c.Dead, &oldest); err != nil {
			return nil, fmt.Errorf("count outbox: %w", unavailable(err))
		}
		c.Oldest = milli(oldest)
		list = append(list, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("count outbox: %w", unavailable(err))
	}
	return list, nil
}
