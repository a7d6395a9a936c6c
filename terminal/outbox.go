package terminal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"onecard/fault"
	"onecard/settlement"
)

// The kinds of what waits in the outbox.
const (
	LetterWithdraw = "withdraw" // takes back what a visit that was given up has left at the centre
	LetterUpload   = "upload"   // an upload that no patient waits for
	LetterRefund   = "refund"   // takes a settlement back
	LetterDebit    = "debit"    // tells of an off-line debit of a card
)

// outbox is what a service has of its journal's outbox.
type outbox struct {
	box      *settlement.Outbox
	post     *settlement.Dispatcher
	counting *sync.Mutex
}

// newOutbox puts the outbox and its senders together; without a journal there is
// none.
func newOutbox(s *Service) outbox {
	if s.parts.Journal == nil || s.parts.Upstream == nil {
		return outbox{}
	}
	cfg := s.cfg.Outbox.dispatch()
	cfg.Changed = func() { s.countOutbox(context.Background()) }
	cfg.Failed = func(item settlement.Item, dead bool, err error) {
		log := s.parts.Log.WithError(err).WithFields(map[string]any{"outbox": item.ID, "kind": item.Kind, "attempts": item.Attempts, "misses": item.Misses})
		if dead {
			log.Error("an item of the outbox could not be delivered; a person must look at it")
		} else {
			log.Debug("an item of the outbox is tried again")
		}
	}
	o := outbox{box: s.parts.Journal.Outbox(), counting: new(sync.Mutex)}
	o.post = settlement.NewDispatcher(o.box, cfg)
	o.post.Handle(LetterWithdraw, s.sendWithdrawal)
	o.post.Handle(LetterUpload, s.sendUpload)
	o.post.Handle(LetterDebit, s.sendDebit)
	o.post.Handle(LetterRefund, s.sendRefund)
	return o
}

// queued is the body of a letter that is one transaction.
type queued struct {
	Infno string          `json:"infno"`
	Area  string          `json:"insuplc_admdvs,omitempty"`
	Input json.RawMessage `json:"input"`
}

// readLetter reads the body of an item strictly: what another version has written
// is not guessed at.
func readLetter[T any](body []byte) (T, error) {
	var v T
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil || dec.More() {
		return v, fmt.Errorf("outbox item: %w", ErrBody)
	}
	return v, nil
}

// sendUpload sends a letter that is one transaction. It books nothing, so that a
// repetition does no harm but where the tables of what may wait say so.
func (s *Service) sendUpload(ctx context.Context, item settlement.Item) error {
	q, err := readLetter[queued](item.Body)
	if err != nil {
		return &settlement.Undeliverable{Cause: err}
	}
	wait, repeat := settlement.MayWait(q.Infno)
	switch {
	case !wait:
		return &settlement.Undeliverable{Cause: fmt.Errorf("%s: %w", q.Infno, ErrMayNotWait)}
	case item.Doubt && !repeat:
		return &settlement.Undeliverable{Cause: detailed{ErrNoAnswer, q.Infno + " may have arrived and must not be sent twice"}}
	}
	err = s.withSignNo(ctx, func(signNo string) error {
		_, err := s.parts.Upstream.Call(ctx, settlement.Request{Infno: q.Infno, InsuplcAdmdvs: q.Area, SignNo: signNo, Input: q.Input})
		return err
	})
	if err != nil {
		s.upstreamFailed(err)
		return fmt.Errorf("%s: %w", q.Infno, err)
	}
	s.upstreamWell()
	return nil
}

// withSignNo does something with the sign_no of the day, and once more with a new
// one where the centre refuses it: it may have lapsed. It is for what books
// nothing. Where nobody can sign in, nothing was sent.
func (s *Service) withSignNo(ctx context.Context, do func(signNo string) error) error {
	signNo, fresh, err := s.signNo(ctx, false)
	if err != nil {
		return &settlement.Postponed{Cause: fmt.Errorf("sign in: %w", err)}
	}
	err = do(signNo)
	var refused *settlement.RefusedError
	if !errors.As(err, &refused) || fresh {
		return err
	}
	if signNo, _, err := s.signNo(ctx, true); err == nil {
		return do(signNo)
	}
	return err
}

// runOutbox sends what waits until ctx ends.
func (s *Service) runOutbox(ctx context.Context) {
	s.countOutbox(ctx)
	if err := s.outbox.post.Run(ctx); err != nil {
		s.parts.Log.WithError(err).Error("the outbox is not sent")
	}
}

// countOutbox keeps the condition outbox: it is shown as soon as there was a
// dead letter.
func (s *Service) countOutbox(ctx context.Context) {
	// One after the other: an older look must not be shown over a newer one.
	s.outbox.counting.Lock()
	defer s.outbox.counting.Unlock()
	counts, err := s.outbox.box.Counts(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.parts.Log.WithError(err).Error("the outbox cannot be counted")
		}
		return
	}
	var total OutboxTotal
	for _, c := range counts {
		total = OutboxTotal{total.Waiting + c.Wait, total.Held + c.Held, total.Dead + c.Dead}
	}
	s.mu.Lock()
	was := s.letters.Dead
	s.letters = total
	s.mu.Unlock()
	switch {
	case total.Dead > 0:
		s.health.set(HealthOutbox, detailed{settlement.ErrOutboxDead, fmt.Sprint(total.Dead)})
	case was > 0:
		s.health.set(HealthOutbox, nil)
	}
	s.pub.changed()
}

// An OutboxItem is something that waits until the centre takes it. It names
// nobody; the content does.
type OutboxItem struct {
	ID       int64     `json:"id"`
	Kind     string    `json:"kind"`  // withdraw, upload, refund, debit
	Lane     string    `json:"lane"`  // what keeps order: a visit, a card by its pseudonym
	Once     string    `json:"once"`  // what is queued
	State    string    `json:"state"` // held, waiting, sending, dead, sent, dropped, void
	Doubt    bool      `json:"doubt"` // an attempt may have arrived
	Attempts int       `json:"attempts"`
	Misses   int       `json:"misses"` // attempts of which nothing left
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
	Due      time.Time `json:"due"`
	Fault    *Fault    `json:"fault"`
	Note     string    `json:"note,omitempty"`
}

// An OutboxDetail is an item with what a person needs to decide about it.
type OutboxDetail struct {
	OutboxItem
	Decisions []OutboxDecision `json:"decisions"`
	Content   string           `json:"content,omitempty"` // what would be sent; personal
}

// An OutboxDecision says who retried or dropped an item, and why.
type OutboxDecision struct {
	Verdict string    `json:"verdict"` // retry, drop
	Who     string    `json:"who"`
	Reason  string    `json:"reason"`
	Time    time.Time `json:"time"`
}

// An OutboxKind counts the items of a kind that are not closed.
type OutboxKind struct {
	Kind    string    `json:"kind"`
	Waiting int       `json:"waiting"`
	Held    int       `json:"held"`
	Dead    int       `json:"dead"`
	Oldest  time.Time `json:"oldest"`
}

// An OutboxTotal counts what is not closed, of all kinds.
type OutboxTotal struct {
	Waiting int `json:"waiting"` // or on its way
	Held    int `json:"held"`
	Dead    int `json:"dead"`
}

// OutboxList is the answer of GET /v1/outbox.
type OutboxList struct {
	Items []OutboxItem `json:"items"`
	Kinds []OutboxKind `json:"kinds"` // of everything that is not closed
}

// An OutboxOrder is a person's decision of an item.
type OutboxOrder struct {
	Who    string `json:"who"`
	Reason string `json:"reason"`
}

// An UploadRequest queues an upload that may wait.
type UploadRequest struct {
	Infno string `json:"infno"`
	// Input is what the tables say the transaction takes, nodes and all.
	Input json.RawMessage `json:"input"`
	// Area is insuplc_admdvs, needed where the input names a person.
	Area string `json:"insuplc_admdvs,omitempty"`
	// Lane keeps order among what has the same, such as a visit's number; the
	// transaction's number without.
	Lane string `json:"lane,omitempty"`
	// Once names the upload: the same is not queued twice. A report's number, a
	// settlement's id.
	Once string `json:"once"`
}

// ErrMayNotWait refuses a transaction that is not for the outbox (OC-2404).
var ErrMayNotWait = fault.New(fault.MayNotWait, "the transaction may not wait in the outbox")

var errNoOutbox = fmt.Errorf("no outbox: %w", ErrNoJournal)

// Outbox lists items, the latest first: of a state, or "" those that are not
// closed, or "all".
func (s *Service) Outbox(ctx context.Context, state, kind string, before int64, limit int) (OutboxList, error) {
	if s.outbox.box == nil {
		return OutboxList{}, errNoOutbox
	}
	f := settlement.OutboxFilter{Kind: kind, Before: before, Limit: limit}
	switch st := settlement.OutboxState(state); st {
	case "":
	case "all":
		f.All = true
	case settlement.OutboxHeld, settlement.OutboxWaiting, settlement.OutboxSending, settlement.OutboxDead,
		settlement.OutboxSent, settlement.OutboxDropped, settlement.OutboxVoid:
		f.State = st
	default:
		return OutboxList{}, detailed{ErrBody, "state is held, waiting, sending, dead, sent, dropped, void or all"}
	}
	items, err := s.outbox.box.List(ctx, f)
	if err != nil {
		return OutboxList{}, err
	}
	kinds, err := s.OutboxKinds(ctx)
	if err != nil {
		return OutboxList{}, err
	}
	list := OutboxList{Items: make([]OutboxItem, 0, len(items)), Kinds: kinds}
	for _, i := range items {
		list.Items = append(list.Items, outboxDocument(i))
	}
	return list, nil
}

// OutboxKinds counts what is not closed, by kind; none without an outbox.
func (s *Service) OutboxKinds(ctx context.Context) ([]OutboxKind, error) {
	list := []OutboxKind{}
	if s.outbox.box == nil {
		return list, nil
	}
	counts, err := s.outbox.box.Counts(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range counts {
		list = append(list, OutboxKind{Kind: c.Kind, Waiting: c.Wait, Held: c.Held, Dead: c.Dead, Oldest: c.Oldest})
	}
	return list, nil
}

func outboxDocument(i settlement.Item) OutboxItem {
	doc := OutboxItem{
		ID: i.ID, Kind: i.Kind, Lane: i.Lane, Once: i.Once, State: string(i.State), Doubt: i.Doubt,
		Attempts: i.Attempts, Misses: i.Misses, Created: i.Created, Updated: i.Updated, Due: i.Due, Note: i.Note,
	}
	if i.Fault != "" {
		doc.Fault = Explain(fault.New(i.Fault, i.Note))
		doc.Fault.Detail = i.Message
	}
	return doc
}

// OutboxContent returns an item with what would be sent and who decided about
// it. Every call is written to the audit log.
func (s *Service) OutboxContent(ctx context.Context, id int64) (OutboxDetail, error) {
	if s.outbox.box == nil {
		return OutboxDetail{}, errNoOutbox
	}
	d, err := s.outboxDetail(ctx, id, true)
	if err == nil {
		s.auditOutbox("outbox item shown", id)
	}
	return d, err
}

func (s *Service) outboxDetail(ctx context.Context, id int64, content bool) (OutboxDetail, error) {
	item, err := s.outbox.box.Get(ctx, id)
	if err != nil {
		return OutboxDetail{}, err
	}
	d := OutboxDetail{OutboxItem: outboxDocument(item), Decisions: []OutboxDecision{}}
	if content {
		d.Content = string(item.Body)
	}
	decisions, err := s.outbox.box.Decisions(ctx, id)
	if err != nil {
		return OutboxDetail{}, err
	}
	for _, by := range decisions {
		d.Decisions = append(d.Decisions, OutboxDecision{string(by.Verdict), by.Who, by.Reason, by.At})
	}
	return d, nil
}

func (s *Service) auditOutbox(what string, id int64) {
	s.parts.Log.WithFields(map[string]any{"audit": what, "outbox": id, "operator": s.cfg.Operator.No}).Info("audit")
}

// RetryLetter has an item sent again that is dead, or makes one due that waits.
func (s *Service) RetryLetter(ctx context.Context, id int64, o OutboxOrder) (OutboxDetail, error) {
	return s.decideLetter(ctx, id, "retried", o, (*settlement.Outbox).Retry)
}

// DropLetter gives an item up: it is never sent.
func (s *Service) DropLetter(ctx context.Context, id int64, o OutboxOrder) (OutboxDetail, error) {
	return s.decideLetter(ctx, id, "dropped", o, (*settlement.Outbox).Drop)
}

func (s *Service) decideLetter(ctx context.Context, id int64, what string, o OutboxOrder, decide func(*settlement.Outbox, context.Context, int64, string, string) error) (OutboxDetail, error) {
	if s.outbox.box == nil {
		return OutboxDetail{}, errNoOutbox
	}
	if err := s.may(RightResolve); err != nil {
		return OutboxDetail{}, err
	}
	if err := decide(s.outbox.box, ctx, id, o.Who, o.Reason); err != nil {
		return OutboxDetail{}, err
	}
	s.auditOutbox("outbox item "+what, id)
	s.outbox.post.Wake()
	s.countOutbox(ctx)
	return s.outboxDetail(ctx, id, false)
}

// QueueUpload puts an upload into the outbox. It is validated as if it were sent
// at once; what is on the disk when this returns will be sent.
func (s *Service) QueueUpload(ctx context.Context, req UploadRequest) (OutboxDetail, error) {
	if s.outbox.box == nil {
		return OutboxDetail{}, errNoOutbox
	}
	if wait, _ := settlement.MayWait(req.Infno); !wait {
		return OutboxDetail{}, detailed{ErrMayNotWait, req.Infno}
	}
	switch {
	case len(req.Input) == 0:
		return OutboxDetail{}, detailed{errFieldMissing, "input"}
	case req.Once == "":
		return OutboxDetail{}, detailed{errFieldMissing, "once"}
	case req.Area != "" && !digits(req.Area, 6):
		return OutboxDetail{}, detailed{ErrBody, "insuplc_admdvs: six digits expected"}
	}
	if err := s.parts.Upstream.Catalogue().Validate(req.Infno, req.Input); err != nil {
		return OutboxDetail{}, err
	}
	if req.Lane == "" {
		req.Lane = req.Infno
	}
	body, err := json.Marshal(queued{Infno: req.Infno, Area: req.Area, Input: req.Input})
	if err != nil {
		return OutboxDetail{}, detailed{ErrBody, "input"}
	}
	ids, err := s.outbox.box.Put(ctx, settlement.Letter{Lane: req.Lane, Kind: LetterUpload, Once: req.Infno + " " + req.Once, Body: body})
	if err != nil {
		return OutboxDetail{}, err
	}
	s.auditOutbox("upload queued", ids[0])
	s.outbox.post.Wake()
	s.countOutbox(ctx)
	return s.outboxDetail(ctx, ids[0], false)
}

// posted notes that something was queued.
func (s *Service) posted(ctx context.Context) {
	if s.outbox.post == nil {
		return
	}
	s.outbox.post.Wake()
	s.countOutbox(ctx)
}

// reached has what waits only for the line sent at once when it is back.
func (s *Service) reached(ctx context.Context) {
	if s.outbox.post == nil {
		return
	}
	if err := s.outbox.post.Reached(ctx); err != nil && ctx.Err() == nil {
		s.parts.Log.WithError(err).Warning("the outbox cannot be written")
	}
}
