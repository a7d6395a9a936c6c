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

// TestOnecardsClient plays a visit between the two independent sides: onecard's
// client, signing, and this centre, checking.
func TestOnecardsClient(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 5, 20, 12, 0, 0, 0, time.FixedZone("CST", 8*60*60))
	clock := func() time.Time { return now }
	center, err := centersim.New(centersim.Config{
		Style: centersim.StyleXTif, Tokens: map[string]string{"test": "TESTTOKEN"}, Now: clock, Ledger: t.TempDir() + "/l",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer center.Close()
	server := httptest.NewServer(center.Handler())
	defer server.Close()
	style, err := settlement.NewStyle("x-tif", settlement.Credentials{ID: "test", Secret: "TESTTOKEN"})
	if err != nil {
		t.Fatal(err)
	}
	client, err := settlement.NewClient(settlement.Config{
		URL: server.URL + "/fsi/api/rsfComIfsService/callService", Style: style, Now: clock,
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
	scope := settlement.Scope{SignNo: string(signed.SignNo)}
	const certno, name, at = "410101199003074531", "张三", "2026-05-20 12:00:00"
	const cardNo, cardSN = "A00000011", "410100D15600000500BF7C7A48FB4966"
	person, err := client.Person(ctx, scope, settlement.PersonQuery{
		MdtrtCertType: "03", MdtrtCertNo: cardNo, CardSN: cardSN, PsnCertType: "01", Certno: certno, PsnName: name,
	})
	must(err)
	must(person.CheckHolder(certno, name))
	insured := person.InsuInfo[0]
	psnNo := string(person.BaseInfo.Value.PsnNo)
	scope.InsuplcAdmdvs = string(insured.InsuplcAdmdvs)
	visit, err := client.Register(ctx, scope, settlement.Registration{
		PsnNo: psnNo, Insutype: string(insured.Insutype), Begntime: at, MdtrtCertType: "03", MdtrtCertNo: cardNo, CardSN: cardSN,
		PsnCertType: "01", Certno: certno, PsnType: string(insured.PsnType), PsnName: name, IptOtpNo: "MZ1",
		DeptCode: "0101", DeptName: "内科", Caty: "A03",
	})
	must(err)
	must(client.UploadVisit(ctx, scope, settlement.VisitUpload{
		MdtrtInfo: settlement.MdtrtInfo{MdtrtID: string(visit.MdtrtID), PsnNo: psnNo, MedType: "11", Begntime: at, DiseCodg: "I10", DiseName: "高血压"},
		DiseInfo: []settlement.DiseInfo{{DiagType: "1", DiagSrtNo: 1, DiagCode: "I10", DiagName: "高血压", DiagDept: "内科",
			DiseDorNo: "D1", DiseDorName: "李医生", DiagTime: at, ValiFlag: "1"}},
	}))
	fee := settlement.FeeDetail{
		FeedetlSN: settlement.SerialNo{Value: "1"}, MdtrtID: string(visit.MdtrtID), PsnNo: psnNo, ChrgBchno: "B1", RxCircFlag: "0",
		FeeOcurTime: at, MedListCodg: "XC10AAB026A001010190004", MedinsListCodg: "L1", BilgDeptCodg: "0101", BilgDeptName: "内科",
		BilgDrCodg: "D1", BilgDrName: "李医生", HospApprFlag: "0",
	}
	if fee.Pric, err = settlement.ParsePrice("4.5"); err != nil {
		t.Fatal(err)
	}
	if fee.Cnt, err = settlement.ParseQuantity("280"); err != nil {
		t.Fatal(err)
	}
	if fee.DetItemFeeSumamt, err = settlement.LineAmount(fee.Pric, fee.Cnt); err != nil {
		t.Fatal(err)
	}
	results, err := client.UploadFees(ctx, scope, []settlement.FeeDetail{fee})
	must(err)
	split, err := settlement.SumSplit(results)
	must(err)
	// 1260.00: 84.00 above the ceiling, 117.60 before the insurance, 1058.40 in scope.
	if split.OverlmtSelfpay != 8400 || split.PreselfpayAmt != 11760 || split.InscpScpAmt != 105840 {
		t.Errorf("split %+v", split)
	}
	trial := settlement.TrialInput{
		PsnNo: psnNo, MdtrtCertType: "03", MdtrtCertNo: cardNo, CardSN: cardSN, PsnCertType: "01", Certno: certno, PsnType: string(insured.PsnType),
		PsnName: name, MedType: "11", MedfeeSumamt: 126000, PsnSetlway: "01", MdtrtID: string(visit.MdtrtID), ChrgBchno: "B1",
		AcctUsedFlag: "1", Insutype: string(insured.Insutype),
	}
	for _, f := range []string{"", "2206:sloppy"} {
		if f != "" {
			order(t, center, f)
		}
		s, err := client.Trial(ctx, scope, trial)
		must(err)
		// (1058.40 - 200.00) x 0.70 = 600.88; of 659.12 the account pays 80.00.
		i := s.SetlInfo.Value
		if i.FundPaySumamt.Fen != 60088 || i.AcctPay.Fen != 8000 || i.PsnCashPay.Fen != 57912 {
			t.Errorf("%s: trial %+v", f, i)
		}
	}
	order(t, center, "2206:identity=2")
	var sums *settlement.SumsError
	if _, err := client.Trial(ctx, scope, trial); !errors.As(err, &sums) || sums.Identity != 2 {
		t.Errorf("a broken identity: %v", err)
	}
	order(t, center, "2206:wrong-setl")
	if _, err := client.Trial(ctx, scope, trial); !errors.Is(err, settlement.ErrMismatch) {
		t.Errorf("another's answer: %v", err)
	}
	order(t, center, "2206:drop-before")
	if _, err := client.Trial(ctx, scope, trial); !errors.Is(err, settlement.ErrAnswerLost) {
		t.Errorf("a lost answer: %v", err)
	}
	stranger := settlement.PersonQuery{MdtrtCertType: "03", MdtrtCertNo: cardNo, CardSN: cardSN, PsnCertType: "01", Certno: certno, PsnName: "李四"}
	var refused *settlement.RefusedError
	if _, err := client.Person(ctx, scope, stranger); !errors.As(err, &refused) || refused.Message != "人员姓名与参保登记不一致" {
		t.Errorf("another's name: %v", err)
	}
}

func order(t *testing.T, c *centersim.Center, text string) {
	t.Helper()
	f, err := centersim.ParseFault(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Order(f); err != nil {
		t.Fatal(err)
	}
}
