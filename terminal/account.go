package terminal

import (
	"context"
	"fmt"

	"onecard/card"
	"onecard/settlement"
)

// An Account is the medical account on the card, in yuan.
type Account struct {
	Balance  string `json:"balance"`
	SelfPaid string `json:"yearly_self_paid"`
	Pooling  string `json:"yearly_pooling"`
	Year     int    `json:"year,omitempty"`
}

// A DebitRequest is what a purchase takes from the account, and the shares that
// the card adds to the totals of the year. Amounts in yuan; empty is 0.00.
type DebitRequest struct {
	Account  string `json:"account"`
	SelfPaid string `json:"self_paid,omitempty"`
	Pooling  string `json:"pooling,omitempty"`
	// Offline debits while the centre cannot be reached, within the insurer's
	// limits, and has it told of that later.
	Offline bool `json:"offline,omitempty"`
}

// A CardTransaction is one purchase from, or load to, the account.
type CardTransaction struct {
	ID               string `json:"id"`
	State            string `json:"state"` // intended, done, void
	Sequence         uint16 `json:"sequence"`
	Terminal         string `json:"terminal"`
	TerminalSequence uint32 `json:"terminal_sequence"`
	Time             string `json:"time"`
	Account          string `json:"account"`
	SelfPaid         string `json:"self_paid"`
	Pooling          string `json:"pooling"`
	Balance          string `json:"balance"` // after it
	TAC              string `json:"tac,omitempty"`
	Verified         bool   `json:"verified"` // the key holder found the card's proof right
}

// A CardProof is the card's proof of its latest transaction.
type CardProof struct {
	Sequence uint16 `json:"sequence"`
	MAC2     string `json:"mac2"`
	TAC      string `json:"tac"`
}

// Account returns the medical account of a card whose PIN is verified.
func (s *Service) Account(ctx context.Context, id string) (Account, error) {
	d, err := s.desk(id)
	if err != nil {
		return Account{}, err
	}
	var b card.Balance
	err = d.ask(ctx, 0, func(ctx context.Context, h *held) (err error) {
		b, err = h.card.Balance(ctx)
		return err
	})
	if err != nil {
		return Account{}, err
	}
	s.audit("account shown", d)
	return Account{b.Account.Yuan(), b.SelfPaid.Yuan(), b.Pooling.Yuan(), b.Year}, nil
}

// Debit takes an amount from the medical account. The transaction is on disk
// before the card is ordered to debit, its TAC before this returns.
func (s *Service) Debit(ctx context.Context, id string, req DebitRequest) (CardTransaction, error) {
	var order card.Order
	for _, f := range []struct {
		text string
		into *card.Fen
		name string
	}{{req.Account, &order.Account, "account"}, {req.SelfPaid, &order.SelfPaid, "self_paid"}, {req.Pooling, &order.Pooling, "pooling"}} {
		if f.text == "" {
			continue
		}
		amount, err := settlement.ParseYuan(f.text)
		if err != nil || amount < 0 {
			return CardTransaction{}, detailed{ErrAmount, f.name}
		}
		*f.into = card.Fen(amount)
	}
	if req.Offline {
		return s.debitOffline(ctx, id, order)
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
		if !h.identity.Authenticated {
			return ErrUnverified
		}
		t, err = h.card.Purchase(ctx, s.keys(), s.parts.Debits, order)
		return err
	})
	s.audit("account debited", d)
	if err != nil {
		return CardTransaction{}, err
	}
	return transactionDocument(t), nil
}

// ordered gives an order the terminal's number, its next sequence and the time.
func (s *Service) ordered(ctx context.Context, order card.Order) (card.Order, error) {
	order.Terminal = s.cfg.Institution.Terminal
	if number := s.psamTerminal(); number != "" {
		order.Terminal = number // a PSAM computes over its own
	}
	if order.Terminal == "" {
		return order, fmt.Errorf("institution.terminal: missing: %w", ErrConfig)
	}
	var err error
	order.TerminalSequence, err = s.parts.TerminalSequence(ctx, order.Terminal)
	order.Time = card.ChinaTime(s.parts.Now())
	return order, err
}

func transactionDocument(t card.Transaction) CardTransaction {
	return CardTransaction{
		ID: t.ID, State: string(t.State), Sequence: t.Sequence, Terminal: t.Terminal, TerminalSequence: t.TerminalSequence,
		Time: t.Time.String(), Account: t.Account.Yuan(), SelfPaid: t.SelfPaid.Yuan(), Pooling: t.Pooling.Yuan(),
		Balance: t.After().Yuan(), TAC: t.TAC, Verified: t.Verified,
	}
}

// Proof asks the card for the proof of its purchase with this sequence number.
func (s *Service) Proof(ctx context.Context, id string, sequence uint16) (CardProof, error) {
	d, err := s.desk(id)
	if err != nil {
		return CardProof{}, err
	}
	var p card.Proof
	err = d.ask(ctx, 0, func(ctx context.Context, h *held) (err error) {
		p, err = h.card.Proof(ctx, false, sequence)
		return err
	})
	if err != nil {
		return CardProof{}, err
	}
	return CardProof{sequence, p.MAC2, p.TAC}, nil
}
