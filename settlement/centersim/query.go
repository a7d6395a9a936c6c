package centersim

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// personOf finds the person of a question that names nobody's card: psn_no,
// with the place of insurance as the proof that the asker has met them.
func (c *Center) personOf(r *request, d record) (*person, error) {
	p := c.rules.byNumber[d.text("psn_no")]
	switch {
	case p == nil:
		return nil, refuse("未查询到该人员的参保信息")
	case !p.insuredAt(r.insuArea):
		return nil, refuse("参保地医保区划insuplc_admdvs与参保信息不一致")
	}
	return p, nil
}

// query answers the look-ups. They book nothing.
func (c *Center) query(r *request, now time.Time) (any, error) {
	d := r.one("data")
	if r.infno == "5303" {
		return c.queryStays(r, d, now)
	}
	p, err := c.personOf(r, d)
	if err != nil {
		return nil, err
	}
	switch r.infno {
	case "5202":
		return c.queryDiagnoses(r, p, d), nil
	case "5205":
		return c.queryChronicLines(r, p, d)
	case "5206":
		return c.queryYear(p, d, now)
	case "5301", "5302", "5304":
		return c.queryFilings(r, p, d)
	case "2001":
		return c.entitlement(r, p, d)
	case "5201":
		return c.queryVisits(r, p, d, now)
	}
	t, lines := c.lookUp(r, p, d)
	if r.infno == "5204" {
		return lines, nil
	}
	if t == nil {
		return nil, refuse("未查询到结算信息")
	}
	return c.querySettlement(p, t), nil
}

// lookUp finds what 5203 and 5204 ask for: the settlement, and fee lines. By
// the letter that takes the setl_id; a generous centre finds the visit's last
// settlement, one that stands before one that does not, and all its lines.
func (c *Center) lookUp(r *request, p *person, d record) (*settlement, []object) {
	v := c.state.visits[d.text("mdtrt_id")]
	if v == nil || v.institution != r.institution || v.PsnNo != p.PsnNo {
		return nil, []object{}
	}
	if id := d.text("setl_id"); id != "" {
		t := c.state.bySetl[id]
		if t == nil || t.MdtrtID != v.MdtrtID || t.Institution != r.institution {
			return nil, []object{}
		}
		return t, c.queryLines(v, v.batches[t.ChrgBchno], t)
	}
	var found *settlement
	for _, t := range c.state.ofVisit(v) {
		if found == nil || !c.state.stands(found) || c.state.stands(t) {
			found = t
		}
	}
	lines := []object{}
	for _, number := range slices.Sorted(maps.Keys(v.batches)) {
		var of *settlement
		if b := v.batches[number]; b.settled() {
			of = c.state.bySetl[b.setl[len(b.setl)-1]]
		}
		lines = append(lines, c.queryLines(v, v.batches[number], of)...)
	}
	return found, lines
}

// ofVisit are the rows of a visit, in the order of the ledger.
func (s *state) ofVisit(v *visit) []*settlement {
	rows := []*settlement{}
	for _, id := range v.setl {
		rows = append(rows, s.bySetl[id])
	}
	return rows
}

// stands tells whether a row is a settlement that nothing has undone.
func (s *state) stands(t *settlement) bool { return t.Refunds == "" && s.refunds[t.SetlID] == nil }

// entitlement answers 2001: one row for every fund of the insurance.
func (c *Center) entitlement(r *request, p *person, d record) (any, error) {
	insutype, medType := d.text("insutype"), d.text("med_type")
	if d.text("fixmedins_code") != r.institution {
		return nil, refuse("定点医药机构编号与发送方不一致")
	}
	begin, err := parseTime(d.text("begntime"))
	if err != nil {
		return nil, refuse("开始时间begntime无效")
	}
	i, pol := p.active(insutype), c.rules.policy.at(r.insuArea, insutype)
	if pol == nil {
		return nil, refuse("险种[%s]不能在本地结算", printable(insutype))
	}
	why := ""
	switch {
	case i == nil:
		why = "该人员未参加该险种或参保状态不正常"
	case medType != pharmacyType && !slices.Contains(c.rules.policy.MedTypes, medType) && !slices.Contains(c.rules.policy.InpatientTypes, medType):
		why = "不享受该医疗类别的待遇"
	case begin.Format("2006-01-02") < i.PsnInsuDate:
		why = "就诊早于参保日期"
	case medType == chronicType:
		why = c.chronicRefused(p, d.text("dise_codg"), begin, r.careArea, r.insuArea)
	}
	if why == "" && medType != emergencyType && outType(r.careArea, r.insuArea) == fromOtherProvince && c.rules.policy.Cross.Unfiled == unfiledRefused && !c.filed(p, r.careArea, begin) {
		why = notFiled
	}
	rows := []object{}
	add := func(fund, why string) {
		flag := "1"
		if why != "" {
			flag = "0"
		} else {
			why = "正常享受待遇"
		}
		rows = append(rows, object{
			"psn_no": p.PsnNo, "trt_chk_type": "01", "fund_pay_type": fund, "trt_enjymnt_flag": flag,
			"begndate": begin.Format("2006-01-02"), "enddate": nil, "trt_chk_rslt": why, "exp_content": nil,
		})
	}
	add(pol.FundPayType, why)
	if s := pol.Supplement; s != nil {
		if why == "" && p.active(s.Insutype) == nil {
			add(s.FundPayType, "该人员未参加险种["+s.Insutype+"]")
		} else {
			add(s.FundPayType, why)
		}
	}
	return object{"trtinfo": rows}, nil
}

// queryVisits answers 5201: visits, but neither their settlements nor what has
// become of them. Who lost an answer learns nothing here but the mdtrt_id.
func (c *Center) queryVisits(r *request, p *person, d record, now time.Time) (any, error) {
	from, errFrom := parseTime(d.text("begntime"))
	to, errTo := parseTime(d.text("endtime"))
	if errFrom != nil || errTo != nil || to.Before(from) {
		return nil, refuse("结束时间endtime早于开始时间begntime")
	}
	rows := []object{}
	for _, v := range c.state.visits {
		switch id := d.text("mdtrt_id"); {
		case v.PsnNo != p.PsnNo || v.institution != r.institution || v.cancelled || v.info == nil:
			continue
		case v.info.MedType != d.text("med_type") || (id != "" && id != v.MdtrtID) || v.Begin.Before(from) || v.Begin.After(to):
			continue
		}
		psnType, cvlserv := p.typeIn(v.Insutype)
		row := object{
			"mdtrt_id": v.MdtrtID, "psn_no": p.PsnNo, "psn_cert_type": p.PsnCertType, "certno": p.Certno, "psn_name": p.PsnName,
			"gend": p.Gend, "naty": p.Naty, "brdy": p.Brdy, "age": p.age(now), "insutype": v.Insutype, "psn_type": psnType,
			"cvlserv_flag": cvlserv, "begntime": v.Begin.In(china).Format(timeForm), "endtime": v.Begin.In(china).Format(timeForm), "med_type": v.info.MedType,
			"ipt_otp_no": v.IptOtpNo, "dise_codg": v.info.DiseCodg, "dise_name": v.info.DiseName, "insu_optins": r.insuArea,
		}
		if v.Kind == inpatient {
			row["inhosp_stas"] = "1"
			if v.discharged != nil {
				row["inhosp_stas"], row["endtime"] = "0", v.discharged.In(china).Format(timeForm)
			}
		}
		rows = append(rows, c.withSettlements(row, v)...)
	}
	slices.SortStableFunc(rows, func(a, b object) int { return cmp.Compare(a["mdtrt_id"].(string), b["mdtrt_id"].(string)) })
	return object{"mdtrtinfo": rows}, nil
}

// withSettlements is a row of 5201 as this centre shows it: a generous one has
// a row for every settlement that stands, or one without a setl_id.
func (c *Center) withSettlements(row object, v *visit) []object {
	if c.config.Lookups != LookupsGenerous {
		return []object{row}
	}
	rows := []object{}
	for _, t := range c.state.ofVisit(v) {
		if !c.state.stands(t) {
			continue
		}
		of := maps.Clone(row)
		of["setl_id"], of["medins_setl_id"], of["medfee_sumamt"] = t.SetlID, t.MsgID, num(t.Total)
		of["setl_time"] = t.SetlTime.In(china).Format(timeForm)
		rows = append(rows, of)
	}
	if len(rows) == 0 {
		row["setl_id"], row["medins_setl_id"], row["medfee_sumamt"], row["setl_time"] = nil, nil, nil, nil
		rows = append(rows, row)
	}
	return rows
}

// typeIn is the person's category in an insurance, also an ended one.
func (p *person) typeIn(insutype string) (psnType, cvlserv string) {
	cvlserv = "0"
	for _, i := range p.Insurance {
		if i.Insutype == insutype {
			psnType, cvlserv = i.PsnType, i.CvlservFlag
		}
	}
	return psnType, cvlserv
}

// refundFlag is refd_setl_flag of the lists: 1 for the negative row alone.
func refundFlag(t *settlement) string {
	if t.Refunds != "" {
		return "1"
	}
	return "0"
}

// querySettlement answers 5203. Its refd_setl_flag is 1 for a refund and for
// what was refunded: it is where one asks whether a settlement still stands.
func (c *Center) querySettlement(p *person, t *settlement) any {
	flag := refundFlag(t)
	if c.state.refunds[t.SetlID] != nil {
		flag = "1"
	}
	// The same amounts as in the answer to the settlement, under the names of
	// the query.
	o := c.settlementOutput(t).(object)
	info := o["setlinfo"].(object)
	v := c.state.visits[t.MdtrtID]
	for query, answer := range map[string]string{"psn_pay": "psn_part_amt", "cash_payamt": "psn_cash_pay"} {
		info[query] = info[answer]
		delete(info, answer)
	}
	delete(info, "hosp_part_amt")
	for name, value := range (object{
		"pay_loc": payLoc[outType(t.CareArea, t.InsuArea)], "fixmedins_code": t.Institution, "fixmedins_name": "定点医药机构" + t.Institution,
		"begndate": v.Begin.In(china).Format("2006-01-02"), "enddate": t.SetlTime.In(china).Format("2006-01-02"),
		"refd_setl_flag": flag, "year": t.SetlTime.In(china).Format("2006"), "insu_optins": nil, "invono": nil,
	}) {
		info[name] = value
	}
	if v.info != nil {
		info["dise_codg"], info["dise_name"] = v.info.DiseCodg, v.info.DiseName
	}
	return o
}

// listTypes tells list_type from the first letter of a catalogue code.
var listTypes = map[byte]string{'X': "101", 'Z': "101", 'T': "102", 'C': "301"}

// queryLines are rows of 5204: the lines of a batch, with the settlement they
// belong to, if any.
func (c *Center) queryLines(v *visit, b *batch, t *settlement) []object {
	rows := []object{}
	if b == nil {
		return rows // refunded and withdrawn
	}
	var setlID any
	medType := ""
	switch {
	case t != nil:
		setlID, medType = t.SetlID, t.MedType
	case v.info != nil:
		medType = v.info.MedType
	}
	for n, l := range feesOutput(b.fees)["result"].([]object) {
		booked := b.Lines[n]
		name, list := booked.MedListCodg, listTypes[booked.MedListCodg[0]]
		if it := c.rules.items[booked.MedListCodg]; it != nil {
			name = it.Name
		}
		if list == "" {
			list = "201"
		}
		var at any
		if booked.At != nil {
			at = booked.At.In(china).Format(timeForm)
		}
		for field, value := range (object{
			"mdtrt_id": v.MdtrtID, "setl_id": setlID, "med_type": medType, "fee_ocur_time": at,
			"hilist_code": booked.MedListCodg, "hilist_name": name, "list_type": list, "med_list_codg": booked.MedListCodg,
			"medins_list_codg": booked.MedinsListCodg, "medins_list_name": name, "dosform_name": "-",
			"hosp_appr_flag": map[bool]string{false: "0", true: "1"}[booked.Approved],
		}) {
			l[field] = value
		}
		rows = append(rows, l)
	}
	return rows
}
