package settlement

import (
	"context"
	"io"
	"net/http"
	"testing"

	"onecard/fault"
)

// What comes back belongs to what was asked, whatever form it has.
func TestLookUpAnswers(t *testing.T) {
	var output string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"infcode":0,"output":`+output+`}`)
	})
	c, ctx := newClient(t, server.URL), context.Background()
	const begin, end = "2026-01-01 00:00:00", "2026-12-31 00:00:00"
	mdtrt := MdtrtQuery{PsnNo: "P1", Begntime: begin, Endtime: end, MedType: "11"}
	calls := map[string]func() (int, error){
		"5201": func() (int, error) { l, err := c.QueryVisits(ctx, testScope, mdtrt); return len(l), err },
		"5202": func() (int, error) {
			l, err := c.QueryDiagnoses(ctx, testScope, MdtrtRef{MdtrtID: "M1", PsnNo: "P1"})
			return len(l), err
		},
		"5204": func() (int, error) {
			l, err := c.QueryFees(ctx, testScope, SettlementRef{PsnNo: "P1", SetlID: "S1", MdtrtID: "M1"})
			return len(l), err
		},
		"5301": func() (int, error) { l, err := c.QueryChronic(ctx, testScope, "P1"); return len(l), err },
		"5302": func() (int, error) { l, err := c.QueryInstitutions(ctx, testScope, "P1", "03"); return len(l), err },
		"5303": func() (int, error) {
			l, err := c.QueryInHospital(ctx, testScope, InHospitalQuery{PsnNo: "P1", Begntime: begin, Endtime: end})
			return len(l), err
		},
		"5304": func() (int, error) { l, err := c.QueryReferrals(ctx, testScope, "P1", begin, end); return len(l), err },
		"2001": func() (int, error) {
			l, err := c.Entitlements(ctx, testScope, EntitlementQuery{PsnNo: "P1", Insutype: "310", FixmedinsCode: "H1", MedType: "11", Begntime: begin})
			return len(l), err
		},
	}
	nodes := map[string]string{"5201": "mdtrtinfo", "5202": "diseinfo", "5301": "feedetail", "5302": "psnfixmedin", "5304": "refmedin", "2001": "trtinfo"}
	in := func(infno, rows string) string {
		if nodes[infno] == "" {
			return rows
		}
		return `{"` + nodes[infno] + `":` + rows + `}`
	}
	for infno, call := range calls {
		for rows, want := range map[string]int{
			`[{"psn_no":"P1","mdtrt_id":"M1","setl_id":"S1"},{"memo":"x"},{}]`: 2, `{"psn_no":"P1"}`: 1, `[]`: 0, `[null]`: 0,
		} {
			output = in(infno, rows)
			if n, err := call(); err != nil || n != want {
				t.Errorf("%s: %s: %d rows, %v", infno, output, n, err)
			}
		}
		for _, nothing := range []string{`null`, `{}`, `""`} {
			output = nothing
			if n, err := call(); err != nil || n != 0 {
				t.Errorf("%s: %s: %d rows, %v", infno, output, n, err)
			}
		}
		output = in(infno, `["x"]`)
		if _, err := call(); fault.Of(err).Code != fault.UpstreamMalformed {
			t.Errorf("%s: %s: %v", infno, output, err)
		}
		if infno == "5301" {
			continue // its rows name nobody
		}
		other := `[{"psn_no":"P2","mdtrt_id":"M2","setl_id":"S2"}]`
		output = in(infno, other)
		if _, err := call(); fault.Of(err).Code != fault.AnswerMismatch {
			t.Errorf("%s of somebody else: %v", infno, err)
		}
	}
	settlement := func() error {
		_, err := c.QuerySettlement(ctx, testScope, SettlementRef{PsnNo: "P1", SetlID: "S1", MdtrtID: "M1"})
		return err
	}
	const sums = `"medfee_sumamt":"10","fund_pay_sumamt":4,"hifp_pay":4,"psn_pay":6,"acct_pay":1,"cash_payamt":5,"inscp_scp_amt":10`
	for text, want := range map[string]fault.Code{
		`{"setlinfo":{"setl_id":"S1","mdtrt_id":"M1","psn_no":"P1",` + sums + `}}`:                 "",
		`{"setlinfo":[{"setl_id":"S1",` + sums + `}],"setldetail":{"fund_pay_type":"310100"}}`:     "",
		`{"setlinfo":{"setl_id":"S2","mdtrt_id":"M1","psn_no":"P1",` + sums + `}}`:                 fault.AnswerMismatch,
		`{"setlinfo":{"setl_id":"S1","mdtrt_id":"M2","psn_no":"P1",` + sums + `}}`:                 fault.AnswerMismatch,
		`{"setlinfo":{"setl_id":"S1","mdtrt_id":"M1","psn_no":"P1",` + sums + `,"cvlserv_pay":1}}`: fault.SumsDisagree,
		`{"setlinfo":{"setl_id":"S1","mdtrt_id":"M1","psn_no":"P1"}}`:                              fault.UpstreamMalformed,
		`{"setlinfo":{"setl_id":"S1","medfee_sumamt":[]}}`:                                         fault.UpstreamMalformed,
		`{"setlinfo":{"setl_id":"S1","year":{}}}`:                                                  fault.UpstreamMalformed,
		`{"setldetail":[]}`: fault.UpstreamMalformed,
		`null`:              fault.UpstreamMalformed,
	} {
		output = text
		if err := settlement(); (err == nil) != (want == "") || err != nil && fault.Of(err).Code != want {
			t.Errorf("5203: %s: %v", text, err)
		}
	}
	file := func() (string, error) {
		return c.FileReferral(ctx, testScope, ReferralFiling{
			PsnNo: "P1", DiagCode: "x", DiagName: "x", ReflinMedinsNo: "H1", ReflinMedinsName: "x", MdtrtareaAdmdvs: "510100", ReflType: "3",
			ReflDate: "2026-01-01", ReflRea: "x", ReflOpnn: "x",
		})
	}
	for text, want := range map[string]fault.Code{
		`{"result":{"trt_dcla_detl_sn":7}}`: "", `{"result":{}}`: fault.UpstreamMalformed, `null`: fault.UpstreamMalformed, `{"result":[{},{}]}`: fault.UpstreamMalformed,
	} {
		output = text
		if sn, err := file(); (err == nil) != (want == "") || err == nil && sn != "7" || err != nil && fault.Of(err).Code != want {
			t.Errorf("2501: %s: %q, %v", text, sn, err)
		}
	}
	admit := func() error {
		in := Admission{MdtrtInfo: StayInfo{
			PsnNo: "P1", Insutype: "310", Begntime: begin, MdtrtCertType: "03", CertType: "01", Certno: "1", MedType: "2101", IptNo: "1",
			StayCare: StayCare{AtddrNo: "1", ChfpdrName: "x", AdmDiagDscr: "x", AdmDeptCodg: "x", AdmDeptName: "x", AdmBed: "1", DscgMaindiagCode: "x", DscgMaindiagName: "x"},
		}, DiseInfo: []StayDiseInfo{{PsnNo: "P1", DiagType: "1", MaindiagFlag: "1", DiagSrtNo: 1, DiagCode: "x", DiagName: "x", DiagDept: "x", DiseDorNo: "x", DiseDorName: "x", DiagTime: begin}}}
		a, err := c.Admit(ctx, testScope, in)
		if a.MsgID == "" {
			t.Error("2401 was sent and its msgid is not told")
		}
		return err
	}
	for text, want := range map[string]fault.Code{
		`{"result":{"mdtrt_id":"M1"}}`: "", `{"result":{}}`: fault.UpstreamMalformed, `null`: fault.UpstreamMalformed,
	} {
		output = text
		if err := admit(); (err == nil) != (want == "") || err != nil && fault.Of(err).Code != want {
			t.Errorf("2401: %s: %v", text, err)
		}
	}
}
