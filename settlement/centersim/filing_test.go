package centersim

import (
	"encoding/json"
	"strings"
	"testing"
)

// referralInput is the input of 2501 for a person and a place.
func referralInput(p *person, area string, change ...any) msg {
	return msg{"refmedin": with(msg{
		"psn_no": p.PsnNo, "insutype": p.Insurance[0].Insutype, "diag_code": "I10", "diag_name": "高血压", "reflin_medins_no": "H41010000001",
		"reflin_medins_name": "样例省医院", "mdtrtarea_admdvs": area, "refl_type": "1", "refl_date": "2026-05-20", "refl_rea": "病情需要", "refl_opnn": "同意",
	}, change...)}
}

func number(t fataler, output msg) string {
	t.Helper()
	n, _ := output["result"].(map[string]any)["trt_dcla_detl_sn"].(string)
	if n == "" {
		t.Fatalf("no trt_dcla_detl_sn: %v", output)
	}
	return n
}

// TestReferral: a filing by transaction counts at once, for its place and its
// time, and no more when it is withdrawn; also after a restart.
func TestReferral(t *testing.T) {
	name := t.TempDir() + "/l"
	k := noon()
	c, err := New(Config{Ledger: name, Now: k.now})
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(c)
	d.signIn(t)
	p, _ := d.patient("欧阳海燕") // filed nowhere: 0.60 in place of 0.80 of 200.00
	visits := 0
	fund := func() string {
		t.Helper()
		visits++
		a := d.send(t, d.trial(t, "MZ"+strings.Repeat("x", visits), care{"欧阳海燕", "410100", "11", "I10", ""}))
		if a["output"] == nil {
			t.Fatalf("%v", a["err_msg"])
		}
		v, err := setlinfo(a["output"].(map[string]any)).amount("fund_pay_sumamt")
		if err != nil {
			t.Fatal(err)
		}
		return v.yuan()
	}
	want := func(what, amount string) {
		t.Helper()
		if got := fund(); got != amount {
			t.Errorf("%s: the fund pays %s, want %s", what, got, amount)
		}
	}
	want("without a filing", "120.00")
	d.call(t, "2501", "510100", referralInput(p, "310000"))
	want("with one for another place", "120.00")
	o := d.call(t, "2501", "510100", referralInput(p, "410100"))
	want("filed", "160.00")
	if again := d.call(t, "2501", "510100", referralInput(p, "410100")); number(t, again) != number(t, o) {
		t.Errorf("the same filing again has the number %v", again)
	}
	d.refused(t, d.envelope("2501", "510100", referralInput(p, "410100", "refl_rea", "再次")), "已有到该就医地的转院备案")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = start(t, Config{Ledger: name, Now: k.now})
	n := d.n
	d = newDesk(c)
	d.n = n
	d.signIn(t)
	want("filed, after a restart", "160.00")
	list := d.call(t, "5304", "510100", msg{"data": msg{"psn_no": p.PsnNo, "begntime": "2026-05-20 00:00:00"}})["refmedin"].([]any)
	row := record(list[1].(map[string]any))
	if len(list) != 2 || row.text("enddate") != "2026-11-19" || row.text("out_flag") != "1" || row.text("psn_name") != p.PsnName || row.text("refl_date") != "2026-05-20" {
		t.Errorf("5304: %v", list)
	}
	// Six months and no longer.
	end := k.t
	k.t = end.AddDate(0, 6, -1)
	d.signIn(t)
	want("on the last day", "160.00")
	k.t = end.AddDate(0, 6, 0)
	d.signIn(t)
	want("the day after", "120.00")
	k.t = end
	d.signIn(t)
	withdraw := func(no string) msg {
		return msg{"data": msg{"trt_dcla_detl_sn": no, "psn_no": p.PsnNo, "memo": "误报"}}
	}
	d.refused(t, d.envelope("2504", "510100", withdraw(number(t, o))), "未查询到备案信息")
	d.refused(t, d.envelope("2502", "510100", with(withdraw("6"), "x", nil)), "未查询到备案信息")
	d.call(t, "2502", "510100", withdraw(number(t, o)))
	want("withdrawn", "120.00")
	d.refused(t, d.envelope("2502", "510100", withdraw(number(t, o))), "已撤销")
	for _, x := range []struct{ name, value, why string }{
		{"mdtrtarea_admdvs", "510100", "无需备案"}, {"mdtrtarea_admdvs", "41010", "6位数字"}, {"insu_optins", "410100", "insu_optins"},
		{"begndate", "2026-06-01", "早于开始日期"}, {"psn_no", "1", "未查询到"}, {"insutype", "390", "险种"},
	} {
		d.refused(t, d.envelope("2501", "510100", referralInput(p, "440100", "enddate", "2026-05-31", x.name, x.value)), x.why)
	}
	// The whole province.
	d.call(t, "2501", "510100", referralInput(p, "410000", "begndate", "2026-05-20", "enddate", "2026-05-20"))
	want("filed for the province", "160.00")
}

// TestReferralsFromFile: 5304 shows the referrals of people.json, too.
func TestReferralsFromFile(t *testing.T) {
	data := edited(t, "people.json", `"type": "residence", "areas": ["11", "31", "33", "41", "44", "51"]`, `"type": "referral", "areas": ["51"]`)
	d := newDesk(start(t, Config{Data: data}))
	d.signIn(t)
	p, _ := d.patient("张三")
	for begin, want := range map[string]int{"2020-01-01 00:00:00": 1, "2020-01-01 00:00:01": 0} {
		rows := d.call(t, "5304", "410100", msg{"data": msg{"psn_no": p.PsnNo, "begntime": begin}})["refmedin"].([]any)
		if len(rows) != want {
			t.Fatalf("since %s: %v", begin, rows)
		}
		if want == 1 {
			if r := record(rows[0].(map[string]any)); r.text("begndate") != "2020-01-01" || r["enddate"] != nil || r["reflin_medins_no"] != nil || r.text("out_flag") != "1" {
				t.Errorf("%v", r)
			}
		}
	}
}

// TestChronicFiling: 2503 opens med_type 14 for a disease, 2504 closes it.
func TestChronicFiling(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	p, _ := d.patient("王秀英")
	area := p.Insurance[0].InsuplcAdmdvs
	input := msg{"data": msg{
		"psn_no": p.PsnNo, "insutype": "390", "opsp_dise_code": "M01600", "opsp_dise_name": "糖尿病", "insu_optins": area, "ide_fixmedins_no": "H51010000001",
		"ide_fixmedins_name": "样例医院", "hosp_ide_date": "2026-05-19", "diag_dr_codg": "D1", "diag_dr_name": "李医生", "begndate": "2026-05-20", "enddate": "2027-05-19",
	}}
	ask := func() []any {
		return d.call(t, "5301", area, msg{"data": msg{"psn_no": p.PsnNo}})["feedetail"].([]any)
	}
	if rows := ask(); len(rows) != 1 || record(rows[0].(map[string]any)).text("opsp_dise_code") != "M03900" {
		t.Errorf("from people.json: %v", rows)
	}
	diagnose := func(v *aVisit) msg {
		info := v.visitInput()
		info["mdtrtinfo"] = with(info["mdtrtinfo"].(msg), "med_type", "14", "dise_codg", "M01600")
		return d.envelope("2203", area, info)
	}
	v := d.register(t, "王秀英", "MZ1")
	d.refused(t, diagnose(v), "没有该病种")
	o := d.call(t, "2503", area, input)
	if a := d.send(t, diagnose(v)); a["infcode"] != json.Number("0") {
		t.Errorf("filed: %v", a["err_msg"])
	}
	if rows := ask(); len(rows) != 2 || record(rows[1].(map[string]any)).text("enddate") != "2027-05-19" {
		t.Errorf("5301: %v", rows)
	}
	data := input["data"].(msg)
	for _, x := range []struct{ name, value, why string }{
		{"begndate", "2027-05-19", "已有门诊慢特病备案"}, {"hosp_ide_date", "2026-05-21", "hosp_ide_date"}, {"insu_optins", "510100", "insu_optins"},
	} {
		d.refused(t, d.envelope("2503", area, msg{"data": with(data, "enddate", nil, x.name, x.value)}), x.why)
	}
	d.refused(t, d.envelope("2504", area, msg{"data": msg{"trt_dcla_detl_sn": number(t, o), "psn_no": "1", "memo": "误报"}}), "psn_no")
	d.call(t, "2504", area, msg{"data": msg{"trt_dcla_detl_sn": number(t, o), "psn_no": p.PsnNo, "memo": "误报"}})
	d.refused(t, diagnose(v), "没有该病种")
	d.call(t, "2503", area, msg{"data": with(data, "begndate", "2026-05-20")}) // free again
}

// TestInstitutionFiling: 2505, 2506, 5302 and 2507.
func TestInstitutionFiling(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	p, _ := d.patient("张三")
	data := msg{"psn_no": p.PsnNo, "biz_appy_type": "03", "begndate": "2026-05-20", "fix_srt_no": "1", "fixmedins_code": "H51010000001", "fixmedins_name": "样例医院"}
	ask := func(kind string) []any {
		return d.call(t, "5302", "410100", msg{"data": msg{"psn_no": p.PsnNo, "biz_appy_type": kind}})["psnfixmedin"].([]any)
	}
	o := d.call(t, "2505", "410100", msg{"data": data})
	d.refused(t, d.envelope("2505", "410100", msg{"data": with(data, "fixmedins_code", "H51010000002")}), "fix_srt_no已备案")
	d.call(t, "2505", "410100", msg{"data": with(data, "fix_srt_no", "2")})
	if rows := ask("03"); len(rows) != 2 || len(ask("01")) != 0 || record(rows[0].(map[string]any)).text("fixmedins_code") != "H51010000001" {
		t.Errorf("5302: %v", rows)
	}
	d.call(t, "2506", "410100", msg{"data": msg{"trt_dcla_detl_sn": number(t, o), "psn_no": p.PsnNo, "memo": "更换"}})
	if rows := ask("03"); len(rows) != 1 {
		t.Errorf("after 2506: %v", rows)
	}
	accident := msg{"dcla_souc": "01", "psn_no": p.PsnNo, "psn_cert_type": "01", "certno": p.Certno, "psn_name": p.PsnName, "insu_admdvs": "410100", "chk_pay_flag": "0", "begndate": "2026-05-20"}
	number(t, d.call(t, "2507", "410100", msg{"data": accident}))
	d.refused(t, d.envelope("2507", "410100", msg{"data": with(accident, "psn_name", "李四")}), "psn_name")
}

// TestVisitQueries: 5202, 5205, 5206 and 5303.
func TestVisitQueries(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	v, _, info := d.settleOne(t, "张三", "MZ1", "300")
	rows := d.call(t, "5202", v.area, msg{"data": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo}})["diseinfo"].([]any)
	if r := record(rows[0].(map[string]any)); len(rows) != 1 || r.text("diag_code") != "I10.x00x002" || r.text("diag_dept") != "内科" || r.text("maindiag_flag") != "1" {
		t.Errorf("5202: %v", rows)
	}
	if rows := d.call(t, "5202", v.area, msg{"data": msg{"mdtrt_id": "1", "psn_no": v.p.PsnNo}})["diseinfo"].([]any); len(rows) != 0 {
		t.Errorf("5202 of nothing: %v", rows)
	}
	year := map[string]string{}
	for _, x := range d.call(t, "5206", v.area, msg{"data": msg{"psn_no": v.p.PsnNo}})["cuminfo"].([]any) {
		r := record(x.(map[string]any))
		year[r.text("cum_type_code")] = r.text("cum")
	}
	if len(year) != 2 || year["DEDC-11"] != info.text("act_pay_dedc") || year["DEDC-11"] == "0.00" || year["FUND-11"] != info.text("hifp_pay") {
		t.Errorf("5206: %v, settled %v", year, info)
	}
	if rows := d.call(t, "5206", v.area, msg{"data": msg{"psn_no": v.p.PsnNo, "cum_ym": "202512"}})["cuminfo"].([]any); len(rows) != 0 {
		t.Errorf("5206 of last year: %v", rows)
	}
	d.refused(t, d.envelope("5206", v.area, msg{"data": msg{"psn_no": v.p.PsnNo, "cum_ym": "202513"}}), "yyyyMM")
	// Chronic diseases' lines.
	c := d.register(t, "张三", "MZ2")
	visit := c.visitInput()
	visit["mdtrtinfo"] = with(visit["mdtrtinfo"].(msg), "med_type", "14", "dise_codg", "M01600")
	d.call(t, "2203", c.area, visit)
	d.call(t, "2204", c.area, c.feeInput("B1", fee{"XC08CAA086A001010190002", "0.85", "28", "23.80"}))
	lines := d.call(t, "5205", c.area, msg{"data": msg{"psn_no": c.p.PsnNo, "begntime": "2026-05-20 00:00:00"}})["feedetail"].([]any)
	if r := record(lines[0].(map[string]any)); len(lines) != 1 || r.text("med_list_codg") != "XC08CAA086A001010190002" || r.text("med_type") != "14" {
		t.Errorf("5205: %v", lines)
	}
	// Who is in hospital.
	s := d.admit(t, "王秀英", "ZY1")
	ask := msg{"data": msg{"begntime": "2026-05-20 00:00:00", "endtime": "2026-05-20 23:59:59"}}
	if stays := d.list(t, "5303", "", ask); len(stays) != 1 || record(stays[0].(map[string]any)).text("mdtrt_id") != s.mdtrtID {
		t.Errorf("5303: %v", stays)
	}
	d.call(t, "2301", s.area, msg{"feedetail": []msg{s.line("1", "40")}})
	d.call(t, "2402", s.area, s.leave())
	if stays := d.list(t, "5303", "", ask); len(stays) != 0 {
		t.Errorf("5303 after the discharge: %v", stays)
	}
}

// TestVariants: the transactions with an A are those without, also for 2601.
func TestVariants(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	p, id := d.patient("张三")
	v := &aVisit{d: d, p: p, id: id, area: "410100", insutype: "310", psnType: "11"}
	o := d.call(t, "2201", v.area, msg{"data": v.registerInput("MZ1")})
	v.mdtrtID = o["data"].(map[string]any)["mdtrt_id"].(string)
	d.call(t, "2203A", v.area, v.visitInput())
	s := sumsOf(t, d.call(t, "2204", v.area, v.feeInput("B1", fee{"001102000010000-110200001", "15.00", "20", "300.00"})))
	d.call(t, "2206A", v.area, v.settleInput("B1", s, true))
	e := d.envelope("2207A", v.area, v.settleInput("B1", s, true))
	w := d.post(paths["2207A"], encode(e))
	if !strings.Contains(w.Body.String(), `"infcode":0`) {
		t.Fatal(w.Body)
	}
	d.call(t, "2601", v.area, v.reverseInput(e["msgid"].(string), "2207A"))
	if b := d.c.Settlements(); len(b) != 2 || b[0].Infno != "2207" || b[0].State != StateReversed {
		t.Errorf("%+v", b)
	}
}

// TestClearing: a month is claimed with the centre's own sums, once.
func TestClearing(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	d.settleOne(t, "欧阳海燕", "MZ1", "300")
	v, _, info := d.settleOne(t, "张三", "MZ2", "300")
	d.call(t, "2208", v.area, v.refundInput(info.text("setl_id")))
	var total, fund, account, cash fen
	for _, x := range d.c.Settlements() {
		total, fund, account, cash = total+fen(x.Total), fund+fen(x.Fund), account+fen(x.Account), cash+fen(x.Cash)
	}
	data := msg{
		"clr_type": "11", "setlym": "202605", "psntime": 1, "medfee_sumamt": num(total), "med_sumfee": num(total), "fund_appy_sum": num(fund),
		"cash_payamt": num(cash), "acct_pay": num(account), "begndate": "2026-05-01", "enddate": "2026-05-31",
	}
	for _, x := range []struct {
		name  string
		value any
		why   string
	}{
		{"medfee_sumamt", num(total + 1), "medfee_sumamt"}, {"cash_payamt", num(cash - 1), "cash_payamt"}, {"enddate", "2026-06-01", "清算年月"}, {"clr_type", "21", "不一致"},
	} {
		d.refused(t, d.envelope("3203", "", msg{"data": with(data, x.name, x.value)}), x.why)
	}
	o := d.call(t, "3203", "", msg{"data": data})
	id := o["result"].(map[string]any)["clr_appy_evt_id"]
	d.refused(t, d.envelope("3203", "", msg{"data": data}), "已申请")
	d.refused(t, d.envelope("3204", "", msg{"data": msg{"clr_appy_evt_id": "4"}}), "未查询到")
	d.call(t, "3204", "", msg{"data": msg{"clr_appy_evt_id": id}})
	d.refused(t, d.envelope("3204", "", msg{"data": msg{"clr_appy_evt_id": id}}), "已撤销")
	d.call(t, "3203", "", msg{"data": data})
}

// outputsOfTheRest adds answers with every required field that the rows of
// filings, look-ups, claims and uploads announce.
func outputsOfTheRest(t *testing.T, d *desk, answers map[string]msg) {
	t.Helper()
	v, _, info := d.settleOne(t, "张三", "MZ99", "300")
	psn := msg{"psn_no": v.p.PsnNo}
	answers["2501"] = d.call(t, "2501", v.area, referralInput(v.p, "610100"))
	answers["2503"] = d.call(t, "2503", v.area, msg{"data": with(psn, "insutype", "310", "opsp_dise_code", "M00500", "opsp_dise_name", "恶性肿瘤", "insu_optins", v.area,
		"ide_fixmedins_no", "H51010000001", "ide_fixmedins_name", "样例医院", "hosp_ide_date", "2026-05-19", "diag_dr_codg", "D1", "diag_dr_name", "李医生", "begndate", "2026-05-20")})
	answers["2505"] = d.call(t, "2505", v.area, msg{"data": with(psn, "biz_appy_type", "03", "begndate", "2026-05-20", "fix_srt_no", "1", "fixmedins_code", "H51010000001", "fixmedins_name", "样例医院")})
	answers["2507"] = d.call(t, "2507", v.area, msg{"data": with(psn, "dcla_souc", "01", "psn_cert_type", "01", "certno", v.p.Certno, "psn_name", v.p.PsnName,
		"insu_admdvs", v.area, "chk_pay_flag", "0", "begndate", "2026-05-20")})
	answers["5202"] = d.call(t, "5202", v.area, msg{"data": with(psn, "mdtrt_id", v.mdtrtID)})
	answers["5206"] = d.call(t, "5206", v.area, msg{"data": psn})
	answers["5301"] = d.call(t, "5301", v.area, msg{"data": psn})
	answers["5302"] = d.call(t, "5302", v.area, msg{"data": with(psn, "biz_appy_type", "03")})
	answers["5304"] = d.call(t, "5304", v.area, msg{"data": with(psn, "begntime", "2026-05-20 00:00:00")})
	chronic := d.register(t, "张三", "MZ98")
	visit := chronic.visitInput()
	visit["mdtrtinfo"] = with(visit["mdtrtinfo"].(msg), "med_type", "14", "dise_codg", "M01600")
	d.call(t, "2203", v.area, visit)
	d.call(t, "2204", v.area, chronic.feeInput("B1", fee{"XC08CAA086A001010190002", "0.85", "28", "23.80"}))
	answers["5205"] = d.call(t, "5205", v.area, msg{"data": with(psn, "begntime", "2026-05-20 00:00:00")})
	d.admit(t, "欧阳海燕", "ZY99")
	answers["5303"] = msg{"": d.list(t, "5303", "", msg{"data": msg{"begntime": "2026-05-20 00:00:00", "endtime": "2026-05-20 23:59:59"}})}
	nothing := msg{"clr_type": "14", "setlym": "202605", "psntime": 0, "medfee_sumamt": 0, "med_sumfee": 0, "fund_appy_sum": 0, "cash_payamt": 0, "acct_pay": 0, "begndate": "2026-05-01", "enddate": "2026-05-31"}
	answers["3203"] = d.call(t, "3203", "", msg{"data": nothing})
	own := []any{"psn_no", v.p.PsnNo, "mdtrt_id", v.mdtrtID, "setl_id", info.text("setl_id")}
	answers["4101"] = d.call(t, "4101", v.area, msg{"setlinfo": with(filledIn(t, d.c, "4101")["setlinfo"].(msg), own...)})
	answers["2406"] = d.call(t, "2406", v.area, msg{"data": with(filledIn(t, d.c, "2406")["data"].(msg), own[:4]...)})
}

// seedsOfTheRest are requests of filings, look-ups, claims and uploads for
// FuzzRequest.
func seedsOfTheRest(f *testing.F, d *desk, v *aVisit) {
	f.Add(encode(d.envelope("2501", v.area, referralInput(v.p, "610000"))))
	psn := msg{"psn_no": v.p.PsnNo}
	f.Add(encode(d.envelope("2503", v.area, msg{"data": with(psn, "insutype", "310", "opsp_dise_code", "M00500", "opsp_dise_name", "恶性肿瘤", "insu_optins", v.area,
		"ide_fixmedins_no", "H51010000001", "ide_fixmedins_name", "样例医院", "hosp_ide_date", "2026-05-19", "diag_dr_codg", "D1", "diag_dr_name", "李医生", "begndate", "2026-05-20")})))
	f.Add(encode(d.envelope("2505", v.area, msg{"data": with(psn, "biz_appy_type", "03", "begndate", "2026-05-20", "fix_srt_no", "1", "fixmedins_code", "H51010000001", "fixmedins_name", "样例医院")})))
	for _, infno := range []string{"2502", "2504", "2506"} {
		f.Add(encode(d.envelope(infno, v.area, msg{"data": with(psn, "trt_dcla_detl_sn", "6", "memo", "x")})))
	}
	for _, infno := range []string{"5202", "5203", "5204", "5205", "5206", "5301", "5302", "5303", "5304"} {
		f.Add(encode(d.envelope(infno, v.area, msg{"data": with(psn, "mdtrt_id", v.mdtrtID, "begntime", "2026-05-20 00:00:00", "endtime", "2026-05-21 00:00:00", "biz_appy_type", "03", "cum_ym", "202605")})))
	}
	f.Add(encode(d.envelope("3203", "", msg{"data": msg{"clr_type": "14", "setlym": "202605", "psntime": 0, "medfee_sumamt": 0, "med_sumfee": 0, "fund_appy_sum": 0, "cash_payamt": 0, "acct_pay": 0, "begndate": "2026-05-01", "enddate": "2026-05-31"}})))
	f.Add(encode(d.envelope("3204", "", msg{"data": msg{"clr_appy_evt_id": "4"}})))
	f.Add(encode(d.envelope("4401", v.area, msg{"baseinfo": msg{"mdtrt_sn": "1"}})))
	f.Add(encode(d.envelope("4101", v.area, msg{"setlinfo": with(psn, "setl_id", "2", "mdtrt_id", v.mdtrtID)})))
}
