package terminal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"onecard/settlement"
)

// Values of the national dictionaries of a stay.
const (
	typeStay       = "2101" // med_type: an ordinary stay
	wayOrdered     = "1"    // dscg_way: discharged by the doctor
	mainDiagnosis  = "1"    // maindiag_flag
	otherDiagnosis = "0"
	final          = "0" // mid_setl_flag: the stay has ended
)

// Bounds of one call of 2301: lines, and bytes of them, since the input of a
// transaction has at most 40000 characters.
const (
	stayLines = 100
	staySize  = 36000
)

// A DischargeRequest ends a stay. What is empty is now, by the doctor's order,
// the stay's own department, bed and diagnoses.
type DischargeRequest struct {
	Time       string  `json:"time,omitempty"` // yyyy-MM-dd or yyyy-MM-dd HH:mm:ss
	Way        string  `json:"way,omitempty"`  // dscg_way
	Department Named   `json:"department,omitzero"`
	Diagnoses  []Named `json:"diagnoses,omitempty"`
}

// stayRecord is what is kept of a stay besides what every visit has.
type stayRecord struct {
	Serial  int                        // number of the last line that was sent
	Sent    []settlement.StayFeeDetail // what the centre has, in the order of the lines
	Results []settlement.FeeResult     // and how it split them
	Sending []settlement.StayFeeDetail // 2301 that is on its way, or was lost
	Ending  DischargeRequest           // 2402 that is on its way
	EndsAt  time.Time
}

// stay is the course of a stay in hospital: 2401, 2301 and 2303 as often as
// wanted, 2402, 2304, and back 2305, 2405, 2302, 2404.
type stay struct{}

func (stay) check(r *record) error {
	if err := r.complete(); err != nil {
		return err
	}
	switch {
	case r.Bed == "":
		return detailed{errFieldMissing, "bed"}
	case len(r.Diagnoses) == 0:
		return detailed{errFieldMissing, "diagnoses"}
	}
	return nil
}

// before draws the numbers of lines: they are never used again, whatever becomes
// of the lines.
func (stay) before(r *record, step settlement.Step) error {
	if step != settlement.StepCharge {
		return nil
	}
	at, size := len(r.Stay.Sent), 0
	r.Stay.Sending = nil
	for _, l := range r.Lines[at:min(len(r.Lines), at+stayLines)] {
		d, err := r.stayLine(l)
		if err != nil {
			return err
		}
		d.FeedetlSN = settlement.SerialNo{Value: strconv.Itoa(r.Stay.Serial + 1)}
		text, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("fee line: %w", err)
		}
		if size += len(text) + 1; size > staySize && len(r.Stay.Sending) > 0 {
			break
		}
		r.Stay.Serial++
		r.Stay.Sending = append(r.Stay.Sending, d)
	}
	return nil
}

// upload: what was added goes up; where anything else changed, or an answer was
// lost, all lines are taken back first.
func (stay) upload(r *record) settlement.Step {
	switch r.At {
	case settlement.StateCharging, settlement.StateWithdrawing:
		return settlement.StepWithdraw
	case settlement.StateRegistered, settlement.StateCharged:
		switch {
		case !r.Told:
			return settlement.StepChange
		case !r.stands():
			return settlement.StepWithdraw
		case len(r.Stay.Sent) < len(r.Lines):
			return settlement.StepCharge
		}
	}
	return ""
}

// stands reports whether the lines that the centre has are the first of those
// entered.
func (r *record) stands() bool {
	if len(r.Stay.Sent) > len(r.Lines) {
		return false
	}
	for i, sent := range r.Stay.Sent {
		d, err := r.stayLine(r.Lines[i])
		d.FeedetlSN = sent.FeedetlSN
		if err != nil || d != sent {
			return false
		}
	}
	return true
}

// stayLine is a line of 2301 without its number.
func (r *record) stayLine(l Line) (settlement.StayFeeDetail, error) {
	price, quantity, amount, err := l.numbers()
	return settlement.StayFeeDetail{
		MdtrtID: r.MdtrtID, PsnNo: r.PsnNo, MedType: r.MedType.Code, FeeOcurTime: r.occurred(l),
		MedListCodg: l.Code, MedinsListCodg: l.Code, DetItemFeeSumamt: amount, Cnt: quantity, Pric: price,
		BilgDeptCodg: r.Department.Code, BilgDeptName: r.Department.Name,
		BilgDrCodg: r.Doctor.Code, BilgDrName: r.Doctor.Name, HospApprFlag: noApproval,
	}, err
}

func (c stay) send(ctx context.Context, s *Service, one *visit, scope settlement.Scope, step settlement.Step) error {
	up, r := s.parts.Upstream, one.record()
	ref := settlement.StayRef{MdtrtID: r.MdtrtID, PsnNo: r.PsnNo}
	switch step {
	case settlement.StepRegister:
		admitted, err := up.Admit(ctx, scope, c.admission(s, r))
		if err == nil {
			s.visits.update(one, func(r *record) { r.MdtrtID, r.Told = string(admitted.MdtrtID), true })
		}
		return err
	case settlement.StepChange:
		err := up.ChangeAdmission(ctx, scope, settlement.AdmissionChange{
			AdmInfo: settlement.AdmInfo{
				MdtrtID: r.MdtrtID, PsnNo: r.PsnNo, Begntime: settlement.FormatTime(r.began()), MdtrtCertType: certSocialCard,
				MedType: r.MedType.Code, IptOtpNo: r.ID, StayCare: r.care(), ExpContent: r.Extras,
			},
			DiseInfo: r.stayDiagnoses(r.Diagnoses, r.Department, r.MdtrtID, r.began()),
		})
		if err == nil {
			s.visits.update(one, func(r *record) { r.Told = true })
		}
		return err
	case settlement.StepCharge:
		results, err := up.UploadStayFees(ctx, scope, r.Stay.Sending)
		if err == nil {
			s.visits.update(one, func(r *record) {
				r.Stay.Sent = append(slices.Clone(r.Stay.Sent), r.Stay.Sending...)
				r.Stay.Results = append(slices.Clone(r.Stay.Results), results...)
				r.Stay.Sending = nil
				if len(r.Stay.Sent) == len(r.Lines) {
					err = r.splitStay()
				}
			})
		}
		return err
	case settlement.StepWithdraw:
		err := up.CancelStayFees(ctx, scope, []settlement.StayFeeCancel{{FeedetlSN: settlement.AllUnsettled, MdtrtID: r.MdtrtID, PsnNo: r.PsnNo}})
		if err == nil {
			s.visits.update(one, func(r *record) {
				r.Stay.Sent, r.Stay.Results, r.Stay.Sending = nil, nil, nil
				r.Batch, r.Results, r.Trial = "", nil, nil
			})
		}
		return err
	case settlement.StepDischarge:
		return s.end(ctx, one, r, scope)
	case settlement.StepReadmit:
		err := up.CancelDischarge(ctx, scope, ref)
		if err == nil {
			s.visits.update(one, func(r *record) { r.Discharged = nil })
		}
		return err
	case settlement.StepCancel:
		return up.CancelAdmission(ctx, scope, ref)
	}
	return fmt.Errorf("stay: step %s: %w", step, settlement.ErrStep)
}

// splitStay shows the centre's split of every line.
func (r *record) splitStay() error {
	serials := make([]string, len(r.Stay.Sent))
	for i, d := range r.Stay.Sent {
		serials[i] = d.FeedetlSN.Value
	}
	if err := r.splitLines(serials, r.Stay.Results); err != nil {
		return err
	}
	r.Batch = r.ID // a stay's lines have no batch: they are there
	return nil
}

// admission is 2401.
func (stay) admission(s *Service, r record) settlement.Admission {
	return settlement.Admission{
		MdtrtInfo: settlement.StayInfo{
			PsnNo: r.PsnNo, Insutype: r.Person.Insurance.Code, Begntime: settlement.FormatTime(r.began()),
			MdtrtCertType: certSocialCard, MdtrtCertNo: r.CardNumber, CardSN: r.CardSN, CertType: certID, Certno: r.Certno,
			MedType: r.MedType.Code, IptNo: r.ID, StayCare: r.care(), ExpContent: r.Extras,
			InsuplcAdmdvs: r.Person.Area, MdtrtareaAdmvs: s.cfg.Institution.Area,
		},
		DiseInfo: r.stayDiagnoses(r.Diagnoses, r.Department, "", r.began()),
	}
}

func (r *record) care() settlement.StayCare {
	main := r.Diagnoses[0]
	return settlement.StayCare{
		AtddrNo: r.Doctor.Code, ChfpdrName: r.Doctor.Name, AdmDiagDscr: main.Name,
		AdmDeptCodg: r.Department.Code, AdmDeptName: r.Department.Name, AdmBed: r.Bed,
		DscgMaindiagCode: main.Code, DscgMaindiagName: main.Name, DiseCodg: main.Code, DiseName: main.Name,
	}
}

func (r *record) stayDiagnoses(diagnoses []Named, department Named, mdtrtID string, at time.Time) []settlement.StayDiseInfo {
	var list []settlement.StayDiseInfo
	for i, d := range diagnoses {
		flag := otherDiagnosis
		if i == 0 {
			flag = mainDiagnosis
		}
		list = append(list, settlement.StayDiseInfo{
			MdtrtID: mdtrtID, PsnNo: r.PsnNo, DiagType: mainDisease, MaindiagFlag: flag, DiagSrtNo: i + 1,
			DiagCode: d.Code, DiagName: d.Name, DiagDept: department.Name,
			DiseDorNo: r.Doctor.Code, DiseDorName: r.Doctor.Name, DiagTime: settlement.FormatTime(at),
		})
	}
	return list
}

// input is that of 2303 and 2304.
func (stay) input(s *Service, r record) (settlement.StaySettleInput, error) {
	total, err := settlement.ParseYuan(r.Total)
	in := settlement.StaySettleInput{
		PsnNo: r.PsnNo, MdtrtCertType: certSocialCard, MdtrtCertNo: r.CardNumber, CardSN: r.CardSN,
		PsnCertType: certID, Certno: r.Certno, PsnType: r.Person.Class.Code, PsnName: r.Name,
		MedfeeSumamt: total, PsnSetlway: payByItem, MdtrtID: r.MdtrtID, Insutype: r.Person.Insurance.Code,
		AcctUsedFlag: accountUsed, InsuplcAdmdvs: r.Person.Area, MdtrtareaAdmvs: s.cfg.Institution.Area, MidSetlFlag: final,
		FulamtOwnpayAmt: settlement.SomeFen(r.Split.FulamtOwnpayAmt), OverlmtSelfpay: settlement.SomeFen(r.Split.OverlmtSelfpay),
		PreselfpayAmt: settlement.SomeFen(r.Split.PreselfpayAmt), InscpScpAmt: settlement.SomeFen(r.Split.InscpScpAmt),
		ExpContent: r.Extras,
	}
	if r.Discharged != nil {
		in.DscgTime = settlement.FormatDate(*r.Discharged)
	}
	return in, err
}

func (c stay) trial(ctx context.Context, s *Service, one *visit, scope settlement.Scope) (settlement.Settlement, error) {
	var err error
	s.visits.update(one, func(r *record) {
		if r.Batch == "" && len(r.Stay.Sent) == len(r.Lines) { // the same lines, entered again
			err = r.splitStay()
		}
	})
	if err != nil {
		return settlement.Settlement{}, err
	}
	in, err := c.input(s, one.record())
	if err != nil {
		return settlement.Settlement{}, err
	}
	return s.parts.Upstream.StayTrial(ctx, scope, in)
}

func (c stay) settle(ctx context.Context, s *Service, by *settlement.Settler, r record, scope settlement.Scope) (settlement.Receipt, error) {
	in, err := c.input(s, r)
	if err != nil {
		return settlement.Receipt{}, err
	}
	return by.SettleStay(ctx, settlement.StaySettling{
		Visit: r.ID, Holder: r.Holder.Name, Scope: scope, Input: in, Trial: r.Amounts, Agreed: r.Amounts,
	})
}

// Discharge ends a stay (2402) after its lines are with the centre as they
// stand. Only then it can be settled.
func (s *Service) Discharge(ctx context.Context, id string, req DischargeRequest) (Visit, error) {
	if err := s.maySettle(); err != nil {
		return Visit{}, err
	}
	one, err := s.visits.find(ctx, id)
	if err != nil {
		return Visit{}, err
	}
	end, err := one.begin(StepDischarge)
	if err != nil {
		return Visit{}, err
	}
	defer end()
	r := one.record()
	now := s.parts.Now()
	at, err := timeOf("time", req.Time, r.began(), now)
	if err != nil {
		return Visit{}, err
	}
	if err := checkDiagnoses(req.Diagnoses); err != nil {
		return Visit{}, err
	}
	scope, err := s.scope(ctx, r)
	if err != nil {
		return Visit{}, s.visits.stumbled(one, err)
	}
	if err := s.upload(ctx, one, scope); err != nil {
		return Visit{}, s.visits.stumbled(one, err)
	}
	if one.record().Discharged == nil { // an answer that was lost may have been one to this
		s.visits.update(one, func(r *record) { r.Stay.Ending, r.Stay.EndsAt = req, at })
		if err := s.take(ctx, one, scope, settlement.StepDischarge); err != nil {
			return Visit{}, s.visits.stumbled(one, err)
		}
	}
	return s.visits.stored(ctx, one)
}

func (s *Service) end(ctx context.Context, one *visit, r record, scope settlement.Scope) error {
	req := r.Stay.Ending
	way, department, diagnoses := req.Way, req.Department, req.Diagnoses
	if way == "" {
		way = wayOrdered
	}
	if department.Code == "" {
		department = r.Department
	}
	if len(diagnoses) == 0 {
		diagnoses = r.Diagnoses
	}
	err := s.parts.Upstream.Discharge(ctx, scope, settlement.Discharge{
		DscgInfo: settlement.DscgInfo{
			MdtrtID: r.MdtrtID, PsnNo: r.PsnNo, Insutype: r.Person.Insurance.Code, Endtime: settlement.FormatTime(r.Stay.EndsAt),
			DiseCodg: diagnoses[0].Code, DiseName: diagnoses[0].Name,
			DscgDeptCodg: department.Code, DscgDeptName: department.Name, DscgBed: r.Bed, DscgWay: way,
		},
		DiseInfo: r.stayDiagnoses(diagnoses, department, r.MdtrtID, r.Stay.EndsAt),
	})
	if err == nil {
		s.visits.update(one, func(r *record) { at := r.Stay.EndsAt; r.Discharged = &at })
	}
	return err
}

// Readmit takes a discharge back (2405): the stay goes on.
func (s *Service) Readmit(ctx context.Context, id string) (Visit, error) {
	if err := s.maySettle(); err != nil {
		return Visit{}, err
	}
	one, err := s.visits.find(ctx, id)
	if err != nil {
		return Visit{}, err
	}
	end, err := one.begin(StepReadmit)
	if err != nil {
		return Visit{}, err
	}
	defer end()
	scope, err := s.scope(ctx, one.record())
	if err != nil {
		return Visit{}, s.visits.stumbled(one, err)
	}
	err = s.clear(ctx, one, scope)
	if err == nil && one.record().Discharged != nil {
		err = s.take(ctx, one, scope, settlement.StepReadmit)
	}
	if err != nil {
		return Visit{}, s.visits.stumbled(one, err)
	}
	return s.visits.stored(ctx, one)
}

// timeOf reads a time of the past that a caller may leave out.
func timeOf(name, text string, first, now time.Time) (time.Time, error) {
	if text == "" {
		return now, nil
	}
	at, err := time.ParseInLocation(settlement.TimeLayout, text, ChinaTime)
	if err != nil {
		if at, err = time.ParseInLocation(settlement.DateLayout, text, ChinaTime); err == nil && at.Before(first) && settlement.FormatDate(first) == text {
			at = first // on the day itself
		}
	}
	if err != nil || at.Before(first) || at.After(now) {
		return at, detailed{ErrDay, name + " is yyyy-MM-dd or yyyy-MM-dd HH:mm:ss, and not to come"}
	}
	return at, nil
}
