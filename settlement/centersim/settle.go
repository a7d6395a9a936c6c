package centersim

import "time"

// settle computes a settlement: 2206 answers it, 2207 books it. again lets a
// careless centre (RepeatBook) settle a batch that is settled.
func (c *Center) settle(r *request, now time.Time, again bool) (*settlement, error) {
	d := r.one("data")
	v, err := c.visitOf(r, d)
	if err != nil {
		return nil, err
	}
	p, err := c.identify(d)
	if err != nil {
		return nil, err
	}
	insutype := d.text("insutype")
	i, pol, err := c.insured(r, p, insutype)
	if err != nil {
		return nil, err
	}
	b := v.batches[d.text("chrg_bchno")]
	flag := d.text("acct_used_flag")
	switch {
	case insutype != v.Insutype:
		return nil, refuse("险种类型insutype与挂号信息不一致")
	case r.infno == "2206" && d.text("psn_type") != i.PsnType:
		return nil, refuse("人员类别psn_type与参保信息不一致")
	case v.info == nil:
		return nil, refuse("请先上传就诊信息(2203)")
	case d.text("med_type") != v.info.MedType:
		return nil, refuse("医疗类别med_type与就诊信息不一致")
	case d.text("psn_setlway") != "01":
		return nil, refuse("个人结算方式psn_setlway仅支持01按项目结算")
	case flag == "2":
		return nil, refuse("暂不支持个人账户共济")
	case flag != "0" && flag != "1":
		return nil, refuse("个人账户使用标志acct_used_flag应为0或1")
	case b == nil:
		return nil, refuse("收费批次号chrg_bchno没有已上传的费用明细")
	case b.settled() && !again:
		return nil, refuse("该收费批次已结算，不能重复结算")
	}
	t := &settlement{
		sums: sumOf(b.Lines), MdtrtID: v.MdtrtID, ChrgBchno: b.ChrgBchno, PsnNo: p.PsnNo,
		Insutype: insutype, MedType: v.info.MedType, CertType: d.text("mdtrt_cert_type"),
		CareArea: r.careArea, Year: now.Year(), SetlTime: now, MsgID: r.msgid, Institution: r.institution, Infno: r.infno,
	}
	if t.MedType == chronicType {
		t.Kind = chronic
	}
	if err := agree(d, "medfee_sumamt", t.Total); err != nil {
		return nil, err
	}
	if r.infno == "2207" {
		for _, x := range []struct {
			name string
			want fen
		}{
			{"fulamt_ownpay_amt", t.Full}, {"overlmt_selfpay", t.OverLimit},
			{"preselfpay_amt", t.PreSelf}, {"inscp_scp_amt", t.InScope},
		} {
			if err := agree(d, x.name, x.want); err != nil {
				return nil, err
			}
		}
	}
	return t, c.pay(r, t, v.register, p, i, pol, flag == "1")
}

// pay fills the money of t from its sums, by the benefit for its kind of care.
func (c *Center) pay(r *request, t *settlement, g register, p *person, i *insurance, pol *policy, useAccount bool) error {
	b := pol.of(t.Kind)
	if b == nil {
		return refuse("险种[%s]不支持该类就医", printable(t.Insutype))
	}
	t.InsuArea = r.insuArea
	var err error
	if t.Cut, err = c.unfiled(r, t, g, p); err != nil {
		return err
	}
	also := b.Supplement != nil && p.active(b.Supplement.Insutype) != nil
	before := c.state.used[yearKey{accountKey{p.PsnNo, t.Insutype}, t.Year, t.Kind}]
	if t.Kind == inpatient {
		before.Deductible = 0 // it is per stay
	}
	t.compute(b, pol.Account, i.PsnType, also, before, c.state.balance(p, i), useAccount)
	return nil
}

// agree holds an amount of the request against the booked fee lines.
func agree(d record, name string, want fen) error {
	got, err := d.amount(name)
	if err != nil {
		return err
	}
	if got != want {
		return refuse("金额[%s]%s与已上传费用明细的合计%s不一致", name, got.yuan(), want.yuan())
	}
	return nil
}
