package terminal

import (
	"context"

	"onecard/settlement"
)

// Register registers a visit once more whose registration got no answer: the
// centre knows it by its number, and answers the same.
func (s *Service) Register(ctx context.Context, id string) (Visit, error) {
	if err := s.maySettle(); err != nil {
		return Visit{}, err
	}
	one, err := s.visits.find(ctx, id)
	if err != nil {
		return Visit{}, err
	}
	end, err := one.begin(StepRegister)
	if err != nil {
		return Visit{}, err
	}
	defer end()
	scope, err := s.scope(ctx, one.record())
	if err != nil {
		return Visit{}, s.visits.stumbled(one, err)
	}
	if err := s.register(ctx, one, scope); err != nil {
		return Visit{}, err
	}
	s.upstreamWell()
	return one.view(), nil
}

// Abandon gives a visit up: what the centre has of it is taken back, in the
// order that undoes it. One that is settled or in doubt it puts away, which
// undoes nothing: its entry in the journal stays.
func (s *Service) Abandon(ctx context.Context, id string) error {
	one, err := s.visits.find(ctx, id)
	if err != nil {
		return err
	}
	if one.record().State != VisitClosed { // otherwise the visit is given up already
		end, err := one.begin(StepAbandon, StepDismiss)
		if err != nil {
			return err
		}
		defer end()
		if err := s.abandon(ctx, one); err != nil {
			return err
		}
	}
	s.visits.hide(one)
	return nil
}

func (s *Service) abandon(ctx context.Context, one *visit) error {
	r := one.record()
	if r.At == settlement.StateSettled || r.State == VisitUnknown {
		s.visits.update(one, func(r *record) { r.Dismissed = true })
		return s.visits.store(ctx, one)
	}
	if err := s.may(RightSettle); err != nil {
		return err
	}
	err := s.giveUp(ctx, one)
	if err != nil {
		s.upstreamFailed(err)
		if r.Kind == KindInpatient {
			// A stay that is open upstream keeps the person from being admitted again.
			return s.visits.stumbled(one, err)
		}
		// Whatever the centre makes of it now, the desk must be free: a registration
		// without a settlement costs nobody anything. It is taken back later.
		s.parts.Log.WithError(err).WithField("visit", r.ID).Info("given up here; the centre is told when it can be")
		return s.visits.withdrawLater(ctx, one)
	}
	s.visits.update(one, func(r *record) {
		r.Fault = nil
		r.place(settlement.StateClosed)
	})
	return s.visits.store(ctx, one)
}

// giveUp takes back what the centre has of a visit.
func (s *Service) giveUp(ctx context.Context, one *visit) error {
	r := one.record()
	if r.Kind == KindPharmacy {
		return nil // there is nothing
	}
	if err := s.canSettle(); err != nil {
		return err
	}
	scope, err := s.scope(ctx, r)
	if err != nil {
		return err
	}
	if r.At == settlement.StateOpening {
		// Whether the visit is there shows in registering it once more: the same
		// number is the same visit.
		var err error
		if r.Kind == KindInpatient {
			err = s.register(ctx, one, scope)
		} else if err = r.course().send(ctx, s, one, scope, settlement.StepRegister); err == nil {
			s.visits.update(one, func(r *record) { r.place(settlement.StateRegistered) })
		}
		if err != nil {
			if settlement.OutcomeOf(err) == settlement.Refused {
				return nil
			}
			return err
		}
	}
	return s.withdraw(ctx, one, scope)
}
