package card

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/asn1"
	"fmt"
	"math/big"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/sm3"
	"github.com/emmansun/gmsm/sm4"
	"github.com/emmansun/gmsm/smx509"

	"onecard/apdu"
)

// The certificate environment of 3.0 cards (card specification, sections 2 and
// 4, ACSE): names and files of the reference profile.
const acseDF = "ACSE"

var acseNames = [][]byte{
	[]byte("PKI.\xC9\xE7\xBB\xE1\xB1\xA3\xD5\xCF"), // 社会保障
	[]byte("SS.CERT.ADF1"),
}

// A KeyUse chooses one of the two key pairs of a card.
type KeyUse int

// The key pairs. The card makes the one for signatures itself; the issuer puts
// the other on it.
const (
	ForSignature KeyUse = iota
	ForEncryption
)

func (u KeyUse) publicKeyFile() []byte {
	if u == ForEncryption {
		return []byte{0x00, 0x14}
	}
	return []byte{0x00, 0x12}
}

func (u KeyUse) certificateFile() []byte {
	if u == ForEncryption {
		return []byte{0x00, 0x19}
	}
	return []byte{0x00, 0x18}
}

// maxCertificate bounds what is read as a certificate.
const maxCertificate = 8192

// Certificates is the certificate environment of an open card. It has a user
// PIN and an administrator's PIN of its own; both are forgotten when anything
// else of the card is read.
type Certificates struct{ c *Card }

// Certificates selects the certificate environment: two commands. A card
// without one gives [ErrNoCertificates].
func (c *Card) Certificates(ctx context.Context) (*Certificates, error) {
	x := &Certificates{c}
	if err := x.enter(ctx); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	return x, nil
}

func (x *Certificates) enter(ctx context.Context) error {
	c := x.c
	if c.lost {
		if err := c.resume(ctx); err != nil {
			return err
		}
	}
	if c.df == acseDF {
		return nil
	}
	c.df, c.ef = "", ""
	clear(c.held)
	for _, name := range acseNames {
		r, err := c.exchange(ctx, selectByName(name))
		if err != nil {
			return err
		}
		if !r.Status.OK() {
			return fmt.Errorf("%w (%w)", ErrNoCertificates, refused("SELECT "+acseDF, r.Status))
		}
	}
	c.df = acseDF
	return nil
}

// command sends a command in the environment and returns its data.
func (x *Certificates) command(ctx context.Context, name string, cmd apdu.Command) ([]byte, error) {
	if err := x.enter(ctx); err != nil {
		return nil, err
	}
	r, err := x.c.exchange(ctx, cmd)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case r.Status == apdu.StatusSecurity:
		return nil, fmt.Errorf("%w (%w)", ErrPINRequired, refused(name, r.Status))
	case r.Status == apdu.StatusKeyNotFound:
		return nil, fmt.Errorf("%w (%w)", ErrNoCertificates, refused(name, r.Status))
	case r.Status == apdu.StatusBlocked:
		return nil, ErrPINBlocked
	case !gaveData(r.Status):
		if n, ok := r.Status.TriesLeft(); ok {
			return nil, &WrongPINError{TriesLeft: n}
		}
		return nil, refused(name, r.Status)
	}
	return r.Data, nil
}

const (
	userPIN          byte = 0x81
	administratorPIN byte = 0x80
)

// pinDigest is the first 16 bytes of SM3 over the PIN in BCD, a key of SM4.
func pinDigest(pin PIN) [16]byte {
	bcd := pin.bcd()
	defer clear(bcd)
	sum := sm3.Sum(bcd)
	return [16]byte(sum[:16])
}

// wrap encrypts one block under a PIN.
func wrap(digest [16]byte, block []byte) ([]byte, error) {
	c, err := sm4.NewCipher(digest[:])
	if err != nil {
		return nil, err
	}
	out := make([]byte, 16)
	c.Encrypt(out, block)
	return out, nil
}

// proof answers a challenge with a PIN: the PIN itself never leaves.
func (x *Certificates) proof(ctx context.Context, digest [16]byte) ([]byte, error) {
	challenge, err := x.command(ctx, "GET CHALLENGE", apdu.Command{INS: 0x84, Le: 16})
	if err != nil {
		return nil, err
	}
	if len(challenge) != 16 {
		return nil, fmt.Errorf("GET CHALLENGE: %w: %d bytes", apdu.ErrGarbage, len(challenge))
	}
	return wrap(digest, challenge)
}

// TriesLeft asks how many wrong user PINs the environment still permits.
func (x *Certificates) TriesLeft(ctx context.Context) (int, error) {
	if err := x.enter(ctx); err != nil {
		return 0, fmt.Errorf("tries left: %w", err)
	}
	r, err := x.c.exchange(ctx, apdu.Command{INS: 0x20, P1: 0x01, P2: userPIN})
	if err != nil {
		return 0, fmt.Errorf("tries left: %w", err)
	}
	if n, ok := r.Status.TriesLeft(); ok {
		return n, nil
	}
	if r.Status == apdu.StatusBlocked {
		return 0, nil
	}
	return 0, fmt.Errorf("tries left: %w", refused("VERIFY", r.Status))
}

// VerifyPIN proves the user PIN and wipes it. Errors are those of
// [Card.VerifyPIN].
func (x *Certificates) VerifyPIN(ctx context.Context, pin PIN) error {
	return x.verify(ctx, pin, userPIN)
}

// VerifyAdministrator proves the administrator's PIN and wipes it.
func (x *Certificates) VerifyAdministrator(ctx context.Context, pin PIN) error {
	return x.verify(ctx, pin, administratorPIN)
}

func (x *Certificates) verify(ctx context.Context, pin PIN, which byte) error {
	defer pin.Wipe()
	err := pin.Check()
	if err == nil {
		var proof []byte
		if proof, err = x.proof(ctx, pinDigest(pin)); err == nil {
			_, err = x.command(ctx, "VERIFY", apdu.Command{INS: 0x20, P1: 0x01, P2: which, Data: proof})
		}
	}
	if err != nil {
		return fmt.Errorf("verify certificate PIN: %w", err)
	}
	return nil
}

// ChangePIN replaces the user PIN and wipes both; see [Card.ChangePIN].
func (x *Certificates) ChangePIN(ctx context.Context, old, next PIN, policy PINPolicy, of Holder) error {
	defer old.Wipe()
	defer next.Wipe()
	err := old.Check()
	if err == nil {
		err = policy.Check(next, of)
	}
	if err == nil {
		err = x.changePIN(ctx, old, next)
	}
	if err != nil {
		return fmt.Errorf("change certificate PIN: %w", err)
	}
	return nil
}

func (x *Certificates) changePIN(ctx context.Context, old, next PIN) error {
	former, later := pinDigest(old), pinDigest(next)
	proof, err := x.proof(ctx, former)
	if err != nil {
		return err
	}
	wrapped, err := wrap(former, later[:])
	if err != nil {
		return err
	}
	_, err = x.command(ctx, "CHANGE PIN", apdu.Command{CLA: 0x80, INS: 0x5E, P1: 0x01, P2: userPIN, Data: append(proof, wrapped...)})
	if x.c.lost {
		return fmt.Errorf("%w: %w", ErrPINChangeUnknown, err)
	}
	return err
}

// ResetPIN sets a new user PIN by the administrator's, gives all tries back, and
// wipes both.
func (x *Certificates) ResetPIN(ctx context.Context, administrator, next PIN, policy PINPolicy, of Holder) error {
	defer administrator.Wipe()
	defer next.Wipe()
	err := administrator.Check()
	if err == nil {
		err = policy.Check(next, of)
	}
	if err == nil {
		admin, later := pinDigest(administrator), pinDigest(next)
		if err = x.verify(ctx, append(PIN(nil), administrator...), administratorPIN); err == nil {
			var wrapped []byte
			if wrapped, err = wrap(admin, later[:]); err == nil {
				_, err = x.command(ctx, "RESET PIN", apdu.Command{CLA: 0x80, INS: 0x24, P1: 0x01, P2: userPIN, Data: wrapped})
			}
		}
	}
	if err != nil {
		return fmt.Errorf("reset certificate PIN: %w", err)
	}
	return nil
}

// GenerateKey has the card make a new key pair for signatures, which only it
// knows, and returns the public key. The user PIN must be proved. The old pair
// and with it the certificate are of no use any more.
func (x *Certificates) GenerateKey(ctx context.Context) (*ecdsa.PublicKey, error) {
	_, err := x.command(ctx, "GENERATE KEY PAIR", apdu.Command{CLA: 0x80, INS: 0x40,
		Data: []byte{0xC0, 0x02, 0x00, 0x12, 0xC2, 0x02, 0x00, 0x13}})
	if err != nil {
		return nil, fmt.Errorf("generate key pair: %w", err)
	}
	return x.PublicKey(ctx, ForSignature)
}

// PublicKey reads a public key from the card. Where there is none the error
// wraps [ErrNoCertificates].
func (x *Certificates) PublicKey(ctx context.Context, use KeyUse) (*ecdsa.PublicKey, error) {
	b, err := x.command(ctx, "READ PUBLIC KEY", apdu.Command{CLA: 0x80, INS: 0xC9, P1: 0x82, Data: use.publicKeyFile(), Le: 64})
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	if len(b) != 64 {
		return nil, fmt.Errorf("read public key: %w: %d bytes", apdu.ErrGarbage, len(b))
	}
	key, err := sm2.NewPublicKey(append([]byte{0x04}, b...))
	if err != nil {
		return nil, fmt.Errorf("read public key: %w: not a point of the curve", ErrMalformed)
	}
	return key, nil
}

// ReadCertificate returns a certificate in DER, as it is on the card. Where
// there is none the error wraps [ErrNoCertificates].
func (x *Certificates) ReadCertificate(ctx context.Context, use KeyUse) ([]byte, error) {
	der, err := x.readCertificate(ctx, use, 0)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return der, nil
}

// readCertificate reads as much as the certificate says that it has, or size
// bytes where that is not 0.
func (x *Certificates) readCertificate(ctx context.Context, use KeyUse, size int) ([]byte, error) {
	if _, err := x.command(ctx, "SELECT", apdu.Command{INS: 0xA4, P1: 0x02, Data: use.certificateFile()}); err != nil {
		return nil, err
	}
	var der []byte
	if size == 0 {
		head, err := x.readAt(ctx, 0, 4)
		if err != nil {
			return nil, err
		}
		if len(head) < 4 || head[0] != 0x30 {
			return nil, fmt.Errorf("%w: the file is empty", ErrNoCertificates)
		}
		if size = derLength(head); size > maxCertificate {
			return nil, fmt.Errorf("%w: a certificate of %d bytes", ErrMalformed, size)
		}
		der = head[:min(4, size)]
	}
	for len(der) < size {
		b, err := x.readAt(ctx, len(der), min(maxBinary, size-len(der)))
		if err != nil {
			return nil, err
		}
		if len(b) == 0 {
			return nil, fmt.Errorf("%w: it ends too early", ErrMalformed)
		}
		der = append(der, b[:min(len(b), size-len(der))]...)
	}
	return der, nil
}

func (x *Certificates) readAt(ctx context.Context, at, n int) ([]byte, error) {
	return x.command(ctx, "READ BINARY", apdu.Command{INS: 0xB0, P1: byte(at >> 8), P2: byte(at), Le: n})
}

// derLength returns how long a DER value says that it is, head included; b has
// four bytes at least.
func derLength(b []byte) int {
	switch {
	case b[1] < 0x80:
		return 2 + int(b[1])
	case b[1] == 0x81:
		return 3 + int(b[2])
	case b[1] == 0x82:
		return 4 + (int(b[2])<<8 | int(b[3]))
	}
	return maxCertificate + 1
}

// WriteCertificate puts a certificate on the card and reads it back. The
// administrator's PIN must be proved. It must be one of the key that is on the
// card ([ErrSignature] otherwise). Its first bytes are written last: a card that
// is torn out in the middle has no certificate, never half of one, and writing
// it again is harmless.
func (x *Certificates) WriteCertificate(ctx context.Context, use KeyUse, der []byte) error {
	if err := x.writeCertificate(ctx, use, der); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	return nil
}

func (x *Certificates) writeCertificate(ctx context.Context, use KeyUse, der []byte) error {
	cert, err := smx509.ParseCertificate(der)
	if err != nil || len(der) > maxCertificate {
		return fmt.Errorf("%w: not a certificate", ErrValue)
	}
	key, err := x.PublicKey(ctx, use)
	if err != nil {
		return err
	}
	if of, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !of.Equal(key) {
		return fmt.Errorf("%w: it is of another key", ErrSignature)
	}
	if _, err := x.command(ctx, "SELECT", apdu.Command{INS: 0xA4, P1: 0x02, Data: use.certificateFile()}); err != nil {
		return err
	}
	// Before the old one is gone: is there room?
	if r, err := x.c.exchange(ctx, apdu.Command{INS: 0xB0, P1: byte((len(der) - 1) >> 8), P2: byte(len(der) - 1), Le: 1}); err != nil {
		return err
	} else if r.Status == apdu.StatusOffset {
		return fmt.Errorf("%w: longer than the card's file", ErrValue)
	}
	head := min(len(der), maxPiece)
	update := func(at int, b []byte) error {
		_, err := x.command(ctx, "UPDATE BINARY", apdu.Command{INS: 0xD6, P1: byte(at >> 8), P2: byte(at), Data: b})
		return err
	}
	if err := update(0, []byte{0x00}); err != nil {
		return err
	}
	for at := head; at < len(der); at += maxPiece {
		if err := update(at, der[at:min(at+maxPiece, len(der))]); err != nil {
			return err
		}
	}
	if err := update(0, der[:head]); err != nil {
		return err
	}
	back, err := x.readCertificate(ctx, use, len(der))
	if err != nil {
		return err
	}
	if !bytes.Equal(back, der) {
		return ErrNotKept
	}
	return nil
}

// Sign has the card sign a message with SM2 (GM/T 0003.2, user identifier of
// GM/T 0009) and returns the signature as ASN.1 SEQUENCE of r and s. The user PIN
// must be proved. The signature is verified before it is returned.
func (x *Certificates) Sign(ctx context.Context, message []byte) ([]byte, error) {
	signature, err := x.sign(ctx, message)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return signature, nil
}

func (x *Certificates) sign(ctx context.Context, message []byte) ([]byte, error) {
	key, err := x.PublicKey(ctx, ForSignature)
	if err != nil {
		return nil, err
	}
	e, err := sm2.CalculateSM2Hash(key, message, nil)
	if err != nil {
		return nil, err
	}
	b, err := x.command(ctx, "SIGN", apdu.Command{INS: 0x2A, P1: 0x9E, P2: 0x9A, Data: e, Le: 64})
	if err != nil {
		return nil, err
	}
	if len(b) != 64 {
		return nil, fmt.Errorf("SIGN: %w: %d bytes", apdu.ErrGarbage, len(b))
	}
	signature, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(b[:32]), new(big.Int).SetBytes(b[32:])})
	if err != nil {
		return nil, err
	}
	return signature, VerifySignature(key, message, signature)
}

// VerifySignature checks an SM2 signature over a message, as Sign makes it;
// [ErrSignature] where it is wrong.
func VerifySignature(key *ecdsa.PublicKey, message, signature []byte) error {
	if key == nil || !sm2.IsSM2PublicKey(key) || !sm2.VerifyASN1WithSM2(key, nil, message, signature) {
		return ErrSignature
	}
	return nil
}

// VerifyWithCertificate checks an SM2 signature by the certificate (DER) of the
// signer. Whether the certificate itself is to be trusted is for the caller to
// find out.
func VerifyWithCertificate(der, message, signature []byte) error {
	cert, err := smx509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("%w: not a certificate", ErrValue)
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return fmt.Errorf("%w: not a key for SM2", ErrSignature)
	}
	return VerifySignature(key, message, signature)
}

// PublicKeyBytes returns a key of SM2 as 04, x, y: 65 bytes.
func PublicKeyBytes(key *ecdsa.PublicKey) ([]byte, error) {
	point, err := sm2.PublicKeyToECDH(key)
	if err != nil {
		return nil, fmt.Errorf("%w: not a key for SM2", ErrValue)
	}
	return point.Bytes(), nil
}
