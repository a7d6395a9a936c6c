package centersim

import (
	"fmt"
	"slices"
	"time"
)

// fees books one charge batch, all or nothing. The same batch with the same
// content is not booked again: its old answer is returned.
func (c *Center) fees(r *request, e *event) (old any, err error) {
	records := r.nodes["feedetail"]
	first := records[0]
	v, err := c.visitOf(r, first)
	if err != nil {
		return nil, err
	}
	number := first.text("chrg_bchno")
	if b := v.batches[number]; b != nil {
		if b.digest == r.digest {
			return feesOutput(b.fees), nil
		}
		return nil, refuse("收费批次号chrg_bchno重复")
	}
	f := &fees{MdtrtID: v.MdtrtID, ChrgBchno: number}
	var total fen
	seen := map[string]bool{}
	for n, d := range records {
		sn := d.text("feedetl_sn")
		for _, same := range []string{"mdtrt_id", "psn_no", "chrg_bchno"} {
			if d.text(same) != first.text(same) {
				return nil, refuse("费用明细第%d条[%s]的%s与第1条不一致", n+1, printable(sn), same)
			}
		}
		if seen[sn] || v.feedetlSn[sn] {
			return nil, refuse("费用明细第%d条的费用明细流水号feedetl_sn[%s]重复", n+1, printable(sn))
		}
		seen[sn] = true
		l, problem := c.feeLine(d, v, e.Time)
		if problem != "" {
			return nil, refuse("费用明细第%d条[%s]：%s", n+1, printable(sn), problem)
		}
		if total += l.Amount; total > maxFen {
			return nil, refuse("费用总额超出范围")
		}
		f.Lines = append(f.Lines, l)
	}
	e.Fees = f
	return nil, nil
}

// allUnsettled as chrg_bchno of 2205 means every batch that is not settled.
const allUnsettled = "0000"

// cancelFees takes back what was uploaded and not settled; all of nothing is
// nothing and books nothing.
func (c *Center) cancelFees(r *request, e *event) (old any, err error) {
	d := r.one("data")
	v, err := c.visitOf(r, d)
	if err != nil {
		return nil, err
	}
	number := d.text("chrg_bchno")
	e.FeesCancel = &feesCancel{MdtrtID: v.MdtrtID}
	if number != allUnsettled {
		switch b := v.batches[number]; {
		case b == nil:
			return nil, refuse("收费批次号chrg_bchno没有已上传的费用明细")
		case b.settled():
			return nil, refuse("该收费批次已结算，不能撤销明细")
		}
		e.FeesCancel.Batches = []string{number}
		return nil, nil
	}
	for n, b := range v.batches {
		if !b.settled() {
			e.FeesCancel.Batches = append(e.FeesCancel.Batches, n)
		}
	}
	if len(e.FeesCancel.Batches) == 0 {
		return object{}, nil
	}
	slices.Sort(e.FeesCancel.Batches)
	return nil, nil
}

// feeLine checks and splits one line; problem says why it is refused.
func (c *Center) feeLine(d record, v *visit, now time.Time) (l line, problem string) {
	l = line{FeedetlSn: d.text("feedetl_sn"), MedListCodg: d.text("med_list_codg")}
	it := c.rules.items[l.MedListCodg]
	if it == nil {
		return l, "医疗目录编码med_list_codg[" + printable(l.MedListCodg) + "]不在医保目录内"
	}
	var err error
	if l.Price, err = d.decimal("pric", priceScale); err != nil || l.Price <= 0 {
		return l, "单价pric应大于0"
	}
	if l.Quantity, err = d.decimal("cnt", quantityScale); err != nil || l.Quantity <= 0 {
		return l, "数量cnt应大于0，退费请撤销后重新上传"
	}
	if l.Amount, err = d.amount("det_item_fee_sumamt"); err != nil {
		return l, "明细项目费用总额det_item_fee_sumamt不是有效金额"
	}
	amount, ok := times(l.Price, l.Quantity)
	if !ok {
		return l, "金额超出范围"
	}
	if amount != l.Amount {
		return l, fmt.Sprintf("明细项目费用总额%s与单价乘数量%s不一致", l.Amount.yuan(), amount.yuan())
	}
	switch d.text("hosp_appr_flag") {
	case "1":
		l.Approved = true
	case "0", "2", "": // 2301 and the pharmacy may leave it out
	default:
		return l, "医院审批标志hosp_appr_flag应为0、1或2"
	}
	if f := d.text("rx_circ_flag"); f != "0" && f != "1" && f != "" {
		return l, "外购处方标志rx_circ_flag应为0或1"
	}
	at, err := parseTime(d.text("fee_ocur_time"))
	if err != nil || at.After(now.Add(ahead)) {
		return l, "费用发生时间fee_ocur_time晚于当前时间"
	}
	if at.Format("20060102") < v.Begin.In(china).Format("20060102") {
		return l, "费用发生时间fee_ocur_time早于就诊日期"
	}
	l.At, l.MedinsListCodg = &at, d.text("medins_list_codg")
	l.split(it.in(v.CareArea))
	return l, ""
}
