package settlement

import (
	"context"
	"errors"
	"fmt"

	"onecard/fault"
)

// A Late answer came after its time-out: Err and Answer are as [Client.Do] would
// have returned them.
type Late struct {
	Infno, MsgID string
	Answer       Answer
	Err          error
}

// maxLate bounds the answers that wait to be looked at.
const maxLate = 256

// Late takes an answer that came after its time-out. It is matched by its
// message number and concludes the entry; where the entry is closed otherwise it
// goes to a person.
func (r *Resolver) Late(l Late) {
	r.mu.Lock()
	if len(r.late) < maxLate {
		r.late = append(r.late, l)
	}
	r.mu.Unlock()
	r.Wake()
}

// takeLate looks at the late answers. waiting says that one has to wait until
// its entry is no more on its way.
func (r *Resolver) takeLate(ctx context.Context) (waiting bool, err error) {
	r.mu.Lock()
	list := r.late
	r.late = nil
	r.mu.Unlock()
	for i, l := range list {
		again, err := r.match(ctx, l)
		if err != nil {
			r.mu.Lock()
			r.late = append(list[i:], r.late...)
			r.mu.Unlock()
			return true, err
		}
		if again {
			r.mu.Lock()
			r.late = append(r.late, l)
			r.mu.Unlock()
			waiting = true
		}
	}
	return waiting, nil
}

// match brings one late answer together with its entry.
func (r *Resolver) match(ctx context.Context, l Late) (again bool, err error) {
	e, err := r.cfg.Journal.ByMsgID(ctx, l.MsgID)
	switch {
	case errors.Is(err, ErrEntryUnknown):
		return false, nil // of a call that is no entry
	case err != nil:
		return false, err
	case e.Outcome == Intended:
		return true, nil // its sender is about to write its doubt down
	case !r.begin(e.ID):
		return true, nil
	}
	res, known, err := r.take(ctx, e.ID, l)
	r.end(e.ID) // before anybody is told: who is may ask again at once
	switch {
	case err != nil:
		return false, err
	case known:
		r.cfg.Told(res)
	default:
		r.Wake() // no better than none; but upstream answers
	}
	return false, nil
}

// take concludes an entry by a late answer; known is false where that says
// nothing.
func (r *Resolver) take(ctx context.Context, id int64, l Late) (res Resolution, known bool, err error) {
	e, err := r.cfg.Journal.Get(ctx, id)
	if err != nil {
		return res, false, err
	}
	c, known := lateConclusion(e, l)
	if !known {
		return res, false, nil
	}
	asked := Asked{Infno: e.Infno, At: r.cfg.Now(), Found: SaidLate, Fault: c.Fault, SetlID: c.SetlID}
	if c.Booked != nil {
		asked.Total = &c.Booked.Total
	}
	if res, err = r.conclude(ctx, e, c, []Asked{asked}); err != nil {
		return res, false, fmt.Errorf("late answer: %w", err)
	}
	return res, true, nil
}

// conclude closes an entry by a late answer.
func (r *Resolver) conclude(ctx context.Context, e Entry, c Conclusion, asked []Asked) (Resolution, error) {
	if e.Outcome != Unknown {
		return r.afterwards(ctx, e.ID, c, asked)
	}
	a := Attempt{Entry: e.ID, At: r.cfg.Now(), Finding: AttemptFinding{Verdict: VerdictNever, Asked: asked}}
	a.Next = a.At.Add(r.cfg.Patience.interval(0)) // where the conclusion cannot be written
	if c.Outcome == Done {
		a.Finding.Verdict = VerdictBooked
	}
	a, err := r.cfg.Journal.addAttempt(ctx, a)
	if err != nil {
		return Resolution{}, err
	}
	err = r.cfg.Journal.Conclude(ctx, e.ID, c)
	if errors.Is(err, ErrEntryClosed) {
		return r.afterwards(ctx, e.ID, c, asked)
	}
	return Resolution{Entry: e.ID, Outcome: c.Outcome, Attempt: a}, err
}

// afterwards holds what upstream says against an entry that was closed
// meanwhile. Where they agree, or 2601 took it back, nothing is to be said;
// otherwise a person must see to it.
func (r *Resolver) afterwards(ctx context.Context, id int64, c Conclusion, asked []Asked) (Resolution, error) {
	e, err := r.cfg.Journal.Get(ctx, id)
	if err != nil {
		return Resolution{}, err
	}
	res := Resolution{Entry: id, Outcome: e.Outcome}
	if e.Outcome == c.Outcome && (c.Outcome != Done || e.SetlID == c.SetlID) || e.ReversedBy != 0 && c.Outcome == Done {
		return res, nil
	}
	f := AttemptFinding{Verdict: VerdictContradicted, Reason: ReasonLateOther, Asked: asked}
	if c.Outcome == Done && e.Outcome == Refused {
		f.Reason = ReasonLateBooked
	}
	if n := len(f.Asked); n == 0 || f.Asked[n-1].SetlID == "" {
		f.Asked = append(f.Asked, Asked{Infno: e.Infno, At: r.cfg.Now(), Found: SaidNothing, SetlID: c.SetlID})
	}
	res.Attempt, err = r.cfg.Journal.addAttempt(ctx, Attempt{Entry: id, At: r.cfg.Now(), Finding: f})
	res.Contradicts = err == nil
	return res, err
}

// lateConclusion is what a late answer says of an entry; known is false where it
// says nothing that can be relied on.
func lateConclusion(e Entry, l Late) (c Conclusion, known bool) {
	const note = "the answer came late"
	var words *RefusedError
	if errors.As(l.Err, &words) {
		return Conclusion{Outcome: Refused, Fault: words.Code(), Message: words.Message, Note: note, Answer: l.Answer.Raw}, true
	}
	if l.Err != nil {
		return c, false
	}
	if e.Infno == infnoReversal { // it answers nothing that names it
		return Conclusion{Outcome: Done, SetlID: e.MsgID, Booked: &e.Agreed, Note: note, Answer: l.Answer.Raw}, true
	}
	out, err := readSettlement(l.Answer)
	if err != nil {
		return c, false
	}
	i := out.SetlInfo.Value
	a, err := i.Amounts()
	if err != nil || i.SetlID == "" || len(i.SetlID) > 30 || string(i.MedinsSetlID) != e.MsgID || string(i.PsnNo) != e.PsnNo ||
		e.MdtrtID != "" && string(i.MdtrtID) != e.MdtrtID || a.Total != e.Agreed.Total {
		return c, false
	}
	return Conclusion{Outcome: Done, SetlID: string(i.SetlID), Booked: &a, Note: note, Answer: l.Answer.Raw}, true
}

// recheck asks upstream about a closed entry that a late answer contradicts:
// what it no longer has, or took back, contradicts nothing any more.
func (r *Resolver) recheck(ctx context.Context, e Entry, by string) (Resolution, error) {
	list, err := r.cfg.Journal.Contradicted(ctx)
	if err != nil {
		return Resolution{}, err
	}
	for _, id := range list {
		if id != e.ID {
			continue
		}
		return r.contradiction(ctx, e, by)
	}
	return Resolution{}, ErrEntryClosed
}

func (r *Resolver) contradiction(ctx context.Context, e Entry, by string) (Resolution, error) {
	attempts, err := r.cfg.Journal.Attempts(ctx, e.ID)
	if err != nil {
		return Resolution{}, err
	}
	setlID, last := "", Reason("")
	for _, a := range attempts {
		if a.Finding.Verdict != VerdictContradicted {
			continue
		}
		last = a.Finding.Reason
		for _, asked := range a.Finding.Asked {
			if asked.SetlID != "" {
				setlID = asked.SetlID
			}
		}
	}
	q := &inquiry{r: r, entry: e, at: r.cfg.Now(), excluded: make(map[string]bool)}
	a := Attempt{Entry: e.ID, At: q.at, Finding: AttemptFinding{Verdict: VerdictContradicted, Reason: last, By: by}}
	if setlID != "" && q.honours(infnoSettlementQuery) {
		if err := q.prepare(ctx); err != nil {
			return Resolution{}, err
		}
		if x, ok := q.settlement(ctx, setlID, e.MdtrtID); !q.down && ok {
			if e.Outcome == Refused && x.refund == "1" {
				q.note(infnoSettlementQuery, SaidTakenBack, ofSettlement(setlID, x.info.MedfeeSumamt))
				a.Finding.Verdict, a.Finding.Reason = VerdictAcknowledged, ReasonTakenBack
			} else {
				q.note(infnoSettlementQuery, SaidStands, ofSettlement(setlID, x.info.MedfeeSumamt))
			}
		}
	}
	a.Finding.Asked = q.asked
	if a, err = r.cfg.Journal.addAttempt(ctx, a); err != nil {
		return Resolution{}, err
	}
	return Resolution{Entry: e.ID, Outcome: e.Outcome, Attempt: a, Contradicts: a.Finding.Verdict == VerdictContradicted}, nil
}

// Acknowledge closes a contradiction because a person has seen to it: who that
// was, and what was done, is kept with the attempts. An entry that nothing
// contradicts is ErrEntryClosed.
func (r *Resolver) Acknowledge(ctx context.Context, id int64, who, reason string) error {
	if err := checkDecision(who, reason); err != nil {
		return fmt.Errorf("acknowledge entry %d: %w", id, err)
	}
	list, err := r.cfg.Journal.Contradicted(ctx)
	if err != nil {
		return fmt.Errorf("acknowledge entry %d: %w", id, err)
	}
	for _, other := range list {
		if other == id {
			_, err := r.cfg.Journal.addAttempt(ctx, Attempt{Entry: id, At: r.cfg.Now(), Finding: AttemptFinding{Verdict: VerdictAcknowledged, By: who + ": " + reason}})
			if err != nil {
				return fmt.Errorf("acknowledge entry %d: %w", id, err)
			}
			return nil
		}
	}
	return fmt.Errorf("acknowledge entry %d: %w", id, ErrEntryClosed)
}

// ErrLateContradicts is an answer that came late and contradicts an entry that
// is closed (OC-2322): a person must see to it.
var ErrLateContradicts = fault.New(fault.LateContradicts, "an answer came late and says otherwise")
