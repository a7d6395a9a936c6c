package settlement

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"onecard/fault"
)

// An Order is what an authorised person wants done about a difference.
type Order struct {
	Action Action // "": the one proposed
	Who    string // at most 100 bytes
	Reason string // at most 1000 bytes
	// InsuplcAdmdvs is the person's place of insurance, which a refund needs of a
	// settlement that nobody here knows; "": as an entry with its msgid said, else
	// the place of care.
	InsuplcAdmdvs string
}

// Execute does what is ordered about row n of a report, which must be the latest
// of its period (else ErrReport). Who ordered it and why is kept with the row
// and in the journal. It may be repeated after a failure or a crash: what was
// done is found in the journal and not done again. The report is returned also
// with an error, as it stands then.
func (r *Reconciler) Execute(ctx context.Context, id int64, n int, o Order) (Report, error) {
	end, err := r.begin(ctx)
	if err != nil {
		return Report{}, fmt.Errorf("execute: %w", err)
	}
	defer end()
	report, err := r.journal.Report(ctx, id)
	if err != nil {
		return Report{}, err
	}
	latest, err := r.journal.LatestReport(ctx, report.Period)
	if err != nil {
		return Report{}, err
	}
	if latest.ID != id {
		return latest, fmt.Errorf("report %d: %w", id, ErrReport)
	}
	if n < 1 || n > len(report.Differences) {
		return report, fmt.Errorf("row %d: %w", n, ErrReconcileRow)
	}
	d := &report.Differences[n-1]
	if o.Action == "" {
		o.Action = d.Action
	}
	switch {
	case d.State == StateDone && d.Executed != nil && d.Executed.Action == o.Action:
		return report, nil
	case d.State == StateDone || d.State == StateExplained || !slices.Contains(d.Choices, o.Action):
		return report, fmt.Errorf("row %d: %w", n, ErrReconcileRow)
	}
	if err := checkDecision(o.Who, o.Reason); err != nil {
		return report, fmt.Errorf("row %d: %w", n, err)
	}
	x := Execution{Action: o.Action, Who: o.Who, Reason: o.Reason, Begun: milli(r.now().UnixMilli())}
	if d.Executed != nil {
		x.Entry, x.Refund = d.Executed.Entry, d.Executed.Refund
	}
	d.State, d.Executed = StateBegun, &x
	if err := r.journal.updateReport(ctx, report); err != nil {
		return report, err
	}
	// What is begun is ended, whoever has stopped waiting.
	ctx = context.WithoutCancel(ctx)
	err = r.execute(ctx, report, d, &x, o)
	if err != nil {
		x.Fault = string(fault.Of(err).Code)
		err = fmt.Errorf("row %d: %w", n, err)
	} else {
		d.State, x.Fault, x.Ended = StateDone, "", milli(r.now().UnixMilli())
	}
	report.State = report.state()
	return report, errors.Join(err, r.journal.updateReport(ctx, report))
}

func (r *Reconciler) execute(ctx context.Context, report Report, d *Difference, x *Execution, o Order) error {
	switch o.Action {
	case ActBook:
		return r.executeBook(ctx, d, x, o)
	case ActVoid:
		return r.executeVoid(ctx, report, d, x, o)
	case ActRefund:
		return r.executeRefund(ctx, report, d, x, o)
	case ActAsk:
		return nil // what was found stands in the reason
	}
	return ErrReconcileRow
}

// booked asks upstream for the whole of a settlement that a result names (5203).
// ok is false where upstream does not tell; err is the line's.
func (r *Reconciler) booked(ctx context.Context, scope Scope, psnNo, setlID, mdtrtID string) (x queried, ok bool, err error) {
	a, err := r.client.do(ctx, scope, "5203", map[string]map[string]string{"data": {"psn_no": psnNo, "setl_id": setlID, "mdtrt_id": mdtrtID}})
	if err == nil {
		x, err = readQueried(a)
	}
	switch {
	case err == nil && string(x.info.SetlID) == setlID && x.sums == nil:
		return x, true, nil
	case err == nil || OutcomeOf(err) == Refused || errors.Is(err, ErrMalformed):
		return queried{}, false, nil
	}
	return queried{}, false, err
}

// scopeFor is the sign-in of the day with the place of insurance.
func (r *Reconciler) scopeFor(ctx context.Context, insuplc string) (Scope, error) {
	s, err := r.scope(ctx)
	if err != nil {
		return Scope{}, err
	}
	if s.InsuplcAdmdvs = insuplc; insuplc == "" {
		s.InsuplcAdmdvs = r.client.cfg.Institution.Area
	}
	return s, nil
}

// executeBook decides an entry of unknown outcome as the centre has it.
func (r *Reconciler) executeBook(ctx context.Context, d *Difference, x *Execution, o Order) error {
	e, err := r.journal.Get(ctx, d.Entry)
	if err != nil {
		return err
	}
	x.Entry = e.ID
	switch {
	case e.Outcome == Done && e.SetlID == d.SetlID:
		return nil // by the resolver, or before a crash
	case e.Outcome != Unknown:
		return fmt.Errorf("entry %d: %w", e.ID, ErrEntryClosed)
	case d.Theirs == nil:
		return ErrReconcileRow
	}
	scope, err := r.scopeFor(ctx, requestOf(e).InsuplcAdmdvs)
	if err != nil {
		return err
	}
	c := Conclusion{Outcome: Done, SetlID: d.SetlID}
	full, ok, err := r.booked(ctx, scope, d.PsnNo, d.SetlID, d.MdtrtID)
	agreed := RowAmounts{e.Agreed.Total, e.Agreed.Fund, e.Agreed.Account}
	switch {
	case err != nil && agreed != *d.Theirs:
		return err
	case ok && (RowAmounts{full.amounts.Total, full.amounts.Fund, full.amounts.Account}) != *d.Theirs:
		return fmt.Errorf("3202 and 5203 do not agree: %w", ErrMismatch)
	case ok:
		c.Booked, c.Answer = &full.amounts, full.raw
	case agreed == *d.Theirs:
		c.Booked = &e.Agreed
	default:
		// What the hospital bears is in no statement: the cash is not known.
		return fmt.Errorf("another split than agreed, and 5203 does not tell the cash: %w", ErrReconcileRow)
	}
	return r.decide(ctx, e.ID, c, o)
}

// decide closes an entry, unless it was closed in the same way meanwhile, as the
// resolver or a late answer does.
func (r *Reconciler) decide(ctx context.Context, id int64, c Conclusion, o Order) error {
	err := r.journal.Decide(ctx, id, c, o.Who, o.Reason)
	if !errors.Is(err, ErrEntryClosed) {
		return err
	}
	e, gerr := r.journal.Get(ctx, id)
	if gerr == nil && e.Outcome == c.Outcome && (c.Outcome != Done || e.SetlID == c.SetlID) {
		return nil
	}
	return errors.Join(err, gerr)
}

// executeVoid closes an entry that the centre does not have.
func (r *Reconciler) executeVoid(ctx context.Context, report Report, d *Difference, x *Execution, o Order) error {
	e, err := r.journal.Get(ctx, d.Entry)
	if err != nil {
		return err
	}
	x.Entry = e.ID
	if d.Kind == InDoubt {
		if e.Outcome == Refused {
			return nil
		}
		return r.decide(ctx, e.ID, Conclusion{Outcome: Refused}, o)
	}
	// A statement that leaves a row out must not be enough: who asks for the
	// settlement by its number must not find it either.
	scope, err := r.scopeFor(ctx, requestOf(e).InsuplcAdmdvs)
	if err != nil {
		return err
	}
	full, there, err := r.booked(ctx, scope, e.PsnNo, e.SetlID, d.MdtrtID)
	switch {
	case err != nil:
		return err
	case there && (d.Finding != FoundAnothers || d.MsgID == e.MsgID || string(full.info.MedinsSetlID) != d.MsgID):
		return fmt.Errorf("5203 knows the settlement: %w", ErrReconcileRow)
	}
	x.Refund, err = r.journal.markNotBooked(ctx, e, evidence(report, d, o), o)
	return err
}

// evidence is what an entry that nothing was sent for keeps as its request.
func evidence(report Report, d *Difference, o Order) map[string]any {
	return map[string]any{"source": "3202", "period": report.Period, "report": report.ID, "row": d.N, "difference": d, "order": o}
}

// executeRefund writes a settlement down that only the centre has, and takes it
// back there like any other.
func (r *Reconciler) executeRefund(ctx context.Context, report Report, d *Difference, x *Execution, o Order) error {
	if d.Theirs == nil {
		return ErrReconcileRow
	}
	if d.Finding == FoundTwice && d.Answered == "" {
		// Of a report from before it was asked what the centre has for the other number.
		return fmt.Errorf("compare again: %w", ErrReconcileRow)
	}
	adopted, err := r.journal.ByMsgID(ctx, adoptedMsgID(d.SetlID))
	if errors.Is(err, ErrEntryUnknown) {
		adopted, err = r.adopt(ctx, report, d, o)
	}
	if err != nil {
		return err
	}
	x.Entry = adopted.ID
	scope, err := r.scope(ctx)
	if err != nil {
		return err
	}
	scope.InsuplcAdmdvs = o.InsuplcAdmdvs // "": as it was written down
	refund, err := r.settler.Refund(ctx, Refunding{Entry: adopted.ID, Scope: scope, MdtrtID: d.MdtrtID})
	x.Refund = refund.EntryID
	if errors.Is(err, ErrRefunded) {
		e, err := r.journal.Get(ctx, adopted.ID)
		x.Refund = e.ReversedBy
		return err
	}
	return err
}

// adopt writes down, as done, a settlement that only the centre has.
func (r *Reconciler) adopt(ctx context.Context, report Report, d *Difference, o Order) (Entry, error) {
	infno, insuplc := settledBy(d.ClrType), o.InsuplcAdmdvs
	insutype := ""
	if d.Entry != 0 {
		e, err := r.journal.Get(ctx, d.Entry)
		if err != nil {
			return Entry{}, err
		}
		infno = nationalInfno(e.Infno)
		insutype, _ = sentInsurance(e.Request)
		if insuplc == "" {
			insuplc = requestOf(e).InsuplcAdmdvs
		}
	}
	scope, err := r.scopeFor(ctx, insuplc)
	if err != nil {
		return Entry{}, err
	}
	full, ok, err := r.booked(ctx, scope, d.PsnNo, d.SetlID, d.MdtrtID)
	if err != nil {
		return Entry{}, err
	}
	amounts := Amounts{d.Theirs.Total, d.Theirs.Fund, d.Theirs.Account, d.Theirs.Total - d.Theirs.Fund - d.Theirs.Account}
	var answer []byte
	if ok {
		if (RowAmounts{full.amounts.Total, full.amounts.Fund, full.amounts.Account}) != *d.Theirs {
			return Entry{}, fmt.Errorf("3202 and 5203 do not agree: %w", ErrMismatch)
		}
		amounts, answer = full.amounts, full.raw
		insutype = firstText(full.info.Insutype, Text(insutype))
	}
	d.Insutype = insutype
	request := evidence(report, d, o)
	// As the settlement's own request would have: its refund reads them there.
	request["infno"], request["insuplc_admdvs"] = infno, scope.InsuplcAdmdvs
	request["input"] = map[string]any{"data": map[string]string{"insutype": insutype}}
	return r.journal.adopt(ctx, Entry{
		Visit: adoptedMsgID(d.SetlID), Infno: infno, MsgID: adoptedMsgID(d.SetlID), Agreed: amounts,
		MdtrtID: d.MdtrtID, PsnNo: d.PsnNo, Holder: d.Holder, SetlID: d.SetlID, Answer: answer,
	}, request, o)
}

// settledBy is the transaction that usually books a kind of clearing.
func settledBy(clrType string) string {
	switch clrType {
	case "41":
		return "2102"
	case "21", "22", "27", "28":
		return "2304"
	}
	return "2207"
}

// adoptedMsgID is the message number of an entry that was written down for a
// settlement that only the centre had. The centre's own number may be in the
// journal already, of an entry that was refused here.
func adoptedMsgID(setlID string) string { return "setl_id " + setlID }

// adopt writes an entry down that is done upstream, in one commit, by the
// decision of a person.
func (j *Journal) adopt(ctx context.Context, e Entry, request map[string]any, o Order) (Entry, error) {
	c := Conclusion{Outcome: Done, SetlID: e.SetlID, Booked: &e.Agreed, Answer: e.Answer, Note: "only upstream had it"}
	id, err := j.decided(ctx, e, request, c, o)
	if err != nil {
		return Entry{}, fmt.Errorf("adopt: %w", err)
	}
	return j.Get(ctx, id)
}

// markNotBooked writes down, in one commit, that an entry that is done here is
// not booked upstream: an entry that takes it back and is sent nowhere. Then
// the visit can be settled anew.
func (j *Journal) markNotBooked(ctx context.Context, e Entry, request map[string]any, o Order) (int64, error) {
	msgid := "not booked " + e.MsgID
	done, err := j.ByMsgID(ctx, msgid)
	if err == nil {
		return done.ID, nil
	}
	if !errors.Is(err, ErrEntryUnknown) {
		return 0, err
	}
	opposite := e.opposite()
	c := Conclusion{Outcome: Done, SetlID: e.SetlID, Note: "upstream never had it"}
	if opposite.Total != 0 {
		c.Booked = &opposite
	}
	id, err := j.decided(ctx, Entry{
		Visit: e.Visit, Infno: infnoNotBooked, MsgID: msgid, Undoes: e.ID, Agreed: opposite, MdtrtID: e.MdtrtID, PsnNo: e.PsnNo, Holder: e.Holder,
	}, request, c, o)
	if err != nil {
		return 0, fmt.Errorf("mark entry %d as not booked: %w", e.ID, err)
	}
	return id, nil
}

// decided writes an entry down and concludes it as a person decided, in one
// commit.
func (j *Journal) decided(ctx context.Context, e Entry, request map[string]any, c Conclusion, o Order) (id int64, err error) {
	if e.Request, err = json.Marshal(request); err != nil {
		return 0, err
	}
	s := j.sent(e)
	by := &Decision{At: milli(j.now().UnixMilli()), Who: o.Who, Reason: o.Reason}
	if len(c.Answer) > maxAnswer {
		c.Answer = nil
	}
	err = j.commit(ctx, func(ctx context.Context, b *batch) error {
		s.id = 0 // of a transaction that was rolled back
		if err := b.intend(ctx, &s); err != nil {
			return err
		}
		by.EntryID = s.id
		at := by.At.UnixMilli()
		err := b.conclude(ctx, conclusion{s.id, at, Conclusion{Outcome: Unknown}}, nil)
		if err == nil {
			err = b.conclude(ctx, conclusion{s.id, at, c}, by)
		}
		if err != nil && !errors.Is(err, ErrJournalUnavailable) {
			// Half of it must not stay: the whole batch is rolled back.
			err = errors.Join(err, ErrJournalUnavailable)
		}
		return err
	})
	return s.id, err
}
