package centersim

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// aStay is a stay in hospital on its way.
type aStay struct{ aVisit }

func (d *desk) admission(name, number string) (*aStay, msg) {
	p, id := d.patient(name)
	i := p.Insurance[0]
	v := &aStay{aVisit{d: d, p: p, id: id, area: i.InsuplcAdmdvs, insutype: i.Insutype, psnType: i.PsnType}}
	now := d.c.now().Format(timeForm)
	return v, msg{
		"mdtrtinfo": with(id, "psn_cert_type", nil, "cert_type", "01", "psn_no", p.PsnNo, "insutype", i.Insutype, "begntime", now, "med_type", "2101",
			"ipt_no", number, "atddr_no", "D1", "chfpdr_name", "李医生", "adm_diag_dscr", "肺炎", "adm_dept_codg", "0301", "adm_dept_name", "呼吸内科",
			"adm_bed", "12", "dscg_maindiag_code", "J18.900", "dscg_maindiag_name", "肺炎", "insuplc_admdvs", i.InsuplcAdmdvs, "mdtrtarea_admvs", "510100"),
		"diseinfo": []msg{v.diagnosis()},
	}
}

func (v *aStay) diagnosis() msg {
	return msg{"psn_no": v.p.PsnNo, "mdtrt_id": v.mdtrtID, "diag_type": "1", "maindiag_flag": "1", "diag_srt_no": 1, "diag_code": "J18.900", "diag_name": "肺炎",
		"diag_dept": "呼吸内科", "dise_dor_no": "D1", "dise_dor_name": "李医生", "diag_time": v.d.c.now().Format(timeForm)}
}

func (d *desk) admit(t fataler, name, number string) *aStay {
	t.Helper()
	v, input := d.admission(name, number)
	v.mdtrtID = d.call(t, "2401", v.area, input)["result"].(map[string]any)["mdtrt_id"].(string)
	return v
}

func (v *aStay) ref() msg { return msg{"data": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo}} }

func (v *aStay) line(sn any, amount string) msg {
	return msg{"feedetl_sn": sn, "mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "med_type": "2101", "fee_ocur_time": v.d.c.now().Format(timeForm),
		"med_list_codg": "001109000010000-110900001", "medins_list_codg": "BED", "det_item_fee_sumamt": json.Number(amount), "cnt": 1, "pric": json.Number(amount),
		"bilg_dept_codg": "0301", "bilg_dept_name": "呼吸内科", "bilg_dr_codg": "D1", "bilg_dr_name": "李医生"}
}

func (v *aStay) leave() msg {
	return msg{"dscginfo": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "insutype": v.insutype, "endtime": v.d.c.now().Format(timeForm),
		"dscg_dept_codg": "0301", "dscg_dept_name": "呼吸内科", "dscg_way": "1"}, "diseinfo": []msg{v.diagnosis()}}
}

func (v *aStay) pay(total string) msg {
	return msg{"data": with(v.id, "psn_no", v.p.PsnNo, "psn_type", v.psnType, "medfee_sumamt", json.Number(total), "psn_setlway", "01", "mdtrt_id", v.mdtrtID,
		"insutype", v.insutype, "acct_used_flag", "0", "insuplc_admdvs", v.area, "mdtrtarea_admvs", "510100", "mid_setl_flag", "0")}
}

// TestStay plays a stay over days and a restart, settles it, and takes
// everything back in order.
func TestStay(t *testing.T) {
	k := noon()
	config := Config{Now: k.now, Ledger: filepath.Join(t.TempDir(), "ledger")}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(c)
	d.signIn(t)
	v := d.admit(t, "张三", "ZY1")
	again, input := d.admission("张三", "ZY1")
	if o := d.call(t, "2401", again.area, input); o["result"].(map[string]any)["mdtrt_id"] != v.mdtrtID {
		t.Errorf("the same admission again: %v", o)
	}
	_, other := d.admission("张三", "ZY2")
	d.refused(t, d.envelope("2401", v.area, other), "已在院")
	bed := func(from, n int) msg {
		lines := []msg{}
		for i := range n {
			lines = append(lines, v.line(fmt.Sprint("L", from+i), "40"))
		}
		return msg{"feedetail": lines}
	}
	d.call(t, "2301", v.area, bed(1, 60))
	d.refused(t, d.envelope("2301", v.area, bed(60, 2)), "重复")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err = New(config); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k.t = k.t.AddDate(0, 0, 3)
	d = newDesk(c)
	d.signIn(t)
	v.d = d
	d.call(t, "2301", v.area, bed(61, 2))
	d.call(t, "2302", v.area, msg{"data": []msg{{"feedetl_sn": "L61", "mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo}, {"feedetl_sn": "L62", "mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo}}})
	d.refused(t, d.envelope("2302", v.area, msg{"data": msg{"feedetl_sn": "L62", "mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo}}), "没有已上传")
	trial := setlinfo(d.call(t, "2303", v.area, v.pay("2400")))
	d.refused(t, d.envelope("2304", v.area, v.pay("2400")), "先办理出院")
	d.refused(t, d.envelope("2405", v.area, v.ref()), "未办理出院")
	state := func() string {
		rows := d.call(t, "5201", v.area, msg{"data": msg{"psn_no": v.p.PsnNo, "begntime": "2026-05-20 00:00:00", "endtime": "2026-05-23 23:59:59", "med_type": "2101"}})["mdtrtinfo"].([]any)
		return record(rows[0].(map[string]any)).text("inhosp_stas")
	}
	if got := state(); got != "1" {
		t.Errorf("inhosp_stas %q before the discharge", got)
	}
	d.call(t, "2402", v.area, v.leave())
	if got := state(); got != "0" {
		t.Errorf("inhosp_stas %q after the discharge", got)
	}
	d.refused(t, d.envelope("2301", v.area, bed(70, 1)), "已办理出院")
	d.refused(t, d.envelope("2304", v.area, v.pay("2400.01")), "[medfee_sumamt]")
	d.refused(t, d.envelope("2304", v.area, msg{"data": with(v.pay("2400")["data"].(msg), "inscp_scp_amt", 1)}), "[inscp_scp_amt]")
	d.refused(t, d.envelope("2304", v.area, msg{"data": with(v.pay("2400")["data"].(msg), "mid_setl_flag", "1")}), "中途结算")
	d.refused(t, d.envelope("2304", v.area, msg{"data": with(v.pay("2400")["data"].(msg), "mdtrtarea_admvs", "410100")}), "报文头")
	info := setlinfo(d.call(t, "2304", v.area, v.pay("2400")))
	checkIdentities(t, info)
	// (2400 - 800) x 0.85; nothing of it from the account.
	for name, want := range map[string]string{"act_pay_dedc": "800.00", "hifp_pay": "1360.00", "psn_cash_pay": "1040.00", "balc": "80.00", "clr_type": "21"} {
		if info.text(name) != want || trial[name] != info[name] {
			t.Errorf("%s = %v, trial %v, want %s", name, info[name], trial[name], want)
		}
	}
	d.refused(t, d.envelope("2304", v.area, v.pay("2400")), "不能重复结算")
	d.refused(t, d.envelope("2405", v.area, v.ref()), "请先撤销结算")
	refund := setlinfo(d.call(t, "2305", v.area, v.refundInput(info.text("setl_id"))))
	checkOpposite(t, info, refund)
	d.call(t, "2405", v.area, v.ref())
	d.refused(t, d.envelope("2404", v.area, v.ref()), "费用明细")
	d.call(t, "2302", v.area, msg{"data": msg{"feedetl_sn": "0000", "mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo}})
	d.call(t, "2404", v.area, v.ref())
	d.refused(t, d.envelope("2301", v.area, bed(1, 1)), "已撤销")
	if b := d.c.Settlements(); len(b) != 2 || b[0].Total != -b[1].Total || b[0].Infno != "2304" {
		t.Errorf("booked %+v", b)
	}
}

// TestStayDeductible: it is per stay, the ceiling per year; a lost settlement
// and a lost admission are reversed.
func TestStayDeductible(t *testing.T) {
	k := noon()
	d := newDesk(start(t, Config{Now: k.now}))
	d.signIn(t)
	for _, x := range []struct{ number, dedc, fund, hifob string }{
		// 100 x 40 in scope for each line
		{"ZY1", "800.00", "2880.00", "0.00"}, {"ZY2", "800.00", "2880.00", "0.00"},
	} {
		v := d.admit(t, "欧阳海燕", x.number)
		lines := []msg{}
		for i := range 100 {
			lines = append(lines, v.line(i, "40"))
		}
		d.call(t, "2301", v.area, msg{"feedetail": lines})
		d.call(t, "2402", v.area, v.leave())
		e := d.envelope("2304", v.area, v.pay("4000"))
		info := setlinfo(d.send(t, e)["output"].(map[string]any))
		if info.text("act_pay_dedc") != x.dedc || info.text("hifp_pay") != x.fund {
			t.Errorf("%s: %v", x.number, info)
		}
		if x.number == "ZY2" {
			d.call(t, "2601", v.area, v.reverseInput(e["msgid"].(string), "2304"))
			d.call(t, "2304", v.area, v.pay("4000"))
		}
		k.t = k.t.Add(time.Minute)
	}
	v, input := d.admission("王秀英", "ZY3")
	e := d.envelope("2401", v.area, input)
	d.refused(t, d.envelope("2601", v.area, v.reverseInput(e["msgid"].(string), "2401")), "未查询到原交易")
	d.send(t, e)
	d.call(t, "2601", v.area, v.reverseInput(e["msgid"].(string), "2401"))
	d.refused(t, d.envelope("2601", v.area, v.reverseInput(e["msgid"].(string), "2401")), "已冲正")
	v = d.admit(t, "王秀英", "ZY3")
	change := msg{"adminfo": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "begntime": "2026-05-20 09:00:00", "mdtrt_cert_type": "03", "med_type": "22", "ipt_otp_no": "ZY3",
		"atddr_no": "D1", "chfpdr_name": "李医生", "adm_diag_dscr": "骨折", "adm_dept_codg": "0401", "adm_dept_name": "骨科", "adm_bed": "3",
		"dscg_maindiag_code": "S72.000", "dscg_maindiag_name": "股骨颈骨折"}, "diseinfo": []msg{v.diagnosis()}}
	d.call(t, "2403", v.area, change)
	d.refused(t, d.envelope("2301", v.area, msg{"feedetail": []msg{v.line("1", "40")}}), "med_type")
	d.refused(t, d.envelope("2403", v.area, msg{"adminfo": with(change["adminfo"].(msg), "med_type", "11"), "diseinfo": change["diseinfo"]}), "med_type")
	d.refused(t, d.envelope("2202", v.area, msg{"data": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "ipt_otp_no": "ZY3"}}), "类别不适用")
}
