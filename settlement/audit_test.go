package settlement

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestDeviations(t *testing.T) {
	c, err := NewCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	const chronic = `{"opsp_dise_code":"M03900","opsp_dise_name":"x","begndate":"2026-01-01"`
	for _, x := range []struct {
		infno, output string
		want          []string
	}{
		{"5301", `{"feedetail":[` + chronic + `,"enddate":null}]}`, nil},
		{"5301", `{"feedetail":` + chronic + `}}`, nil},
		{"5301", `{"feedetail":[` + chronic + `,"enddate":"NULL"},null]}`, nil},
		{"5301", `null`, []string{"feedetail: missing"}},
		{"5301", `{}`, []string{"feedetail: missing"}},
		{"5301", ``, []string{"feedetail: missing"}},
		{"5301", `{"feedetail":"x"}`, []string{"feedetail: wrong type"}},
		{"5301", `{"feedetail":["x"]}`, []string{"feedetail[0]: wrong type"}},
		{"5301", `{"feedetail":[` + chronic + `,"more":1}]}`, []string{"feedetail[0] more: no such field"}},
		{"5301", `{"feedetail":[` + chronic + `}],"more":[]}`, []string{"more: no such field"}},
		{"5301", `{"feedetail":[{"opsp_dise_code":"","opsp_dise_name":["x"],"begndate":"2026-02-30"}]}`,
			[]string{"feedetail[0] opsp_dise_code: missing", "feedetail[0] opsp_dise_name: wrong type", "feedetail[0] begndate: bad date"}},
		{"5301", `{"feedetail":[` + strings.Replace(chronic, "M03900", strings.Repeat("长", 31), 1) + `}]}`, []string{"feedetail[0] opsp_dise_code: too long"}},
		{"5301", `{"feedetail":[` + chronic + `,"enddate":1,"enddate":2}]}`, []string{"feedetail[0]: given twice"}},
		{"5301", `[` + chronic + `}]`, []string{"output: wrong type"}},
		{"2204", `{"result":[{"feedetl_sn":1,"det_item_fee_sumamt":"1e1","cnt":1,"pric":"x","pric_uplmt_amt":"1.1234567","chrgitm_lv":"01","med_chrgitm_type":"09","lmt_used_flag":0}]}`,
			[]string{"result[0] pric: wrong type", "result[0] pric_uplmt_amt: too long"}},
		{"2205", ``, nil},
		{"2205", `{"result":{"x":1}}`, []string{"result: no such field"}},
	} {
		found, err := c.Deviations(x.infno, json.RawMessage(x.output))
		if err != nil {
			t.Errorf("%s %s: %v", x.infno, x.output, err)
			continue
		}
		var got []string
		for _, d := range found {
			got = append(got, d.String())
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%s %s:\n got %q\nwant %q", x.infno, x.output, got, x.want)
		}
	}
	// Rows without a node.
	found, err := c.Deviations("5303", json.RawMessage(`[{"mdtrt_id":"M1"}]`))
	if err != nil || len(found) == 0 || found[0].String() != "output[0] psn_no: missing" {
		t.Errorf("%v, %v", found, err)
	}
	many := fmt.Sprintf(`{"feedetail":[%s{}]}`, strings.Repeat(`{"x":1},`, 500))
	if found, err := c.Deviations("5301", json.RawMessage(many)); err != nil || len(found) != maxDeviations {
		t.Errorf("%d deviations, %v", len(found), err)
	}
	if _, err := c.Deviations("0000", nil); !errors.Is(err, ErrTransactionUnknown) {
		t.Errorf("%v", err)
	}
	if _, err := c.Deviations("5301", json.RawMessage(`{`)); !errors.Is(err, ErrMalformed) {
		t.Errorf("%v", err)
	}
}

// A client holds its answers against its own region's tables.
func TestDeviationsOfARegion(t *testing.T) {
	regional, err := NewCatalogue("infno\tnode\tfield\tproperty\tvalue\treason\n5301\tfeedetail\tenddate\trequired\tY\there\n")
	if err != nil {
		t.Fatal(err)
	}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"infcode":0,"output":{"feedetail":[{"opsp_dise_code":"M1","opsp_dise_name":"x","begndate":"2026-01-01"}]}}`)
	})
	for _, x := range []struct {
		catalogue *Catalogue
		want      string
	}{{nil, "[]"}, {regional, "[feedetail[0] enddate: missing]"}} {
		c := newClient(t, server.URL, func(c *Config) { c.Catalogue = x.catalogue })
		a, err := c.Call(t.Context(), Request{Infno: "5301", InsuplcAdmdvs: "510100", Input: map[string]any{"data": map[string]string{"psn_no": "P1"}}})
		if err != nil {
			t.Fatal(err)
		}
		if found, err := c.Deviations(a); err != nil || fmt.Sprint(found) != x.want {
			t.Errorf("%v, %v; want %s", found, err, x.want)
		}
	}
}

func TestRowsOf(t *testing.T) {
	type row struct {
		MdtrtID Text `json:"mdtrt_id"`
	}
	for _, x := range []struct {
		node, output string
		want         int // rows; -1: malformed
	}{
		{"", ``, 0}, {"", `[]`, 0}, {"", `[{"mdtrt_id":"1"},{"mdtrt_id":2}]`, 2}, {"", `{"mdtrt_id":"1"}`, 1},
		{"", `{"anything":[{"mdtrt_id":"1"}]}`, 1}, {"", `[null,{"mdtrt_id":"1"}]`, 1}, {"", `["x"]`, -1},
		{"", `[{"mdtrt_id":[]}]`, -1}, {"", `{"a":1,"a":2}`, -1},
		{"n", `{"n":[{"mdtrt_id":"1"}]}`, 1}, {"n", `{"n":{"mdtrt_id":"1"}}`, 1}, {"n", `{"m":[]}`, 0}, {"n", `{"n":null}`, 0},
		{"n", `[{"mdtrt_id":"1"}]`, 1}, {"n", `{"n":"x"}`, -1},
	} {
		got, err := rowsOf[row](Answer{Infno: "5204", Output: json.RawMessage(x.output)}, x.node)
		switch {
		case x.want < 0 && !errors.Is(err, ErrMalformed):
			t.Errorf("%q %s: %v, %v", x.node, x.output, got, err)
		case x.want >= 0 && (err != nil || len(got) != x.want):
			t.Errorf("%q %s: %v, %v", x.node, x.output, got, err)
		}
	}
}

// FuzzLifecycleAnswers reads whatever upstream may send with every parser of
// refunds, sales, look-ups and filings.
func FuzzLifecycleAnswers(f *testing.F) {
	refund, err := json.Marshal(map[string]any{"infcode": 0, "output": Settlement{SetlInfo: Node[SetlInfo]{opposed("X"), true}}})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(refund),
		`{"infcode":"0","output":[{"mdtrt_id":"M1","setl_id":"S1","feedetl_sn":1,"det_item_fee_sumamt":"1.00"}]}`,
		`{"infcode":0,"output":{"mdtrtinfo":[{"mdtrt_id":"M1","psn_no":"P1","age":36.5}]}}`,
		`{"infcode":0,"output":{"setlinfo":{"setl_id":"S1","mdtrt_id":"M1","psn_no":"P1","medfee_sumamt":1,"fund_pay_sumamt":"0","psn_pay":1,"cash_payamt":1,"acct_pay":0,"refd_setl_flag":"0"}}}`,
		`{"infcode":0,"output":{"setlinfo":{"mdtrt_id":"M1"},"detlcutinfo":[{"feedetl_sn":"1","inscp_scp_amt":100}]}}`,
		`{"infcode":0,"output":{"refmedin":[{"psn_no":"P1","begndate":"20260101","enddate":"2026-12-31 00:00:00"}]}}`,
		`{"infcode":0,"output":{"feedetail":{"opsp_dise_code":"M03900","begndate":"2026-01-01","enddate":"null"}}}`,
		`{"infcode":0,"output":{"trtinfo":[{"trt_enjymnt_flag":1,"begndate":"x","exp_content":"{\"TRUM_FLAG\":\"1\"}"}]}}`,
		`{"infcode":0,"output":{"result":{"trt_dcla_detl_sn":"1"}}}`,
	} {
		f.Add([]byte(seed))
	}
	c, err := NewCatalogue()
	if err != nil {
		f.Fatal(err)
	}
	e := Entry{MdtrtID: "M1", PsnNo: "P1", SetlID: "S1", Total: 10000, Fund: 6000, Account: 2500, Cash: 1500}
	sale := aSale().Input
	f.Fuzz(func(t *testing.T, body []byte) {
		_ = answeredVisit(body)
		a, err := decodeAnswer("2208", 200, body)
		if err != nil {
			return
		}
		if out, err := readSettlement(a); err == nil {
			if got, err := out.acceptRefund("2208", "X", e); err == nil && got != e.opposite() {
				t.Fatalf("took back %+v", got)
			}
		}
		if out, lines, err := readSale(a, sale); err == nil {
			if len(lines) > 0 && (len(lines) != 1 || lines[0].DetItemFeeSumamt.Fen != sale.DrugInfo.MedfeeSumamt) {
				t.Fatalf("lines of another sale: %+v", lines)
			}
			if got, err := out.accept("2102", "X", "", "P1", 10000); err == nil && (got.Total != 10000 || out.SetlInfo.Value.SetlID == "") {
				t.Fatalf("sold %+v", got)
			}
		}
		if r, err := readSettlementRecord(a, SettlementRef{PsnNo: "P1", SetlID: "S1", MdtrtID: "M1"}); err == nil && r.SetlInfo.SetlID != "S1" {
			t.Fatalf("another settlement: %+v", r)
		}
		_, _ = rowsOf[MdtrtRecord](a, "mdtrtinfo")
		_, _ = rowsOf[FeeRecord](a, "")
		_, _ = rowsOf[InHospital](a, "")
		referrals, _ := rowsOf[ReferralRecord](a, "refmedin")
		chronic, _ := rowsOf[ChronicRecord](a, "feedetail")
		entitled, _ := rowsOf[Entitlement](a, "trtinfo")
		for _, days := range [][2]Text{{"", ""}, {"2026-01-01", ""}} {
			for _, r := range referrals {
				days = [2]Text{r.Begndate, r.Enddate}
			}
			for _, r := range chronic {
				days = [2]Text{r.Begndate, r.Enddate}
			}
			filing, err := newFiling("5304", days[0], days[1])
			if err == nil && (filing.Begin.IsZero() || !filing.Open && filing.End.IsZero()) {
				t.Fatalf("a filing without days: %+v", filing)
			}
		}
		for _, r := range entitled {
			if extras, err := ReadExtras(r.ExpContent); err == nil {
				_, _ = extras.Content()
			}
		}
		for _, infno := range []string{"2208", "2102", "5204", "5301", "2001"} {
			found, err := c.Deviations(infno, a.Output)
			if err != nil && !errors.Is(err, ErrMalformed) || len(found) > maxDeviations {
				t.Fatalf("%d deviations, %v", len(found), err)
			}
		}
	})
}
