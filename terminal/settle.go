package terminal

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	end, err := one.begin(StepLines)
	if err != nil {
		return Visit{}, err
	}
	defer end()
	check := one.record()
	if err := check.checkDates(lines, s.parts.Now()); err != nil {
		return Visit{}, err
	}
	if req.Diagnoses != nil {
		check.Diagnoses = req.Diagnoses
		if err := check.course().check(&check); err != nil {
			return Visit{}, err
		}
	}
	if err := s.settleDoubt(ctx, one); err != nil {
		return Visit{}, err
	}
	m, err := check.machine()
	if err != nil {
		return Visit{}, err
	}
	s.visits.update(one, func(r *record) {
		if !slices.Equal(r.Diagnoses, check.Diagnoses) {
			r.Diagnoses, r.Told = check.Diagnoses, false
		}
		r.Lines, r.Total = lines, total.Yuan()
		r.Trial, r.Fault, r.Results, r.FeeLines, r.Batch = nil, nil, nil, nil, ""
		at := r.At
		if rule, err := m.Begin(r.At, settlement.StepLines); err == nil {
			at = rule.Done // the centre does not learn of it yet
		}
		r.place(at)
	})
	return s.visits.stored(ctx, one)
}

// settleDoubt finds out whether a stay has ended, where the answer to that was
// lost: its lines can be changed only if not.
func (s *Service) settleDoubt(ctx context.Context, one *visit) error {
	r := one.record()
	if r.At != settlement.StateDischarging && r.At != settlement.StateReadmitting {
		return nil
	}
	if err := s.canSettle(); err != nil {
		return err
	}
	scope, err := s.scope(ctx, r)
	if err == nil {
		err = s.clear(ctx, one, scope)
	}
	if err != nil {
		return s.visits.stumbled(one, err)
	}
	if one.record().Discharged != nil {
		return detailed{ErrVisitState, "the stay has ended"}
	}
	return nil
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
		if errors.Is(err, settlement.ErrAmountRange) {
			return nil, 0, wrong("price is too large")
		}
		if err != nil || price < 0 {
			return nil, 0, wrong("price is not an amount")
		}
		quantity, err := settlement.ParseQuantity(l.Quantity)
		if errors.Is(err, settlement.ErrAmountRange) {
			return nil, 0, wrong("quantity is too large")
		}
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
		out[i] = Line{Code: l.Code, Name: l.Name, Quantity: quantity.String(), Price: price.String(), Amount: amount.Yuan(), Date: l.Date}
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
	end, err := one.begin(StepTrial)
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
	m, err := r.machine()
	if err != nil {
		return Visit{}, err
	}
	rule, err := m.Begin(r.At, settlement.StepTrial)
	if err != nil {
		return Visit{}, err
	}
	out, err := r.course().trial(ctx, s, one, scope)
	if err != nil {
		return Visit{}, s.visits.stumbled(one, err)
	}
	info := out.SetlInfo.Value
	amounts, err := info.Amounts()
	if err != nil {
		return Visit{}, s.visits.stumbled(one, err)
	}
	s.visits.update(one, func(r *record) {
		r.Fault, r.Amounts = nil, amounts
		split := splitDocument(amounts, info)
		r.Trial = &split
		r.place(rule.Done)
	})
	return s.visits.stored(ctx, one)
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
	end, err := one.begin(StepSettle)
	if err != nil {
		return Visit{}, err
	}
	defer end()
	r := one.record()
	if r.Trial == nil {
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
	s.visits.update(one, func(r *record) {
		r.Fault = nil
		r.place(settlement.StateSettling)
	})
	day := s.settling()
	settler := settlement.NewSettler(s.parts.Upstream, s.parts.Journal)
	receipt, err := r.course().settle(ctx, s, settler, r, scope)
	counted := s.settled(day, err == nil)
	if err != nil {
		return Visit{}, s.unsettled(ctx, one, err)
	}
	s.upstreamWell()
	s.parts.Log.WithFields(map[string]any{"visit": r.ID, "entry": receipt.EntryID, "outcome": settlement.Done}).Info("settlement")
	s.visits.update(one, func(r *record) {
		r.Journal = receipt.EntryID
		if r.MdtrtID == "" {
			r.MdtrtID = receipt.MdtrtID // a sale has none before
		}
		r.place(settlement.StateSettled)
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
	state := settlement.StateTried
	log := s.parts.Log.WithFields(map[string]any{"visit": id, "entry": entry.ID, "code": fault.Of(err).Code})
	if settlement.OutcomeOf(err) == settlement.Unknown || open || jerr != nil {
		state = settlement.StateUnknown
		err = &inDoubt{err, entry.ID}
		log.WithField("outcome", settlement.Unknown).Warning("settlement")
	} else {
		log.WithField("outcome", settlement.Refused).Info("settlement")
	}
	s.visits.update(one, func(r *record) {
		r.Fault = Explain(err)
		if open {
			r.Journal = entry.ID
		}
		r.place(state)
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

// hospitalShare is hosp_part_amt. A settlement that was looked up (5203) does
// not name it: it is the rest.
func hospitalShare(a settlement.Amounts, i settlement.SetlInfo) settlement.Fen {
	if i.HospPartAmt.Valid {
		return i.HospPartAmt.Fen
	}
	return a.Total - a.Fund - a.Account - a.Cash
}

// splitDocument is the split of trial and receipt.
func splitDocument(a settlement.Amounts, i settlement.SetlInfo) Split {
	return Split{
		Total: a.Total.Yuan(), Fund: a.Fund.Yuan(), Account: a.Account.Yuan(), Cash: a.Cash.Yuan(),
		Hospital: hospitalShare(a, i).Yuan(), Deductible: i.ActPayDedc.Fen.Yuan(),
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
