package settlement

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"onecard/fault"
)

func marshal(t testing.TB, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestValidInputs(t *testing.T) {
	c := catalogue(t)
	text := feeLines(2)
	text[0].FeedetlSN = SerialNo{Value: "yp570", AsText: true}
	for infno, input := range map[string]any{
		"9001":  map[string]SignIn{"signIn": {OpterNo: "0001", Mac: "00-00-5E-00-53-01", IP: "192.0.2.1"}},
		"1101":  map[string]PersonQuery{"data": aPersonQuery()},
		"2201":  map[string]Registration{"data": aRegistration()},
		"2203":  aVisitUpload(),
		"2203A": aVisitUpload(),
		"2204":  map[string][]FeeDetail{"feedetail": text},
		"2206":  map[string]TrialInput{"data": aTrialInput()},
		"2206A": map[string]TrialInput{"data": aTrialInput()},
		"2207":  map[string]SettleInput{"data": aSettleInput()},
		"2207A": map[string]SettleInput{"data": aSettleInput()},
		"2302":  json.RawMessage(`{"data":[{"feedetl_sn":"1","mdtrt_id":"M1","psn_no":"P1"}]}`),
	} {
		if err := c.Validate(infno, marshal(t, input)); err != nil {
			t.Errorf("%s: %v", infno, err)
		}
	}
}

func TestInvalidInputs(t *testing.T) {
	c := catalogue(t)
	// Each case changes one thing of a valid input by replacing text in it.
	inputs := map[string]any{
		"1101": map[string]PersonQuery{"data": aPersonQuery()},
		"2201": map[string]Registration{"data": aRegistration()},
		"2203": aVisitUpload(),
		"2204": map[string][]FeeDetail{"feedetail": feeLines(3)},
		"2207": map[string]SettleInput{"data": aSettleInput()},
	}
	for _, x := range []struct {
		infno, old, new string
		node            string
		row             int
		field           string
		problem         Problem
	}{
		{"1101", `"张三"`, `""`, "data", -1, "psn_name", Missing},
		{"1101", `"psn_name":"张三"`, `"card_sn2":""`, "data", -1, "card_sn2", NoSuch},
		{"1101", `,"psn_name":"张三"`, ``, "data", -1, "psn_name", Missing},
		{"1101", `"张三"`, `null`, "data", -1, "psn_name", Missing},
		{"1101", `"张三"`, `7`, "data", -1, "psn_name", WrongType},
		{"1101", `"张三"`, `{"a":[1]}`, "data", -1, "psn_name", WrongType},
		{"1101", `"张三"`, `"` + strings.Repeat("张", 51) + `"`, "data", -1, "psn_name", TooLong},
		{"1101", `"psn_name"`, `"certno":"1","psn_name"`, "data", -1, "certno", Twice},
		{"1101", `{"data":`, `{"daten":`, "daten", -1, "", NoSuch},
		{"1101", `{"data":`, `{"":`, "", -1, "", NoSuch},
		{"1101", `{"data":{`, `{"data":{"begntime":"2026-02-30 00:00:00",`, "data", -1, "begntime", BadDate},
		{"2201", `"2026-03-09 10:30:00"`, `"2026-03-09"`, "data", -1, "begntime", BadDate},
		{"2201", `"2026-03-09 10:30:00"`, `"2026-03-09T10:30:00"`, "data", -1, "begntime", BadDate},
		{"2201", `"2026-03-09 10:30:00"`, `"2026-03-09 10:30:00.5"`, "data", -1, "begntime", BadDate},
		{"2201", `"2026-03-09 10:30:00"`, `"2026-03-09 9:30:00"`, "data", -1, "begntime", BadDate},
		{"2201", `"2026-03-09 10:30:00"`, `"2026-03-09 24:00:00"`, "data", -1, "begntime", BadDate},
		{"2201", `"2026-03-09 10:30:00"`, `"2025-02-29 10:30:00"`, "data", -1, "begntime", BadDate},
		{"2201", `"2026-03-09 10:30:00"`, `20260309`, "data", -1, "begntime", WrongType},
		{"2201", `"psn_type":"11"`, `"psn_type":"1204"`, "data", -1, "psn_type", TooLong},
		{"2203", `"diseinfo":[`, `"diseinfo":{},"x":[`, "diseinfo", -1, "", WrongType},
		{"2203", `"diag_srt_no":1`, `"diag_srt_no":"1"`, "diseinfo", 0, "diag_srt_no", WrongType},
		{"2203", `"diag_srt_no":1`, `"diag_srt_no":100`, "diseinfo", 0, "diag_srt_no", TooLong},
		{"2203", `"mdtrtinfo":{`, `"mdtrtinfo":[{`, "", -1, "", WrongType},
		{"2204", `"feedetl_sn":2,`, `"feedetl_sn":2.5e1,`, "feedetail", 1, "feedetl_sn", WrongType},
		{"2204", `"feedetl_sn":3,`, ``, "feedetail", 2, "feedetl_sn", Missing},
		{"2204", `"det_item_fee_sumamt":17.50`, `"det_item_fee_sumamt":17.505`, "feedetail", 0, "det_item_fee_sumamt", TooLong},
		{"2204", `"det_item_fee_sumamt":17.50`, `"det_item_fee_sumamt":100000000000000`, "feedetail", 0, "det_item_fee_sumamt", TooLong},
		{"2204", `"det_item_fee_sumamt":17.50`, `"det_item_fee_sumamt":"17.50"`, "feedetail", 0, "det_item_fee_sumamt", WrongType},
		{"2204", `"det_item_fee_sumamt":17.50`, `"det_item_fee_sumamt":null`, "feedetail", 0, "det_item_fee_sumamt", Missing},
		{"2204", `"det_item_fee_sumamt":17.50`, `"det_item_fee_sumamt":true`, "feedetail", 0, "det_item_fee_sumamt", WrongType},
		{"2207", `"medfee_sumamt":100.00,`, ``, "data", -1, "medfee_sumamt", Missing},
		{"2207", `"acct_used_flag":"1"`, `"acct_used_flag":"10"`, "data", -1, "acct_used_flag", TooLong},
		{"2207", `}}`, `},"data":{}}`, "data", -1, "", Twice},
		{"2207", `}}`, `}`, "", -1, "", WrongType},
		{"2207", `}}`, `}} {}`, "", -1, "", WrongType},
		{"2207", `"M1"`, "\"\xff\"", "", -1, "", WrongType},
	} {
		text := strings.Replace(string(marshal(t, inputs[x.infno])), x.old, x.new, 1)
		err := c.Validate(x.infno, json.RawMessage(text))
		var v *ValidationError
		if !errors.As(err, &v) {
			t.Errorf("%s with %s for %s: %v", x.infno, x.new, x.old, err)
			continue
		}
		want := ValidationError{x.infno, x.node, x.row, x.field, x.problem}
		if *v != want {
			t.Errorf("%s with %s for %s: %v; want %v", x.infno, x.new, x.old, v, &want)
		}
		if OutcomeOf(err) != NotSent {
			t.Errorf("%v is %s", err, OutcomeOf(err))
		}
	}
	for name, text := range map[string]string{
		"no input": ``, "null": `null`, "a list": `[]`, "no node": `{}`, "deep": strings.Repeat(`[`, 20000),
		"empty list": `{"feedetail":[]}`, "rows of no kind": `{"feedetail":[1]}`, "object for list": `{"feedetail":{}}`,
	} {
		if err := c.Validate("2204", json.RawMessage(text)); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	if err := c.Validate("4711", json.RawMessage(`{}`)); fault.Of(err).Code != fault.TransactionUnknown {
		t.Errorf("4711: %v", err)
	}
	if err := c.Validate("ENVELOPE", json.RawMessage(`{}`)); fault.Of(err).Code != fault.TransactionUnknown {
		t.Errorf("ENVELOPE: %v", err)
	}
}

func TestProblemsHaveCodes(t *testing.T) {
	for p, code := range map[Problem]fault.Code{
		Missing: fault.FieldMissing, TooLong: fault.FieldTooLong, WrongType: fault.FieldType, BadDate: fault.FieldDate, NoSuch: fault.FieldType, Twice: fault.FieldType,
	} {
		if got := (&ValidationError{Problem: p}).Code(); got != code {
			t.Errorf("%s is %s, want %s", p, got, code)
		}
	}
}

// Every field of the typed requests stands in the table with its own name.
func TestTypedInputsHaveNoForeignFields(t *testing.T) {
	c := catalogue(t)
	full := aTrialInput()
	full.ExpContent, full.PubHospRfomFlag = "{}", "1"
	registration := aRegistration()
	registration.AtddrNo, registration.DrName, registration.ExpContent = "1", "样例", "{}"
	visit := aVisitUpload()
	visit.MdtrtInfo.MainCondDscr, visit.MdtrtInfo.DiseTypeCode, visit.MdtrtInfo.BirctrlType = "x", "1", "1"
	visit.MdtrtInfo.BirctrlMatnDate, visit.MdtrtInfo.ExpContent = "2026-03-09", "{}"
	line := feeLines(1)[0]
	line.DiseCodg, line.Rxno, line.SinDosDscr, line.UsedFrquDscr, line.PrdDays, line.MedcWayDscr = "1", "1", "1", "1", "7.5", "1"
	line.AcordDeptCodg, line.AcordDeptName, line.OrdersDrCode, line.OrdersDrName = "1", "1", "1", "1"
	line.TcmdrugUsedWay, line.EtipFlag, line.EtipHospCode, line.DscgTkdrugFlag, line.MatnFeeFlag = "1", "1", "1", "1", "1"
	line.Memo, line.CombNo, line.ExpContent = "1", "1", "{}"
	settle := aSettleInput()
	settle.Invono, settle.ExpContent, settle.PubHospRfomFlag = "1", "{}", "1"
	query := aPersonQuery()
	query.Begntime = FormatTime(testTime)
	for infno, input := range map[string]any{
		"1101": map[string]any{"data": query}, "2201": map[string]any{"data": registration}, "2203": visit,
		"2204": map[string]any{"feedetail": []FeeDetail{line}}, "2206": map[string]any{"data": full}, "2207": map[string]any{"data": settle},
	} {
		if err := c.Validate(infno, marshal(t, input)); err != nil {
			t.Errorf("%s: %v", infno, err)
		}
	}
}

func FuzzValidate(f *testing.F) {
	c := catalogue(f)
	for infno, input := range map[string]any{
		"1101": map[string]PersonQuery{"data": aPersonQuery()}, "2203": aVisitUpload(),
		"2204": map[string][]FeeDetail{"feedetail": feeLines(2)}, "2207": map[string]SettleInput{"data": aSettleInput()},
	} {
		f.Add(infno, []byte(marshal(f, input)))
	}
	f.Add("3101", []byte(`{"data":{"patient_dtos":{"fsi_encounter_dtos":[{"fsi_diagnose_dtos":[{}]}]},"rule_ids":[1,{"a":[]}]}}`))
	f.Add("2161", []byte(`{"x":1}`))
	f.Add("4261", []byte(`{"fmiOwnpayPatnMdtrtDDTO":{}}`))
	f.Fuzz(func(t *testing.T, infno string, input []byte) {
		err := c.Validate(infno, input)
		var v *ValidationError
		switch {
		case err == nil && !json.Valid(input):
			t.Fatal("what is not JSON passes")
		case err != nil && !errors.As(err, &v) && !errors.Is(err, ErrTransactionUnknown):
			t.Fatalf("another kind of error: %v", err)
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	c := catalogue(b)
	input := marshal(b, map[string][]FeeDetail{"feedetail": feeLines(20)})
	b.SetBytes(int64(len(input)))
	for b.Loop() {
		if err := c.Validate("2204", input); err != nil {
			b.Fatal(err)
		}
	}
}
