package centersim

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"
)

// edited are the embedded data files with pieces replaced: name, old, new.
func edited(t *testing.T, changes ...string) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for i := 0; i < len(changes); i += 3 {
		name, old, piece := changes[i], changes[i+1], changes[i+2]
		if files[name] == nil {
			b, err := embedded.ReadFile("data/" + name)
			if err != nil {
				t.Fatal(err)
			}
			files[name] = &fstest.MapFile{Data: b}
		}
		text := string(files[name].Data)
		if !strings.Contains(text, old) {
			t.Fatalf("%s has no %q", name, old)
		}
		files[name] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(text, old, piece))}
	}
	return files
}

// care is a visit in a place: it registers, uploads one line of 400.00 in
// scope and asks for the trial.
type care struct {
	name, area, medType, disease, extras string
}

func (d *desk) trial(t fataler, otp string, x care) msg {
	t.Helper()
	p, id := d.patient(x.name)
	i := p.Insurance[0]
	v := &aVisit{d: d, p: p, id: id, area: i.InsuplcAdmdvs, insutype: i.Insutype, psnType: i.PsnType}
	send := func(infno string, input msg) msg {
		e := with(d.envelope(infno, v.area, input), "mdtrtarea_admvs", x.area)
		if infno == "2206" {
			return e
		}
		a := d.send(t, e)
		if a["infcode"] != json.Number("0") {
			t.Fatalf("%s: %v", infno, a["err_msg"])
		}
		return a["output"].(map[string]any)
	}
	o := send("2201", msg{"data": with(v.registerInput(otp), "exp_content", x.extras)})
	v.mdtrtID = o["data"].(map[string]any)["mdtrt_id"].(string)
	info := v.visitInput()
	info["mdtrtinfo"] = with(info["mdtrtinfo"].(msg), "med_type", x.medType, "dise_codg", x.disease)
	send("2203", info)
	s := sumsOf(t, send("2204", v.feeInput("B1", fee{"001109000010000-110900001", "40", "10", "400"})))
	return send("2206", msg{"data": with(v.settleInput("B1", s, false)["data"].(msg), "med_type", x.medType)})
}

// TestCrossProvince: the filing decides the ratio, an emergency counts as
// filed, both places do where the policy says so.
func TestCrossProvince(t *testing.T) {
	filing := `"filings": [{"type": "residence", "areas": ["11", "31", "33", "41", "44", "51"], "begndate": "2020-01-01", "enddate": ""}],`
	ended := strings.Replace(filing, `"enddate": ""`, `"enddate": "2026-05-19"`, 1)
	lastDay := strings.Replace(filing, `"enddate": ""`, `"enddate": "2026-05-20"`, 1)
	both := `"both_places": true`
	for _, x := range []struct {
		what    string
		changes []string
		care    care
		fund    string // "": refused
	}{
		// 400 - 200 = 200; 0.80, or 0.60 without a filing
		{"at home", nil, care{"欧阳海燕", "510100", "11", "I10", ""}, "160.00"},
		{"another city", nil, care{"欧阳海燕", "510700", "11", "I10", ""}, "160.00"},
		{"not filed", nil, care{"欧阳海燕", "410100", "11", "I10", ""}, "120.00"},
		{"emergency by kind", nil, care{"欧阳海燕", "410100", "13", "I10", ""}, "160.00"},
		{"emergency by flag", nil, care{"欧阳海燕", "410100", "11", "I10", `{"OTP_ER_REFL_FLAG":"1"}`}, "160.00"},
		{"emergency and referral", nil, care{"欧阳海燕", "410100", "11", "I10", `{"OTP_ER_REFL_FLAG":3}`}, "160.00"},
		{"referral alone", nil, care{"欧阳海燕", "410100", "11", "I10", `{"OTP_ER_REFL_FLAG":"2","TRUM_FLAG":"0"}`}, "120.00"},
		{"not filed, refused", []string{"policy.json", `"reduce"`, `"refuse"`}, care{"欧阳海燕", "410100", "11", "I10", ""}, ""},
		{"nobody asks", []string{"policy.json", `"reduce"`, `""`}, care{"欧阳海燕", "410100", "11", "I10", ""}, "160.00"},
		// 200 x 0.70, or 0.50
		{"filed", nil, care{"张三", "510100", "11", "I10", ""}, "140.00"},
		{"filed elsewhere", nil, care{"张三", "610100", "11", "I10", ""}, "100.00"},
		{"filing ended yesterday", []string{"people.json", filing, ended}, care{"张三", "510100", "11", "I10", ""}, "100.00"},
		{"filing ends today", []string{"people.json", filing, lastDay}, care{"张三", "510100", "11", "I10", ""}, "140.00"},
		{"filed, but at home", []string{"people.json", `"33", "41"`, `"33"`}, care{"张三", "410100", "11", "I10", ""}, "140.00"},
		{"filed, at home, one place", []string{"people.json", `"33", "41"`, `"33"`, "policy.json", both, `"both_places": false`}, care{"张三", "410100", "11", "I10", ""}, "100.00"},
		// The insured place's own policy: 400 - 0, x 0.90.
		{"another policy", []string{"policy.json", `"insurance": {
    "310"`, `"provinces": {"41": {"310": {"name": "x", "deductible": "0.00", "ratio": "0.90", "ceiling": "9000.00", "fund_pay_type": "310102", "fund_pay_type_name": "x"}}}, "insurance": {
    "310"`}, care{"张三", "510100", "11", "I10", ""}, "360.00"},
		// The care place's own catalogue: class B, 10 % before the insurance.
		{"another catalogue", []string{"catalogue.json", `"code": "001109000010000-110900001",`, `"code": "001109000010000-110900001", "by_area": {"51": {"class": "B", "selfpay": "0.10", "ceiling": "0"}},`},
			care{"张三", "510100", "11", "I10", ""}, "112.00"},
		{"that catalogue elsewhere", []string{"catalogue.json", `"code": "001109000010000-110900001",`, `"code": "001109000010000-110900001", "by_area": {"51": {"class": "B", "selfpay": "0.10", "ceiling": "0"}},`},
			care{"张三", "410100", "11", "I10", ""}, "140.00"},
		// 400 - 100, x 0.80.
		{"chronic", nil, care{"张三", "510100", "14", "M01600", ""}, "240.00"},
		{"chronic at home", nil, care{"欧阳海燕", "510100", "14", "M03200", ""}, "255.00"},
	} {
		t.Run(x.what, func(t *testing.T) {
			d := newDesk(start(t, Config{Data: edited(t, x.changes...)}))
			d.signIn(t)
			e := d.trial(t, "MZ1", x.care)
			if x.fund == "" {
				d.refused(t, e, "未备案")
				return
			}
			a := d.send(t, e)
			if a["infcode"] != json.Number("0") {
				t.Fatalf("refused: %v", a["err_msg"])
			}
			info := setlinfo(a["output"].(map[string]any))
			checkIdentities(t, info)
			if info.text("hifp_pay") != x.fund {
				t.Errorf("the fund pays %v, want %s", info["hifp_pay"], x.fund)
			}
			// The settlement says where the care was and undoes like any other.
			e["infno"], e["msgid"] = "2207", d.msgid()
			booked := setlinfo(d.send(t, e)["output"].(map[string]any))
			if booked["hifp_pay"] != info["hifp_pay"] {
				t.Errorf("trial %v, settlement %v", info, booked)
			}
			want := outType(x.care.area, d.c.rules.byNumber[booked.text("psn_no")].Insurance[0].InsuplcAdmdvs)
			if b := d.c.Settlements(); len(b) != 1 || b[0].OutType != want {
				t.Errorf("booked %+v", b)
			}
			p, _ := d.patient(x.care.name)
			v := &aVisit{d: d, p: p, mdtrtID: booked.text("mdtrt_id")}
			checkOpposite(t, booked, setlinfo(d.call(t, "2208", p.Insurance[0].InsuplcAdmdvs, v.refundInput(booked.text("setl_id")))))
		})
	}
}

// TestChronicRefused: an unrecognised disease, one whose recognition has not
// begun, and one that does not settle in another province.
func TestChronicRefused(t *testing.T) {
	for _, x := range []struct {
		name, area, disease string
		changes             []string
		why                 string
	}{
		{"张三", "510100", "M03900", nil, "没有该病种"},
		{"欧阳海燕", "410100", "M03200", nil, "不能跨省"},
		{"张三", "510100", "M01600", []string{"people.json", `"begndate": "2021-01-01"`, `"begndate": "2026-05-21"`}, "没有该病种"},
	} {
		d := newDesk(start(t, Config{Data: edited(t, x.changes...)}))
		d.signIn(t)
		p, id := d.patient(x.name)
		i := p.Insurance[0]
		v := &aVisit{d: d, p: p, id: id, area: i.InsuplcAdmdvs, insutype: i.Insutype, psnType: i.PsnType}
		e := with(d.envelope("2201", v.area, msg{"data": v.registerInput("MZ1")}), "mdtrtarea_admvs", x.area)
		v.mdtrtID = d.send(t, e)["output"].(map[string]any)["data"].(map[string]any)["mdtrt_id"].(string)
		info := v.visitInput()
		info["mdtrtinfo"] = with(info["mdtrtinfo"].(msg), "med_type", "14", "dise_codg", x.disease)
		d.refused(t, with(d.envelope("2203", v.area, info), "mdtrtarea_admvs", x.area), x.why)
		ask := msg{"data": msg{"psn_no": p.PsnNo, "insutype": i.Insutype, "fixmedins_code": "H51010000001", "med_type": "14", "begntime": "2026-05-20 12:00:00", "dise_codg": x.disease}}
		rows := d.send(t, with(d.envelope("2001", v.area, ask), "mdtrtarea_admvs", x.area))["output"].(map[string]any)["trtinfo"].([]any)
		if r := record(rows[0].(map[string]any)); r.text("trt_enjymnt_flag") != "0" || !strings.Contains(r.text("trt_chk_rslt"), x.why) {
			t.Errorf("2001: %v", r)
		}
	}
}

// TestExtras: exp_content is JSON in a text, with keys in upper case.
func TestExtras(t *testing.T) {
	d := newDesk(start(t, Config{}))
	d.signIn(t)
	p, id := d.patient("张三")
	v := &aVisit{d: d, p: p, id: id, area: "410100", insutype: "310", psnType: "11"}
	for text, why := range map[string]string{
		`{"trum_flag":"1"}`: "键为大写", `{"TRUM_FLAG":"2"}`: "TRUM_FLAG不是有效值", `{"OTP_ER_REFL_FLAG":"13"}`: "OTP_ER_REFL_FLAG",
		`[]`: "JSON对象", `{"TRUM_FLAG":{}}`: "值为文本或数字", `{} {}`: "JSON对象", `{`: "JSON对象",
	} {
		d.refused(t, d.envelope("2201", v.area, msg{"data": with(v.registerInput("MZ1"), "exp_content", text)}), why)
	}
	d.refused(t, d.envelope("2201", v.area, msg{"data": with(v.registerInput("MZ1"), "exp_content", msg{"TRUM_FLAG": "1"})}), "应为文本")
	d.call(t, "2201", v.area, msg{"data": with(v.registerInput("MZ1"), "exp_content", `{"TRUM_FLAG":"1","MDTRT_GRP_TYPE":null,"LOCAL":"x"}`)})
}

// TestRoutingData: data files with a slip stop the start and name it.
func TestRoutingData(t *testing.T) {
	for _, x := range []struct{ file, old, piece, why string }{
		{"people.json", `"type": "residence"`, `"type": "holiday"`, "filings"},
		{"people.json", `["11", "31"`, `["1", "31"`, "filings"},
		{"people.json", `"begndate": "2020-01-01"`, `"begndate": "2020-1-1"`, "begndate"},
		{"people.json", `"dise_codg": "M01600"`, `"dise_codg": ""`, "chronic"},
		{"policy.json", `"reduce"`, `"forget"`, "unfiled"},
		{"policy.json", `"reduction": "0.20"`, `"reduction": "1.20"`, "reduction"},
		{"policy.json", `"both_places": true`, `"both_place": true`, "both_place"},
		{"policy.json", `"insurance": {
    "310"`, `"provinces": {"4": {}}, "insurance": {
    "310"`, "provinces"},
		{"policy.json", `"ratio": "0.85"`, `"ratio": "1.85"`, "inpatient"},
		{"catalogue.json", `"code": "001109000010000-110900001",`, `"code": "001109000010000-110900001", "by_area": {"51": {"class": "A", "selfpay": "0.10", "ceiling": "0"}},`, "by_area"},
	} {
		if _, err := New(Config{Data: edited(t, x.file, x.old, x.piece)}); err == nil || !strings.Contains(err.Error(), x.why) {
			t.Errorf("%s: %v", x.piece, err)
		}
	}
}
