package settlement_test

import (
	"errors"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"onecard/fault"
	"onecard/settlement"
	"onecard/settlement/centersim"
)

// desk is a counter with its own journal, on a line to the simulated centre,
// which shares no code with this package.
type desk struct {
	center  *centersim.Center
	client  *settlement.Client
	journal *settlement.Journal
	settler *settlement.Settler
	clock   func() time.Time // nil: time.Now
}

func (d *desk) now() time.Time {
	if d.clock == nil {
		return time.Now()
	}
	return d.clock()
}

func newDesk(t *testing.T, change ...func(*centersim.Config, *settlement.Config)) *desk {
	t.Helper()
	dir := t.TempDir()
	there := centersim.Config{
		Style: "x-tif", Tokens: map[string]string{"PAAS": "TOKEN"}, Ledger: filepath.Join(dir, "ledger.jsonl"),
	}
	var here settlement.Config
	for _, f := range change {
		f(&there, &here)
	}
	center, err := centersim.New(there)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(center.Handler())
	journal, err := settlement.OpenJournal(filepath.Join(dir, "journal.db"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := settlement.NewMsgIDs("H51010000001", journal, time.Now, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	style, err := settlement.NewStyle("x-tif", settlement.Credentials{ID: "PAAS", Secret: "TOKEN"})
	if err != nil {
		t.Fatal(err)
	}
	here.URL, here.Style, here.MsgIDs = server.URL+"/fsi/api/rsfComIfsService/callService", style, ids
	here.Paths = map[string]string{"2207": "/fsi/api/outpatientSettleService/saveSettletmentV2"}
	here.Institution = settlement.Institution{Code: "H51010000001", Name: "样例医院", Area: "510100"}
	here.Operator = settlement.Operator{Type: "1", No: "0001", Name: "样例收费员"}
	client, err := settlement.NewClient(here)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		if err := journal.Close(); err != nil {
			t.Error(err)
		}
		server.CloseClientConnections()
		server.Close()
		if err := center.Close(); err != nil {
			t.Error(err)
		}
	})
	return &desk{center, client, journal, settlement.NewSettler(client, journal), nil}
}

// visit goes up to the payer's consent.
func (d *desk) visit(t *testing.T, number string) settlement.Settling {
	t.Helper()
	ctx, now := t.Context(), settlement.FormatTime(d.now())
	signed, err := d.client.SignIn(ctx, settlement.SignIn{OpterNo: "0001", Mac: "00-00-5E-00-53-01", IP: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	scope := settlement.Scope{SignNo: string(signed.SignNo)}
	query := settlement.PersonQuery{
		MdtrtCertType: "03", MdtrtCertNo: "A00000011", CardSN: "410100D15600000500BF7C7A48FB4966",
		PsnCertType: "01", Certno: "410101199003074531", PsnName: "张三",
	}
	person, err := d.client.Person(ctx, scope, query)
	if err != nil {
		t.Fatal(err)
	}
	if err := person.CheckHolder(query.Certno, query.PsnName); err != nil {
		t.Fatal(err)
	}
	psnNo, insurance := string(person.BaseInfo.Value.PsnNo), person.InsuInfo[0]
	scope.InsuplcAdmdvs = string(insurance.InsuplcAdmdvs)
	registered, err := d.client.Register(ctx, scope, settlement.Registration{
		PsnNo: psnNo, Insutype: string(insurance.Insutype), Begntime: now, MdtrtCertType: "03", MdtrtCertNo: query.MdtrtCertNo, CardSN: query.CardSN,
		PsnCertType: "01", Certno: query.Certno, PsnType: string(insurance.PsnType), PsnName: query.PsnName, IptOtpNo: number,
		DeptCode: "D1", DeptName: "内科", Caty: "A03",
	})
	if err != nil {
		t.Fatal(err)
	}
	mdtrtID := string(registered.MdtrtID)
	if err := d.client.UploadVisit(ctx, scope, settlement.VisitUpload{
		MdtrtInfo: settlement.MdtrtInfo{MdtrtID: mdtrtID, PsnNo: psnNo, MedType: "11", Begntime: now, DiseCodg: "I10", DiseName: "高血压"},
		DiseInfo: []settlement.DiseInfo{{
			DiagType: "1", DiagSrtNo: 1, DiagCode: "I10.x00", DiagName: "特发性高血压", DiagDept: "内科", DiseDorNo: "D1", DiseDorName: "样例医师", DiagTime: now, ValiFlag: "1",
		}},
	}); err != nil {
		t.Fatal(err)
	}
	var lines []settlement.FeeDetail
	for i, x := range []struct{ code, price, quantity string }{
		{"XC08CAA086A001010190002", "0.853333", "28"}, {"XC10AAB026A001010190004", "4.5", "70.5"},
	} {
		price, err1 := settlement.ParsePrice(x.price)
		quantity, err2 := settlement.ParseQuantity(x.quantity)
		amount, err3 := settlement.LineAmount(price, quantity)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, settlement.FeeDetail{
			FeedetlSN: settlement.SerialNo{Value: string(rune('1' + i))}, MdtrtID: mdtrtID, PsnNo: psnNo, ChrgBchno: "B" + number, RxCircFlag: "0",
			FeeOcurTime: now, MedListCodg: x.code, MedinsListCodg: "H1", DetItemFeeSumamt: amount, Cnt: quantity, Pric: price,
			BilgDeptCodg: "D1", BilgDeptName: "内科", BilgDrCodg: "D1", BilgDrName: "样例医师", HospApprFlag: "1",
		})
	}
	results, err := d.client.UploadFees(ctx, scope, lines)
	if err != nil {
		t.Fatal(err)
	}
	split, err := settlement.SumSplit(results)
	if err != nil {
		t.Fatal(err)
	}
	trial, err := d.client.Trial(ctx, scope, settlement.TrialInput{
		PsnNo: psnNo, MdtrtCertType: "03", MdtrtCertNo: query.MdtrtCertNo, CardSN: query.CardSN, PsnCertType: "01", Certno: query.Certno,
		PsnType: string(insurance.PsnType), PsnName: query.PsnName, MedType: "11", MedfeeSumamt: split.Total, PsnSetlway: "01",
		MdtrtID: mdtrtID, ChrgBchno: "B" + number, AcctUsedFlag: "1", Insutype: string(insurance.Insutype),
	})
	if err != nil {
		t.Fatal(err)
	}
	amounts, err := trial.SetlInfo.Value.Amounts()
	if err != nil {
		t.Fatal(err)
	}
	return settlement.Settling{
		Visit: number, Holder: "张*", Scope: scope, Trial: amounts, Agreed: amounts,
		Input: settlement.SettleInput{
			PsnNo: psnNo, MdtrtCertType: "03", MdtrtCertNo: query.MdtrtCertNo, CardSN: query.CardSN, PsnCertType: "01", Certno: query.Certno,
			MedType: "11", MedfeeSumamt: split.Total, PsnSetlway: "01", MdtrtID: mdtrtID, ChrgBchno: "B" + number, Insutype: string(insurance.Insutype),
			AcctUsedFlag: "1", FulamtOwnpayAmt: split.FulamtOwnpayAmt, OverlmtSelfpay: split.OverlmtSelfpay,
			PreselfpayAmt: split.PreselfpayAmt, InscpScpAmt: split.InscpScpAmt,
		},
	}
}

func TestVisitAtTheSimulatedCentre(t *testing.T) {
	d := newDesk(t)
	receipt, err := d.settler.Settle(t.Context(), d.visit(t, "OP1"))
	if err != nil {
		t.Fatal(err)
	}
	booked := d.center.Settlements()
	if len(booked) != 1 || booked[0].SetlID != receipt.SetlID || booked[0].MsgID != receipt.MsgID {
		t.Errorf("receipt %v, ledger %+v", receipt, booked)
	}
	if receipt.Amounts.Total != 34114 || receipt.Amounts.Fund+receipt.Amounts.Account+receipt.Amounts.Cash != receipt.Amounts.Total {
		t.Errorf("%+v", receipt.Amounts)
	}
}

func TestFaultsOfTheSimulatedCentre(t *testing.T) {
	for order, x := range map[string]struct {
		outcome settlement.Outcome
		code    fault.Code
		booked  int
	}{
		"drop-before":      {settlement.Unknown, fault.AnswerLost, 0},
		"drop-after":       {settlement.Unknown, fault.AnswerLost, 1},
		"http-before=401":  {settlement.Refused, fault.UpstreamCredentials, 0},
		"http-before=502":  {settlement.Unknown, fault.UpstreamHTTP, 0},
		"http-after=504":   {settlement.Unknown, fault.UpstreamHTTP, 1},
		"html-before":      {settlement.Unknown, fault.UpstreamMalformed, 0},
		"html-after":       {settlement.Unknown, fault.UpstreamMalformed, 1},
		"truncate":         {settlement.Unknown, fault.UpstreamMalformed, 1},
		"cut":              {settlement.Unknown, fault.AnswerLost, 1},
		"oversize=9000000": {settlement.Unknown, fault.UpstreamTooLarge, 1},
		"identity=1":       {settlement.Unknown, fault.SumsDisagree, 1},
		"identity=2":       {settlement.Unknown, fault.SumsDisagree, 1},
		"identity=3":       {settlement.Unknown, fault.SumsDisagree, 1},
		"identity=4":       {settlement.Unknown, fault.SumsDisagree, 1},
		"wrong-setl":       {settlement.Unknown, fault.AnswerMismatch, 1},
		"refuse=x":         {settlement.Refused, fault.UpstreamRefused, 0},
		"text-code":        {settlement.Done, "", 1},
		"sloppy":           {settlement.Done, "", 1},
		"clock=1h":         {settlement.Done, "", 1},
	} {
		t.Run(order, func(t *testing.T) {
			d := newDesk(t)
			in := d.visit(t, "OP1")
			f, err := centersim.ParseFault("2207:" + order)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.center.Order(f); err != nil {
				t.Fatal(err)
			}
			_, err = d.settler.Settle(t.Context(), in)
			if settlement.OutcomeOf(err) != x.outcome || err != nil && fault.Of(err).Code != x.code {
				t.Errorf("%v (%s)", err, settlement.OutcomeOf(err))
			}
			if n := len(d.center.Settlements()); n != x.booked {
				t.Errorf("%d booked, want %d", n, x.booked)
			}
			unresolved, err := d.journal.Count(t.Context(), settlement.Unknown)
			if err != nil || (unresolved == 1) != (x.outcome == settlement.Unknown) {
				t.Errorf("%d unresolved, %v", unresolved, err)
			}
			// Whatever happened, it is never booked twice.
			_, err = d.settler.Settle(t.Context(), in)
			switch x.outcome {
			case settlement.Unknown:
				if fault.Of(err).Code != fault.UnknownUnresolved {
					t.Errorf("again: %v", err)
				}
			case settlement.Refused:
				if err != nil {
					t.Errorf("again: %v", err)
				}
			case settlement.Done:
				if !errors.Is(err, settlement.ErrSettled) {
					t.Errorf("again: %v", err)
				}
			}
			if n := len(d.center.Settlements()); n > 1 {
				t.Errorf("%d booked", n)
			}
		})
	}
}

// An upload that fails is no settlement of unknown outcome, and upstream's
// sloppiness is read in every call.
func TestSloppyCentre(t *testing.T) {
	d := newDesk(t)
	for _, order := range []string{"any:sloppy@always", "any:text-code@always"} {
		f, err := centersim.ParseFault(order)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.center.Order(f); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.settler.Settle(t.Context(), d.visit(t, "OP1")); err != nil {
		t.Error(err)
	}
}

func TestWrongToken(t *testing.T) {
	center, err := centersim.New(centersim.Config{Style: "x-tif", Tokens: map[string]string{"PAAS": "OTHER"}})
	if err != nil {
		t.Fatal(err)
	}
	defer center.Close()
	server := httptest.NewServer(center.Handler())
	defer server.Close()
	style, err := settlement.NewStyle("x-tif", settlement.Credentials{ID: "PAAS", Secret: "TOKEN"})
	if err != nil {
		t.Fatal(err)
	}
	client, err := settlement.NewClient(settlement.Config{
		URL: server.URL + "/fsi/api/rsfComIfsService/callService", Style: style,
		Institution: settlement.Institution{Code: "H51010000001", Name: "样例医院", Area: "510100"}, Operator: settlement.Operator{Type: "1", No: "1", Name: "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.SignIn(t.Context(), settlement.SignIn{OpterNo: "1", Mac: "m", IP: "i"})
	if fault.Of(err).Code != fault.UpstreamCredentials || settlement.OutcomeOf(err) != settlement.Refused {
		t.Errorf("%v", err)
	}
}
