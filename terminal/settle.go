package terminal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"onecard/fault"
	"onecard/settlement"
)

// Bounds of a visit.
const (
	maxLines     = 500
	maxDiagnoses = 20
)

// Values of the national dictionaries that an outpatient visit carries.
const (
	payByItem   = "01" // psn_setlway: settled by item
	accountUsed = "1"  // acct_used_flag: the personal account may pay
	notExternal = "0"  // rx_circ_flag: no prescription for elsewhere
	noApproval  = "1"  // hosp_appr_flag: approved by the hospital
	valid       = "1"  // vali_flag
	mainDisease = "1"  // diag_type: western main diagnosis
)

var errFieldMissing = fault.New(fault.FieldMissing, "required field missing")

// SetLines replaces the fee lines of a visit (none takes the last away), and its
// diagnoses where some are given. It computes every amount and sends nothing.
func (s *Service) SetLines(ctx context.Context, id string, req LinesRequest) (Visit, error) {
	if err := s.may(RightSettle); err != nil {
		return Visit{}, err
	}
	one, err := s.visits.find(ctx, id)
	if err != nil {
		return Visit{}, err
	}
	lines, total, err := computeLines(req.Lines)
	if err != nil {
		return Visit{}, err
	}
	end, err := one.begin(VisitRegistered, VisitLines, VisitTried)
	if err != nil {
		return Visit{}, err
	}
	defer end()
	check := one.record()
	if req.Diagnoses != nil {
		check.Diagnoses = req.Diagnoses
		if err := check.complete(); err != nil {
			return Visit{}, err
		}
	}
	s.visits.update(one, func(r *record) {
		if !slices.Equal(r.Diagnoses, check.Diagnoses) {
			r.Diagnoses, r.Told = check.Diagnoses, false
		}
		r.Lines, r.Total, r.State = lines, total.Yuan(), VisitLines
		if len(lines) == 0 {
			r.State = VisitRegistered
		}
		r.Trial, r.Fault, r.Results, r.FeeLines, r.Batch = nil, nil, nil, nil, ""
	})
	if err := s.visits.store(ctx, one); err != nil {
		return Visit{}, err
	}
	return one.view(), nil
}

// computeLines checks the lines and computes their amounts.
func computeLines(in []Line) ([]Line, settlement.Fen, error) {
	if len(in) > maxLines {
		return nil, 0, detailed{ErrFeeLine, fmt.Sprintf("at most %d lines", maxLines)}
	}
	out := make([]Line, len(in))
	var total settlement.Fen
	for i, l := range in {
		wrong := func(what string) error { return detailed{ErrFeeLine, fmt.Sprintf("line %d: %s", i+1, what)} }
		switch {
		case l.Code == "":
			return nil, 0, wrong("code missing")
		case l.Name == "":
			return nil, 0, wrong("name missing")
		}
		price, err := settlement.ParsePrice(l.Price)
		if err != nil || price < 0 {
			return nil, 0, wrong("price is not an amount")
		}
		quantity, err := settlement.ParseQuantity(l.Quantity)
		if err != nil || quantity <= 0 {
			return nil, 0, wrong("quantity is not a positive number")
		}
		amount, err := settlement.LineAmount(price, quantity)
		if err != nil {
			return nil, 0, wrong("amount out of range")
		}
		if l.Amount != "" {
			if said, err := settlement.ParseYuan(l.Amount); err != nil || said != amount {
				return nil, 0, wrong("amount is not price x quantity")
			}
		}
		if total += amount; total > settlement.MaxFen {
			return nil, 0, wrong("total out of range")
		}
		out[i] = Line{Code: l.Code, Name: l.Name, Quantity: quantity.String(), Price: price.String(), Amount: amount.Yuan()}
	}
	return out, total, nil
}

// Trial uploads diagnoses (2203) and lines (2204) where that was not done yet
// and asks for the split (2206). It books nothing and can be repeated.
func (s *Service) Trial(ctx context.Context, id string) (Visit, error) {
	if err := s.maySettle(); err != nil {
		return Visit{}, err
	}
	one, err := s.visits.find(ctx, id)
	if err != nil {
		return Visit{}, err
	}
	end, err := one.begin(VisitLines, VisitTried)
	if err != nil {
		return Visit{}, err
	}
	defer end()
	r := one.record()
	scope, err := s.scope(ctx, r)
	if err != nil {
		return Visit{}, s.visits.stumbled(one, err)
	}
	if err := s.upload(ctx, one, scope); err != nil {
		return Visit{}, s.visits.stumbled(one, err)
	}
	r = one.record()
	total, err := settlement.ParseYuan(r.Total)
	if err != nil {
		return Visit{}, err
	}
	out, err := s.parts.Upstream.Trial(ctx, scope, settlement.TrialInput{
		PsnNo: r.PsnNo, MdtrtCertType: certSocialCard, MdtrtCertNo: r.CardNumber, CardSN: r.CardSN,
		PsnCertType: certID, Certno: r.Certno, PsnType: r.Person.Class.Code, PsnName: r.Name,
		MedType: r.MedType.Code, MedfeeSumamt: total, PsnSetlway: payByItem,
		MdtrtID: r.MdtrtID, ChrgBchno: r.Batch, AcctUsedFlag: accountUsed, Insutype: r.Person.Insurance.Code,
	})
	if err != nil {
		return Visit{}, s.visits.stumbled(one, err)
	}
	info := out.SetlInfo.Value
	amounts, err := info.Amounts()
	if err != nil {
		return Visit{}, s.visits.stumbled(one, err)
	}
	s.visits.update(one, func(r *record) {
		r.State, r.Fault, r.Amounts = VisitTried, nil, amounts
		split := splitDocument(amounts, info)
		r.Trial = &split
	})
	if err := s.visits.store(ctx, one); err != nil {
		return Visit{}, err
	}
	return one.view(), nil
}

// upload sends diagnoses and lines. A batch whose answer was lost may stand
// upstream: it is cancelled there before the lines go up again as another.
func (s *Service) upload(ctx context.Context, one *visit, scope settlement.Scope) error {
	r := one.record()
	if len(r.Diagnoses) == 0 {
		return detailed{errFieldMissing, "diagnoses"}
	}
	if !r.Told {
		if err := s.parts.Upstream.UploadVisit(ctx, scope, s.diagnoses(r)); err != nil {
			return err
		}
		s.visits.update(one, func(r *record) { r.Told = true })
	}
	if r.Batch != "" {
		return nil
	}
	if r.Uploads > 0 {
		if err := s.parts.Upstream.CancelFees(ctx, scope, settlement.FeeCancel{
			MdtrtID: r.MdtrtID, PsnNo: r.PsnNo, ChrgBchno: settlement.AllUnsettled,
		}); err != nil {
			return err
		}
	}
	uploads := r.Uploads + 1
	batch := fmt.Sprintf("%s-%d", r.ID, uploads)
	details, err := s.feeDetails(r, batch, uploads)
	if err != nil {
		return err
	}
	// Counted and stored before the lines leave, so that a crash in between is
	// met by cancelling them.
	s.visits.update(one, func(r *record) { r.Uploads = uploads })
	if err := s.visits.store(ctx, one); err != nil {
		return err
	}
	results, err := s.parts.Upstream.UploadFees(ctx, scope, details)
	if err != nil {
		return err
	}
	split, err := settlement.SumSplit(results)
	if err != nil {
		return err
	}
	s.visits.update(one, func(r *record) {
		r.Batch, r.Results, r.Split, r.FeeLines = batch, results, split, details
		r.Lines = slices.Clone(r.Lines)
		for i := range r.Lines {
			r.Lines[i].SN = details[i].FeedetlSN.Value
			r.Lines[i].Split = &LineSplit{
				FullSelfPay: results[i].FulamtOwnpayAmt.Fen.Yuan(), OverLimit: results[i].OverlmtAmt.Fen.Yuan(),
				PreSelfPay: results[i].PreselfpayAmt.Fen.Yuan(), InScope: results[i].InscpScpAmt.Fen.Yuan(),
			}
		}
	})
	return nil
}

func (s *Service) diagnoses(r record) settlement.VisitUpload {
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
func (s *Service) feeDetails(r record, batch string, upload int) ([]settlement.FeeDetail, error) {
	details := make([]settlement.FeeDetail, len(r.Lines))
	for i, l := range r.Lines {
		price, err := settlement.ParsePrice(l.Price)
		if err != nil {
			return nil, err
		}
		quantity, err := settlement.ParseQuantity(l.Quantity)
		if err != nil {
			return nil, err
		}
		amount, err := settlement.LineAmount(price, quantity)
		if err != nil {
			return nil, err
		}
		details[i] = settlement.FeeDetail{
			FeedetlSN: settlement.SerialNo{Value: strconv.Itoa(upload*1000 + i + 1)},
			MdtrtID:   r.MdtrtID, PsnNo: r.PsnNo, ChrgBchno: batch,
			RxCircFlag: notExternal, FeeOcurTime: settlement.FormatTime(r.Opened),
			MedListCodg: l.Code, MedinsListCodg: l.Code,
			DetItemFeeSumamt: amount, Cnt: quantity, Pric: price,
			BilgDeptCodg: r.Department.Code, BilgDeptName: r.Department.Name,
			BilgDrCodg: r.Doctor.Code, BilgDrName: r.Doctor.Name, HospApprFlag: noApproval,
		}
	}
	return details, nil
}

// cancelUpstream takes back what a visit that is given up has left at the
// centre: its lines (2205) and its registration (2202).
func (s *Service) cancelUpstream(ctx context.Context, one *visit) error {
	if err := s.canSettle(); err != nil {
		return err
	}
	r := one.record()
	scope, err := s.scope(ctx, r)
	if err != nil {
		return err
	}
	if r.Uploads > 0 {
		if err := s.parts.Upstream.CancelFees(ctx, scope, settlement.FeeCancel{
			MdtrtID: r.MdtrtID, PsnNo: r.PsnNo, ChrgBchno: settlement.AllUnsettled,
		}); err != nil {
			return err
		}
	}
	return s.parts.Upstream.CancelRegistration(ctx, scope, settlement.RegistrationCancel{
		PsnNo: r.PsnNo, MdtrtID: r.MdtrtID, IptOtpNo: r.ID,
	})
}

// Settle settles a visit for what the payer agreed to. Once the intention is in
// the journal nothing stops it; a repeated call on a settled visit returns the
// same receipt and sends nothing.
func (s *Service) Settle(ctx context.Context, id string, req SettleRequest) (Visit, error) {
	if err := s.maySettle(); err != nil {
		return Visit{}, err
	}
	one, err := s.visits.find(ctx, id)
	if err != nil {
		return Visit{}, err
	}
	if view := one.view(); view.State == VisitSettled {
		cash := view.Receipt.Cash
		if view.Trial != nil {
			cash = view.Trial.Cash // what was agreed to, where the centre booked another split
		}
		return view, agreed(req.Agreed, view.Receipt.Total, cash)
	}
	end, err := one.begin(VisitTried)
	if err != nil {
		return Visit{}, err
	}
	defer end()
	r := one.record()
	if r.Trial == nil || r.Batch == "" {
		return Visit{}, detailed{ErrVisitState, "no trial of these lines"}
	}
	if err := agreed(req.Agreed, r.Trial.Total, r.Trial.Cash); err != nil {
		return Visit{}, err
	}
	_, holder, err := s.holderOf(ctx, r.Reader)
	if err != nil {
		return Visit{}, err
	}
	if holder.Issuer.IdentificationCode != r.CardSN {
		return Visit{}, ErrVisitCard
	}
	scope, err := s.scope(ctx, r)
	if err != nil {
		return Visit{}, s.visits.stumbled(one, err)
	}
	s.visits.update(one, func(r *record) { r.State, r.Fault = VisitSettling, nil })
	day := s.settling()
	settler := settlement.NewSettler(s.parts.Upstream, s.parts.Journal)
	receipt, err := settler.Settle(ctx, settlement.Settling{
		Visit: r.ID, Holder: r.Holder.Name, Scope: scope, Trial: r.Amounts, Agreed: r.Amounts,
		Input: settlement.SettleInput{
			PsnNo: r.PsnNo, MdtrtCertType: certSocialCard, MdtrtCertNo: r.CardNumber, CardSN: r.CardSN,
			PsnCertType: certID, Certno: r.Certno, MedType: r.MedType.Code, MedfeeSumamt: r.Amounts.Total,
			PsnSetlway: payByItem, MdtrtID: r.MdtrtID, ChrgBchno: r.Batch, Insutype: r.Person.Insurance.Code,
			AcctUsedFlag: accountUsed, FulamtOwnpayAmt: r.Split.FulamtOwnpayAmt, OverlmtSelfpay: r.Split.OverlmtSelfpay,
			PreselfpayAmt: r.Split.PreselfpayAmt, InscpScpAmt: r.Split.InscpScpAmt,
		},
	})
	counted := s.settled(day, err == nil)
	if err != nil {
		return Visit{}, s.unsettled(ctx, one, err)
	}
	s.upstreamWell()
	s.parts.Log.WithFields(map[string]any{"visit": r.ID, "entry": receipt.EntryID, "outcome": settlement.Done}).Info("settlement")
	s.visits.update(one, func(r *record) {
		r.State, r.Journal = VisitSettled, receipt.EntryID
		r.Receipt = s.receipt(r, receipt.MsgID, receipt.SetlID, receipt.SetlTime, receipt.Amounts, receipt.Detail.SetlInfo.Value)
		r.Receipt.Differs, r.Receipt.Warning = receipt.Differs, receipt.Warning
	})
	// The journal has it, and a visit that is not stored is made whole from there
	// at the next start: the payer does not wait for the disk once more.
	s.afterwards(func() {
		ctx := context.WithoutCancel(ctx)
		if err := s.visits.store(ctx, one); err != nil {
			s.parts.Log.WithError(err).Error("the settled visit could not be stored; the journal has its settlement")
		}
	})
	if !counted {
		s.countDay(ctx)
	}
	return one.view(), nil
}

// unsettled publishes what is known of a settlement that did not end well, and
// returns the error as a clerk has to see it.
func (s *Service) unsettled(ctx context.Context, one *visit, err error) error {
	s.upstreamFailed(err)
	if errors.Is(err, settlement.ErrJournalUnavailable) {
		s.health.set(HealthJournal, err)
	}
	id := one.record().ID
	entry, open, jerr := s.parts.Journal.Unresolved(ctx, id)
	state := VisitTried
	log := s.parts.Log.WithFields(map[string]any{"visit": id, "entry": entry.ID, "code": fault.Of(err).Code})
	if settlement.OutcomeOf(err) == settlement.Unknown || open || jerr != nil {
		state = VisitUnknown
		err = &inDoubt{err, entry.ID}
		log.WithField("outcome", settlement.Unknown).Warning("settlement")
	} else {
		log.WithField("outcome", settlement.Refused).Info("settlement")
	}
	s.visits.update(one, func(r *record) {
		r.State, r.Fault = state, Explain(err)
		if open {
			r.Journal = entry.ID
		}
	})
	if serr := s.visits.store(ctx, one); serr != nil {
		s.parts.Log.WithError(serr).Error("the visit could not be stored; the journal has its settlement")
	}
	s.countDay(ctx)
	return err
}

// agreed compares what the payer agreed to with the trial.
func agreed(a Agreed, total, cash string) error {
	for _, pair := range [][2]string{{a.Total, total}, {a.Cash, cash}} {
		said, err := settlement.ParseYuan(pair[0])
		if err != nil {
			return detailed{ErrAmount, "agreed"}
		}
		if said.Yuan() != pair[1] {
			return settlement.ErrAgreedDiffers
		}
	}
	return nil
}

// splitDocument is the split of trial and receipt.
func splitDocument(a settlement.Amounts, i settlement.SetlInfo) Split {
	return Split{
		Total: a.Total.Yuan(), Fund: a.Fund.Yuan(), Account: a.Account.Yuan(), Cash: a.Cash.Yuan(),
		Hospital: i.HospPartAmt.Fen.Yuan(), Deductible: i.ActPayDedc.Fen.Yuan(),
		FullSelfPay: i.FulamtOwnpayAmt.Fen.Yuan(), OverLimit: i.OverlmtSelfpay.Fen.Yuan(),
		PreSelfPay: i.PreselfpayAmt.Fen.Yuan(), InScope: i.InscpScpAmt.Fen.Yuan(),
	}
}

func (s *Service) receipt(r *record, msgid, setlID, at string, a settlement.Amounts, i settlement.SetlInfo) *Receipt {
	return &Receipt{
		SettlementID: setlID, Time: at, MsgID: msgid, Balance: i.Balc.Fen.Yuan(),
		Institution: s.institution(), Operator: s.operator(), Holder: r.Holder, Lines: r.Lines,
		Split: splitDocument(a, i),
	}
}
