package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"onecard/fault"
)

// decide asks in the region's order until something decides. Its error is the
// journal's, or that of a context that ended.
func (q *inquiry) decide(ctx context.Context) (decision, error) {
	e := q.entry
	if _, waits, err := q.r.cfg.Journal.undoing(ctx, e.ID); err != nil {
		return decision{}, err
	} else if waits {
		// Whether it was taken back decides it, too.
		return undecided(ReasonWaits), nil
	}
	settled, original, err := q.settledBy(ctx)
	if err != nil {
		return decision{}, err
	}
	if err := q.prepare(ctx); err != nil {
		return decision{}, err
	}
	var stands, gone bool // of a refund's settlement
	var list listing
	for _, infno := range q.r.cfg.Lookup.Order {
		if q.down {
			break
		}
		var found []candidate
		switch infno {
		case infnoSettlementQuery:
			if e.SetlID != "" || e.Undoes == 0 && e.MdtrtID != "" {
				// Without the number a few regions find it by the visit; where the
				// tables say otherwise it is not sent.
				found = []candidate{{setlID: e.SetlID}}
			}
			if original != nil && original.SetlID != "" {
				stands, gone = q.original(ctx, *original)
			}
		case infnoVisitQuery:
			if e.Undoes == 0 {
				found = q.visits(ctx)
			}
		case infnoLineQuery:
			if e.Undoes == 0 {
				found = q.lines(ctx)
			}
		case infnoStatement:
			if settled == "" {
				q.note(infno, SaidNotAsked)
				continue
			}
			if list, err = q.statement(ctx, settled); err != nil {
				return decision{}, err
			}
			if len(list.hits) > 1 {
				q.note(infno, SaidTwice)
				return toPerson(ReasonTwice), nil
			}
			for _, row := range append(list.hits, list.maybe...) {
				found = append(found, candidate{row.SetlID, &row})
			}
		}
		for _, c := range found {
			if d, certain := q.look(ctx, c, list); certain {
				return d, nil
			}
		}
	}
	switch {
	case ctx.Err() != nil:
		return decision{}, ctx.Err()
	case q.down:
		return undecided(ReasonLine), nil
	case len(list.hits) > 0 || !q.others(list.maybe):
		return undecided(ReasonSilent), nil // it may be there, and what it is cannot be seen
	case list.whole:
		return q.absent(list, stands, gone), nil
	}
	if e.Undoes != 0 {
		return undecided(ReasonNotRefund), nil
	}
	return q.reverse(ctx)
}

// settledBy says under what kind of settlement a statement lists the entry, and
// returns the one that it takes back.
func (q *inquiry) settledBy(ctx context.Context) (infno string, original *Entry, err error) {
	e := q.entry
	if e.Undoes == 0 {
		if _, ok := RefundInfno(e.Infno); !ok {
			return "", nil, nil
		}
		return nationalInfno(e.Infno), nil, nil
	}
	o, err := q.r.cfg.Journal.Get(ctx, e.Undoes)
	if err != nil {
		return "", nil, err
	}
	return nationalInfno(o.Infno), &o, nil
}

// original asks of what a refund takes back whether it stands.
func (q *inquiry) original(ctx context.Context, o Entry) (stands, gone bool) {
	mdtrtID := o.MdtrtID
	if mdtrtID == "" {
		mdtrtID = q.entry.MdtrtID // a sale learns of its visit with its answer
	}
	x, ok := q.settlement(ctx, o.SetlID, mdtrtID)
	if !ok || differs(x.info.SetlID, o.SetlID) || string(x.info.MedinsSetlID) != o.MsgID {
		return false, false
	}
	if x.refund == "1" {
		q.note(infnoSettlementQuery, SaidTakenBack, ofSettlement(o.SetlID, NullFen{}))
		return false, true
	}
	if x.refund != "0" {
		return false, false
	}
	q.note(infnoSettlementQuery, SaidStands, ofSettlement(o.SetlID, NullFen{}))
	return true, false
}

// others says whether 5203 told of every row that it is another's.
func (q *inquiry) others(rows []ResultRow) bool {
	return !slices.ContainsFunc(rows, func(row ResultRow) bool { return !q.excluded[row.SetlID] })
}

// isListed says whether a settlement is one of our own rows.
func isListed(list listing, setlID string) bool {
	_, ours := list.listed[setlID]
	return ours
}

// look compares one settlement of upstream's with the entry. certain says that
// no other question need be asked.
func (q *inquiry) look(ctx context.Context, c candidate, list listing) (d decision, certain bool) {
	e := q.entry
	ours := c.row != nil && c.row.MsgID == e.MsgID // a statement says so
	wrong := func(why Reason, found string, total NullFen) (decision, bool) {
		q.note(infnoSettlementQuery, found, ofSettlement(c.setlID, total))
		return toPerson(why), true
	}
	if c.setlID == "" && c.row != nil || len(c.setlID) > 30 {
		return decision{}, false
	}
	if ours {
		switch row := c.row; {
		case isListed(list, c.setlID):
			return wrong(ReasonTwice, SaidTwice, row.Total)
		case row.PsnNo != "" && row.PsnNo != e.PsnNo, row.MdtrtID != "" && e.MdtrtID != "" && row.MdtrtID != e.MdtrtID,
			row.Total.Valid && row.Total.Fen != e.Agreed.Total, row.Refund && e.Undoes == 0:
			return wrong(ReasonDiffers, SaidDiffers, row.Total)
		}
	}
	if !q.honours(infnoSettlementQuery) {
		if ours {
			return q.byRow(*c.row)
		}
		return decision{}, false
	}
	mdtrtID := e.MdtrtID
	if mdtrtID == "" && c.row != nil {
		mdtrtID = c.row.MdtrtID // a sale learns of its visit with its answer
	}
	x, ok := q.settlement(ctx, c.setlID, mdtrtID)
	if !ok {
		return decision{}, false
	}
	i := x.info
	if c.setlID == "" {
		c.setlID = string(i.SetlID)
	}
	switch {
	case string(i.MedinsSetlID) != e.MsgID || differs(i.SetlID, c.setlID) || c.setlID == "" || len(c.setlID) > 30:
		// Another's: the number that we have, or that a row named, is not this one's.
		q.note(infnoSettlementQuery, SaidDiffers, ofSettlement(c.setlID, i.MedfeeSumamt))
		if ours {
			return toPerson(ReasonDiffers), true
		}
		// Only a number that this institution can have sent tells whose it is.
		if n := min(12, len(e.MsgID)); len(i.MedinsSetlID) > n && string(i.MedinsSetlID[:n]) == e.MsgID[:n] && string(i.MedinsSetlID) != e.MsgID {
			q.excluded[c.setlID] = true
		}
		return decision{}, false
	case string(i.PsnNo) != e.PsnNo, e.MdtrtID != "" && string(i.MdtrtID) != e.MdtrtID, i.MedfeeSumamt.Valid && i.MedfeeSumamt.Fen != e.Agreed.Total:
		return wrong(ReasonDiffers, SaidDiffers, i.MedfeeSumamt)
	case x.sums != nil:
		return wrong(ReasonSums, SaidSums, i.MedfeeSumamt)
	case x.refund == "1" && e.Undoes == 0:
		return wrong(ReasonTakenBack, SaidTakenBack, i.MedfeeSumamt)
	case x.amounts.Total != e.Agreed.Total:
		return wrong(ReasonDiffers, SaidDiffers, i.MedfeeSumamt)
	}
	q.note(infnoSettlementQuery, SaidBooked, ofSettlement(c.setlID, i.MedfeeSumamt))
	return q.booked(c.setlID, x.amounts, x.raw), true
}

// byRow decides by a statement's row alone, in a region without 5203. The row
// has no cash: it is certain only where the other amounts are as agreed.
func (q *inquiry) byRow(row ResultRow) (decision, bool) {
	a := q.entry.Agreed
	if row.Total != SomeFen(a.Total) || row.Fund != SomeFen(a.Fund) || row.Account != SomeFen(a.Account) {
		q.note(infnoStatement, SaidDiffers, ofSettlement(row.SetlID, row.Total))
		return toPerson(ReasonDiffers), true
	}
	return q.booked(row.SetlID, a, nil), true
}

func (q *inquiry) booked(setlID string, a Amounts, raw []byte) decision {
	c := &Conclusion{Outcome: Done, SetlID: setlID, Booked: &a, Answer: raw, Note: "found upstream"}
	if a != q.entry.Agreed {
		c.Note = "found upstream, booked with another split than agreed"
	}
	return decision{verdict: VerdictBooked, conclusion: c}
}

// absent decides where no statement has the entry. What may still arrive is no
// evidence, and neither is the absence of a refund whose settlement was taken
// back.
func (q *inquiry) absent(list listing, stands, gone bool) decision {
	e := q.entry
	if q.r.doubtAge(e, list.at) < q.r.cfg.Lookup.Settled {
		return undecided(ReasonEarly)
	}
	if e.Undoes != 0 && e.Infno != infnoReversal {
		if gone {
			return undecided(ReasonNotRefund)
		}
		if q.honours(infnoSettlementQuery) && !stands {
			return undecided(ReasonNotRefund)
		}
	}
	return q.never()
}

func (q *inquiry) never() decision {
	return decision{verdict: VerdictNever, conclusion: &Conclusion{
		Outcome: Refused, Fault: fault.NeverArrived, Note: "upstream was asked and does not have it",
	}}
}

// reverse is the last resort where the region permits it: 2601, as an entry of
// its own. It is sent once; a refusal that says that there is no such
// transaction is evidence.
func (q *inquiry) reverse(ctx context.Context) (decision, error) {
	e, l := q.entry, q.r.cfg.Lookup
	if _, ok := RefundInfno(e.Infno); q.r.cfg.Reverse == nil || !l.Reverse || !ok {
		if !q.honours(infnoStatement) {
			return undecided(ReasonNoLookup), nil
		}
		return undecided(ReasonSilent), nil
	}
	if q.r.doubtAge(e, q.at) < l.Settled {
		return undecided(ReasonEarly), nil
	}
	err := q.r.cfg.Reverse.Reverse(ctx, e.ID, q.scope)
	var words *RefusedError
	switch {
	case err == nil:
		q.note(infnoReversal, SaidReversed)
		return decision{verdict: VerdictReversed}, nil
	case errors.Is(err, ErrJournalUnavailable):
		return decision{}, fmt.Errorf("reverse: %w", err)
	case errors.As(err, &words) && l.never(words.Message):
		q.note(infnoReversal, SaidUnknown)
		return q.never(), nil
	case errors.As(err, &words):
		q.note(infnoReversal, SaidRefused)
		return toPerson(ReasonReversal), nil
	case OutcomeOf(err) == NotSent:
		q.failed(infnoReversal, err)
		return undecided(ReasonLine), nil
	}
	q.failed(infnoReversal, err)
	return undecided(ReasonWaits), nil
}
