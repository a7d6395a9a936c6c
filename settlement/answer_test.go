package settlement

import (
	"errors"
	"strings"
	"testing"

	"onecard/fault"
)

func TestAnswers(t *testing.T) {
	for name, x := range map[string]struct {
		status  int
		body    string
		code    fault.Code // "" for an answer
		outcome Outcome
	}{
		"number":             {200, `{"infcode":0,"output":{"a":1}}`, "", Done},
		"text":               {200, `{"infcode":"0","err_msg":"success","output":{}}`, "", Done},
		"point":              {200, `{"infcode":0.0,"err_msg":null,"output":null}`, "", Done},
		"no output":          {200, `{"infcode":0,"err_msg":""}`, "", Done},
		"null text":          {200, `{"infcode":"0","err_msg":"null","output":"NULL"}`, "", Done},
		"output as text":     {200, `{"infcode":0,"output":"{\"a\":1}"}`, "", Done},
		"byte order mark":    {200, "\xef\xbb\xbf" + `{"infcode":0}`, "", Done},
		"201":                {201, `{"infcode":0}`, "", Done},
		"refused":            {200, `{"infcode":-1,"err_msg":"不能结算"}`, fault.UpstreamRefused, Refused},
		"refused as text":    {200, `{"infcode":"-1","err_msg":"不能结算"}`, fault.UpstreamRefused, Refused},
		"refused with 500":   {500, `{"infcode":-1,"err_msg":{"a":"b"}}`, fault.UpstreamRefused, Refused},
		"0 with 500":         {500, `{"infcode":0,"output":{}}`, fault.UpstreamMalformed, Unknown},
		"other infcode":      {200, `{"infcode":-2}`, fault.UpstreamMalformed, Unknown},
		"word as infcode":    {200, `{"infcode":"ok"}`, fault.UpstreamMalformed, Unknown},
		"object as infcode":  {200, `{"infcode":{}}`, fault.UpstreamMalformed, Unknown},
		"null infcode":       {200, `{"infcode":null}`, fault.UpstreamMalformed, Unknown},
		"no infcode":         {200, `{}`, fault.UpstreamMalformed, Unknown},
		"list":               {200, `[]`, fault.UpstreamMalformed, Unknown},
		"nothing":            {200, ``, fault.UpstreamMalformed, Unknown},
		"HTML":               {200, `<html>502</html>`, fault.UpstreamMalformed, Unknown},
		"cut":                {200, `{"infcode":0,"output":{`, fault.UpstreamMalformed, Unknown},
		"two":                {200, `{"infcode":0}{"infcode":0}`, fault.UpstreamMalformed, Unknown},
		"output a number":    {200, `{"infcode":0,"output":7}`, fault.UpstreamMalformed, Unknown},
		"HTML 502":           {502, `<html>bad gateway</html>`, fault.UpstreamHTTP, Unknown},
		"504":                {504, ``, fault.UpstreamHTTP, Unknown},
		"404":                {404, ``, fault.UpstreamHTTP, Refused},
		"408":                {408, ``, fault.UpstreamHTTP, Unknown},
		"302":                {302, ``, fault.UpstreamHTTP, Unknown},
		"401":                {401, ``, fault.UpstreamCredentials, Refused},
		"gateway with 200":   {200, `{"code":401,"message":"签名错误"}`, fault.UpstreamCredentials, Refused},
		"gateway with 401":   {401, `{"code":"401","msg":"签名错误"}`, fault.UpstreamCredentials, Refused},
		"gateway 403":        {403, `{"code":403,"message":null}`, fault.UpstreamCredentials, Refused},
		"gateway 500":        {200, `{"code":500,"message":"busy"}`, fault.UpstreamHTTP, Unknown},
		"gateway 200":        {200, `{"code":200,"message":"ok"}`, fault.UpstreamMalformed, Unknown},
		"gateway word":       {200, `{"code":"E1","message":"?"}`, fault.UpstreamMalformed, Unknown},
		"gateway word, 500":  {500, `{"code":"E1","message":"?"}`, fault.UpstreamMalformed, Unknown},
		"JSON without, 503":  {503, `{"message":"maintenance"}`, fault.UpstreamHTTP, Unknown},
		"deep":               {200, strings.Repeat(`{"a":`, 20000), fault.UpstreamMalformed, Unknown},
		"infcode twice":      {200, `{"infcode":-1,"infcode":0}`, "", Done},
		"too long for a -1":  {200, `{"infcode":"-1000000000000"}`, fault.UpstreamMalformed, Unknown},
		"exponent":           {200, `{"infcode":0E0}`, "", Done},
		"infcode other case": {200, `{"INFCODE":0}`, "", Done},
	} {
		a, err := decodeAnswer("2207", x.status, []byte(x.body))
		if (err == nil) != (x.code == "") || err != nil && fault.Of(err).Code != x.code || OutcomeOf(err) != x.outcome {
			t.Errorf("%s: %v (%s, %s); want %s, %s", name, err, fault.Of(err).Code, OutcomeOf(err), x.code, x.outcome)
		}
		if string(a.Raw) != x.body {
			t.Errorf("%s: raw answer lost", name)
		}
	}
}

func TestRefusalsKeepUpstreamsWordsOutOfLogs(t *testing.T) {
	const person = "张三410101199003074531"
	for _, body := range []string{
		`{"infcode":-1,"err_msg":"` + person + `"}`, `{"code":401,"message":"` + person + `"}`, `{"infcode":0,"output":"` + person + `"}`,
		`{"infcode":"` + person + `"}`, `{"` + person, person,
	} {
		_, err := decodeAnswer("2204", 200, []byte(body))
		if err == nil || strings.Contains(err.Error(), "张三") || strings.Contains(err.Error(), "4101") {
			t.Errorf("%s: %v", body, err)
		}
	}
	var refused *RefusedError
	_, err := decodeAnswer("2204", 200, []byte(`{"infcode":-1,"err_msg":"`+person+`\u0007\n"}`))
	if !errors.As(err, &refused) || refused.Message != person || fault.Of(err).Code != fault.FeeLineRefused {
		t.Errorf("%v, %q", err, refused.Message)
	}
	// What cannot be decoded is not quoted either.
	a, err := decodeAnswer("2206", 200, []byte(`{"infcode":0,"output":{"setlinfo":{"medfee_sumamt":"`+person+`","psn_no":{"a":"`+person+`"}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readSettlement(a); err == nil || strings.Contains(err.Error(), "张三") {
		t.Errorf("%v", err)
	}
}

// The same settlement as strict and as loose platforms write it.
func TestLooseOutputs(t *testing.T) {
	for name, output := range map[string]string{
		"strict":  `{"setlinfo":{"mdtrt_id":"M1","psn_no":"7","medfee_sumamt":100.00,"psn_cash_pay":15.5,"hosp_part_amt":null},"setldetail":[{"fund_pay_type":"310100","fund_payamt":1}]}`,
		"strings": `{"setlinfo":{"mdtrt_id":"M1","psn_no":7,"medfee_sumamt":"100","psn_cash_pay":"15.50","hosp_part_amt":"NULL"},"setldetail":{"fund_pay_type":310100,"fund_payamt":"1.0"}}`,
		"lists":   `{"setlinfo":[{"mdtrt_id":"M1","psn_no":"7","medfee_sumamt":1E+2,"pdn_cash_pay":15.500,"hosp_part_amt":""}],"setldetail":[{"fund_pay_type":"310100","fund_payamt":1},null,{}]}`,
	} {
		s, err := readSettlement(Answer{Infno: "2206", Output: []byte(output)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		i := s.SetlInfo.Value
		if i.MdtrtID != "M1" || i.PsnNo != "7" || i.MedfeeSumamt != SomeFen(10000) || i.PsnCashPay != SomeFen(1550) || i.HospPartAmt.Valid {
			t.Errorf("%s: %+v", name, i)
		}
		if len(s.SetlDetail) != 1 || s.SetlDetail[0].FundPayType != "310100" || s.SetlDetail[0].FundPayamt != SomeFen(100) {
			t.Errorf("%s: %+v", name, s.SetlDetail)
		}
	}
	for name, output := range map[string]string{
		"none": `{}`, "empty": `{"setlinfo":{}}`, "null": `{"setlinfo":null}`, "text": `{"setlinfo":"x"}`, "two": `{"setlinfo":[{"psn_no":"1"},{"psn_no":"2"}]}`,
		"list of numbers": `{"setlinfo":[1]}`, "list": `[]`, "amount": `{"setlinfo":{"medfee_sumamt":"1.234"}}`,
	} {
		if _, err := readSettlement(Answer{Infno: "2206", Output: []byte(output)}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		`{"infcode":0,"output":{"setlinfo":{"mdtrt_id":"M1","medfee_sumamt":"1E+2"},"setldetail":{}}}`,
		`{"infcode":"-1","err_msg":"x"}`, `{"code":401,"message":"y"}`, `<html>`, `{"infcode":0,"output":"{\"data\":[]}"}`,
		`{"infcode":0,"output":{"baseinfo":{"psn_no":1},"insuinfo":{"balc":"12"},"idetinfo":"null"}}`,
		`{"infcode":0,"output":{"result":[{"feedetl_sn":1,"det_item_fee_sumamt":"NULL"}]}}`,
	} {
		f.Add(200, []byte(s))
		f.Add(502, []byte(s))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		a, err := decodeAnswer("2207", status, body)
		if err != nil {
			if o := OutcomeOf(err); o != Refused && o != Unknown {
				t.Fatalf("%v is %s, with an answer there", err, o)
			}
			return
		}
		if status < 200 || status > 299 {
			t.Fatalf("accepted with status %d", status)
		}
		if len(a.Output) == 0 {
			return
		}
		s, err := readSettlement(a)
		if err == nil {
			if amounts, err := s.SetlInfo.Value.Amounts(); err == nil {
				hospital := amounts.Total - amounts.Fund - amounts.Account - amounts.Cash
				if h := s.SetlInfo.Value.HospPartAmt; h.Valid && h.Fen != hospital {
					t.Fatalf("accepted sums that do not hold: %+v", amounts)
				}
			}
		}
		var p Person
		_ = a.Decode(&p)
		var lines struct {
			Result List[FeeResult] `json:"result"`
		}
		if a.Decode(&lines) == nil {
			_, _ = SumSplit(lines.Result)
			sent := feeLines(2)
			_, _ = matchLines("2204", lines.Result, len(sent), func(i int) (string, Fen) { return sent[i].FeedetlSN.Value, sent[i].DetItemFeeSumamt })
		}
	})
}
