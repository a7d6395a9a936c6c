package terminal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"onecard/settlement"
)

// restore brings back the visits of an earlier run. What the journal says of
// their settlements counts, whatever state they were left in.
func (v *visits) restore(ctx context.Context) error {
	if v.svc.parts.Journal == nil {
		return nil
	}
	list, err := v.svc.parts.Journal.Visits().List(ctx, "", restoredVisits)
	if err != nil {
		return err
	}
	doubtful, err := v.svc.parts.Journal.Visits().List(ctx, VisitUnknown, keptVisits)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	// The oldest first, so that the last to be shown is the latest.
	for _, stored := range slices.Backward(append(list, doubtful...)) {
		one := v.byID[stored.ID]
		if one == nil {
			if one, err = v.load(ctx, stored); err != nil {
				return err
			}
			v.byID[one.rec.ID] = one
		}
		if one.rec.State != VisitClosed && !one.rec.Dismissed && !one.rec.SetAside {
			v.latest = one
		}
	}
	return nil
}

// load reads one stored visit and asks the journal what became of it.
func (v *visits) load(ctx context.Context, stored settlement.Visit) (*visit, error) {
	one := &visit{stored: stored}
	if err := json.Unmarshal(stored.Body, &one.rec); err != nil {
		return nil, fmt.Errorf("visit of an earlier run: %w", settlement.ErrJournalForeign)
	}
	one.rec.placed()
	j := v.svc.parts.Journal
	adopt := func(id int64) (settlement.Entry, error) {
		e, err := j.Get(ctx, id)
		if err == nil {
			one.rec.adopt(v.svc, e)
		}
		return e, err
	}
	// What the visit knew of last, what took that back, and what it did not live
	// to know.
	if known := one.rec.Journal; known != 0 {
		e, err := adopt(known)
		if err == nil && e.ReversedBy != 0 {
			_, err = adopt(e.ReversedBy)
		}
		if err != nil {
			return nil, err
		}
	}
	standing, err := j.Standing(ctx, stored.ID)
	if err != nil {
		return nil, err
	}
	for _, e := range standing {
		if _, err := adopt(e.ID); err != nil {
			return nil, err
		}
	}
	return one, nil
}

// adopt makes the record say what an entry of the journal says. It may be told
// the same more than once.
func (r *record) adopt(s *Service, e settlement.Entry) {
	if e.Undoes != 0 {
		r.adoptUndoing(s, e)
		return
	}
	switch e.Outcome {
	case settlement.Done:
		if e.ReversedBy != 0 {
			return // what took it back says the rest
		}
		r.Fault, r.Journal = nil, e.ID
		r.place(settlement.StateSettled)
		if r.Receipt == nil {
			if r.MdtrtID == "" {
				r.MdtrtID = string(answered(e.Answer).MdtrtID) // of a sale
			}
			r.Receipt = s.receipt(r, e.MsgID, e.SetlID, settlement.FormatTime(e.ClosedAt),
				settlement.Amounts{Total: e.Total, Fund: e.Fund, Account: e.Account, Cash: e.Cash}, answered(e.Answer))
			r.Receipt.Differs = r.Trial != nil && (r.Receipt.Cash != r.Trial.Cash || r.Receipt.Account != r.Trial.Account)
		}
	case settlement.Unknown, settlement.Intended:
		r.Receipt, r.Journal, r.Fault = nil, e.ID, doubtOf(e)
		r.place(settlement.StateUnknown)
	case settlement.Refused:
		if r.State == VisitUnknown || r.State == VisitSettling {
			// Nothing is booked: the payer may agree once more.
			r.Receipt, r.Fault, r.Journal = nil, nil, e.ID
			r.place(settlement.StateTried)
		}
		if e.Fault != "" && r.Journal == e.ID {
			r.Fault = entryFault(e)
		}
	}
}

// adoptUndoing is adopt for an entry that takes a settlement back. A reversal
// (2601) in doubt leaves the settlement in doubt that it was for, and one that
// is done closed it: that entry says what the visit needs to know.
func (r *record) adoptUndoing(s *Service, e settlement.Entry) {
	if _, refund := refundOf(e.Infno); !refund {
		if e.Outcome == settlement.Done && r.Journal == e.Undoes && r.State == VisitUnknown {
			r.Receipt, r.Fault = nil, nil
			r.place(settlement.StateTried)
		}
		return
	}
	switch e.Outcome {
	case settlement.Done:
		if !r.refunded(e.ID) {
			r.takenBack(s.refundDocument(r, e, answered(e.Answer)))
		}
	case settlement.Unknown, settlement.Intended:
		r.Journal, r.Fault = e.ID, doubtOf(e)
		r.place(settlement.StateRefundDoubt)
	case settlement.Refused:
		if r.Journal != e.ID || !r.Undoing {
			return
		}
		// The settlement stands.
		r.Journal, r.Fault = e.Undoes, nil
		r.place(settlement.StateSettled)
		if e.Fault != "" {
			r.Fault = entryFault(e)
		}
	}
}

// doubtOf says why an entry is in doubt.
func doubtOf(e settlement.Entry) *Fault {
	if e.Fault != "" {
		return entryFault(e)
	}
	return Explain(settlement.ErrAnswerLost)
}

// answered reads setlinfo out of an answer that was kept.
func answered(answer []byte) settlement.SetlInfo {
	var out struct {
		Output settlement.Settlement `json:"output"`
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return settlement.SetlInfo{} // the amounts are in the entry itself
	}
	return out.Output.SetlInfo.Value
}

// learn brings the visits in doubt into line with the journal, where it has an
// outcome for them meanwhile.
func (v *visits) learn(ctx context.Context) {
	v.mu.Lock()
	var doubtful []*visit
	for _, one := range v.byID {
		if one.record().State == VisitUnknown {
			doubtful = append(doubtful, one)
		}
	}
	v.mu.Unlock()
	for _, one := range doubtful {
		id := one.record().Journal
		e, err := v.svc.parts.Journal.Get(ctx, id)
		if err != nil {
			v.svc.parts.Log.WithError(err).WithField("entry", id).Debug("the entry of a visit in doubt cannot be read")
			continue
		}
		// The lock is taken only where there is something to say: a clerk who
		// does anything with the visit must not find it busy.
		if e.Outcome != settlement.Done && e.Outcome != settlement.Refused || !one.step.TryLock() {
			continue
		}
		one.mu.Lock()
		learned := one.rec.State == VisitUnknown && one.rec.Journal == id
		if learned {
			one.rec.adopt(v.svc, e)
		}
		one.mu.Unlock()
		// Before it is shown and stored: who sees it may go on at once.
		one.step.Unlock()
		if !learned {
			continue
		}
		v.svc.pub.changed()
		if err := v.store(ctx, one); err != nil {
			v.svc.parts.Log.WithError(err).Warning("a visit that was in doubt could not be stored")
		}
	}
}

// inDoubt returns the journal entry of a settlement of this person whose outcome
// is unknown, 0 where there is none among the visits that are remembered.
func (v *visits) inDoubt(psnNo string) int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, one := range v.byID {
		if r := one.record(); r.State == VisitUnknown && r.PsnNo == psnNo {
			return r.Journal
		}
	}
	return 0
}
