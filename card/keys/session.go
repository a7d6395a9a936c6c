package keys

import (
	"crypto/cipher"
	"crypto/des"
	"crypto/subtle"
	"fmt"

	"github.com/emmansun/gmsm/sm4"
)

// A Session is a session key: a card key tied to one random. It
// authenticates, encrypts and computes MACs. It prints as stars. [NewSession]
// makes it; the zero Session is of no use. Copies share one key. Safe for
// concurrent use until Wipe.
type Session struct {
	algorithm Algorithm

	// DES: the first 8 bytes. Behind a pointer, because fmt prints what it
	// finds in the unexported fields of other people's structs, but follows no
	// pointers there.
	key *[Size]byte
}

// NewSession ties a card key to a random of 4, 8 or 16 bytes (the lengths of
// GET CHALLENGE): DES: SK = 3DES(K, r), a random of 4 bytes padded with zeros
// to 8, of a random of 16 bytes the first 8; SM4: SK = SM4(K, r padded with
// zeros). Errors wrap [ErrAlgorithm] or [ErrSubject].
func NewSession(a Algorithm, cardKey Key, random []byte) (Session, error) {
	s := Session{algorithm: a, key: new([Size]byte)}
	if err := a.Check(); err != nil {
		return s, fmt.Errorf("session key: %w", err)
	}
	switch len(random) {
	case 4, 8, 16:
	default:
		return s, fmt.Errorf("session key: %w: random of %d bytes", ErrSubject, len(random))
	}
	c, err := block(a, &cardKey)
	cardKey.Wipe()
	if err != nil {
		return s, fmt.Errorf("session key: %w", err)
	}
	var r [Size]byte
	copy(r[:], random)
	c.Encrypt(s.key[:c.BlockSize()], r[:c.BlockSize()])
	return s, nil
}

// Algorithm returns the card's algorithm.
func (s *Session) Algorithm() Algorithm { return s.algorithm }

// Wipe overwrites the session key; the session is of no use afterwards.
func (s *Session) Wipe() {
	if s.key != nil {
		clear(s.key[:])
	}
}

// Format prints stars, whatever the verb.
func (s Session) Format(f fmt.State, _ rune) { printStars(f) }

// String returns stars.
func (s Session) String() string { return stars }

// GoString returns stars.
func (s Session) GoString() string { return stars }

func (s *Session) block() cipher.Block {
	var c cipher.Block
	var err error
	if s.algorithm == DES {
		c, err = des.NewCipher(s.key[:des.BlockSize])
	} else {
		c, err = sm4.NewCipher(s.key[:])
	}
	if err != nil {
		// Both ciphers fail for a key of the wrong length only.
		panic("keys: " + err.Error())
	}
	return c
}

// Authenticate computes the eight bytes that answer for raw in INTERNAL and
// EXTERNAL AUTHENTICATE: DES(SK, raw), or for SM4 the two halves of
// SM4(SK, raw followed by 8 zeros) XORed.
func (s *Session) Authenticate(raw [8]byte) [8]byte {
	var in [Size]byte
	copy(in[:], raw[:])
	c := s.block()
	c.Encrypt(in[:c.BlockSize()], in[:c.BlockSize()])
	if s.algorithm == SM4 {
		subtle.XORBytes(in[:8], in[:8], in[8:])
	}
	return [8]byte(in[:8])
}

// MACSize is the length of every MAC and TAC on the card in bytes.
const MACSize = 4

// MAC computes the CBC-MAC, zero initial value, of data padded with 80 and then
// zeros, always: DES: the first 4 bytes of the last block; SM4: its four words
// XORed.
func (s *Session) MAC(data []byte) [MACSize]byte {
	c := s.block()
	n := c.BlockSize()
	var sum [Size]byte
	for len(data) >= n {
		subtle.XORBytes(sum[:n], sum[:n], data[:n])
		c.Encrypt(sum[:n], sum[:n])
		data = data[n:]
	}
	subtle.XORBytes(sum[:len(data)], sum[:len(data)], data)
	sum[len(data)] ^= 0x80
	c.Encrypt(sum[:n], sum[:n])
	if s.algorithm == SM4 {
		for i := 4; i < Size; i++ {
			sum[i%4] ^= sum[i]
		}
	}
	return [MACSize]byte(sum[:MACSize])
}

// InternalAnswer computes what a genuine card answers to INTERNAL AUTHENTICATE:
// the session is of cardKey (derived from IRK) and the process factor. Errors
// wrap [ErrAlgorithm].
func InternalAnswer(a Algorithm, cardKey Key, process, raw [8]byte) ([8]byte, error) {
	s, err := NewSession(a, cardKey, process[:])
	if err != nil {
		return [8]byte{}, err
	}
	defer s.Wipe()
	return s.Authenticate(raw), nil
}

// ExternalAuth computes the first eight data bytes of EXTERNAL AUTHENTICATE:
// the session is of cardKey (derived from the key that the command names) and
// the card's last challenge of 4, 8 or 16 bytes. Errors wrap [ErrAlgorithm] or
// [ErrSubject].
func ExternalAuth(a Algorithm, cardKey Key, challenge []byte, raw [8]byte) ([8]byte, error) {
	s, err := NewSession(a, cardKey, challenge)
	if err != nil {
		return [8]byte{}, err
	}
	defer s.Wipe()
	return s.Authenticate(raw), nil
}

// Equal compares two answers or MACs without telling by its duration where they
// differ. Different lengths are never equal.
func Equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
