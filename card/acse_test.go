package card_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"onecard/card"
	"onecard/card/cardsim"
	"onecard/fault"
)

func certified(t testing.TB) *simConn {
	t.Helper()
	return changed(t, "3.0", func(m map[string]any) { m["certificates"] = map[string]any{"pin": "135790", "admin_pin": "24681357"} })
}

func environment(t testing.TB, s *simConn) *card.Certificates {
	t.Helper()
	x, err := open(t, s).Certificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// certificate is one that an issuer gives for a card's key.
func certificate(t testing.TB, key *ecdsa.PublicKey, extra int) []byte {
	t.Helper()
	issuer, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := pkix.Name{CommonName: "onecard test", OrganizationalUnit: []string{string(bytes.Repeat([]byte("x"), extra))}}
	c := &smx509.Certificate{SerialNumber: big.NewInt(1), Subject: name, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := smx509.CreateCertificate(rand.Reader, c, c, key, issuer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestCertificates(t *testing.T) {
	if _, err := open(t, example(t, "2.0")).Certificates(t.Context()); !errors.Is(err, card.ErrNoCertificates) || fault.Of(err).Code != fault.NoCertificates {
		t.Errorf("a 2.0 card: %v", err)
	}
	s := certified(t)
	x := environment(t, s)
	message := []byte("I agree to the use of my data.")
	if _, err := x.GenerateKey(t.Context()); !errors.Is(err, card.ErrPINRequired) {
		t.Errorf("without PIN: %v", err)
	}
	if _, err := x.Sign(t.Context(), message); !errors.Is(err, card.ErrNoCertificates) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := x.ReadCertificate(t.Context(), card.ForSignature); !errors.Is(err, card.ErrNoCertificates) {
		t.Errorf("without a certificate: %v", err)
	}
	var wrong *card.WrongPINError
	if err := x.VerifyPIN(t.Context(), card.PIN("000000")); !errors.As(err, &wrong) || wrong.TriesLeft != 5 {
		t.Errorf("wrong PIN: %v", err)
	}
	if n, err := x.TriesLeft(t.Context()); n != 5 || err != nil {
		t.Errorf("%d tries, %v", n, err)
	}
	if err := x.VerifyPIN(t.Context(), card.PIN("135790")); err != nil {
		t.Fatal(err)
	}
	key, err := x.GenerateKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signature, err := x.Sign(t.Context(), message)
	if err != nil {
		t.Fatal(err)
	}
	if err := card.VerifySignature(key, message, signature); err != nil {
		t.Error(err)
	}
	if err := card.VerifySignature(key, message[1:], signature); !errors.Is(err, card.ErrSignature) || fault.Of(err).Code != fault.SignatureWrong {
		t.Errorf("another message: %v", err)
	}
	// Certificates of one and several commands.
	for _, extra := range []int{1, 200, 600} {
		der := certificate(t, key, extra)
		if err := x.WriteCertificate(t.Context(), card.ForSignature, der); extra == 1 && !errors.Is(err, card.ErrPINRequired) {
			t.Errorf("without the administrator: %v", err)
		}
		if err := x.VerifyAdministrator(t.Context(), card.PIN("24681357")); err != nil {
			t.Fatal(err)
		}
		if err := x.WriteCertificate(t.Context(), card.ForSignature, der); err != nil {
			t.Fatal(err)
		}
		got, err := x.ReadCertificate(t.Context(), card.ForSignature)
		if err != nil || !bytes.Equal(got, der) {
			t.Errorf("%d bytes, wrote %d, %v", len(got), len(der), err)
		}
		if err := card.VerifyWithCertificate(got, message, signature); err != nil {
			t.Errorf("by certificate: %v", err)
		}
	}
	before, err := x.ReadCertificate(t.Context(), card.ForSignature)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.WriteCertificate(t.Context(), card.ForSignature, certificate(t, key, 1500)); !errors.Is(err, card.ErrValue) {
		t.Errorf("longer than the file: %v", err)
	}
	if got, err := x.ReadCertificate(t.Context(), card.ForSignature); err != nil || !bytes.Equal(got, before) {
		t.Errorf("the old one is gone: %v", err)
	}
	other, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.WriteCertificate(t.Context(), card.ForSignature, certificate(t, &other.PublicKey, 1)); !errors.Is(err, card.ErrSignature) {
		t.Errorf("a certificate of another key: %v", err)
	}
	if err := x.WriteCertificate(t.Context(), card.ForSignature, []byte{0x30, 0}); !errors.Is(err, card.ErrValue) {
		t.Errorf("no certificate: %v", err)
	}
	if err := card.VerifyWithCertificate([]byte("no certificate"), message, signature); !errors.Is(err, card.ErrValue) {
		t.Errorf("%v", err)
	}
}

// The certificate PIN is another than the card's, and each is where it belongs.
func TestCertificatePINs(t *testing.T) {
	s := certified(t)
	c := open(t, s)
	x, err := c.Certificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
		t.Errorf("the card's PIN: %v", err)
	}
	if n, err := c.TriesLeft(t.Context()); n != 6 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	policy, of := card.DefaultPINPolicy(), card.Holder{}
	if err := x.ChangePIN(t.Context(), card.PIN("135790"), card.PIN("111111"), policy, of); !errors.Is(err, card.ErrPINTrivial) {
		t.Errorf("%v", err)
	}
	if err := x.ChangePIN(t.Context(), card.PIN("135790"), card.PIN("97531864"), policy, of); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		if err := x.VerifyPIN(t.Context(), card.PIN("135790")); err == nil {
			t.Fatal("the old PIN is good")
		}
	}
	if err := x.VerifyPIN(t.Context(), card.PIN("97531864")); !errors.Is(err, card.ErrPINBlocked) {
		t.Errorf("blocked: %v", err)
	}
	if err := x.ResetPIN(t.Context(), card.PIN("00000000"), card.PIN("258369"), policy, of); fault.Of(err).Code != fault.PINWrong {
		t.Errorf("no administrator: %v", err)
	}
	if err := x.ResetPIN(t.Context(), card.PIN("24681357"), card.PIN("258369"), policy, of); err != nil {
		t.Fatal(err)
	}
	if err := x.VerifyPIN(t.Context(), card.PIN("258369")); err != nil {
		t.Error(err)
	}
}

// Torn out while its certificate is written, a card has the old one, the new
// one or none, and takes the new one afterwards; its key pair is the old or the
// new one, whole.
func TestTearsOfCertificates(t *testing.T) {
	s := certified(t)
	x := environment(t, s)
	if err := x.VerifyPIN(t.Context(), card.PIN("135790")); err != nil {
		t.Fatal(err)
	}
	key, err := x.GenerateKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, second := certificate(t, key, 300), certificate(t, key, 400)
	put := func(s *tornConn, der []byte) error {
		c, err := card.Open(t.Context(), s)
		if err != nil {
			return err
		}
		x, err := c.Certificates(t.Context())
		if err == nil {
			err = x.VerifyAdministrator(t.Context(), card.PIN("24681357"))
		}
		if err == nil {
			err = x.WriteCertificate(t.Context(), card.ForSignature, der)
		}
		return err
	}
	if err := put(insertClone(s.card), first); err != nil {
		t.Fatal(err)
	}
	base := s.card
	whole := insertClone(base.Clone())
	if err := put(whole, second); err != nil {
		t.Fatal(err)
	}
	list := cuts(whole.card.Writes()-base.Writes(), whole.n)
	for _, cut := range list {
		torn := insertClone(base.Clone())
		torn.before, torn.after = cut.before, cut.after
		torn.card.TearAt(cut.tear)
		_ = put(torn, second)
		torn.card.TearAt(cardsim.Tear{})
		back := insertClone(torn.card)
		c, err := open(t, back).Certificates(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		der, err := c.ReadCertificate(t.Context(), card.ForSignature)
		if !bytes.Equal(der, first) && !bytes.Equal(der, second) && !errors.Is(err, card.ErrNoCertificates) {
			t.Errorf("%s: half a certificate, %v", cut, err)
		}
		if err := put(insertClone(torn.card), second); err != nil {
			t.Errorf("%s: %v", cut, err)
		}
	}
	n := len(list)

	generate := func(s *tornConn) error {
		c, err := card.Open(t.Context(), s)
		if err != nil {
			return err
		}
		x, err := c.Certificates(t.Context())
		if err == nil {
			err = x.VerifyPIN(t.Context(), card.PIN("135790"))
		}
		if err == nil {
			_, err = x.GenerateKey(t.Context())
		}
		return err
	}
	whole = insertClone(base.Clone())
	if err := generate(whole); err != nil {
		t.Fatal(err)
	}
	list = cuts(whole.card.Writes()-base.Writes(), whole.n)
	for _, cut := range list {
		torn := insertClone(base.Clone())
		torn.before, torn.after = cut.before, cut.after
		torn.card.TearAt(cut.tear)
		_ = generate(torn)
		torn.card.TearAt(cardsim.Tear{})
		back := insertClone(torn.card)
		x, err := open(t, back).Certificates(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := x.VerifyPIN(t.Context(), card.PIN("135790")); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Sign(t.Context(), []byte("message")); err != nil { // it verifies by the public key on the card
			t.Errorf("%s: the pair does not fit together: %v", cut, err)
		}
	}
	t.Logf("%d cut points", n+len(list))
}
