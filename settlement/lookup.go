package settlement

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// The look-ups book nothing and can be repeated. Where upstream has nothing
// they return no rows; some centres refuse instead ([RefusedError]).

// QueryVisits is 5201: the visits and stays of a person. It says neither
// whether they are settled nor by what.
func (c *Client) QueryVisits(ctx context.Context, s Scope, in MdtrtQuery) ([]MdtrtRecord, error) {
	a, err := c.do(ctx, s, "5201", map[string]MdtrtQuery{"data": in})
	if err != nil {
		return nil, err
	}
	list, err := rowsOf[MdtrtRecord](a, "mdtrtinfo")
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if differs(r.PsnNo, in.PsnNo) {
			return nil, fmt.Errorf("5201: another person: %w", ErrMismatch)
		}
	}
	return list, nil
}

// QueryDiagnoses is 5202: the diagnoses of a visit or stay.
func (c *Client) QueryDiagnoses(ctx context.Context, s Scope, in MdtrtRef) ([]DiagnosisRecord, error) {
	a, err := c.do(ctx, s, "5202", map[string]MdtrtRef{"data": in})
	if err != nil {
		return nil, err
	}
	list, err := rowsOf[DiagnosisRecord](a, "diseinfo")
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if differs(r.MdtrtID, in.MdtrtID) || differs(r.PsnNo, in.PsnNo) {
			return nil, fmt.Errorf("5202: another visit or person: %w", ErrMismatch)
		}
	}
	return list, nil
}

// A SettlementRecord is a settlement as upstream has it: output of 5203, node
// setlinfo. psn_pay and cash_payamt, as they are called there, are PsnPartAmt
// and PsnCashPay.
type SettlementRecord struct {
	SetlInfo      SetlInfo
	RefdSetlFlag  Text // 1: a refund, or refunded
	PayLoc        Text
	FixmedinsCode Text
	FixmedinsName Text
	Begndate      Text // yyyy-MM-dd
	Enddate       Text // yyyy-MM-dd
	Year          Text
	DiseCodg      Text
	DiseName      Text
	Invono        Text
	Detail        []SetlDetail
}

// UnmarshalJSON reads node setlinfo; Detail is another node.
func (r *SettlementRecord) UnmarshalJSON(b []byte) error {
	own := struct {
		PsnPay        NullFen `json:"psn_pay"`
		CashPayamt    NullFen `json:"cash_payamt"`
		RefdSetlFlag  Text    `json:"refd_setl_flag"`
		PayLoc        Text    `json:"pay_loc"`
		FixmedinsCode Text    `json:"fixmedins_code"`
		FixmedinsName Text    `json:"fixmedins_name"`
		Begndate      Text    `json:"begndate"`
		Enddate       Text    `json:"enddate"`
		Year          Text    `json:"year"`
		DiseCodg      Text    `json:"dise_codg"`
		DiseName      Text    `json:"dise_name"`
		Invono        Text    `json:"invono"`
	}{}
	var info SetlInfo
	if err := json.Unmarshal(b, &info); err != nil {
		return errJSON(err)
	}
	if err := json.Unmarshal(b, &own); err != nil {
		return errJSON(err)
	}
	if !info.PsnPartAmt.Valid {
		info.PsnPartAmt = own.PsnPay
	}
	if !info.PsnCashPay.Valid {
		info.PsnCashPay = own.CashPayamt
	}
	*r = SettlementRecord{
		SetlInfo: info, RefdSetlFlag: own.RefdSetlFlag, PayLoc: own.PayLoc, FixmedinsCode: own.FixmedinsCode, FixmedinsName: own.FixmedinsName,
		Begndate: own.Begndate, Enddate: own.Enddate, Year: own.Year, DiseCodg: own.DiseCodg, DiseName: own.DiseName, Invono: own.Invono,
	}
	return nil
}

// QuerySettlement is 5203: one settlement, of which the setl_id is known. It is
// the one asked for and its sums hold.
func (c *Client) QuerySettlement(ctx context.Context, s Scope, in SettlementRef) (SettlementRecord, error) {
	a, err := c.do(ctx, s, "5203", map[string]SettlementRef{"data": in})
	if err != nil {
		return SettlementRecord{}, err
	}
	return readSettlementRecord(a, in)
}

func readSettlementRecord(a Answer, in SettlementRef) (SettlementRecord, error) {
	var out struct {
		SetlInfo   Node[SettlementRecord] `json:"setlinfo"`
		SetlDetail List[SetlDetail]       `json:"setldetail"`
	}
	if err := a.Decode(&out); err != nil {
		return SettlementRecord{}, err
	}
	r := out.SetlInfo.Value
	r.Detail = out.SetlDetail
	i := r.SetlInfo
	if !out.SetlInfo.Present {
		return r, fmt.Errorf("5203: no setlinfo: %w", ErrMalformed)
	}
	if string(i.SetlID) != in.SetlID || differs(i.MdtrtID, in.MdtrtID) || differs(i.PsnNo, in.PsnNo) {
		return r, fmt.Errorf("5203: another settlement, visit or person: %w", ErrMismatch)
	}
	if _, err := i.Amounts(); err != nil {
		return r, fmt.Errorf("5203: %w", err)
	}
	return r, nil
}

// QueryFees is 5204: the fee lines of a settlement. Its output is a list
// without a node.
func (c *Client) QueryFees(ctx context.Context, s Scope, in SettlementRef) ([]FeeRecord, error) {
	a, err := c.do(ctx, s, "5204", map[string]SettlementRef{"data": in})
	if err != nil {
		return nil, err
	}
	list, err := rowsOf[FeeRecord](a, "")
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if differs(r.MdtrtID, in.MdtrtID) || differs(r.SetlID, in.SetlID) {
			return nil, fmt.Errorf("5204: another visit or settlement: %w", ErrMismatch)
		}
	}
	return list, nil
}

// QueryInHospital is 5303: the stays that have not ended. Its output is a list
// without a node.
func (c *Client) QueryInHospital(ctx context.Context, s Scope, in InHospitalQuery) ([]InHospital, error) {
	a, err := c.do(ctx, s, "5303", map[string]InHospitalQuery{"data": in})
	if err != nil {
		return nil, err
	}
	list, err := rowsOf[InHospital](a, "")
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if in.PsnNo != "" && differs(r.PsnNo, in.PsnNo) {
			return nil, fmt.Errorf("5303: another person: %w", ErrMismatch)
		}
	}
	return list, nil
}

// Entitlements is 2001: what every fund says of a person and a kind of care.
func (c *Client) Entitlements(ctx context.Context, s Scope, in EntitlementQuery) ([]Entitlement, error) {
	a, err := c.do(ctx, s, "2001", map[string]EntitlementQuery{"data": in})
	if err != nil {
		return nil, err
	}
	list, err := rowsOf[Entitlement](a, "trtinfo")
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		if differs(r.PsnNo, in.PsnNo) {
			return nil, fmt.Errorf("2001: another person: %w", ErrMismatch)
		}
	}
	return list, nil
}

// rowsOf reads the rows of an answer: those of a node, or, where the tables
// give none, of the output itself. Centres differ: what should stand in the
// output may stand in a node of some name, and the other way round. No output
// is no rows.
func rowsOf[T any](a Answer, node string) ([]T, error) {
	text := bytes.TrimSpace(a.Output)
	if len(text) == 0 {
		return nil, nil
	}
	if text[0] == '{' {
		nodes, err := readMembers(text)
		if err != nil {
			return nil, fmt.Errorf("%s: output: %v: %w", a.Infno, err, ErrMalformed)
		}
		inner := nodes.get(node)
		if node == "" && len(nodes) == 1 {
			if v := bytes.TrimSpace(nodes[0].value); len(v) > 0 && (v[0] == '[' || v[0] == '{') {
				inner = v
			}
		}
		switch {
		case inner != nil:
			text = inner
		case node != "":
			return nil, nil
		}
	}
	var list List[T]
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("%s: output: %v: %w", a.Infno, errJSON(err), ErrMalformed)
	}
	return list, nil
}
