package centersim_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"onecard/settlement"
	"onecard/settlement/centersim"
)

// TestOnecardsFilings plays filings and look-ups between onecard's client and
// two centres that route to each other; every answer is what the published
// tables announce.
func TestOnecardsFilings(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 5, 20, 12, 0, 0, 0, time.FixedZone("CST", 8*60*60))
	clock := func() time.Time { return now }
	center := func(config centersim.Config) string {
		t.Helper()
		config.Now = clock
		c, err := centersim.New(config)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewServer(c.Handler())
		t.Cleanup(func() {
			s.Close()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return s.URL
	}
	henan := center(centersim.Config{Areas: []string{"41"}})
	sichuan := center(centersim.Config{Areas: []string{"51"}, Routes: map[string]string{"41": henan}})
	client, err := settlement.NewClient(settlement.Config{
		URL: sichuan + "/fsi/api/rsfComIfsService/callService", Now: clock,
		Institution: settlement.Institution{Code: "H51010000001", Name: "样例医院", Area: "510100"},
		Operator:    settlement.Operator{Type: "1", No: "0001", Name: "收费员"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	signed, err := client.SignIn(ctx, settlement.SignIn{OpterNo: "0001", Mac: "02-00-00-00-00-01", IP: "127.0.0.1"})
	must(err)
	const psn = "41010000000000001000012549"
	s := settlement.Scope{SignNo: string(signed.SignNo), InsuplcAdmdvs: "410100"}

	referral := settlement.ReferralFiling{
		PsnNo: psn, Insutype: "310", DiagCode: "I10", DiagName: "高血压", ReflinMedinsNo: "H51010000001", ReflinMedinsName: "样例医院",
		MdtrtareaAdmdvs: "510100", ReflType: "1", ReflDate: "2026-05-20", ReflRea: "病情需要", ReflOpnn: "同意",
	}
	number, err := client.FileReferral(ctx, s, referral)
	must(err)
	if again, err := client.FileReferral(ctx, s, referral); err != nil || again != number {
		t.Errorf("the same filing again: %s %v, first %s", again, err, number)
	}
	list, err := client.QueryReferrals(ctx, s, psn, "2026-05-20 00:00:00", "")
	must(err)
	if len(list) != 1 || list[0].Enddate != "2026-11-19" || list[0].ReflinMedinsNo != "H51010000001" {
		t.Errorf("referrals %+v", list)
	}
	must(client.CancelReferral(ctx, s, settlement.FilingCancel{TrtDclaDetlSN: number, PsnNo: psn}))
	var refused *settlement.RefusedError
	if err := client.CancelReferral(ctx, s, settlement.FilingCancel{TrtDclaDetlSN: number, PsnNo: psn}); !errors.As(err, &refused) {
		t.Errorf("withdrawn twice: %v", err)
	}

	number, err = client.FileChronic(ctx, s, settlement.ChronicFiling{
		PsnNo: psn, Insutype: "310", OpspDiseCode: "M00500", OpspDiseName: "恶性肿瘤", InsuOptins: "410100", IdeFixmedinsNo: "H51010000001",
		IdeFixmedinsName: "样例医院", HospIdeDate: "2026-05-19", DiagDrCodg: "D1", DiagDrName: "李医生", Begndate: "2026-05-20",
	})
	must(err)
	diseases, err := client.QueryChronic(ctx, s, psn)
	must(err)
	if len(diseases) != 2 || diseases[1].OpspDiseCode != "M00500" {
		t.Errorf("chronic diseases %+v", diseases)
	}
	must(client.CancelChronic(ctx, s, settlement.FilingCancel{TrtDclaDetlSN: number, PsnNo: psn, Memo: "误报"}))

	_, err = client.FileInstitution(ctx, s, settlement.InstitutionFiling{
		PsnNo: psn, BizAppyType: "03", Begndate: "2026-05-20", FixSrtNo: "1", FixmedinsCode: "H51010000001", FixmedinsName: "样例医院",
	})
	must(err)
	institutions, err := client.QueryInstitutions(ctx, s, psn, "03")
	must(err)
	if len(institutions) != 1 || institutions[0].FixmedinsCode != "H51010000001" {
		t.Errorf("institutions %+v", institutions)
	}

	// What each look-up answers deviates from the published tables nowhere.
	for infno, data := range map[string]map[string]string{
		"5202": {"psn_no": psn, "mdtrt_id": "1"}, "5301": {"psn_no": psn}, "5302": {"psn_no": psn, "biz_appy_type": "03"},
		"5304": {"psn_no": psn, "begntime": "2026-05-20 00:00:00"}, "5205": {"psn_no": psn, "begntime": "2026-05-20 00:00:00"}, "5206": {"psn_no": psn},
		"5303": {"psn_no": psn, "begntime": "2026-05-20 00:00:00", "endtime": "2026-05-20 23:59:59"},
	} {
		a, err := client.Call(ctx, settlement.Request{Infno: infno, InsuplcAdmdvs: s.InsuplcAdmdvs, SignNo: s.SignNo, Input: map[string]any{"data": data}})
		if err != nil {
			t.Errorf("%s: %v", infno, err)
			continue
		}
		if found, err := client.Deviations(a); err != nil || len(found) != 0 {
			t.Errorf("%s: %+v %v", infno, found, err)
		}
	}
}
