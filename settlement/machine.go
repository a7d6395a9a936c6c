package settlement

import (
	"fmt"
	"slices"

	"onecard/fault"
)

// A CareKind is a kind of care with a life cycle of its own.
type CareKind string

// The kinds of care.
const (
	Outpatient CareKind = "outpatient" // 2201 to 2208
	Inpatient  CareKind = "inpatient"  // 2301 to 2305, 2401 to 2405
	Pharmacy   CareKind = "pharmacy"   // 2101 to 2103
)

// A State is how far a visit, stay or sale has come.
type State string

// The states. Those of a request that is on its way are stored before it
// leaves: whoever finds one after a crash knows what may have happened.
const (
	StateNew         State = "new"         // nothing stored, nothing upstream
	StateOpening     State = "opening"     // 2201 or 2401 on its way
	StateRegistered  State = "registered"  // 2201 or 2401 answered: there is an mdtrt_id
	StateLines       State = "lines"       // fee lines entered here; none upstream
	StateDescribed   State = "described"   // 2203 answered: upstream has the diagnoses
	StateCharging    State = "charging"    // 2204, 2301 or 2302 of some lines on its way
	StateCharged     State = "charged"     // lines upstream; their split is known
	StateStale       State = "stale"       // lines upstream that are no longer those entered here
	StateWithdrawing State = "withdrawing" // 2205 or 2302 of all lines on its way
	StateDischarging State = "discharging" // 2402 on its way
	StateDischarged  State = "discharged"  // 2402 answered
	StateReadmitting State = "readmitting" // 2405 on its way
	StateTried       State = "tried"       // 2206, 2303 or 2101 answered: the payer can agree
	StateSettling    State = "settling"    // the journal has the intention
	StateUnknown     State = "unknown"     // settled or not: the journal's entry is unknown
	StateSettled     State = "settled"     // booked, checked, in the journal
	StateRefunding   State = "refunding"   // the journal has the intention to take it back
	StateRefundDoubt State = "refunddoubt" // taken back or not: the journal's entry is unknown
	StateRefunded    State = "refunded"    // taken back; lines upstream are unsettled again
	StateCancelling  State = "cancelling"  // 2202 or 2404 on its way
	StateClosed      State = "closed"      // nothing left upstream
)

// A Step is what is done to a visit, stay or sale.
type Step string

// The steps.
const (
	StepRegister  Step = "register"  // 2201, 2401
	StepLines     Step = "lines"     // fee lines are entered or changed here
	StepDescribe  Step = "describe"  // 2203
	StepChange    Step = "change"    // 2403
	StepCharge    Step = "charge"    // 2204, 2301
	StepTakeBack  Step = "takeback"  // 2302 of some lines
	StepWithdraw  Step = "withdraw"  // 2205, 2302 of all lines
	StepDischarge Step = "discharge" // 2402
	StepReadmit   Step = "readmit"   // 2405
	StepTrial     Step = "trial"     // 2206, 2303, 2101
	StepSettle    Step = "settle"    // 2207, 2304, 2102
	StepRefund    Step = "refund"    // 2208, 2305, 2103
	StepCancel    Step = "cancel"    // 2202, 2404
	StepClose     Step = "close"     // a sale that is not to be: nothing is upstream
)

// A Rule is one row of a life cycle: from a state a step leads to another.
type Rule struct {
	From  State
	Step  Step
	Infno string // "" where nothing is sent
	// During is stored durably before the request leaves. It is From where the
	// step books nothing and can simply be done again.
	During State
	// Done, Refused and Unknown follow from the outcome. A request of which not
	// one byte left leads back to From.
	Done, Refused, Unknown State
	// Undoes is the step that this one takes back.
	Undoes Step
}

// After is the state that an outcome leads to.
func (r Rule) After(o Outcome) State {
	switch o {
	case Done:
		return r.Done
	case Refused:
		return r.Refused
	case NotSent:
		return r.From
	}
	return r.Unknown
}

// A Recovery is how to go on from a state in which a request may have been
// lost.
type Recovery string

// The recoveries.
const (
	// SendAgain: the same step may be taken again. Upstream knows the visit by
	// the institution's number and the lines by their batch.
	SendAgain Recovery = "again"
	// AskFirst: a look-up tells whether it was done; what was not, can be sent
	// again.
	AskFirst Recovery = "ask"
	// WithdrawFirst: the lines are taken back, all of them, and go up anew.
	WithdrawFirst Recovery = "withdraw"
	// ByJournal: the entry of the journal decides, and nothing is sent before
	// it is closed.
	ByJournal Recovery = "journal"
)

// A Doubt is a state in which a request may have been lost, and the way out.
type Doubt struct {
	State    State
	Step     Step // that was on its way
	Recovery Recovery
	Ask      []string // look-ups, in their order
	// Done follows where the step is found to be done, Absent where it is found
	// never to have been.
	Done, Absent State
}

// A Machine is the life cycle of one kind of care: the only source of what may
// follow what.
type Machine struct {
	Kind   CareKind
	rules  []Rule
	doubts []Doubt
}

// ErrStep is a step that the state does not permit (OC-2302).
var ErrStep = fault.New(fault.VisitState, "not a step of this state")

// MachineOf returns the life cycle of a kind of care.
func MachineOf(kind CareKind) (*Machine, error) {
	switch kind {
	case Outpatient:
		return &Machine{kind, outpatientRules, outpatientDoubts}, nil
	case Inpatient:
		return &Machine{kind, inpatientRules, inpatientDoubts}, nil
	case Pharmacy:
		return &Machine{kind, pharmacyRules, pharmacyDoubts}, nil
	}
	return nil, fmt.Errorf("life cycle of %q: no such kind of care", printable(string(kind)))
}

// Rules returns every row, in the order of the table.
func (m *Machine) Rules() []Rule { return slices.Clone(m.rules) }

// Doubts returns every state in which a request may have been lost.
func (m *Machine) Doubts() []Doubt { return slices.Clone(m.doubts) }

// States returns every state, in the order in which the table names them.
func (m *Machine) States() []State {
	var list []State
	add := func(s State) {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	for _, r := range m.rules {
		for _, s := range []State{r.From, r.During, r.Done, r.Refused, r.Unknown} {
			add(s)
		}
	}
	return list
}

// Steps returns what may be done next.
func (m *Machine) Steps(s State) []Step {
	var list []Step
	for _, r := range m.rules {
		if r.From == s {
			list = append(list, r.Step)
		}
	}
	return list
}

// Begin returns the row of a step, or ErrStep. What happens here alone
// (Infno "") is done with it: the state is Done.
func (m *Machine) Begin(s State, p Step) (Rule, error) {
	for _, r := range m.rules {
		if r.From == s && r.Step == p {
			return r, nil
		}
	}
	return Rule{}, fmt.Errorf("%s: %s from %s: %w", m.Kind, printable(string(p)), printable(string(s)), ErrStep)
}

// Doubt returns what to do about a state in which a request may have been lost;
// ok is false for every other state.
func (m *Machine) Doubt(s State) (d Doubt, ok bool) {
	for _, d := range m.doubts {
		if d.State == s {
			return d, true
		}
	}
	return Doubt{}, false
}

// Resolved is the state after the journal's entry of a state in doubt was
// closed, or a look-up answered: done or not. Any other state stays.
func (m *Machine) Resolved(s State, done bool) State {
	d, ok := m.Doubt(s)
	switch {
	case !ok:
		return s
	case done:
		return d.Done
	}
	return d.Absent
}

// Undoing returns the steps that leave nothing upstream, in their order: of a
// settled visit 2208, 2205, 2202. From a state in doubt there are none before
// it is resolved, but for lines that may stand; ok is false then, and where
// nothing can be undone.
func (m *Machine) Undoing(s State) (steps []Step, ok bool) {
	for range len(m.rules) {
		if s == StateClosed || s == StateNew {
			return steps, true
		}
		i := slices.IndexFunc(m.rules, func(r Rule) bool {
			return r.From == s && (r.Undoes != "" || r.Step == StepClose) && r.Step != StepTakeBack
		})
		if i < 0 {
			return nil, false
		}
		steps, s = append(steps, m.rules[i].Step), m.rules[i].Done
	}
	return nil, false
}
