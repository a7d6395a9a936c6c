package terminal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"onecard/card"
	"onecard/settlement"
)

// visits are the visits of a desk. Every visit is stored before the first
// request about it leaves and after every step; the journal decides what became
// of its settlement.
type visits struct {
	svc *Service

	mu     sync.Mutex
	byID   map[string]*visit
	latest *visit

	signIn  sync.Mutex // one sign-in at a time
	opening sync.Mutex // one visit is begun at a time
	signed  struct{ day, no string }
}

// visit is one visit. step is held for as long as a step takes, so that a
// second click or window cannot begin another; mu protects the record.
type visit struct {
	step    sync.Mutex
	storing sync.Mutex // one version is stored after the other

	mu     sync.Mutex
	rec    record
	stored settlement.Visit
}

// keptVisits bounds what is kept in memory; older ones are read from the file.
// At a start the latest are restored, and those in doubt: a desk must answer soon.
const (
	keptVisits     = 200
	restoredVisits = 20
)

// record is what is stored of a visit. It holds personal data.
type record struct {
	Visit // as published

	CardNumber string // mdtrt_cert_no
	CardSN     string // card_sn, the identification code
	Certno     string
	Name       string
	PsnNo      string

	Specialty string                 // caty
	Uploads   int                    // batches of fee lines sent so far
	Batch     string                 // chrg_bchno of the lines as they stand; empty while not uploaded
	Told      bool                   // 2203 was answered for the diagnoses as they stand
	Results   []settlement.FeeResult // 2204's answer to Batch
	Split     settlement.LineSplit   // its sums
	Amounts   settlement.Amounts     // of the trial
	FeeLines  []settlement.FeeDetail // as sent in Batch
	Dismissed bool                   // put away: not shown again after a restart
	Reason    string                 // of the refund under way
	Stay      stayRecord             // of a stay alone
	Extras    string                 // exp_content
	At        settlement.State       // of the life cycle
	GivenUp   bool                   // closed here; what the centre has of it is taken back from the outbox
}

func newVisits(s *Service) *visits { return &visits{svc: s, byID: make(map[string]*visit)} }

// current is the visit that a page shows: the latest that was not put away.
func (v *visits) current() *Visit {
	v.mu.Lock()
	one := v.latest
	v.mu.Unlock()
	if one == nil {
		return nil
	}
	view := one.view()
	return &view
}

// find returns a visit, also one that only the file has.
func (v *visits) find(ctx context.Context, id string) (*visit, error) {
	if v.svc.parts.Journal == nil {
		return nil, ErrNoJournal
	}
	v.mu.Lock()
	one := v.byID[id]
	v.mu.Unlock()
	if one != nil {
		return one, nil
	}
	// Without the lock: every other visit would wait for this one's file.
	stored, err := v.svc.parts.Journal.Visits().Get(ctx, id)
	if err != nil {
		return nil, err
	}
	one, err = v.load(ctx, stored)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if first := v.byID[id]; first != nil {
		return first, nil // of another window, which was faster
	}
	v.keep(one)
	return one, nil
}

// keep remembers a visit and forgets others, those first of which nobody wants
// anything more. The caller holds mu.
func (v *visits) keep(one *visit) {
	v.byID[one.rec.ID] = one
	for _, finished := range []bool{true, false} {
		for id, old := range v.byID {
			if len(v.byID) <= keptVisits {
				return
			}
			if old == one || old == v.latest || finished != old.finished() || !old.step.TryLock() {
				continue
			}
			delete(v.byID, id)
			old.step.Unlock()
		}
	}
}

// finished says that a visit has ended, as far as this desk knows.
func (one *visit) finished() bool {
	one.mu.Lock()
	defer one.mu.Unlock()
	return one.rec.State == VisitSettled || one.rec.State == VisitClosed
}

// view returns the visit as pages see it.
func (one *visit) view() Visit {
	one.mu.Lock()
	defer one.mu.Unlock()
	view := one.rec.Visit
	view.Next = one.rec.steps()
	return view
}

// record returns a copy of what is known of the visit.
func (one *visit) record() record {
	one.mu.Lock()
	defer one.mu.Unlock()
	return one.rec
}

// update changes the record and publishes it.
func (v *visits) update(one *visit, change func(*record)) {
	one.mu.Lock()
	change(&one.rec)
	one.mu.Unlock()
	v.svc.pub.changed()
}

// store writes the visit down.
func (v *visits) store(ctx context.Context, one *visit) error { return v.storeWith(ctx, one) }

// storeWith writes the visit down together with what is to be sent because of it.
func (v *visits) storeWith(ctx context.Context, one *visit, letters ...settlement.Letter) error {
	one.storing.Lock()
	defer one.storing.Unlock()
	one.mu.Lock()
	body, err := json.Marshal(&one.rec)
	next := one.stored
	next.ID, next.State, next.Body = one.rec.ID, one.rec.State, body
	one.mu.Unlock()
	if err != nil {
		return fmt.Errorf("store visit: %w", err)
	}
	stored, err := v.svc.parts.Journal.Outbox().PutWith(ctx, next, letters...)
	if err != nil {
		v.svc.health.set(HealthJournal, err)
		return err
	}
	one.mu.Lock()
	one.stored = stored
	one.mu.Unlock()
	if len(letters) > 0 {
		v.svc.posted(ctx)
	}
	return nil
}

// stored writes the visit down and returns it as pages see it.
func (v *visits) stored(ctx context.Context, one *visit) (Visit, error) {
	if err := v.store(ctx, one); err != nil {
		return Visit{}, err
	}
	return one.view(), nil
}

// stumbled publishes why a step failed and returns the error.
func (v *visits) stumbled(one *visit, err error) error {
	err = harmless(err)
	v.update(one, func(r *record) { r.Fault = Explain(err) })
	v.svc.upstreamFailed(err)
	return err
}

// newVisitID is ipt_otp_no: V, the time in China and four random digits.
func newVisitID(now time.Time) (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(10000))
	if err != nil {
		return "", fmt.Errorf("visit number: %w", err)
	}
	return fmt.Sprintf("V%s%04d", now.In(ChinaTime).Format("20060102150405"), n), nil
}

// ChinaTime is the one time zone of the insurance centre, and of the journal's
// days.
var ChinaTime = time.FixedZone("CST", 8*60*60)

// holderOf returns the holder of the card in a reader, who must have passed
// authentication: a settlement needs it. A card that could not be authenticated
// when it was put in is tried once more.
func (s *Service) holderOf(ctx context.Context, reader string) (*desk, card.Identity, error) {
	d, err := s.desk(reader)
	if err != nil {
		return nil, card.Identity{}, err
	}
	var id card.Identity
	err = d.ask(ctx, 0, func(ctx context.Context, h *held) error {
		if !h.identity.Authenticated && s.keys() != nil && h.identity.AuthError != nil && !errors.Is(h.identity.AuthError, card.ErrNotGenuine) {
			again, err := h.card.Identity(ctx, s.keys())
			if err != nil {
				return err
			}
			h.identity = again
			d.ready(0, h.session.Commands())
		}
		id = h.identity
		return nil
	})
	switch {
	case err != nil:
		return nil, id, err
	case errors.Is(id.AuthError, card.ErrNotGenuine):
		return nil, id, id.AuthError
	case !id.Authenticated:
		return nil, id, errors.Join(ErrUnverified, id.AuthError)
	case id.HolderError != nil:
		return nil, id, id.HolderError
	case id.Holder.SocialSecurityNumber == "" || id.Issuer.Number == "":
		return nil, id, card.ErrMalformed
	}
	return d, id, nil
}

// unfinished returns the visit of a reader that is neither settled nor given up.
func (v *visits) unfinished(reader string) (id string, found bool) {
	v.mu.Lock()
	one := v.latest
	v.mu.Unlock()
	if one == nil {
		return "", false
	}
	r := one.record()
	if r.goesOn() && r.State != VisitUnknown {
		return r.ID, r.Reader == reader
	}
	return "", false
}

// ready reports whether there is what a visit needs.
func (s *Service) canSettle() error {
	switch {
	case s.parts.Journal == nil:
		return ErrNoJournal
	case s.parts.Upstream == nil:
		return ErrNoUpstream
	}
	return nil
}

// maySettle reports whether this desk can settle and its operator may.
func (s *Service) maySettle() error {
	if err := s.canSettle(); err != nil {
		return err
	}
	return s.may(RightSettle)
}

// Visit returns one visit.
func (s *Service) Visit(id string) (Visit, error) {
	one, err := s.visits.find(context.Background(), id)
	if err != nil {
		return Visit{}, err
	}
	return one.view(), nil
}
