package centersim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that tests set.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func noon() *clock { return &clock{time.Date(2026, 5, 20, 12, 0, 0, 0, china)} }

// fataler is what *testing.T and *rapid.T have in common.
type fataler interface {
	Helper()
	Fatalf(format string, a ...any)
}

func start(t *testing.T, config Config) *Center {
	t.Helper()
	if config.Now == nil {
		config.Now = noon().now
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// desk is a hospital's counter in these tests: it writes every envelope by
// hand, without onecard's client.
type desk struct {
	c       *Center
	handler http.Handler
	signNo  string
	n       int
}

func newDesk(c *Center) *desk { return &desk{c: c, handler: c.Handler()} }

type msg = map[string]any

func (d *desk) msgid() string {
	d.n++
	return fmt.Sprintf("H51010000001%s%04d", d.c.now().Format("20060102150405"), d.n)
}

func (d *desk) envelope(infno, area string, input msg) msg {
	return msg{
		"infno": infno, "msgid": d.msgid(), "mdtrtarea_admvs": "510100", "insuplc_admdvs": area,
		"recer_sys_code": "MBS_LOCAL", "dev_no": "", "dev_safe_info": "", "cainfo": "", "signtype": "",
		"infver": "V1.0", "opter_type": "1", "opter": "0001", "opter_name": "收费员", "inf_time": d.c.now().Format(timeForm),
		"fixmedins_code": "H51010000001", "fixmedins_name": "样例医院", "sign_no": d.signNo, "input": input,
	}
}

func (d *desk) post(path string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// send posts an envelope to callService and returns the answer, numbers as
// written.
func (d *desk) send(t fataler, envelope msg) msg {
	t.Helper()
	w := d.post(callService, encode(envelope))
	if w.Code != http.StatusOK {
		t.Fatalf("HTTP %d %s", w.Code, w.Body)
	}
	a, err := parseObject(w.Body.Bytes())
	if err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return a
}

// call sends and expects success.
func (d *desk) call(t fataler, infno, area string, input msg) msg {
	t.Helper()
	a := d.send(t, d.envelope(infno, area, input))
	if a["infcode"] != json.Number("0") {
		t.Fatalf("%s: %v %v", infno, a["infcode"], a["err_msg"])
	}
	output, _ := a["output"].(map[string]any)
	return output
}

// refused sends and expects a refusal that speaks of what.
func (d *desk) refused(t fataler, envelope msg, what string) {
	t.Helper()
	a := d.send(t, envelope)
	text, _ := a["err_msg"].(string)
	if a["infcode"] != json.Number("-1") || !strings.Contains(text, what) {
		t.Fatalf("infcode %v, err_msg %q, want -1 and %q", a["infcode"], text, what)
	}
	if a["output"] != nil {
		t.Fatalf("a refusal with output %v", a["output"])
	}
}

func (d *desk) signIn(t fataler) {
	t.Helper()
	o := d.call(t, "9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "02-00-00-00-00-01", "ip": "192.0.2.1"}})
	d.signNo = o["signinoutb"].(map[string]any)["sign_no"].(string)
}

// patient returns a person of people.json and the fields that identify them by
// card.
func (d *desk) patient(name string) (*person, msg) {
	for _, p := range d.c.rules.byNumber {
		if p.PsnName == name {
			return p, msg{
				"mdtrt_cert_type": "03", "mdtrt_cert_no": p.Card.Number, "card_sn": p.Card.IdentificationCode,
				"psn_cert_type": p.PsnCertType, "certno": p.Certno, "psn_name": p.PsnName,
			}
		}
	}
	panic("no such person in people.json")
}

func with(m msg, pairs ...any) msg {
	m = maps.Clone(m)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == nil {
			delete(m, pairs[i].(string))
		} else {
			m[pairs[i].(string)] = pairs[i+1]
		}
	}
	return m
}

// aVisit is a visit on its way.
type aVisit struct {
	d        *desk
	p        *person
	id       msg
	area     string
	insutype string
	psnType  string
	mdtrtID  string
}

// register registers a visit and uploads its diagnosis.
func (d *desk) register(t fataler, name, otp string) *aVisit {
	t.Helper()
	p, id := d.patient(name)
	v := &aVisit{d: d, p: p, id: id, area: p.Insurance[0].InsuplcAdmdvs, insutype: p.Insurance[0].Insutype, psnType: p.Insurance[0].PsnType}
	o := d.call(t, "2201", v.area, msg{"data": v.registerInput(otp)})
	v.mdtrtID = o["data"].(map[string]any)["mdtrt_id"].(string)
	d.call(t, "2203", v.area, v.visitInput())
	return v
}

func (v *aVisit) registerInput(otp string) msg {
	return with(v.id, "psn_no", v.p.PsnNo, "insutype", v.insutype, "psn_type", v.psnType,
		"begntime", v.d.c.now().Format(timeForm), "ipt_otp_no", otp, "dept_code", "0101", "dept_name", "内科", "caty", "A03")
}

func (v *aVisit) visitInput() msg {
	now := v.d.c.now().Format(timeForm)
	return msg{
		"mdtrtinfo": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "med_type": "11", "begntime": now, "dise_codg": "I10.x00x002", "dise_name": "高血压"},
		"diseinfo": []msg{{"diag_type": "1", "diag_srt_no": 1, "diag_code": "I10.x00x002", "diag_name": "高血压", "diag_dept": "内科",
			"dise_dor_no": "D510100000001", "dise_dor_name": "李医生", "diag_time": now, "vali_flag": "1"}},
	}
}

// fee is one fee line: code, price, quantity, amount as written.
type fee struct{ code, price, quantity, amount string }

func (v *aVisit) feeInput(batch string, fees ...fee) msg {
	lines := []msg{}
	for i, f := range fees {
		lines = append(lines, msg{
			"feedetl_sn": fmt.Sprintf("%s-%d", batch, i+1), "mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "chrg_bchno": batch,
			"rx_circ_flag": "0", "fee_ocur_time": v.d.c.now().Format(timeForm), "med_list_codg": f.code, "medins_list_codg": "L" + f.code,
			"det_item_fee_sumamt": json.Number(f.amount), "cnt": json.Number(f.quantity), "pric": json.Number(f.price),
			"bilg_dept_codg": "0101", "bilg_dept_name": "内科", "bilg_dr_codg": "D510100000001", "bilg_dr_name": "李医生", "hosp_appr_flag": "0",
		})
	}
	return msg{"feedetail": lines}
}

// settleInput is the input of 2206 and 2207 for the sums of a batch.
func (v *aVisit) settleInput(batch string, s sums, useAccount bool) msg {
	flag := map[bool]string{false: "0", true: "1"}[useAccount]
	return msg{"data": with(v.id, "psn_no", v.p.PsnNo, "psn_type", v.psnType, "insutype", v.insutype, "med_type", "11",
		"medfee_sumamt", num(s.Total), "psn_setlway", "01", "mdtrt_id", v.mdtrtID, "chrg_bchno", batch, "acct_used_flag", flag,
		"fulamt_ownpay_amt", num(s.Full), "overlmt_selfpay", num(s.OverLimit), "preselfpay_amt", num(s.PreSelf), "inscp_scp_amt", num(s.InScope))}
}

// sumsOf adds the split lines of a 2204 answer.
func sumsOf(t fataler, output msg) sums {
	t.Helper()
	var s sums
	for _, l := range output["result"].([]any) {
		line := record(l.(map[string]any))
		for name, into := range map[string]*fen{
			"det_item_fee_sumamt": &s.Total, "fulamt_ownpay_amt": &s.Full, "overlmt_amt": &s.OverLimit,
			"preselfpay_amt": &s.PreSelf, "inscp_scp_amt": &s.InScope,
		} {
			a, err := line.amount(name)
			if err != nil {
				t.Fatalf("%v", err)
			}
			*into += a
		}
	}
	return s
}

func setlinfo(output msg) record { return output["setlinfo"].(map[string]any) }

// checkIdentities holds settlement.md's identities 1 to 4 against an answer.
func checkIdentities(t fataler, info record) {
	t.Helper()
	get := func(name string) fen {
		if info[name] == nil {
			t.Fatalf("%s is missing", name)
		}
		a, err := info.amount(name)
		if err != nil || a < 0 {
			t.Fatalf("%s = %v", name, info[name])
		}
		return a
	}
	fund := get("hifp_pay") + get("cvlserv_pay") + get("hifes_pay") + get("hifmi_pay") + get("hifob_pay") + get("maf_pay") + get("oth_pay") + get("hifdm_pay")
	switch {
	case get("medfee_sumamt") != get("fund_pay_sumamt")+get("psn_part_amt")+get("hosp_part_amt"):
		t.Fatalf("identity 1: %v", info)
	case get("fund_pay_sumamt") != fund:
		t.Fatalf("identity 2: %v", info)
	case get("psn_part_amt") != get("acct_pay")+get("psn_cash_pay"):
		t.Fatalf("identity 3: %v", info)
	case get("medfee_sumamt") != get("fulamt_ownpay_amt")+get("overlmt_selfpay")+get("preselfpay_amt")+get("inscp_scp_amt"):
		t.Fatalf("identity 4: %v", info)
	}
}
