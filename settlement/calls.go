package settlement

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"onecard/fault"
)

// A Scope is what every call of a visit carries besides its input.
type Scope struct {
	InsuplcAdmdvs string // place of insurance, from 1101; "" before
	SignNo        string // from 9001
}

// ErrHolderDiffers is a person in an answer who is not the card's holder
// (OC-2206).
var ErrHolderDiffers = fault.New(fault.HolderDiffers, "the person in the answer is not the card holder")

func (c *Client) do(ctx context.Context, s Scope, infno string, input any) (Answer, error) {
	return c.Call(ctx, Request{Infno: infno, InsuplcAdmdvs: s.InsuplcAdmdvs, SignNo: s.SignNo, Input: input})
}

// SignIn is 9001: the sign_no of an operator for a day.
func (c *Client) SignIn(ctx context.Context, in SignIn) (SignedIn, error) {
	a, err := c.do(ctx, Scope{}, "9001", map[string]SignIn{"signIn": in})
	if err != nil {
		return SignedIn{}, err
	}
	var out struct {
		Node Node[SignedIn] `json:"signinoutb"`
	}
	if err := a.Decode(&out); err != nil {
		return SignedIn{}, err
	}
	if out.Node.Value.SignNo == "" {
		return SignedIn{}, fmt.Errorf("9001: no sign_no: %w", ErrMalformed)
	}
	return out.Node.Value, nil
}

// SignOut is 9002: the sign_no is worth nothing from now on. It returns when
// upstream says that was, yyyy-MM-dd HH:mm:ss, "" where it does not say.
func (c *Client) SignOut(ctx context.Context, s Scope, opterNo string) (string, error) {
	a, err := c.do(ctx, s, "9002", map[string]map[string]string{"signOut": {"sign_no": s.SignNo, "opter_no": opterNo}})
	if err != nil {
		return "", err
	}
	var out struct {
		Node Node[struct {
			SignTime Text `json:"sign_time"`
		}] `json:"sign_time"`
	}
	if len(a.Output) > 0 {
		if err := a.Decode(&out); err != nil {
			return "", err
		}
	}
	return string(out.Node.Value.SignTime), nil
}

// Person is 1101: who a card's holder is to the insurer and how insured. A
// person without an insurance entry is ErrNotInsured, with what was answered.
func (c *Client) Person(ctx context.Context, s Scope, in PersonQuery) (Person, error) {
	a, err := c.do(ctx, s, "1101", map[string]PersonQuery{"data": in})
	if err != nil {
		return Person{}, err
	}
	var out Person
	if len(a.Output) > 0 {
		if err := a.Decode(&out); err != nil {
			return Person{}, err
		}
	}
	if out.BaseInfo.Value.PsnNo == "" || len(out.InsuInfo) == 0 {
		return out, fmt.Errorf("1101: %w", ErrNotInsured)
	}
	return out, nil
}

// CheckHolder compares the answer's person with the card's holder. A
// certificate number or name that upstream left out is not compared.
func (p Person) CheckHolder(certno, name string) error {
	b := p.BaseInfo.Value
	if b.Certno != "" && !strings.EqualFold(string(b.Certno), certno) || b.PsnName != "" && string(b.PsnName) != name {
		return fmt.Errorf("1101: %w", ErrHolderDiffers)
	}
	return nil
}

// Register is 2201: it opens a visit and returns its mdtrt_id.
func (c *Client) Register(ctx context.Context, s Scope, in Registration) (Registered, error) {
	a, err := c.do(ctx, s, "2201", map[string]Registration{"data": in})
	if err != nil {
		return Registered{}, err
	}
	var out struct {
		Node Node[Registered] `json:"data"`
	}
	if err := a.Decode(&out); err != nil {
		return Registered{}, err
	}
	r := out.Node.Value
	if r.MdtrtID == "" {
		return Registered{}, fmt.Errorf("2201: no mdtrt_id: %w", ErrMalformed)
	}
	if differs(r.PsnNo, in.PsnNo) || differs(r.IptOtpNo, in.IptOtpNo) {
		return Registered{}, fmt.Errorf("2201: person or visit number differs: %w", ErrMismatch)
	}
	return r, nil
}

// differs compares an echo with what was sent; an echo left out is no
// difference.
func differs(echo Text, sent string) bool { return echo != "" && string(echo) != sent }

// UploadVisit is 2203: the visit's diagnoses. It has no output.
func (c *Client) UploadVisit(ctx context.Context, s Scope, in VisitUpload) error {
	_, err := c.do(ctx, s, "2203", in)
	return err
}

// UploadFees is 2204: one charge batch. Lines are checked first
// ([CheckFeeLines]). The answer has one row for every line, in the order of
// the lines, with upstream's split; identity 4 holds in each.
func (c *Client) UploadFees(ctx context.Context, s Scope, lines []FeeDetail) ([]FeeResult, error) {
	if _, err := CheckFeeLines(lines); err != nil {
		return nil, fmt.Errorf("2204: %w", err)
	}
	a, err := c.do(ctx, s, "2204", feesInput{lines})
	if err != nil {
		return nil, err
	}
	return readFees(a, len(lines), func(i int) (string, Fen) { return lines[i].FeedetlSN.Value, lines[i].DetItemFeeSumamt })
}

// feesInput is the input of 2204.
type feesInput struct {
	FeeDetail []FeeDetail `json:"feedetail"`
}

// A serialInput has serial numbers, which some regions want as texts.
type serialInput interface {
	// serialAsText returns a copy with all of them written as texts.
	serialAsText() any
	// serials returns the node that has them, and all of them.
	serials() (node string, list []SerialNo)
}

// checkSerials refuses what a region that wants numbers cannot be sent, by its
// row: marshalling alone does not know it.
func checkSerials(infno string, in serialInput) error {
	node, list := in.serials()
	for i, sn := range list {
		if _, err := sn.MarshalJSON(); err != nil {
			return &ValidationError{Infno: infno, Node: node, Row: i, Field: "feedetl_sn", Problem: WrongType}
		}
	}
	return nil
}

func (in feesInput) serials() (string, []SerialNo) {
	list := make([]SerialNo, len(in.FeeDetail))
	for i, l := range in.FeeDetail {
		list[i] = l.FeedetlSN
	}
	return "feedetail", list
}

func (in feesInput) serialAsText() any {
	in.FeeDetail = slices.Clone(in.FeeDetail)
	for i := range in.FeeDetail {
		in.FeeDetail[i].FeedetlSN.AsText = true
	}
	return in
}

// readFees reads the output of 2204 and 2301.
func readFees(a Answer, n int, line func(int) (sn string, amount Fen)) ([]FeeResult, error) {
	var out struct {
		Result List[FeeResult] `json:"result"`
	}
	if err := a.Decode(&out); err != nil {
		return nil, err
	}
	return splitOf(a.Infno, out.Result, n, line)
}

// splitOf puts an answer's rows in the order of the lines and checks the split
// of each.
func splitOf(infno string, rows []FeeResult, n int, line func(int) (sn string, amount Fen)) ([]FeeResult, error) {
	results, err := matchLines(infno, rows, n, line)
	if err != nil {
		return nil, err
	}
	if _, err := SumSplit(results); err != nil {
		return nil, fmt.Errorf("%s: %w", infno, err)
	}
	return results, nil
}

// matchLines puts an answer's rows in the order of the lines sent. A row
// missing, doubled, of no line or with another amount is ErrMismatch.
func matchLines(infno string, rows []FeeResult, n int, line func(int) (sn string, amount Fen)) ([]FeeResult, error) {
	at := make(map[string]int, n)
	for i := range n {
		sn, _ := line(i)
		at[sn] = i
	}
	results := make([]FeeResult, n)
	for _, r := range rows {
		i, ok := at[string(r.FeedetlSN)]
		if !ok {
			return nil, fmt.Errorf("%s: a row of no line, or doubled: %w", infno, ErrMismatch)
		}
		_, amount := line(i)
		if r.DetItemFeeSumamt.Valid && r.DetItemFeeSumamt.Fen != amount {
			return nil, fmt.Errorf("%s: %w", infno, &SumsError{
				Identity: 5, Row: i, Field: "det_item_fee_sumamt", Left: r.DetItemFeeSumamt.Fen, Right: amount,
			})
		}
		delete(at, string(r.FeedetlSN))
		r.DetItemFeeSumamt = SomeFen(amount)
		results[i] = r
	}
	if len(at) > 0 {
		return nil, fmt.Errorf("%s: %d lines without a row: %w", infno, len(at), ErrMismatch)
	}
	return results, nil
}

// Trial is 2206: the amounts of a settlement without booking one. The answer
// belongs to the request and its sums hold.
func (c *Client) Trial(ctx context.Context, s Scope, in TrialInput) (Settlement, error) {
	return c.trial(ctx, s, "2206", map[string]TrialInput{"data": in}, readSettlement, in.MdtrtID, in.PsnNo, in.MedfeeSumamt)
}

// trial asks for amounts and checks that the answer is to this question. A sale
// has no mdtrtID.
func (c *Client) trial(ctx context.Context, s Scope, infno string, input any, read func(Answer) (Settlement, error), mdtrtID, psnNo string, total Fen) (Settlement, error) {
	p, err := c.Prepare(ctx, Request{Infno: infno, InsuplcAdmdvs: s.InsuplcAdmdvs, SignNo: s.SignNo, Input: input})
	if err != nil {
		return Settlement{}, err
	}
	a, err := c.Do(ctx, p)
	if err != nil {
		return Settlement{}, err
	}
	out, err := read(a)
	if err != nil {
		return Settlement{}, err
	}
	i := out.SetlInfo.Value
	if differs(i.MedinsSetlID, p.MsgID) {
		return Settlement{}, fmt.Errorf("%s: medins_setl_id is not the msgid sent: %w", infno, ErrMismatch)
	}
	if mdtrtID == "" {
		mdtrtID = string(i.MdtrtID)
	}
	return out, out.check(infno, mdtrtID, psnNo, total)
}

// readSettlement reads the output of every settlement, trial and refund.
func readSettlement(a Answer) (Settlement, error) {
	var out Settlement
	if err := a.Decode(&out); err != nil {
		return Settlement{}, err
	}
	if !out.SetlInfo.Present {
		return Settlement{}, fmt.Errorf("%s: no setlinfo: %w", a.Infno, ErrMalformed)
	}
	return out, nil
}

// check compares an answer with its request and checks its sums.
func (s Settlement) check(infno, mdtrtID, psnNo string, total Fen) error {
	i := s.SetlInfo.Value
	if string(i.MdtrtID) != mdtrtID || string(i.PsnNo) != psnNo {
		return fmt.Errorf("%s: visit or person differs: %w", infno, ErrMismatch)
	}
	amounts, err := i.Amounts()
	if err != nil {
		return fmt.Errorf("%s: %w", infno, err)
	}
	if amounts.Total != total {
		return fmt.Errorf("%s: %w", infno, &SumsError{Identity: 5, Row: -1, Field: "medfee_sumamt", Left: amounts.Total, Right: total})
	}
	return nil
}
