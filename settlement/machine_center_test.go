package settlement_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"onecard/settlement"
)

// A walker drives visits of one kind at the simulated centre by the machine
// alone: it takes any step that the machine offers, loses answers on either
// way, and goes on from the state that was stored.
type walker struct {
	*stayDesk
	machine *settlement.Machine
	random  *rand.Rand
	visits  int
	state   settlement.State

	sn, batch int
	sold      []settlement.DrugDetail
	fees      []settlement.FeeDetail
	split     []settlement.FeeResult
	stay      []settlement.StayFeeDetail // on their way
	trial     settlement.Amounts
	entry     int64
}

func newWalker(t *testing.T, kind settlement.CareKind, seed uint64) *walker {
	t.Helper()
	m, err := settlement.MachineOf(kind)
	if err != nil {
		t.Fatal(err)
	}
	w := &walker{machine: m, random: rand.New(rand.NewPCG(seed, 1)), stayDesk: &stayDesk{desk: newDesk(t)}}
	w.scope, w.base, w.insured = w.identify(t, patient)
	w.next()
	return w
}

func (w *walker) next() {
	w.visits++
	w.number, w.state = fmt.Sprintf("W%d", w.visits), settlement.StateNew
	w.mdtrtID, w.fees, w.split, w.lines, w.stay, w.sold, w.entry = "", nil, nil, nil, nil, nil, 0
}

const aDrug = "XC08CAA086A001010190002"

// lineCount and newSN make lines nobody has.
func (w *walker) lineCount() int { return 1 + w.random.IntN(2) }

func (w *walker) newSN() string {
	w.sn++
	return fmt.Sprint(w.sn)
}

// act takes a step. What is entered here alone changes what is sent later.
func (w *walker) act(t *testing.T, step settlement.Step, from settlement.State) error {
	switch w.machine.Kind {
	case settlement.Outpatient:
		return w.actOutpatient(t, step, from)
	case settlement.Inpatient:
		return w.actInpatient(t, step)
	}
	return w.actPharmacy(t, step)
}

func (w *walker) actOutpatient(t *testing.T, step settlement.Step, from settlement.State) error {
	ctx, now, psnNo := t.Context(), settlement.FormatTime(time.Now()), string(w.base.PsnNo)
	switch step {
	case settlement.StepRegister:
		r, err := w.client.Register(ctx, w.scope, settlement.Registration{
			PsnNo: psnNo, Insutype: string(w.insured.Insutype), Begntime: now, MdtrtCertType: "03", MdtrtCertNo: patient.MdtrtCertNo, CardSN: patient.CardSN,
			PsnCertType: "01", Certno: patient.Certno, PsnType: string(w.insured.PsnType), PsnName: patient.PsnName, IptOtpNo: w.number,
			DeptCode: "D1", DeptName: "内科", Caty: "A03",
		})
		if err == nil {
			w.mdtrtID = string(r.MdtrtID)
		}
		return err
	case settlement.StepDescribe:
		return w.client.UploadVisit(ctx, w.scope, settlement.VisitUpload{
			MdtrtInfo: settlement.MdtrtInfo{MdtrtID: w.mdtrtID, PsnNo: psnNo, MedType: "11", Begntime: now, DiseCodg: "I10", DiseName: "高血压"},
			DiseInfo: []settlement.DiseInfo{{
				DiagType: "1", DiagSrtNo: 1, DiagCode: "I10.x00", DiagName: "特发性高血压", DiagDept: "内科", DiseDorNo: "D1", DiseDorName: "样例医师", DiagTime: now, ValiFlag: "1",
			}},
		})
	case settlement.StepCharge:
		if from == settlement.StateDescribed { // otherwise the same batch again
			w.batch++
			w.fees = nil
			for range w.lineCount() {
				price, quantity, amount := priced(t, "0.853333", "28")
				w.fees = append(w.fees, settlement.FeeDetail{
					FeedetlSN: settlement.SerialNo{Value: w.newSN()}, MdtrtID: w.mdtrtID, PsnNo: psnNo, ChrgBchno: fmt.Sprintf("B%d", w.batch), RxCircFlag: "0",
					FeeOcurTime: now, MedListCodg: aDrug, MedinsListCodg: "H1", DetItemFeeSumamt: amount, Cnt: quantity, Pric: price,
					BilgDeptCodg: "D1", BilgDeptName: "内科", BilgDrCodg: "D1", BilgDrName: "样例医师", HospApprFlag: "1",
				})
			}
		}
		var err error
		w.split, err = w.client.UploadFees(ctx, w.scope, w.fees)
		return err
	case settlement.StepWithdraw:
		return w.client.CancelFees(ctx, w.scope, settlement.FeeCancel{ChrgBchno: settlement.AllUnsettled, MdtrtID: w.mdtrtID, PsnNo: psnNo})
	case settlement.StepCancel:
		return w.client.CancelRegistration(ctx, w.scope, settlement.RegistrationCancel{PsnNo: psnNo, MdtrtID: w.mdtrtID, IptOtpNo: w.number})
	case settlement.StepTrial:
		split, err := settlement.SumSplit(w.split)
		if err != nil {
			return err
		}
		out, err := w.client.Trial(ctx, w.scope, settlement.TrialInput{
			PsnNo: psnNo, MdtrtCertType: "03", MdtrtCertNo: patient.MdtrtCertNo, CardSN: patient.CardSN, PsnCertType: "01", Certno: patient.Certno,
			PsnType: string(w.insured.PsnType), PsnName: patient.PsnName, MedType: "11", MedfeeSumamt: split.Total, PsnSetlway: "01", MdtrtID: w.mdtrtID,
			ChrgBchno: w.fees[0].ChrgBchno, AcctUsedFlag: "1", Insutype: string(w.insured.Insutype),
		})
		if err != nil {
			return err
		}
		w.trial, err = out.SetlInfo.Value.Amounts()
		return err
	case settlement.StepSettle:
		split, err := settlement.SumSplit(w.split)
		if err != nil {
			return err
		}
		return w.settled(w.settler.Settle(ctx, settlement.Settling{
			Visit: w.number, Holder: "张*", Scope: w.scope, Trial: w.trial, Agreed: w.trial,
			Input: settlement.SettleInput{
				PsnNo: psnNo, MdtrtCertType: "03", MdtrtCertNo: patient.MdtrtCertNo, CardSN: patient.CardSN, PsnCertType: "01", Certno: patient.Certno,
				MedType: "11", MedfeeSumamt: split.Total, PsnSetlway: "01", MdtrtID: w.mdtrtID, ChrgBchno: w.fees[0].ChrgBchno, Insutype: string(w.insured.Insutype),
				AcctUsedFlag: "1", FulamtOwnpayAmt: split.FulamtOwnpayAmt, OverlmtSelfpay: split.OverlmtSelfpay, PreselfpayAmt: split.PreselfpayAmt, InscpScpAmt: split.InscpScpAmt,
			},
		}))
	}
	return w.common(t, step)
}

func (w *walker) actInpatient(t *testing.T, step settlement.Step) error {
	ctx, psnNo := t.Context(), string(w.base.PsnNo)
	ref := settlement.StayRef{MdtrtID: w.mdtrtID, PsnNo: psnNo}
	switch step {
	case settlement.StepRegister:
		a, err := w.client.Admit(ctx, w.scope, settlement.Admission{
			MdtrtInfo: settlement.StayInfo{
				PsnNo: psnNo, Insutype: string(w.insured.Insutype), Begntime: settlement.FormatTime(time.Now().Add(-time.Hour)), MdtrtCertType: "03",
				MdtrtCertNo: patient.MdtrtCertNo, CardSN: patient.CardSN, CertType: "01", Certno: patient.Certno, MedType: "2101", IptNo: w.number, StayCare: w.care(),
			}, DiseInfo: w.diagnoses(false),
		})
		if err == nil {
			w.mdtrtID = string(a.MdtrtID)
		}
		return err
	case settlement.StepChange:
		return w.client.ChangeAdmission(ctx, w.scope, settlement.AdmissionChange{
			AdmInfo: settlement.AdmInfo{
				MdtrtID: w.mdtrtID, PsnNo: psnNo, Begntime: settlement.FormatTime(time.Now().Add(-time.Hour)), MdtrtCertType: "03", MedType: "2101",
				IptOtpNo: w.number, StayCare: w.care(),
			}, DiseInfo: w.diagnoses(true),
		})
	case settlement.StepCharge:
		w.stay = nil
		for range w.lineCount() {
			price, quantity, amount := priced(t, "188.5", "3")
			w.stay = append(w.stay, settlement.StayFeeDetail{
				FeedetlSN: settlement.SerialNo{Value: w.newSN()}, MdtrtID: w.mdtrtID, PsnNo: psnNo, MedType: "2101", FeeOcurTime: settlement.FormatTime(time.Now()),
				MedListCodg: "001204000050000-120400006", MedinsListCodg: "H1", DetItemFeeSumamt: amount, Cnt: quantity, Pric: price,
				BilgDeptCodg: "D2", BilgDeptName: "外科", BilgDrCodg: "D1", BilgDrName: "样例医师",
			})
		}
		split, err := w.client.UploadStayFees(ctx, w.scope, w.stay)
		if err == nil {
			w.lines = append(w.lines, split...)
		}
		return err
	case settlement.StepTakeBack:
		last := w.lines[len(w.lines)-1]
		err := w.client.CancelStayFees(ctx, w.scope, []settlement.StayFeeCancel{{FeedetlSN: string(last.FeedetlSN), MdtrtID: w.mdtrtID, PsnNo: psnNo}})
		if err == nil {
			w.lines = w.lines[:len(w.lines)-1]
		}
		return err
	case settlement.StepWithdraw:
		err := w.client.CancelStayFees(ctx, w.scope, []settlement.StayFeeCancel{{FeedetlSN: settlement.AllUnsettled, MdtrtID: w.mdtrtID, PsnNo: psnNo}})
		if err == nil {
			w.lines = nil
		}
		return err
	case settlement.StepDischarge:
		return w.client.Discharge(ctx, w.scope, settlement.Discharge{DscgInfo: settlement.DscgInfo{
			MdtrtID: w.mdtrtID, PsnNo: psnNo, Insutype: string(w.insured.Insutype), Endtime: settlement.FormatTime(time.Now()), DscgDeptCodg: "D2", DscgDeptName: "外科", DscgWay: "1",
		}, DiseInfo: w.diagnoses(true)})
	case settlement.StepReadmit:
		return w.client.CancelDischarge(ctx, w.scope, ref)
	case settlement.StepCancel:
		return w.client.CancelAdmission(ctx, w.scope, ref)
	case settlement.StepTrial:
		out, err := w.client.StayTrial(ctx, w.scope, w.input(t))
		if err != nil {
			return err
		}
		w.trial, err = out.SetlInfo.Value.Amounts()
		return err
	case settlement.StepSettle:
		return w.settled(w.settler.SettleStay(ctx, settlement.StaySettling{
			Visit: w.number, Holder: "张*", Scope: w.scope, Input: w.input(t), Trial: w.trial, Agreed: w.trial,
		}))
	}
	return w.common(t, step)
}

func (w *walker) actPharmacy(t *testing.T, step settlement.Step) error {
	switch step {
	case settlement.StepLines:
		w.sold = nil
		for range w.lineCount() {
			price, quantity, amount := priced(t, "0.853333", "28")
			w.sold = append(w.sold, settlement.DrugDetail{
				FeedetlSN: settlement.SerialNo{Value: w.newSN()}, RxCircFlag: "0", FeeOcurTime: settlement.FormatTime(time.Now()),
				MedListCodg: aDrug, MedinsListCodg: "H1", DetItemFeeSumamt: amount, Cnt: quantity, Pric: price,
			})
		}
		return nil
	case settlement.StepClose:
		return nil
	}
	in := settlement.SaleInput{
		DrugInfo: settlement.DrugInfo{
			PsnNo: string(w.base.PsnNo), MdtrtCertType: "03", MdtrtCertNo: patient.MdtrtCertNo, CardSN: patient.CardSN, PsnCertType: "01", Certno: patient.Certno,
			PsnType: string(w.insured.PsnType), PsnName: patient.PsnName, Begntime: settlement.FormatTime(time.Now()),
			Insutype: string(w.insured.Insutype), AcctUsedFlag: "1", MedType: "41",
		}, DrugDetail: w.sold,
	}
	for _, l := range w.sold {
		in.DrugInfo.MedfeeSumamt += l.DetItemFeeSumamt
	}
	switch step {
	case settlement.StepTrial:
		out, err := w.client.SaleTrial(t.Context(), w.scope, in)
		if err != nil {
			return err
		}
		w.trial, err = out.SetlInfo.Value.Amounts()
		return err
	case settlement.StepSettle:
		return w.settled(w.settler.Sell(t.Context(), settlement.Selling{
			Visit: w.number, Holder: "张*", Scope: w.scope, Input: in, Trial: w.trial, Agreed: w.trial,
		}))
	}
	return w.common(t, step)
}

func (w *walker) settled(r settlement.Receipt, err error) error {
	if err == nil {
		w.entry = r.EntryID
	}
	return err
}

func (w *walker) common(t *testing.T, step settlement.Step) error {
	switch step {
	case settlement.StepRefund:
		// A sale whose answer was lost has its mdtrt_id from whoever resolved it.
		_, err := w.settler.Refund(t.Context(), settlement.Refunding{Entry: w.entry, Scope: w.scope, MdtrtID: w.mdtrtID})
		return err
	case settlement.StepLines:
		return nil
	}
	t.Fatalf("no such step here: %s", step)
	return nil
}

// resolve leaves a state in doubt: by what the centre has, or by a look-up.
func (w *walker) resolve(t *testing.T, d settlement.Doubt) {
	t.Helper()
	var done bool
	switch d.Recovery {
	case settlement.ByJournal:
		e, open, err := w.journal.Unresolved(t.Context(), w.number)
		if err != nil || !open {
			t.Fatalf("%s: nothing unresolved: %v", w.state, err)
		}
		c := settlement.Conclusion{Outcome: settlement.Refused}
		for _, s := range w.center.Settlements() {
			if s.MsgID == e.MsgID {
				done = true
				c = settlement.Conclusion{Outcome: settlement.Done, SetlID: s.SetlID, Booked: &settlement.Amounts{
					Total: settlement.Fen(s.Total), Fund: settlement.Fen(s.Fund), Account: settlement.Fen(s.Account), Cash: settlement.Fen(s.Cash),
				}}
				w.mdtrtID = s.MdtrtID
			}
		}
		if err := w.journal.Conclude(t.Context(), e.ID, c); err != nil {
			t.Fatal(err)
		}
		if done && e.Undoes == 0 {
			w.entry = e.ID
		}
	case settlement.AskFirst:
		visits, err := w.client.QueryVisits(t.Context(), w.scope, settlement.MdtrtQuery{
			PsnNo: string(w.base.PsnNo), MdtrtID: w.mdtrtID, MedType: map[settlement.CareKind]string{settlement.Outpatient: "11", settlement.Inpatient: "2101"}[w.machine.Kind],
			Begntime: settlement.FormatTime(time.Now().Add(-2 * time.Hour)), Endtime: settlement.FormatTime(time.Now().Add(time.Hour)),
		})
		if err != nil {
			t.Fatal(err)
		}
		switch d.Step {
		case settlement.StepCancel:
			done = len(visits) == 0
		case settlement.StepDischarge:
			done = len(visits) == 1 && visits[0].InhospStas == "0"
		case settlement.StepReadmit:
			done = len(visits) == 1 && visits[0].InhospStas == "1"
		}
	}
	w.state = w.machine.Resolved(w.state, done)
}

// walk takes one step, with a misfortune ordered at the centre now and then.
func (w *walker) walk(t *testing.T, infnos map[string]int) {
	t.Helper()
	if d, ok := w.machine.Doubt(w.state); ok && (d.Recovery == settlement.ByJournal || d.Recovery == settlement.AskFirst) {
		w.resolve(t, d)
		return
	}
	steps := slices.DeleteFunc(w.machine.Steps(w.state), func(s settlement.Step) bool { return s == settlement.StepTakeBack && len(w.lines) < 2 })
	if len(steps) == 0 {
		w.next()
		return
	}
	// Forward more often than not, or nothing is ever settled.
	forward := slices.DeleteFunc(slices.Clone(steps), func(s settlement.Step) bool {
		r, err := w.machine.Begin(w.state, s)
		return err != nil || r.Undoes != "" || r.Done == r.From || r.Done == settlement.StateClosed || s == settlement.StepLines && w.state != settlement.StateRegistered && w.state != settlement.StateNew
	})
	if len(forward) > 0 && w.random.IntN(4) != 0 {
		steps = forward
	}
	step := steps[w.random.IntN(len(steps))]
	r, err := w.machine.Begin(w.state, step)
	if err != nil {
		t.Fatal(err)
	}
	misfortune := ""
	if r.Infno != "" && w.random.IntN(4) == 0 {
		misfortune = []string{"drop-before", "drop-after", "refuse=x", "html-after", "http-before=503"}[w.random.IntN(5)]
		w.order(t, r.Infno+":"+misfortune)
	}
	from := w.state
	w.state = r.During
	err = w.act(t, step, from)
	w.center.ClearFaults()
	var invalid *settlement.ValidationError
	if errors.As(err, &invalid) {
		t.Fatalf("%s from %s: %v", step, from, err)
	}
	if err != nil && misfortune == "" && !(from == settlement.StateCharging && step == settlement.StepCharge) {
		t.Fatalf("visit %s, %s (%s) from %s: %v", w.number, step, r.Infno, from, err)
	}
	if r.Infno == "" {
		w.state = r.Done
	} else {
		w.state = r.After(settlement.OutcomeOf(err))
		infnos[r.Infno]++
	}
	standing := map[string]int{}
	for _, s := range w.center.Settlements() {
		if s.Refunds == "" {
			standing[s.MdtrtID]++
		} else {
			standing[s.MdtrtID]--
		}
	}
	for id, n := range standing {
		if n < 0 || n > 1 {
			t.Fatalf("%d settlements of visit %s stand", n, id)
		}
	}
}

// Visits, stays and sales driven by the machine at the simulated centre, which
// shares no code with it: nothing that the machine offers is out of order
// there, whatever was lost before, and journal and ledger agree in the end.
func TestMachineAtTheSimulatedCentre(t *testing.T) {
	for kind, steps := range map[settlement.CareKind]int{settlement.Outpatient: 150, settlement.Inpatient: 150, settlement.Pharmacy: 80} {
		t.Run(string(kind), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			w := newWalker(t, kind, seed)
			infnos := map[string]int{}
			for range steps {
				w.walk(t, infnos)
			}
			for range 3 { // out of every doubt
				if d, ok := w.machine.Doubt(w.state); ok && d.Recovery == settlement.ByJournal {
					w.resolve(t, d)
				}
			}
			var there settlement.Amounts
			for _, s := range w.center.Settlements() {
				there.Total += settlement.Fen(s.Total)
				there.Fund += settlement.Fen(s.Fund)
				there.Account += settlement.Fen(s.Account)
				there.Cash += settlement.Fen(s.Cash)
			}
			here, err := w.journal.List(t.Context(), settlement.Filter{Outcome: settlement.Done, Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			var sum settlement.Amounts
			for _, e := range here {
				sum.Total += e.Total
				sum.Fund += e.Fund
				sum.Account += e.Account
				sum.Cash += e.Cash
			}
			if sum != there {
				t.Errorf("here %+v, there %+v", sum, there)
			}
			t.Logf("%d visits, %v", w.visits, infnos)
		})
	}
}
