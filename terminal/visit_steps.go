package terminal

import (
	"slices"

	"onecard/settlement"
)

// The steps that a caller can take next.
const (
	StepRegister  = "register" // once more, where the answer was lost
	StepLines     = "lines"
	StepTrial     = "trial"
	StepDischarge = "discharge"
	StepReadmit   = "readmit" // the discharge is taken back
	StepSettle    = "settle"
	StepRefund    = "refund"
	StepSetAside  = "set-aside" // from the page: the desk is free for another visit
	StepAbandon   = "abandon"
	StepDismiss   = "dismiss" // put the visit away: DELETE, which undoes nothing
)

// steps lists what can be next.
func (r *record) steps() []string {
	if r.GivenUp {
		return []string{}
	}
	switch r.At {
	case settlement.StateOpening:
		return []string{StepRegister, StepSetAside, StepAbandon}
	case settlement.StateCancelling:
		return []string{StepSetAside, StepAbandon}
	case settlement.StateSettled:
		return []string{StepRefund, StepDismiss}
	case settlement.StateUnknown, settlement.StateRefundDoubt:
		return []string{StepDismiss}
	case settlement.StateSettling, settlement.StateRefunding, settlement.StateClosed:
		return []string{}
	}
	var list []string
	stay, lines := r.Kind == KindInpatient, len(r.Lines) > 0
	switch ended := stay && r.Discharged != nil; {
	case ended:
		list = append(list, StepTrial)
		if r.At == settlement.StateTried {
			list = append(list, StepSettle)
		}
		list = append(list, StepReadmit)
	default:
		list = append(list, StepLines)
		if lines {
			list = append(list, StepTrial)
		}
		switch {
		case stay && lines:
			list = append(list, StepDischarge)
		case r.At == settlement.StateTried:
			list = append(list, StepSettle)
		}
	}
	return append(list, StepSetAside, StepAbandon)
}

// goesOn reports whether the visit is neither settled nor given up.
func (v *Visit) goesOn() bool { return v.State != VisitSettled && v.State != VisitClosed }

// begin takes the step lock for one of the steps that can be next, or says that
// another is under way or that this one cannot be taken.
func (one *visit) begin(wanted ...string) (end func(), err error) {
	if !one.step.TryLock() {
		return nil, settlement.ErrInProgress
	}
	view := one.view()
	for _, step := range wanted {
		if slices.Contains(view.Next, step) {
			return one.step.Unlock, nil
		}
	}
	one.step.Unlock()
	if view.State == VisitUnknown {
		return nil, ErrUnresolved
	}
	return nil, detailed{ErrVisitState, "state " + view.State}
}
