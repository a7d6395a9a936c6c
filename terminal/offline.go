package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"onecard/card"
	"onecard/fault"
	"onecard/settlement"
)

// Why a card is not debited off-line.
var (
	ErrOfflineForbidden   = fault.New(fault.OfflineForbidden, "off-line debits are not permitted here")
	ErrOfflineNotNeeded   = fault.New(fault.OfflineNotNeeded, "the centre can be reached")
	ErrOfflineCard        = fault.New(fault.OfflineCardForbids, "the card does not permit off-line debits")
	ErrOfflinePurchase    = fault.New(fault.OfflinePurchaseLimit, "over the limit of one off-line purchase")
	ErrOfflineDay         = fault.New(fault.OfflineDayLimit, "over the card's off-line limit of a day")
	ErrOfflineCount       = fault.New(fault.OfflineCountLimit, "over the card's off-line purchases of a day")
	ErrOfflineTotal       = fault.New(fault.OfflineCardLimit, "over the card's off-line counters")
	ErrOfflineContact     = fault.New(fault.OfflineContactOld, "the last contact with the centre is too long ago")
	ErrOfflineInstitution = fault.New(fault.OfflineInstitution, "not an institution that the card designates")
)

// debitOffline takes an amount from the medical account while the centre cannot
// be reached, within the insurer's limits. In this order, each step durable
// before the next: the card's off-line counters go up, the purchase is held in
// the outbox with whose card it is, it is noted as ordered, the card is debited,
// its TAC is noted, and what was held is released to be uploaded. Wherever that
// is cut off, the card's own answer decides when it is back, and with it what was
// held. Counters that went up for a purchase that did not take place are put
// back; where the card has left they err on the safe side.
func (s *Service) debitOffline(ctx context.Context, id string, order card.Order) (CardTransaction, error) {
	sum := settlement.Fen(order.Account + order.Pooling)
	limits, err := s.mayOffline(ctx, sum)
	if err != nil {
		return CardTransaction{}, err
	}
	d, err := s.writer(id)
	if err != nil {
		return CardTransaction{}, err
	}
	if order, err = s.ordered(ctx, order); err != nil {
		return CardTransaction{}, err
	}
	var t card.Transaction
	err = d.ask(ctx, 0, func(ctx context.Context, h *held) (err error) {
		switch {
		case !h.identity.Authenticated:
			return errors.Join(ErrUnverified, h.identity.AuthError)
		case h.identity.HolderError != nil:
			return h.identity.HolderError
		case !h.card.PINVerified():
			return card.ErrPINRequired
		}
		about, counters, err := s.offlineCard(ctx, h, limits, sum, order.Account)
		if err != nil {
			return err
		}
		changes, ok := counters.Add(card.Fen(sum))
		if !ok {
			return ErrOfflineTotal
		}
		if err := s.count(ctx, h, changes); err != nil {
			return err
		}
		debits := s.offlineDebits()
		debits.hold = func(ctx context.Context, t card.Transaction) error { return s.holdDebit(ctx, about, t) }
		if t, err = h.card.Purchase(ctx, s.keys(), debits, order); err == nil || errors.Is(err, card.ErrDebitUnknown) || t.State == card.TransactionDone {
			return err
		}
		if cerr := s.count(ctx, h, counters.Changes()); cerr != nil {
			s.parts.Log.WithError(cerr).Warning("the card counts an off-line purchase that did not take place")
		}
		return err
	})
	s.audit("account debited off-line", d)
	s.posted(ctx)
	if err != nil {
		return CardTransaction{}, err
	}
	return transactionDocument(t), nil
}

// mayOffline refuses what needs no card to be refused.
func (s *Service) mayOffline(ctx context.Context, sum settlement.Fen) (offlineLimits, error) {
	cfg := s.cfg.Offline
	if !cfg.Allowed || s.parts.Offline == nil || s.parts.Offline.Infno == "" || s.outbox.box == nil {
		return offlineLimits{}, ErrOfflineForbidden
	}
	if err := s.may(RightSettle); err != nil {
		return offlineLimits{}, err
	}
	limits, err := cfg.limits()
	switch {
	case err != nil:
		return limits, err
	case sum <= 0:
		return limits, detailed{ErrAmount, "account"}
	case sum > limits.purchase:
		return limits, detailed{ErrOfflinePurchase, limits.purchase.Yuan()}
	}
	last, err := s.parts.Journal.Contact(ctx)
	if err != nil {
		return limits, err
	}
	// A contact in the future is a clock that was set back: nobody knows how old
	// it is.
	if age := s.parts.Now().Sub(last); last.IsZero() || age > time.Duration(cfg.ContactHours)*time.Hour || age < -clockTolerance {
		return limits, ErrOfflineContact
	}
	switch _, _, err := s.probeUpstream(ctx); {
	case errors.Is(err, settlement.ErrUnreachable):
		s.upstreamFailed(err)
		return limits, nil
	case err != nil && !errors.Is(err, settlement.ErrAnswerLost):
		return limits, err
	}
	return limits, ErrOfflineNotNeeded
}

// offlineCard asks the card, and what this desk knows of it, whether it may pay
// this much off-line, and says whose it is.
func (s *Service) offlineCard(ctx context.Context, h *held, limits offlineLimits, sum settlement.Fen, account card.Fen) (settlement.CardDebit, card.OfflineRecord, error) {
	var about settlement.CardDebit
	insured, err := h.card.MedicalInsurance(ctx, s.keys())
	if err != nil {
		return about, card.OfflineRecord{}, err
	}
	if len(insured.Institutions) > 0 && !slices.Contains(insured.Institutions, s.cfg.Offline.Institution) {
		return about, card.OfflineRecord{}, ErrOfflineInstitution
	}
	counters, err := h.card.Offline(ctx, s.keys())
	switch {
	case err != nil:
		return about, counters, err
	case !counters.Permitted:
		return about, counters, ErrOfflineCard
	case settlement.Fen(counters.Total)+sum > limits.card:
		return about, counters, detailed{ErrOfflineTotal, limits.card.Yuan()}
	case counters.Count+1 > s.cfg.Offline.CardCount:
		return about, counters, detailed{ErrOfflineTotal, fmt.Sprint(s.cfg.Offline.CardCount)}
	}
	issuer := h.identity.Issuer
	lane := s.cardLane(issuer.IdentificationCode)
	paid, count, err := s.paidOffline(ctx, lane)
	switch {
	case err != nil:
		return about, counters, err
	case paid+sum > limits.day:
		return about, counters, detailed{ErrOfflineDay, limits.day.Yuan()}
	case count+1 > s.cfg.Offline.DayCount:
		return about, counters, detailed{ErrOfflineCount, fmt.Sprint(s.cfg.Offline.DayCount)}
	}
	balance, err := h.card.Balance(ctx)
	switch {
	case err != nil:
		return about, counters, err
	case balance.Account < account:
		return about, counters, fmt.Errorf("balance: %w", card.ErrAmount)
	}
	about = settlement.CardDebit{
		CardNumber: issuer.Number, Certno: h.identity.Holder.SocialSecurityNumber, Name: h.identity.Holder.Name,
		Area: insured.Area.Code, Operator: s.cfg.Operator.No,
	}
	if about.Area == "" && len(issuer.IdentificationCode) >= 6 {
		about.Area = issuer.IdentificationCode[:6]
	}
	return about, counters, nil
}

// count writes the card's off-line counters as every record is written: planned,
// noted, read back.
func (s *Service) count(ctx context.Context, h *held, changes []card.Change) error {
	plan, err := h.card.NewPlan(ctx, s.keys(), changes...)
	if err != nil {
		return err
	}
	if plan.Empty() {
		return nil
	}
	return h.card.Execute(ctx, s.keys(), s.parts.Plans, plan)
}

// cardLane is the lane of a card's debits: one is told of after the other.
func (s *Service) cardLane(code string) string { return "card " + s.outbox.box.Pseudonym(code) }

// paidOffline adds up what a card has paid off-line today at this desk, also
// what is not known yet to have been paid.
func (s *Service) paidOffline(ctx context.Context, lane string) (sum settlement.Fen, count int, err error) {
	now := s.parts.Now().In(ChinaTime)
	today := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, ChinaTime)
	items, err := s.outbox.box.Bodies(ctx, settlement.OutboxFilter{All: true, Kind: LetterDebit, Lane: lane, Since: today, Limit: 1000})
	if err != nil {
		return 0, 0, err
	}
	for _, i := range items {
		if i.State == settlement.OutboxVoid {
			continue
		}
		d, err := readDebit(i.Body)
		if err != nil {
			return 0, 0, err
		}
		sum += d.Account + d.Pooling
		count++
	}
	return sum, count, nil
}

// readDebit reads the body of an item of kind debit.
func readDebit(body []byte) (settlement.CardDebit, error) {
	return readLetter[settlement.CardDebit](body)
}

// debitOnce names a debit in the outbox.
func debitOnce(id string) string { return "debit " + id }

// purchased fills what the card's purchase says into what is known of its holder.
func purchased(d settlement.CardDebit, t card.Transaction) settlement.CardDebit {
	at := t.Time
	d.ID, d.Card, d.Type, d.Sequence = t.ID, t.Card, t.Type, t.Sequence
	d.Terminal, d.TerminalSequence = t.Terminal, t.TerminalSequence
	d.Time = settlement.FormatTime(time.Date(at.Year, time.Month(at.Month), at.Day, at.Hour, at.Minute, at.Second, 0, ChinaTime))
	d.Account, d.SelfPaid, d.Pooling = settlement.Fen(t.Account), settlement.Fen(t.SelfPaid), settlement.Fen(t.Pooling)
	d.Before, d.After = settlement.Fen(t.Before), settlement.Fen(t.After())
	d.Algorithm, d.KeyVersion, d.Random = fmt.Sprintf("%02X", byte(t.Algorithm)), fmt.Sprintf("%02X", t.KeyVersion), t.Random
	d.TAC, d.Verified = t.TAC, t.Verified
	return d
}

// holdDebit holds a debit in the outbox before the card is ordered to carry it
// out.
func (s *Service) holdDebit(ctx context.Context, about settlement.CardDebit, t card.Transaction) error {
	body, err := json.Marshal(purchased(about, t))
	if err == nil {
		_, err = s.outbox.box.Put(ctx, settlement.Letter{Lane: s.cardLane(t.Card), Kind: LetterDebit, Once: debitOnce(t.ID), Body: body, Hold: true})
	}
	if err != nil {
		return fmt.Errorf("hold the debit: %w", err)
	}
	return nil
}

// offlineDebits is the journal of card transactions that also keeps the outbox in
// step. With hold set a purchase is held before it is noted.
type offlineDebits struct {
	card.DebitJournal
	s    *Service
	hold func(context.Context, card.Transaction) error
}

func (s *Service) offlineDebits() offlineDebits {
	if in, ok := s.parts.Debits.(offlineDebits); ok {
		return in
	}
	return offlineDebits{DebitJournal: s.parts.Debits, s: s}
}

// Note implements card.DebitJournal. What was decided is noted there first: where
// the outbox cannot be told, [Service.releaseDebits] tells it later.
func (o offlineDebits) Note(ctx context.Context, t card.Transaction) error {
	if t.State == card.TransactionIntended && o.hold != nil {
		if err := o.hold(ctx, t); err != nil {
			return fmt.Errorf("%w: %w", card.ErrPlanStore, err)
		}
	}
	if err := o.DebitJournal.Note(ctx, t); err != nil {
		return err
	}
	if t.State != card.TransactionIntended {
		if err := o.s.decideDebit(ctx, t); err != nil {
			o.s.parts.Log.WithError(err).WithField("transaction", t.ID).Warning("an off-line debit waits to be queued")
		}
	}
	return nil
}

// decideDebit releases or voids what is held for a transaction; there is nothing
// for one that was not off-line.
func (s *Service) decideDebit(ctx context.Context, t card.Transaction) error {
	item, found, err := s.outbox.box.Once(ctx, debitOnce(t.ID))
	if err != nil || !found {
		return err
	}
	if t.State == card.TransactionVoid {
		_, err = s.outbox.box.Void(ctx, item.Once)
		return err
	}
	d, err := readDebit(item.Body)
	if err != nil {
		return err
	}
	body, err := json.Marshal(purchased(d, t))
	if err != nil {
		return fmt.Errorf("off-line debit: %w", err)
	}
	released, err := s.outbox.box.Release(ctx, item.Once, body)
	if released {
		s.posted(ctx)
	}
	return err
}

// A debitLookup is a journal of card transactions that can be asked for one.
type debitLookup interface {
	Transaction(ctx context.Context, id string) (t card.Transaction, found bool, err error)
}

// releaseDebits decides what is held and was decided, or never ordered, without
// the outbox having been told: the process ended in between, or the disk was full.
func (s *Service) releaseDebits(ctx context.Context) {
	in, _ := s.parts.Debits.(offlineDebits)
	noted, ok := in.DebitJournal.(debitLookup)
	if !ok || s.outbox.box == nil {
		return
	}
	items, err := s.outbox.box.Bodies(ctx, settlement.OutboxFilter{State: settlement.OutboxHeld, Kind: LetterDebit, Limit: 1000})
	if err != nil {
		return // checkJournal says that the journal cannot be read
	}
	for _, i := range items {
		d, err := readDebit(i.Body)
		var t card.Transaction
		var found bool
		if err == nil {
			t, found, err = noted.Transaction(ctx, d.ID)
		}
		switch {
		case err != nil:
		case !found && s.parts.Now().Sub(i.Created) > readTime:
			// The card was never ordered: the order is noted before that, and no
			// order takes this long.
			_, err = s.outbox.box.Void(ctx, i.Once)
		case found && t.State != card.TransactionIntended:
			err = s.decideDebit(ctx, t)
		}
		if err != nil && ctx.Err() == nil {
			s.parts.Log.WithError(err).WithField("outbox", i.ID).Warning("a held debit cannot be decided")
		}
	}
}

// sendDebit tells the insurer of an off-line debit in the region's way. It may be
// repeated: the debit has happened on the card, and its TAC with the card's and
// the terminal's numbers says which one it is.
func (s *Service) sendDebit(ctx context.Context, item settlement.Item) error {
	if s.parts.Offline == nil || s.parts.Offline.Infno == "" {
		return &settlement.Undeliverable{Cause: ErrOfflineForbidden}
	}
	d, err := readDebit(item.Body)
	if err != nil {
		return &settlement.Undeliverable{Cause: err}
	}
	input, err := s.parts.Offline.Input(d)
	if err != nil {
		return &settlement.Undeliverable{Cause: err}
	}
	err = s.withSignNo(ctx, func(signNo string) error {
		_, err := s.parts.Upstream.Call(ctx, settlement.Request{Infno: s.parts.Offline.Infno, InsuplcAdmdvs: d.Area, SignNo: signNo, Input: input})
		return err
	})
	if err != nil {
		s.upstreamFailed(err)
		return fmt.Errorf("off-line debit: %w", err)
	}
	s.upstreamWell()
	return nil
}

// contactEvery is how exactly the last contact is kept.
const contactEvery = 5 * time.Minute

// contacted keeps, now and then, that the centre has answered.
func (s *Service) contacted() {
	if s.parts.Journal == nil || !s.cfg.Offline.Allowed {
		return
	}
	now := s.parts.Now()
	s.mu.Lock()
	due := now.Sub(s.contact).Abs() >= contactEvery
	if due {
		s.contact = now
	}
	s.mu.Unlock()
	if !due {
		return
	}
	if err := s.parts.Journal.SetContact(context.Background()); err != nil {
		s.parts.Log.WithError(err).Warning("the last contact with the centre could not be kept")
	}
}
