package centersim

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestWorkedExample plays the visit of docs/centersim.md and holds every
// number of its tables against the answers.
func TestWorkedExample(t *testing.T) {
	text, err := os.ReadFile("../../docs/centersim.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(text), "<!-- worked example -->")
	if !ok {
		t.Fatal("docs/centersim.md has no worked example")
	}
	example, _, _ = strings.Cut(example, "<!-- end -->")
	fees, split := []fee{}, [][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` [^|]*\\| ([0-9.]+) \\| ([0-9.]+) \\| ([0-9.]+) \\| ([0-9.]+) \\| ([0-9.]+) \\| ([0-9.]+) \\| ([0-9.]+) \\|$").FindAllStringSubmatch(example, -1) {
		fees = append(fees, fee{m[1], m[2], m[3], m[4]})
		split = append(split, m[5:9])
	}
	want := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| ([a-z_]+) \| ([0-9.]+) \|`).FindAllStringSubmatch(example, -1) {
		want[m[1]] = m[2]
	}
	if len(fees) < 4 || len(want) < 10 {
		t.Fatalf("the worked example has %d fee lines and %d amounts", len(fees), len(want))
	}

	d := newDesk(start(t, Config{}))
	d.signIn(t)
	v := d.register(t, "张三", "MZ0001")
	o := d.call(t, "2204", v.area, v.feeInput("B1", fees...))
	for i, l := range o["result"].([]any) {
		line := record(l.(map[string]any))
		for n, name := range []string{"fulamt_ownpay_amt", "overlmt_amt", "preselfpay_amt", "inscp_scp_amt"} {
			if a, err := line.amount(name); err != nil || a.yuan() != split[i][n] {
				t.Errorf("line %d: %s = %s, the document says %s", i+1, name, a.yuan(), split[i][n])
			}
		}
	}
	info := setlinfo(d.call(t, "2207", v.area, v.settleInput("B1", sumsOf(t, o), true)))
	checkIdentities(t, info)
	for name, amount := range want {
		if a, err := info.amount(name); err != nil || a.yuan() != amount {
			t.Errorf("%s = %v, the document says %s", name, info[name], amount)
		}
	}
}

// TestVisit plays a visit of each person at the paths of their own.
func TestVisit(t *testing.T) {
	for _, name := range []string{"欧阳海燕", "张三", "王秀英"} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(start(t, Config{}))
			d.signIn(t)
			p, id := d.patient(name)
			w := d.post(paths["1101"], encode(d.envelope("1101", "", msg{"data": id})))
			var a struct {
				Infcode int
				ErrMsg  *string `json:"err_msg"`
				Refmsg  string  `json:"inf_refmsgid"`
				Output  struct {
					Baseinfo map[string]any
					Insuinfo []map[string]any
				}
			}
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Infcode != 0 || len(a.Refmsg) != 30 || a.ErrMsg != nil {
				t.Fatalf("%v: %s", err, w.Body)
			}
			if a.Output.Baseinfo["psn_no"] != p.PsnNo || len(a.Output.Insuinfo) != len(p.Insurance) {
				t.Errorf("1101 answers %v", a.Output)
			}
			v := d.register(t, name, "MZ0001")
			o := d.call(t, "2204", v.area, v.feeInput("B1", fee{"001102000010000-110200001", "15", "1", "15"}, fee{"XA10BBG024A001010190006", "2.3", "28", "64.40"}))
			s := sumsOf(t, o)
			if s != (sums{Total: 7940, PreSelf: 644, InScope: 7296}) {
				t.Errorf("split %+v", s)
			}
			trial := setlinfo(d.call(t, "2206", v.area, v.settleInput("B1", s, true)))
			if _, has := trial["setl_id"]; has || trial["setl_time"] != nil {
				t.Error("a trial with a settlement number or time")
			}
			if n := len(d.c.Settlements()); n != 0 {
				t.Errorf("the trial booked %d settlements", n)
			}
			info := setlinfo(d.call(t, "2207", v.area, v.settleInput("B1", s, true)))
			checkIdentities(t, info)
			for name, value := range trial {
				if name != "setl_time" && name != "medins_setl_id" && info[name] != value {
					t.Errorf("%s: trial %v, settlement %v", name, value, info[name])
				}
			}
			b := d.c.Settlements()
			if len(b) != 1 || b[0].SetlID != info.text("setl_id") || b[0].MsgID != info.text("medins_setl_id") || b[0].Total != 7940 {
				t.Errorf("booked %+v", b)
			}
			d.refused(t, d.envelope("2207", v.area, v.settleInput("B1", s, true)), "不能重复结算")
			d.refused(t, d.envelope("2206", v.area, v.settleInput("B1", s, true)), "不能重复结算")
		})
	}
}

// TestYear shows that deductible and ceiling add up over visits, and start
// again with the year.
func TestYear(t *testing.T) {
	k := noon()
	d := newDesk(start(t, Config{Now: k.now}))
	settle := func(otp string, ct string, amount string) record {
		t.Helper()
		d.signIn(t)
		v := d.register(t, "王秀英", otp)
		o := d.call(t, "2204", v.area, v.feeInput("B", fee{"002101000010000-210102015", "70", ct, amount}))
		return setlinfo(d.call(t, "2207", v.area, v.settleInput("B", sumsOf(t, o), false)))
	}
	for _, x := range []struct{ otp, cnt, amount, dedc, fund, cash string }{
		{"1", "0.5", "35.00", "35.00", "0.00", "35.00"},
		{"2", "1", "70.00", "15.00", "30.25", "39.75"},        // 55 x 0.55
		{"3", "12", "840.00", "0.00", "462.00", "378.00"},     // 840 x 0.55
		{"4", "1", "70.00", "0.00", "7.75", "62.25"},          // what is left of 500
		{"5", "1", "70.00", "0.00", "0.00", "70.00"},          //
		{"6", "0.0001", "0.01", "0.00", "0.00", "0.01"},       // 0.007 rounds up
		{"2027", "2", "140.00", "50.00", "49.50", "90.50"},    // next year: 90 x 0.55
		{"2027b", "0.1", "7.00", "0.00", "3.85", "3.15"},      //
		{"2027c", "0.9999", "69.99", "0.00", "38.49", "31.5"}, // 69.993; 38.4945
	} {
		if x.otp == "2027" {
			k.t = k.t.AddDate(1, 0, 0)
		}
		info := settle(x.otp, x.cnt, x.amount)
		checkIdentities(t, info)
		for name, want := range map[string]string{"act_pay_dedc": x.dedc, "hifp_pay": x.fund, "psn_cash_pay": x.cash} {
			got, _ := info.amount(name)
			if w, _ := parseDecimal(want, 2); fen(w) != got {
				t.Errorf("visit %s: %s = %s, want %s", x.otp, name, got.yuan(), want)
			}
		}
	}
}

// TestSupplement shows that the second fund pays its share of what the ceiling
// cut off, and that the account pays no more than it holds.
func TestSupplement(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	for _, x := range []struct{ name, fund, supplement, account, cash string }{
		// 20000 - 200 = 19800; x 0.80 = 15840; 5000, and 0.80 of 10840
		{"欧阳海燕", "5000.00", "8672.00", "1234.56", "5093.44"},
		// x 0.70 = 13860; 5000; no supplement
		{"张三", "5000.00", "0", "80.00", "14920.00"},
	} {
		v := d.register(t, x.name, x.name)
		o := d.call(t, "2204", v.area, v.feeInput("B", fee{"001109000010000-110900001", "40", "500", "20000"}))
		info := setlinfo(d.call(t, "2207", v.area, v.settleInput("B", sumsOf(t, o), true)))
		checkIdentities(t, info)
		for name, want := range map[string]string{"hifp_pay": x.fund, "hifob_pay": x.supplement, "acct_pay": x.account, "psn_cash_pay": x.cash, "balc": "0.00"} {
			if info.text(name) != want {
				t.Errorf("%s: %s = %v, want %s", x.name, name, info[name], want)
			}
		}
	}
}

// TestSplit holds the split of single lines against sums done by hand.
func TestSplit(t *testing.T) {
	r, err := loadRules(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		code            string
		price, quantity int64
		approved        bool
		full, over      fen
		pre, in         fen
	}{
		{"001102000010000-110200001", 15_000000, 1_0000, false, 0, 0, 0, 1500},      // A, at the ceiling
		{"001102000010000-110200001", 20_000000, 1_0000, false, 0, 500, 0, 1500},    // A, above it
		{"XC10AAB026A001010190004", 4_200000, 7_0000, false, 0, 0, 294, 2646},       // B 0.10 of 29.40
		{"XC10AAB026A001010190004", 5_000000, 7_0000, false, 0, 560, 294, 2646},     // B, 35.00 with 5.60 above
		{"XC10AAB026A001010190004", 4_150000, 1_0000, false, 0, 0, 42, 373},         // 0.415 rounds up
		{"XA11GAW037A001010190016", 9_990000, 2_0000, false, 1998, 0, 0, 0},         // C
		{"XL01EBG030A001010190015", 50_000000, 10_0000, false, 50000, 0, 0, 0},      // limited, not approved
		{"XL01EBG030A001010190015", 50_000000, 10_0000, true, 0, 1000, 9800, 39200}, // approved
		{"C1401030020000300003903", 1_005000, 1_0000, false, 0, 0, 20, 81},          // 1.005 is 1.01; 0.202
		{"T000100123", 160000, 15_5000, false, 0, 0, 0, 248},                        // grams
	} {
		l := line{Price: x.price, Quantity: x.quantity, Approved: x.approved}
		var ok bool
		if l.Amount, ok = times(x.price, x.quantity); !ok {
			t.Fatal("overflow")
		}
		l.split(r.items[x.code])
		if l.Full != x.full || l.OverLimit != x.over || l.PreSelf != x.pre || l.InScope != x.in {
			t.Errorf("%s: %v %v %v %v, want %v %v %v %v", x.code, l.Full, l.OverLimit, l.PreSelf, l.InScope, x.full, x.over, x.pre, x.in)
		}
	}
}

func TestSignInLastsADay(t *testing.T) {
	k := noon()
	d := newDesk(start(t, Config{Now: k.now}))
	d.signIn(t)
	_, id := d.patient("张三")
	d.call(t, "1101", "", msg{"data": id})
	k.t = k.t.Add(12 * time.Hour)
	d.refused(t, d.envelope("1101", "", msg{"data": id}), "签到编号已过期")
	d.signIn(t)
	d.call(t, "1101", "", msg{"data": with(id, "mdtrt_cert_type", "02", "mdtrt_cert_no", id["certno"], "card_sn", nil)})
}

// TestRepeats: what may be repeated after a look-up is not booked twice.
func TestRepeats(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	v := d.register(t, "张三", "MZ1")
	o := d.call(t, "2201", v.area, msg{"data": v.registerInput("MZ1")})
	if o["data"].(map[string]any)["mdtrt_id"] != v.mdtrtID {
		t.Error("the same out-patient number became another visit")
	}
	input := v.feeInput("B1", fee{"001102000010000-110200001", "15.00", "1", "15.00"})
	first := d.call(t, "2204", v.area, input)
	if again := d.call(t, "2204", v.area, input); string(encode(again)) != string(encode(first)) {
		t.Errorf("the same batch answered %v, then %v", first, again)
	}
	d.call(t, "2207", v.area, v.settleInput("B1", sumsOf(t, first), false))
	d.refused(t, d.envelope("2201", v.area, msg{"data": v.registerInput("MZ1")}), "ipt_otp_no已使用")
}

// TestUndo takes fee lines and a registration back, with a restart between.
func TestUndo(t *testing.T) {
	k, name := noon(), t.TempDir()+"/l"
	c, err := New(Config{Ledger: name, Now: k.now})
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(c)
	d.signIn(t)
	v := d.register(t, "张三", "MZ1")
	visit := fee{"001102000010000-110200001", "15.00", "1", "15.00"}
	fees := func(batch string) msg { return msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "chrg_bchno": batch} }
	registration := msg{"data": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "ipt_otp_no": "MZ1"}}
	d.call(t, "2205", v.area, msg{"data": fees("0000")})
	for _, b := range []string{"B1", "B2", "B3"} {
		d.call(t, "2204", v.area, v.feeInput(b, visit))
	}
	d.refused(t, d.envelope("2205", v.area, msg{"data": fees("B4")}), "没有已上传的费用明细")
	d.refused(t, d.envelope("2202", v.area, registration), "不能撤销挂号")
	d.call(t, "2205", v.area, msg{"data": fees("B1")})
	s := sums{Total: 1500, InScope: 1500}
	d.refused(t, d.envelope("2207", v.area, v.settleInput("B1", s, true)), "没有已上传的费用明细")
	d.call(t, "2204", v.area, v.feeInput("B1", visit))
	d.call(t, "2205", v.area, msg{"data": fees("0000")})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	k.t = k.t.Add(time.Second)
	d = newDesk(start(t, Config{Ledger: name, Now: k.now}))
	v.d = d
	d.signIn(t)
	d.refused(t, d.envelope("2206", v.area, v.settleInput("B2", s, true)), "没有已上传的费用明细")
	d.refused(t, d.envelope("2202", v.area, msg{"data": with(registration["data"].(msg), "ipt_otp_no", "MZ2")}), "ipt_otp_no")
	d.call(t, "2202", v.area, registration)
	d.refused(t, d.envelope("2202", v.area, registration), "挂号或入院已撤销")
	d.refused(t, d.envelope("2204", v.area, v.feeInput("B1", visit)), "挂号或入院已撤销")
	old := v.mdtrtID
	v = d.register(t, "张三", "MZ1")
	if v.mdtrtID == old {
		t.Error("a cancelled visit came back")
	}
	d.call(t, "2204", v.area, v.feeInput("B1", visit))
	d.call(t, "2207", v.area, v.settleInput("B1", s, true))
	d.refused(t, d.envelope("2205", v.area, msg{"data": fees("B1")}), "已结算")
	d.call(t, "2205", v.area, msg{"data": fees("0000")})
	d.refused(t, d.envelope("2202", v.area, msg{"data": msg{"mdtrt_id": v.mdtrtID, "psn_no": v.p.PsnNo, "ipt_otp_no": "MZ1"}}), "不能撤销挂号")
}

func TestRepeatedMsgID(t *testing.T) {
	for _, repeat := range []Repeat{RepeatRefuse, RepeatBook, RepeatSame} {
		t.Run(string(repeat), func(t *testing.T) {
			d := newDesk(start(t, Config{Repeat: repeat, Ledger: t.TempDir() + "/l"}))
			d.signIn(t)
			v := d.register(t, "张三", "MZ1")
			o := d.call(t, "2204", v.area, v.feeInput("B1", fee{"001102000010000-110200001", "15.00", "20", "300.00"}))
			e := d.envelope("2207", v.area, v.settleInput("B1", sumsOf(t, o), true))
			first := d.send(t, e)
			switch repeat {
			case RepeatRefuse:
				d.refused(t, e, "报文ID重复")
			case RepeatSame:
				if second := d.send(t, e); string(encode(second["output"])) != string(encode(first["output"])) {
					t.Errorf("%v, then %v", first, second)
				}
				changed := with(e, "input", v.settleInput("B1", sumsOf(t, o), false))
				d.refused(t, changed, "报文ID重复")
			case RepeatBook:
				second := d.send(t, e)
				a, b := setlinfo(first["output"].(map[string]any)), setlinfo(second["output"].(map[string]any))
				checkIdentities(t, b)
				if a["setl_id"] == b["setl_id"] || b.text("act_pay_dedc") != "0.00" {
					t.Errorf("not booked again: %v", b)
				}
			}
			want := map[Repeat]int{RepeatRefuse: 1, RepeatSame: 1, RepeatBook: 2}[repeat]
			if n := len(d.c.Settlements()); n != want {
				t.Errorf("%d settlements, want %d", n, want)
			}
		})
	}
}

// TestOutputs holds every answer against the published output fields: what is
// required is there.
func TestOutputs(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	answers := map[string]msg{"9001": d.call(t, "9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}})}
	v := d.register(t, "王秀英", "MZ1")
	answers["1101"] = d.call(t, "1101", "", msg{"data": v.id})
	answers["2201"] = d.call(t, "2201", v.area, msg{"data": v.registerInput("MZ1")})
	answers["2204"] = d.call(t, "2204", v.area, v.feeInput("B1", fee{"001102000010000-110200001", "15.00", "20", "300.00"}))
	answers["2206"] = d.call(t, "2206", v.area, v.settleInput("B1", sumsOf(t, answers["2204"]), false))
	answers["2207"] = d.call(t, "2207", v.area, v.settleInput("B1", sumsOf(t, answers["2204"]), false))
	setlID := setlinfo(answers["2207"]).text("setl_id")
	lookUp := msg{"data": msg{"psn_no": v.p.PsnNo, "setl_id": setlID, "mdtrt_id": v.mdtrtID}}
	answers["5203"] = d.call(t, "5203", v.area, lookUp)
	answers["5204"] = msg{"": d.list(t, "5204", v.area, lookUp)}
	answers["5201"] = d.call(t, "5201", v.area, msg{"data": msg{"psn_no": v.p.PsnNo, "begntime": "2026-05-20 00:00:00", "endtime": "2026-05-20 23:59:59", "med_type": "11"}})
	answers["2001"] = d.call(t, "2001", v.area, msg{"data": msg{"psn_no": v.p.PsnNo, "insutype": "390", "fixmedins_code": "H51010000001", "med_type": "11", "begntime": "2026-05-20 12:00:00"}})
	sold, sale := d.saleInput("王秀英", "23.80", false, fee{"XC08CAA086A001010190002", "0.85", "28", "23.80"})
	answers["2101"] = d.call(t, "2101", v.area, sale)
	answers["2102"] = d.call(t, "2102", v.area, sale)
	bought := &aVisit{p: sold, mdtrtID: setlinfo(answers["2102"]).text("mdtrt_id")}
	answers["2103"] = d.call(t, "2103", v.area, bought.refundInput(setlinfo(answers["2102"]).text("setl_id")))
	stay, admission := d.admission("王秀英", "ZY1")
	answers["2401"] = d.call(t, "2401", v.area, admission)
	stay.mdtrtID = answers["2401"]["result"].(map[string]any)["mdtrt_id"].(string)
	answers["2301"] = d.call(t, "2301", v.area, msg{"feedetail": []msg{stay.line("1", "40")}})
	d.call(t, "2402", v.area, stay.leave())
	answers["2303"] = d.call(t, "2303", v.area, stay.pay("40"))
	answers["2304"] = d.call(t, "2304", v.area, stay.pay("40"))
	answers["2305"] = d.call(t, "2305", v.area, stay.refundInput(setlinfo(answers["2304"]).text("setl_id")))
	s := &statement{}
	answers["3201"] = d.call(t, "3201", "", s.input())
	file := d.call(t, "9101", "", msg{"fsUploadIn": msg{"in": base64.StdEncoding.EncodeToString(s.zip(t)), "filename": "s.zip", "fixmedins_code": "H51010000001"}})
	answers["9101"] = msg{"": file}
	answers["3202"] = d.call(t, "3202", "", s.input("file_qury_no", file["file_qury_no"]))
	answers["2208"] = d.call(t, "2208", v.area, v.refundInput(setlID))
	answers["9002"] = d.call(t, "9002", "", msg{"signOut": msg{"sign_no": d.signNo, "opter_no": "0001"}})
	answers["9001"] = d.call(t, "9001", "", msg{"signIn": msg{"opter_no": "0001", "mac": "m", "ip": "i"}})
	d.signNo = answers["9001"]["signinoutb"].(map[string]any)["sign_no"].(string)
	outputsOfTheRest(t, d, answers)
	checked := 0
	for _, row := range strings.Split(strings.TrimSuffix(fieldsTable, "\n"), "\n") {
		c := strings.Split(row, "\t")
		if c[1] != "out" || c[0] == "ENVELOPE" || c[7] != "Y" || (strings.Contains("2206 2101 2303", c[0]) && c[3] == "setl_time") || (c[0] == "2101" && c[3] == "mdtrt_id") {
			continue
		}
		var records []any
		switch node := answers[c[0]][c[2]].(type) {
		case map[string]any:
			records = []any{node}
		case []any:
			records = node
		}
		if len(records) == 0 {
			t.Errorf("%s: no node %s", c[0], c[2])
		}
		for _, r := range records {
			checked++
			name := c[3]
			if name == "pdn_cash_pay" {
				name = "psn_cash_pay" // 2208 announces the one and sends the other
			}
			if value := r.(map[string]any)[name]; value == nil || value == "" {
				t.Errorf("%s: %s.%s is %v, but required", c[0], c[2], c[3], value)
			}
		}
	}
	if checked < 160 {
		t.Errorf("only %d fields were checked", checked)
	}
}

// TestTable: the rows used here are rows of the full table in settlement.
func TestTable(t *testing.T) {
	full, err := os.ReadFile("../fields.tsv")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(string(full), "\n")
	for _, row := range strings.Split(strings.TrimSuffix(fieldsTable, "\n"), "\n") {
		if !slices.Contains(rows, row) {
			t.Errorf("not in settlement/fields.tsv: %s", row)
		}
	}
}

// TestPeopleHoldTheCards: people.json names the holders of the simulated
// cards.
func TestPeopleHoldTheCards(t *testing.T) {
	r, err := loadRules(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"1.0", "2.0", "3.0"} {
		b, err := os.ReadFile("../../card/cardsim/images/" + version + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var image struct {
			Code    string                     `json:"identification_code"`
			Files   map[string]json.RawMessage `json:"files"`
			Account struct {
				Balance fen `json:"balance"`
			} `json:"medical_account"`
		}
		var card, holder map[string]string
		if err := json.Unmarshal(b, &image); err != nil {
			t.Fatal(err)
		}
		if json.Unmarshal(image.Files["SSSEEF05"], &card) != nil || json.Unmarshal(image.Files["SSSEEF06"], &holder) != nil {
			t.Fatalf("%s: image without SSSE files", version)
		}
		p := r.byCard[card["07"]]
		if p == nil {
			t.Errorf("%s: nobody holds the card", version)
			continue
		}
		got := []string{p.Card.IdentificationCode, p.Certno, p.PsnName, p.Gend, p.Naty, p.Brdy}
		want := []string{image.Code, holder["08"], holder["09"], holder["0A"], holder["0B"], holder["0D"]}
		if !slices.Equal(got, want) {
			t.Errorf("%s: people.json %v, card %v", version, got, want)
		}
		if p.Insurance[0].Balance != image.Account.Balance {
			t.Errorf("%s: balance %s, card %s", version, p.Insurance[0].Balance.yuan(), image.Account.Balance.yuan())
		}
	}
}

func TestPagesSaySimulator(t *testing.T) {
	h := start(t, Config{}).Handler()
	for path, want := range map[string]int{"/": 200, "/healthz": 200, "/elsewhere": 404, callService: 405} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want || (want == 200 && !strings.Contains(w.Body.String(), "SIMULATOR")) {
			t.Errorf("GET %s: %d %s", path, w.Code, w.Body)
		}
	}
}
