package region

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"onecard/settlement"
)

func TestShipped(t *testing.T) {
	if got := strings.Join(Names(), " "); got != "encrypted one-endpoint path-per-infno" {
		t.Errorf("shipped: %s", got)
	}
	for _, name := range Names() {
		r, err := Load(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r.Name == "" || r.Style == "" || r.String() != r.Name {
			t.Errorf("%s: %+v", name, r)
		}
		text, err := shipped.ReadFile(name + ".toml")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "r.toml")
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if again, err := Load(file); err != nil || again.Name != r.Name {
			t.Errorf("%s as a file: %v", name, err)
		}
	}
	for _, name := range []string{"nowhere", t.TempDir(), "../region"} {
		if _, err := Load(name); err == nil {
			t.Errorf("%s was loaded", name)
		}
	}
}

func TestRefused(t *testing.T) {
	const amendment = "name = \"x\"\n[[amendment]]\ninfno = \"1101\"\nnode = \"data\"\nfield = \"card_sn\"\nproperty = \"required\"\nvalue = \"Y\"\nreason = \"r\"\n"
	for _, x := range []struct{ text, says string }{
		{"", "name: missing"},
		{"name = 1", "line 1: name"},
		{"name = \"x\"\ncolour = 1", "line 2: colour: unknown key"},
		{"name = \"x\"\n\n[csb]\nsecret = \"y\"", "line 4: csb.secret: unknown key"},
		{"name = \"x\"\npath = \"http://a/\"", "line 2: path"},
		{"name = \"x\"\nstyle = \"x-tif+magic\"", "line 2: style: unknown"},
		{"name = \"x\"\nstyle = \"x-tif\"\n[csb]\napi_name = \"a\"", "line 4: csb.api_name: without style csb"},
		{"name = \"x\"\n[sm2]\nuser_id = \"a\"", "line 3: sm2.user_id"},
		{"name = \"x\"\n[mobile]\nversion = \"a\"", "line 3: mobile.version"},
		{"name = \"x\"\nreceiver = \"12345678901\"", "line 2: receiver"},
		{"name = \"x\"\nversion = \"1234567\"", "line 2: version"},
		{"name = \"x\"\nfeedetl_sn = \"both\"", "line 2: feedetl_sn"},
		{"name = \"x\"\nanswer_timeout = \"1h\"", "line 2: answer_timeout"},
		{"name = \"x\"\n[paths]\n9999 = \"/a\"", "line 3: paths.9999: no such transaction"},
		{"name = \"x\"\n[paths]\n2201 = \"a\"", "line 3: paths.2201"},
		{"name = \"x\"\n[paths]\n2201 = \"//host/a\"", "line 3: paths.2201"},
		{"name = \"x\"\n[paths]\n2207 = \"/a\"\n[variants]\n2207 = \"2207A\"", "line 3: paths.2207: never used"},
		{"name = \"x\"\n[paths]\n2201 = \"/a\"\n[variants]\n2207 = \"2207A\"", "line 5: variants.2207: there is no path"},
		{"name = \"x\"\n[variants]\n2207 = \"2207Z\"", "line 3: variants.2207: no such"},
		{"name = \"x\"\n[variants]\n2207 = \"2207\"", "line 3: variants.2207"},
		{"name = \"x\"\n[envelope]\nmsgid = \"1\"", "line 3: envelope.msgid"},
		{"name = \"x\"\n[envelope]\n\"a b\" = \"1\"", "envelope.a b"},
		{"name = \"x\"\n[envelope]\ndev_safe_info = \"" + strings.Repeat("1", 2001) + "\"", "line 3: envelope.dev_safe_info: too long"},
		{"name = \"x\"\n[nodes.2204]\nfeedetial = \"a\"", "line 3: nodes.2204.feedetial: no such node"},
		{"name = \"x\"\n[nodes.9999]\ndata = \"a\"", "nodes.9999"},
		{"name = \"x\"\n[nodes.2204]\nfeedetail = \"\"", "line 3: nodes.2204.feedetail"},
		{"name = \"x\"\n[cross]\npool_digits = 3", "line 3: cross.pool_digits"},
		{"name = \"x\"\n[cross]\nneed = [\"3\"]", "line 3: cross.need"},
		{"name = \"x\"\n[cross]\nfilings = [\"5301\"]", "line 3: cross.filings"},
		{"name = \"x\"\n[cross]\nunfiled = \"maybe\"", "line 3: cross.unfiled"},
		{"name = \"x\"\n[cross]\nchronic = [\"\"]", "cross.emergency, chronic_types, chronic"},
		{"name = \"x\"\n[cross.exp_content]\ntrum_flag = \"1\"", "cross.exp_content"},
		{"name = \"x\"\n[dictionaries.sex]\n9 = \"\"", "line 3: dictionaries.sex.9"},
		{strings.Replace(amendment, "reason = \"r\"\n", "", 1), "line 2: amendment[0]: reason"},
		{strings.Replace(amendment, "required", "colour", 1), "line 2: amendment[0]: no such property"},
		{strings.Replace(amendment, "\"Y\"", "\"yes\"", 1), "line 2: amendment[0]"},
		{strings.Replace(amendment, "card_sn", "card_snn", 1), "line 2: amendment[0]: no such node or field"},
		{strings.Replace(amendment, "1101", "1102", 1), "line 2: amendment[0]: no such transaction"},
		{strings.Replace(amendment, "reason = \"r\"", "reason = \"a\\tb\"", 1), "line 8: amendment[0].reason"},
		{strings.Replace(amendment, "\"required\"", "\"shape\"", 1), "amendment[0]"},
	} {
		_, err := Parse([]byte(x.text))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%q: %v, want %q", x.text, err, x.says)
		}
	}
	if _, err := Parse([]byte(amendment)); err != nil {
		t.Errorf("the amendment itself: %v", err)
	}
	if _, err := Parse(make([]byte, maxFile+1)); err == nil {
		t.Error("a file without end was parsed")
	}
}

// What the configuration says stays; what it leaves empty is the region's.
func TestExplicitWins(t *testing.T) {
	r, err := Load("path-per-infno")
	if err != nil {
		t.Fatal(err)
	}
	own := settlement.Config{
		URL: "https://10.0.0.1/other", RecerSysCode: "OWN", AnswerTimeout: time.Second,
		Paths: map[string]string{"2207A": "/own"}, Variants: map[string]string{"2203": "2203"},
	}
	if err := r.Apply(&own); err != nil {
		t.Fatal(err)
	}
	if own.RecerSysCode != "OWN" || own.AnswerTimeout != time.Second || own.ConnectTimeout != 5*time.Second || own.Infver != "V1.0" ||
		own.Paths["2207A"] != "/own" || own.Paths["2204"] == "" || own.Variants["2203"] != "2203" || own.Variants["2206"] != "2206A" {
		t.Errorf("%+v", own)
	}
	c := settlement.Credentials{APIVersion: "9"}
	r.Complete(&c)
	if c.APIVersion != "9" {
		t.Errorf("api version %s", c.APIVersion)
	}
	r.Complete(&settlement.Credentials{})
	one, err := Load("one-endpoint")
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"http://h:1": "http://h:1/fsi/api/rsfComIfsService/callService", "http://h:1/": "http://h:1/fsi/api/rsfComIfsService/callService",
		"http://h:1/own": "http://h:1/own", "%": "%",
	} {
		if got := one.Endpoint(address); got != want {
			t.Errorf("%s becomes %s, want %s", address, got, want)
		}
	}
	if connect, answer := one.Timeouts(); connect != 10*time.Second || answer != time.Minute {
		t.Errorf("time-outs %v, %v", connect, answer)
	}
	catalogue, err := one.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := catalogue.Meaning("med_type", "9951"); !ok || text != "门诊两病用药" {
		t.Errorf("a code of the region: %q", text)
	}
	if text, ok := catalogue.Meaning("med_type", "11"); !ok || text == "" {
		t.Error("the national codes are gone")
	}
}

// seen is what a region's gateway got.
type seen struct {
	path   string
	header http.Header
	body   map[string]json.RawMessage
}

// call sends through a region to a gateway that answers with output.
func call(t *testing.T, name, output string, do func(*settlement.Client) error) seen {
	t.Helper()
	r, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	var got seen
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		text, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		got = seen{path: req.URL.Path, header: req.Header}
		if err := json.Unmarshal(text, &got.body); err != nil {
			t.Error(err)
		}
		io.WriteString(w, `{"infcode":0,"inf_refmsgid":"1","output":`+output+`}`)
	}))
	defer server.Close()
	c := settlement.Credentials{ID: "id", Secret: "secret", SM4Key: "0123456789abcdef"}
	r.Complete(&c)
	style, err := settlement.NewStyle(r.Style, c)
	if err != nil {
		t.Fatal(err)
	}
	cfg := settlement.Config{
		URL: server.URL, Style: style,
		Institution: settlement.Institution{Code: "H51010000001", Name: "样例医院", Area: "510100"},
		Operator:    settlement.Operator{No: "1", Name: "收费"},
	}
	if err := r.Apply(&cfg); err != nil {
		t.Fatal(err)
	}
	client, err := settlement.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := do(client); err != nil {
		t.Error(err)
	}
	return got
}

var scope = settlement.Scope{InsuplcAdmdvs: "510100", SignNo: "S"}

func fees(t *testing.T) []settlement.FeeDetail {
	t.Helper()
	fee := settlement.FeeDetail{
		FeedetlSN: settlement.SerialNo{Value: "1001"}, MdtrtID: "M", PsnNo: "P", ChrgBchno: "B1", RxCircFlag: "0", DiseCodg: "I10",
		FeeOcurTime: "2026-05-20 12:00:00", MedListCodg: "X", MedinsListCodg: "L1", BilgDeptCodg: "0101", BilgDeptName: "内科",
		BilgDrCodg: "D1", BilgDrName: "李医生", HospApprFlag: "0", DetItemFeeSumamt: 100,
	}
	var err error
	if fee.Pric, err = settlement.ParsePrice("1"); err != nil {
		t.Fatal(err)
	}
	if fee.Cnt, err = settlement.ParseQuantity("1"); err != nil {
		t.Fatal(err)
	}
	return []settlement.FeeDetail{fee}
}

const feeAnswer = `{"result":[{"feedetl_sn":"1001","det_item_fee_sumamt":1.00,"fulamt_ownpay_amt":0,"overlmt_amt":0,"preselfpay_amt":0,"inscp_scp_amt":1.00}]}`

func upload(t *testing.T, n int) func(*settlement.Client) error {
	return func(c *settlement.Client) error {
		lines := fees(t)
		results, err := c.UploadFees(context.Background(), scope, lines)
		if err == nil && (len(results) != n || lines[0].FeedetlSN.AsText) {
			t.Errorf("%d results; the caller's lines: %+v", len(results), lines)
		}
		return err
	}
}

func TestOneEndpoint(t *testing.T) {
	got := call(t, "one-endpoint", feeAnswer, upload(t, 1))
	if got.path != "/fsi/api/rsfComIfsService/callService" || got.header.Get("x-tif-signature") == "" ||
		string(got.body["recer_sys_code"]) != `"MBS_LOCAL"` || !strings.Contains(string(got.body["input"]), `"feedetl_sn":1001`) {
		t.Errorf("%+v", got)
	}
	// Its amendment: a line without diagnosis is not sent.
	r, err := Load("one-endpoint")
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	lines := fees(t)
	lines[0].DiseCodg = ""
	input, err := json.Marshal(map[string]any{"feedetail": lines})
	if err != nil {
		t.Fatal(err)
	}
	var invalid *settlement.ValidationError
	if err := c.Validate("2204", input); !errors.As(err, &invalid) || invalid.Field != "dise_codg" {
		t.Errorf("a line without diagnosis: %v", err)
	}
}

func TestPathPerInfno(t *testing.T) {
	got := call(t, "path-per-infno", feeAnswer, upload(t, 1))
	if got.path != "/fsi/api/outpatientDocInfoService/outpatientFeeListUp" || got.header["_api_name"] != nil && got.header["_api_name"][0] != "2204" ||
		string(got.body["recer_admdvs"]) != `"330000"` || !strings.Contains(string(got.body["input"]), `"feedetl_sn":"1001"`) {
		t.Errorf("%+v", got)
	}
	got = call(t, "path-per-infno", "null", func(c *settlement.Client) error {
		return c.UploadVisit(context.Background(), scope, settlement.VisitUpload{
			MdtrtInfo: settlement.MdtrtInfo{MdtrtID: "M", PsnNo: "P", MedType: "11", Begntime: "2026-05-20 12:00:00", DiseCodg: "I10", DiseName: "高血压"},
			DiseInfo: []settlement.DiseInfo{{DiagType: "1", DiagSrtNo: 1, DiagCode: "I10", DiagName: "高血压", DiagDept: "内科",
				DiseDorNo: "D1", DiseDorName: "李医生", DiagTime: "2026-05-20 12:00:00", ValiFlag: "1"}},
		})
	})
	if string(got.body["infno"]) != `"2203A"` || got.path != "/fsi/api/outpatientDocInfoService/outpatientMdtrtinfoUpA" {
		t.Errorf("the variant: %+v", got)
	}
}

func TestEncrypted(t *testing.T) {
	// Answers name nodes as the region does; here one comes back in plain.
	got := call(t, "encrypted", feeAnswer, upload(t, 1))
	if got.path != "/gateway/api/fsi" || got.header.Get("x-ca-signature") == "" || string(got.body["enc_type"]) != `"SM4"` ||
		string(got.body["serv_code"]) != `"ONECARD"` || !strings.HasPrefix(string(got.body["input"]), `"`) {
		t.Errorf("%+v", got)
	}
}

// Names of nodes there and back, seen without encryption.
func TestNodes(t *testing.T) {
	r, err := Parse([]byte("name = \"x\"\n[nodes.2204]\nfeedetail = \"lines\"\nresult = \"rows\"\n[nodes.\"*\"]\nresult = \"other\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	var sent string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		text, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		sent = string(text)
		io.WriteString(w, `{"infcode":0,"output":`+strings.Replace(feeAnswer, "result", "rows", 1)+`}`)
	}))
	defer server.Close()
	cfg := settlement.Config{URL: server.URL, Institution: settlement.Institution{Code: "H51010000001", Name: "样例医院", Area: "510100"},
		Operator: settlement.Operator{No: "1", Name: "收费"}}
	if err := r.Apply(&cfg); err != nil {
		t.Fatal(err)
	}
	client, err := settlement.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := upload(t, 1)(client); err != nil {
		t.Error(err)
	}
	if !strings.Contains(sent, `"input":{"lines":[`) || strings.Contains(sent, "feedetail") {
		t.Errorf("sent %s", sent)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range Names() {
		text, err := shipped.ReadFile(name + ".toml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("name=\"x\"\n[nodes.2204]\nfeedetail=1"))
	f.Add([]byte("[[amendment]]\n[amendment]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || err.Error() == "" {
				t.Errorf("%v is no *Error", err)
			}
			return
		}
		// What is accepted works.
		cfg := settlement.Config{URL: "http://127.0.0.1:1", Institution: settlement.Institution{Code: "H51010000001"}}
		if err := r.Apply(&cfg); err != nil {
			t.Fatal(err)
		}
		if _, err := settlement.NewClient(cfg); err != nil {
			t.Errorf("accepted, and refused by the client: %v", err)
		}
		for part := range strings.SplitSeq(r.Style, "+") {
			if r.Style != "" && !slices.Contains(settlement.StyleNames(), part) {
				t.Errorf("style %q", r.Style)
			}
		}
	})
}
