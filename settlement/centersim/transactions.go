package centersim

import (
	"fmt"
	"slices"
	"time"
)

// paths gives every transaction's own URL path; the spellings are the
// interface's. callService takes them all.
var paths = map[string]string{
	"9001": "/fsi/api/signInSignOutService/signIn",
	"1101": "/fsi/api/fsiPsnInfoService/queryPsnInfo",
	"2201": "/fsi/api/outpatientDocInfoService/outpatientRregistration",
	"2202": "/fsi/api/outpatientDocInfoService/outpatientRegistrationCancel",
	"2203": "/fsi/api/outpatientDocInfoService/outpatientMdtrtinfoUp",
	"2204": "/fsi/api/outpatientDocInfoService/outpatientFeeListUp",
	"2205": "/fsi/api/outpatientDocInfoService/outpatientFeeListUpCancel",
	"2206": "/fsi/api/outpatientSettleService/preSettletment",
	"2207": "/fsi/api/outpatientSettleService/saveSettletmentV2",
}

const callService = "/fsi/api/rsfComIfsService/callService"

// ahead is how far a visit's or a fee line's time may be in the future:
// institution and centre never agree to the second.
const ahead = 30 * time.Minute

// transact decides a checked request against the state. It returns the event
// to book, or (a question, or something already booked) the output.
// Nothing has changed when it returns.
func (c *Center) transact(r *request, now time.Time) (*event, any, error) {
	pol := c.rules.policy
	if len(pol.Institutions) > 0 && !slices.Contains(pol.Institutions, r.institution) {
		return nil, nil, refuse("定点医药机构编号不存在")
	}
	again, output, err := c.repeated(r)
	if err != nil || output != nil {
		return nil, output, err
	}
	if r.infno != "9001" && (pol.SignInRequired || r.signNo != "") {
		if err := c.checkSignIn(r, now); err != nil {
			return nil, nil, err
		}
	}
	e := &event{Infno: r.infno, MsgID: r.msgid, Institution: r.institution, Time: now, Digest: r.digest}
	switch r.infno {
	case "9001":
		return e, nil, c.signIn(r, e)
	case "1101":
		p, err := c.identify(r.one("data"))
		if err != nil {
			return nil, nil, err
		}
		return nil, c.personOutput(p, now), nil
	case "2201":
		old, err := c.register(r, e, again)
		if err != nil || old == nil {
			return e, nil, err
		}
		return nil, old, nil
	case "2202":
		return e, nil, c.cancelRegister(r, e)
	case "2203":
		return e, nil, c.visitInfo(r, e)
	case "2204":
		old, err := c.fees(r, e)
		if err != nil || old == nil {
			return e, nil, err
		}
		return nil, old, nil
	case "2205":
		old, err := c.cancelFees(r, e)
		if err != nil || old == nil {
			return e, nil, err
		}
		return nil, old, nil
	case "2206":
		t, err := c.settle(r, now, false)
		if err != nil {
			return nil, nil, err
		}
		return nil, c.settlementOutput(t), nil
	case "2207":
		e.Settlement, err = c.settle(r, now, again)
		if err != nil {
			return nil, nil, err
		}
		e.Settlement.SetlID = c.newID("2", r.insuArea, now)
		return e, nil, nil
	}
	return nil, nil, refuse("交易编号[%s]不存在或未开通", r.infno)
}

// repeated applies Config.Repeat to a msgid that has been booked before:
// again tells the caller to book it once more, an output is the old answer.
func (c *Center) repeated(r *request) (again bool, output any, err error) {
	old := c.state.byMsgID[[2]string{r.institution, r.msgid}]
	if old == nil {
		return false, nil, nil
	}
	switch {
	case c.config.Repeat == RepeatBook:
		return true, nil, nil
	case c.config.Repeat == RepeatSame && old.Infno == r.infno && old.Digest == r.digest:
		return false, c.output(old), nil
	}
	return false, nil, refuse("发送方报文ID重复")
}

func (c *Center) checkSignIn(r *request, now time.Time) error {
	e := c.state.signIns[r.signNo]
	switch {
	case e == nil || e.Institution != r.institution || e.SignIn.Opter != r.opter:
		return refuse("签到编号无效，请先签到(9001)")
	case e.Time.In(china).Format("20060102") != now.Format("20060102"):
		return refuse("签到编号已过期，请重新签到(9001)")
	}
	return nil
}

func (c *Center) signIn(r *request, e *event) error {
	opter := r.one("signIn").text("opter_no")
	if opter != r.opter {
		return refuse("操作员编号opter_no与经办人opter不一致")
	}
	e.SignIn = &signIn{SignNo: c.newID("9", r.careArea, e.Time), Opter: opter}
	return nil
}

// newID makes a number nobody has: kind, area, day and the place that the
// booking will have in the ledger.
func (c *Center) newID(kind, area string, now time.Time) string {
	return fmt.Sprintf("%s%s%s%09d", kind, area, now.Format("20060102"), c.ledger.seq+1)
}

// identify finds the person by their voucher and holds everything else the
// request says about them against the register.
func (c *Center) identify(r record) (*person, error) {
	var p *person
	number := r.text("mdtrt_cert_no")
	switch r.text("mdtrt_cert_type") {
	case "03":
		p = c.rules.byCard[number]
		code := r.text("card_sn")
		switch {
		case code == "":
			return nil, refuse("使用社会保障卡就诊时，卡识别码card_sn不能为空")
		case p == nil:
			return nil, refuse("未查询到该社会保障卡的持卡人")
		case p.Card.IdentificationCode != code:
			return nil, refuse("卡识别码card_sn与社会保障卡不符")
		case p.Card.State != "normal":
			return nil, refuse("社会保障卡%s", cardStates[p.Card.State])
		}
	case "02":
		if p = c.rules.byCert[number]; p == nil || p.PsnCertType != "01" {
			return nil, refuse("未查询到该人员的参保信息")
		}
	case "01":
		return nil, refuse("暂不支持医保电子凭证")
	default:
		return nil, refuse("就诊凭证类型mdtrt_cert_type应为01、02或03")
	}
	if r.text("psn_cert_type") != p.PsnCertType || r.text("certno") != p.Certno {
		return nil, refuse("证件类型或证件号码与参保登记不一致")
	}
	if name := r.text("psn_name"); name != "" && name != p.PsnName {
		return nil, refuse("人员姓名与参保登记不一致")
	}
	if n := r.text("psn_no"); n != "" && n != p.PsnNo {
		return nil, refuse("人员编号与就诊凭证不一致")
	}
	return p, nil
}

// insured finds the person's entry and holds the envelope's place of insurance
// against it.
func (c *Center) insured(r *request, p *person, insutype string) (*insurance, *policy, error) {
	i, pol := p.active(insutype), c.rules.policy.Insurance[insutype]
	switch {
	case i == nil:
		return nil, nil, refuse("该人员未参加险种[%s]或参保状态不正常", printable(insutype))
	case pol == nil:
		return nil, nil, refuse("险种[%s]不能在门诊结算", printable(insutype))
	case i.InsuplcAdmdvs != r.insuArea:
		return nil, nil, refuse("参保地医保区划insuplc_admdvs与参保信息不一致")
	}
	return i, pol, nil
}

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
	otp := d.text("ipt_otp_no")
	if v := c.state.byOtp[[2]string{r.institution, otp}]; v != nil && !again {
		if v.PsnNo == p.PsnNo && v.Insutype == insutype && !v.settled {
			return registerOutput(v.register), nil
		}
		return nil, refuse("住院/门诊号ipt_otp_no已使用")
	}
	e.Register = &register{
		MdtrtID: c.newID("1", r.insuArea, e.Time), PsnNo: p.PsnNo, Insutype: insutype,
		IptOtpNo: otp, CareArea: r.careArea, Begin: begin,
	}
	return nil, nil
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
		return nil, refuse("挂号已撤销")
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
	if v.settled {
		return refuse("就诊已结算，不能修改就诊信息")
	}
	medType := d.text("med_type")
	if !slices.Contains(c.rules.policy.MedTypes, medType) {
		return refuse("医疗类别med_type[%s]不支持", printable(medType))
	}
	info := &visitInfo{MdtrtID: v.MdtrtID, MedType: medType, DiseCodg: d.text("dise_codg"), DiseName: d.text("dise_name")}
	seen := map[string]bool{}
	for n, x := range r.nodes["diseinfo"] {
		if f := x.text("vali_flag"); f != "0" && f != "1" {
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
		if x.text("vali_flag") == "1" {
			info.Diagnoses = append(info.Diagnoses, diagnosis{x.text("diag_code"), x.text("diag_name")})
		}
	}
	if len(info.Diagnoses) == 0 {
		return refuse("没有有效的诊断信息")
	}
	e.Visit = info
	return nil
}

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
		case b.setlID != "":
			return nil, refuse("该收费批次已结算，不能撤销明细")
		}
		e.FeesCancel.Batches = []string{number}
		return nil, nil
	}
	for n, b := range v.batches {
		if b.setlID == "" {
			e.FeesCancel.Batches = append(e.FeesCancel.Batches, n)
		}
	}
	if len(e.FeesCancel.Batches) == 0 {
		return object{}, nil
	}
	slices.Sort(e.FeesCancel.Batches)
	return nil, nil
}

// cancelRegister takes back a visit that has no fee lines.
func (c *Center) cancelRegister(r *request, e *event) error {
	d := r.one("data")
	v, err := c.visitOf(r, d)
	switch {
	case err != nil:
		return err
	case d.text("ipt_otp_no") != v.IptOtpNo:
		return refuse("住院/门诊号ipt_otp_no与挂号信息不一致")
	case len(v.batches) > 0:
		return refuse("就诊有费用明细或已结算，不能撤销挂号")
	}
	e.Cancel = &registerCancel{MdtrtID: v.MdtrtID}
	return nil
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
	case "0", "2":
	default:
		return l, "医院审批标志hosp_appr_flag应为0、1或2"
	}
	if f := d.text("rx_circ_flag"); f != "0" && f != "1" {
		return l, "外购处方标志rx_circ_flag应为0或1"
	}
	at, err := parseTime(d.text("fee_ocur_time"))
	if err != nil || at.After(now.Add(ahead)) {
		return l, "费用发生时间fee_ocur_time晚于当前时间"
	}
	if at.Format("20060102") < v.Begin.In(china).Format("20060102") {
		return l, "费用发生时间fee_ocur_time早于就诊日期"
	}
	l.split(it)
	return l, ""
}

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
	case b.setlID != "" && !again:
		return nil, refuse("该收费批次已结算，不能重复结算")
	}
	t := &settlement{
		sums: sumOf(b.Lines), MdtrtID: v.MdtrtID, ChrgBchno: b.ChrgBchno, PsnNo: p.PsnNo,
		Insutype: insutype, MedType: v.info.MedType, CertType: d.text("mdtrt_cert_type"),
		CareArea: r.careArea, Year: now.Year(), SetlTime: now, MsgID: r.msgid, Institution: r.institution,
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
	also := pol.Supplement != nil && p.active(pol.Supplement.Insutype) != nil
	before := c.state.used[yearKey{accountKey{p.PsnNo, insutype}, t.Year}]
	t.compute(pol, i.PsnType, also, before, c.state.balance(p, i), flag == "1")
	return t, nil
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
