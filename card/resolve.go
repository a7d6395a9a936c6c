package card

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"onecard/apdu"
	"onecard/card/keys"
)

// A Proof is what the card gives for its last transaction of a kind.
type Proof struct {
	MAC2 string `json:"mac2"` // 8 hex digits; of a load the issuer's order
	TAC  string `json:"tac"`  // 8 hex digits
}

// Proof asks the card for the proof of the purchase (or load) with this
// sequence number. The card has it for the last one only and until the next
// INIT; otherwise the error wraps [ErrProofUnavailable].
func (c *Card) Proof(ctx context.Context, load bool, sequence uint16) (Proof, error) {
	if err := c.enter(ctx, accountDF); err != nil {
		return Proof{}, fmt.Errorf("proof: %w", err)
	}
	kind := keys.TypeSettlement
	if load {
		kind = keys.TypeLoad
	}
	out, err := c.medical(ctx, "PROOF", apdu.Command{INS: 0x2E, P2: kind, Data: binary.BigEndian.AppendUint16(nil, sequence)}, 8)
	if err != nil {
		return Proof{}, fmt.Errorf("proof: %w", err)
	}
	return Proof{hex.EncodeToString(out[:4]), hex.EncodeToString(out[4:])}, nil
}

// Resolve finds out what became of every transaction of this card that was
// ordered and not answered, and writes it down: by the card's proof; where it
// has none, by its sequence counter; where that has moved on, by its
// transaction records, which need the PIN. Call it when a card is inserted.
//
// It returns what it decided. What stays undecided is an error that wraps
// [ErrDebitUnknown] ([ErrPINRequired] where the PIN would help).
func (c *Card) Resolve(ctx context.Context, kh KeyHolder, journal DebitJournal) ([]Transaction, error) {
	list, err := c.resolve(ctx, kh, journal)
	if err != nil {
		return list, fmt.Errorf("resolve: %w", err)
	}
	return list, nil
}

func (c *Card) resolve(ctx context.Context, kh KeyHolder, journal DebitJournal) ([]Transaction, error) {
	if c.issuer.IdentificationCode == "" {
		return nil, nil
	}
	open, err := journal.Undecided(ctx, c.issuer.IdentificationCode)
	if err != nil {
		return nil, err
	}
	var decided []Transaction
	for _, t := range open {
		if t.Card != c.issuer.IdentificationCode || t.Type == "" {
			return decided, fmt.Errorf("%w: the journal gave a transaction of another card", ErrPlanStore)
		}
		if t, err = c.decide(ctx, kh, t); err != nil {
			return decided, fmt.Errorf("%w: %w", ErrDebitUnknown, err)
		}
		if err := journal.Note(ctx, t); err != nil {
			return decided, err
		}
		decided = append(decided, t)
	}
	return decided, nil
}

// decide returns the transaction as done or void.
func (c *Card) decide(ctx context.Context, kh KeyHolder, t Transaction) (Transaction, error) {
	load := t.Type[0] == keys.TypeLoad
	proof, err := c.Proof(ctx, load, t.Sequence)
	if err == nil {
		return c.proved(ctx, kh, t, proof)
	}
	if !errors.Is(err, ErrProofUnavailable) {
		return t, err
	}
	// Not the last one. INIT costs the card nothing now: there is no proof to
	// be lost, and its answer tells the next sequence without the PIN.
	order := packed{}
	if _, err := hex.Decode(order.terminal[:], []byte(t.Terminal)); err != nil {
		return t, fmt.Errorf("%w: terminal number", ErrPlanStore)
	}
	next, err := c.initPurchase, error(nil)
	if load {
		next = c.initLoad
	}
	answer, err := next(ctx, order)
	if err == nil && answer.sequence <= t.Sequence {
		// The number was not used up.
		t.State = TransactionVoid
		return t, nil
	}
	if c.lost {
		return t, err
	}
	return c.byRecords(ctx, t)
}

// proved takes the card's proof over, once it is sure that it is of this
// transaction: another terminal may have used the number of one that never took
// place. MAC2 tells, which depends on the transaction's random; where nobody can
// check it, the card's record does.
func (c *Card) proved(ctx context.Context, kh KeyHolder, t Transaction, proof Proof) (Transaction, error) {
	if t.Type[0] == keys.TypeLoad {
		if t.MAC2 == proof.MAC2 {
			t.State, t.TAC, t.Verified = TransactionDone, proof.TAC, true
			return t, nil
		}
		t.State = TransactionVoid
		return t, nil
	}
	t.TAC, t.MAC2 = proof.TAC, proof.MAC2
	holder, err := holderAs[DebitHolder](kh)
	if err != nil {
		return c.byRecords(ctx, t)
	}
	p, subject, err := t.purchase(c)
	if err != nil {
		return t, err
	}
	mac2, err := hex.DecodeString(t.MAC2)
	if err != nil {
		return t, err
	}
	if err := holder.CheckMAC2(ctx, subject, p, [keys.MACSize]byte(mac2)); err != nil {
		return c.byRecords(ctx, t)
	}
	t.State, t.Verified = TransactionDone, true
	return t, nil
}

// purchase returns what the MACs of a noted purchase are computed over.
func (t Transaction) purchase(c *Card) (keys.Purchase, keys.Subject, error) {
	o := Order{Account: t.Account, SelfPaid: t.SelfPaid, Pooling: t.Pooling, Terminal: t.Terminal, TerminalSequence: t.TerminalSequence, Time: t.Time}
	order, err := o.pack()
	if err != nil {
		return keys.Purchase{}, keys.Subject{}, err
	}
	random, err := hex.DecodeString(t.Random)
	if err != nil || len(random) != 4 {
		return keys.Purchase{}, keys.Subject{}, fmt.Errorf("%w: random", ErrPlanStore)
	}
	s, err := c.versionedSubject(t.KeyVersion, byte(t.Algorithm))
	return keys.Purchase{Random: [4]byte(random), Sequence: t.Sequence, TerminalSequence: t.TerminalSequence, Terminal: order.terminal,
		Time: order.time, Account: order.account, Self: order.self, Pooling: order.pooling}, s, err
}

// byRecords looks for the transaction in DF04/EF08.
func (c *Card) byRecords(ctx context.Context, t Transaction) (Transaction, error) {
	records, err := c.MedicalTransactions(ctx, nil)
	if err != nil {
		return t, err
	}
	reached := false // the records go back as far as this transaction
	for _, r := range records {
		if r.Type.Code != t.Type {
			continue
		}
		if r.Sequence == int(t.Sequence) {
			if r.Terminal == t.Terminal && r.Time == t.Time && r.Account == t.Account {
				t.State = TransactionDone // its TAC is lost where the proof is
				return t, nil
			}
			t.State, t.TAC, t.MAC2 = TransactionVoid, "", ""
			return t, nil
		}
		reached = reached || r.Sequence < int(t.Sequence)
	}
	if reached {
		t.State, t.TAC, t.MAC2 = TransactionVoid, "", ""
		return t, nil
	}
	return t, ErrProofUnavailable
}
