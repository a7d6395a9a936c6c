package terminal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"onecard/fault"
	"onecard/settlement"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// A look-up beside the visit: it is validated, signed in for, answered as the
// centre says it, and what books is refused before anything leaves.
func TestCall(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{Image: "3.0"})
	b.Ready()
	ctx := t.Context()
	v := b.Tried()
	input := func(psnNo string) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"data":{"psn_no":%q,"begntime":"2020-01-01 00:00:00","endtime":"2099-12-31 00:00:00","med_type":"11"}}`, psnNo))
	}
	const psnNo = "51010000000000001000356767" // of the simulated centre's people
	got, err := b.Service.Call(ctx, "5201", terminal.CallRequest{Input: input(psnNo), Area: "510100"})
	if err != nil || got.Infno != "5201" || got.Name != "就诊信息查询" || !strings.Contains(string(got.Output), v.MdtrtID) || len(got.Deviations) != 0 {
		t.Errorf("5201: %+v, %v", got, err)
	}
	// The tables want at least a row of 5301.
	chronic := terminal.CallRequest{Input: json.RawMessage(`{"data":{"psn_no":"33010000000000001000439052"}}`), Area: "330100"}
	if got, err := b.Service.Call(ctx, "5301", chronic); err != nil || len(got.Deviations) != 0 {
		t.Errorf("5301: %+v, %v", got, err)
	}
	for _, x := range []struct {
		infno, input, area string
		code               fault.Code
	}{
		{"2207", `{"data":{}}`, "510100", fault.TransactionBooks},
		{"9001", `{"signIn":{}}`, "", fault.TransactionBooks},
		{"9999", `{}`, "", fault.TransactionUnknown},
		{"5201", ``, "510100", fault.FieldMissing},
		{"5201", string(input(psnNo)), "", fault.FieldMissing},
		{"5201", string(input(psnNo)), "51", fault.BodyInvalid},
		{"5201", `{"data":{"psn_no":1}}`, "510100", fault.FieldType},
		{"5201", `{"data":{"colour":"1"}}`, "510100", fault.FieldType},
	} {
		_, err := b.Service.Call(ctx, x.infno, terminal.CallRequest{Input: json.RawMessage(x.input), Area: x.area})
		if fault.Of(err).Code != x.code {
			t.Errorf("%s %s: %v, want %s", x.infno, x.input, err, x.code)
		}
	}
	for _, f := range []struct {
		fault string
		want  error
	}{{"5201:drop-after", settlement.ErrAnswerLost}, {"5201:html-after", settlement.ErrMalformed}} {
		order, err := centersim.ParseFault(f.fault)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Center.Order(order); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Service.Call(ctx, "5201", terminal.CallRequest{Input: input(psnNo), Area: "510100"}); !errors.Is(err, f.want) {
			t.Errorf("%s: %v", f.fault, err)
		}
	}
	if strings.Contains(b.Log.String(), psnNo) {
		t.Error("the log names the person")
	}
}
