package terminal

import (
	"time"

	"onecard/fault"
	"onecard/settlement"
)

// ReportNone is the state of a day or month that was not reconciled.
const ReportNone = "none"

// Reconciliation is one comparison of a day or month with the centre's books.
// It names nobody: holders are masked.
type Reconciliation struct {
	ID          int64                 `json:"id,omitempty"` // 0: not reconciled yet
	Period      string                `json:"period"`       // yyyy-MM-dd or yyyy-MM
	State       string                `json:"state"`        // none, balanced, unbalanced or handled
	Text        Text                  `json:"text"`
	At          *time.Time            `json:"at,omitempty"`
	Open        int                   `json:"open"` // differences to be dealt with
	Totals      []ReconcileTotals     `json:"totals"`
	Differences []ReconcileDifference `json:"differences"`
	Others      *ReconcileSums        `json:"others,omitempty"` // rows of other desks
	Days        []ReconcilePeriod     `json:"days"`             // of a month that does not balance
	Recent      []ReconcilePeriod     `json:"recent"`
}

// ReconcileSums are one side's sums; refunds count as rows with negative amounts.
type ReconcileSums struct {
	Count   int    `json:"count"`
	Total   string `json:"total"`   // medfee_sumamt
	Fund    string `json:"fund"`    // fund_pay_sumamt
	Account string `json:"account"` // acct_pay
	Cash    string `json:"cash"`
}

// ReconcileTotals is one verdict on totals (3201).
type ReconcileTotals struct {
	Insurance Coded         `json:"insutype"`
	Clearing  Coded         `json:"clr_type"`
	Office    string        `json:"setl_optins"`
	Ours      ReconcileSums `json:"ours"`
	Asked     bool          `json:"asked"` // false: with several desks no one has the totals
	Balanced  bool          `json:"balanced"`
	Words     string        `json:"words,omitempty"` // the centre's
}

// ReconcileAmounts are what statements compare.
type ReconcileAmounts struct {
	Total   string `json:"total"`
	Fund    string `json:"fund"`
	Account string `json:"account"`
}

// ReconcileAction is something that can be done about a difference.
type ReconcileAction struct {
	Action string `json:"action"`
	Text   Text   `json:"text"`
}

// ReconcileDifference is one row on which the sides do not agree.
type ReconcileDifference struct {
	N          int                 `json:"n"`
	Kind       string              `json:"kind"`
	KindText   Text                `json:"kind_text"`
	Finding    string              `json:"finding"`
	Text       Text                `json:"text"`
	State      string              `json:"state"` // open, begun, done or explained
	StateText  Text                `json:"state_text"`
	Proposed   ReconcileAction     `json:"proposed"`
	Choices    []ReconcileAction   `json:"choices"`
	Clearing   Coded               `json:"clr_type"`
	Settlement string              `json:"setl_id,omitempty"`
	MdtrtID    string              `json:"mdtrt_id,omitempty"`
	MsgID      string              `json:"msgid,omitempty"`
	Refund     bool                `json:"refund,omitempty"`
	Entry      int64               `json:"entry,omitempty"`
	Holder     string              `json:"holder,omitempty"`
	Ours       *ReconcileAmounts   `json:"ours,omitempty"`
	Theirs     *ReconcileAmounts   `json:"theirs,omitempty"`
	Memo       string              `json:"memo,omitempty"` // the centre's words
	Executed   *ReconcileExecution `json:"executed,omitempty"`
}

// ReconcileExecution is what a person had done.
type ReconcileExecution struct {
	ReconcileAction
	Who    string     `json:"who"`
	Reason string     `json:"reason"`
	Begun  time.Time  `json:"begun"`
	Ended  *time.Time `json:"ended,omitempty"`
	Entry  int64      `json:"entry,omitempty"`  // decided, marked or written down
	Refund int64      `json:"refund,omitempty"` // that took it back
	Fault  *Fault     `json:"fault,omitempty"`  // of the last try
}

// ReconcilePeriod is one line of a list of days and months.
type ReconcilePeriod struct {
	Period string    `json:"period"`
	State  string    `json:"state"`
	Text   Text      `json:"text"`
	At     time.Time `json:"at,omitzero"`
	Open   int       `json:"open,omitempty"`
}

// ReconcileState is what is published of the books.
type ReconcileState struct {
	Latest     string   `json:"latest,omitempty"` // the latest day that was compared
	Unbalanced []string `json:"unbalanced"`       // days and months that do not balance
	Open       int      `json:"open"`             // differences of those
}

func (s *Service) reconciliationDocument(r settlement.Report) Reconciliation {
	d := Reconciliation{
		ID: r.ID, Period: r.Period, State: string(r.State), Text: reportTexts[string(r.State)], Open: r.Open(), At: &r.At,
		Totals: []ReconcileTotals{}, Differences: []ReconcileDifference{}, Days: []ReconcilePeriod{}, Recent: []ReconcilePeriod{},
	}
	for _, l := range r.Totals {
		d.Totals = append(d.Totals, ReconcileTotals{
			Insurance: s.coded("insutype", l.Insutype), Clearing: s.coded("clr_type", l.ClrType), Office: l.Optins,
			Ours: sumsDocument(l.Ours), Asked: l.Asked, Balanced: l.Balanced, Words: l.Words,
		})
	}
	for _, x := range r.Differences {
		d.Differences = append(d.Differences, s.differenceDocument(x))
	}
	for _, x := range r.Days {
		d.Days = append(d.Days, ReconcilePeriod{Period: x.Day, State: string(x.State), Text: reportTexts[string(x.State)], Open: x.Open})
		d.Open += x.Open
	}
	if r.Others.Count > 0 {
		others := sumsDocument(r.Others)
		d.Others = &others
	}
	return d
}

func sumsDocument(t settlement.StatementTotals) ReconcileSums {
	return ReconcileSums{t.Count, t.Total.Yuan(), t.Fund.Yuan(), t.Account.Yuan(), t.Cash.Yuan()}
}

func amountsDocument(a *settlement.RowAmounts) *ReconcileAmounts {
	if a == nil {
		return nil
	}
	return &ReconcileAmounts{a.Total.Yuan(), a.Fund.Yuan(), a.Account.Yuan()}
}

func actionDocument(a settlement.Action) ReconcileAction {
	return ReconcileAction{string(a), actionTexts[a]}
}

func (s *Service) differenceDocument(x settlement.Difference) ReconcileDifference {
	d := ReconcileDifference{
		N: x.N, Kind: string(x.Kind), KindText: kindTexts[x.Kind], Finding: string(x.Finding), Text: findingTexts[x.Finding],
		State: string(x.State), StateText: reportTexts[string(x.State)], Proposed: actionDocument(x.Action), Choices: []ReconcileAction{},
		Clearing: s.coded("clr_type", x.ClrType), Settlement: x.SetlID, MdtrtID: x.MdtrtID, MsgID: x.MsgID, Refund: x.Refund,
		Entry: x.Entry, Holder: x.Holder, Ours: amountsDocument(x.Ours), Theirs: amountsDocument(x.Theirs), Memo: x.Memo,
	}
	if x.Finding == settlement.FoundNumbered {
		// Both numbers, wherever the row is shown.
		d.Text.Chinese += "中心：" + x.SetlID + "；应答：" + x.Answered + "。"
		d.Text.English += " The centre's: " + x.SetlID + "; the answer's: " + x.Answered + "."
	}
	if x.State == settlement.StateOpen || x.State == settlement.StateBegun {
		for _, a := range x.Choices {
			d.Choices = append(d.Choices, actionDocument(a))
		}
	}
	if e := x.Executed; e != nil {
		d.Executed = &ReconcileExecution{ReconcileAction: actionDocument(e.Action), Who: e.Who, Reason: e.Reason, Begun: e.Begun, Entry: e.Entry, Refund: e.Refund}
		if !e.Ended.IsZero() {
			d.Executed.Ended = &e.Ended
		}
		if e.Fault != "" {
			d.Executed.Fault = Explain(fault.New(fault.Code(e.Fault), "the last try"))
		}
	}
	return d
}
