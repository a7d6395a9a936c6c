package terminal

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"onecard/card"
	"onecard/reader/pinpad"
)

// A SummaryDocument is what a person wants to know of the own card: everything
// that PIN and keys open, and why the rest is missing.
type SummaryDocument struct {
	Identity IdentityDocument `json:"identity"`
	card.Summary
	Missing []MissingDocument `json:"missing,omitempty"`
}

// A MissingDocument is a file that could not be read, or not wholly.
type MissingDocument struct {
	File  string `json:"file"`
	Fault *Fault `json:"fault"`
}

// Summary reads what a person at a kiosk wants to know, in the fewest commands.
func (s *Service) Summary(ctx context.Context, id string) (SummaryDocument, error) {
	d, err := s.desk(id)
	if err != nil {
		return SummaryDocument{}, err
	}
	var doc SummaryDocument
	err = d.ask(ctx, 0, func(ctx context.Context, h *held) error {
		// Records are the holder's to show: the key holder opens only what no
		// PIN does, so without the PIN there is the identity alone.
		if !h.card.PINVerified() {
			return card.ErrPINRequired
		}
		sum, err := h.card.Summary(ctx, s.keys())
		doc.Summary = sum
		return err
	})
	if err != nil {
		return SummaryDocument{}, err
	}
	doc.Identity = identityDocument(doc.Summary.Identity)
	for _, m := range doc.Summary.Missing {
		doc.Missing = append(doc.Missing, MissingDocument{m.File.String(), Explain(m.Reason)})
	}
	s.audit("summary shown", d)
	return doc, nil
}

// A Certificate is what the certificate environment of a 3.0 card shows.
type Certificate struct {
	PublicKey   string `json:"public_key,omitempty"`  // 04, x and y in hexadecimal
	Certificate string `json:"certificate,omitempty"` // DER in base64
}

// A Signature is an SM2 signature by the card.
type Signature struct {
	Signature string `json:"signature"` // ASN.1 in base64
	Certificate
}

// Certificate reads the public key for signatures and its certificate.
func (s *Service) Certificate(ctx context.Context, id string) (Certificate, error) {
	d, err := s.desk(id)
	if err != nil {
		return Certificate{}, err
	}
	var doc Certificate
	err = d.ask(ctx, 0, func(ctx context.Context, h *held) error {
		x, err := h.card.Certificates(ctx)
		if err != nil {
			return err
		}
		doc, err = readCertificate(ctx, x)
		return err
	})
	return doc, err
}

// Sign has the card sign a message with SM2. digits is the PIN of the certificate
// environment, which is not the card's own; nil asks at the pad.
func (s *Service) Sign(ctx context.Context, id string, digits, message []byte) (Signature, error) {
	var doc Signature
	err := s.withCertificatePIN(ctx, id, digits, func(ctx context.Context, x *card.Certificates) error {
		signature, err := x.Sign(ctx, message)
		if err != nil {
			return err
		}
		doc.Signature = base64.StdEncoding.EncodeToString(signature)
		doc.Certificate, err = readCertificate(ctx, x)
		return err
	})
	return doc, err
}

// GenerateKey has the card make a new key pair for signatures; the old pair and
// its certificate are of no use any more.
func (s *Service) GenerateKey(ctx context.Context, id string, digits []byte) (Certificate, error) {
	var doc Certificate
	err := s.withCertificatePIN(ctx, id, digits, func(ctx context.Context, x *card.Certificates) error {
		if _, err := x.GenerateKey(ctx); err != nil {
			return err
		}
		var err error
		doc, err = readCertificate(ctx, x)
		return err
	})
	return doc, err
}

// withCertificatePIN opens the certificate environment, proves its PIN and does
// what needs it.
func (s *Service) withCertificatePIN(ctx context.Context, id string, digits []byte, do func(context.Context, *card.Certificates) error) error {
	defer clear(digits)
	d, err := s.desk(id)
	if err != nil {
		return err
	}
	view, _ := d.published()
	if view.Card == nil {
		return d.absent()
	}
	pin := card.PIN(digits)
	if digits == nil {
		if pin, err = s.enterPIN(ctx, d, pinpad.Enter); err != nil {
			return err
		}
		defer pin.Wipe()
	}
	err = d.ask(ctx, view.Card.Insertion, func(ctx context.Context, h *held) error {
		x, err := h.card.Certificates(ctx)
		if err != nil {
			return err
		}
		if err := x.VerifyPIN(ctx, pin); err != nil {
			return err
		}
		return do(ctx, x)
	})
	s.audit("certificate environment used", d)
	return err
}

func readCertificate(ctx context.Context, x *card.Certificates) (Certificate, error) {
	key, err := x.PublicKey(ctx, card.ForSignature)
	if err != nil {
		return Certificate{}, err
	}
	point, err := card.PublicKeyBytes(key)
	if err != nil {
		return Certificate{}, err
	}
	doc := Certificate{PublicKey: strings.ToUpper(hex.EncodeToString(point))}
	der, err := x.ReadCertificate(ctx, card.ForSignature)
	switch {
	case err == nil:
		doc.Certificate = base64.StdEncoding.EncodeToString(der)
	case !errors.Is(err, card.ErrNoCertificates):
		return Certificate{}, err
	}
	return doc, nil
}
