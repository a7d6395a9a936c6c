package centersim

import "slices"

// register books a visit. The same out-patient number of the same person is
// the same visit, as long as nothing was settled: its old answer is returned.
// again lets a careless centre (RepeatBook) make a second visit of it.
func (c *Center) register(r *request, e *event, again bool) (old any, err error) {
	d := r.one("data")
	p, err := c.identify(d)
	if err != nil {
		return nil, err
	}
	insutype := d.text("insutype")
	i, _, err := c.insured(r, p, insutype)
	if err != nil {
		return nil, err
	}
	if d.text("psn_type") != i.PsnType {
		return nil, refuse("人员类别psn_type与参保信息不一致")
	}
	begin, err := parseTime(d.text("begntime"))
	if err != nil || begin.After(e.Time.Add(ahead)) {
		return nil, refuse("就诊开始时间begntime晚于当前时间")
	}
	extras, err := readExtras(d)
	if err != nil {
		return nil, err
	}
	otp := d.text("ipt_otp_no")
	if v := c.state.byOtp[[2]string{r.institution, otp}]; v != nil && !again {
		if v.PsnNo == p.PsnNo && v.Insutype == insutype && !v.settled() {
			return registerOutput(v.register), nil
		}
		return nil, refuse("住院/门诊号ipt_otp_no已使用")
	}
	e.Register = &register{
		MdtrtID: c.newID("1", r.insuArea, e.Time), PsnNo: p.PsnNo, Insutype: insutype,
		IptOtpNo: otp, CareArea: r.careArea, Begin: begin, Extras: extras,
	}
	return nil, nil
}

// kindOf is the kind of care that a transaction is for.
func kindOf(infno string) string {
	switch infno[:2] {
	case "21":
		return pharmacy
	case "23", "24":
		return inpatient
	}
	return outpatient
}

// visitOf finds the visit a record speaks of and checks whose it is.
func (c *Center) visitOf(r *request, d record) (*visit, error) {
	v := c.state.visits[d.text("mdtrt_id")]
	switch {
	case v == nil:
		return nil, refuse("未查询到就诊信息")
	case v.institution != r.institution:
		return nil, refuse("就诊信息不属于该定点医药机构")
	case v.PsnNo != d.text("psn_no"):
		return nil, refuse("人员编号psn_no与就诊信息不一致")
	case v.cancelled:
		return nil, refuse("挂号或入院已撤销")
	case v.Kind != kindOf(r.infno):
		return nil, refuse("该次就诊的类别不适用交易[%s]", r.infno)
	case !c.rules.byNumber[v.PsnNo].insuredAt(r.insuArea):
		return nil, refuse("参保地医保区划insuplc_admdvs与参保信息不一致")
	}
	return v, nil
}

func (c *Center) visitInfo(r *request, e *event) error {
	d := r.one("mdtrtinfo")
	v, err := c.visitOf(r, d)
	if err != nil {
		return err
	}
	if v.settled() {
		return refuse("就诊已结算，不能修改就诊信息")
	}
	medType := d.text("med_type")
	if !slices.Contains(c.rules.policy.MedTypes, medType) {
		return refuse("医疗类别med_type[%s]不支持", printable(medType))
	}
	if medType == chronicType {
		if why := c.chronicRefused(c.rules.byNumber[v.PsnNo], d.text("dise_codg"), v.Begin, v.CareArea, r.insuArea); why != "" {
			return refuse("%s", why)
		}
	}
	info := &visitInfo{MdtrtID: v.MdtrtID, MedType: medType, DiseCodg: d.text("dise_codg"), DiseName: d.text("dise_name")}
	if err := info.diagnose(r.nodes["diseinfo"], true); err != nil {
		return err
	}
	e.Visit = info
	return nil
}

// diagnose takes the valid diagnoses; those of an inpatient have no flag.
func (v *visitInfo) diagnose(records []record, flagged bool) error {
	seen := map[string]bool{}
	for n, x := range records {
		f := x.text("vali_flag")
		if flagged && f != "0" && f != "1" {
			return refuse("节点[diseinfo]第%d条有效标志vali_flag应为0或1", n+1)
		}
		if t := x.text("diag_type"); t != "1" && t != "2" && t != "3" {
			return refuse("节点[diseinfo]第%d条诊断类别diag_type应为1、2或3", n+1)
		}
		order := x.text("diag_srt_no")
		if seen[order] {
			return refuse("节点[diseinfo]第%d条诊断排序号diag_srt_no重复", n+1)
		}
		seen[order] = true
		if !flagged || f == "1" {
			booked := diagnosis{
				Code: x.text("diag_code"), Name: x.text("diag_name"), Type: x.text("diag_type"), Order: order,
				Dept: x.text("diag_dept"), Doctor: x.text("dise_dor_no"),
			}
			if at, err := parseTime(x.text("diag_time")); err == nil {
				booked.At = &at
			}
			v.Diagnoses = append(v.Diagnoses, booked)
		}
	}
	if len(v.Diagnoses) == 0 {
		return refuse("没有有效的诊断信息")
	}
	return nil
}

// cancelRegister takes back a visit that has no fee lines.
func (c *Center) cancelRegister(r *request, e *event) error {
	d := r.one("data")
	v, err := c.visitOf(r, d)
	switch {
	case err != nil:
		return err
	case r.infno == "2202" && d.text("ipt_otp_no") != v.IptOtpNo:
		return refuse("住院/门诊号ipt_otp_no与挂号信息不一致")
	case len(v.batches) > 0:
		return refuse("就诊有费用明细或已结算，不能撤销挂号")
	}
	e.Cancel = &registerCancel{MdtrtID: v.MdtrtID}
	return nil
}
