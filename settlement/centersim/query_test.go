package centersim

import "testing"

// list sends a query whose output is a list and returns it.
func (d *desk) list(t fataler, infno, area string, input msg) []any {
	t.Helper()
	a := d.send(t, d.envelope(infno, area, input))
	rows, ok := a["output"].([]any)
	if !ok {
		t.Fatalf("%s: %v %v", infno, a["err_msg"], a["output"])
	}
	return rows
}

// TestQueries looks up what was settled and refunded, and what cannot be
// looked up after an answer was lost.
func TestQueries(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	v, _, info := d.settleOne(t, "张三", "MZ1", "300")
	ask := func(setlID string) msg {
		return msg{"data": msg{"psn_no": v.p.PsnNo, "setl_id": setlID, "mdtrt_id": v.mdtrtID}}
	}
	got := setlinfo(d.call(t, "5203", v.area, ask(info.text("setl_id"))))
	for query, answer := range map[string]string{
		"medfee_sumamt": "medfee_sumamt", "fund_pay_sumamt": "fund_pay_sumamt", "psn_pay": "psn_part_amt", "cash_payamt": "psn_cash_pay",
		"acct_pay": "acct_pay", "setl_time": "setl_time", "medins_setl_id": "medins_setl_id", "setl_id": "setl_id",
	} {
		if got[query] != info[answer] {
			t.Errorf("%s = %v, settled with %v", query, got[query], info[answer])
		}
	}
	if got.text("refd_setl_flag") != "0" || got.text("year") != "2026" {
		t.Errorf("5203 %v", got)
	}
	lines := d.list(t, "5204", v.area, ask(info.text("setl_id")))
	if len(lines) != 1 || record(lines[0].(map[string]any)).text("feedetl_sn") != "B1-1" {
		t.Errorf("5204 %v", lines)
	}
	// Formally 5204 wants the setl_id that a lost answer withheld.
	d.refused(t, d.envelope("5204", v.area, ask("")), "[setl_id]")
	if lines := d.list(t, "5204", v.area, ask("7")); len(lines) != 0 {
		t.Errorf("5204 of nothing: %v", lines)
	}
	d.refused(t, d.envelope("5203", v.area, ask("7")), "未查询到结算信息")
	d.refused(t, d.envelope("5203", "510100", ask(info.text("setl_id"))), "insuplc_admdvs")
	refund := setlinfo(d.call(t, "2208", v.area, v.refundInput(info.text("setl_id"))))
	for _, id := range []string{info.text("setl_id"), refund.text("setl_id")} {
		if got := setlinfo(d.call(t, "5203", v.area, ask(id))); got.text("refd_setl_flag") != "1" || got["medfee_sumamt"] == nil {
			t.Errorf("after the refund: %v", got)
		}
	}
	// 5201 shows the visit and nothing of its settlement.
	visits := func(change ...any) []any {
		data := with(msg{"psn_no": v.p.PsnNo, "begntime": "2026-05-20 00:00:00", "endtime": "2026-05-20 23:59:59", "med_type": "11"}, change...)
		rows, _ := d.call(t, "5201", v.area, msg{"data": data})["mdtrtinfo"].([]any)
		return rows
	}
	rows := visits()
	if len(rows) != 1 || record(rows[0].(map[string]any)).text("mdtrt_id") != v.mdtrtID {
		t.Errorf("5201 %v", rows)
	}
	for name := range rows[0].(map[string]any) {
		if name == "setl_id" || name == "medfee_sumamt" {
			t.Errorf("5201 shows %s", name)
		}
	}
	for _, change := range [][]any{{"med_type", "13"}, {"mdtrt_id", "7"}, {"begntime", "2026-05-20 12:00:01"}, {"endtime", "2026-05-20 11:59:59"}} {
		if rows := visits(change...); len(rows) != 0 {
			t.Errorf("%v: %v", change, rows)
		}
	}
}

// TestEntitlement asks for the treatment of every person.
func TestEntitlement(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	for _, x := range []struct {
		name, insutype, medType string
		want                    string
	}{
		{"欧阳海燕", "310", "11", "310102=1 330100=1 "},
		{"张三", "310", "11", "310102=1 330100=0 "},
		{"张三", "390", "11", "390102=0 "},
		{"张三", "310", "9907", "310102=0 330100=0 "},
		{"王秀英", "390", "13", "390102=1 "},
	} {
		p, _ := d.patient(x.name)
		data := msg{"psn_no": p.PsnNo, "insutype": x.insutype, "fixmedins_code": "H51010000001", "med_type": x.medType, "begntime": "2026-05-20 12:00:00"}
		got := ""
		for _, row := range d.call(t, "2001", p.Insurance[0].InsuplcAdmdvs, msg{"data": data})["trtinfo"].([]any) {
			r := record(row.(map[string]any))
			got += r.text("fund_pay_type") + "=" + r.text("trt_enjymnt_flag") + " "
		}
		if got != x.want {
			t.Errorf("%s %s %s: %s, want %s", x.name, x.insutype, x.medType, got, x.want)
		}
		d.refused(t, d.envelope("2001", p.Insurance[0].InsuplcAdmdvs, msg{"data": with(data, "fixmedins_code", "H51010000002")}), "定点医药机构")
		d.refused(t, d.envelope("2001", p.Insurance[0].InsuplcAdmdvs, msg{"data": with(data, "insutype", "410")}), "险种")
	}
}
