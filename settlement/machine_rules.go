package settlement

// hereRule is a step of which upstream learns nothing.
func hereRule(from State, step Step, to State) Rule {
	return Rule{From: from, Step: step, During: from, Done: to, Refused: from, Unknown: from}
}

// idleRule is a call that can be repeated and leaves nothing that must be taken
// back: where it fails nothing has changed.
func idleRule(from State, step Step, infno string, to State) Rule {
	return Rule{From: from, Step: step, Infno: infno, During: from, Done: to, Refused: from, Unknown: from}
}

// callRule is a step that upstream remembers. What may have been lost stays in the
// state in which it was on its way.
func callRule(from State, step Step, infno string, during, done, refused State) Rule {
	return Rule{From: from, Step: step, Infno: infno, During: during, Done: done, Refused: refused, Unknown: during}
}

// undoRule is a call that takes another back.
func undoRule(undoes Step, r Rule) Rule {
	r.Undoes = undoes
	return r
}

// moneyRule is a step that the journal keeps.
func moneyRule(from State, step Step, infno string, during, done, doubt State) Rule {
	return Rule{From: from, Step: step, Infno: infno, During: during, Done: done, Refused: from, Unknown: doubt}
}

// refundRule is a step that the journal keeps and that takes a settlement back.
func refundRule(infno string) Rule {
	return undoRule(StepSettle, moneyRule(StateSettled, StepRefund, infno, StateRefunding, StateRefunded, StateRefundDoubt))
}

// byJournal are the doubts of money, the same in every kind of care.
func byJournal() []Doubt {
	return []Doubt{
		{StateSettling, StepSettle, ByJournal, nil, StateSettled, StateTried},
		{StateUnknown, StepSettle, ByJournal, nil, StateSettled, StateTried},
		{StateRefunding, StepRefund, ByJournal, nil, StateRefunded, StateSettled},
		{StateRefundDoubt, StepRefund, ByJournal, nil, StateRefunded, StateSettled},
	}
}

var outpatientRules = []Rule{
	callRule(StateNew, StepRegister, "2201", StateOpening, StateRegistered, StateClosed),
	callRule(StateOpening, StepRegister, "2201", StateOpening, StateRegistered, StateClosed),

	hereRule(StateRegistered, StepLines, StateLines),
	undoRule(StepRegister, callRule(StateRegistered, StepCancel, "2202", StateCancelling, StateClosed, StateRegistered)),

	hereRule(StateLines, StepLines, StateLines),
	idleRule(StateLines, StepDescribe, "2203", StateDescribed),
	undoRule(StepRegister, callRule(StateLines, StepCancel, "2202", StateCancelling, StateClosed, StateRegistered)),

	hereRule(StateDescribed, StepLines, StateDescribed),
	idleRule(StateDescribed, StepDescribe, "2203", StateDescribed),
	callRule(StateDescribed, StepCharge, "2204", StateCharging, StateCharged, StateDescribed),
	undoRule(StepRegister, callRule(StateDescribed, StepCancel, "2202", StateCancelling, StateClosed, StateRegistered)),

	// A repeated batch may be refused because it is there.
	callRule(StateCharging, StepCharge, "2204", StateCharging, StateCharged, StateCharging),
	hereRule(StateCharging, StepLines, StateStale),
	undoRule(StepCharge, callRule(StateCharging, StepWithdraw, "2205", StateWithdrawing, StateDescribed, StateCharging)),

	idleRule(StateCharged, StepTrial, "2206", StateTried),
	hereRule(StateCharged, StepLines, StateStale),
	undoRule(StepCharge, callRule(StateCharged, StepWithdraw, "2205", StateWithdrawing, StateDescribed, StateCharged)),

	hereRule(StateStale, StepLines, StateStale),
	undoRule(StepCharge, callRule(StateStale, StepWithdraw, "2205", StateWithdrawing, StateDescribed, StateStale)),
	undoRule(StepCharge, callRule(StateWithdrawing, StepWithdraw, "2205", StateWithdrawing, StateDescribed, StateWithdrawing)),

	idleRule(StateTried, StepTrial, "2206", StateTried),
	hereRule(StateTried, StepLines, StateStale),
	undoRule(StepCharge, callRule(StateTried, StepWithdraw, "2205", StateWithdrawing, StateDescribed, StateTried)),
	moneyRule(StateTried, StepSettle, "2207", StateSettling, StateSettled, StateUnknown),

	refundRule("2208"),

	idleRule(StateRefunded, StepTrial, "2206", StateTried),
	hereRule(StateRefunded, StepLines, StateStale),
	undoRule(StepCharge, callRule(StateRefunded, StepWithdraw, "2205", StateWithdrawing, StateDescribed, StateRefunded)),
}

var outpatientDoubts = append([]Doubt{
	{StateOpening, StepRegister, SendAgain, []string{"5201"}, StateRegistered, StateOpening},
	{StateCharging, StepCharge, SendAgain, nil, StateCharged, StateDescribed},
	{StateWithdrawing, StepWithdraw, SendAgain, nil, StateDescribed, StateStale},
	{StateCancelling, StepCancel, AskFirst, []string{"5201"}, StateClosed, StateRegistered},
}, byJournal()...)

var inpatientRules = []Rule{
	callRule(StateNew, StepRegister, "2401", StateOpening, StateRegistered, StateClosed),
	callRule(StateOpening, StepRegister, "2401", StateOpening, StateRegistered, StateClosed),

	idleRule(StateRegistered, StepChange, "2403", StateRegistered),
	callRule(StateRegistered, StepCharge, "2301", StateCharging, StateCharged, StateRegistered),
	undoRule(StepRegister, callRule(StateRegistered, StepCancel, "2404", StateCancelling, StateClosed, StateRegistered)),

	undoRule(StepCharge, callRule(StateCharging, StepWithdraw, "2302", StateWithdrawing, StateRegistered, StateCharging)),
	undoRule(StepCharge, callRule(StateWithdrawing, StepWithdraw, "2302", StateWithdrawing, StateRegistered, StateWithdrawing)),

	idleRule(StateCharged, StepChange, "2403", StateCharged),
	callRule(StateCharged, StepCharge, "2301", StateCharging, StateCharged, StateCharged),
	undoRule(StepCharge, callRule(StateCharged, StepTakeBack, "2302", StateCharging, StateCharged, StateCharged)),
	idleRule(StateCharged, StepTrial, "2303", StateCharged),
	undoRule(StepCharge, callRule(StateCharged, StepWithdraw, "2302", StateWithdrawing, StateRegistered, StateCharged)),
	callRule(StateCharged, StepDischarge, "2402", StateDischarging, StateDischarged, StateCharged),

	idleRule(StateDischarged, StepTrial, "2303", StateTried),
	undoRule(StepDischarge, callRule(StateDischarged, StepReadmit, "2405", StateReadmitting, StateCharged, StateDischarged)),

	idleRule(StateTried, StepTrial, "2303", StateTried),
	undoRule(StepDischarge, callRule(StateTried, StepReadmit, "2405", StateReadmitting, StateCharged, StateTried)),
	moneyRule(StateTried, StepSettle, "2304", StateSettling, StateSettled, StateUnknown),

	refundRule("2305"),

	idleRule(StateRefunded, StepTrial, "2303", StateTried),
	undoRule(StepDischarge, callRule(StateRefunded, StepReadmit, "2405", StateReadmitting, StateCharged, StateRefunded)),
}

var inpatientDoubts = append([]Doubt{
	{StateOpening, StepRegister, SendAgain, []string{"5303", "5201"}, StateRegistered, StateOpening},
	{StateCharging, StepCharge, WithdrawFirst, nil, StateCharged, StateCharged},
	{StateWithdrawing, StepWithdraw, SendAgain, nil, StateRegistered, StateCharging},
	{StateDischarging, StepDischarge, AskFirst, []string{"5201", "5303"}, StateDischarged, StateCharged},
	{StateReadmitting, StepReadmit, AskFirst, []string{"5201", "5303"}, StateCharged, StateDischarged},
	{StateCancelling, StepCancel, AskFirst, []string{"5303", "5201"}, StateClosed, StateRegistered},
}, byJournal()...)

var pharmacyRules = []Rule{
	hereRule(StateNew, StepLines, StateLines),

	hereRule(StateLines, StepLines, StateLines),
	idleRule(StateLines, StepTrial, "2101", StateTried),
	hereRule(StateLines, StepClose, StateClosed),

	hereRule(StateTried, StepLines, StateLines),
	idleRule(StateTried, StepTrial, "2101", StateTried),
	moneyRule(StateTried, StepSettle, "2102", StateSettling, StateSettled, StateUnknown),
	hereRule(StateTried, StepClose, StateClosed),

	refundRule("2103"),

	hereRule(StateRefunded, StepLines, StateLines),
	hereRule(StateRefunded, StepClose, StateClosed),
}

var pharmacyDoubts = byJournal()
