package terminal_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"testing"
	"testing/fstest"

	"onecard/fault"
	"onecard/settlement"
	"onecard/settlement/centersim"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// person is the centre's own data with 张三, who is insured in another province,
// changed.
func person(t *testing.T, change func(map[string]any)) fs.FS {
	t.Helper()
	text, err := os.ReadFile("../settlement/centersim/data/people.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, p := range doc["people"].([]any) {
		if who := p.(map[string]any); who["psn_name"] == "张三" {
			change(who)
			found = true
		}
	}
	if text, err = json.Marshal(doc); err != nil || !found {
		t.Fatal(found, err)
	}
	return fstest.MapFS{"people.json": {Data: text}}
}

// people are the centre's with the filings of 张三 as given.
func people(t *testing.T, filings string) fs.FS {
	t.Helper()
	return person(t, func(p map[string]any) {
		var list any
		if err := json.Unmarshal([]byte(filings), &list); err != nil {
			t.Fatal(err)
		}
		p["filings"] = list
	})
}

// The card of another province's person is settled with as any other, by the
// filing that holds.
func TestCardOfAnotherProvince(t *testing.T) {
	for _, kind := range []string{"outpatient", "inpatient", "pharmacy"} {
		t.Run(kind, func(t *testing.T) {
			b := deskbed.New(t, deskbed.Options{Image: "2.0"})
			b.Ready()
			ctx, step := t.Context(), must(t)
			req := terminal.VisitRequest{Kind: kind}
			if kind == "inpatient" {
				req.Bed = "12"
			}
			v := step(b.Service.OpenVisit(ctx, req))
			if v.Person.Area != "410100" || v.Filing == nil || v.Filing.OutType != "2" || v.Filing.Fault != nil || v.Filing.Grounds == "notfiled" {
				t.Fatalf("%+v, filing %+v", v, v.Filing)
			}
			v = step(b.Service.SetLines(ctx, v.ID, terminal.LinesRequest{Lines: deskbed.Lines()[1:2]}))
			v = step(b.Service.Trial(ctx, v.ID))
			if kind == "inpatient" {
				v = step(b.Service.Discharge(ctx, v.ID, terminal.DischargeRequest{}))
				v = step(b.Service.Trial(ctx, v.ID))
			}
			v = step(b.Service.Settle(ctx, v.ID, deskbed.Agreed(v)))
			rows := b.Center.Settlements()
			if len(rows) != 1 || rows[0].OutType != "2" || rows[0].InsuArea != "410100" || rows[0].CareArea != "510100" {
				t.Errorf("%+v", rows)
			}
			if _, err := b.Service.Refund(ctx, v.ID, terminal.RefundRequest{Entry: v.Journal}); err != nil {
				t.Error(err)
			}
			agree(b)
		})
	}
}

// Without a filing that holds, the visit is refused before anything is
// registered, or goes on with a warning, as the region wants; an emergency is as
// good as filed.
func TestFilingThatDoesNotHold(t *testing.T) {
	ended := `[{"type":"residence","areas":["51"],"begndate":"2020-01-01","enddate":"2020-12-31"}]`
	for _, c := range []struct {
		name    string
		filings string
		unfiled string
		req     terminal.VisitRequest
		code    fault.Code
		grounds string
	}{
		{"none, refused", `[]`, settlement.UnfiledRefuse, terminal.VisitRequest{}, fault.FilingMissing, ""},
		{"ended, refused", ended, settlement.UnfiledRefuse, terminal.VisitRequest{}, fault.FilingMissing, ""},
		{"none, warned", `[]`, settlement.UnfiledWarn, terminal.VisitRequest{}, "", "notfiled"},
		{"an emergency", `[]`, settlement.UnfiledRefuse, terminal.VisitRequest{Emergency: true}, "", "emergency"},
		{"an emergency by its kind", `[]`, settlement.UnfiledRefuse, terminal.VisitRequest{MedType: "13"}, "", "emergency"},
		{"chronic, not direct", `[]`, settlement.UnfiledWarn, terminal.VisitRequest{MedType: "14", Diagnoses: []terminal.Named{{Code: "M03200", Name: "x"}}}, fault.ChronicNotDirect, ""},
		{"chronic, not filed", `[]`, settlement.UnfiledWarn, terminal.VisitRequest{MedType: "14", Diagnoses: []terminal.Named{{Code: "M03900", Name: "x"}}}, fault.FilingMissing, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := deskbed.New(t, deskbed.Options{
				Image: "2.0", Center: centersim.Config{Data: people(t, c.filings)},
				Regional: settlement.Regional{Cross: settlement.CrossRules{Unfiled: c.unfiled, Filings: []string{"5304"}}},
			})
			b.Ready()
			v, err := b.Service.OpenVisit(t.Context(), c.req)
			if code(err) != c.code {
				t.Fatalf("%v (%s), want %s", err, code(err), c.code)
			}
			if err != nil {
				if s := b.Service.State(); s.Visit != nil || booked(t, b, "2201") != 0 {
					t.Errorf("something was registered: %+v", s.Visit)
				}
				return
			}
			if v.Filing == nil || v.Filing.Grounds != c.grounds || (v.Filing.Fault != nil) != (c.grounds == "notfiled") {
				t.Errorf("%+v", v.Filing)
			}
		})
	}
}

// A referral filed here that has ended is refused with its own code.
func TestReferralThatHasEnded(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{
		Image: "2.0", Center: centersim.Config{Data: people(t, `[]`)},
		Regional: settlement.Regional{Cross: settlement.CrossRules{Unfiled: settlement.UnfiledRefuse, Filings: []string{"5304"}}},
	})
	b.Ready()
	ctx := t.Context()
	if _, err := b.Service.OpenVisit(ctx, terminal.VisitRequest{}); code(err) != fault.FilingMissing {
		t.Fatal(err)
	}
	_, err := b.Upstream.FileReferral(ctx, settlement.Scope{InsuplcAdmdvs: "410100", SignNo: signNo(t, b)}, settlement.ReferralFiling{
		PsnNo: "41010000000000001000012549", Insutype: "310", DiagCode: "I10.x00", DiagName: "x",
		ReflinMedinsNo: b.Config.Institution.Code, ReflinMedinsName: b.Config.Institution.Name, MdtrtareaAdmdvs: "510100",
		HospAgreReflFlag: "1", ReflType: "1", ReflDate: "2026-01-05", ReflRea: "x", ReflOpnn: "x", Begndate: "2026-01-05", Enddate: "2026-02-05",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Service.OpenVisit(ctx, terminal.VisitRequest{}); code(err) != fault.FilingExpired || terminal.Explain(err).Detail == "" {
		t.Errorf("%v", err)
	}
	if booked(t, b, "2201") != 0 {
		t.Error("something was registered")
	}
}
