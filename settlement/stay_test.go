package settlement_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"onecard/settlement"
)

// A stayDesk is a stay in hospital, up to its settlement.
type stayDesk struct {
	*desk
	scope   settlement.Scope
	base    settlement.BaseInfo
	insured settlement.InsuInfo
	number  string
	mdtrtID string
	lines   []settlement.FeeResult
}

func newStay(t *testing.T, number string) *stayDesk {
	t.Helper()
	d := &stayDesk{desk: newDesk(t), number: number}
	d.scope, d.base, d.insured = d.identify(t, patient)
	d.admit(t)
	return d
}

func (d *stayDesk) diagnoses(change bool) []settlement.StayDiseInfo {
	one := settlement.StayDiseInfo{
		PsnNo: string(d.base.PsnNo), DiagType: "1", MaindiagFlag: "1", DiagSrtNo: 1, DiagCode: "K35.900", DiagName: "急性阑尾炎",
		DiagDept: "外科", DiseDorNo: "D1", DiseDorName: "样例医师", DiagTime: settlement.FormatTime(time.Now()),
	}
	if change {
		one.MdtrtID = d.mdtrtID
	}
	return []settlement.StayDiseInfo{one}
}

func (d *stayDesk) care() settlement.StayCare {
	return settlement.StayCare{
		AtddrNo: "D1", ChfpdrName: "样例医师", AdmDiagDscr: "急性阑尾炎", AdmDeptCodg: "D2", AdmDeptName: "外科", AdmBed: "12",
		DscgMaindiagCode: "K35.900", DscgMaindiagName: "急性阑尾炎",
	}
}

func (d *stayDesk) admit(t *testing.T) {
	t.Helper()
	admitted, err := d.client.Admit(t.Context(), d.scope, settlement.Admission{
		MdtrtInfo: settlement.StayInfo{
			PsnNo: string(d.base.PsnNo), Insutype: string(d.insured.Insutype), Begntime: settlement.FormatTime(time.Now().Add(-48 * time.Hour)),
			MdtrtCertType: "03", MdtrtCertNo: patient.MdtrtCertNo, CardSN: patient.CardSN, CertType: "01", Certno: patient.Certno,
			MedType: "2101", IptNo: d.number, StayCare: d.care(),
		},
		DiseInfo: d.diagnoses(false),
	})
	if err != nil {
		t.Fatal(err)
	}
	d.mdtrtID = string(admitted.MdtrtID)
}

// charge uploads lines numbered from first and returns their split.
func (d *stayDesk) charge(t *testing.T, first int, codes ...string) []settlement.FeeResult {
	t.Helper()
	var lines []settlement.StayFeeDetail
	for i, code := range codes {
		price, quantity, amount := priced(t, "188.5", "3")
		lines = append(lines, settlement.StayFeeDetail{
			FeedetlSN: settlement.SerialNo{Value: fmt.Sprint(first + i)}, MdtrtID: d.mdtrtID, PsnNo: string(d.base.PsnNo), MedType: "2101",
			FeeOcurTime: settlement.FormatTime(time.Now()), MedListCodg: code, MedinsListCodg: "H1", DetItemFeeSumamt: amount, Cnt: quantity, Pric: price,
			BilgDeptCodg: "D2", BilgDeptName: "外科", BilgDrCodg: "D1", BilgDrName: "样例医师",
		})
	}
	results, err := d.client.UploadStayFees(t.Context(), d.scope, lines)
	if err != nil {
		t.Fatal(err)
	}
	d.lines = append(d.lines, results...)
	return results
}

func (d *stayDesk) input(t *testing.T) settlement.StaySettleInput {
	t.Helper()
	split, err := settlement.SumSplit(d.lines)
	if err != nil {
		t.Fatal(err)
	}
	return settlement.StaySettleInput{
		PsnNo: string(d.base.PsnNo), MdtrtCertType: "03", MdtrtCertNo: patient.MdtrtCertNo, CardSN: patient.CardSN, PsnCertType: "01", Certno: patient.Certno,
		PsnType: string(d.insured.PsnType), PsnName: patient.PsnName, MedfeeSumamt: split.Total, PsnSetlway: "01", MdtrtID: d.mdtrtID,
		Insutype: string(d.insured.Insutype), AcctUsedFlag: "1", MidSetlFlag: "0",
		FulamtOwnpayAmt: settlement.SomeFen(split.FulamtOwnpayAmt), OverlmtSelfpay: settlement.SomeFen(split.OverlmtSelfpay),
		PreselfpayAmt: settlement.SomeFen(split.PreselfpayAmt), InscpScpAmt: settlement.SomeFen(split.InscpScpAmt),
	}
}

func (d *stayDesk) discharge(t *testing.T) {
	t.Helper()
	err := d.client.Discharge(t.Context(), d.scope, settlement.Discharge{DscgInfo: settlement.DscgInfo{
		MdtrtID: d.mdtrtID, PsnNo: string(d.base.PsnNo), Insutype: string(d.insured.Insutype), Endtime: settlement.FormatTime(time.Now()),
		DscgDeptCodg: "D2", DscgDeptName: "外科", DscgWay: "1",
	}, DiseInfo: d.diagnoses(true)})
	if err != nil {
		t.Fatal(err)
	}
}

// tried is what the payer agrees to.
func (d *stayDesk) tried(t *testing.T) settlement.StaySettling {
	t.Helper()
	in := d.input(t)
	trial, err := d.client.StayTrial(t.Context(), d.scope, in)
	if err != nil {
		t.Fatal(err)
	}
	amounts, err := trial.SetlInfo.Value.Amounts()
	if err != nil {
		t.Fatal(err)
	}
	return settlement.StaySettling{Visit: d.number, Holder: "张*", Scope: d.scope, Input: in, Trial: amounts, Agreed: amounts}
}

// A stay over days: charges, corrections, discharge, settlement, and all of it
// taken back in the order of the texts.
func TestStayAtTheSimulatedCentre(t *testing.T) {
	d := newStay(t, "IP1")
	ref := settlement.StayRef{MdtrtID: d.mdtrtID, PsnNo: string(d.base.PsnNo)}
	if err := d.client.ChangeAdmission(t.Context(), d.scope, settlement.AdmissionChange{
		AdmInfo: settlement.AdmInfo{
			MdtrtID: d.mdtrtID, PsnNo: string(d.base.PsnNo), Begntime: settlement.FormatTime(time.Now().Add(-47 * time.Hour)), MdtrtCertType: "03",
			MedType: "2101", IptOtpNo: d.number, StayCare: d.care(),
		}, DiseInfo: d.diagnoses(true),
	}); err != nil {
		t.Fatal(err)
	}
	inside, err := d.client.QueryInHospital(t.Context(), d.scope, settlement.InHospitalQuery{
		PsnNo: string(d.base.PsnNo), Begntime: settlement.FormatTime(time.Now().Add(-72 * time.Hour)), Endtime: settlement.FormatTime(time.Now()),
	})
	if err != nil || len(inside) != 1 || string(inside[0].MdtrtID) != d.mdtrtID {
		t.Errorf("5303: %+v, %v", inside, err)
	}
	d.charge(t, 1, "001204000050000-120400006", "002103000010000-210300001")
	wrong := d.charge(t, 3, "003304010020000-330401002")
	if err := d.client.CancelStayFees(t.Context(), d.scope, []settlement.StayFeeCancel{
		{FeedetlSN: string(wrong[0].FeedetlSN), MdtrtID: d.mdtrtID, PsnNo: string(d.base.PsnNo)},
	}); err != nil {
		t.Fatal(err)
	}
	d.lines = d.lines[:2]
	before := d.tried(t) // so far
	// Nothing is settled before the discharge.
	if _, err := d.settler.SettleStay(t.Context(), before); settlement.OutcomeOf(err) != settlement.Refused {
		t.Errorf("settled in hospital: %v", err)
	}
	d.discharge(t)
	in := d.tried(t)
	receipt, err := d.settler.SettleStay(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if receipt.Amounts != in.Agreed || receipt.MdtrtID != d.mdtrtID || receipt.Amounts.Total != 113100 {
		t.Errorf("%+v", receipt)
	}
	if _, err := d.settler.SettleStay(t.Context(), in); !errors.Is(err, settlement.ErrSettled) || settlement.OutcomeOf(err) != settlement.NotSent {
		t.Errorf("settled twice: %v", err)
	}
	refund, err := d.settler.Refund(t.Context(), settlement.Refunding{Entry: receipt.EntryID, Scope: settlement.Scope{SignNo: d.scope.SignNo}})
	if err != nil {
		t.Fatal(err)
	}
	if refund.Amounts != negative(receipt.Amounts) || refund.SetlID == receipt.SetlID || refund.Undoes != receipt.EntryID {
		t.Errorf("%+v", refund)
	}
	if err := d.client.CancelDischarge(t.Context(), d.scope, ref); err != nil {
		t.Fatal(err)
	}
	for range 2 { // all of them can be taken back repeatedly
		if err := d.client.CancelStayFees(t.Context(), d.scope, []settlement.StayFeeCancel{
			{FeedetlSN: settlement.AllUnsettled, MdtrtID: d.mdtrtID, PsnNo: string(d.base.PsnNo)},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.client.CancelAdmission(t.Context(), d.scope, ref); err != nil {
		t.Fatal(err)
	}
	if n, total := d.standing(); n != 0 || total != 0 {
		t.Errorf("%d stand, %d fen", n, total)
	}
	entries := d.entries(t, "IP1")
	if len(entries) != 3 || entries[0].Outcome != settlement.Refused || entries[1].ReversedBy != entries[2].ID || entries[2].Infno != "2305" {
		t.Errorf("%v", entries)
	}
}

// An admission whose answer was lost is found by its number, or reversed.
func TestAdmissionLost(t *testing.T) {
	d := &stayDesk{desk: newDesk(t), number: "IP2"}
	d.scope, d.base, d.insured = d.identify(t, patient)
	d.order(t, "2401:drop-after")
	in := settlement.Admission{
		MdtrtInfo: settlement.StayInfo{
			PsnNo: string(d.base.PsnNo), Insutype: string(d.insured.Insutype), Begntime: settlement.FormatTime(time.Now()), MdtrtCertType: "03",
			MdtrtCertNo: patient.MdtrtCertNo, CardSN: patient.CardSN, CertType: "01", Certno: patient.Certno, MedType: "2101", IptNo: d.number, StayCare: d.care(),
		}, DiseInfo: d.diagnoses(false),
	}
	lost, err := d.client.Admit(t.Context(), d.scope, in)
	if settlement.OutcomeOf(err) != settlement.Unknown || lost.MsgID == "" || lost.MdtrtID != "" {
		t.Fatalf("%+v, %v", lost, err)
	}
	if err := d.client.ReverseAdmission(t.Context(), d.scope, string(d.base.PsnNo), lost.MsgID); err != nil {
		t.Fatal(err)
	}
	admitted, err := d.client.Admit(t.Context(), d.scope, in)
	if err != nil || admitted.MdtrtID == "" {
		t.Fatalf("%+v, %v", admitted, err)
	}
}
