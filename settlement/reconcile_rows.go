package settlement

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// infnoNotBooked marks the journal's own entries that take back what upstream
// never had: nothing is sent for them, 3202 is where it was learned.
const infnoNotBooked = "3202"

// A group is what 3201 has one verdict for.
type group struct{ insutype, clrType, optins string }

// A place is where a row belongs in the statements.
type place struct {
	day string // of the settlement time that upstream answered
	group
	assumed bool // no answer says so: from the request and our clock
}

// A bookedRow is a settlement or refund that stands in the journal as done.
type bookedRow struct {
	StatementRow
	place
	entry              int64
	infno, msgid       string
	holder             string
	undoes, reversedBy int64
}

// clearing is the usual clr_type of a transaction, for entries without an
// answer: a person decided them.
func clearing(infno, medType string) string {
	switch nationalInfno(infno) {
	case "2102", "2103":
		return "41"
	case "2304", "2305":
		return "21"
	}
	if medType == "14" {
		return "14"
	}
	return "11"
}

// rowInfno tells settlements and refunds from other entries.
func rowInfno(infno string) (refund, ok bool) {
	switch nationalInfno(infno) {
	case "2207", "2304", "2102":
		return false, true
	case "2208", "2305", "2103":
		return true, true
	}
	return false, false
}

const statementRows = `SELECT e.id, e.infno, e.msgid, e.opened_at, e.outcome, e.total, e.fund, e.account, e.cash, e.setl_id, e.mdtrt_id, e.psn_no, e.holder,
	coalesce(e.undoes, 0), coalesce(e.reversed_by, 0), e.request, e.answer,
	coalesce(o.msgid, ''), o.request, o.answer, coalesce(v.infno, '')
	FROM entry e LEFT JOIN entry o ON o.id = e.undoes LEFT JOIN entry v ON v.id = e.reversed_by `

// statementScan is one row of statementRows.
type statementScan struct {
	e                      Entry
	opened                 int64
	psnNo, request, answer []byte // sealed
	oMsgid, vInfno         string // of the entry that it takes back, and that took it back
	oRequest, oAnswer      []byte // sealed
}

func (s *statementScan) into() []any {
	return []any{&s.e.ID, &s.e.Infno, &s.e.MsgID, &s.opened, &s.e.Outcome, &s.e.Total, &s.e.Fund, &s.e.Account, &s.e.Cash, &s.e.SetlID, &s.e.MdtrtID, &s.psnNo, &s.e.Holder,
		&s.e.Undoes, &s.e.ReversedBy, &s.request, &s.answer, &s.oMsgid, &s.oRequest, &s.oAnswer, &s.vInfno}
}

// unseal opens the person's number.
func (s *statementScan) unseal(k *journalKey) error {
	psnNo, err := k.open("psn_no", s.e.MsgID, s.psnNo)
	if err != nil {
		return fmt.Errorf("entry %d: %w", s.e.ID, err)
	}
	s.e.PsnNo, s.e.OpenedAt = string(psnNo), milli(s.opened)
	return nil
}

// bookedRows reads the rows of entries written from day from to day to. Rows
// that a person marked as not booked upstream are not among them.
func (r *Reconciler) bookedRows(ctx context.Context, from, to string) ([]bookedRow, error) {
	return r.scanRows(ctx, ` WHERE e.day BETWEEN ?1 AND ?2 AND e.outcome = 'done'`, from, to)
}

// bookedRow reads the row of one entry; ok is false where it is none.
func (r *Reconciler) bookedRow(ctx context.Context, entry int64) (row bookedRow, ok bool, err error) {
	rows, err := r.scanRows(ctx, ` WHERE e.id = ?1 AND e.outcome = 'done'`, entry)
	if err != nil || len(rows) == 0 {
		return bookedRow{}, false, err
	}
	return rows[0], true, nil
}

func (r *Reconciler) scanRows(ctx context.Context, where string, args ...any) ([]bookedRow, error) {
	rows, err := r.journal.read.QueryContext(ctx, statementRows+where, args...)
	if err != nil {
		return nil, fmt.Errorf("statement rows: %w", unavailable(err))
	}
	defer rows.Close()
	var list []bookedRow
	for rows.Next() {
		var s statementScan
		if err := rows.Scan(s.into()...); err != nil {
			return nil, fmt.Errorf("statement rows: %w", unavailable(err))
		}
		refund, ok := rowInfno(s.e.Infno)
		if !ok || s.vInfno == infnoNotBooked {
			continue
		}
		if err := s.unseal(r.journal.key); err != nil {
			return nil, fmt.Errorf("statement rows: %w", err)
		}
		p, mdtrtID, err := r.placeOf(&s)
		if err != nil {
			return nil, fmt.Errorf("statement rows: entry %d: %w", s.e.ID, err)
		}
		if s.e.MdtrtID != "" {
			mdtrtID = s.e.MdtrtID
		}
		list = append(list, bookedRow{
			StatementRow: StatementRow{SetlID: s.e.SetlID, MdtrtID: mdtrtID, PsnNo: s.e.PsnNo, Refund: refund,
				Amounts: Amounts{Total: s.e.Total, Fund: s.e.Fund, Account: s.e.Account, Cash: s.e.Cash}},
			place: p, entry: s.e.ID, infno: s.e.Infno, msgid: s.e.MsgID, holder: s.e.Holder, undoes: s.e.Undoes, reversedBy: s.e.ReversedBy,
		})
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("statement rows: %w", unavailable(err))
	}
	return list, nil
}

// answeredPlace is what an answer says of where its row belongs.
type answeredPlace struct {
	Insutype  Text `json:"insutype"`
	ClrType   Text `json:"clr_type"`
	ClrOptins Text `json:"clr_optins"`
	SetlTime  Text `json:"setl_time"`
	MdtrtID   Text `json:"mdtrt_id"`
}

// placeOf says where an entry's row belongs: as upstream answered, and where it
// did not, as the settlement that a refund takes back was answered, as the
// request said, or as is usual. What is not needed is not decrypted: a month has
// many rows.
func (r *Reconciler) placeOf(s *statementScan) (p place, mdtrtID string, err error) {
	open := func(field, owner string, sealed []byte) (text []byte) {
		if sealed != nil && err == nil {
			text, err = r.journal.key.open(field, owner, sealed)
		}
		return text
	}
	own := r.answered(s.e.Infno, open("answer", s.e.MsgID, s.answer))
	if s.e.Undoes != 0 && (own.Insutype == "" || own.ClrType == "" || own.ClrOptins == "") {
		original := r.answered(s.e.Infno, open("answer", s.oMsgid, s.oAnswer))
		own.Insutype = Text(firstText(own.Insutype, original.Insutype))
		own.ClrType = Text(firstText(own.ClrType, original.ClrType))
		own.ClrOptins = Text(firstText(own.ClrOptins, original.ClrOptins))
		own.MdtrtID = Text(firstText(own.MdtrtID, original.MdtrtID))
	}
	if own.Insutype == "" || own.ClrType == "" {
		request := open("request", s.e.MsgID, s.request)
		if s.e.Undoes != 0 {
			request = open("request", s.oMsgid, s.oRequest)
		}
		insutype, medType := sentInsurance(request)
		own.Insutype = Text(firstText(own.Insutype, Text(insutype)))
		own.ClrType = Text(firstText(own.ClrType, Text(clearing(s.e.Infno, medType))))
	}
	p.group = group{string(own.Insutype), string(own.ClrType), firstText(Text(r.policy.Optins), own.ClrOptins, Text(r.client.cfg.Institution.Area))}
	if len(own.SetlTime) >= len(DateLayout) {
		if t, terr := time.Parse(DateLayout, string(own.SetlTime[:len(DateLayout)])); terr == nil {
			p.day = t.Format(DateLayout)
		}
	}
	if p.day == "" {
		p.day, p.assumed = FormatDate(s.e.OpenedAt), true
	}
	return p, string(own.MdtrtID), err
}

func firstText(texts ...Text) string {
	for _, t := range texts {
		if t != "" {
			return string(t)
		}
	}
	return ""
}

// answered reads the place out of a kept answer; what cannot be read says
// nothing.
func (r *Reconciler) answered(infno string, raw []byte) answeredPlace {
	if len(raw) == 0 {
		return answeredPlace{}
	}
	// As most answers are.
	var plain struct {
		Output struct {
			Node Node[answeredPlace] `json:"setlinfo"`
		} `json:"output"`
	}
	if json.Unmarshal(raw, &plain) == nil && plain.Output.Node.Present {
		return plain.Output.Node.Value
	}
	a, err := decodeAnswer(infno, 200, raw)
	if err != nil || len(a.Output) == 0 {
		return answeredPlace{}
	}
	if v := r.client.cfg.Variants[infno]; v != "" {
		infno = v
	}
	a.Output = r.client.cfg.Regional.output(infno, a.Output)
	var out struct {
		Node Node[answeredPlace] `json:"setlinfo"`
	}
	if a.Decode(&out) != nil {
		return answeredPlace{}
	}
	return out.Node.Value
}

// sentInsurance reads insutype and med_type out of a kept request, whatever a
// region calls its nodes.
func sentInsurance(request []byte) (insutype, medType string) {
	var sent struct {
		Input map[string]json.RawMessage `json:"input"`
	}
	if json.Unmarshal(request, &sent) != nil {
		return "", ""
	}
	for _, raw := range sent.Input {
		var n Node[struct {
			Insutype Text `json:"insutype"`
			MedType  Text `json:"med_type"`
		}]
		if n.UnmarshalJSON(raw) == nil && n.Value.Insutype != "" {
			return string(n.Value.Insutype), string(n.Value.MedType)
		}
	}
	return "", ""
}

// A doubtful entry is one whose outcome nobody knows yet.
type doubtful struct {
	entry             int64
	infno, msgid      string
	holder            string
	outcome           Outcome
	opened            time.Time
	undoes            int64
	mdtrtID, psnNo    string
	insutype, clrType string
	agreed            Amounts
	seen              bool   // a statement lists it
	under             string // the setl_id that the centre has for it, and another entry here, too
}

// doubts reads the entries of a day whose outcome nobody knows.
func (r *Reconciler) doubts(ctx context.Context, day string) ([]*doubtful, error) {
	rows, err := r.journal.read.QueryContext(ctx, statementRows+` WHERE e.day = ?1 AND e.outcome IN ('intended', 'unknown')`, day)
	if err != nil {
		return nil, fmt.Errorf("entries in doubt: %w", unavailable(err))
	}
	defer rows.Close()
	var list []*doubtful
	for rows.Next() {
		var s statementScan
		if err := rows.Scan(s.into()...); err != nil {
			return nil, fmt.Errorf("entries in doubt: %w", unavailable(err))
		}
		if _, ok := rowInfno(s.e.Infno); !ok {
			continue
		}
		if err := s.unseal(r.journal.key); err != nil {
			return nil, fmt.Errorf("entries in doubt: %w", err)
		}
		p, mdtrtID, err := r.placeOf(&s)
		if err != nil {
			return nil, fmt.Errorf("entries in doubt: entry %d: %w", s.e.ID, err)
		}
		if s.e.MdtrtID != "" {
			mdtrtID = s.e.MdtrtID
		}
		list = append(list, &doubtful{
			entry: s.e.ID, infno: s.e.Infno, msgid: s.e.MsgID, holder: s.e.Holder, outcome: s.e.Outcome, opened: s.e.OpenedAt, undoes: s.e.Undoes,
			mdtrtID: mdtrtID, psnNo: s.e.PsnNo, insutype: p.insutype, clrType: p.clrType,
			agreed: Amounts{Total: s.e.Total, Fund: s.e.Fund, Account: s.e.Account, Cash: s.e.Cash},
		})
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("entries in doubt: %w", unavailable(err))
	}
	return list, nil
}
