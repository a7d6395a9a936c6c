package terminal

import (
	"context"
	"errors"
	"fmt"

	"onecard/settlement"
)

// withdrawLater closes a visit here, and has what the centre has of it taken back
// when the centre can be asked: both in one commit, so that after a crash the
// visit is either still here or nowhere. The caller holds the step lock.
func (v *visits) withdrawLater(ctx context.Context, one *visit) error {
	var id string
	v.update(one, func(r *record) {
		id = r.ID
		r.GivenUp = true
		r.place(r.At)
	})
	return v.storeWith(ctx, one, settlement.Letter{Lane: id, Kind: LetterWithdraw, Once: "withdraw " + id, Body: []byte(`{}`)})
}

// sendWithdrawal takes back what the centre has of a visit that was given up,
// step by step. Each step is stored, so that another attempt goes on behind the
// last that was done; a step of which no answer came is looked up first.
func (s *Service) sendWithdrawal(ctx context.Context, item settlement.Item) error {
	one, err := s.visits.find(ctx, item.Lane)
	switch {
	case errors.Is(err, settlement.ErrVisitUnknown), errors.Is(err, settlement.ErrJournalForeign), errors.Is(err, settlement.ErrJournalAltered):
		return &settlement.Undeliverable{Cause: err}
	case err != nil:
		return &settlement.Postponed{Cause: err}
	case !one.step.TryLock():
		return &settlement.Postponed{Cause: settlement.ErrInProgress}
	}
	defer one.step.Unlock()
	r := one.record()
	switch {
	case r.At == settlement.StateClosed:
		return nil
	case !r.GivenUp:
		return &settlement.Undeliverable{Cause: detailed{ErrVisitState, "the visit was not given up"}}
	}
	if _, _, err := s.signNo(ctx, false); err != nil {
		s.upstreamFailed(err)
		return &settlement.Postponed{Cause: fmt.Errorf("sign in: %w", err)}
	}
	err = s.giveUp(ctx, one)
	if err == nil {
		s.upstreamWell()
		s.visits.update(one, func(r *record) { r.place(settlement.StateClosed) })
	} else {
		s.upstreamFailed(err)
	}
	// How far it came is stored in any case. Where that fails, what was done shows
	// in the centre's answer to the next attempt.
	if serr := s.visits.store(ctx, one); serr != nil {
		return &settlement.Postponed{Cause: errors.Join(serr, err)}
	}
	return err
}
