package card_test

import (
	"context"
	"errors"
	"testing"

	"onecard/card"
	"onecard/card/keys"
	"onecard/fault"
)

// A full key holder: authentication, secured commands and money, with the test
// roots.
type vault struct {
	holder
	debitErr error // of PurchaseMAC1
	checkErr error // of CheckMAC2
	wrongMAC bool  // MAC1 and MAC2 that it makes are wrong
}

var _ interface {
	card.KeyHolder
	card.SecureHolder
	card.DebitHolder
	card.LoadHolder
	card.TACChecker
} = (*vault)(nil)

func (v *vault) secure(s keys.Subject, name string, challenge []byte, do func(*keys.Session) ([]byte, error)) ([]byte, error) {
	k, err := v.key(s, name)
	if err != nil {
		return nil, err
	}
	session, err := keys.NewSession(s.Algorithm, k, challenge)
	if err != nil {
		return nil, err
	}
	return do(&session)
}

func (v *vault) SecureCommand(_ context.Context, s keys.Subject, key string, challenge []byte, h keys.Header, data []byte) ([]byte, error) {
	return v.secure(s, key, challenge, func(x *keys.Session) ([]byte, error) { return x.Secure(h, data) })
}

func (v *vault) UnblockPIN(_ context.Context, s keys.Subject, challenge []byte) ([]byte, error) {
	return v.secure(s, "STK", challenge, (*keys.Session).UnblockPIN)
}

func (v *vault) ReloadPIN(_ context.Context, s keys.Subject, challenge, pin []byte) ([]byte, error) {
	return v.secure(s, "STK", challenge, func(x *keys.Session) ([]byte, error) { return x.ReloadPIN(pin) })
}

func (v *vault) PurchaseMAC1(_ context.Context, s keys.Subject, p *keys.Purchase) (mac [4]byte, err error) {
	if v.debitErr != nil {
		return mac, v.debitErr
	}
	k, err := v.key(s, "DPK")
	if err != nil {
		return mac, err
	}
	session, err := p.Session(s.Algorithm, k)
	if err != nil {
		return mac, err
	}
	mac = p.MAC1(&session)
	if v.wrongMAC {
		mac[0] ^= 1
	}
	return mac, nil
}

func (v *vault) CheckMAC2(_ context.Context, s keys.Subject, p keys.Purchase, mac2 [4]byte) error {
	if v.checkErr != nil {
		return v.checkErr
	}
	k, err := v.key(s, "DPK")
	if err != nil {
		return err
	}
	session, err := p.Session(s.Algorithm, k)
	if err != nil {
		return err
	}
	if p.MAC2(&session) != mac2 {
		return keys.ErrMAC
	}
	return nil
}

func (v *vault) LoadMAC2(_ context.Context, s keys.Subject, l keys.Load, mac1 [4]byte) (mac [4]byte, err error) {
	k, err := v.key(s, "DLK")
	if err != nil {
		return mac, err
	}
	session, err := l.Session(s.Algorithm, k)
	if err != nil {
		return mac, err
	}
	if l.MAC1(&session) != mac1 {
		return mac, keys.ErrMAC
	}
	mac = l.MAC2(&session)
	if v.wrongMAC {
		mac[0] ^= 1
	}
	return mac, nil
}

func (v *vault) CheckPurchaseTAC(_ context.Context, s keys.Subject, p keys.Purchase, tac [4]byte) error {
	k, err := v.key(s, "DTK")
	if err != nil {
		return err
	}
	want, err := p.TAC(s.Algorithm, k)
	if err == nil && want != tac {
		err = keys.ErrMAC
	}
	return err
}

func (v *vault) CheckLoadTAC(_ context.Context, s keys.Subject, l keys.Load, tac [4]byte) error {
	k, err := v.key(s, "DTK")
	if err != nil {
		return err
	}
	want, err := l.TAC(s.Algorithm, k)
	if err == nil && want != tac {
		err = keys.ErrMAC
	}
	return err
}

// The HSM is asked exactly where client programs fall back to it.
func TestHoldersFallBack(t *testing.T) {
	ctx, s := t.Context(), keys.Subject{Algorithm: keys.SM4, Area: "510100"}
	for _, tt := range []struct {
		code  fault.Code
		falls bool
	}{
		{fault.NoPSAM, true}, {fault.PSAMLacksKey, true}, {fault.HolderUnable, true},
		{fault.PSAMRefused, false}, {fault.CardRemoved, false}, {fault.AlgorithmUnsupported, false},
	} {
		first, second := &holder{err: fault.New(tt.code, "as ordered")}, &vault{}
		both := card.Holders(nil, first, second)
		_, err := both.InternalAuth(ctx, s, [8]byte{}, [8]byte{})
		if (err == nil) != tt.falls || second.internal.Load() > 0 != tt.falls {
			t.Errorf("%s: %v", tt.code, err)
		}
		_, err = both.ExternalAuth(ctx, s, "RKSSSE", make([]byte, 8), [8]byte{})
		if (err == nil) != tt.falls {
			t.Errorf("%s: %v", tt.code, err)
		}
		// What the first cannot do at all the second does.
		p := keys.Purchase{}
		if _, err := both.(card.DebitHolder).PurchaseMAC1(ctx, s, &p); err != nil {
			t.Errorf("purchase: %v", err)
		}
		if _, err := both.(card.SecureHolder).UnblockPIN(ctx, s, make([]byte, 8)); err != nil {
			t.Errorf("secure: %v", err)
		}
	}
	none := card.Holders(&holder{}, &holder{})
	if _, err := none.(card.LoadHolder).LoadMAC2(ctx, s, keys.Load{}, [4]byte{}); !errors.Is(err, card.ErrHolderUnable) {
		t.Errorf("nobody: %v", err)
	}
	if card.Holders(nil, nil) != nil {
		t.Error("no holder is one")
	}
}

// elsewhereVault has the root keys and derives with another area: a card that
// was personalised elsewhere.
type elsewhereVault struct{ vault }

func (v *elsewhereVault) InternalAuth(ctx context.Context, s keys.Subject, process, raw [8]byte) ([8]byte, error) {
	s.Area = "110100"
	return v.vault.InternalAuth(ctx, s, process, raw)
}
