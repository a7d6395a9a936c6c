package settlement

import (
	"context"
	"fmt"
	"slices"
)

// SaleTrial is 2101: the amounts of a sale without booking it. The answer
// belongs to the request, its sums hold, and its lines are those sent.
func (c *Client) SaleTrial(ctx context.Context, s Scope, in SaleInput) (SaleTrial, error) {
	if err := in.check("2101"); err != nil {
		return SaleTrial{}, err
	}
	in.DrugInfo.Invono = "" // 2102's alone, as the tracing codes are
	in.DrugDetail = slices.Clone(in.DrugDetail)
	for i := range in.DrugDetail {
		in.DrugDetail[i].DurgTracInfo = nil
	}
	var t SaleTrial
	out, err := c.trial(ctx, s, "2101", in, func(a Answer) (out Settlement, err error) {
		out, t.Lines, err = readSale(a, in)
		return out, err
	}, "", in.DrugInfo.PsnNo, in.DrugInfo.MedfeeSumamt)
	if err != nil {
		return SaleTrial{}, err
	}
	t.Settlement = out
	return t, nil
}

// check is [CheckFeeLines] for the lines of a sale, and compares their sum with
// the total.
func (in SaleInput) check(infno string) error {
	total, err := checkLines(len(in.DrugDetail), func(i int) feeLine {
		l := in.DrugDetail[i]
		return feeLine{sn: l.FeedetlSN.Value, amount: l.DetItemFeeSumamt, pric: l.Pric, cnt: l.Cnt}
	})
	if err != nil {
		return fmt.Errorf("%s: %w", infno, err)
	}
	if total != in.DrugInfo.MedfeeSumamt {
		return &unsentError{fmt.Errorf("%s: %w", infno, &SumsError{Identity: 5, Row: -1, Field: "medfee_sumamt", Left: in.DrugInfo.MedfeeSumamt, Right: total})}
	}
	return nil
}

func (in SaleInput) serialAsText() any {
	in.DrugDetail = slices.Clone(in.DrugDetail)
	for i := range in.DrugDetail {
		in.DrugDetail[i].FeedetlSN.AsText = true
	}
	return in
}

func (in SaleInput) serials() (string, []SerialNo) {
	list := make([]SerialNo, len(in.DrugDetail))
	for i, l := range in.DrugDetail {
		list[i] = l.FeedetlSN
	}
	return "drugdetail", list
}

// readSale reads the output of 2101 and 2102 and checks its lines.
func readSale(a Answer, in SaleInput) (Settlement, []FeeResult, error) {
	out, err := readSettlement(a)
	if err != nil {
		return out, nil, err
	}
	var cut struct {
		Lines List[FeeResult] `json:"detlcutinfo"`
	}
	if err := a.Decode(&cut); err != nil {
		return out, nil, err
	}
	if len(cut.Lines) == 0 {
		return out, nil, nil
	}
	lines, err := splitOf(a.Infno, cut.Lines, len(in.DrugDetail), func(i int) (string, Fen) {
		return in.DrugDetail[i].FeedetlSN.Value, in.DrugDetail[i].DetItemFeeSumamt
	})
	return out, lines, err
}
