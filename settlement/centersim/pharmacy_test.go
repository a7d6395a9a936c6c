package centersim

import (
	"encoding/json"
	"testing"
)

// saleInput is the input of 2101 and 2102.
func (d *desk) saleInput(name, total string, account bool, fees ...fee) (*person, msg) {
	p, id := d.patient(name)
	now := d.c.now().Format(timeForm)
	flag := map[bool]string{false: "0", true: "1"}[account]
	lines := []msg{}
	for i, f := range fees {
		lines = append(lines, msg{
			"feedetl_sn": i + 1, "rx_circ_flag": "0", "fee_ocur_time": now, "med_list_codg": f.code, "medins_list_codg": "L" + f.code,
			"det_item_fee_sumamt": json.Number(f.amount), "cnt": json.Number(f.quantity), "pric": json.Number(f.price),
			"durg_trac_info": []msg{{"feedetl_sn": "1", "drug_trac_codg": "8123", "trdn_flag": "0"}},
		})
	}
	return p, msg{"drugdetail": lines, "druginfo": with(id, "psn_no", p.PsnNo, "psn_type", p.Insurance[0].PsnType, "begntime", now,
		"medfee_sumamt", json.Number(total), "insutype", p.Insurance[0].Insutype, "acct_used_flag", flag, "med_type", "41")}
}

// TestPharmacy sells, refunds and reverses; the money follows the pharmacy's
// own benefit, counted apart from the outpatients'.
func TestPharmacy(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	line := fee{"XC08CAA086A001010190002", "0.85", "28", "23.80"}
	p, input := d.saleInput("张三", "23.80", true, line)
	area := p.Insurance[0].InsuplcAdmdvs
	trial := d.call(t, "2101", area, input)
	if n := len(d.c.Settlements()); n != 0 || setlinfo(trial)["setl_id"] != nil {
		t.Errorf("the trial booked %d: %v", n, trial)
	}
	o := d.call(t, "2102", area, input)
	info := setlinfo(o)
	checkIdentities(t, info)
	// No deductible; 23.80 x 0.60 = 14.28; the account pays the rest.
	for name, want := range map[string]string{"act_pay_dedc": "0.00", "hifp_pay": "14.28", "acct_pay": "9.52", "psn_cash_pay": "0.00", "balc": "70.48", "clr_type": "41"} {
		if info.text(name) != want {
			t.Errorf("%s = %v, want %s", name, info[name], want)
		}
	}
	if lines := o["detlcutinfo"].([]any); len(lines) != 1 || record(lines[0].(map[string]any)).text("inscp_scp_amt") != "23.8" {
		t.Errorf("detlcutinfo %v", lines)
	}
	v := &aVisit{d: d, p: p, area: area, mdtrtID: info.text("mdtrt_id")}
	d.refused(t, d.envelope("2208", area, v.refundInput(info.text("setl_id"))), "类别不适用")
	refund := setlinfo(d.call(t, "2103", area, v.refundInput(info.text("setl_id"))))
	checkOpposite(t, info, refund)
	d.refused(t, d.envelope("2103", area, v.refundInput(info.text("setl_id"))), "已退费")
	lost := d.envelope("2102", area, input)
	d.send(t, lost)
	d.refused(t, d.envelope("2601", area, v.reverseInput(lost["msgid"].(string), "2207")), "未查询到原交易")
	d.call(t, "2601", area, v.reverseInput(lost["msgid"].(string), "2102"))
	if b := d.c.Settlements(); len(b) != 4 || b[3].Refunds != b[2].SetlID {
		t.Errorf("booked %+v", b)
	}
	for _, x := range []struct {
		change []any
		why    string
	}{
		{[]any{"med_type", "11"}, "med_type"}, {[]any{"medfee_sumamt", 23.81}, "[medfee_sumamt]"}, {[]any{"psn_type", "12"}, "psn_type"},
		{[]any{"acct_used_flag", "2"}, "acct_used_flag"}, {[]any{"begntime", "2026-05-20 12:31:00"}, "begntime"}, {[]any{"insutype", "390"}, "参保状态"},
	} {
		d.refused(t, d.envelope("2102", area, with(input, "druginfo", with(input["druginfo"].(msg), x.change...))), x.why)
	}
	bad := with(input["drugdetail"].([]msg)[0], "med_list_codg", "X")
	d.refused(t, d.envelope("2102", area, with(input, "drugdetail", []msg{bad})), "第1条[1]")
	good := input["drugdetail"].([]msg)[0]
	d.refused(t, d.envelope("2102", area, with(input, "drugdetail", []msg{good, good})), "重复")
	if n := len(d.c.Settlements()); n != 4 {
		t.Errorf("a refused sale was booked: %d rows", n)
	}
}
