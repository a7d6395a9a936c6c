package centersim

import (
	"encoding/json"
	"fmt"
	"time"
)

// object is a JSON object of an answer.
type object = map[string]any

func num(f fen) json.Number   { return json.Number(f.yuan()) }
func short(f fen) json.Number { return json.Number(f.short()) }

func ratio(v int64) json.Number { return json.Number(formatDecimal(v, ratioScale)) }

// orNull writes what is not there as null, as the register's exports do.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// output is the answer to a booked event, the same whenever it is asked for.
func (c *Center) output(e *event) any {
	switch {
	case e.SignIn != nil:
		return object{"signinoutb": object{"sign_time": e.Time.In(china).Format(timeForm), "sign_no": e.SignIn.SignNo}}
	case e.Register != nil && e.Register.Kind == inpatient:
		return admissionOutput(*e.Register)
	case e.Sale != nil:
		return c.saleOutput(e.Sale)
	case e.StayLines != nil:
		return filled(feesOutput(*e.StayLines))
	case e.Register != nil:
		return registerOutput(*e.Register)
	case e.Fees != nil:
		return feesOutput(*e.Fees)
	case e.Settlement != nil:
		return c.settlementOutput(e.Settlement)
	case e.Refund != nil && !e.Refund.Reversal:
		return c.settlementOutput(e.Refund)
	case e.Upload != nil:
		o := fileOutput(e.Upload)
		o["fixmedins_code"] = e.Institution
		return o
	case e.Statement != nil:
		return object{"fileinfo": fileOutput(e.Statement)}
	case e.Declaration != nil:
		return declarationOutput(e.Declaration)
	case e.Taken != nil:
		return takenOutput(e)
	case e.Claim != nil:
		return object{"result": object{"clr_appy_evt_id": e.Claim.ID}}
	case e.SignOut != nil:
		return object{"sign_time": object{"sign_time": e.Time.In(china).Format(timeForm)}}
	}
	return object{} // 2202, 2203, 2205, 2601 and withdrawals have no output
}

// personOutput answers 1101, with what is empty written in the ways in which
// centres write it: null, "" and "null".
func (c *Center) personOutput(p *person, now time.Time) any {
	insu := []object{}
	for _, i := range p.Insurance {
		employer := i.EmpName
		if employer == "" {
			employer = "null"
		}
		insu = append(insu, object{
			"balc": short(c.state.balance(p, i)), "insutype": i.Insutype, "psn_type": i.PsnType,
			"psn_insu_stas": i.PsnInsuStas, "psn_insu_date": orNull(i.PsnInsuDate),
			"paus_insu_date": orNull(i.PausInsuDate), "cvlserv_flag": i.CvlservFlag,
			"insuplc_admdvs": i.InsuplcAdmdvs, "emp_name": employer,
		})
	}
	idet := []object{}
	for _, x := range p.Identities {
		idet = append(idet, object{
			"psn_idet_type": x.PsnIdetType, "psn_type_lv": x.PsnTypeLv, "memo": x.Memo,
			"begntime": x.Begntime, "endtime": orNull(x.Endtime),
		})
	}
	return object{
		"baseinfo": object{
			"psn_no": p.PsnNo, "psn_cert_type": p.PsnCertType, "certno": p.Certno, "psn_name": p.PsnName,
			"gend": p.Gend, "naty": p.Naty, "brdy": p.Brdy, "age": p.age(now), "exp_content": "",
		},
		"insuinfo": insu,
		"idetinfo": idet,
	}
}

// age is the person's age in years with one decimal, by whole months.
func (p *person) age(now time.Time) json.Number {
	months := (now.Year()-p.born.Year())*12 + int(now.Month()) - int(p.born.Month())
	if now.Day() < p.born.Day() {
		months--
	}
	tenths := max(0, months) * 10 / 12
	return json.Number(fmt.Sprintf("%d.%d", tenths/10, tenths%10))
}

func registerOutput(g register) any {
	return object{"data": object{"mdtrt_id": g.MdtrtID, "psn_no": g.PsnNo, "ipt_otp_no": g.IptOtpNo, "exp_content": nil}}
}

func feesOutput(f fees) object {
	result := []object{}
	flag := map[bool]string{false: "0", true: "1"}
	for _, l := range f.Lines {
		memo := ""
		if l.Limited && !l.Approved {
			memo = "限制使用项目未经医院审批，按全自费处理"
		}
		result = append(result, object{
			"feedetl_sn": l.FeedetlSn, "det_item_fee_sumamt": short(l.Amount),
			"cnt":            json.Number(formatDecimal(l.Quantity, quantityScale)),
			"pric":           json.Number(formatDecimal(l.Price, priceScale)),
			"pric_uplmt_amt": json.Number(formatDecimal(l.PriceCeiling, priceScale)),
			"selfpay_prop":   ratio(l.Selfpay), "fulamt_ownpay_amt": short(l.Full),
			"overlmt_amt": short(l.OverLimit), "preselfpay_amt": short(l.PreSelf), "inscp_scp_amt": short(l.InScope),
			"chrgitm_lv": l.Class, "med_chrgitm_type": l.ChargeType, "bas_medn_flag": flag[l.Basic],
			"hi_nego_drug_flag": nil, "chld_medc_flag": nil, "list_sp_item_flag": nil,
			"lmt_used_flag": flag[l.Limited], "drt_reim_flag": nil, "memo": memo, "exp_content": nil,
		})
	}
	return object{"result": result}
}

// settlementOutput answers 2206 (no setl_id, setl_time null although it is
// announced), 2207 and, with negative amounts, 2208.
func (c *Center) settlementOutput(t *settlement) any {
	p := c.rules.byNumber[t.PsnNo]
	psnType, cvlserv := p.typeIn(t.Insutype)
	info := object{
		"mdtrt_id": t.MdtrtID, "psn_no": p.PsnNo, "psn_name": p.PsnName, "psn_cert_type": p.PsnCertType,
		"certno": p.Certno, "gend": p.Gend, "naty": p.Naty, "brdy": p.Brdy, "age": p.age(t.SetlTime),
		"insutype": t.Insutype, "psn_type": psnType, "cvlserv_flag": cvlserv,
		"mdtrt_cert_type": t.CertType, "med_type": t.MedType, "setl_time": nil,
		"medfee_sumamt": num(t.Total), "fulamt_ownpay_amt": num(t.Full), "overlmt_selfpay": num(t.OverLimit),
		"preselfpay_amt": num(t.PreSelf), "inscp_scp_amt": num(t.InScope), "act_pay_dedc": num(t.Deductible),
		"hifp_pay": num(t.Fund), "pool_prop_selfpay": ratio(t.Ratio),
		"fund_pay_sumamt": num(t.Fund + t.Supplement), "psn_part_amt": num(t.Person),
		"acct_pay": num(t.Account), "psn_cash_pay": num(t.Cash), "hosp_part_amt": json.Number("0"),
		"balc": num(t.Balance), "acct_mulaid_pay": json.Number("0"), "medins_setl_id": t.MsgID,
		"clr_optins": t.CareArea, "clr_way": "1", "clr_type": t.clrType(), "exp_content": nil,
	}
	for _, name := range supplementFields {
		info[name] = json.Number("0")
	}
	if t.SuppField != "" {
		info[t.SuppField] = num(t.Supplement)
	}
	if t.SetlID != "" {
		info["setl_id"] = t.SetlID
		info["setl_time"] = t.SetlTime.In(china).Format(timeForm)
	}
	return object{"setlinfo": info, "setldetail": c.settlementDetail(t)}
}

// settlementDetail lists the funds and, as centres do, the personal account:
// its sum is not the fund total.
func (c *Center) settlementDetail(t *settlement) []object {
	detail := []object{}
	add := func(kind, name string, limit, paid fen) {
		detail = append(detail, object{
			"fund_pay_type": kind, "fund_pay_type_name": name, "inscp_scp_amt": num(t.InScope),
			"crt_payb_lmt_amt": num(limit), "fund_payamt": num(paid), "setl_proc_info": nil,
		})
	}
	if pol := c.rules.policy.at(t.InsuArea, t.Insutype); pol != nil && pol.of(t.Kind) != nil {
		pol := pol.of(t.Kind)
		add(pol.FundPayType, pol.FundPayTypeName, t.FundRoom, t.Fund)
		if t.Supplement != 0 && pol.Supplement != nil {
			add(pol.Supplement.FundPayType, pol.Supplement.FundPayTypeName, t.Supplement, t.Supplement)
		}
	}
	if t.Account != 0 {
		add("310200", "城镇职工基本医疗保险个人账户基金", max(0, t.Account)+t.Balance, t.Account)
	}
	return detail
}
