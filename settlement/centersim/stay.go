package centersim

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// A stay in hospital is a visit with one batch of lines that grows by 2301 and
// shrinks by 2302, settled once, after the discharge.

type linesCancel struct {
	MdtrtID   string   `json:"mdtrt_id"`
	FeedetlSn []string `json:"feedetl_sn"`
}

// discharge is 2402, or without a time 2405.
type discharge struct {
	MdtrtID string     `json:"mdtrt_id"`
	At      *time.Time `json:"endtime,omitempty"`
}

const stayBatch = "1" // the interface has no number for it

// lines are the uploaded lines of a stay, none at first.
func (v *visit) lines() []line {
	if b := v.batches[stayBatch]; b != nil {
		return b.Lines
	}
	return nil
}

// stay decides everything of a stay but its money.
func (c *Center) stay(r *request, e *event, again bool) (old any, err error) {
	if r.infno == "2401" {
		return c.admit(r, e, again)
	}
	node := map[string]string{"2301": "feedetail", "2402": "dscginfo", "2403": "adminfo"}[r.infno]
	if node == "" {
		node = "data"
	}
	d := r.nodes[node][0]
	v, err := c.visitOf(r, d)
	if err != nil {
		return nil, err
	}
	if v.settled() {
		return nil, refuse("住院已结算，请先撤销结算(2305)")
	}
	switch gone := v.discharged != nil; {
	case gone && r.infno != "2405":
		return nil, refuse("已办理出院，请先撤销出院(2405)")
	case !gone && r.infno == "2405":
		return nil, refuse("未办理出院")
	}
	switch r.infno {
	case "2301":
		return nil, c.stayFees(r, e, v)
	case "2302":
		if err := c.cancelStayFees(r, e, v); err != nil || len(e.StayLinesCancel.FeedetlSn) > 0 {
			return nil, err
		}
		return object{}, nil // all of nothing books nothing
	case "2402":
		return nil, c.discharge(r, e, v)
	case "2403":
		return nil, c.changeStay(r, e, v)
	case "2404":
		if len(v.lines()) > 0 {
			return nil, refuse("有未撤销的费用明细，不能撤销入院")
		}
		e.Cancel = &registerCancel{MdtrtID: v.MdtrtID}
	case "2405":
		e.Discharge = &discharge{MdtrtID: v.MdtrtID}
	}
	return nil, nil
}

// sameAreas holds the areas that inpatient requests repeat against the envelope.
func sameAreas(r *request, d record) error {
	if d.text("insuplc_admdvs") != r.insuArea || d.text("mdtrtarea_admvs") != r.careArea {
		return refuse("insuplc_admdvs或mdtrtarea_admvs与报文头不一致")
	}
	return nil
}

// admit books an admission. The same hospital number of the same person is the
// same stay, as long as nothing was settled.
func (c *Center) admit(r *request, e *event, again bool) (old any, err error) {
	d := r.one("mdtrtinfo")
	if err := sameAreas(r, d); err != nil {
		return nil, err
	}
	// 2401 calls cert_type what everything else calls psn_cert_type.
	who := maps.Clone(d)
	who["psn_cert_type"] = d["cert_type"]
	p, err := c.identify(who)
	if err != nil {
		return nil, err
	}
	insutype := d.text("insutype")
	if _, _, err := c.insured(r, p, insutype); err != nil {
		return nil, err
	}
	begin, err := parseTime(d.text("begntime"))
	if err != nil || begin.After(e.Time.Add(ahead)) {
		return nil, refuse("入院时间begntime晚于当前时间")
	}
	info, err := c.stayInfo(r, d)
	if err != nil {
		return nil, err
	}
	extras, err := readExtras(d)
	if err != nil {
		return nil, err
	}
	number := d.text("ipt_no")
	if v := c.state.byOtp[[2]string{r.institution, number}]; v != nil && !again {
		if v.PsnNo == p.PsnNo && v.Insutype == insutype && v.Kind == inpatient && !v.settled() {
			return admissionOutput(v.register), nil
		}
		return nil, refuse("住院号ipt_no已使用")
	}
	for _, v := range c.state.visits {
		if v.PsnNo == p.PsnNo && v.Kind == inpatient && !v.cancelled && v.discharged == nil && !again {
			return nil, refuse("该人员已在院，不能重复入院")
		}
	}
	g := register{
		MdtrtID: c.newID("1", r.insuArea, e.Time), PsnNo: p.PsnNo, Insutype: insutype, IptOtpNo: number,
		CareArea: r.careArea, Begin: begin, Kind: inpatient, Info: info, Extras: extras,
	}
	info.MdtrtID = g.MdtrtID
	e.Register = &g
	return nil, nil
}

func (c *Center) stayInfo(r *request, d record) (*visitInfo, error) {
	medType := d.text("med_type")
	if !slices.Contains(c.rules.policy.InpatientTypes, medType) {
		return nil, refuse("医疗类别med_type[%s]不支持", printable(medType))
	}
	info := &visitInfo{MedType: medType, DiseCodg: d.text("dise_codg"), DiseName: d.text("dise_name")}
	if info.DiseCodg == "" {
		info.DiseCodg, info.DiseName = d.text("dscg_maindiag_code"), d.text("dscg_maindiag_name")
	}
	return info, info.diagnose(r.nodes["diseinfo"], false)
}

func (c *Center) changeStay(r *request, e *event, v *visit) error {
	d := r.one("adminfo")
	begin, err := parseTime(d.text("begntime"))
	if err != nil || begin.After(e.Time.Add(ahead)) {
		return refuse("入院时间begntime晚于当前时间")
	}
	if d.text("ipt_otp_no") != v.IptOtpNo {
		return refuse("住院/门诊号ipt_otp_no与入院信息不一致")
	}
	for _, l := range v.lines() {
		if l.At != nil && l.At.In(china).Format("20060102") < begin.Format("20060102") {
			return refuse("入院时间begntime晚于已上传费用的发生时间")
		}
	}
	info, err := c.stayInfo(r, d)
	if err != nil {
		return err
	}
	info.MdtrtID, info.Begin = v.MdtrtID, &begin
	e.Visit = info
	return nil
}

func (c *Center) discharge(r *request, e *event, v *visit) error {
	d := r.one("dscginfo")
	at, err := parseTime(d.text("endtime"))
	if err != nil || at.After(e.Time.Add(ahead)) || at.Before(v.Begin) {
		return refuse("出院时间endtime早于入院时间或晚于当前时间")
	}
	if d.text("insutype") != v.Insutype {
		return refuse("险种类型insutype与入院信息不一致")
	}
	e.Discharge = &discharge{MdtrtID: v.MdtrtID, At: &at}
	return nil
}

// stayFees books lines, all or nothing. Lines that are there already are
// refused: the interface has no batch by which a repeated call could be known.
func (c *Center) stayFees(r *request, e *event, v *visit) error {
	records := r.nodes["feedetail"]
	for n, d := range records {
		if d.text("mdtrt_id") != v.MdtrtID || d.text("psn_no") != v.PsnNo {
			return refuse("费用明细第%d条的就诊ID或人员编号与第1条不一致", n+1)
		}
		if d.text("med_type") != v.info.MedType {
			return refuse("费用明细第%d条的医疗类别med_type与入院信息不一致", n+1)
		}
	}
	lines, err := c.lines(records, v, e.Time)
	if err != nil {
		return err
	}
	if sumOf(v.lines()).Total+sumOf(lines).Total > maxFen {
		return refuse("费用总额超出范围")
	}
	e.StayLines = &fees{MdtrtID: v.MdtrtID, ChrgBchno: stayBatch, Lines: lines}
	return nil
}

// cancelStayFees takes lines back by their numbers; 0000 is all of them.
func (c *Center) cancelStayFees(r *request, e *event, v *visit) error {
	e.StayLinesCancel = &linesCancel{MdtrtID: v.MdtrtID}
	records := r.nodes["data"]
	seen := map[string]bool{}
	for n, d := range records {
		sn := d.text("feedetl_sn")
		switch {
		case d.text("mdtrt_id") != v.MdtrtID || d.text("psn_no") != v.PsnNo:
			return refuse("第%d条的就诊ID或人员编号与第1条不一致", n+1)
		case sn == allUnsettled && len(records) == 1:
			for _, l := range v.lines() {
				e.StayLinesCancel.FeedetlSn = append(e.StayLinesCancel.FeedetlSn, l.FeedetlSn)
			}
		case !v.feedetlSn[sn] || seen[sn]:
			return refuse("费用明细流水号feedetl_sn[%s]没有已上传的费用明细或重复", printable(sn))
		default:
			e.StayLinesCancel.FeedetlSn = append(e.StayLinesCancel.FeedetlSn, sn)
		}
		seen[sn] = true
	}
	return nil
}

// settleStay computes the settlement of a stay: 2303 answers it, also before
// the discharge, 2304 books it.
func (c *Center) settleStay(r *request, now time.Time, again bool) (*settlement, error) {
	d := r.one("data")
	v, err := c.visitOf(r, d)
	if err != nil {
		return nil, err
	}
	if err := sameAreas(r, d); err != nil {
		return nil, err
	}
	p, err := c.identify(d)
	if err != nil {
		return nil, err
	}
	i, pol, err := c.insured(r, p, d.text("insutype"))
	if err != nil {
		return nil, err
	}
	flag := d.text("acct_used_flag")
	switch {
	case v.Insutype != i.Insutype:
		return nil, refuse("险种类型insutype与入院信息不一致")
	case d.text("psn_type") != i.PsnType:
		return nil, refuse("人员类别psn_type与参保信息不一致")
	case d.text("psn_setlway") != "01":
		return nil, refuse("个人结算方式psn_setlway仅支持01按项目结算")
	case d.text("mid_setl_flag") != "0":
		return nil, refuse("暂不支持中途结算，mid_setl_flag应为0")
	case flag != "" && flag != "0" && flag != "1":
		return nil, refuse("个人账户使用标志acct_used_flag应为0或1")
	case len(v.lines()) == 0:
		return nil, refuse("没有已上传的费用明细")
	case v.settled() && !again:
		return nil, refuse("住院已结算，不能重复结算")
	case r.infno == "2304" && v.discharged == nil:
		return nil, refuse("请先办理出院(2402)")
	}
	t := &settlement{
		sums: sumOf(v.lines()), MdtrtID: v.MdtrtID, ChrgBchno: stayBatch, PsnNo: p.PsnNo, Insutype: v.Insutype,
		MedType: v.info.MedType, Kind: inpatient, CertType: d.text("mdtrt_cert_type"), CareArea: r.careArea,
		Year: now.Year(), SetlTime: now, MsgID: r.msgid, Institution: r.institution, Infno: r.infno,
	}
	for name, want := range map[string]fen{
		"medfee_sumamt": t.Total, "fulamt_ownpay_amt": t.Full, "overlmt_selfpay": t.OverLimit, "preselfpay_amt": t.PreSelf, "inscp_scp_amt": t.InScope,
	} {
		if d.text(name) == "" {
			continue // the four parts are optional here
		}
		if err := agree(d, name, want); err != nil {
			return nil, err
		}
	}
	if r.infno == "2304" {
		t.SetlID = c.newID("2", r.insuArea, now)
	}
	return t, c.pay(r, t, v.register, p, i, pol, flag == "1")
}

// reverseAdmission is 2601 for 2401; undone tells that it was taken back before.
func (c *Center) reverseAdmission(r *request, e *event, msgid string) (undone bool, err error) {
	old := c.state.byMsgID[[2]string{r.institution, msgid}]
	if old == nil || old.Infno != "2401" || old.Register == nil {
		return false, nil
	}
	v := c.state.visits[old.Register.MdtrtID]
	switch {
	case v.PsnNo != r.one("data").text("psn_no"):
		return false, refuse("人员编号psn_no与原交易不一致")
	case v.cancelled:
		return true, nil
	case len(v.lines()) > 0 || v.discharged != nil:
		return false, refuse("有未撤销的费用明细或已办理出院，不能冲正入院")
	}
	e.Cancel = &registerCancel{MdtrtID: v.MdtrtID}
	return false, nil
}

func (s *state) applyStay(e *event) error {
	misfit := errors.New("lines or the end of a stay that is not there, or settled")
	switch {
	case e.StayLines != nil:
		v := s.visits[e.StayLines.MdtrtID]
		if v == nil || v.Kind != inpatient || v.settled() {
			return misfit
		}
		b := v.batches[stayBatch]
		if b == nil {
			b = &batch{fees: fees{MdtrtID: v.MdtrtID, ChrgBchno: stayBatch}}
			v.batches[stayBatch] = b
		}
		for _, l := range e.StayLines.Lines {
			if v.feedetlSn[l.FeedetlSn] {
				return misfit
			}
			v.feedetlSn[l.FeedetlSn] = true
		}
		// A new list: the answer to a look-up may still hold the old one.
		b.Lines = slices.Concat(b.Lines, e.StayLines.Lines)
	case e.StayLinesCancel != nil:
		v := s.visits[e.StayLinesCancel.MdtrtID]
		if v == nil || v.Kind != inpatient || v.settled() {
			return misfit
		}
		for _, sn := range e.StayLinesCancel.FeedetlSn {
			if !v.feedetlSn[sn] {
				return misfit
			}
			delete(v.feedetlSn, sn)
		}
		if b := v.batches[stayBatch]; b != nil {
			b.Lines = slices.DeleteFunc(slices.Clone(b.Lines), func(l line) bool { return !v.feedetlSn[l.FeedetlSn] })
			if len(b.Lines) == 0 {
				delete(v.batches, stayBatch)
			}
		}
	case e.Discharge != nil:
		v := s.visits[e.Discharge.MdtrtID]
		if v == nil || v.Kind != inpatient || v.settled() {
			return misfit
		}
		v.discharged = e.Discharge.At
	}
	return nil
}

func admissionOutput(g register) any {
	return object{"result": object{"mdtrt_id": g.MdtrtID, "exp_content": nil}}
}
