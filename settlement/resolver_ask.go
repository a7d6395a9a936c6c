package settlement

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"onecard/fault"
)

// An inquiry is one attempt at one entry.
type inquiry struct {
	r     *Resolver
	entry Entry
	at    time.Time
	fresh time.Time // only statements that were asked for after that serve
	asked []Asked

	sent  sentFacts
	scope Scope
	down  bool // the line failed: the rest need not be asked now
	// excluded are settlements, by setl_id, that 5203 told are another's.
	excluded map[string]bool
}

// A decision is what an inquiry comes to.
type decision struct {
	verdict    Verdict
	reason     Reason
	conclusion *Conclusion // nil: the entry stays as it is
}

func undecided(why Reason) decision { return decision{verdict: VerdictUndecided, reason: why} }
func toPerson(why Reason) decision  { return decision{verdict: VerdictGivenUp, reason: why} }

// sentFacts are what the questions need of the request that was sent.
type sentFacts struct {
	insuplcAdmdvs string
	medType       string
}

// factsOf reads them from the request that the journal keeps. A node may have
// the region's name, so that the members are looked for in every node.
func factsOf(request []byte) (sentFacts, error) {
	var e struct {
		InsuplcAdmdvs Text                       `json:"insuplc_admdvs"`
		Input         map[string]json.RawMessage `json:"input"`
	}
	if err := json.Unmarshal(request, &e); err != nil {
		return sentFacts{}, fmt.Errorf("the request kept: %w", errJSON(err))
	}
	f := sentFacts{insuplcAdmdvs: string(e.InsuplcAdmdvs)}
	for _, raw := range e.Input {
		var n Node[struct {
			MedType Text `json:"med_type"`
		}]
		if n.UnmarshalJSON(raw) == nil && f.medType == "" {
			f.medType = string(n.Value.MedType)
		}
	}
	return f, nil
}

// note keeps a question and what it found.
func (q *inquiry) note(infno, found string, more ...func(*Asked)) {
	a := Asked{Infno: infno, At: q.r.cfg.Now(), Found: found}
	for _, m := range more {
		m(&a)
	}
	q.asked = append(q.asked, a)
}

func about(text string) func(*Asked) { return func(a *Asked) { a.About = text } }

func ofSettlement(setlID string, total NullFen) func(*Asked) {
	return func(a *Asked) {
		a.SetlID = bounded(setlID, 30)
		if total.Valid {
			a.Total = &total.Fen
		}
	}
}

// failed keeps why a question has no answer, and says whether it was refused:
// that is an answer, and every other failure says nothing.
func (q *inquiry) failed(infno string, err error, more ...func(*Asked)) (refused bool) {
	var words *RefusedError
	var invalid *ValidationError
	because := func(a *Asked) { a.Fault = fault.Of(err).Code }
	switch {
	case errors.As(err, &words):
		q.note(infno, SaidRefused, more...)
		return true
	case errors.As(err, &invalid):
		q.note(infno, SaidNotAsked, append(more, because)...)
		return false
	}
	q.note(infno, SaidLine, append(more, because)...)
	q.down = true
	return false
}

// A candidate is a settlement of upstream's that may be the entry's.
type candidate struct {
	setlID string
	row    *ResultRow // of a statement, nil where another question named it
}

// honours says whether the region answers a question.
func (q *inquiry) honours(infno string) bool { return slices.Contains(q.r.cfg.Lookup.Order, infno) }

// prepare fills what every question needs. Its error is the journal's.
func (q *inquiry) prepare(ctx context.Context) error {
	var err error
	if q.sent, err = factsOf(q.entry.Request); err != nil {
		return err
	}
	signNo, err := q.r.cfg.SignNo(ctx)
	if errors.Is(err, ErrJournalUnavailable) {
		return err
	}
	if err != nil {
		q.failed("9001", err)
		q.down = true
		return nil
	}
	q.scope = Scope{InsuplcAdmdvs: q.sent.insuplcAdmdvs, SignNo: signNo}
	return nil
}

// A settlementQuery is the input of 5203 and 5204, node data.
type settlementQuery struct {
	PsnNo   string `json:"psn_no"`
	SetlID  string `json:"setl_id,omitempty"`
	MdtrtID string `json:"mdtrt_id"`
}

// A queried settlement is the output of 5203.
type queried struct {
	info    SetlInfo
	refund  string // refd_setl_flag
	amounts Amounts
	sums    error
	raw     []byte
}

// readQueried reads the output of 5203, which has other names for two amounts
// than the answer to the settlement.
func readQueried(a Answer) (queried, error) {
	var out struct {
		Info Node[SetlInfo] `json:"setlinfo"`
	}
	var more struct {
		Info Node[struct {
			PsnPay     NullFen `json:"psn_pay"`
			CashPayamt NullFen `json:"cash_payamt"`
			Refund     Text    `json:"refd_setl_flag"`
		}] `json:"setlinfo"`
	}
	if err := a.Decode(&out); err != nil {
		return queried{}, err
	}
	if err := a.Decode(&more); err != nil {
		return queried{}, err
	}
	if !out.Info.Present {
		return queried{}, fmt.Errorf("%s: no setlinfo: %w", a.Infno, ErrMalformed)
	}
	s, m := out.Info.Value, more.Info.Value
	if !s.PsnPartAmt.Valid {
		s.PsnPartAmt = m.PsnPay
	}
	if !s.PsnCashPay.Valid {
		s.PsnCashPay = m.CashPayamt
	}
	x := queried{info: s, refund: string(m.Refund), raw: a.Raw}
	x.amounts, x.sums = s.Amounts()
	return x, nil
}

// settlement is 5203. ok is false where it says nothing about that number.
func (q *inquiry) settlement(ctx context.Context, setlID, mdtrtID string) (x queried, ok bool) {
	a, err := q.r.cfg.Line.Call(ctx, Request{
		Infno: infnoSettlementQuery, InsuplcAdmdvs: q.scope.InsuplcAdmdvs, SignNo: q.scope.SignNo,
		Input: map[string]settlementQuery{"data": {q.entry.PsnNo, setlID, mdtrtID}},
	})
	if err == nil {
		x, err = readQueried(a)
	}
	if err != nil {
		q.failed(infnoSettlementQuery, err, ofSettlement(setlID, NullFen{}))
		return queried{}, false
	}
	return x, true
}

// visits is 5201. It announces neither settlement nor state; where a region
// gives a setl_id all the same, that is one to look at.
func (q *inquiry) visits(ctx context.Context) []candidate {
	e := q.entry
	if q.sent.medType == "" {
		q.note(infnoVisitQuery, SaidNotAsked)
		return nil
	}
	day := e.OpenedAt.In(china)
	type visitQuery struct {
		PsnNo    string `json:"psn_no"`
		Begntime string `json:"begntime"`
		Endtime  string `json:"endtime"`
		MedType  string `json:"med_type"`
		MdtrtID  string `json:"mdtrt_id,omitempty"`
	}
	a, err := q.r.cfg.Line.Call(ctx, Request{
		Infno: infnoVisitQuery, InsuplcAdmdvs: q.scope.InsuplcAdmdvs, SignNo: q.scope.SignNo,
		Input: map[string]visitQuery{"data": {e.PsnNo, FormatDate(day.AddDate(0, 0, -30)) + " 00:00:00", FormatDate(day.AddDate(0, 0, 1)) + " 23:59:59", q.sent.medType, e.MdtrtID}},
	})
	if err != nil {
		q.failed(infnoVisitQuery, err)
		return nil
	}
	var out struct {
		Rows List[namedSettlement] `json:"mdtrtinfo"`
	}
	if len(a.Output) > 0 {
		if err := a.Decode(&out); err != nil {
			q.failed(infnoVisitQuery, err)
			return nil
		}
	}
	return q.named(infnoVisitQuery, out.Rows)
}

// A namedSettlement is what a row of 5201 or 5204 may say of a settlement.
type namedSettlement struct {
	MdtrtID Text `json:"mdtrt_id"`
	SetlID  Text `json:"setl_id"`
}

// named returns the settlements of the entry's visit that rows name.
func (q *inquiry) named(infno string, rows []namedSettlement) []candidate {
	var list []candidate
	for _, row := range rows {
		known := slices.ContainsFunc(list, func(c candidate) bool { return c.setlID == string(row.SetlID) })
		if row.SetlID == "" || known || q.entry.MdtrtID == "" || string(row.MdtrtID) != q.entry.MdtrtID || len(list) == maxCandidates {
			continue
		}
		list = append(list, candidate{setlID: string(row.SetlID)})
	}
	if len(list) == 0 {
		q.note(infno, SaidNothing)
	} else {
		q.note(infno, SaidBooked, ofSettlement(list[0].setlID, NullFen{}))
	}
	return list
}

// maxCandidates bounds how many settlements of a visit are looked at.
const maxCandidates = 5

// lines is 5204 with what is known: the national tables want the setl_id that
// was lost, and then it is not asked.
func (q *inquiry) lines(ctx context.Context) []candidate {
	if q.entry.MdtrtID == "" {
		q.note(infnoLineQuery, SaidNotAsked)
		return nil
	}
	a, err := q.r.cfg.Line.Call(ctx, Request{
		Infno: infnoLineQuery, InsuplcAdmdvs: q.scope.InsuplcAdmdvs, SignNo: q.scope.SignNo,
		Input: map[string]settlementQuery{"data": {q.entry.PsnNo, q.entry.SetlID, q.entry.MdtrtID}},
	})
	if err != nil {
		q.failed(infnoLineQuery, err)
		return nil
	}
	var rows List[namedSettlement]
	if len(a.Output) > 0 {
		if err := a.Decode(&rows); err != nil {
			q.failed(infnoLineQuery, err)
			return nil
		}
	}
	return q.named(infnoLineQuery, rows)
}
