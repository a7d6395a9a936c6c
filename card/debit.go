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

const keyIndex = 0x01 // the key index of purchases and loads (card specification, section 9)

// Purchase debits the medical account: INIT FOR PURCHASE, MAC1 through kh (a
// [DebitHolder]), DEBIT FOR PURCHASE. The journal has the transaction before
// the card is ordered to debit and its TAC before Purchase returns. What an
// earlier visit of this card left undecided comes first, as [Card.Resolve] does
// it.
//
// Where the error wraps [ErrDebitUnknown], the card's answer was lost: Resolve
// finds out when the card is back. With any other error nothing was debited,
// but for [ErrTransactionMAC] with a transaction that is done: the card says
// that it has debited and proves it wrongly. Further errors: [ErrAmount] (more
// than the balance), [ErrCounter], [ErrPINRequired], [ErrPlanStore].
func (c *Card) Purchase(ctx context.Context, kh KeyHolder, journal DebitJournal, o Order) (Transaction, error) {
	t, err := c.purchase(ctx, kh, journal, o)
	if err != nil {
		return t, fmt.Errorf("purchase: %w", err)
	}
	return t, nil
}

func (c *Card) purchase(ctx context.Context, kh KeyHolder, journal DebitJournal, o Order) (Transaction, error) {
	holder, err := holderAs[DebitHolder](kh)
	if err != nil {
		return Transaction{}, err
	}
	order, err := o.pack()
	if err != nil {
		return Transaction{}, err
	}
	if _, err := c.resolve(ctx, kh, journal); err != nil {
		return Transaction{}, err
	}
	if err := c.enter(ctx, accountDF); err != nil {
		return Transaction{}, err
	}
	answer, err := c.initPurchase(ctx, order)
	if err != nil {
		return Transaction{}, err
	}
	t, err := c.begin(o, keys.TypeSettlement, answer.sequence, answer.balance, answer.version, answer.random)
	if err != nil {
		return t, err
	}
	subject, err := c.versionedSubject(answer.version, answer.algorithm)
	if err != nil {
		return t, err
	}
	p := keys.Purchase{Random: answer.random, Sequence: answer.sequence, TerminalSequence: o.TerminalSequence,
		Terminal: order.terminal, Time: order.time, Account: order.account, Self: order.self, Pooling: order.pooling}
	mac1, err := holder.PurchaseMAC1(ctx, subject, &p)
	if err != nil {
		return t, err
	}
	t.TerminalSequence = p.TerminalSequence
	if err := journal.Note(ctx, t); err != nil {
		return t, err
	}
	data := binary.BigEndian.AppendUint32(nil, p.TerminalSequence)
	data = append(append(data, p.Time[:]...), mac1[:]...)
	out, err := c.medical(ctx, "DEBIT FOR PURCHASE", apdu.Command{INS: 0x2C, P1: 1, Data: data}, 8)
	if err != nil {
		return c.notDone(ctx, journal, t, err)
	}
	t.State, t.TAC, t.MAC2 = TransactionDone, hex.EncodeToString(out[:4]), hex.EncodeToString(out[4:])
	if err := c.noteDone(ctx, journal, t); err != nil {
		return t, err
	}
	return c.verify(ctx, holder, journal, subject, p, t)
}

// noteDone writes down what the card has done. That must not depend on who
// still waits for it.
func (c *Card) noteDone(ctx context.Context, journal DebitJournal, t Transaction) error {
	if err := journal.Note(context.WithoutCancel(ctx), t); err != nil {
		// The card has it; the journal still says intended, so Resolve will
		// find it there.
		return fmt.Errorf("%w: %w", ErrDebitUnknown, err)
	}
	return nil
}

// notDone decides what a failed order means: a status word is the card's word
// that nothing happened; anything else leaves it open.
func (c *Card) notDone(ctx context.Context, journal DebitJournal, t Transaction, err error) (Transaction, error) {
	var answer *RefusedError
	if c.lost || !errors.As(err, &answer) {
		return t, fmt.Errorf("%w: %w", ErrDebitUnknown, err)
	}
	t.State = TransactionVoid
	return t, errors.Join(err, journal.Note(context.WithoutCancel(ctx), t))
}

// verify has MAC2 checked. Where that is not possible the transaction stands
// unverified; where it is wrong a person must look.
func (c *Card) verify(ctx context.Context, holder DebitHolder, journal DebitJournal, s keys.Subject, p keys.Purchase, t Transaction) (Transaction, error) {
	mac2, err := hex.DecodeString(t.MAC2)
	if err != nil || len(mac2) != keys.MACSize {
		return t, nil
	}
	switch err := holder.CheckMAC2(ctx, s, p, [keys.MACSize]byte(mac2)); {
	case errors.Is(err, keys.ErrMAC):
		return t, fmt.Errorf("%w: %w", ErrTransactionMAC, err)
	case err != nil:
		return t, nil
	}
	t.Verified = true
	if err := journal.Note(ctx, t); err != nil {
		// It is noted as done, only not as verified.
		t.Verified = false
	}
	return t, nil
}

// begin makes the transaction that the journal gets.
func (c *Card) begin(o Order, kind byte, sequence uint16, balance uint32, version byte, random [4]byte) (Transaction, error) {
	id := make([]byte, 16)
	if err := c.randomize(id); err != nil {
		return Transaction{}, err
	}
	return Transaction{ID: hex.EncodeToString(id), Card: c.issuer.IdentificationCode, Type: string(rune(kind)), State: TransactionIntended,
		Sequence: sequence, Terminal: o.Terminal, TerminalSequence: o.TerminalSequence, Time: o.Time,
		Account: o.Account, SelfPaid: o.SelfPaid, Pooling: o.Pooling, Before: Fen(balance),
		Algorithm: c.issuer.Algorithm, KeyVersion: version, Random: hex.EncodeToString(random[:])}, nil
}

// versionedSubject is the card with the key version that it named for a
// transaction.
func (c *Card) versionedSubject(version, algorithm byte) (keys.Subject, error) {
	s, err := c.subject()
	if err != nil {
		return s, err
	}
	if keys.Algorithm(algorithm) != s.Algorithm || version < 1 || version > keys.Versions {
		return s, fmt.Errorf("%w: key version %d, algorithm %d", apdu.ErrGarbage, version, algorithm)
	}
	s.Version = version
	return s, nil
}

type initAnswer struct {
	balance   uint32
	sequence  uint16
	version   byte
	algorithm byte
	random    [4]byte
	mac1      [4]byte // of a load
}

// initPurchase is INIT FOR PURCHASE. It starts over from any state and ends the
// proof of the last purchase.
func (c *Card) initPurchase(ctx context.Context, o packed) (initAnswer, error) {
	data := []byte{keyIndex}
	for _, a := range []uint32{o.account, o.self, o.pooling} {
		data = binary.BigEndian.AppendUint32(data, a)
	}
	out, err := c.medical(ctx, "INIT FOR PURCHASE", apdu.Command{INS: 0x28, P1: 1, P2: 1, Data: append(data, o.terminal[:]...)}, 22)
	if err != nil {
		return initAnswer{}, err
	}
	return initAnswer{balance: binary.BigEndian.Uint32(out), sequence: binary.BigEndian.Uint16(out[14:]),
		version: out[16], algorithm: out[17], random: [4]byte(out[18:])}, nil
}

// initLoad is INIT FOR LOAD.
func (c *Card) initLoad(ctx context.Context, o packed) (initAnswer, error) {
	data := binary.BigEndian.AppendUint32([]byte{keyIndex}, o.account)
	out, err := c.medical(ctx, "INIT FOR LOAD", apdu.Command{INS: 0x28, P2: 1, Data: append(data, o.terminal[:]...)}, 16)
	if err != nil {
		return initAnswer{}, err
	}
	return initAnswer{balance: binary.BigEndian.Uint32(out), sequence: binary.BigEndian.Uint16(out[4:]),
		version: out[6], algorithm: out[7], random: [4]byte(out[8:]), mac1: [4]byte(out[12:])}, nil
}

// Load puts money on the medical account: INIT FOR LOAD, MAC1 checked and MAC2
// made by kh (a [LoadHolder]), CREDIT FOR LOAD. Journal and errors are those of
// [Card.Purchase]; [ErrTransactionMAC] means that the key holder found the
// card's MAC1 wrong, and nothing was credited.
func (c *Card) Load(ctx context.Context, kh KeyHolder, journal DebitJournal, o Order) (Transaction, error) {
	t, err := c.load(ctx, kh, journal, o)
	if err != nil {
		return t, fmt.Errorf("load: %w", err)
	}
	return t, nil
}

func (c *Card) load(ctx context.Context, kh KeyHolder, journal DebitJournal, o Order) (Transaction, error) {
	holder, err := holderAs[LoadHolder](kh)
	if err != nil {
		return Transaction{}, err
	}
	o.SelfPaid, o.Pooling, o.TerminalSequence = 0, 0, 0
	order, err := o.pack()
	if err != nil {
		return Transaction{}, err
	}
	if _, err := c.resolve(ctx, kh, journal); err != nil {
		return Transaction{}, err
	}
	if err := c.enter(ctx, accountDF); err != nil {
		return Transaction{}, err
	}
	answer, err := c.initLoad(ctx, order)
	if err != nil {
		return Transaction{}, err
	}
	t, err := c.begin(o, keys.TypeLoad, answer.sequence, answer.balance, answer.version, answer.random)
	if err != nil {
		return t, err
	}
	subject, err := c.versionedSubject(answer.version, answer.algorithm)
	if err != nil {
		return t, err
	}
	l := keys.Load{Random: answer.random, Sequence: answer.sequence, Balance: answer.balance, Amount: order.account,
		Terminal: order.terminal, Time: order.time}
	mac2, err := holder.LoadMAC2(ctx, subject, l, answer.mac1)
	if errors.Is(err, keys.ErrMAC) {
		return t, fmt.Errorf("%w: %w", ErrTransactionMAC, err)
	}
	if err != nil {
		return t, err
	}
	t.MAC2 = hex.EncodeToString(mac2[:])
	if err := journal.Note(ctx, t); err != nil {
		return t, err
	}
	out, err := c.medical(ctx, "CREDIT FOR LOAD", apdu.Command{INS: 0x2A, Data: append(l.Time[:], mac2[:]...)}, 4)
	if err != nil {
		return c.notDone(ctx, journal, t, err)
	}
	// The issuer's HSM has checked the card before it ordered the credit.
	t.State, t.TAC, t.Verified = TransactionDone, hex.EncodeToString(out), true
	return t, c.noteDone(ctx, journal, t)
}
