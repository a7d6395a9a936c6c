package card_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"onecard/apdu"
	"onecard/card"
)

// A flow is something that changes a card.
type flow struct {
	name   string
	images []string
	// run does it on a card that has just been put in.
	run func(t testing.TB, c *card.Card, b *books) error
	// back is what a terminal does when the card returns, nil: recover and
	// resolve.
	back func(t testing.TB, s *tornConn, b *books)
	// money: the purchases or loads in it, checked against the journal.
	money bool
}

func writing(lines ...string) func(testing.TB, *card.Card, *books) error {
	return func(t testing.TB, c *card.Card, b *books) error {
		p, err := c.NewPlan(t.Context(), &vault{}, changes(t, lines...)...)
		if err != nil {
			return err
		}
		return c.Execute(t.Context(), &vault{}, b.plans, p)
	}
}

func verifying(run func(testing.TB, *card.Card, *books) error) func(testing.TB, *card.Card, *books) error {
	return func(t testing.TB, c *card.Card, b *books) error {
		if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
			return err
		}
		return run(t, c, b)
	}
}

var all, tagged = []string{"1.0", "2.0", "3.0"}, []string{"2.0", "3.0"}

func flows() []flow {
	photo := strings.Repeat("A55A01", 300)
	return []flow{
		{name: "holder", images: all, run: writing("SSSEEF06 09=卡卓娅", "SSSEEF06 0A=1", "SSSEEF06 0D=1970-01-02")},
		{name: "issuer data", images: all, run: writing("SSSEEF05 06=2040-01-01")},
		{name: "pension", images: all, run: verifying(writing("DF03EF07 73=2026-11-21", "DF03EF07 6E=1998-07-02", "DF03EF07 6C=2008-07-13"))},
		{name: "pension by keys alone", images: tagged, run: writing("DF03EF07 73=2026-11-21", "DF03EF07 71=330100")},
		{name: "template", images: tagged, run: writing("DF01EF15 40:2/57=408", "DF01EF15 40:2/59=样例大学", "DF01EF15 2A=11")},
		{name: "fixed", images: tagged, run: writing("DF03EF19 79:3/1C=12.34", "DF03EF19 79:3/18=210")},
		{name: "append", images: tagged, run: writing("DF02EF07 +6120103^20200101^^样例公司")},
		{name: "append the same twice", images: tagged, run: verifying(writing("DF02EF16 +102^20200101^^^510100", "DF02EF16 +102^20200101^^^510100"))},
		{name: "append past the end", images: tagged, run: writing("DF04EF15 +1^1", "DF04EF15 +2^1", "DF04EF15 +3^1", "DF04EF15 +4^1", "DF04EF15 +5^1",
			"DF04EF15 +6^1", "DF04EF15 +7^1", "DF04EF15 +8^1", "DF04EF15 +9^1", "DF04EF15 +10^1")},
		{name: "photo", images: []string{"3.0"}, run: writing("SSSEEF08 @100=hex:"+photo, "SSSEEF08 @3000=hex:"+photo)},
		{name: "reserved file", images: tagged, run: writing("DF01EF16 @200=hex:" + strings.Repeat("42", 96))},
		{name: "several directories", images: tagged, run: verifying(writing("DF01EF08 2B=2", "DF03EF07 71=330100", "DF04EF05 84=330100", "DF04EF06 92=99.50",
			"SSSEEF06 0C=330100", "DF02EF07 +6120103^20200101^^样例公司", "DF01EF05 20=20"))},
		{name: "PIN change", images: all, run: verifying(func(t testing.TB, c *card.Card, _ *books) error {
			return c.ChangePIN(t.Context(), card.PIN("123456"), card.PIN("258369"), card.DefaultPINPolicy(), card.Holder{})
		}), back: afterPIN},
		{name: "PIN reset", images: all, run: func(t testing.TB, c *card.Card, _ *books) error {
			return c.ReloadPIN(t.Context(), &vault{}, card.PIN("258369"), card.DefaultPINPolicy(), card.Holder{})
		}, back: afterPIN},
		{name: "PIN unblock", images: all, run: func(t testing.TB, c *card.Card, _ *books) error { return c.UnblockPIN(t.Context(), &vault{}) }},
		{name: "purchase", images: tagged, money: true, run: verifying(func(t testing.TB, c *card.Card, b *books) error {
			_, err := c.Purchase(t.Context(), &vault{}, b.debits, order(1234, 560, 7800))
			return err
		})},
		{name: "load", images: tagged, money: true, run: func(t testing.TB, c *card.Card, b *books) error {
			_, err := c.Load(t.Context(), &vault{}, b.debits, order(5000, 0, 0))
			return err
		}},
		{name: "start day", images: tagged, run: func(t testing.TB, c *card.Card, _ *books) error { return c.SetStartDay(t.Context(), &vault{}, 7, 1) }},
		{name: "plan, load, purchase", images: tagged, money: true, run: verifying(func(t testing.TB, c *card.Card, b *books) error {
			if err := writing("DF03EF07 73=2026-11-21")(t, c, b); err != nil {
				return err
			}
			if _, err := c.Load(t.Context(), &vault{}, b.debits, order(5000, 0, 0)); err != nil {
				return err
			}
			_, err := c.Purchase(t.Context(), &vault{}, b.debits, order(77, 0, 0))
			return err
		})},
	}
}

// afterPIN tries the new PIN and then the old one, as ErrPINChangeUnknown asks.
func afterPIN(t testing.TB, s *tornConn, _ *books) {
	t.Helper()
	c := open(t, s)
	if err := c.VerifyPIN(t.Context(), card.PIN("258369")); err == nil {
		return
	}
	if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
		t.Fatalf("neither the new PIN nor the old one: %v", err)
	}
}

// recovering is what a terminal does when a card is put in.
func recovering(t testing.TB, s *tornConn, b *books) {
	t.Helper()
	c := open(t, s)
	if _, err := c.Recover(t.Context(), &vault{}, b.plans); err != nil {
		// A file that wants the PIN, too.
		if !errors.Is(err, card.ErrPINRequired) {
			t.Fatalf("recover: %v", err)
		}
		if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Recover(t.Context(), &vault{}, b.plans); err != nil {
			t.Fatalf("recover with PIN: %v", err)
		}
	}
	if _, err := c.Resolve(t.Context(), &vault{}, b.debits); err != nil {
		t.Fatalf("resolve: %v", err)
	}
}

// forgetful answers updates with success and does nothing.
type forgetful struct{ *tornConn }

func (f *forgetful) Exchange(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	if c.INS == 0xDC || c.INS == 0xD6 {
		return apdu.Response{Status: apdu.StatusOK}, nil
	}
	return f.tornConn.Exchange(ctx, c)
}
