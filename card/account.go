package card

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"onecard/apdu"
	"onecard/card/keys"
)

// accountDF is where the medical account is: commands, not a file.
const accountDF = "DF04"

// A Balance is the medical account: what is on it, and the totals of the year,
// which the card starts anew by itself.
type Balance struct {
	Account  Fen `json:"account"`
	SelfPaid Fen `json:"yearly_self_paid"`
	Pooling  Fen `json:"yearly_pooling"`
	Year     int `json:"year,omitempty"` // of the totals; 0 unset
}

// A TransactionState is how far a transaction has come.
type TransactionState string

// The states.
const (
	TransactionIntended TransactionState = "intended" // may or may not be on the card
	TransactionDone     TransactionState = "done"     // on the card
	TransactionVoid     TransactionState = "void"     // never took place
)

// A Transaction is one purchase from, or load to, the medical account.
type Transaction struct {
	ID       string           `json:"id"`   // 32 hex digits, random
	Card     string           `json:"card"` // card identification code
	Type     string           `json:"type"` // "1" load, "2" settlement
	State    TransactionState `json:"state"`
	Sequence uint16           `json:"sequence"` // the card's
	Terminal string           `json:"terminal"` // 12 digits
	// TerminalSequence counts the terminal's purchases; a PSAM has its own.
	TerminalSequence uint32         `json:"terminal_sequence,omitempty"`
	Time             Time           `json:"time"`
	Account          Fen            `json:"account"` // of a load the amount
	SelfPaid         Fen            `json:"self_paid,omitempty"`
	Pooling          Fen            `json:"pooling,omitempty"`
	Before           Fen            `json:"before"` // balance before it
	Algorithm        keys.Algorithm `json:"algorithm"`
	KeyVersion       byte           `json:"key_version"`
	Random           string         `json:"random"`         // the card's, 8 hex digits
	TAC              string         `json:"tac,omitempty"`  // 8 hex digits, the card's signature for the insurer
	MAC2             string         `json:"mac2,omitempty"` // of a purchase the card's proof to the terminal, of a load the issuer's order
	// Verified: the key holder has found MAC2 right.
	Verified bool `json:"verified"`
}

// After returns the balance after a transaction that is done.
func (t Transaction) After() Fen {
	if t.Type == string(rune(keys.TypeLoad)) {
		return t.Before + t.Account
	}
	return t.Before - t.Account
}

// A DebitJournal keeps transactions. Both calls are durable before they return;
// an error wraps [ErrPlanStore]. Safe for concurrent use. Package
// card/planstore has one.
type DebitJournal interface {
	// Note writes a transaction down, in the place of what it held of the same
	// ID: before the card is ordered to carry it out, and with its TAC before
	// success is reported.
	Note(ctx context.Context, t Transaction) error
	// Undecided returns the transactions of a card that are still intended,
	// the oldest first.
	Undecided(ctx context.Context, card string) ([]Transaction, error)
}

// An Order is what a caller wants booked.
type Order struct {
	Account  Fen // from the medical account; of a load onto it
	SelfPaid Fen // of a purchase
	Pooling  Fen // of a purchase
	Terminal string
	// TerminalSequence never repeats on one terminal. A PSAM puts its own.
	TerminalSequence uint32
	Time             Time
}

// ChinaTime returns the civil time in China, as the card keeps it.
func ChinaTime(t time.Time) Time {
	t = t.In(time.FixedZone("CST", 8*3600))
	return Time{Date{t.Year(), int(t.Month()), t.Day()}, t.Hour(), t.Minute(), t.Second()}
}

// packed is an order as the commands carry it.
type packed struct {
	account, self, pooling uint32
	terminal               [6]byte
	time                   [7]byte
}

var errOrder = errors.New("malformed order")

func (o Order) pack() (p packed, err error) {
	for _, a := range []struct {
		from Fen
		to   *uint32
	}{{o.Account, &p.account}, {o.SelfPaid, &p.self}, {o.Pooling, &p.pooling}} {
		if a.from < 0 || a.from > math.MaxUint32 {
			return p, fmt.Errorf("%w: %w", ErrAmount, errOrder)
		}
		*a.to = uint32(a.from)
	}
	if len(o.Terminal) != 12 || !allDigits(o.Terminal) {
		return p, fmt.Errorf("%w: %w: a terminal number has 12 digits", ErrValue, errOrder)
	}
	if _, err := hex.Decode(p.terminal[:], []byte(o.Terminal)); err != nil {
		return p, fmt.Errorf("%w: %w", ErrValue, errOrder)
	}
	digits := o.Time.digits() + fmt.Sprintf("%02d%02d%02d", o.Time.Hour, o.Time.Minute, o.Time.Second)
	if _, err := timeOf(digits); err != nil {
		return p, fmt.Errorf("%w: %w: not a time", ErrValue, errOrder)
	}
	if _, err := hex.Decode(p.time[:], []byte(digits)); err != nil {
		return p, fmt.Errorf("%w: %w", ErrValue, errOrder)
	}
	return p, nil
}

// medical sends a command of the account. 6982 means that the PIN is missing.
func (c *Card) medical(ctx context.Context, name string, cmd apdu.Command, size int) ([]byte, error) {
	cmd.CLA, cmd.Le = 0xB0, size
	r, err := c.exchange(ctx, cmd)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case r.Status == apdu.StatusSecurity:
		c.pin = false
		return nil, fmt.Errorf("%w (%w)", ErrPINRequired, refused(name, r.Status))
	case !r.Status.OK():
		return nil, transactionRefused(name, r.Status)
	case len(r.Data) != size:
		return nil, fmt.Errorf("%s: %w: %d bytes, not %d", name, apdu.ErrGarbage, len(r.Data), size)
	}
	return r.Data, nil
}

// Balance asks for the account and the totals of the year: three commands. The
// card wants the PIN first ([ErrPINRequired]).
func (c *Card) Balance(ctx context.Context) (Balance, error) {
	var b Balance
	if err := c.enter(ctx, accountDF); err != nil {
		return b, fmt.Errorf("balance: %w", err)
	}
	for p2, amount := range []*Fen{&b.Account, &b.SelfPaid, &b.Pooling} {
		size := 6
		if p2 == 0 {
			size = 4
		}
		data, err := c.medical(ctx, "GET BALANCE", apdu.Command{INS: 0x26, P2: byte(p2 + 1)}, size)
		if err != nil {
			return b, fmt.Errorf("balance: %w", err)
		}
		*amount = Fen(binary.BigEndian.Uint32(data))
		if digits, err := decodeCN(data[4:]); err == nil && len(digits) == 4 {
			b.Year = atoi(digits)
		}
	}
	return b, nil
}

// StartDay returns the month and day on which the account's year begins.
func (c *Card) StartDay(ctx context.Context) (month, day int, err error) {
	if err := c.enter(ctx, accountDF); err != nil {
		return 0, 0, fmt.Errorf("start day: %w", err)
	}
	data, err := c.medical(ctx, "START DAY", apdu.Command{INS: 0x56, P1: 1}, 2)
	if err != nil {
		return 0, 0, fmt.Errorf("start day: %w", err)
	}
	digits, err := decodeCN(data)
	if err != nil || len(digits) != 4 {
		return 0, 0, fmt.Errorf("start day: %w", ErrMalformed)
	}
	return atoi(digits[:2]), atoi(digits[2:]), nil
}

// SetStartDay changes the day on which the account's year begins; UK1DF04
// through kh permits it.
func (c *Card) SetStartDay(ctx context.Context, kh KeyHolder, month, day int) error {
	d := Date{2024, month, day} // a leap year has every day
	if !d.valid() {
		return fmt.Errorf("set start day: %w", &ChangeError{File: FileID{accountDF, "EF08"}, Problem: "not a day"})
	}
	if err := c.enter(ctx, accountDF); err != nil {
		return fmt.Errorf("set start day: %w", err)
	}
	if err := c.proveAll(ctx, kh, []string{"UK1DF04"}); err != nil {
		return fmt.Errorf("set start day: %w", err)
	}
	data, err := hex.DecodeString(d.digits()[4:])
	if err == nil {
		_, err = c.medical(ctx, "START DAY", apdu.Command{INS: 0x56, Data: data}, 0)
	}
	if err != nil {
		return fmt.Errorf("set start day: %w", err)
	}
	return nil
}
