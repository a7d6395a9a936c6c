package centersim

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"
)

// settleOne plays a visit up to its settlement and returns the answer.
func (d *desk) settleOne(t fataler, name, otp, amount string) (*aVisit, sums, record) {
	t.Helper()
	v := d.register(t, name, otp)
	o := d.call(t, "2204", v.area, v.feeInput("B1", fee{"002101000010000-210102015", amount, "1", amount}))
	s := sumsOf(t, o)
	return v, s, setlinfo(d.call(t, "2207", v.area, v.settleInput("B1", s, true)))
}

func (v *aVisit) refundInput(setlID string) msg {
	return msg{"data": msg{"setl_id": setlID, "mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo}}
}

func (v *aVisit) reverseInput(msgid, infno string) msg {
	return msg{"data": msg{"psn_no": v.p.PsnNo, "omsgid": msgid, "oinfno": infno}}
}

// checkOpposite holds a refund's answer against the settlement's.
func checkOpposite(t fataler, info, refund record) {
	t.Helper()
	for _, name := range append([]string{
		"medfee_sumamt", "fulamt_ownpay_amt", "overlmt_selfpay", "preselfpay_amt", "inscp_scp_amt", "act_pay_dedc",
		"hifp_pay", "fund_pay_sumamt", "psn_part_amt", "acct_pay", "psn_cash_pay", "hosp_part_amt", "acct_mulaid_pay",
	}, supplementFields...) {
		a, errA := info.amount(name)
		b, errB := refund.amount(name)
		if errA != nil || errB != nil || a != -b {
			t.Fatalf("%s: settled %v, refunded %v", name, info[name], refund[name])
		}
	}
	if refund.text("setl_id") == "" || refund.text("setl_id") == info.text("setl_id") {
		t.Fatalf("the refund has setl_id %q", refund.text("setl_id"))
	}
}

// TestRefund gives back what a settlement took, opens its batch, and finds
// both rows after a restart.
func TestRefund(t *testing.T) {
	k := noon()
	config := Config{Now: k.now, Ledger: filepath.Join(t.TempDir(), "ledger")}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(c)
	d.signIn(t)
	v, s, info := d.settleOne(t, "张三", "MZ1", "382.30")
	setlID := info.text("setl_id")
	k.t = k.t.Add(time.Hour)
	other, _, foreign := d.settleOne(t, "欧阳海燕", "MZ2", "70")
	for _, x := range []struct {
		input msg
		why   string
	}{
		{v.refundInput("2"), "未查询到结算信息"},
		{v.refundInput(foreign.text("setl_id")), "不属于该次就诊"},
		{msg{"data": with(v.refundInput(setlID)["data"].(msg), "psn_no", other.p.PsnNo)}, "人员编号"},
		{msg{"data": with(v.refundInput(setlID)["data"].(msg), "mdtrt_id", "7")}, "未查询到就诊信息"},
	} {
		d.refused(t, d.envelope("2208", v.area, x.input), x.why)
	}
	d.refused(t, with(d.envelope("2208", v.area, v.refundInput(setlID)), "fixmedins_code", "H51010000002", "sign_no", ""), "签到")
	refund := setlinfo(d.call(t, "2208", v.area, v.refundInput(setlID)))
	checkOpposite(t, info, refund)
	if refund.text("balc") != "80.00" || refund.text("medins_setl_id") == info.text("medins_setl_id") || refund.text("setl_time") == info.text("setl_time") {
		t.Errorf("refund %v", refund)
	}
	d.refused(t, d.envelope("2208", v.area, v.refundInput(setlID)), "已退费")
	d.refused(t, d.envelope("2208", v.area, v.refundInput(refund.text("setl_id"))), "退费结算")
	d.refused(t, d.envelope("2601", v.area, v.reverseInput(info.text("medins_setl_id"), "2207")), "已冲正或已撤销")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err = New(config); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// A desk numbers its msgids within the second from one.
	k.t = k.t.Add(time.Second)
	d2 := newDesk(c)
	d2.signIn(t)
	v.d = d2
	b := c.Settlements()
	if len(b) != 3 || b[0].RefundedBy != b[2].SetlID || b[2].Refunds != b[0].SetlID || b[2].Total != -b[0].Total || b[2].Infno != "2208" {
		t.Errorf("booked %+v", b)
	}
	// The deductible is as before: the same batch costs the same again.
	again := setlinfo(d2.call(t, "2207", v.area, v.settleInput("B1", s, true)))
	for _, name := range []string{"hifp_pay", "act_pay_dedc", "acct_pay", "psn_cash_pay", "balc"} {
		if again[name] != info[name] {
			t.Errorf("%s: at first %v, after the refund %v", name, info[name], again[name])
		}
	}
	// Undone in order, nothing of the visit is left.
	d2.call(t, "2208", v.area, v.refundInput(again.text("setl_id")))
	d2.call(t, "2205", v.area, msg{"data": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "chrg_bchno": "0000"}})
	d2.call(t, "2202", v.area, msg{"data": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "ipt_otp_no": "MZ1"}})
}

// TestRefundRepeated: a refund is booked once whatever the centre does with a
// repeated msgid; a repeated refund cannot give anything back twice.
func TestRefundRepeated(t *testing.T) {
	for repeat, why := range map[Repeat]string{RepeatRefuse: "报文ID重复", RepeatBook: "已退费", RepeatSame: ""} {
		d := newDesk(start(t, Config{Repeat: repeat}))
		d.signIn(t)
		v, _, info := d.settleOne(t, "张三", "MZ1", "300")
		e := d.envelope("2208", v.area, v.refundInput(info.text("setl_id")))
		first := d.send(t, e)
		if why != "" {
			d.refused(t, e, why)
		} else if again := d.send(t, e); string(encode(again["output"])) != string(encode(first["output"])) {
			t.Errorf("%s: first %v, then %v", repeat, first, again)
		}
		if n := len(d.c.Settlements()); n != 2 {
			t.Errorf("%s: %d rows", repeat, n)
		}
	}
}

// TestReversal resolves a settlement whose answer was lost, also one that a
// careless centre booked twice.
func TestReversal(t *testing.T) {
	d := newDesk(start(t, Config{Repeat: RepeatBook}))
	d.signIn(t)
	v := d.register(t, "张三", "MZ1")
	s := sumsOf(t, d.call(t, "2204", v.area, v.feeInput("B1", fee{"002101000010000-210102015", "70", "10", "700"})))
	e := d.envelope("2207", v.area, v.settleInput("B1", s, true))
	msgid := e["msgid"].(string)
	d.refused(t, d.envelope("2601", v.area, v.reverseInput(msgid, "2207")), "未查询到原交易")
	d.refused(t, d.envelope("2601", v.area, v.reverseInput(msgid, "2204")), "不能冲正")
	d.send(t, e)
	d.send(t, e)
	if n := len(d.c.Settlements()); n != 2 {
		t.Fatalf("%d settlements, want the doubled one", n)
	}
	d.refused(t, d.envelope("2601", v.area, msg{"data": with(v.reverseInput(msgid, "2207")["data"].(msg), "psn_no", "1")}), "人员编号")
	for range 2 {
		if o := d.call(t, "2601", v.area, v.reverseInput(msgid, "2207")); len(o) != 0 {
			t.Errorf("2601 answers %v", o)
		}
	}
	d.refused(t, d.envelope("2601", v.area, v.reverseInput(msgid, "2207")), "已冲正")
	b := d.c.Settlements()
	if len(b) != 4 || b[2].Refunds != b[1].SetlID || b[3].Refunds != b[0].SetlID || b[3].Infno != "2601" {
		t.Errorf("booked %+v", b)
	}
	_, id := d.patient("张三")
	i := record(d.call(t, "1101", "", msg{"data": id})["insuinfo"].([]any)[0].(map[string]any))
	if i.text("balc") != "80" {
		t.Errorf("the account holds %v", i["balc"])
	}
	d.call(t, "2205", v.area, msg{"data": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "chrg_bchno": "B1"}})
}

// TestRefundFaults: what a refund's answer may lack, and a refund whose answer
// is lost.
func TestRefundFaults(t *testing.T) {
	d := newDesk(start(t, Config{Faults: []Fault{{Infno: "2208", Kind: NullShares}, {Infno: "2208", Kind: HTMLAfter}, {Infno: "2601", Kind: HTTPAfter, Number: 502}}}))
	d.signIn(t)
	v, _, info := d.settleOne(t, "张三", "MZ1", "300")
	w := d.post(paths["2208"], encode(d.envelope("2208", v.area, v.refundInput(info.text("setl_id")))))
	if w.Code != 200 || json.Valid(w.Body.Bytes()) || len(d.c.Settlements()) != 2 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if err := d.c.Order(Fault{Infno: "2208", Kind: NullShares}); err != nil {
		t.Fatal(err)
	}
	v, _, info = d.settleOne(t, "张三", "MZ2", "300")
	refund := setlinfo(d.call(t, "2208", v.area, v.refundInput(info.text("setl_id"))))
	for _, name := range []string{"psn_part_amt", "hosp_part_amt", "acct_mulaid_pay"} {
		if value, has := refund[name]; !has || value != nil {
			t.Errorf("%s = %v", name, value)
		}
	}
	if refund.text("medfee_sumamt") != "-300.00" {
		t.Errorf("refund %v", refund)
	}
	v, _, info = d.settleOne(t, "张三", "MZ3", "300")
	if w := d.post(paths["2601"], encode(d.envelope("2601", v.area, v.reverseInput(info.text("medins_setl_id"), "2207")))); w.Code != 502 {
		t.Errorf("HTTP %d", w.Code)
	}
	d.refused(t, d.envelope("2601", v.area, v.reverseInput(info.text("medins_setl_id"), "2207")), "已冲正")
}

// TestSignOut: a number that was signed out is worth nothing, also after a
// restart.
func TestSignOut(t *testing.T) {
	k := noon()
	config := Config{Now: k.now, Ledger: filepath.Join(t.TempDir(), "ledger")}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(c)
	d.signIn(t)
	out := func(no, opter string) msg { return msg{"signOut": msg{"sign_no": no, "opter_no": opter}} }
	d.refused(t, d.envelope("9002", "", out(d.signNo, "0002")), "签到编号无效")
	d.refused(t, d.envelope("9002", "", out("1", "0001")), "签到编号无效")
	o := d.call(t, "9002", "", out(d.signNo, "0001"))
	if o["sign_time"].(map[string]any)["sign_time"] != k.t.Format(timeForm) {
		t.Errorf("9002 answers %v", o)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err = New(config); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	old := d.signNo
	k.t = k.t.Add(time.Second)
	d = newDesk(c)
	d.signNo = old
	_, id := d.patient("张三")
	d.refused(t, d.envelope("1101", "", msg{"data": id}), "签到编号无效")
	d.signNo = ""
	d.signIn(t)
	d.call(t, "1101", "", msg{"data": id})
}
