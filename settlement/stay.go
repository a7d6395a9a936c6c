package settlement

import (
	"context"
	"fmt"
	"slices"
)

// An Admitted is the output of 2401, node result.
type Admitted struct {
	MdtrtID    Text   `json:"mdtrt_id"`
	ExpContent Text   `json:"exp_content"`
	MsgID      string `json:"-"` // of the request, for ReverseAdmission
}

// Admit is 2401: it opens a stay and returns its mdtrt_id. Where the answer is
// lost the stay may be open: ask 5303 or 5201, then call again with the same
// ipt_no. MsgID is set whenever something was sent.
func (c *Client) Admit(ctx context.Context, s Scope, in Admission) (Admitted, error) {
	p, err := c.Prepare(ctx, Request{Infno: "2401", InsuplcAdmdvs: s.InsuplcAdmdvs, SignNo: s.SignNo, Input: in})
	if err != nil {
		return Admitted{}, err
	}
	a, err := c.Do(ctx, p)
	if err != nil {
		return Admitted{MsgID: p.MsgID}, err
	}
	var out struct {
		Node Node[Admitted] `json:"result"`
	}
	if err := a.Decode(&out); err != nil {
		return Admitted{MsgID: p.MsgID}, err
	}
	r := out.Node.Value
	r.MsgID = p.MsgID
	if r.MdtrtID == "" {
		return r, fmt.Errorf("2401: no mdtrt_id: %w", ErrMalformed)
	}
	return r, nil
}

// ReverseAdmission is 2601 for a 2401 whose answer was lost and which no
// look-up finds; msgID is [Admitted.MsgID]. No money moves, so it is in no
// journal.
func (c *Client) ReverseAdmission(ctx context.Context, s Scope, psnNo, msgID string) error {
	infno := "2401"
	if v := c.cfg.Variants[infno]; v != "" {
		infno = v
	}
	_, err := c.do(ctx, s, infnoReversal, map[string]ReversalInput{"data": {PsnNo: psnNo, Omsgid: msgID, Oinfno: infno}})
	return err
}

// ChangeAdmission is 2403. It replaces what was said before, so it can be
// repeated.
func (c *Client) ChangeAdmission(ctx context.Context, s Scope, in AdmissionChange) error {
	_, err := c.do(ctx, s, "2403", in)
	return err
}

// UploadStayFees is 2301. Lines are checked first, as by [CheckFeeLines]. The
// answer has one row for every line, in the order of the lines, with
// upstream's split; identity 4 holds in each. There is no batch by which a
// repeated call could be known: where the answer is lost, take the lines back
// (2302) before they go up again.
func (c *Client) UploadStayFees(ctx context.Context, s Scope, lines []StayFeeDetail) ([]FeeResult, error) {
	if _, err := CheckStayFeeLines(lines); err != nil {
		return nil, fmt.Errorf("2301: %w", err)
	}
	a, err := c.do(ctx, s, "2301", stayFeesInput{lines})
	if err != nil {
		return nil, err
	}
	return readFees(a, len(lines), func(i int) (string, Fen) { return lines[i].FeedetlSN.Value, lines[i].DetItemFeeSumamt })
}

// CheckStayFeeLines is [CheckFeeLines] for the lines of one 2301.
func CheckStayFeeLines(lines []StayFeeDetail) (Fen, error) {
	return checkLines(len(lines), func(i int) feeLine {
		l := lines[i]
		return feeLine{l.FeedetlSN.Value, l.DetItemFeeSumamt, l.Pric, l.Cnt, [3]string{l.MdtrtID, l.PsnNo, l.MedType}}
	})
}

// stayFeesInput is the input of 2301.
type stayFeesInput struct {
	FeeDetail []StayFeeDetail `json:"feedetail"`
}

func (in stayFeesInput) serialAsText() any {
	in.FeeDetail = slices.Clone(in.FeeDetail)
	for i := range in.FeeDetail {
		in.FeeDetail[i].FeedetlSN.AsText = true
	}
	return in
}

func (in stayFeesInput) serials() (string, []SerialNo) {
	list := make([]SerialNo, len(in.FeeDetail))
	for i, l := range in.FeeDetail {
		list[i] = l.FeedetlSN
	}
	return "feedetail", list
}

// CancelStayFees is 2302: it takes back lines that are not settled, or, with
// AllUnsettled as the serial number of the only row, all of them. All of them
// can be taken back repeatedly.
func (c *Client) CancelStayFees(ctx context.Context, s Scope, rows []StayFeeCancel) error {
	_, err := c.do(ctx, s, "2302", map[string][]StayFeeCancel{"data": rows})
	return err
}

// StayTrial is 2303: the amounts of a settlement of the stay so far, without
// booking one. The answer belongs to the request and its sums hold.
func (c *Client) StayTrial(ctx context.Context, s Scope, in StaySettleInput) (Settlement, error) {
	in.Invono = "" // 2304's alone
	return c.trial(ctx, s, "2303", staySettleInput{in}, readSettlement, in.MdtrtID, in.PsnNo, in.MedfeeSumamt)
}

// Discharge is 2402: it ends a stay. Where the answer is lost 5201 tells
// whether the person is still in hospital (inhosp_stas).
func (c *Client) Discharge(ctx context.Context, s Scope, in Discharge) error {
	_, err := c.do(ctx, s, "2402", in)
	return err
}

// CancelDischarge is 2405: the stay goes on.
func (c *Client) CancelDischarge(ctx context.Context, s Scope, in StayRef) error {
	_, err := c.do(ctx, s, "2405", map[string]StayRef{"data": in})
	return err
}

// CancelAdmission is 2404: it takes back a stay that has no fee lines.
func (c *Client) CancelAdmission(ctx context.Context, s Scope, in StayRef) error {
	_, err := c.do(ctx, s, "2404", map[string]StayRef{"data": in})
	return err
}
