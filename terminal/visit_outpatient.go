package terminal

import (
	"context"
	"fmt"
	"strconv"

	"onecard/settlement"
)

// outpatient is the course of an outpatient visit: 2201, 2203, 2204, 2206, 2207,
// and back 2208, 2205, 2202.
type outpatient struct{}

func (outpatient) check(r *record) error { return r.complete() }

func (outpatient) before(r *record, step settlement.Step) error {
	if step == settlement.StepDescribe && len(r.Diagnoses) == 0 {
		return detailed{errFieldMissing, "diagnoses"}
	}
	if step == settlement.StepCharge {
		r.Uploads++
	}
	return nil
}

// upload: lines that are not those of the batch upstream, or whose answer was
// lost, are cancelled there before they go up as another batch.
func (outpatient) upload(r *record) settlement.Step {
	switch r.At {
	case settlement.StateLines:
		return settlement.StepDescribe
	case settlement.StateDescribed:
		if !r.Told {
			return settlement.StepDescribe
		}
		return settlement.StepCharge
	case settlement.StateCharging, settlement.StateStale, settlement.StateWithdrawing:
		return settlement.StepWithdraw
	}
	return ""
}

func (outpatient) send(ctx context.Context, s *Service, one *visit, scope settlement.Scope, step settlement.Step) error {
	up, r := s.parts.Upstream, one.record()
	switch step {
	case settlement.StepRegister:
		registered, err := up.Register(ctx, scope, settlement.Registration{
			PsnNo: r.PsnNo, Insutype: r.Person.Insurance.Code, Begntime: settlement.FormatTime(r.Opened),
			MdtrtCertType: certSocialCard, MdtrtCertNo: r.CardNumber, CardSN: r.CardSN,
			PsnCertType: certID, Certno: r.Certno, PsnType: r.Person.Class.Code, PsnName: r.Name,
			IptOtpNo: r.ID, AtddrNo: r.Doctor.Code, DrName: r.Doctor.Name,
			DeptCode: r.Department.Code, DeptName: r.Department.Name, Caty: r.Specialty,
			ExpContent: r.Extras,
		})
		if err != nil {
			return err
		}
		s.visits.update(one, func(r *record) { r.MdtrtID = string(registered.MdtrtID) })
		return nil
	case settlement.StepDescribe:
		if err := up.UploadVisit(ctx, scope, diagnosed(r)); err != nil {
			return err
		}
		s.visits.update(one, func(r *record) { r.Told = true })
		return nil
	case settlement.StepCharge:
		return s.chargeOutpatient(ctx, one, r, scope)
	case settlement.StepWithdraw:
		err := up.CancelFees(ctx, scope, settlement.FeeCancel{MdtrtID: r.MdtrtID, PsnNo: r.PsnNo, ChrgBchno: settlement.AllUnsettled})
		if err != nil {
			return err
		}
		s.visits.update(one, func(r *record) { r.Batch = "" })
		return nil
	case settlement.StepCancel:
		return up.CancelRegistration(ctx, scope, settlement.RegistrationCancel{PsnNo: r.PsnNo, MdtrtID: r.MdtrtID, IptOtpNo: r.ID})
	}
	return fmt.Errorf("outpatient: step %s: %w", step, settlement.ErrStep)
}

func (s *Service) chargeOutpatient(ctx context.Context, one *visit, r record, scope settlement.Scope) error {
	batch := fmt.Sprintf("%s-%d", r.ID, r.Uploads)
	details, err := feeDetails(r, batch, r.Uploads)
	if err != nil {
		return err
	}
	results, err := s.parts.Upstream.UploadFees(ctx, scope, details)
	if err != nil {
		return err
	}
	serials := make([]string, len(details))
	for i, d := range details {
		serials[i] = d.FeedetlSN.Value
	}
	s.visits.update(one, func(r *record) {
		if err = r.splitLines(serials, results); err == nil {
			r.Batch, r.FeeLines = batch, details
		}
	})
	return err
}

func diagnosed(r record) settlement.VisitUpload {
	now := settlement.FormatTime(r.Opened)
	up := settlement.VisitUpload{MdtrtInfo: settlement.MdtrtInfo{
		MdtrtID: r.MdtrtID, PsnNo: r.PsnNo, MedType: r.MedType.Code, Begntime: now,
		DiseCodg: r.Diagnoses[0].Code, DiseName: r.Diagnoses[0].Name,
	}}
	for i, d := range r.Diagnoses {
		up.DiseInfo = append(up.DiseInfo, settlement.DiseInfo{
			DiagType: mainDisease, DiagSrtNo: i + 1, DiagCode: d.Code, DiagName: d.Name,
			DiagDept: r.Department.Name, DiseDorNo: r.Doctor.Code, DiseDorName: r.Doctor.Name,
			DiagTime: now, ValiFlag: valid,
		})
	}
	return up
}

// feeDetails builds 2204's lines. Serial numbers are unique in the visit over
// all its batches.
func feeDetails(r record, batch string, upload int) ([]settlement.FeeDetail, error) {
	details := make([]settlement.FeeDetail, len(r.Lines))
	for i, l := range r.Lines {
		price, quantity, amount, err := l.numbers()
		if err != nil {
			return nil, err
		}
		details[i] = settlement.FeeDetail{
			FeedetlSN: settlement.SerialNo{Value: strconv.Itoa(upload*1000 + i + 1)},
			MdtrtID:   r.MdtrtID, PsnNo: r.PsnNo, ChrgBchno: batch,
			RxCircFlag: notExternal, FeeOcurTime: r.occurred(l),
			MedListCodg: l.Code, MedinsListCodg: l.Code,
			DetItemFeeSumamt: amount, Cnt: quantity, Pric: price,
			BilgDeptCodg: r.Department.Code, BilgDeptName: r.Department.Name,
			BilgDrCodg: r.Doctor.Code, BilgDrName: r.Doctor.Name, HospApprFlag: noApproval,
		}
		// Some regions refuse lines without the diagnosis that they are for.
		if len(r.Diagnoses) > 0 {
			details[i].DiseCodg = r.Diagnoses[0].Code
		}
	}
	return details, nil
}

func (outpatient) trial(ctx context.Context, s *Service, one *visit, scope settlement.Scope) (settlement.Settlement, error) {
	r := one.record()
	total, err := settlement.ParseYuan(r.Total)
	if err != nil {
		return settlement.Settlement{}, err
	}
	return s.parts.Upstream.Trial(ctx, scope, settlement.TrialInput{
		PsnNo: r.PsnNo, MdtrtCertType: certSocialCard, MdtrtCertNo: r.CardNumber, CardSN: r.CardSN,
		PsnCertType: certID, Certno: r.Certno, PsnType: r.Person.Class.Code, PsnName: r.Name,
		MedType: r.MedType.Code, MedfeeSumamt: total, PsnSetlway: payByItem,
		MdtrtID: r.MdtrtID, ChrgBchno: r.Batch, AcctUsedFlag: accountUsed, Insutype: r.Person.Insurance.Code,
		ExpContent: r.Extras,
	})
}

func (outpatient) settle(ctx context.Context, _ *Service, by *settlement.Settler, r record, scope settlement.Scope) (settlement.Receipt, error) {
	return by.Settle(ctx, settlement.Settling{
		Visit: r.ID, Holder: r.Holder.Name, Scope: scope, Trial: r.Amounts, Agreed: r.Amounts,
		Input: settlement.SettleInput{
			PsnNo: r.PsnNo, MdtrtCertType: certSocialCard, MdtrtCertNo: r.CardNumber, CardSN: r.CardSN,
			PsnCertType: certID, Certno: r.Certno, MedType: r.MedType.Code, MedfeeSumamt: r.Amounts.Total,
			PsnSetlway: payByItem, MdtrtID: r.MdtrtID, ChrgBchno: r.Batch, Insutype: r.Person.Insurance.Code,
			AcctUsedFlag: accountUsed, FulamtOwnpayAmt: r.Split.FulamtOwnpayAmt, OverlmtSelfpay: r.Split.OverlmtSelfpay,
			PreselfpayAmt: r.Split.PreselfpayAmt, InscpScpAmt: r.Split.InscpScpAmt, ExpContent: r.Extras,
		},
	})
}
