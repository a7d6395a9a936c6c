package hsmsim_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"onecard/card/keys"
	"onecard/hsm-sim/hsm"
)

type moneyVector struct {
	vector
	ReloadPIN struct {
		Challenge, Command bytesHex
		PIN                string
	} `json:"reload_pin"`
	Purchase struct {
		Random, Sequence, Terminal, Time, MAC1, MAC2, TAC bytesHex
		TerminalSequence                                  bytesHex `json:"terminal_sequence"`
		Account, Self, Pooling                            uint32
	}
}

func (v moneyVector) purchase() keys.Purchase {
	p := v.Purchase
	return keys.Purchase{Random: [4]byte(p.Random), Sequence: binary.BigEndian.Uint16(p.Sequence),
		TerminalSequence: binary.BigEndian.Uint32(p.TerminalSequence), Terminal: [6]byte(p.Terminal), Time: [7]byte(p.Time),
		Account: p.Account, Self: p.Self, Pooling: p.Pooling}
}

func moneyVectors(t *testing.T) []moneyVector {
	t.Helper()
	text, err := os.ReadFile("../card/keys/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Cases []moneyVector }
	if err := json.Unmarshal(text, &v); err != nil || len(v.Cases) == 0 {
		t.Fatalf("vectors.json: %d cases, %v", len(v.Cases), err)
	}
	return v.Cases
}

func TestSecuredCommandsOverTheWire(t *testing.T) {
	_, addr := start(t)
	client := connect(t, addr)
	for _, v := range moneyVectors(t) {
		s, challenge := v.subject(), v.ReloadPIN.Challenge
		pin := bytesHex{}
		if err := pin.UnmarshalText([]byte(v.ReloadPIN.PIN)); err != nil {
			t.Fatal(err)
		}
		command, err := client.ReloadPIN(t.Context(), s, challenge, pin)
		if err != nil || !bytes.Equal(command, v.ReloadPIN.Command) {
			t.Errorf("%s: reload: %x, %v", v.Area, command, err)
		}
		card, err := s.CardKey(keys.TestRoot("STK", 1))
		if err != nil {
			t.Fatal(err)
		}
		session, err := keys.NewSession(s.Algorithm, card, challenge)
		if err != nil {
			t.Fatal(err)
		}
		want, err := session.UnblockPIN()
		if err != nil {
			t.Fatal(err)
		}
		if command, err = client.UnblockPIN(t.Context(), s, challenge); err != nil || !bytes.Equal(command, want) {
			t.Errorf("%s: unblock: %x, %v", v.Area, command, err)
		}
		header := keys.Header{0x04, 0xDC, 0x01, 0x2C}
		data := []byte("\x71\x03\x51\x01\x00")
		if want, err = session.Secure(header, data); err != nil {
			t.Fatal(err)
		}
		if command, err = client.SecureCommand(t.Context(), s, "STK", challenge, header, data); err != nil || !bytes.Equal(command, want) {
			t.Errorf("%s: secure: %x, %v", v.Area, command, err)
		}
	}
}

// What an HSM must not do for anybody who can reach it.
func TestSecuredCommandsRefused(t *testing.T) {
	_, addr := start(t)
	client := connect(t, addr)
	challenge := make([]byte, 8)
	secure := func(key string, h keys.Header) error {
		_, err := client.SecureCommand(t.Context(), subject, key, challenge, h, nil)
		return err
	}
	for name, test := range map[string]struct {
		err  error
		want hsm.Status
	}{
		"RELOAD PIN by the back door":   {secure("STK", keys.ReloadPINHeader), hsm.StatusFieldValue},
		"a command that is not secured": {secure("STK", keys.Header{0x00, 0xDC, 1, 4}), hsm.StatusFieldValue},
		"a key for authentication":      {secure("UKSSSE", keys.Header{0x04, 0xDC, 1, 4}), hsm.StatusKeyUse},
		"no key":                        {secure("STKDF09", keys.Header{0x04, 0xDC, 1, 4}), hsm.StatusKeyUnknown},
	} {
		var refused *hsm.RefusedError
		if !errors.As(test.err, &refused) || refused.Status != test.want {
			t.Errorf("%s: %v", name, test.err)
		}
	}
	if _, err := client.ReloadPIN(t.Context(), subject, challenge, []byte{0x12}); !errors.Is(err, keys.ErrSubject) {
		t.Errorf("a PIN of two digits: %v", err)
	}
	if _, err := client.UnblockPIN(t.Context(), subject, challenge[:5]); !errors.Is(err, keys.ErrSubject) {
		t.Errorf("a challenge of five bytes: %v", err)
	}
	if _, err := client.SecureCommand(t.Context(), subject, "STK", challenge, keys.Header{4}, make([]byte, 252)); !errors.Is(err, keys.ErrTooLong) {
		t.Errorf("252 bytes: %v", err)
	}
}

func TestPurchaseOverTheWire(t *testing.T) {
	_, addr := start(t)
	client := connect(t, addr)
	for _, v := range moneyVectors(t) {
		s, p := v.subject(), v.purchase()
		mac1, err := client.PurchaseMAC1(t.Context(), s, &p)
		if err != nil || !bytes.Equal(mac1[:], v.Purchase.MAC1) {
			t.Errorf("%s: MAC1 %x, %v", v.Area, mac1, err)
		}
		mac2, tac := [4]byte(v.Purchase.MAC2), [4]byte(v.Purchase.TAC)
		if err := client.CheckMAC2(t.Context(), s, p, mac2); err != nil {
			t.Errorf("%s: MAC2: %v", v.Area, err)
		}
		if err := client.CheckPurchaseTAC(t.Context(), s, p, tac); err != nil {
			t.Errorf("%s: TAC: %v", v.Area, err)
		}
		mac2[3] ^= 1
		tac[0] ^= 1
		if err := client.CheckMAC2(t.Context(), s, p, mac2); !errors.Is(err, keys.ErrMAC) || !errors.Is(err, hsm.ErrRefused) {
			t.Errorf("%s: a wrong MAC2: %v", v.Area, err)
		}
		if err := client.CheckPurchaseTAC(t.Context(), s, p, tac); !errors.Is(err, keys.ErrMAC) {
			t.Errorf("%s: a wrong TAC: %v", v.Area, err)
		}
	}
}

func TestLoadOverTheWire(t *testing.T) {
	_, addr := start(t)
	client := connect(t, addr)
	for _, a := range []keys.Algorithm{keys.DES, keys.SM4} {
		s := subject
		s.Algorithm = a
		key := func(name string) keys.Key {
			k, err := s.CardKey(keys.TestRoot(name, 1))
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		l := keys.Load{Random: [4]byte{1, 2, 3, 4}, Sequence: 7, Balance: 1000, Amount: 50, Terminal: [6]byte{0x51}, Time: [7]byte{0x20, 0x26}}
		session, err := l.Session(a, key("DLK"))
		if err != nil {
			t.Fatal(err)
		}
		tac, err := l.TAC(a, key("DTK"))
		if err != nil {
			t.Fatal(err)
		}
		mac1 := l.MAC1(&session)
		mac2, err := client.LoadMAC2(t.Context(), s, l, mac1)
		if err != nil || mac2 != l.MAC2(&session) {
			t.Errorf("%v: MAC2 %x, %v", a, mac2, err)
		}
		if err := client.CheckLoadTAC(t.Context(), s, l, tac); err != nil {
			t.Errorf("%v: TAC: %v", a, err)
		}
		mac1[0] ^= 1
		tac[0] ^= 1
		if mac2, err := client.LoadMAC2(t.Context(), s, l, mac1); !errors.Is(err, keys.ErrMAC) || mac2 != [4]byte{} {
			t.Errorf("%v: credited for a wrong MAC1: %v", a, err)
		}
		if err := client.CheckLoadTAC(t.Context(), s, l, tac); !errors.Is(err, keys.ErrMAC) {
			t.Errorf("%v: a wrong TAC: %v", a, err)
		}
		l.Balance = 1<<32 - 1
		if err := client.CheckLoadTAC(t.Context(), s, l, tac); !errors.Is(err, hsm.ErrRefused) || errors.Is(err, keys.ErrMAC) {
			t.Errorf("%v: a balance that overflows: %v", a, err)
		}
	}
}
