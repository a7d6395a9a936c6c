package card_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"onecard/card"
	"onecard/fault"
)

func TestPINPolicy(t *testing.T) {
	of := card.Holder{SocialSecurityNumber: "510104195807120024", BirthDate: card.Date{Year: 1958, Month: 7, Day: 12}}
	p := card.DefaultPINPolicy()
	for pin, want := range map[string]error{
		"123456": card.ErrPINTrivial, "654321": card.ErrPINTrivial, "111111": card.ErrPINTrivial, "121212": card.ErrPINTrivial,
		"123123": card.ErrPINTrivial, "890123": card.ErrPINTrivial, "098765": card.ErrPINTrivial, "580712": card.ErrPINTrivial,
		"120758": card.ErrPINTrivial, "071258": card.ErrPINTrivial, "19580712": card.ErrPINTrivial, "120024": card.ErrPINTrivial,
		"1357": card.ErrPINTrivial, "123": card.ErrPINFormat, "12345678901234567": card.ErrPINFormat, "12a456": card.ErrPINFormat,
		"258369": nil, "13579135": nil, "9753108642135790": nil, "580713": nil,
	} {
		if err := p.Check(card.PIN(pin), of); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", pin, err, want)
		}
	}
	if err := (card.PINPolicy{}).Check(card.PIN("1111"), of); err != nil {
		t.Errorf("the zero policy: %v", err)
	}
	if fault.Of(card.ErrPINTrivial).Code != fault.PINTrivial {
		t.Error("code")
	}
}

func TestChangePIN(t *testing.T) {
	for _, image := range []string{"1.0", "2.0", "3.0"} {
		s := example(t, image)
		c := open(t, s)
		if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil || !c.PINIsInitial() {
			t.Fatalf("initial %v, %v", c.PINIsInitial(), err)
		}
		s.commands()
		none := card.Holder{}
		policy := card.DefaultPINPolicy()
		for _, tt := range []struct {
			old, next string
			want      error
		}{{"123456", "111111", card.ErrPINTrivial}, {"123456", "123456", card.ErrPINTrivial}, {"123456", "12", card.ErrPINFormat}, {"12", "258369", card.ErrPINFormat}} {
			if err := c.ChangePIN(t.Context(), card.PIN(tt.old), card.PIN(tt.next), policy, none); !errors.Is(err, tt.want) {
				t.Errorf("%v", err)
			}
		}
		if got := s.commands(); got != "" {
			t.Errorf("sent %s", got)
		}
		var wrong *card.WrongPINError
		if err := c.ChangePIN(t.Context(), card.PIN("000000"), card.PIN("258369"), policy, none); !errors.As(err, &wrong) || wrong.TriesLeft != 5 || c.PINVerified() {
			t.Errorf("wrong old PIN: %v", err)
		}
		old, next := card.PIN("123456"), card.PIN("2583691")
		if err := c.ChangePIN(t.Context(), old, next, policy, none); err != nil || !c.PINVerified() || c.PINIsInitial() {
			t.Fatalf("%v", err)
		}
		if strings.Trim(string(old)+string(next), "\x00") != "" {
			t.Error("the PINs were not wiped")
		}
		s.card.PowerOff()
		s.card.PowerOn()
		c = open(t, s)
		if err := c.VerifyPIN(t.Context(), card.PIN("2583691")); err != nil || c.PINIsInitial() {
			t.Errorf("the new PIN: %v", err)
		}
	}
}

func TestUnblockAndReloadPIN(t *testing.T) {
	for _, image := range []string{"1.0", "2.0", "3.0"} {
		s := example(t, image)
		c := open(t, s)
		for range 6 {
			if err := c.VerifyPIN(t.Context(), card.PIN("000000")); err == nil {
				t.Fatal("verified")
			}
		}
		if err := c.UnblockPIN(t.Context(), &holder{}); !errors.Is(err, card.ErrHolderUnable) || fault.Of(err).Code != fault.HolderUnable {
			t.Errorf("a holder that secures nothing: %v", err)
		}
		if err := c.UnblockPIN(t.Context(), nil); !errors.Is(err, card.ErrNoKeyHolder) {
			t.Errorf("no holder: %v", err)
		}
		s.commands()
		if err := c.UnblockPIN(t.Context(), &vault{}); err != nil {
			t.Fatalf("%s: %v", image, err)
		}
		if got := s.commands(); got != "84 82 84 24" {
			t.Errorf("%s", got)
		}
		if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
			t.Errorf("after unblocking: %v", err)
		}
		if err := c.ReloadPIN(t.Context(), &vault{}, card.PIN("222222"), card.DefaultPINPolicy(), card.Holder{}); !errors.Is(err, card.ErrPINTrivial) {
			t.Errorf("trivial: %v", err)
		}
		if err := c.ReloadPIN(t.Context(), &vault{}, card.PIN("25836914725836"), card.DefaultPINPolicy(), card.Holder{}); err != nil {
			t.Fatal(err)
		}
		if c.PINVerified() {
			t.Error("a PIN that the issuer has set counts as verified")
		}
		if err := c.VerifyPIN(t.Context(), card.PIN("25836914725836")); err != nil {
			t.Errorf("after resetting: %v", err)
		}
		wrong := &vault{}
		wrong.wrongExternal = true
		if err := open(t, s).UnblockPIN(t.Context(), wrong); fault.Of(err).Code != fault.ExternalAuthFailed {
			t.Errorf("a wrong PUK: %v", err)
		}
	}
}

// Every PIN that the policy lets through can be set and verified.
func TestPINsOfAllLengths(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := example(t, rapid.SampledFrom([]string{"2.0", "3.0"}).Draw(r, "image"))
		c := open(t, s)
		pin := rapid.StringMatching(`[0-9]{4,16}`).Draw(r, "pin")
		next := rapid.StringMatching(`[0-9]{4,16}`).Draw(r, "next")
		if pin == next {
			return
		}
		if err := c.ReloadPIN(t.Context(), &vault{}, card.PIN(pin), card.PINPolicy{}, card.Holder{}); err != nil {
			r.Fatal(err)
		}
		if pin != next {
			if err := c.ChangePIN(t.Context(), card.PIN(pin), card.PIN(next), card.PINPolicy{}, card.Holder{}); err != nil {
				r.Fatal(err)
			}
		}
		if err := open(t, s).VerifyPIN(t.Context(), card.PIN(next)); err != nil {
			r.Fatal(err)
		}
	})
}
