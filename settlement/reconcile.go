package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"onecard/fault"
)

// The failures of reconciliation.
var (
	ErrReport       = fault.New(fault.ReconciliationUnknown, "no such report of reconciliation, or no longer the latest of its day")
	ErrReconcileRow = fault.New(fault.ReconciliationRow, "the row cannot be executed like that")
	ErrUnbalanced   = fault.New(fault.ReconciliationDiffers, "the books do not balance")
	ErrPeriod       = fault.New(fault.ReconciliationPeriod, "a day or month that cannot be reconciled")
)

// RefundRows is how a region's statements count refunds (varies).
type RefundRows string

// The ways.
const (
	RefundsCounted  RefundRows = "counted"  // settlement and refund are two rows, the refund negative
	RefundsNetted   RefundRows = "netted"   // neither of the two is a row
	RefundsExcluded RefundRows = "excluded" // the refund is no row, its settlement is
)

// A ReconcilePolicy is what varies by region and institution.
type ReconcilePolicy struct {
	Refunds RefundRows // "": counted
	// ClrTypes and Insutypes are asked for also where nothing is in the journal:
	// what only the centre has shows in no other way. nil: 11, 14, 21 and 41;
	// 310 and 390.
	ClrTypes, Insutypes []string
	Optins              string // setl_optins; "": clr_optins of the answers, else the place of care
	// Lane of Lanes is this journal's share of the institution's message numbers.
	// With several lanes totals are not asked for, because they are all desks',
	// and rows of the other lanes are counted and left alone.
	Lane, Lanes int
	// Sole says that no other journal or program settles for the institution:
	// then a row that nobody here knows is nobody's, and its refund is proposed.
	Sole bool
	// Young is how long an entry in doubt may still arrive; 0: an hour.
	Young time.Duration
}

// ReconcilerParts are what a Reconciler is made of.
type ReconcilerParts struct {
	Client  *Client
	Journal *Journal
	// Scope returns the sign-in of the day.
	Scope  func(context.Context) (Scope, error)
	Policy ReconcilePolicy
	Now    func() time.Time
}

// A Reconciler compares the journal with the centre: months by their totals
// (3201), days by totals and row by row (3202). It does what an authorised
// person orders about the differences.
type Reconciler struct {
	client  *Client
	journal *Journal
	settler *Settler
	scope   func(context.Context) (Scope, error)
	policy  ReconcilePolicy
	now     func() time.Time

	turn chan struct{} // holds a token while nobody compares or executes
}

// NewReconciler returns a Reconciler.
func NewReconciler(p ReconcilerParts) *Reconciler {
	if p.Policy.Refunds == "" {
		p.Policy.Refunds = RefundsCounted
	}
	if p.Policy.ClrTypes == nil {
		p.Policy.ClrTypes = []string{"11", "14", "21", "41"}
	}
	if p.Policy.Insutypes == nil {
		p.Policy.Insutypes = []string{"310", "390"}
	}
	if p.Policy.Young <= 0 {
		p.Policy.Young = time.Hour
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	r := &Reconciler{
		client: p.Client, journal: p.Journal, settler: NewSettler(p.Client, p.Journal),
		scope: p.Scope, policy: p.Policy, now: p.Now, turn: make(chan struct{}, 1),
	}
	r.turn <- struct{}{}
	return r
}

// begin waits until nobody else compares or executes.
func (r *Reconciler) begin(ctx context.Context) (end func(), err error) {
	select {
	case <-r.turn:
		return func() { r.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// CheckPeriod says whether a text is a day (yyyy-MM-dd) or a month (yyyy-MM)
// that has begun.
func CheckPeriod(period string, now time.Time) (month bool, err error) {
	layout := DateLayout
	if len(period) == len("2006-01") {
		layout, month = "2006-01", true
	}
	t, err := time.ParseInLocation(layout, period, china)
	if err != nil || t.Format(layout) != period || t.After(now) {
		return month, fmt.Errorf("period: %w", ErrPeriod)
	}
	return month, nil
}

// Reconcile compares a day or a month and keeps the report. It books nothing
// and may be repeated; a report in which something was executed is kept beside
// the new one.
func (r *Reconciler) Reconcile(ctx context.Context, period string) (Report, error) {
	month, err := CheckPeriod(period, r.now())
	if err != nil {
		return Report{}, err
	}
	end, err := r.begin(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("reconcile %s: %w", period, err)
	}
	defer end()
	return r.reconcile(ctx, period, month)
}

func (r *Reconciler) reconcile(ctx context.Context, period string, month bool) (report Report, err error) {
	if month {
		report, err = r.month(ctx, period)
	} else {
		report, err = r.day(ctx, period)
	}
	if err != nil {
		return Report{}, fmt.Errorf("reconcile %s: %w", period, err)
	}
	earlier, err := r.journal.reports(ctx, `period = ?1 ORDER BY id`, period)
	if err != nil {
		return Report{}, fmt.Errorf("reconcile %s: %w", period, err)
	}
	report.remember(earlier)
	report.Period, report.At = period, milli(r.now().UnixMilli())
	report.State = report.state()
	if report, err = r.journal.putReport(ctx, report); err != nil {
		return Report{}, fmt.Errorf("reconcile %s: %w", period, err)
	}
	return report, nil
}

// day compares one day.
func (r *Reconciler) day(ctx context.Context, day string) (Report, error) {
	rows, err := r.rowsOf(ctx, day, day)
	if err != nil {
		return Report{}, err
	}
	doubts, err := r.doubts(ctx, day)
	if err != nil {
		return Report{}, err
	}
	scope, err := r.scope(ctx)
	if err != nil {
		return Report{}, err
	}
	asked := r.now()
	report, err := r.totals(ctx, scope, rows, doubts, day, day)
	if err != nil {
		return Report{}, err
	}
	detail := make(map[group]bool) // without insurance, which 3202 does not know
	for _, l := range report.Totals {
		// Totals that are equal prove little where amounts are alike: one row too
		// many and one too few are no difference. Only nothing on both sides is.
		if !l.Balanced || l.Ours.Count > 0 {
			detail[group{clrType: l.ClrType, optins: l.Optins}] = true
		}
	}
	for _, g := range sorted(detail) {
		of := Statement{ClrType: g.clrType, Optins: g.optins, From: day, To: day}
		if err := r.compare(ctx, scope, of, rows, doubts, &report); err != nil {
			return Report{}, err
		}
	}
	r.addDoubts(day, doubts, asked, &report)
	report.pair()
	for i := range report.Differences {
		report.Differences[i].N = i + 1
	}
	return report, nil
}

// rowsOf returns the rows that belong to the days, whenever their entries were
// written: a settlement before midnight may be booked after it.
func (r *Reconciler) rowsOf(ctx context.Context, from, to string) ([]bookedRow, error) {
	before, after, err := around(from, to)
	if err != nil {
		return nil, err
	}
	list, err := r.bookedRows(ctx, before, after)
	if err != nil {
		return nil, err
	}
	placed, err := r.journal.placements(ctx, before, after)
	if err != nil {
		return nil, err
	}
	// What an earlier report adopted was written down on some later day.
	have := make(map[int64]bool)
	for _, row := range list {
		have[row.entry] = true
	}
	for entry := range placed {
		if have[entry] {
			continue
		}
		row, ok, err := r.bookedRow(ctx, entry)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, row)
		}
	}
	for i := range list {
		row := &list[i]
		if p, ok := placed[row.entry]; ok && row.assumed {
			row.day, row.clrType, row.optins = p.day, p.clrType, p.optins
			if p.insutype != "" {
				row.insutype = p.insutype
			}
		}
	}
	return slices.DeleteFunc(list, func(row bookedRow) bool {
		if row.day < from || row.day > to {
			return true
		}
		switch r.policy.Refunds {
		case RefundsNetted:
			return row.undoes != 0 || row.reversedBy != 0
		case RefundsExcluded:
			return row.undoes != 0
		}
		return false
	}), nil
}

// around returns the day before and the day after.
func around(from, to string) (before, after string, err error) {
	a, err1 := time.Parse(DateLayout, from)
	b, err2 := time.Parse(DateLayout, to)
	if err := errors.Join(err1, err2); err != nil {
		return "", "", err
	}
	return a.AddDate(0, 0, -1).Format(DateLayout), b.AddDate(0, 0, 1).Format(DateLayout), nil
}

// totals asks for the totals of every group that is in our rows, in doubt or
// usual (3201). With several desks nobody has the totals, and every group is to
// be compared row by row.
func (r *Reconciler) totals(ctx context.Context, scope Scope, rows []bookedRow, doubts []*doubtful, from, to string) (Report, error) {
	ours := make(map[group]StatementTotals)
	optins := r.policy.Optins
	if optins == "" {
		optins = r.client.cfg.Institution.Area
	}
	for _, insutype := range r.policy.Insutypes {
		for _, clrType := range r.policy.ClrTypes {
			ours[group{insutype, clrType, optins}] = StatementTotals{}
		}
	}
	for _, row := range rows {
		t := ours[row.group]
		t.Add(row.Amounts)
		ours[row.group] = t
	}
	for _, d := range doubts {
		g := group{d.insutype, d.clrType, optins}
		if d.insutype != "" {
			t := ours[g] // asked for, also where nothing else is in it
			ours[g] = t
		}
	}
	var report Report
	for _, g := range sorted(ours) {
		line := TotalsLine{Insutype: g.insutype, ClrType: g.clrType, Optins: g.optins, Ours: ours[g]}
		if r.policy.Lanes <= 1 && g.insutype != "" {
			v, err := r.client.ReconcileTotals(ctx, scope, Statement{Insutype: g.insutype, ClrType: g.clrType, Optins: g.optins, From: from, To: to}, line.Ours)
			if err != nil {
				return Report{}, err
			}
			line.Asked, line.Balanced, line.Words = true, v.Balanced, v.Words
		}
		report.Totals = append(report.Totals, line)
	}
	return report, nil
}

// sorted returns groups in an order that does not change.
func sorted[T any](m map[group]T) []group {
	list := make([]group, 0, len(m))
	for g := range m {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b group) int {
		return strings.Compare(a.clrType+"\x00"+a.optins+"\x00"+a.insutype, b.clrType+"\x00"+b.optins+"\x00"+b.insutype)
	})
	return list
}

// compare has a statement compared row by row (3202) and adds what does not
// agree.
func (r *Reconciler) compare(ctx context.Context, scope Scope, of Statement, rows []bookedRow, doubts []*doubtful, report *Report) error {
	var list []StatementRow
	ours := make(map[string]*bookedRow)
	whole := true // every row is in some line of 3201
	for i := range rows {
		row := &rows[i]
		if row.clrType != of.ClrType || row.optins != of.Optins {
			continue
		}
		whole = whole && row.insutype != ""
		if first := ours[row.SetlID]; first != nil {
			// A statement with a number in it twice is refused as a whole.
			d := Difference{
				Kind: OnlyHere, ClrType: of.ClrType, Optins: of.Optins, Insutype: row.insutype, SetlID: row.SetlID, MdtrtID: row.MdtrtID, PsnNo: row.PsnNo, MsgID: row.msgid,
				Refund: row.Refund, Entry: row.entry, Holder: row.holder, Ours: &RowAmounts{row.Amounts.Total, row.Amounts.Fund, row.Amounts.Account},
			}
			d.propose(FoundDuplicate, ActAsk)
			report.Differences = append(report.Differences, d)
			continue
		}
		list = append(list, row.StatementRow)
		ours[row.SetlID] = row
	}
	results, err := r.client.CompareRows(ctx, scope, of, list)
	if err != nil {
		return err
	}
	found := 0
	for _, result := range results {
		row := ours[result.SetlID]
		var k known
		if row != nil && result.MsgID != "" && result.MsgID != row.msgid {
			if k, err = r.knows(ctx, result); err != nil {
				return err
			}
		}
		if row == nil && result.MsgID != "" {
			if lane, ok := Lane(result.MsgID, r.client.cfg.Institution.Code, r.policy.Lanes); r.policy.Lanes > 1 && ok && lane != r.policy.Lane {
				if k, err = r.knows(ctx, result); err != nil {
					return err
				}
				if k.entry == nil && k.adopted == nil {
					report.Others.Add(Amounts{Total: result.Total.Fen, Fund: result.Fund.Fen, Account: result.Account.Fen})
					found++
					continue
				}
			} else if k, err = r.knows(ctx, result); err != nil {
				return err
			}
		}
		if row == nil && k.numberedOtherwise(result) {
			if k.holds, err = r.holder(ctx, *k.entry, results); err != nil {
				return err
			}
			for _, x := range doubts {
				if x.msgid == k.holds {
					x.under = k.entry.SetlID
				}
			}
		}
		d, differs := classify(result, row, k)
		if !differs {
			continue
		}
		found++
		d.ClrType, d.Optins = of.ClrType, of.Optins
		report.Differences = append(report.Differences, d)
		for _, x := range doubts {
			if x.msgid == result.MsgID {
				x.seen = true
			}
		}
	}
	if found > 0 || r.policy.Lanes > 1 || !whole {
		return nil
	}
	// 3201 says no and 3202 has nothing against any row.
	for _, l := range report.Totals {
		if !l.Balanced && l.ClrType == of.ClrType && l.Optins == of.Optins {
			d := Difference{Kind: SumsDiffer, Insutype: l.Insutype, ClrType: l.ClrType, Optins: l.Optins, Memo: l.Words, Ours: &RowAmounts{l.Ours.Total, l.Ours.Fund, l.Ours.Account}}
			d.propose(FoundSums, ActAsk)
			report.Differences = append(report.Differences, d)
		}
	}
	return nil
}

// addDoubts adds the entries in doubt that no statement listed.
func (r *Reconciler) addDoubts(day string, doubts []*doubtful, asked time.Time, report *Report) {
	for _, x := range doubts {
		if x.seen {
			continue
		}
		d := Difference{
			Kind: InDoubt, Insutype: x.insutype, ClrType: x.clrType, MdtrtID: x.mdtrtID, PsnNo: x.psnNo, MsgID: x.msgid,
			Refund: x.undoes != 0, Entry: x.entry, Holder: x.holder, Ours: &RowAmounts{x.agreed.Total, x.agreed.Fund, x.agreed.Account},
		}
		// One that was sent shortly before midnight may be listed on the next day.
		late := FormatDate(x.opened.Add(r.policy.Young)) != day
		switch {
		case x.under != "":
			d.SetlID = x.under
			d.propose(FoundAnothers, ActAsk)
		case x.outcome == Intended || asked.Sub(x.opened) < r.policy.Young || late || !report.covers(x):
			d.propose(FoundTooYoung, ActAsk)
		default:
			d.propose(FoundNotThere, ActVoid, ActAsk)
		}
		report.Differences = append(report.Differences, d)
	}
}

// month compares the totals of a month, and where they differ every day of it.
func (r *Reconciler) month(ctx context.Context, month string) (Report, error) {
	first, err := time.Parse("2006-01", month)
	if err != nil {
		return Report{}, fmt.Errorf("%w", ErrPeriod)
	}
	from, to := first.Format(DateLayout), first.AddDate(0, 1, -1).Format(DateLayout)
	rows, err := r.rowsOf(ctx, from, to)
	if err != nil {
		return Report{}, err
	}
	scope, err := r.scope(ctx)
	if err != nil {
		return Report{}, err
	}
	report, err := r.totals(ctx, scope, rows, nil, from, to)
	if err != nil {
		return Report{}, err
	}
	if !slices.ContainsFunc(report.Totals, func(l TotalsLine) bool { return !l.Balanced }) {
		return report, nil
	}
	today := FormatDate(r.now())
	for day := first; day.Month() == first.Month() && day.Format(DateLayout) <= today; day = day.AddDate(0, 0, 1) {
		one, err := r.reconcile(ctx, day.Format(DateLayout), false)
		if err != nil {
			return Report{}, err
		}
		if one.State != Balanced || len(one.Differences) > 0 {
			report.Days = append(report.Days, ReportDay{one.Period, one.ID, one.State, one.Open()})
		}
	}
	if len(report.Days) == 0 && r.policy.Lanes <= 1 {
		d := Difference{N: 1, Kind: SumsDiffer}
		d.propose(FoundSums, ActAsk)
		report.Differences = append(report.Differences, d)
	}
	return report, nil
}
