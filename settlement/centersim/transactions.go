package centersim

import (
	"fmt"
	"slices"
	"time"
)

// paths gives every transaction's own URL path. callService takes them all;
// regions spell the paths in their own ways.
var paths = map[string]string{
	"9001":  "/fsi/api/signInSignOutService/signIn",
	"9002":  "/fsi/api/signInSignOutService/signOut",
	"1101":  "/fsi/api/fsiPsnInfoService/queryPsnInfo",
	"2201":  "/fsi/api/outpatientDocInfoService/outpatientRregistration",
	"2202":  "/fsi/api/outpatientDocInfoService/outpatientRegistrationCancel",
	"2203":  "/fsi/api/outpatientDocInfoService/outpatientMdtrtinfoUp",
	"2204":  "/fsi/api/outpatientDocInfoService/outpatientFeeListUp",
	"2205":  "/fsi/api/outpatientDocInfoService/outpatientFeeListUpCancel",
	"2206":  "/fsi/api/outpatientSettleService/preSettletment",
	"2207":  "/fsi/api/outpatientSettleService/saveSettletmentV2",
	"2208":  "/fsi/api/outpatientSettleService/cancleSettletment",
	"2601":  "/fsi/api/reverseService/revsMethod",
	"2203A": "/fsi/api/outpatientDocInfoService/outpatientMdtrtinfoUpA",
	"2206A": "/fsi/api/outpatientSettleService/preSettletmentA",
	"2207A": "/fsi/api/outpatientSettleService/saveSettletmentA",
	"2101":  "/fsi/api/drugStoreService/preSettletment",
	"2102":  "/fsi/api/drugStoreService/saveSettletment",
	"2103":  "/fsi/api/drugStoreService/cancleSettletment",
	"2301":  "/fsi/api/hospFeeDetlService/feeDetlUp",
	"2302":  "/fsi/api/hospFeeDetlService/feeDetlCancel",
	"2303":  "/fsi/api/hospSettService/preSett",
	"2304":  "/fsi/api/hospSettService/sett",
	"2305":  "/fsi/api/hospSettService/settCancel",
	"2401":  "/fsi/api/hospitalRegisterService/hospitalRegisterSave",
	"2402":  "/fsi/api/dscgService/dscg",
	"2403":  "/fsi/api/hospitalRegisterService/hospitalRegisterEdit",
	"2404":  "/fsi/api/hospitalRegisterService/hospitalRegisterCancel",
	"2405":  "/fsi/api/dscgService/dscgUndo",
	"2001":  "/fsi/api/fsiPsnPriorityInfoService/queryPsnPriorityInfo",
	"5201":  "/fsi/api/fsiIntegratedQueryService/queryMdtrtInfo",
	"5203":  "/fsi/api/fsiIntegratedQueryService/querySetlInfo",
	"5204":  "/fsi/api/fsiIntegratedQueryService/queryFeeList",
	"3201":  "/fsi/api/ybSettlementStmtService/stmtTotal",
	"3202":  "/fsi/api/ybSettlementStmtService/stmtDetail",
	"9101":  "/fsi/api/fileupload/upload",
	"9102":  "/fsi/api/fileupload/download",
}

// variants are transactions under another number, as some regions have them.
var variants = map[string]string{"2203A": "2203", "2206A": "2206", "2207A": "2207"}

// others are transactions that have no path of their own here, besides uploads.
var others = []string{
	"2501", "2502", "2503", "2504", "2505", "2506", "2507", "3203", "3204",
	"5202", "5205", "5206", "5301", "5302", "5303", "5304", offlineInfno,
}

// served tells whether the centre answers a transaction.
func served(infno string) bool {
	return paths[infno] != "" || uploads[infno] || slices.Contains(others, infno)
}

const callService = "/fsi/api/rsfComIfsService/callService"

// ahead is how far a visit's or a fee line's time may be in the future:
// institution and centre never agree to the second.
const ahead = 30 * time.Minute

// transact decides a checked request against the state. It returns the event
// to book, or (a question, or something already booked) the output.
// Nothing has changed when it returns.
func (c *Center) transact(r *request, now time.Time) (*event, any, error) {
	if err := c.known(r); err != nil {
		return nil, nil, err
	}
	if c.state.voided[[2]string{r.institution, r.msgid}] {
		return nil, nil, refuse("该报文已冲正，不再受理")
	}
	again, output, err := c.repeated(r)
	if err != nil || output != nil {
		return nil, output, err
	}
	if err := c.signedIn(r, now); err != nil {
		return nil, nil, err
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
	switch r.infno {
	case "2208", "2103", "2305":
		e.Refund, err = c.refund(r, now)
		return e, nil, err
	case "2101":
		t, err := c.sell(r, now)
		if err != nil {
			return nil, nil, err
		}
		return nil, c.saleOutput(t), nil
	case "2102":
		e.Sale, err = c.sell(r, now)
		return e, nil, err
	case "2303":
		t, err := c.settleStay(r, now, false)
		if err != nil {
			return nil, nil, err
		}
		return nil, c.settlementOutput(t), nil
	case "2304":
		e.Settlement, err = c.settleStay(r, now, again)
		return e, nil, err
	case "2301", "2302", "2401", "2402", "2403", "2404", "2405":
		old, err := c.stay(r, e, again)
		if err != nil || old == nil {
			return e, nil, err
		}
		return nil, old, nil
	case "2601":
		old, err := c.reverse(r, e)
		if err != nil || old == nil {
			return e, nil, err
		}
		return nil, old, nil
	case "9002":
		return e, nil, c.signOut(r, e)
	case "2001", "5201", "5202", "5203", "5204", "5205", "5206", "5301", "5302", "5303", "5304":
		output, err := c.query(r, now)
		return nil, output, err
	case "2501", "2502", "2503", "2504", "2505", "2506", "2507":
		old, err := c.file(r, e)
		if err != nil || old == nil {
			return e, nil, err
		}
		return nil, old, nil
	case "3203":
		return e, nil, c.claimMoney(r, e)
	case "3204":
		return e, nil, c.unclaim(r, e)
	case "3201":
		output, err := c.statementTotals(r)
		return nil, output, err
	case "3202":
		return e, nil, c.statementDetails(r, e)
	case "9101":
		return e, nil, c.upload(r, e)
	case "9102":
		output, err := c.download(r, now)
		return nil, output, err
	}
	if uploads[r.infno] {
		return e, nil, c.takeUpload(r, e)
	}
	if r.infno == offlineInfno {
		old, err := c.cardDebit(r, e)
		if err != nil || old == nil {
			return e, nil, err
		}
		return nil, old, nil
	}
	return nil, nil, refuse("交易编号[%s]不存在或未开通", r.infno)
}

// known tells whether the institution is admitted; of what another centre hands
// on, that one has looked, here and at the sign-in.
func (c *Center) known(r *request) error {
	admitted := c.rules.policy.Institutions
	if !r.forwarded && len(admitted) > 0 && !slices.Contains(admitted, r.institution) {
		return refuse("定点医药机构编号不存在")
	}
	return nil
}

func (c *Center) signedIn(r *request, now time.Time) error {
	if r.forwarded || r.infno == "9001" || (!c.rules.policy.SignInRequired && r.signNo == "") {
		return nil
	}
	return c.checkSignIn(r, now)
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

// signOut ends a sign-in: its number is worth nothing from now on.
func (c *Center) signOut(r *request, e *event) error {
	d := r.one("signOut")
	in := c.state.signIns[d.text("sign_no")]
	if in == nil || in.Institution != r.institution || in.SignIn.Opter != d.text("opter_no") {
		return refuse("签到编号无效或已签退")
	}
	e.SignOut = &signOut{SignNo: in.SignIn.SignNo}
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
	if !c.insures(p) {
		return nil, refuse("未查询到该人员的参保信息")
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
	i, pol := p.active(insutype), c.rules.policy.at(r.insuArea, insutype)
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
