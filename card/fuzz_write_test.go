package card

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"

	"onecard/apdu"
	"onecard/card/keys"
)

// liar is a card that opens as one should and then answers at random.
type liar struct {
	noise
	opened []byte
}

func (l *liar) Exchange(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	if c.INS == 0xB2 && c.P2>>3 == 5 && c.P1 == 1 && l.sent < 3 {
		l.sent++
		return apdu.Response{Data: l.opened, Status: apdu.StatusOK}, nil
	}
	return l.noise.Exchange(ctx, c)
}

func (l *liar) ATR() []byte {
	return []byte("\x3B\x6D\x00\x00\x00\x81\x4E\x43\x23\x86\x97\x41\x01\x00\xBF\x7C\x7A")
}

// yes computes zeros for everything.
type yes struct{ silent }

func (yes) SecureCommand(context.Context, keys.Subject, string, []byte, keys.Header, []byte) ([]byte, error) {
	return make([]byte, 9), nil
}
func (yes) UnblockPIN(context.Context, keys.Subject, []byte) ([]byte, error) { return nil, nil }
func (yes) ReloadPIN(context.Context, keys.Subject, []byte, []byte) ([]byte, error) {
	return []byte{1}, nil
}
func (yes) PurchaseMAC1(context.Context, keys.Subject, *keys.Purchase) (m [4]byte, err error) {
	return
}
func (yes) CheckMAC2(context.Context, keys.Subject, keys.Purchase, [4]byte) error { return nil }
func (yes) LoadMAC2(context.Context, keys.Subject, keys.Load, [4]byte) (m [4]byte, err error) {
	return
}

// slate keeps one plan and one transaction.
type slate struct {
	plan    *Plan
	outcome PlanOutcome
	money   []Transaction
}

func (s *slate) Begin(_ context.Context, p *Plan) (bool, int, error) {
	s.plan = p
	return false, -1, nil
}
func (s *slate) Progress(context.Context, string, int) error { return nil }
func (s *slate) Close(_ context.Context, _ string, o PlanOutcome) error {
	s.outcome = o
	return nil
}
func (s *slate) Open(context.Context, string) ([]OpenPlan, error) { return nil, nil }
func (s *slate) Note(_ context.Context, t Transaction) error {
	s.money = append(s.money, t)
	return nil
}
func (s *slate) Undecided(context.Context, string) ([]Transaction, error) {
	if n := len(s.money); n > 0 && s.money[n-1].State == TransactionIntended {
		return s.money[n-1:], nil
	}
	return nil, nil
}

// FuzzWriter writes to, pays with and signs by a card that answers anything:
// every call ends, none panics, and no success is reported that the card did
// not show.
func FuzzWriter(f *testing.F) {
	opened, err := hex.DecodeString(code01 + rest)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{0x90, 0, 1, 2, 3})
	f.Add(bytes.Repeat([]byte{0x70, 0x03, '1', '1', '0'}, 60))
	f.Add(bytes.Repeat([]byte{0x73, 0x04, 0x20, 0x26, 0x01, 0x05, 0x71, 0x03, 0x51, 0x01, 0x00}, 30))
	f.Add(bytes.Repeat([]byte{0x30, 0x82, 0x01, 0x00, 0x04}, 60))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &liar{noise{data: data}, opened}
		c, err := Open(t.Context(), l)
		if err != nil || c.Issuer().Area == "" {
			return
		}
		c.pin = true
		s := &slate{}
		for _, line := range [][2]string{{"DF03EF07", "73=2026-11-21"}, {"DF01EF15", "40/57=408"}, {"DF02EF07", "+6120103^20200101^^x"}, {"DF01EF16", "@250=hex:0102"}} {
			id, _ := ParseFileID(line[0])
			ch, err := ParseChange(id, line[1])
			if err != nil {
				t.Fatal(err)
			}
			l.sent = 0
			p, err := c.NewPlan(t.Context(), yes{}, ch)
			if err != nil {
				continue
			}
			_ = p.Describe(c)
			b, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParsePlan(b); err != nil {
				t.Fatal(err)
			}
			s.outcome = ""
			if err := c.Execute(t.Context(), yes{}, s, p); err == nil && !p.Empty() && s.outcome != PlanDone {
				t.Errorf("success, and the plan is %q", s.outcome)
			}
			if l.sent > 2000 {
				t.Errorf("%d commands", l.sent)
			}
		}
		l.sent = 0
		if tr, err := c.Purchase(t.Context(), yes{}, s, Order{Account: 1, Terminal: "000000000001", Time: Time{Date: Date{2026, 1, 1}}}); err == nil && tr.State != TransactionDone {
			t.Errorf("success, and the transaction is %q", tr.State)
		}
		_, _ = c.Load(t.Context(), yes{}, s, Order{Account: 1, Terminal: "000000000001", Time: Time{Date: Date{2026, 1, 1}}})
		_, _ = c.Balance(t.Context())
		_, _, _ = c.StartDay(t.Context())
		_ = c.UnblockPIN(t.Context(), yes{})
		_ = c.ReloadPIN(t.Context(), yes{}, PIN("258369"), PINPolicy{}, Holder{})
		_ = c.ChangePIN(t.Context(), PIN("123456"), PIN("258369"), PINPolicy{}, Holder{})
		if x, err := c.Certificates(t.Context()); err == nil {
			_ = x.VerifyPIN(t.Context(), PIN("123456"))
			_, _ = x.GenerateKey(t.Context())
			if der, err := x.ReadCertificate(t.Context(), ForSignature); err == nil && len(der) > maxCertificate {
				t.Errorf("a certificate of %d bytes", len(der))
			}
			if _, err := x.Sign(t.Context(), []byte("message")); err == nil {
				t.Error("noise is a signature")
			}
		}
		if sum, err := c.Summary(t.Context(), yes{}); err == nil {
			if _, err := json.Marshal(sum); err != nil {
				t.Error(err)
			}
		}
		if l.sent > 4000 {
			t.Errorf("%d commands", l.sent)
		}
	})
}

// FuzzParseChange: what is accepted can be judged by the profile without a card.
func FuzzParseChange(f *testing.F) {
	for _, s := range []string{"71=510100", "40:2/57=408", "2.0:71=330100", "+a^b", "@16=hex:0102", "=", "@1=base64:", "71/=1"} {
		f.Add("DF03EF07", s)
		f.Add("DF01EF15", s)
		f.Add("DF01EF16", s)
	}
	f.Fuzz(func(t *testing.T, file, s string) {
		id, err := ParseFileID(file)
		if err != nil {
			return
		}
		ch, err := ParseChange(id, s)
		if err != nil {
			if !errors.Is(err, ErrValue) {
				t.Fatal(err)
			}
			return
		}
		c := newCard(nil, nil)
		for _, v := range []Issuer{{Specification: 10}, {Specification: 20}, {Specification: 30}} {
			c.issuer = v
			_, _ = c.check(ch)
		}
	})
}
