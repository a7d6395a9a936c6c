package settlement_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"onecard/fault"
	"onecard/settlement"
	"onecard/settlement/centersim"
)

// The people of the simulated centre: who is insured where, and filed for what.
var (
	local = settlement.PersonQuery{ // insured at home in 510100; M03900 and M03200 filed
		MdtrtCertType: "03", MdtrtCertNo: "B51000035", CardSN: "510100D156000005000356767C31A94E",
		PsnCertType: "01", Certno: "510104195807120024", PsnName: "欧阳海燕",
	}
	coverDay = time.Date(2026, 11, 20, 12, 0, 0, 0, time.FixedZone("", 8*3600))
)

// edited is a centre whose data files are changed by replacing texts.
func edited(t *testing.T, file string, replace ...string) func(*centersim.Config, *settlement.Config) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("centersim", "data", file))
	if err != nil {
		t.Fatal(err)
	}
	s := string(text)
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(s, replace[i]) {
			t.Fatalf("%s has no %q", file, replace[i])
		}
		s = strings.ReplaceAll(s, replace[i], replace[i+1])
	}
	return func(c *centersim.Config, _ *settlement.Config) {
		files, ok := c.Data.(fstest.MapFS)
		if !ok {
			files = fstest.MapFS{}
			c.Data = files
		}
		files[file] = &fstest.MapFile{Data: []byte(s)}
	}
}

func rules(r settlement.CrossRules) func(*centersim.Config, *settlement.Config) {
	return func(_ *centersim.Config, c *settlement.Config) { c.Regional.Cross = r }
}

func TestRoute(t *testing.T) {
	for _, x := range []struct {
		digits        int
		care, insured string
		want          settlement.OutType
		seenThere     settlement.OutType
	}{
		{0, "510100", "510100", settlement.Local, settlement.Local},
		{0, "510104", "510199", settlement.Local, settlement.Local},
		{0, "510100", "510700", settlement.InProvince, settlement.InProvince},
		{0, "510100", "410100", settlement.FromElsewhere, settlement.ToElsewhere},
		{2, "510100", "510700", settlement.Local, settlement.Local},
		{6, "510104", "510105", settlement.InProvince, settlement.InProvince},
	} {
		got, err := settlement.CrossRules{PoolDigits: x.digits}.Route(x.care, x.insured)
		if err != nil || got != x.want || got.AtInsurer() != x.seenThere {
			t.Errorf("%s for %s by %d digits: %s, %v", x.care, x.insured, x.digits, got, err)
		}
	}
	for _, area := range []string{"", "5101", "51010a", "5101000"} {
		if _, err := (settlement.CrossRules{}).Route("510100", area); fault.Of(err).Code != fault.FieldType || settlement.OutcomeOf(err) != settlement.NotSent {
			t.Errorf("%q: %v", area, err)
		}
	}
}

// What covers care elsewhere, and what is said where nothing does.
func TestCover(t *testing.T) {
	const filed = `"filings": [{"type": "residence", "areas": ["11", "31", "33", "41", "44", "51"], "begndate": "2020-01-01", "enddate": ""}]`
	ended := edited(t, "people.json", filed, strings.Replace(filed, `"enddate": ""`, `"enddate": "2021-12-31"`, 1))
	refusing := edited(t, "policy.json", `"unfiled": "reduce"`, `"unfiled": "refuse"`)
	for name, x := range map[string]struct {
		centre  []func(*centersim.Config, *settlement.Config)
		who     settlement.PersonQuery
		medType string
		disease string
		extras  settlement.Extras
		grounds settlement.Grounds
		code    fault.Code
		warned  bool
	}{
		"at home":                        {who: local, medType: "11", grounds: settlement.AtHome},
		"entitled":                       {who: patient, medType: "11", grounds: settlement.Entitled},
		"asked for nothing":              {centre: []func(*centersim.Config, *settlement.Config){rules(settlement.CrossRules{Unfiled: settlement.UnfiledIgnore})}, who: patient, medType: "11", grounds: settlement.NoFilingAsked},
		"nobody needs one":               {centre: []func(*centersim.Config, *settlement.Config){rules(settlement.CrossRules{Need: []settlement.OutType{}})}, who: patient, medType: "11", grounds: settlement.NoFilingAsked},
		"not filed, warned":              {centre: []func(*centersim.Config, *settlement.Config){ended, refusing}, who: patient, medType: "11", grounds: settlement.NotFiled, warned: true},
		"not filed, refused":             {centre: []func(*centersim.Config, *settlement.Config){ended, refusing, rules(settlement.CrossRules{Unfiled: settlement.UnfiledRefuse})}, who: patient, medType: "11", code: fault.FilingMissing},
		"an emergency by its kind":       {centre: []func(*centersim.Config, *settlement.Config){ended, refusing, rules(settlement.CrossRules{Unfiled: settlement.UnfiledRefuse})}, who: patient, medType: "13", grounds: settlement.ByEmergency},
		"an emergency by exp_content":    {centre: []func(*centersim.Config, *settlement.Config){ended, refusing, rules(settlement.CrossRules{Unfiled: settlement.UnfiledRefuse})}, who: patient, medType: "11", extras: settlement.Extras{OtpErReflFlag: "3"}, grounds: settlement.ByEmergency},
		"a referral is no emergency":     {centre: []func(*centersim.Config, *settlement.Config){ended, refusing, rules(settlement.CrossRules{Unfiled: settlement.UnfiledRefuse})}, who: patient, medType: "11", extras: settlement.Extras{OtpErReflFlag: "2"}, code: fault.FilingMissing},
		"chronic, one of the five":       {who: patient, medType: "14", disease: "M01600", grounds: settlement.Entitled},
		"chronic, none of the five":      {who: patient, medType: "14", disease: "M03200", code: fault.ChronicNotDirect},
		"chronic, not filed":             {who: patient, medType: "14", disease: "M03900", code: fault.FilingMissing},
		"chronic at home, none of five":  {who: local, medType: "14", disease: "M03200", grounds: settlement.AtHome},
		"chronic at home, not filed":     {who: local, medType: "14", disease: "M01600", code: fault.FilingMissing},
		"chronic by the region's list":   {centre: []func(*centersim.Config, *settlement.Config){rules(settlement.CrossRules{Chronic: []string{"M039"}})}, who: patient, medType: "14", disease: "M01600", code: fault.ChronicNotDirect},
		"chronic, filed until yesterday": {centre: []func(*centersim.Config, *settlement.Config){edited(t, "people.json", `"chronic": [{"dise_codg": "M01600", "begndate": "2021-01-01", "enddate": ""}]`, `"chronic": [{"dise_codg": "M01600", "begndate": "2021-01-01", "enddate": "2026-11-19"}]`)}, who: patient, medType: "14", disease: "M01600", code: fault.FilingExpired},
		"chronic, filed until today":     {centre: []func(*centersim.Config, *settlement.Config){edited(t, "people.json", `"chronic": [{"dise_codg": "M01600", "begndate": "2021-01-01", "enddate": ""}]`, `"chronic": [{"dise_codg": "M01600", "begndate": "2021-01-01", "enddate": "2026-11-20"}]`)}, who: patient, medType: "14", disease: "M01600", grounds: settlement.Entitled},
		"chronic, filed from tomorrow":   {centre: []func(*centersim.Config, *settlement.Config){edited(t, "people.json", `"chronic": [{"dise_codg": "M01600", "begndate": "2021-01-01", "enddate": ""}]`, `"chronic": [{"dise_codg": "M01600", "begndate": "2026-11-21", "enddate": ""}]`)}, who: patient, medType: "14", disease: "M01600", code: fault.FilingExpired},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, x.centre...)
			scope, base, insured := d.identify(t, x.who)
			got, err := d.client.Cover(t.Context(), settlement.Scope{SignNo: scope.SignNo}, settlement.Care{
				PsnNo: string(base.PsnNo), Insutype: string(insured.Insutype), Insured: string(insured.InsuplcAdmdvs),
				MedType: x.medType, DiseCodg: x.disease, Extras: x.extras, At: coverDay,
			})
			if x.code != "" {
				if fault.Of(err).Code != x.code || settlement.OutcomeOf(err) != settlement.NotSent {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil || got.Grounds != x.grounds || (got.Warning != nil) != x.warned {
				t.Errorf("%+v, %v", got, err)
			}
			if x.warned && !strings.Contains(got.Warning.FaultDetail(), "备案") {
				t.Errorf("without the centre's words: %s", got.Warning.FaultDetail())
			}
		})
	}
}

// A centre that refuses a look-up knows no filing; one that is not reached is
// asked again later.
func TestCoverWithoutLookUps(t *testing.T) {
	for _, x := range []struct {
		faults  []string
		grounds settlement.Grounds
		code    fault.Code
	}{
		{[]string{"5304:refuse=not offered here"}, settlement.Entitled, ""},
		{[]string{"2001:refuse=not offered here"}, settlement.NotFiled, ""},
		{[]string{"5304:refuse=x", "2001:refuse=not offered here"}, settlement.NotFiled, ""},
		{[]string{"5304:drop-after"}, "", fault.AnswerLost},
		{[]string{"2001:http-before=503"}, "", fault.UpstreamHTTP},
	} {
		d := newDesk(t)
		scope, base, insured := d.identify(t, patient)
		d.order(t, x.faults...)
		got, err := d.client.Cover(t.Context(), scope, settlement.Care{
			PsnNo: string(base.PsnNo), Insutype: string(insured.Insutype), Insured: string(insured.InsuplcAdmdvs), MedType: "11", At: coverDay,
		})
		switch {
		case x.code != "":
			if fault.Of(err).Code != x.code {
				t.Errorf("%v: %+v, %v", x.faults, got, err)
			}
		case err != nil || got.Grounds != x.grounds:
			t.Errorf("%v: %+v, %v", x.faults, got, err)
		case got.Warning != nil && got.Warning.Words != "not offered here":
			t.Errorf("%v: %q", x.faults, got.Warning.Words)
		}
	}
}

// A referral filed by transaction covers the institution it names on its days,
// and no longer once it is taken back.
func TestReferralCovers(t *testing.T) {
	d := newDesk(t, edited(t, "people.json", `"areas": ["11", "31", "33", "41", "44", "51"]`, `"areas": ["99"]`), rules(settlement.CrossRules{Unfiled: settlement.UnfiledRefuse, Filings: []string{"5304"}}))
	scope, base, insured := d.identify(t, patient)
	now := time.Now()
	care := settlement.Care{PsnNo: string(base.PsnNo), Insutype: string(insured.Insutype), Insured: string(insured.InsuplcAdmdvs), MedType: "11", At: now}
	cover := func(at time.Time) (settlement.Coverage, error) {
		care.At = at
		return d.client.Cover(t.Context(), scope, care)
	}
	if _, err := cover(now); fault.Of(err).Code != fault.FilingMissing {
		t.Fatalf("%v", err)
	}
	filing := settlement.ReferralFiling{
		PsnNo: string(base.PsnNo), Insutype: string(insured.Insutype), DiagCode: "K35.900", DiagName: "急性阑尾炎",
		ReflinMedinsNo: "H51010000001", ReflinMedinsName: "样例医院", MdtrtareaAdmdvs: "510100", ReflType: "3",
		ReflDate: settlement.FormatDate(now), ReflRea: "条件所限", ReflOpnn: "同意",
		Begndate: settlement.FormatDate(now.AddDate(0, 0, -10)), Enddate: settlement.FormatDate(now.AddDate(0, 0, 10)),
	}
	number, err := d.client.FileReferral(t.Context(), scope, filing)
	if err != nil {
		t.Fatal(err)
	}
	got, err := cover(now.Add(time.Second))
	if err != nil || got.Grounds != settlement.Filed || got.OutType != settlement.FromElsewhere || got.Filing.Institution != "H51010000001" || got.Filing.Open {
		t.Fatalf("%+v, %v", got, err)
	}
	var refused *settlement.FilingError
	if _, err := cover(now.AddDate(0, 0, 11)); !errors.As(err, &refused) || refused.Ended.Format(settlement.DateLayout) != filing.Enddate || refused.Code() != fault.FilingExpired {
		t.Errorf("after its end: %v", err)
	}
	if err := d.client.CancelReferral(t.Context(), scope, settlement.FilingCancel{TrtDclaDetlSN: number, PsnNo: string(base.PsnNo)}); err != nil {
		t.Fatal(err)
	}
	if _, err := cover(now.Add(time.Second)); fault.Of(err).Code != fault.FilingMissing {
		t.Errorf("taken back: %v", err)
	}
}

// Chronic diseases and institutions are filed, found and taken back.
func TestFilings(t *testing.T) {
	d := newDesk(t)
	scope, base, insured := d.identify(t, local)
	psnNo, today := string(base.PsnNo), settlement.FormatDate(time.Now())
	number, err := d.client.FileChronic(t.Context(), scope, settlement.ChronicFiling{
		PsnNo: psnNo, Insutype: string(insured.Insutype), OpspDiseCode: "M01600", OpspDiseName: "糖尿病", InsuOptins: "510100",
		IdeFixmedinsNo: "H51010000001", IdeFixmedinsName: "样例医院", HospIdeDate: today, DiagDrCodg: "D1", DiagDrName: "样例医师", Begndate: today,
	})
	if err != nil {
		t.Fatal(err)
	}
	has := func() bool {
		list, err := d.client.QueryChronic(t.Context(), scope, psnNo)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			if r.OpspDiseCode == "M01600" {
				return true
			}
		}
		return false
	}
	if !has() {
		t.Error("the filing is not found")
	}
	if err := d.client.CancelChronic(t.Context(), scope, settlement.FilingCancel{TrtDclaDetlSN: number, PsnNo: psnNo, Memo: "有误"}); err != nil {
		t.Fatal(err)
	}
	if has() {
		t.Error("the filing is still there")
	}
	number, err = d.client.FileInstitution(t.Context(), scope, settlement.InstitutionFiling{
		PsnNo: psnNo, BizAppyType: "03", Begndate: today, FixSrtNo: "1", FixmedinsCode: "H51010000001", FixmedinsName: "样例医院",
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := d.client.QueryInstitutions(t.Context(), scope, psnNo, "03")
	if err != nil || len(list) != 1 || list[0].FixmedinsCode != "H51010000001" {
		t.Errorf("%+v, %v", list, err)
	}
	if err := d.client.CancelInstitution(t.Context(), scope, settlement.FilingCancel{TrtDclaDetlSN: number, PsnNo: psnNo, Memo: "有误"}); err != nil {
		t.Fatal(err)
	}
	if err := d.client.CancelInstitution(t.Context(), scope, settlement.FilingCancel{TrtDclaDetlSN: number, PsnNo: psnNo}); fault.Of(err).Code != fault.FieldMissing {
		t.Errorf("without a reason: %v", err)
	}
}

// A settlement is found by every question that knows it; its answers are those
// of the tables.
func TestLookUps(t *testing.T) {
	d := newDesk(t)
	in := d.visit(t, "OP1")
	receipt, err := d.settler.Settle(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	psnNo := in.Input.PsnNo
	ref := settlement.SettlementRef{PsnNo: psnNo, SetlID: receipt.SetlID, MdtrtID: receipt.MdtrtID}
	record, err := d.client.QuerySettlement(t.Context(), in.Scope, ref)
	if err != nil {
		t.Fatal(err)
	}
	amounts, err := record.SetlInfo.Amounts()
	if err != nil || amounts != receipt.Amounts || record.RefdSetlFlag != "0" || string(record.SetlInfo.MedinsSetlID) != receipt.MsgID || len(record.Detail) == 0 {
		t.Errorf("%+v, %v", record, err)
	}
	lines, err := d.client.QueryFees(t.Context(), in.Scope, ref)
	if err != nil || len(lines) != 2 || lines[0].DetItemFeeSumamt.Fen+lines[1].DetItemFeeSumamt.Fen != receipt.Amounts.Total {
		t.Errorf("%+v, %v", lines, err)
	}
	visits, err := d.client.QueryVisits(t.Context(), in.Scope, settlement.MdtrtQuery{
		PsnNo: psnNo, Begntime: settlement.FormatTime(time.Now().Add(-time.Hour)), Endtime: settlement.FormatTime(time.Now().Add(time.Hour)), MedType: "11",
	})
	if err != nil || len(visits) != 1 || string(visits[0].MdtrtID) != receipt.MdtrtID {
		t.Errorf("%+v, %v", visits, err)
	}
	diagnoses, err := d.client.QueryDiagnoses(t.Context(), in.Scope, settlement.MdtrtRef{MdtrtID: receipt.MdtrtID, PsnNo: psnNo})
	if err != nil || len(diagnoses) != 1 || diagnoses[0].DiagCode != "I10.x00" {
		t.Errorf("%+v, %v", diagnoses, err)
	}
	if _, err := d.settler.Refund(t.Context(), settlement.Refunding{Entry: receipt.EntryID, Scope: in.Scope}); err != nil {
		t.Fatal(err)
	}
	if record, err = d.client.QuerySettlement(t.Context(), in.Scope, ref); err != nil || record.RefdSetlFlag != "1" {
		t.Errorf("refunded: %+v, %v", record, err)
	}
	ref.SetlID = "none"
	if lines, err := d.client.QueryFees(t.Context(), in.Scope, ref); err != nil || len(lines) != 0 {
		t.Errorf("of no settlement: %+v, %v", lines, err)
	}
	if _, err := d.client.QuerySettlement(t.Context(), in.Scope, ref); settlement.OutcomeOf(err) != settlement.Refused {
		t.Errorf("of no settlement: %v", err)
	}
}

// exp_content goes out as the text that a centre can read, with what the region
// wants of people from elsewhere.
func TestExpContent(t *testing.T) {
	d := newDesk(t, rules(settlement.CrossRules{Extras: map[string]string{"MDTRT_GRP_TYPE": "2", "X_REGION": "9"}}))
	extras := settlement.Extras{TrumFlag: "1", MdtrtGrpType: "1"}
	for insured, want := range map[string]string{
		"510100": `{"MDTRT_GRP_TYPE":"1","TRUM_FLAG":"1"}`,
		"410100": `{"MDTRT_GRP_TYPE":"1","TRUM_FLAG":"1","X_REGION":"9"}`,
	} {
		if got, err := d.client.ExpContent(insured, extras); err != nil || got != want {
			t.Errorf("%s: %s, %v", insured, got, err)
		}
	}
	scope, base, insured := d.identify(t, patient)
	content, err := d.client.ExpContent(scope.InsuplcAdmdvs, settlement.Extras{OtpErReflFlag: "1"})
	if err != nil {
		t.Fatal(err)
	}
	in := settlement.Registration{
		PsnNo: string(base.PsnNo), Insutype: string(insured.Insutype), Begntime: settlement.FormatTime(time.Now()), MdtrtCertType: "03",
		MdtrtCertNo: patient.MdtrtCertNo, CardSN: patient.CardSN, PsnCertType: "01", Certno: patient.Certno, PsnType: string(insured.PsnType),
		PsnName: patient.PsnName, IptOtpNo: "OP9", DeptCode: "D1", DeptName: "内科", Caty: "A03", ExpContent: content,
	}
	if _, err := d.client.Register(t.Context(), scope, in); err != nil {
		t.Error(err)
	}
	in.IptOtpNo, in.ExpContent = "OP10", strings.ToLower(content)
	if _, err := d.client.Register(t.Context(), scope, in); settlement.OutcomeOf(err) != settlement.Refused {
		t.Errorf("the centre reads keys in lower case: %v", err)
	}
}
