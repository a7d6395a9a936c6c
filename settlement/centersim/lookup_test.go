package centersim

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
)

// TestGenerousLookups: who lost the answer to 2207 finds the settlement by the
// visit, in all three look-ups, also after a restart; a strict centre shows
// nothing of it.
func TestGenerousLookups(t *testing.T) {
	name := t.TempDir() + "/l"
	c, err := New(Config{Ledger: name, Lookups: LookupsGenerous, Now: noon().now})
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(c)
	d.signIn(t)
	v := d.register(t, "张三", "MZ1")
	ask := func(setlID any) msg {
		return msg{"data": with(msg{"psn_no": v.p.PsnNo, "mdtrt_id": v.mdtrtID}, "setl_id", setlID)}
	}
	visits := func() []record {
		t.Helper()
		data := msg{"psn_no": v.p.PsnNo, "begntime": "2026-05-20 00:00:00", "endtime": "2026-05-20 23:59:59", "med_type": "11"}
		rows := []record{}
		for _, x := range d.call(t, "5201", v.area, msg{"data": data})["mdtrtinfo"].([]any) {
			rows = append(rows, x.(map[string]any))
		}
		return rows
	}
	settle := func(batch string) record {
		t.Helper()
		o := d.call(t, "2204", v.area, v.feeInput(batch, fee{"002101000010000-210102015", "300", "1", "300"}))
		return setlinfo(d.call(t, "2207", v.area, v.settleInput(batch, sumsOf(t, o), true)))
	}
	// Nothing is settled yet.
	if rows := visits(); len(rows) != 1 || rows[0]["setl_id"] != nil {
		t.Errorf("before: %v", rows)
	}
	d.refused(t, d.envelope("5203", v.area, ask(nil)), "未查询到结算信息")
	first := settle("B1")
	d.call(t, "2204", v.area, v.feeInput("B2", fee{"002101000010000-210102015", "70", "1", "70"}))
	if rows := visits(); len(rows) != 1 || rows[0].text("setl_id") != first.text("setl_id") || rows[0].text("medins_setl_id") != first.text("medins_setl_id") {
		t.Errorf("5201: %v", rows)
	}
	if got := setlinfo(d.call(t, "5203", v.area, ask(nil))); got.text("setl_id") != first.text("setl_id") || got["medfee_sumamt"] != first["medfee_sumamt"] {
		t.Errorf("5203: %v", got)
	}
	lines := d.list(t, "5204", v.area, ask(""))
	if len(lines) != 2 || lines[0].(map[string]any)["setl_id"] != first.text("setl_id") || lines[1].(map[string]any)["setl_id"] != nil {
		t.Errorf("5204: %v", lines)
	}
	// A refund and a second settlement: 5203 has the one that stands.
	d.call(t, "2208", v.area, v.refundInput(first.text("setl_id")))
	if rows := visits(); len(rows) != 1 || rows[0]["setl_id"] != nil {
		t.Errorf("after the refund: %v", rows)
	}
	if got := setlinfo(d.call(t, "5203", v.area, ask(nil))); got.text("refd_setl_flag") != "1" {
		t.Errorf("after the refund: %v", got)
	}
	second := settle("B3")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	d = newDesk(start(t, Config{Ledger: name, Lookups: LookupsGenerous}))
	d.n = 100
	d.signIn(t)
	if got := setlinfo(d.call(t, "5203", v.area, ask(nil))); got.text("setl_id") != second.text("setl_id") {
		t.Errorf("5203 after a restart: %v", got)
	}
	// With a setl_id all is as the letter has it; another's visit stays hidden.
	if got := setlinfo(d.call(t, "5203", v.area, ask(first.text("setl_id")))); got.text("setl_id") != first.text("setl_id") {
		t.Errorf("5203 with a setl_id: %v", got)
	}
	e := d.envelope("5204", v.area, ask(nil))
	e["fixmedins_code"] = "H51010000002"
	e["sign_no"] = signedIn(t, d, "H51010000002")
	if a := d.send(t, e); len(a["output"].([]any)) != 0 {
		t.Errorf("another institution sees %v", a["output"])
	}
}

// signedIn signs another institution in.
func signedIn(t *testing.T, d *desk, institution string) string {
	t.Helper()
	e := d.envelope("9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}})
	e["fixmedins_code"] = institution
	return d.send(t, e)["output"].(map[string]any)["signinoutb"].(map[string]any)["sign_no"].(string)
}

// reversible are the four transactions that 2601 takes back, each sent once.
var reversible = map[string]func(*testing.T, *desk) (v *aVisit, envelope msg){
	"2207": func(t *testing.T, d *desk) (*aVisit, msg) {
		v := d.register(t, "张三", "MZ1")
		o := d.call(t, "2204", v.area, v.feeInput("B1", fee{"002101000010000-210102015", "300", "1", "300"}))
		return v, d.envelope("2207", v.area, v.settleInput("B1", sumsOf(t, o), true))
	},
	"2102": func(t *testing.T, d *desk) (*aVisit, msg) {
		p, input := d.saleInput("张三", "23.80", true, fee{"XC08CAA086A001010190002", "0.85", "28", "23.80"})
		v := &aVisit{d: d, p: p, area: p.Insurance[0].InsuplcAdmdvs}
		return v, d.envelope("2102", v.area, input)
	},
	"2304": func(t *testing.T, d *desk) (*aVisit, msg) {
		v := d.admit(t, "王秀英", "ZY1")
		d.call(t, "2301", v.area, msg{"feedetail": []msg{v.line("1", "40")}})
		d.call(t, "2402", v.area, v.leave())
		return &aVisit{d: d, p: v.p, area: v.area}, d.envelope("2304", v.area, v.pay("40"))
	},
	"2401": func(t *testing.T, d *desk) (*aVisit, msg) {
		v, input := d.admission("王秀英", "ZY1")
		return &aVisit{d: d, p: v.p, area: v.area}, d.envelope("2401", v.area, input)
	},
}

// TestReversals: each of the four is reversed once when it was booked; what
// never arrived is refused, or (configured) accepted and then never booked.
func TestReversals(t *testing.T) {
	for infno, send := range reversible {
		for _, how := range []Reversal{ReversalRefuse, ReversalAccept} {
			t.Run(infno+" "+string(how), func(t *testing.T) {
				name := t.TempDir() + "/l"
				c, err := New(Config{Ledger: name, Reversal: how, Now: noon().now})
				if err != nil {
					t.Fatal(err)
				}
				d := newDesk(c)
				d.signIn(t)
				v, late := send(t, d)
				msgid := late["msgid"].(string)
				ask := func() msg { return d.envelope("2601", v.area, v.reverseInput(msgid, infno)) }
				booked := c.ledger.seq
				if how == ReversalRefuse {
					d.refused(t, ask(), "未查询到原交易")
					if c.ledger.seq != booked {
						t.Error("a refused reversal was booked")
					}
				} else {
					for range 2 { // the second books nothing
						if a := d.send(t, ask()); a["infcode"] != json.Number("0") {
							t.Fatalf("%v", a["err_msg"])
						}
						if c.ledger.seq != booked+1 {
							t.Errorf("%d bookings more", c.ledger.seq-booked)
						}
					}
					d.refused(t, late, "已冲正，不再受理")
					if err := c.Close(); err != nil {
						t.Fatal(err)
					}
					c = start(t, Config{Ledger: name, Reversal: how})
					again := newDesk(c)
					again.n, again.signNo = d.n, d.signNo
					d = again
					d.refused(t, late, "已冲正，不再受理")
					late = with(late, "msgid", d.msgid()) // with a msgid of its own it may
					msgid = late["msgid"].(string)
				}
				if a := d.send(t, late); a["infcode"] != json.Number("0") {
					t.Fatalf("%s: %v", infno, a["err_msg"])
				}
				d.refused(t, with(ask(), "input", msg{"data": msg{"psn_no": "1", "omsgid": msgid, "oinfno": infno}}), "psn_no")
				if a := d.send(t, ask()); a["infcode"] != json.Number("0") {
					t.Fatalf("2601: %v", a["err_msg"])
				}
				booked = c.ledger.seq
				if how == ReversalRefuse {
					d.refused(t, ask(), "原交易已冲正或已撤销")
				} else if a := d.send(t, ask()); a["infcode"] != json.Number("0") {
					t.Errorf("a second time: %v", a["err_msg"])
				}
				if c.ledger.seq != booked {
					t.Error("a repeated reversal was booked")
				}
				sum := fen(0)
				for _, x := range c.Settlements() {
					sum += fen(x.Total)
				}
				if sum != 0 {
					t.Errorf("%s left", sum.yuan())
				}
				if how == ReversalRefuse {
					if err := c.Close(); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
	for _, infno := range []string{"2208", "2201", "9101", "x"} {
		d := newDesk(start(t, Config{Reversal: ReversalAccept}))
		d.signIn(t)
		v := d.register(t, "张三", "MZ1")
		d.refused(t, d.envelope("2601", v.area, v.reverseInput("m", infno)), "不能冲正")
		e := d.envelope("2601", v.area, v.reverseInput("m", "2207"))
		e["input"] = v.reverseInput(e["msgid"].(string), "2207")
		d.refused(t, e, "相同")
	}
}

// TestBehaviours: a slip in a behaviour stops the start; one centre's manners
// are not another's.
func TestBehaviours(t *testing.T) {
	for _, config := range []Config{{Lookups: "x"}, {Reversal: "x"}, {Repeat: "x"}} {
		if _, err := New(config); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", config, err)
		}
	}
	generous, strict := start(t, Config{Lookups: LookupsGenerous}), start(t, Config{})
	required := func(c *Center) bool {
		return slices.ContainsFunc(c.table["5204"], func(f field) bool { return f.name == "setl_id" && f.required })
	}
	if required(generous) || !required(strict) {
		t.Error("5204 asks for the setl_id in the wrong one")
	}
}
