package psam_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"onecard/apdu"
	"onecard/card"
	"onecard/card/cardsim"
	"onecard/card/keys"
	"onecard/card/psam"
	"onecard/fault"
)

var (
	_ card.KeyHolder    = (*psam.PSAM)(nil)
	_ card.SecureHolder = (*psam.PSAM)(nil)
	_ card.DebitHolder  = (*psam.PSAM)(nil)
)

// slot is a Conn to something simulated.
type slot struct {
	chip interface{ Transmit([]byte) []byte }
	atr  []byte
	x    *apdu.Exchanger
	sent int
	fail error
}

func (s *slot) Transmit(_ context.Context, command []byte) ([]byte, error) {
	s.sent++
	if s.fail != nil {
		return nil, s.fail
	}
	return s.chip.Transmit(command), nil
}

func (s *slot) Exchange(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	return s.x.Exchange(ctx, c)
}

func (s *slot) ATR() []byte { return s.atr }

func insert(chip interface {
	Transmit([]byte) []byte
	PowerOn() []byte
}) *slot {
	s := &slot{chip: chip, atr: chip.PowerOn()}
	s.x = apdu.NewExchanger(s)
	return s
}

// sam is the example PSAM with members of its image changed.
func sam(t testing.TB, edit map[string]any, opts ...cardsim.PSAMOption) *slot {
	t.Helper()
	m := map[string]any{"kind": "psam", "terminal": "410100813475", "historical_bytes": "0081544C9686845053414D0001", "terminal_sequence": 258, "keys": "test"}
	for k, v := range edit {
		m[k] = v
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	img, err := cardsim.ParsePSAMImage(b)
	if err != nil {
		t.Fatal(err)
	}
	p, err := cardsim.NewPSAM(img, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return insert(p)
}

func open(t testing.TB, s *slot) *psam.PSAM {
	t.Helper()
	p, err := psam.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func person(t testing.TB, image string) *card.Card {
	t.Helper()
	img, err := cardsim.Example(image)
	if err != nil {
		t.Fatal(err)
	}
	sim, err := cardsim.New(img)
	if err != nil {
		t.Fatal(err)
	}
	c, err := card.Open(t.Context(), insert(sim))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type journal struct {
	mu   sync.Mutex
	last card.Transaction
}

func (j *journal) Note(_ context.Context, t card.Transaction) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = t
	return nil
}

func (j *journal) Undecided(context.Context, string) ([]card.Transaction, error) { return nil, nil }

// The PSAM does everything a terminal does with a card.
func TestWithCards(t *testing.T) {
	for _, quirk := range [][]cardsim.Quirk{nil, {cardsim.QuirkGetResponse}, {cardsim.QuirkStrictLe}} {
		for _, image := range []string{"1.0", "2.0", "3.0"} {
			t.Run(fmt.Sprint(image, quirk), func(t *testing.T) {
				p := open(t, sam(t, nil, cardsim.PSAMWithQuirks(quirk...)))
				if p.Terminal() != "410100813475" {
					t.Errorf("terminal %s", p.Terminal())
				}
				c := person(t, image)
				id, err := c.Identity(t.Context(), p)
				if err != nil || !id.Authenticated || id.HolderError != nil || id.Holder.Name == "" {
					t.Fatalf("%+v, %v", id, err)
				}
				if err := c.ReloadPIN(t.Context(), p, card.PIN("258369"), card.DefaultPINPolicy(), id.Holder); err != nil {
					t.Fatal(err)
				}
				if err := c.UnblockPIN(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				if err := c.VerifyPIN(t.Context(), card.PIN("258369")); err != nil {
					t.Fatal(err)
				}
				if image == "1.0" {
					return
				}
				for n := range 3 {
					j := &journal{}
					tr, err := c.Purchase(t.Context(), p, j, card.Order{Account: 10, SelfPaid: 20, Pooling: 30, Terminal: p.Terminal(), TerminalSequence: 7,
						Time: card.Time{Date: card.Date{Year: 2026, Month: 11, Day: 21}}})
					if err != nil || !tr.Verified || tr.TerminalSequence != uint32(258+n) || j.last != tr {
						t.Errorf("%+v, %v", tr, err)
					}
				}
				if _, err := c.Purchase(t.Context(), p, &journal{}, card.Order{Account: 10, Terminal: "000000000000", Time: card.Time{Date: card.Date{Year: 2026, Month: 11, Day: 21}}}); fault.Of(err).Code != fault.ValueInvalid {
					t.Errorf("another terminal's number: %v", err)
				}
			})
		}
	}
}

// What it computes is what the keys say, for any card, key and challenge.
func TestComputesAsTheKeysSay(t *testing.T) {
	p := open(t, sam(t, nil))
	rapid.Check(t, func(r *rapid.T) {
		s := keys.Subject{Algorithm: rapid.SampledFrom([]keys.Algorithm{keys.DES, keys.SM4}).Draw(r, "algorithm"),
			Area: rapid.StringMatching(`[1-9][0-9]{5}`).Draw(r, "area"), Version: byte(rapid.IntRange(0, 3).Draw(r, "version"))}
		copy(s.Historical[:], rapid.SliceOfN(rapid.Byte(), 13, 13).Draw(r, "historical"))
		name := rapid.SampledFrom([]string{"RKSSSE", "UKSSSE", "PUK", "RK1DF04", "UK3DF03", "UKBDF01"}).Draw(r, "key")
		challenge := rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(r, "challenge")
		if rapid.Bool().Draw(r, "long") {
			challenge = append(challenge, challenge...)
		}
		raw := [8]byte(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(r, "raw"))
		key := func(name string) keys.Key {
			k, err := s.CardKey(keys.TestRoot(name, s.KeyVersion()))
			if err != nil {
				r.Fatal(err)
			}
			return k
		}
		want, err := keys.ExternalAuth(s.Algorithm, key(name), challenge, raw)
		if err != nil {
			r.Fatal(err)
		}
		if got, err := p.ExternalAuth(t.Context(), s, name, challenge, raw); err != nil || got != want {
			r.Fatalf("%s: %x, want %x, %v", name, got, want, err)
		}
		session, err := keys.NewSession(s.Algorithm, key("STKDF03"), challenge)
		if err != nil {
			r.Fatal(err)
		}
		h := keys.Header{0x04, 0xDC, 1, 0x3C}
		data := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(r, "data")
		secured, err := session.Secure(h, data)
		if err != nil {
			r.Fatal(err)
		}
		if got, err := p.SecureCommand(t.Context(), s, "STKDF03", challenge, h, data); err != nil || string(got) != string(secured) {
			r.Fatalf("secured: %x, want %x, %v", got, secured, err)
		}
	})
}

// Exactly what client programs fall back to the HSM for leads there.
func TestWhatItLacks(t *testing.T) {
	c := person(t, "3.0")
	for name, tt := range map[string]struct {
		edit map[string]any
		auth fault.Code
		hold fault.Code
	}{
		"no SM4 (-2202)":    {map[string]any{"algorithms": []string{"DES"}}, fault.PSAMLacksKey, fault.PSAMLacksKey},
		"no RKSSSE (-2203)": {map[string]any{"lacks": []string{"RKSSSE"}}, "", fault.PSAMLacksKey},
		"no IRK (-27272)":   {map[string]any{"lacks": []string{"IRK"}}, fault.PSAMLacksKey, fault.PSAMLacksKey},
	} {
		id, err := c.Identity(t.Context(), open(t, sam(t, tt.edit)))
		if err != nil {
			t.Fatal(err)
		}
		code := func(err error) fault.Code {
			if err == nil {
				return ""
			}
			return fault.Of(err).Code
		}
		if code(id.AuthError) != tt.auth || code(id.HolderError) != tt.hold {
			t.Errorf("%s: %v, %v", name, id.AuthError, id.HolderError)
		}
		// With another behind it, nobody notices.
		id, err = person(t, "3.0").Identity(t.Context(), card.Holders(open(t, sam(t, tt.edit)), open(t, sam(t, nil))))
		if err != nil || !id.Authenticated || id.HolderError != nil {
			t.Errorf("%s with another: %+v %v", name, id, err)
		}
	}
	// A PSAM of an area does its own cards.
	p := open(t, sam(t, map[string]any{"levels": 1, "area": "510100"}))
	if id, err := person(t, "3.0").Identity(t.Context(), p); err != nil || !id.Authenticated {
		t.Errorf("a PSAM of the area: %+v %v", id.AuthError, err)
	}
	// STK secures commands and authenticates nothing.
	s := keys.Subject{Algorithm: keys.SM4, Area: "510100"}
	if _, err := open(t, sam(t, nil)).ExternalAuth(t.Context(), s, "STK", make([]byte, 8), [8]byte{}); !errors.Is(err, keys.ErrSubject) {
		t.Errorf("STK: %v", err)
	}
}

func TestNoPSAM(t *testing.T) {
	img, err := cardsim.Example("2.0")
	if err != nil {
		t.Fatal(err)
	}
	sim, err := cardsim.New(img)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := psam.Open(t.Context(), insert(sim)); fault.Of(err).Code != fault.NoPSAM {
		t.Errorf("a person's card: %v", err)
	}
	s := sam(t, nil)
	p := open(t, s)
	s.fail = fault.New(fault.CardRemoved, "pulled out")
	c := person(t, "3.0")
	id, err := c.Identity(t.Context(), p)
	if err != nil || fault.Of(id.AuthError).Code != fault.NoPSAM || !errors.Is(id.AuthError, s.fail) {
		t.Errorf("%v %v", id.AuthError, err)
	}
	// Put in again it goes on: nothing is taken for selected.
	s.fail = nil
	s.chip.(*cardsim.PSAM).PowerOff()
	s.chip.(*cardsim.PSAM).PowerOn()
	if id, err := c.Identity(t.Context(), p); err != nil || !id.Authenticated {
		t.Errorf("again: %v %v", id.AuthError, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			_, _ = p.InternalAuth(ctx, keys.Subject{Algorithm: keys.SM4, Area: "510100"}, [8]byte{}, [8]byte{})
		})
	}
	wg.Wait()
}

// MAC2 can be checked once and for the last purchase only.
func TestCheckMAC2(t *testing.T) {
	p := open(t, sam(t, nil))
	s := keys.Subject{Algorithm: keys.SM4, Area: "510100", Version: 1}
	buy := keys.Purchase{Sequence: 7, Terminal: [6]byte{0x41, 0x01, 0x00, 0x81, 0x34, 0x75}, Time: [7]byte{0x20, 0x26}, Account: 1}
	if err := p.CheckMAC2(t.Context(), s, buy, [4]byte{}); !errors.Is(err, card.ErrHolderUnable) {
		t.Errorf("without a purchase: %v", err)
	}
	if _, err := p.PurchaseMAC1(t.Context(), s, &buy); err != nil {
		t.Fatal(err)
	}
	other := buy
	other.Account++
	if err := p.CheckMAC2(t.Context(), s, other, [4]byte{}); !errors.Is(err, card.ErrHolderUnable) {
		t.Errorf("another purchase: %v", err)
	}
	if err := p.CheckMAC2(t.Context(), s, buy, [4]byte{}); !errors.Is(err, keys.ErrMAC) {
		t.Errorf("a wrong MAC2: %v", err)
	}
	if err := p.CheckMAC2(t.Context(), s, buy, [4]byte{}); !errors.Is(err, card.ErrHolderUnable) {
		t.Errorf("a second time: %v", err)
	}
}
