package terminal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"onecard/reader"
	"onecard/settlement"
)

// openStates are those of visits that are neither settled nor given up.
var openStates = []string{VisitOpening, VisitRegistered, VisitLines, VisitTried, VisitSettling, VisitRefunding, VisitUnknown}

// OpenVisits in place of a state lists every visit that is neither settled nor
// given up.
const OpenVisits = "open"

// maxVisits bounds a list of visits.
const maxVisits = 200

// A ResumeRequest brings a visit back to a desk. Reader is the one whose card
// the desk works with from now on; any without.
type ResumeRequest struct {
	Reader string `json:"reader,omitempty"`
}

// Visits lists visits of a state, or with [OpenVisits] those that are under way,
// in doubt or set aside, the latest changed first, at most limit (1 to 200).
func (s *Service) Visits(ctx context.Context, state string, limit int) ([]Visit, error) {
	if s.parts.Journal == nil {
		return nil, ErrNoJournal
	}
	states := []string{state}
	switch {
	case state == OpenVisits:
		states = openStates
	case !slices.Contains(openStates, state) && state != VisitSettled && state != VisitClosed:
		return nil, detailed{ErrBody, "state is open, or one that a visit has"}
	}
	if limit < 1 || limit > maxVisits {
		return nil, detailed{ErrBody, fmt.Sprintf("limit is 1 to %d", maxVisits)}
	}
	var stored []settlement.Visit
	for _, one := range states {
		list, err := s.parts.Journal.Visits().List(ctx, one, limit)
		if err != nil {
			return nil, err
		}
		stored = append(stored, list...)
	}
	slices.SortFunc(stored, func(a, b settlement.Visit) int {
		return cmp.Or(b.Updated.Compare(a.Updated), cmp.Compare(a.ID, b.ID))
	})
	views := make([]Visit, 0, min(len(stored), limit))
	for _, v := range stored {
		if len(views) == limit {
			break
		}
		one, err := s.visits.find(ctx, v.ID)
		if err != nil {
			return nil, err
		}
		// What is stored may be out of date: the journal knows better.
		if view := one.view(); view.State == state || state == OpenVisits && view.goesOn() {
			views = append(views, view)
		}
	}
	return views, nil
}

// SetAside takes an open visit from the desk, so that another can be begun: it
// goes on when it is resumed, today or in a week.
func (s *Service) SetAside(ctx context.Context, id string) (Visit, error) {
	if err := s.may(RightSettle); err != nil {
		return Visit{}, err
	}
	one, err := s.visits.find(ctx, id)
	if err != nil {
		return Visit{}, err
	}
	end, err := one.begin(StepSetAside)
	if err != nil {
		return Visit{}, err
	}
	defer end()
	s.visits.update(one, func(r *record) { r.SetAside = true })
	view, err := s.visits.stored(ctx, one)
	if err != nil {
		s.visits.update(one, func(r *record) { r.SetAside = false })
		return Visit{}, err
	}
	s.visits.hide(one)
	return view, nil
}

// Resume brings a visit back to the desk: one that was set aside or refunded or
// left over from an earlier run goes on, one that is settled shows its receipt.
// No card needs to be there, but it must not be another's. A visit whose
// registration got no answer is registered once more.
func (s *Service) Resume(ctx context.Context, id string, req ResumeRequest) (Visit, error) {
	one, err := s.visits.find(ctx, id)
	if err != nil {
		return Visit{}, err
	}
	if !s.visits.opening.TryLock() {
		return Visit{}, settlement.ErrInProgress
	}
	defer s.visits.opening.Unlock()
	r := one.record()
	if r.State == VisitClosed {
		return Visit{}, detailed{ErrVisitState, "state " + r.State}
	}
	if r.goesOn() {
		if err := s.may(RightSettle); err != nil {
			return Visit{}, err
		}
	}
	at, err := s.cardOf(ctx, r, req.Reader)
	if err != nil {
		return Visit{}, err
	}
	if other, under := s.visits.unfinished(at); under && other != id {
		return Visit{}, detailed{ErrVisitState, "visit " + other + " is under way"}
	}
	if !one.step.TryLock() {
		return Visit{}, settlement.ErrInProgress
	}
	defer one.step.Unlock()
	s.visits.update(one, func(r *record) { r.SetAside, r.Dismissed, r.Reader = false, false, at })
	if err := s.visits.store(ctx, one); err != nil {
		return Visit{}, err
	}
	s.visits.show(one)
	if r.At == settlement.StateOpening {
		scope, err := s.scope(ctx, r)
		if err != nil {
			return Visit{}, s.visits.stumbled(one, err)
		}
		if err := s.register(ctx, one, scope); err != nil {
			return Visit{}, err
		}
		s.upstreamWell()
	}
	return one.view(), nil
}

// cardOf returns the reader that a visit goes on at, and refuses one that holds
// another person's card.
func (s *Service) cardOf(ctx context.Context, r record, id string) (string, error) {
	d, err := s.desk(id)
	switch {
	case errors.Is(err, reader.ErrNoReader), errors.Is(err, reader.ErrServiceDown):
		return r.Reader, nil
	case err != nil:
		return "", err
	}
	_, holder, err := s.holderOf(ctx, d.id)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil && holder.Issuer.IdentificationCode != r.CardSN:
		return "", ErrVisitCard
	}
	return d.id, nil // settling looks at the card again
}

// shows reports whether pages show the visit.
func (v *visits) shows(one *visit) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.latest == one
}

// hide takes a visit from the page.
func (v *visits) hide(one *visit) {
	v.mu.Lock()
	if v.latest == one {
		v.latest = nil
	}
	v.mu.Unlock()
	v.svc.pub.changed()
}
