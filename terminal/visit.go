package terminal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
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
}

func newVisits(s *Service) *visits { return &visits{svc: s, byID: make(map[string]*visit)} }

// restore brings back the visits of an earlier run. What the journal says of
// their settlements counts, whatever state they were left in.
func (v *visits) restore(ctx context.Context) error {
	if v.svc.parts.Journal == nil {
		return nil
	}
	list, err := v.svc.parts.Journal.Visits().List(ctx, "", restoredVisits)
	if err != nil {
		return err
	}
	doubtful, err := v.svc.parts.Journal.Visits().List(ctx, VisitUnknown, keptVisits)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	// The oldest first, so that the last to be shown is the latest.
	for _, stored := range slices.Backward(append(list, doubtful...)) {
		one := v.byID[stored.ID]
		if one == nil {
			if one, err = v.load(ctx, stored); err != nil {
				return err
			}
			v.byID[one.rec.ID] = one
		}
		if one.rec.State != VisitClosed && !one.rec.Dismissed {
			v.latest = one
		}
	}
	return nil
}

// load reads one stored visit and asks the journal what became of it.
func (v *visits) load(ctx context.Context, stored settlement.Visit) (*visit, error) {
	one := &visit{stored: stored}
	if err := json.Unmarshal(stored.Body, &one.rec); err != nil {
		return nil, fmt.Errorf("visit of an earlier run: %w", settlement.ErrJournalForeign)
	}
	entries, err := v.svc.parts.Journal.List(ctx, settlement.Filter{Visit: stored.ID, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return one, nil
	}
	e, err := v.svc.parts.Journal.Get(ctx, entries[0].ID)
	if err != nil {
		return nil, err
	}
	one.rec.adopt(v.svc, e)
	return one, nil
}

// adopt makes the record say what the journal says.
func (r *record) adopt(s *Service, e settlement.Entry) {
	r.Journal = e.ID
	switch e.Outcome {
	case settlement.Done:
		r.State, r.Fault = VisitSettled, nil
		if r.Receipt == nil {
			r.Receipt = s.receipt(r, e.MsgID, e.SetlID, settlement.FormatTime(e.ClosedAt),
				settlement.Amounts{Total: e.Total, Fund: e.Fund, Account: e.Account, Cash: e.Cash}, answered(e.Answer))
			r.Receipt.Differs = r.Trial != nil && (r.Receipt.Cash != r.Trial.Cash || r.Receipt.Account != r.Trial.Account)
		}
	case settlement.Unknown, settlement.Intended:
		r.State, r.Receipt = VisitUnknown, nil
		if e.Fault != "" {
			r.Fault = entryFault(e)
		} else {
			r.Fault = Explain(settlement.ErrAnswerLost)
		}
	case settlement.Refused:
		if r.State == VisitUnknown || r.State == VisitSettling {
			// Nothing is booked: the payer may agree once more.
			r.State, r.Receipt, r.Fault = VisitTried, nil, nil
		}
		if e.Fault != "" {
			r.Fault = entryFault(e)
		}
	}
}

// answered reads setlinfo out of an answer that was kept.
func answered(answer []byte) settlement.SetlInfo {
	var out struct {
		Output settlement.Settlement `json:"output"`
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return settlement.SetlInfo{} // the amounts are in the entry itself
	}
	return out.Output.SetlInfo.Value
}

// inDoubt returns the journal entry of a settlement of this person whose outcome
// is unknown, 0 where there is none among the visits that are remembered.
func (v *visits) inDoubt(psnNo string) int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, one := range v.byID {
		if r := one.record(); r.State == VisitUnknown && r.PsnNo == psnNo {
			return r.Journal
		}
	}
	return 0
}

// learn brings the visits in doubt into line with the journal, where it has an
// outcome for them meanwhile.
func (v *visits) learn(ctx context.Context) {
	v.mu.Lock()
	var doubtful []*visit
	for _, one := range v.byID {
		if one.record().State == VisitUnknown {
			doubtful = append(doubtful, one)
		}
	}
	v.mu.Unlock()
	for _, one := range doubtful {
		id := one.record().Journal
		e, err := v.svc.parts.Journal.Get(ctx, id)
		if err != nil {
			v.svc.parts.Log.WithError(err).WithField("entry", id).Debug("the entry of a visit in doubt cannot be read")
			continue
		}
		// The lock is taken only where there is something to say: a clerk who
		// does anything with the visit must not find it busy.
		if e.Outcome != settlement.Done || !one.step.TryLock() {
			continue
		}
		if one.record().State == VisitUnknown {
			v.update(one, func(r *record) { r.adopt(v.svc, e) })
			if err := v.store(ctx, one); err != nil {
				v.svc.parts.Log.WithError(err).Warning("a visit that was in doubt could not be stored")
			}
		}
		one.step.Unlock()
	}
}

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
	defer v.mu.Unlock()
	if one := v.byID[id]; one != nil {
		return one, nil
	}
	stored, err := v.svc.parts.Journal.Visits().Get(ctx, id)
	if err != nil {
		return nil, err
	}
	one, err := v.load(ctx, stored)
	if err != nil {
		return nil, err
	}
	v.keep(one)
	return one, nil
}

// keep remembers a visit and forgets the oldest finished ones. The caller holds
// mu.
func (v *visits) keep(one *visit) {
	v.byID[one.rec.ID] = one
	for id, old := range v.byID {
		if len(v.byID) <= keptVisits {
			return
		}
		if old != one && old != v.latest && old.step.TryLock() {
			delete(v.byID, id)
			old.step.Unlock()
		}
	}
}

// view returns the visit as pages see it.
func (one *visit) view() Visit {
	one.mu.Lock()
	defer one.mu.Unlock()
	view := one.rec.Visit
	view.Next = steps(view.State)
	return view
}

// record returns a copy of what is known of the visit.
func (one *visit) record() record {
	one.mu.Lock()
	defer one.mu.Unlock()
	return one.rec
}

func steps(state string) []string {
	switch state {
	case VisitOpening:
		return []string{StepAbandon}
	case VisitRegistered:
		return []string{StepLines, StepAbandon}
	case VisitLines:
		return []string{StepLines, StepTrial, StepAbandon}
	case VisitTried:
		return []string{StepLines, StepTrial, StepSettle, StepAbandon}
	case VisitSettled, VisitUnknown:
		return []string{StepDismiss}
	}
	return []string{}
}

// begin takes the step lock or says that another step is under way.
func (one *visit) begin(states ...string) (end func(), err error) {
	if !one.step.TryLock() {
		return nil, settlement.ErrInProgress
	}
	state := one.record().State
	for _, s := range states {
		if s == state {
			return one.step.Unlock, nil
		}
	}
	one.step.Unlock()
	if state == VisitUnknown {
		return nil, ErrUnresolved
	}
	return nil, detailed{ErrVisitState, "state " + state}
}

// update changes the record and publishes it.
func (v *visits) update(one *visit, change func(*record)) {
	one.mu.Lock()
	change(&one.rec)
	one.mu.Unlock()
	v.svc.pub.changed()
}

// store writes the visit down.
func (v *visits) store(ctx context.Context, one *visit) error {
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
	stored, err := v.svc.parts.Journal.Visits().Put(ctx, next)
	if err != nil {
		v.svc.health.set(HealthJournal, err)
		return err
	}
	one.mu.Lock()
	one.stored = stored
	one.mu.Unlock()
	return nil
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
	switch r.State {
	case VisitOpening, VisitRegistered, VisitLines, VisitTried, VisitSettling:
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

// Abandon gives a visit up, or puts away one that is settled or in doubt: that
// undoes nothing, its entry in the journal stays.
func (s *Service) Abandon(ctx context.Context, id string) error {
	one, err := s.visits.find(ctx, id)
	if err != nil {
		return err
	}
	end, err := one.begin(VisitOpening, VisitRegistered, VisitLines, VisitTried, VisitSettled, VisitUnknown, VisitClosed)
	if err != nil {
		return err
	}
	defer end()
	state := one.record().State
	switch state {
	case VisitOpening, VisitRegistered, VisitLines, VisitTried:
		if err := s.may(RightSettle); err != nil {
			return err
		}
	}
	switch state {
	case VisitRegistered, VisitLines, VisitTried:
		// Whatever the centre makes of it, the desk must be free: a registration
		// without a settlement costs nobody anything.
		if err := s.cancelUpstream(ctx, one); err != nil {
			s.upstreamFailed(err)
			s.parts.Log.WithError(err).WithField("visit", id).Warning("given up here; what the centre has of it stays there")
		}
		s.visits.update(one, func(r *record) { r.State, r.Fault = VisitClosed, nil })
		if err := s.visits.store(ctx, one); err != nil {
			return err
		}
	case VisitOpening:
		s.visits.update(one, func(r *record) { r.State = VisitClosed })
		if err := s.visits.store(ctx, one); err != nil {
			return err
		}
	case VisitSettled, VisitUnknown:
		s.visits.update(one, func(r *record) { r.Dismissed = true })
		if err := s.visits.store(ctx, one); err != nil {
			return err
		}
	}
	s.visits.mu.Lock()
	if s.visits.latest == one {
		s.visits.latest = nil
	}
	s.visits.mu.Unlock()
	s.pub.changed()
	return nil
}
