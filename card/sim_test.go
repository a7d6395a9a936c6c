package card_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"onecard/apdu"
	"onecard/card"
	"onecard/card/cardsim"
	"onecard/card/keys"
	"onecard/fault"
)

// simConn is a Conn to a simulated card, by the exchanger that real readers
// use. It records the commands as they go over the wire.
type simConn struct {
	card *cardsim.Card
	atr  []byte
	x    *apdu.Exchanger
	sent [][]byte
	fail error // the next command fails with it, and the card is reset
}

func (s *simConn) Transmit(_ context.Context, command []byte) ([]byte, error) {
	s.sent = append(s.sent, append([]byte(nil), command...))
	if err := s.fail; err != nil {
		s.fail = nil
		s.card.PowerOff()
		s.card.PowerOn()
		return nil, err
	}
	return s.card.Transmit(command), nil
}

func (s *simConn) Exchange(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	return s.x.Exchange(ctx, c)
}

func (s *simConn) ATR() []byte { return s.atr }

// commands returns the instruction bytes since the last call.
func (s *simConn) commands() string {
	var ins []string
	for _, c := range s.sent {
		ins = append(ins, fmt.Sprintf("%02X", c[1]))
	}
	s.sent = nil
	return strings.Join(ins, " ")
}

func insert(t testing.TB, img *cardsim.Image, opts ...cardsim.Option) *simConn {
	t.Helper()
	c, err := cardsim.New(img, opts...)
	if err != nil {
		t.Fatal(err)
	}
	s := &simConn{card: c, atr: c.PowerOn()}
	s.x = apdu.NewExchanger(s)
	return s
}

func example(t testing.TB, name string, opts ...cardsim.Option) *simConn {
	t.Helper()
	img, err := cardsim.Example(name)
	if err != nil {
		t.Fatal(err)
	}
	return insert(t, img, opts...)
}

// changed is the example with values put in place of others; nil takes away.
func changed(t testing.TB, name string, change func(m map[string]any), opts ...cardsim.Option) *simConn {
	t.Helper()
	b, err := cardsim.Images().ReadFile("images/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if b, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	img, err := cardsim.ParseImage(b)
	if err != nil {
		t.Fatal(err)
	}
	return insert(t, img, opts...)
}

// holder computes with the test roots, as an HSM does.
type holder struct {
	internal, external atomic.Int32
	err                error // every answer
	wrongExternal      bool
}

func (h *holder) key(s keys.Subject, name string) (keys.Key, error) {
	return s.CardKey(keys.TestRoot(name, s.KeyVersion()))
}

func (h *holder) InternalAuth(_ context.Context, s keys.Subject, process, raw [8]byte) ([8]byte, error) {
	h.internal.Add(1)
	if h.err != nil {
		return [8]byte{}, h.err
	}
	k, err := h.key(s, "IRK")
	if err != nil {
		return [8]byte{}, err
	}
	return keys.InternalAnswer(s.Algorithm, k, process, raw)
}

func (h *holder) ExternalAuth(_ context.Context, s keys.Subject, name string, challenge []byte, raw [8]byte) ([8]byte, error) {
	h.external.Add(1)
	if h.err != nil {
		return [8]byte{}, h.err
	}
	k, err := h.key(s, name)
	if err != nil {
		return [8]byte{}, err
	}
	auth, err := keys.ExternalAuth(s.Algorithm, k, challenge, raw)
	if h.wrongExternal {
		auth[0] ^= 1
	}
	return auth, err
}

func open(t testing.TB, conn card.Conn, opts ...card.Option) *card.Card {
	t.Helper()
	c, err := card.Open(t.Context(), conn, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIdentityInTheFewestCommands(t *testing.T) {
	for _, tt := range []struct {
		image, commands, version, name, ssn, birth string
		algorithm                                  keys.Algorithm
	}{
		{"1.0", "A4 B2 88 B2", "1.00", "王秀英", "330102194603050", "1946-03-05", keys.DES},
		{"2.0", "A4 B2 88 B2", "2.00", "张三", "41010119900307", "1990-03-07", keys.DES},
		{"3.0", "A4 B2 88 84 82 B2", "3.00", "欧阳海燕", "510104195807120", "1958-07-12", keys.SM4},
	} {
		t.Run(tt.image, func(t *testing.T) {
			s := example(t, tt.image)
			c := open(t, s)
			id, err := c.Identity(t.Context(), &holder{})
			if err != nil {
				t.Fatal(err)
			}
			if got := s.commands(); got != tt.commands {
				t.Errorf("commands %s, want %s", got, tt.commands)
			}
			if !id.Authenticated || id.AuthError != nil || id.HolderError != nil || !c.Authenticated() {
				t.Errorf("authenticated %v (%v), holder %v", id.Authenticated, id.AuthError, id.HolderError)
			}
			if id.Holder.Name != tt.name || !strings.HasPrefix(id.Holder.SocialSecurityNumber, tt.ssn) ||
				id.Holder.BirthDate.String() != tt.birth || id.Holder.SexText.ZH == "" || id.Holder.EthnicGroupText.ZH != "汉族" {
				t.Errorf("holder %+v", id.Holder)
			}
			i := id.Issuer
			if i.Version != tt.version || i.Algorithm != tt.algorithm || len(i.IdentificationCode) != 32 || len(i.Number) != 9 ||
				i.Issued.IsZero() || i.Expires.IsZero() != (tt.image == "1.0") || i.Area == "" || len(i.Problems) != 0 {
				t.Errorf("issuer %+v", i)
			}
		})
	}
}

func TestIdentityJSON(t *testing.T) {
	c := open(t, example(t, "3.0"))
	id, err := c.Identity(t.Context(), &holder{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(id)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Card          map[string]any
		Holder        map[string]any
		Authenticated bool
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"identification_code", "version", "algorithm", "number", "issued", "expires", "area"} {
		if s, _ := got.Card[k].(string); s == "" {
			t.Errorf("card has no %s: %s", k, b)
		}
	}
	for _, k := range []string{"social_security_number", "name", "sex", "ethnic_group", "birth_date"} {
		if s, _ := got.Holder[k].(string); s == "" {
			t.Errorf("holder has no %s: %s", k, b)
		}
	}
	if got.Holder["birth_date"] != "1958-07-12" || got.Card["algorithm"] != "SM4" || !got.Authenticated {
		t.Errorf("%s", b)
	}
}

// All ways in which the card systems of the simulator are odd lead to the same
// identity.
func TestIdentityDespiteQuirks(t *testing.T) {
	for _, image := range []string{"1.0", "2.0", "3.0"} {
		plain, err := open(t, example(t, image)).Identity(t.Context(), &holder{})
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []cardsim.Quirk{cardsim.QuirkMode5Parameters, cardsim.QuirkMode5Structure, cardsim.QuirkGetResponse,
			cardsim.QuirkStrictLe, cardsim.QuirkSelectP1Zero, cardsim.QuirkSpacePadded, cardsim.QuirkRootSSSE, cardsim.QuirkPINBlocked} {
			t.Run(image+" "+string(q), func(t *testing.T) {
				s := example(t, image, cardsim.WithQuirks(q))
				id, err := open(t, s).Identity(t.Context(), &holder{})
				if err != nil {
					t.Fatal(err)
				}
				if id.Holder != plain.Holder || !id.Authenticated || id.HolderError != nil || len(id.Issuer.Problems) != 0 {
					t.Errorf("%+v", id)
				}
				t.Log(s.commands())
			})
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		quirk cardsim.Quirk
		code  fault.Code
	}{
		{cardsim.QuirkAppBlocked, fault.CardBlocked},
		{cardsim.QuirkCardBlocked, fault.CardBlocked},
		{cardsim.QuirkSSF33, fault.AlgorithmUnsupported},
		{cardsim.QuirkEndless61, fault.CardEndless},
		{cardsim.QuirkEndless6C, fault.CardEndless},
		{cardsim.QuirkGarbage, fault.CardGarbage},
		{cardsim.QuirkShort, fault.CardGarbage},
	} {
		t.Run(string(tt.quirk), func(t *testing.T) {
			_, err := card.Open(t.Context(), example(t, "2.0", cardsim.WithQuirks(tt.quirk)))
			if got := fault.Of(err); err == nil || got.Code != tt.code {
				t.Errorf("%v: %s, want %s", err, got.Code, tt.code)
			}
		})
	}
	t.Run("bank card", func(t *testing.T) {
		img, err := cardsim.ParseImage([]byte(`{"kind":"bank","atr":"3B6D000000640400220000000000000000"}`))
		if err != nil {
			t.Fatal(err)
		}
		_, err = card.Open(t.Context(), insert(t, img))
		if !errors.Is(err, card.ErrNotSocialSecurityCard) || fault.Of(err).Code != fault.NotSocialSecurityCard {
			t.Errorf("%v", err)
		}
	})
}

func TestIdentityWithoutKeyHolder(t *testing.T) {
	unreachable := fault.New(fault.HSMUnreachable, "no HSM")
	for _, tt := range []struct {
		image string
		kh    card.KeyHolder
		want  error
		read  bool
	}{
		{"1.0", nil, card.ErrNoKeyHolder, true},
		{"2.0", nil, card.ErrNoKeyHolder, true},
		{"3.0", nil, card.ErrNoKeyHolder, false},
		{"2.0", &holder{err: unreachable}, unreachable, true},
		{"3.0", &holder{err: unreachable}, unreachable, false},
	} {
		id, err := open(t, example(t, tt.image)).Identity(t.Context(), tt.kh)
		if err != nil {
			t.Fatal(err)
		}
		if id.Authenticated || !errors.Is(id.AuthError, tt.want) {
			t.Errorf("%s: authenticated %v, %v", tt.image, id.Authenticated, id.AuthError)
		}
		if got := id.HolderError == nil && id.Holder.Name != ""; got != tt.read {
			t.Errorf("%s: holder read %v (%v)", tt.image, got, id.HolderError)
		}
		if !tt.read && !errors.Is(id.HolderError, tt.want) {
			t.Errorf("%s: holder error %v", tt.image, id.HolderError)
		}
		if id.Issuer.Number == "" {
			t.Errorf("%s: no issuer's part", tt.image)
		}
	}
}

func TestNotGenuineUsesUpNothing(t *testing.T) {
	for _, image := range []string{"2.0", "3.0"} {
		s := example(t, image, cardsim.WithQuirks(cardsim.QuirkNotGenuine))
		c := open(t, s)
		id, err := c.Identity(t.Context(), &holder{})
		if err != nil {
			t.Fatal(err)
		}
		if id.Authenticated || c.Authenticated() || !errors.Is(id.AuthError, card.ErrNotGenuine) || fault.Of(id.AuthError).Code != fault.CardNotGenuine {
			t.Errorf("%s: %v %v", image, id.Authenticated, id.AuthError)
		}
		if strings.Contains(s.commands(), "82") {
			t.Errorf("%s: EXTERNAL AUTHENTICATE was sent to a card that is not genuine", image)
		}
		if read := id.Holder.Name != ""; read != (image == "2.0") {
			t.Errorf("%s: holder read: %v", image, read)
		}
	}
}

func TestExternalAuthenticationIsNotRepeated(t *testing.T) {
	s := example(t, "3.0")
	c := open(t, s)
	kh := &holder{wrongExternal: true}
	id, err := c.Identity(t.Context(), kh)
	if err != nil {
		t.Fatal(err)
	}
	var failed *card.ExternalAuthError
	if !errors.As(id.HolderError, &failed) || failed.TriesLeft != 2 || failed.Key != "RKSSSE" || fault.Of(id.HolderError).Code != fault.ExternalAuthFailed {
		t.Fatalf("%v", id.HolderError)
	}
	if !id.Authenticated {
		t.Errorf("the card is genuine: %v", id.AuthError)
	}
	s.commands()
	id, err = c.Identity(t.Context(), kh)
	if err != nil || !errors.As(id.HolderError, &failed) || strings.Contains(s.commands(), "82") {
		t.Errorf("a second try: %v, %v", id.HolderError, err)
	}

	// Each new session may use up one; the third blocks the key.
	for _, left := range []int{1, 0} {
		id, err := open(t, s).Identity(t.Context(), kh)
		if err != nil || !errors.As(id.HolderError, &failed) || failed.TriesLeft != left {
			t.Errorf("%d left: %v, %v", left, id.HolderError, err)
		}
		if (fault.Of(id.HolderError).Code == fault.KeyBlocked) != (left == 0) {
			t.Errorf("%d left: %s", left, fault.Of(id.HolderError).Code)
		}
	}
	id, err = open(t, s).Identity(t.Context(), &holder{})
	if err != nil || !errors.Is(id.HolderError, card.ErrKeyBlocked) || fault.Of(id.HolderError).Code != fault.KeyBlocked {
		t.Errorf("blocked: %v, %v", id.HolderError, err)
	}
}

// Another program selects another directory between two transactions: the same
// short file identifier means another file there.
func TestForgetSelection(t *testing.T) {
	ctx := context.Background()
	conn := example(t, "3.0")
	c, err := card.Open(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.VerifyPIN(ctx, card.PIN("123456")); err != nil {
		t.Fatal(err)
	}
	unemployment, err := card.ParseFileID("DF03EF05")
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.ReadFile(ctx, unemployment, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, selected := range []string{"\xDF\x04", "\x3F\x00"} {
		if _, err := conn.Exchange(ctx, apdu.Command{INS: 0xA4, Data: []byte(selected), Le: apdu.MaxShortLe}); err != nil {
			t.Fatal(err)
		}
		c.ForgetSelection()
		got, err := c.ReadFile(ctx, unemployment, nil)
		if err != nil || fmt.Sprint(got.Records) != fmt.Sprint(want.Records) {
			t.Errorf("after a SELECT of %X: %v, %v", selected, got, err)
		}
	}
}
