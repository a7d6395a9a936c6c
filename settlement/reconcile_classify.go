package settlement

import (
	"strconv"
	"time"
)

// A DifferenceKind is which side has a row.
type DifferenceKind string

// The kinds of differences.
const (
	OnlyUpstream DifferenceKind = "upstream" // the centre has it, our statement had not
	OnlyHere     DifferenceKind = "here"     // done here, the centre has it not
	Differs      DifferenceKind = "differs"  // both have it, and not alike
	InDoubt      DifferenceKind = "doubt"    // of unknown outcome here, and not at the centre
	SumsDiffer   DifferenceKind = "sums"     // the totals are not equal and no row says why
)

// An Action is what can be done about a difference.
type Action string

// The actions.
const (
	ActNone   Action = "none"   // explained: nothing is to be done
	ActBook   Action = "book"   // book here as done: the entry was unknown
	ActRefund Action = "refund" // refund upstream: nobody here has it
	ActVoid   Action = "void"   // mark ours as not booked
	ActAsk    Action = "ask"    // a person finds out; executing notes what was found
)

// A Finding is why a difference has its action. Operators find every one of
// them in docs/reconciliation.md.
type Finding string

// The findings.
const (
	FoundUnknown    Finding = "unknown-here"   // an entry of unknown outcome has this msgid
	FoundOnItsWay   Finding = "on-its-way"     // an entry with this msgid has no answer yet
	FoundRefused    Finding = "refused-here"   // an entry with this msgid was not done here
	FoundTwice      Finding = "booked-twice"   // the entry with this msgid is done under another setl_id, and the centre has that one for it, too
	FoundNumbered   Finding = "other-number"   // the entry with this msgid is done under another setl_id, and nothing says that the centre has that one for it
	FoundAnothers   Finding = "anothers"       // the setl_id of an entry here is, at the centre, another msgid's
	FoundNobody     Finding = "nobody"         // no entry here has this msgid
	FoundElsewhere  Finding = "not-ours"       // a msgid of another desk or program
	FoundVoided     Finding = "marked-before"  // a person marked it as not booked, and the centre has it
	FoundRefund     Finding = "refund-unknown" // a refund that nobody here made
	FoundReversed   Finding = "reversed"       // taken back by 2601
	FoundRefunded   Finding = "refunded"       // taken back by a refund from an earlier report
	FoundOtherDay   Finding = "other-day"      // done here, counted elsewhere: another day, or not at all
	FoundMissing    Finding = "missing"        // done here, the centre has it not
	FoundDuplicate  Finding = "duplicate"      // another entry here has the same setl_id
	FoundStray      Finding = "stray"          // a row that neither side listed
	FoundAmounts    Finding = "amounts"        // amounts differ
	FoundNumbers    Finding = "numbers"        // person, visit or kind of row differ
	FoundIncomplete Finding = "incomplete"     // the row lacks what booking it needs
	FoundNotThere   Finding = "not-there"      // in doubt here, and no statement lists it
	FoundTooYoung   Finding = "too-young"      // in doubt here, and may still arrive or be listed tomorrow
	FoundSums       Finding = "sums"           // totals differ, rows do not
)

// A DifferenceState is how far a difference is dealt with.
type DifferenceState string

// The states of a difference.
const (
	StateOpen      DifferenceState = "open"
	StateExplained DifferenceState = "explained" // needs nothing
	StateBegun     DifferenceState = "begun"     // an execution was begun; it can be repeated
	StateDone      DifferenceState = "done"
)

// RowAmounts are the three amounts that statements compare.
type RowAmounts struct {
	Total   Fen `json:"total"`
	Fund    Fen `json:"fund"`
	Account Fen `json:"account"`
}

// A Difference is one row on which the sides do not agree. It holds psn_no,
// which nothing shows.
type Difference struct {
	N       int             `json:"n"` // in the report, from 1
	Kind    DifferenceKind  `json:"kind"`
	Finding Finding         `json:"finding"`
	Action  Action          `json:"action"`            // proposed
	Choices []Action        `json:"choices,omitempty"` // what may be executed, the proposed one first
	State   DifferenceState `json:"state"`

	Insutype string      `json:"insutype,omitempty"`
	ClrType  string      `json:"clr_type,omitempty"`
	Optins   string      `json:"setl_optins,omitempty"`
	SetlID   string      `json:"setl_id,omitempty"`
	Answered string      `json:"answered_setl_id,omitempty"` // of the entry with this msgid, where that is not SetlID
	MdtrtID  string      `json:"mdtrt_id,omitempty"`
	PsnNo    string      `json:"psn_no,omitempty"`
	MsgID    string      `json:"msgid,omitempty"`
	Refund   bool        `json:"refund,omitempty"`
	Entry    int64       `json:"entry,omitempty"` // of the journal
	Holder   string      `json:"holder,omitempty"`
	Ours     *RowAmounts `json:"ours,omitempty"`
	Theirs   *RowAmounts `json:"theirs,omitempty"`
	Memo     string      `json:"memo,omitempty"` // the centre's words

	Executed *Execution `json:"executed,omitempty"`
}

// An Execution is what a person had done about a difference.
type Execution struct {
	Action Action    `json:"action"`
	Who    string    `json:"who"`
	Reason string    `json:"reason"`
	Begun  time.Time `json:"begun"`
	Ended  time.Time `json:"ended,omitzero"`
	// Entry is the entry that was decided, marked or adopted; Refund the one that
	// took it back upstream.
	Entry  int64  `json:"entry,omitempty"`
	Refund int64  `json:"refund,omitempty"`
	Fault  string `json:"fault,omitempty"` // OC-nnnn of the last try, where it did not end
}

// known is what the journal knows of an upstream row.
type known struct {
	entry   *Entry // with the row's msgid
	adopted *Entry // written down by an earlier execution for the row's setl_id
	undone  *Entry // that took entry or adopted back
	ours    bool   // the msgid is one that only this journal draws
	foreign bool   // the msgid is certainly another desk's or program's
	// holds is the msgid that the centre has for the entry's own setl_id; "" where
	// it does not say.
	holds string
}

// classify says what a row of a result means. row is ours of that setl_id, nil
// where the statement had none. ok is false for a row that agrees.
func classify(r ResultRow, row *bookedRow, k known) (d Difference, ok bool) {
	// What was written down for a row of the centre's has no msgid of its own.
	anothers := row != nil && r.MsgID != "" && row.msgid != adoptedMsgID(row.SetlID) &&
		(k.entry != nil && k.entry.ID != row.entry || !r.Balanced && row.msgid != "" && row.msgid != r.MsgID)
	if r.Balanced && !anothers {
		return Difference{}, false
	}
	d = Difference{
		SetlID: r.SetlID, MdtrtID: r.MdtrtID, PsnNo: r.PsnNo, MsgID: r.MsgID, Refund: r.Refund, Memo: r.Memo,
	}
	if r.MsgID != "" && r.Total.Valid {
		d.Theirs = &RowAmounts{r.Total.Fen, r.Fund.Fen, r.Account.Fen}
	}
	if row != nil {
		d.Ours = &RowAmounts{row.Amounts.Total, row.Amounts.Fund, row.Amounts.Account}
		d.Entry, d.Holder, d.Insutype, d.MdtrtID, d.PsnNo = row.entry, row.holder, row.insutype, row.MdtrtID, row.PsnNo
	}
	switch {
	case row != nil && r.MsgID == "":
		d.Kind = OnlyHere
		d.propose(FoundMissing, ActVoid, ActAsk)
		if row.undoes != 0 || row.reversedBy != 0 || row.assumed {
			// Half of a pair: marking it alone would leave the other half wrong. And
			// of a row without an answer nobody knows in which statement to look.
			d.propose(FoundMissing, ActAsk)
		}
	case anothers:
		// To refund this entry would take back what was booked for the other one.
		d.Kind = Differs
		d.propose(FoundAnothers, ActAsk)
		if k.entry != nil && k.entry.ID != row.entry && row.undoes == 0 && row.reversedBy == 0 {
			// Marked, ours leaves the number to the entry that it belongs to.
			d.propose(FoundAnothers, ActAsk, ActVoid)
		}
	case row != nil:
		d.Kind = Differs
		if d.Theirs != nil && *d.Theirs == *d.Ours {
			d.propose(FoundNumbers, ActAsk)
		} else {
			d.propose(FoundAmounts, ActAsk)
		}
	case r.MsgID == "":
		d.Kind = OnlyHere
		d.propose(FoundStray, ActAsk)
	default:
		d.Kind = OnlyUpstream
		d.unlisted(r, k)
	}
	return d, true
}

// unlisted classifies what only the centre has.
func (d *Difference) unlisted(r ResultRow, k known) {
	e := k.entry
	if k.adopted != nil {
		e = k.adopted
	}
	if e != nil {
		d.Entry, d.Holder = e.ID, e.Holder
	}
	complete := r.SetlID != "" && len(r.SetlID) <= 30 && r.Total.Valid && r.Fund.Valid && r.Account.Valid
	refundable := []Action{ActRefund, ActAsk}
	if r.Refund || r.Total.Fen <= 0 || !complete || r.PsnNo == "" || r.MdtrtID == "" {
		refundable = []Action{ActAsk} // no refund of a refund, and none without what it names
	}
	switch {
	case k.adopted != nil && k.undone != nil:
		d.propose(FoundRefunded, ActNone)
	case k.misnumbered(r):
		// It may be the only booking of what is done here.
		d.Entry, d.Holder, d.Answered = k.entry.ID, k.entry.Holder, k.entry.SetlID
		d.propose(FoundNumbered, ActAsk)
		if k.adopted == nil && k.undone != nil && k.undone.Infno == infnoNotBooked && len(refundable) == 2 {
			d.propose(FoundNumbered, ActAsk, ActRefund) // ours was marked: no receipt stands for it any more
		}
	case k.adopted != nil: // written down, and the refund did not follow
		d.propose(FoundNobody, refundable...)
	case e != nil && e.Outcome == Unknown && (!complete || (r.Total.Fen < 0) != (e.Undoes != 0)):
		d.propose(FoundIncomplete, ActAsk)
	case e != nil && e.Outcome == Unknown:
		d.propose(FoundUnknown, ActBook, ActAsk)
	case e != nil && e.Outcome == Intended:
		d.propose(FoundOnItsWay, ActAsk)
	case e != nil && e.Infno == infnoReversal:
		d.propose(FoundReversed, ActNone)
	case e != nil && k.undone != nil && k.undone.Infno == infnoReversal:
		d.propose(FoundReversed, ActNone)
	case e != nil && e.Outcome == Done && e.SetlID == r.SetlID && k.undone != nil && k.undone.Infno == infnoNotBooked:
		d.propose(FoundVoided, ActAsk)
	case e != nil && e.Outcome == Done && e.SetlID == r.SetlID:
		d.propose(FoundOtherDay, ActNone)
	case r.Refund:
		d.propose(FoundRefund, ActAsk)
	case e != nil && e.Outcome == Done:
		d.Answered = e.SetlID
		d.propose(FoundTwice, refundable...)
	case e != nil:
		d.propose(FoundRefused, refundable...)
	case k.foreign:
		d.propose(FoundElsewhere, ActAsk)
	case k.ours:
		d.propose(FoundNobody, refundable...)
	case len(refundable) == 2:
		// It may be another desk's: nothing is proposed that takes money back.
		d.propose(FoundElsewhere, ActAsk, ActRefund)
	default:
		d.propose(FoundElsewhere, ActAsk)
	}
}

// numberedOtherwise says whether the entry with the row's msgid is done under
// another setl_id.
func (k known) numberedOtherwise(r ResultRow) bool {
	return k.entry != nil && k.entry.Outcome == Done && k.entry.Infno != infnoReversal && k.entry.SetlID != r.SetlID && !r.Refund &&
		(k.undone == nil || k.undone.Infno != infnoReversal)
}

// misnumbered says whether a row may be the only booking of an entry that is
// done: only where the centre has the entry's own setl_id for its msgid, too,
// was it booked twice.
func (k known) misnumbered(r ResultRow) bool {
	return k.numberedOtherwise(r) && (k.holds == "" || k.holds != k.entry.MsgID)
}

// propose sets finding and actions; the first is the proposed one.
func (d *Difference) propose(f Finding, actions ...Action) {
	d.Finding, d.Action, d.Choices, d.State = f, actions[0], actions, StateOpen
	if d.Action == ActNone {
		d.Choices, d.State = nil, StateExplained
	}
}

// Lane returns the share of the message numbers that a msgid was drawn from; ok
// is false where it is not one of this institution's with so many lanes.
func Lane(msgid, institution string, lanes int) (lane int, ok bool) {
	const digits = 14 + 4
	if lanes < 1 || lanes > 1000 || len(msgid) != len(institution)+digits || msgid[:len(institution)] != institution {
		return 0, false
	}
	for _, c := range msgid[len(institution):] {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(msgid[len(msgid)-4:])
	if err != nil {
		return 0, false
	}
	if lane = n / (10000 / lanes); lane >= lanes {
		return 0, false
	}
	return lane, true
}
