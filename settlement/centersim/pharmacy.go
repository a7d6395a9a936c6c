package centersim

import "time"

// sale is what a pharmacy books in one go: the visit, its lines, the money.
type sale struct {
	Register   register   `json:"register"`
	Fees       fees       `json:"fees"`
	Settlement settlement `json:"settlement"`
}

// saleBatch is the number that the lines of a sale are kept under; the
// interface knows none.
const saleBatch = "1"

// pharmacyType is the only med_type of a pharmacy here.
const pharmacyType = "41"

// sell computes a sale: 2101 answers it, 2102 books it. It names no visit, so
// nothing but the msgid tells a repeated one from a second one.
func (c *Center) sell(r *request, now time.Time) (*sale, error) {
	d := r.one("druginfo")
	p, err := c.identify(d)
	if err != nil {
		return nil, err
	}
	insutype, flag := d.text("insutype"), d.text("acct_used_flag")
	i, pol, err := c.insured(r, p, insutype)
	if err != nil {
		return nil, err
	}
	begin, err := parseTime(d.text("begntime"))
	switch {
	case err != nil || begin.After(now.Add(ahead)):
		return nil, refuse("开始时间begntime晚于当前时间")
	case d.text("psn_type") != i.PsnType:
		return nil, refuse("人员类别psn_type与参保信息不一致")
	case d.text("med_type") != pharmacyType:
		return nil, refuse("医疗类别med_type[%s]不支持，药店购药为%s", printable(d.text("med_type")), pharmacyType)
	case flag != "0" && flag != "1":
		return nil, refuse("个人账户使用标志acct_used_flag应为0或1")
	}
	x := &sale{Register: register{PsnNo: p.PsnNo, Insutype: insutype, CareArea: r.careArea, Begin: begin, Kind: pharmacy}}
	x.Fees.ChrgBchno = saleBatch
	if x.Fees.Lines, err = c.lines(r.nodes["drugdetail"], &visit{register: x.Register}, now); err != nil {
		return nil, err
	}
	x.Register.Info = &visitInfo{MedType: pharmacyType, DiseCodg: d.text("dise_codg"), DiseName: d.text("dise_name")}
	x.Settlement = settlement{
		sums: sumOf(x.Fees.Lines), ChrgBchno: saleBatch, PsnNo: p.PsnNo, Insutype: insutype, MedType: pharmacyType, Kind: pharmacy,
		CertType: d.text("mdtrt_cert_type"), CareArea: r.careArea, Year: now.Year(), SetlTime: now,
		MsgID: r.msgid, Institution: r.institution, Infno: r.infno,
	}
	if err := agree(d, "medfee_sumamt", x.Settlement.Total); err != nil {
		return nil, err
	}
	if err := c.pay(r, &x.Settlement, x.Register, p, i, pol, flag == "1"); err != nil {
		return nil, err
	}
	if r.infno == "2102" {
		id := c.newID("1", r.insuArea, now)
		x.Register.MdtrtID, x.Register.Info.MdtrtID, x.Fees.MdtrtID, x.Settlement.MdtrtID = id, id, id, id
		x.Settlement.SetlID = c.newID("2", r.insuArea, now)
	}
	return x, nil
}

// lines checks and splits the lines of a request that stand for themselves.
func (c *Center) lines(records []record, v *visit, now time.Time) ([]line, error) {
	var lines []line
	var total fen
	seen := map[string]bool{}
	for n, d := range records {
		sn := d.text("feedetl_sn")
		if seen[sn] || v.feedetlSn[sn] {
			return nil, refuse("费用明细第%d条的费用明细流水号feedetl_sn[%s]重复", n+1, printable(sn))
		}
		seen[sn] = true
		l, problem := c.feeLine(d, v, now)
		if problem != "" {
			return nil, refuse("费用明细第%d条[%s]：%s", n+1, printable(sn), problem)
		}
		if total += l.Amount; total > maxFen {
			return nil, refuse("费用总额超出范围")
		}
		lines = append(lines, l)
	}
	return lines, nil
}

func (s *state) applySale(e *event) error {
	x := e.Sale
	if err := s.applyRegister(e, x.Register); err != nil {
		return err
	}
	v := s.visits[x.Register.MdtrtID]
	v.batches[x.Fees.ChrgBchno] = &batch{fees: x.Fees, digest: e.Digest}
	return s.applySettlement(&x.Settlement)
}

// saleOutput answers 2101 and 2102: the settlement and the split of its lines.
func (c *Center) saleOutput(x *sale) any {
	o := c.settlementOutput(&x.Settlement).(object)
	o["detlcutinfo"] = filled(feesOutput(x.Fees))["result"]
	return o
}

// filled writes the flags as 0 that 2204 may leave null and that other answers
// must have.
func filled(o object) object {
	for _, l := range o["result"].([]object) {
		for _, name := range []string{"hi_nego_drug_flag", "chld_medc_flag", "list_sp_item_flag", "drt_reim_flag"} {
			if l[name] == nil {
				l[name] = "0"
			}
		}
	}
	return o
}
