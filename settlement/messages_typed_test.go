package settlement

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// typed are the typed messages: what is left out of the tables on purpose is
// named.
var typed = []struct {
	infno, direction, node string
	message                any
	without                []string // fields of the table that the type does not have
}{
	{"2101", "in", "druginfo", DrugInfo{}, nil},
	{"2101", "in", "drugdetail", DrugDetail{}, nil},
	{"2102", "in", "druginfo", DrugInfo{}, nil},
	{"2102", "in", "drugdetail", DrugDetail{}, nil},
	{"2102", "in", "durg_trac_info", DurgTracInfo{}, nil},
	{"2103", "in", "data", RefundInput{}, nil},
	{"2208", "in", "data", RefundInput{}, nil},
	{"2305", "in", "data", RefundInput{}, nil},
	{"2601", "in", "data", ReversalInput{}, nil},
	{"2301", "in", "feedetail", StayFeeDetail{}, nil},
	{"2302", "in", "data", StayFeeCancel{}, nil},
	{"2303", "in", "data", StaySettleInput{}, nil},
	{"2304", "in", "data", StaySettleInput{}, nil},
	{"2401", "in", "mdtrtinfo", StayInfo{}, nil},
	{"2401", "in", "diseinfo", StayDiseInfo{}, nil},
	{"2402", "in", "dscginfo", DscgInfo{}, nil},
	{"2402", "in", "diseinfo", StayDiseInfo{}, nil},
	{"2403", "in", "adminfo", AdmInfo{}, nil},
	{"2403", "in", "diseinfo", StayDiseInfo{}, nil},
	{"2404", "in", "data", StayRef{}, nil},
	{"2405", "in", "data", StayRef{}, nil},
	{"2001", "in", "data", EntitlementQuery{}, nil},
	{"2001", "out", "trtinfo", Entitlement{}, nil},
	{"2501", "in", "refmedin", ReferralFiling{}, nil},
	{"2502", "in", "data", FilingCancel{}, nil},
	{"2503", "in", "data", ChronicFiling{}, nil},
	{"2504", "in", "data", FilingCancel{}, nil},
	{"2505", "in", "data", InstitutionFiling{}, nil},
	{"2506", "in", "data", FilingCancel{}, nil},
	{"5201", "in", "data", MdtrtQuery{}, nil},
	{"5201", "out", "mdtrtinfo", MdtrtRecord{}, nil},
	{"5202", "in", "data", MdtrtRef{}, nil},
	{"5202", "out", "diseinfo", DiagnosisRecord{}, nil},
	{"5203", "in", "data", SettlementRef{}, nil},
	{"5204", "in", "data", SettlementRef{}, nil},
	{"5204", "out", "", FeeRecord{}, nil},
	{"5301", "out", "feedetail", ChronicRecord{}, nil},
	{"5302", "out", "psnfixmedin", InstitutionRecord{}, nil},
	{"5303", "in", "data", InHospitalQuery{}, nil},
	{"5303", "out", "", InHospital{}, nil},
	{"5304", "out", "refmedin", ReferralRecord{}, nil},
	{"2303", "out", "setlinfo", SetlInfo{}, nil},
	{"2304", "out", "setlinfo", SetlInfo{}, nil},
	{"2102", "out", "setlinfo", SetlInfo{}, nil},
	{"2103", "out", "setlinfo", SetlInfo{}, nil},
	// What the table adds to a refund of a stay says nothing of money.
	{"2305", "out", "setlinfo", SetlInfo{}, []string{"psn_insu_rlts_id", "insu_admdvs", "begndate", "enddate", "mdtrt_cert_no", "setl_type", "crt_dedc", "invono"}},
	{"2102", "out", "detlcutinfo", FeeResult{}, nil},
	{"2301", "out", "result", FeeResult{}, nil},
}

// fields returns the JSON names of a message's fields.
func fields(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			names = append(names, fields(f.Type)...)
		case name != "" && name != "-":
			names = append(names, name)
		}
	}
	return names
}

// Every field of the tables is in the typed message; what requests have besides
// is refused by the table, what only some transactions of a type have is empty
// elsewhere.
func TestTypedMessagesHaveTheTablesFields(t *testing.T) {
	c, err := NewCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	known := map[reflect.Type]map[string]bool{} // by type: fields that some table has
	for _, x := range typed {
		tx, err := c.Transaction(x.infno)
		if err != nil {
			t.Fatal(err)
		}
		nodes := tx.In
		if x.direction == "out" {
			nodes = tx.Out
		}
		i := slices.IndexFunc(nodes, func(n *NodeSpec) bool { return n.Name == x.node })
		if i < 0 {
			t.Errorf("%s %s: no node %q", x.infno, x.direction, x.node)
			continue
		}
		typ := reflect.TypeOf(x.message)
		have := fields(typ)
		if known[typ] == nil {
			known[typ] = map[string]bool{}
		}
		for _, f := range nodes[i].Fields {
			known[typ][f.Name] = true
			if !slices.Contains(have, f.Name) && !slices.Contains(x.without, f.Name) && f.Name != "pdn_cash_pay" {
				t.Errorf("%s %s %s: %s has no %s", x.infno, x.direction, x.node, typ.Name(), f.Name)
			}
		}
	}
	for typ, names := range known {
		for _, name := range fields(typ) {
			if !names[name] {
				t.Errorf("%s: no table has %s", typ.Name(), name)
			}
		}
	}
}

// fill gives every field of a message that the table knows a value that the
// table permits, and leaves the others empty.
func fill(t *testing.T, v reflect.Value, node *NodeSpec) {
	t.Helper()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			fill(t, v.Field(i), node)
			continue
		}
		at, ok := node.index[name]
		if !ok {
			continue
		}
		spec := node.Fields[at]
		switch p := v.Field(i).Addr().Interface().(type) {
		case *string:
			switch spec.Kind {
			case DateKind:
				*p = "2026-03-09"
			case DateTimeKind:
				*p = "2026-03-09 10:30:01"
			default:
				*p = strings.Repeat("1", min(spec.Length, 6))
			}
		case *SerialNo:
			p.Value = "12"
		case *json.Number:
			*p = "1"
		case *int:
			*p = 1
		case *Fen:
			*p = 1234
		case *NullFen:
			*p = SomeFen(1234)
		case *Price:
			*p = 1234
		case *Quantity:
			*p = 1234
		case *[]DurgTracInfo: // tested by itself
		default:
			t.Errorf("%s: a field of type %T", name, p)
		}
	}
}

func TestTypedRequestsAreValid(t *testing.T) {
	for _, asText := range []bool{false, true} {
		c, err := NewCatalogue()
		if err != nil {
			t.Fatal(err)
		}
		inputs := map[string]map[string]any{}
		for _, x := range typed {
			if x.direction != "in" || x.node == "durg_trac_info" {
				continue
			}
			tx, err := c.Transaction(x.infno)
			if err != nil {
				t.Fatal(err)
			}
			node := tx.In[slices.IndexFunc(tx.In, func(n *NodeSpec) bool { return n.Name == x.node })]
			v := reflect.New(reflect.TypeOf(x.message)).Elem()
			fill(t, v, node)
			if d, ok := v.Addr().Interface().(*DrugDetail); ok && x.infno == "2102" {
				d.DurgTracInfo = []DurgTracInfo{{FeedetlSN: "12", DrugTracCodg: "81", TrdnFlag: "0"}}
			}
			if f := v.FieldByName("FeedetlSN"); f.IsValid() && f.Type() == reflect.TypeFor[SerialNo]() {
				f.FieldByName("AsText").SetBool(asText)
			}
			message := v.Interface()
			if node.Shape == ListShape {
				message = []any{message}
			}
			if inputs[x.infno] == nil {
				inputs[x.infno] = map[string]any{}
			}
			inputs[x.infno][x.node] = message
		}
		for infno, input := range inputs {
			text, err := json.Marshal(input)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Validate(infno, text); err != nil {
				t.Errorf("%s (serial numbers as texts: %v): %v", infno, asText, err)
			}
		}
	}
}

// A region that wants serial numbers as texts gets them in every kind of fee
// line, and the areas of a stay are those of the envelope.
func TestRegionalSerialNumbersAndAreas(t *testing.T) {
	client := newClient(t, "http://192.0.2.1", func(c *Config) { c.Regional.SerialText = true })
	line := StayFeeDetail{FeedetlSN: SerialNo{Value: "12"}}
	sale := SaleInput{DrugDetail: []DrugDetail{{FeedetlSN: SerialNo{Value: "12"}}}}
	for name, input := range map[string]serialInput{
		"2204": feesInput{[]FeeDetail{{FeedetlSN: SerialNo{Value: "12"}}}}, "2301": stayFeesInput{[]StayFeeDetail{line}}, "2102": sale,
	} {
		text, err := json.Marshal(input.serialAsText())
		if err != nil || !strings.Contains(string(text), `"feedetl_sn":"12"`) {
			t.Errorf("%s: %s, %v", name, text, err)
		}
		if before, err := json.Marshal(input); err != nil || !strings.Contains(string(before), `"feedetl_sn":12`) {
			t.Errorf("%s: the caller's lines were changed: %s, %v", name, before, err)
		}
	}
	plain := newClient(t, "http://192.0.2.1")
	sale.DrugDetail = append(sale.DrugDetail, DrugDetail{FeedetlSN: SerialNo{Value: "yp570"}})
	var invalid *ValidationError
	if _, err := plain.Prepare(t.Context(), Request{Infno: "2102", InsuplcAdmdvs: "410100", Input: sale}); !errors.As(err, &invalid) ||
		invalid.Error() != "2102 drugdetail[1] feedetl_sn: wrong type" || OutcomeOf(err) != NotSent {
		t.Errorf("a text where the region wants numbers: %v", err)
	}
	in := aStaySettling().Input
	p, err := client.Prepare(t.Context(), Request{Infno: "2304", InsuplcAdmdvs: "410100", Input: staySettleInput{in}})
	if err != nil {
		t.Fatal(err)
	}
	var sent struct {
		Input staySettleInput `json:"input"`
	}
	if err := json.Unmarshal(p.Body, &sent); err != nil || sent.Input.Data.InsuplcAdmdvs != "410100" || sent.Input.Data.MdtrtareaAdmvs != client.cfg.Institution.Area {
		t.Errorf("%+v, %v", sent, err)
	}
}

func ExampleExtras_Content() {
	text, err := Extras{TrumFlag: "1", OtpErReflFlag: "3"}.Content()
	fmt.Println(text, err)
	// Output: {"OTP_ER_REFL_FLAG":"3","TRUM_FLAG":"1"} <nil>
}
