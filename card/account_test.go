package card_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"onecard/card"
	"onecard/card/keys"
	"onecard/fault"
)

// debits is a DebitJournal in memory that keeps bytes.
type debits struct {
	mu   sync.Mutex
	ids  []string
	rows map[string][]byte
	fail error
}

func newDebits() *debits { return &debits{rows: map[string][]byte{}} }

func (d *debits) Note(_ context.Context, t card.Transaction) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return d.fail
	}
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	if d.rows[t.ID] == nil {
		d.ids = append(d.ids, t.ID)
	}
	d.rows[t.ID] = b
	return nil
}

func (d *debits) all(t testing.TB) []card.Transaction {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []card.Transaction
	for _, id := range d.ids {
		var tr card.Transaction
		if err := json.Unmarshal(d.rows[id], &tr); err != nil {
			t.Fatal(err)
		}
		list = append(list, tr)
	}
	return list
}

func (d *debits) Undecided(_ context.Context, code string) ([]card.Transaction, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []card.Transaction
	for _, id := range d.ids {
		var tr card.Transaction
		if err := json.Unmarshal(d.rows[id], &tr); err != nil {
			return nil, err
		}
		if tr.Card == code && tr.State == card.TransactionIntended {
			list = append(list, tr)
		}
	}
	return list, nil
}

func order(account, self, pooling card.Fen) card.Order {
	return card.Order{Account: account, SelfPaid: self, Pooling: pooling, Terminal: "510100000101", TerminalSequence: 0x102,
		Time: card.Time{Date: card.Date{Year: 2026, Month: 11, Day: 21}, Hour: 9, Minute: 30, Second: 15}}
}

func TestPurchase(t *testing.T) {
	for _, image := range []string{"2.0", "3.0"} {
		s := example(t, image)
		c := open(t, s)
		kh, journal := &vault{}, newDebits()
		if _, err := c.Purchase(t.Context(), kh, journal, order(1234, 560, 7800)); fault.Of(err).Code != fault.PINRequired {
			t.Errorf("without PIN: %v", err)
		}
		if list := journal.all(t); len(list) != 1 || list[0].State != card.TransactionVoid {
			t.Errorf("%+v", list)
		}
		c = verified(t, s)
		before, err := c.Balance(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.commands()
		got, err := c.Purchase(t.Context(), kh, journal, order(1234, 560, 7800))
		if err != nil {
			t.Fatal(err)
		}
		if cs := s.commands(); cs != "28 2C" {
			t.Errorf("commands %s", cs)
		}
		if got.State != card.TransactionDone || !got.Verified || got.Before != before.Account || got.TerminalSequence != 0x102 {
			t.Errorf("%+v", got)
		}
		after, err := c.Balance(t.Context())
		if err != nil || after.Account != before.Account-1234 || after.Account != got.After() {
			t.Errorf("%+v %v", after, err)
		}
		// The insurer can check the TAC from what the journal holds.
		noted := journal.all(t)
		if n := noted[len(noted)-1]; n != got {
			t.Errorf("journal has %+v, returned %+v", n, got)
		}
		tac, _ := hex.DecodeString(got.TAC)
		random, _ := hex.DecodeString(got.Random)
		p := keys.Purchase{Random: [4]byte(random), Sequence: got.Sequence, TerminalSequence: got.TerminalSequence,
			Terminal: [6]byte{0x51, 0x01, 0x00, 0x00, 0x01, 0x01}, Time: [7]byte{0x20, 0x26, 0x11, 0x21, 0x09, 0x30, 0x15}, Account: 1234, Self: 560, Pooling: 7800}
		if err := kh.CheckPurchaseTAC(t.Context(), subjectOf(t, c, s, got.KeyVersion), p, [4]byte(tac)); err != nil {
			t.Errorf("TAC: %v", err)
		}
		proof, err := c.Proof(t.Context(), false, got.Sequence)
		if err != nil || proof.TAC != got.TAC || proof.MAC2 != got.MAC2 {
			t.Errorf("proof %+v, %v", proof, err)
		}
		if _, err := c.Proof(t.Context(), false, got.Sequence+1); !errors.Is(err, card.ErrProofUnavailable) || fault.Of(err).Code != fault.ProofUnavailable {
			t.Errorf("proof of another: %v", err)
		}
		list, err := c.MedicalTransactions(t.Context(), nil)
		if err != nil || list[0].Sequence != int(got.Sequence) || list[0].Account != 1234 || *list[0].Pooling != 7800 || list[0].Time != got.Time || list[0].Terminal != got.Terminal {
			t.Errorf("record %+v, %v", list[0], err)
		}
	}
}

func subjectOf(t testing.TB, c *card.Card, s *simConn, version byte) keys.Subject {
	t.Helper()
	sub := keys.Subject{Algorithm: c.Issuer().Algorithm, Area: c.Issuer().Area, Version: version}
	copy(sub.Historical[:], s.atr[len(s.atr)-13:])
	return sub
}

func TestPurchaseRefused(t *testing.T) {
	s := example(t, "3.0")
	c := verified(t, s)
	before, err := c.Balance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hsmDown := fault.New(fault.HSMUnreachable, "no HSM")
	for name, tt := range map[string]struct {
		kh    card.KeyHolder
		order card.Order
		code  fault.Code
	}{
		"more than there is":     {&vault{}, order(before.Account+1, 0, 0), fault.AmountRefused},
		"a negative amount":      {&vault{}, order(-1, 0, 0), fault.AmountRefused},
		"more than 4 bytes":      {&vault{}, order(1<<32, 0, 0), fault.AmountRefused},
		"no terminal":            {&vault{}, card.Order{Account: 1, Time: order(1, 0, 0).Time}, fault.ValueInvalid},
		"no time":                {&vault{}, card.Order{Account: 1, Terminal: "510100000101"}, fault.ValueInvalid},
		"a holder without DPK":   {&holder{}, order(1, 0, 0), fault.HolderUnable},
		"no holder":              {nil, order(1, 0, 0), fault.NoKeyHolder},
		"a holder that is down":  {&vault{debitErr: hsmDown}, order(1, 0, 0), fault.HSMUnreachable},
		"a holder that is wrong": {&vault{wrongMAC: true}, order(1, 0, 0), fault.TransactionMACWrong},
	} {
		journal := newDebits()
		if _, err := c.Purchase(t.Context(), tt.kh, journal, tt.order); fault.Of(err).Code != tt.code {
			t.Errorf("%s: %v", name, err)
		}
		for _, n := range journal.all(t) {
			if n.State != card.TransactionVoid {
				t.Errorf("%s: noted %s", name, n.State)
			}
		}
	}
	// No journal, no debit.
	journal := newDebits()
	journal.fail = card.ErrPlanStore
	s.commands()
	if _, err := c.Purchase(t.Context(), &vault{}, journal, order(1, 0, 0)); !errors.Is(err, card.ErrPlanStore) || strings.Contains(s.commands(), "2C") {
		t.Errorf("without a journal: %v", err)
	}
	after, err := c.Balance(t.Context())
	if err != nil || after != before {
		t.Errorf("before %+v, after %+v, %v", before, after, err)
	}
	// A holder that cannot check stands for an unverified transaction, one that
	// finds MAC2 wrong for a person who must look. Both are on the card.
	got, err := c.Purchase(t.Context(), &vault{checkErr: hsmDown}, newDebits(), order(1, 0, 0))
	if err != nil || got.State != card.TransactionDone || got.Verified {
		t.Errorf("%+v %v", got, err)
	}
	got, err = c.Purchase(t.Context(), &vault{checkErr: keys.ErrMAC}, newDebits(), order(1, 0, 0))
	if fault.Of(err).Code != fault.TransactionMACWrong || got.State != card.TransactionDone {
		t.Errorf("%+v %v", got, err)
	}
}

func TestLoad(t *testing.T) {
	for _, image := range []string{"2.0", "3.0"} {
		s := example(t, image)
		c := verified(t, s)
		before, err := c.Balance(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		kh, journal := &vault{}, newDebits()
		s.commands()
		got, err := c.Load(t.Context(), kh, journal, order(5000, 0, 0))
		if err != nil || got.State != card.TransactionDone {
			t.Fatalf("%+v, %v", got, err)
		}
		if cs := s.commands(); cs != "28 2A" {
			t.Errorf("commands %s", cs)
		}
		after, err := c.Balance(t.Context())
		if err != nil || after.Account != before.Account+5000 || after.Account != got.After() {
			t.Errorf("%+v %v", after, err)
		}
		tac, _ := hex.DecodeString(got.TAC)
		l := keys.Load{Sequence: got.Sequence, Balance: uint32(got.Before), Amount: 5000, Terminal: [6]byte{0x51, 0x01, 0x00, 0x00, 0x01, 0x01}, Time: [7]byte{0x20, 0x26, 0x11, 0x21, 0x09, 0x30, 0x15}}
		if err := kh.CheckLoadTAC(t.Context(), subjectOf(t, c, s, got.KeyVersion), l, [4]byte(tac)); err != nil {
			t.Errorf("TAC: %v", err)
		}
		if _, err := c.Load(t.Context(), &vault{wrongMAC: true}, journal, order(1, 0, 0)); fault.Of(err).Code != fault.TransactionMACWrong {
			t.Errorf("a wrong MAC2: %v", err)
		}
		if _, err := c.Load(t.Context(), &holder{}, journal, order(1, 0, 0)); fault.Of(err).Code != fault.HolderUnable {
			t.Errorf("a terminal's holder: %v", err)
		}
	}
}

// The year is the card's: totals begin again after its start day.
func TestYearRollsOver(t *testing.T) {
	c := verified(t, example(t, "3.0"))
	if err := c.SetStartDay(t.Context(), &vault{}, 7, 1); err != nil {
		t.Fatal(err)
	}
	if m, d, err := c.StartDay(t.Context()); m != 7 || d != 1 || err != nil {
		t.Errorf("%d-%d, %v", m, d, err)
	}
	if err := c.SetStartDay(t.Context(), &vault{}, 2, 30); !errors.Is(err, card.ErrValue) {
		t.Errorf("30 February: %v", err)
	}
	if err := c.SetStartDay(t.Context(), &vault{}, 1, 1); err != nil {
		t.Fatal(err)
	}
	before, err := c.Balance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := order(0, 100, 200)
	if _, err := c.Purchase(t.Context(), &vault{}, newDebits(), o); err != nil {
		t.Fatal(err)
	}
	same, err := c.Balance(t.Context())
	if err != nil || same.Year != before.Year || same.SelfPaid != before.SelfPaid+100 || same.Pooling != before.Pooling+200 {
		t.Errorf("%+v then %+v, %v", before, same, err)
	}
	o.Time.Year, o.Time.Month, o.Time.Day = before.Year+1, 1, 1
	if _, err := c.Purchase(t.Context(), &vault{}, newDebits(), o); err != nil {
		t.Fatal(err)
	}
	next, err := c.Balance(t.Context())
	if err != nil || next.Year != before.Year+1 || next.SelfPaid != 100 || next.Pooling != 200 {
		t.Errorf("%+v, %v", next, err)
	}
}
