package terminal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"onecard/fault"
	"onecard/settlement"
)

// maxReason bounds the reason of a refund, in characters.
const maxReason = 200

// A RefundRequest takes a settlement back, all of it. Entry is its number in
// the journal: asking twice for the same one gives the same refund, while a
// visit may have been settled again meanwhile.
type RefundRequest struct {
	Entry  int64  `json:"entry"`
	Reason string `json:"reason,omitempty"` // for the receipt; at most 200 characters
}

// A RefundReason is the body of a refund by the number of the journal's entry.
type RefundReason struct {
	Reason string `json:"reason,omitempty"`
}

// A Refund is a settlement that was taken back. Its amounts are negative: what
// goes back to fund, account and payer. It exists only where the answer was
// checked against the settlement.
type Refund struct {
	Journal     int64       `json:"journal"`
	Refunds     int64       `json:"refunds"` // the journal entry that was taken back
	Visit       string      `json:"visit"`
	Kind        string      `json:"kind,omitempty"`
	MdtrtID     string      `json:"mdtrt_id"`
	Settlement  string      `json:"settlement_id"` // setl_id of the refund
	Refunded    string      `json:"refunded_id"`   // setl_id of what was taken back
	Time        string      `json:"time"`          // setl_time as the centre gave it
	MsgID       string      `json:"msgid"`
	Reason      string      `json:"reason,omitempty"`
	Institution Institution `json:"institution"`
	Operator    Operator    `json:"operator"`
	Holder      VisitHolder `json:"holder"`
	Warning     string      `json:"warning,omitempty"` // warn_msg, the centre's words
	Split
}

// refundOf names the transaction that a refund of that number takes back; ok is
// false where infno is no refund.
func refundOf(infno string) (settled string, ok bool) {
	for _, settled := range []string{"2207", "2304", "2102"} {
		if refund, _ := settlement.RefundInfno(settled); refund == infno {
			return settled, true
		}
	}
	return "", false
}

// Refund takes the settlement of a journal entry back: 2208, 2305 or 2103,
// through the journal. Afterwards the visit is where it was before its trial: it
// can be settled again with other lines, which is how a part is refunded, or
// given up. visit may be empty; otherwise the entry must be of that visit. A
// settlement that was taken back already is not sent again: the same refund is
// returned. A refund of unknown outcome blocks the visit until somebody has
// looked it up, as an unknown settlement does.
func (s *Service) Refund(ctx context.Context, visit string, req RefundRequest) (Refund, error) {
	if err := s.canSettle(); err != nil {
		return Refund{}, err
	}
	if err := s.may(RightRefund); err != nil {
		return Refund{}, err
	}
	switch {
	case req.Entry <= 0:
		return Refund{}, detailed{errFieldMissing, "entry"}
	case utf8.RuneCountInString(req.Reason) > maxReason || !utf8.ValidString(req.Reason):
		return Refund{}, detailed{ErrBody, fmt.Sprintf("reason has at most %d characters", maxReason)}
	}
	e, err := s.parts.Journal.Get(ctx, req.Entry)
	if err != nil {
		return Refund{}, err
	}
	if visit != "" && e.Visit != visit {
		return Refund{}, detailed{ErrEntryUnknown, "of this visit"}
	}
	one, err := s.visits.find(ctx, e.Visit)
	if errors.Is(err, settlement.ErrVisitUnknown) {
		// Forgotten by the retention: its entry has what a refund needs.
		return s.refundEntry(ctx, e, req)
	}
	if err != nil {
		return Refund{}, err
	}
	if !one.step.TryLock() {
		return Refund{}, settlement.ErrInProgress
	}
	defer one.step.Unlock()
	if e, err = s.parts.Journal.Get(ctx, req.Entry); err != nil { // as it is now that nothing else is under way
		return Refund{}, err
	}
	if e.ReversedBy != 0 {
		return s.refundedBefore(ctx, one, e)
	}
	r := one.record()
	switch {
	case r.State == VisitUnknown:
		return Refund{}, ErrUnresolved
	case r.State != VisitSettled || r.Journal != e.ID:
		return Refund{}, detailed{ErrVisitState, "state " + r.State}
	}
	scope, err := s.scope(ctx, r)
	if err != nil {
		return Refund{}, s.visits.stumbled(one, err)
	}
	s.visits.update(one, func(r *record) {
		r.Fault, r.Reason = nil, req.Reason
		r.place(settlement.StateRefunding)
	})
	refund, err := s.takeBack(ctx, e, settlement.Refunding{Entry: e.ID, Scope: scope, MdtrtID: r.MdtrtID})
	if err != nil {
		return Refund{}, s.notRefunded(ctx, one, e, err)
	}
	doc := s.refundDocument(&r, settlement.Entry{ID: refund.EntryID, Undoes: e.ID, MsgID: refund.MsgID, SetlID: refund.SetlID}, refund.Detail.SetlInfo.Value)
	doc.Split, doc.Refunded, doc.Reason, doc.Warning = splitDocument(refund.Amounts, refund.Detail.SetlInfo.Value), e.SetlID, req.Reason, refund.Warning
	if refund.SetlTime != "" {
		doc.Time = refund.SetlTime
	}
	shown := s.visits.shows(one)
	s.visits.update(one, func(r *record) {
		r.takenBack(doc)
		// Who is at the desk now is not disturbed: the visit waits until it is resumed.
		r.SetAside, r.Dismissed = !shown, false
	})
	if err := s.visits.store(ctx, one); err != nil {
		s.parts.Log.WithError(err).Error("the refunded visit could not be stored; the journal has its refund")
	}
	s.countDay(ctx)
	return doc, nil
}

// takeBack sends the refund and logs what came of it.
func (s *Service) takeBack(ctx context.Context, e settlement.Entry, in settlement.Refunding) (settlement.Refund, error) {
	refund, err := settlement.NewSettler(s.parts.Upstream, s.parts.Journal).Refund(ctx, in)
	log := s.parts.Log.WithFields(map[string]any{"audit": "refund", "visit": e.Visit, "refunds": e.ID, "operator": s.cfg.Operator.No})
	if err != nil {
		s.upstreamFailed(err)
		if errors.Is(err, settlement.ErrJournalUnavailable) {
			s.health.set(HealthJournal, err)
		}
		log.WithField("outcome", settlement.OutcomeOf(err)).WithField("code", fault.Of(err).Code).Warning("refund")
		return refund, err
	}
	s.upstreamWell()
	log.WithField("outcome", settlement.Done).WithField("entry", refund.EntryID).Info("refund")
	return refund, nil
}

// notRefunded publishes what is known of a refund that did not end well.
func (s *Service) notRefunded(ctx context.Context, one *visit, settled settlement.Entry, err error) error {
	pending, open, jerr := s.parts.Journal.Unresolved(ctx, settled.Visit)
	s.visits.update(one, func(r *record) {
		if settlement.OutcomeOf(err) == settlement.Unknown || open || jerr != nil {
			err = &inDoubt{err, pending.ID}
			r.Fault = Explain(err)
			if open {
				r.Journal = pending.ID
			}
			r.place(settlement.StateRefundDoubt)
			return
		}
		r.Fault = Explain(err)
		r.place(settlement.StateSettled)
	})
	if serr := s.visits.store(ctx, one); serr != nil {
		s.parts.Log.WithError(serr).Error("the visit could not be stored; the journal has its refund")
	}
	s.countDay(ctx)
	return err
}

// refundedBefore returns the refund that took an entry back.
func (s *Service) refundedBefore(ctx context.Context, one *visit, settled settlement.Entry) (Refund, error) {
	r := one.record()
	for _, f := range r.Refunds {
		if f.Journal == settled.ReversedBy {
			return f, nil
		}
	}
	return s.refundByJournal(ctx, &r, settled)
}

// refundByJournal makes the document of a refund from what the journal keeps. A
// settlement in doubt that was reversed (2601) was never refunded.
func (s *Service) refundByJournal(ctx context.Context, r *record, settled settlement.Entry) (Refund, error) {
	by, err := s.parts.Journal.Get(ctx, settled.ReversedBy)
	if err != nil {
		return Refund{}, err
	}
	if _, refund := refundOf(by.Infno); !refund {
		return Refund{}, settlement.ErrRefunded
	}
	doc := s.refundDocument(r, by, answered(by.Answer))
	doc.Refunded = settled.SetlID
	return doc, nil
}

// refundEntry takes back the settlement of a visit that is no longer kept.
func (s *Service) refundEntry(ctx context.Context, e settlement.Entry, req RefundRequest) (Refund, error) {
	r := record{Visit: Visit{ID: e.Visit, MdtrtID: e.MdtrtID, Holder: VisitHolder{e.Holder}}, Reason: req.Reason}
	if e.ReversedBy != 0 {
		return s.refundByJournal(ctx, &r, e)
	}
	signNo, _, err := s.signNo(ctx, false)
	if err != nil {
		return Refund{}, harmless(err)
	}
	refund, err := s.takeBack(ctx, e, settlement.Refunding{Entry: e.ID, Scope: settlement.Scope{SignNo: signNo}})
	s.countDay(ctx)
	if err != nil {
		if pending, open, jerr := s.parts.Journal.Unresolved(ctx, e.Visit); settlement.OutcomeOf(err) == settlement.Unknown || open || jerr != nil {
			err = &inDoubt{err, pending.ID}
		}
		return Refund{}, err
	}
	by, err := s.parts.Journal.Get(ctx, refund.EntryID)
	if err != nil {
		return Refund{}, err
	}
	doc := s.refundDocument(&r, by, refund.Detail.SetlInfo.Value)
	doc.Refunded, doc.Warning = e.SetlID, refund.Warning
	return doc, nil
}

// refundDocument is the refund of a journal entry as people see it.
func (s *Service) refundDocument(r *record, e settlement.Entry, i settlement.SetlInfo) Refund {
	doc := Refund{
		Journal: e.ID, Refunds: e.Undoes, Visit: r.ID, Kind: r.Kind, MdtrtID: r.MdtrtID,
		Settlement: e.SetlID, Time: string(i.SetlTime), MsgID: e.MsgID, Reason: r.Reason,
		Institution: s.institution(), Operator: s.operator(), Holder: r.Holder,
		Split: splitDocument(settlement.Amounts{Total: e.Total, Fund: e.Fund, Account: e.Account, Cash: e.Cash}, i),
	}
	if doc.Time == "" && !e.ClosedAt.IsZero() {
		doc.Time = settlement.FormatTime(e.ClosedAt)
	}
	if r.Receipt != nil {
		doc.Refunded = r.Receipt.SettlementID
	}
	return doc
}

// refunded reports whether the record knows of a refund.
func (r *record) refunded(entry int64) bool {
	return slices.ContainsFunc(r.Refunds, func(f Refund) bool { return f.Journal == entry })
}

// takenBack puts the visit where it was before its trial: what it was settled
// for is not owed any more, and its lines are still with the centre.
func (r *record) takenBack(f Refund) {
	r.Refunds = append(slices.Clone(r.Refunds), f)
	r.Reason, r.Journal, r.Trial, r.Receipt, r.Fault = "", 0, nil, nil, nil
	r.place(settlement.StateRefunded)
	if r.Kind == KindPharmacy {
		r.MdtrtID = "" // another sale is another visit of the centre
		r.place(settlement.StateLines)
	}
}
