package settlement

import "time"

// A ReportState is what a report comes to.
type ReportState string

// The states of a report.
const (
	Balanced   ReportState = "balanced"   // no row is left that says otherwise
	Unbalanced ReportState = "unbalanced" // differences are open
	HandledAll ReportState = "handled"    // every difference was executed; not compared since
)

// A TotalsLine is one comparison of totals (3201).
type TotalsLine struct {
	Insutype string          `json:"insutype"`
	ClrType  string          `json:"clr_type"`
	Optins   string          `json:"setl_optins"`
	Ours     StatementTotals `json:"ours"`
	Asked    bool            `json:"asked"` // false: of several desks only all together have totals
	Balanced bool            `json:"balanced"`
	Words    string          `json:"words,omitempty"` // the centre's
}

// A Report is one reconciliation of a day or month. A month has totals and the
// days that were compared row by row because it did not balance.
type Report struct {
	ID          int64           `json:"-"`
	Period      string          `json:"-"` // yyyy-MM-dd or yyyy-MM
	At          time.Time       `json:"-"`
	State       ReportState     `json:"-"`
	Totals      []TotalsLine    `json:"totals"`
	Differences []Difference    `json:"differences"`
	Others      StatementTotals `json:"others"` // rows of other desks
	Days        []ReportDay     `json:"days,omitempty"`
}

// A ReportDay is a day of a month that was compared because the month did not
// balance.
type ReportDay struct {
	Day    string      `json:"day"`
	Report int64       `json:"report"`
	State  ReportState `json:"state"`
	Open   int         `json:"open"`
}

// Open counts the differences that nobody has dealt with.
func (r Report) Open() int {
	n := 0
	for _, d := range r.Differences {
		if d.State == StateOpen || d.State == StateBegun {
			n++
		}
	}
	return n
}

// state is what rows and days come to.
func (r Report) state() ReportState {
	handled := false
	for _, d := range r.Differences {
		switch d.State {
		case StateOpen, StateBegun:
			return Unbalanced
		case StateDone:
			handled = true
		}
	}
	if len(r.Days) == 0 {
		if handled {
			return HandledAll
		}
		return Balanced
	}
	for _, d := range r.Days {
		if d.State == Unbalanced {
			return Unbalanced
		}
		handled = handled || d.State == HandledAll
	}
	if handled {
		return HandledAll
	}
	return Balanced
}

// covers says whether the statements of the report would have listed an entry:
// those of its insurance were compared, in total or row by row.
func (r Report) covers(x *doubtful) bool {
	for _, l := range r.Totals {
		if l.ClrType == x.clrType && (l.Insutype == x.insutype || x.insutype == "") {
			return true
		}
	}
	return false
}

// pair explains a row that one statement misses and another has: it is counted
// under another kind of clearing or office than the answer said.
func (r Report) pair() {
	listed := make(map[string]bool)
	for _, d := range r.Differences {
		if d.Kind == OnlyUpstream && d.Finding == FoundOtherDay {
			listed[d.SetlID] = true
		}
	}
	for i := range r.Differences {
		if d := &r.Differences[i]; d.Kind == OnlyHere && listed[d.SetlID] {
			d.propose(FoundOtherDay, ActNone)
		}
	}
}

// remember takes over what a person found out of a difference that is still
// there as it was: nobody is asked the same again.
func (r Report) remember(earlier []Report) {
	type key struct {
		kind          DifferenceKind
		finding       Finding
		setl, msgid   string
		insutype, clr string
		entry         int64
		ours, theirs  RowAmounts
	}
	keyOf := func(d Difference) key {
		k := key{kind: d.Kind, finding: d.Finding, setl: d.SetlID, msgid: d.MsgID, insutype: d.Insutype, clr: d.ClrType, entry: d.Entry}
		if d.Ours != nil {
			k.ours = *d.Ours
		}
		if d.Theirs != nil {
			k.theirs = *d.Theirs
		}
		return k
	}
	noted := make(map[key]*Execution)
	for _, old := range earlier {
		for _, d := range old.Differences {
			if d.State == StateDone && d.Executed != nil && d.Executed.Action == ActAsk {
				noted[keyOf(d)] = d.Executed
			}
		}
	}
	for i := range r.Differences {
		d := &r.Differences[i]
		if x := noted[keyOf(*d)]; x != nil && d.State == StateOpen {
			d.State, d.Executed = StateDone, x
		}
	}
}
