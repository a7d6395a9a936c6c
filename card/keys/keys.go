// Package keys is the cryptography of the social security card, and all of it:
// test roots, the diversification of a card's keys from root keys, session keys,
// internal and external authentication, secure messaging, and the MACs of load
// and purchase. It computes; it does no input or output and keeps no state.
//
// The rules are the reference profile of the card specification, section 5.
// What an issuer can change without changing a rule is data: the names of keys
// and their numbers on the card are a [Table], the root keys a [Ring].
//
// A card's key is three steps away from its root, steered by what the card says
// of itself in clear:
//
//	subject := keys.Subject{Algorithm: keys.SM4, Area: "510100", Historical: historical}
//	root, err := ring.Root("IRK", subject.Version)
//	cardKey, err := subject.CardKey(root)
//	answer, err := keys.InternalAnswer(subject.Algorithm, cardKey, process, raw)
//
// Only the holder of root keys (a PSAM, an HSM, their simulators) does this;
// the middleware sends it the subject and gets answers, never keys.
//
// Both algorithms have the same shape everywhere: a session key comes from a
// card key and a random, and everything is done with the session key
// ([Session]). DES means 3DES with a double-length key for diversification and
// session keys, and single DES under a session key. SSF33 is an unpublished
// cipher; everything here answers [ErrAlgorithm] for it.
//
// Keys print as stars under every verb and in JSON. Go's fmt package does not
// ask unexported struct fields for their methods, so a type that hides a Key in
// one needs a Format method of its own, as [Ring] has; nor does it ask anybody
// about %p, and %w of what is no error, which go vet refuses.
package keys

import (
	"crypto/cipher"
	"crypto/des"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/emmansun/gmsm/sm4"

	"onecard/fault"
)

// Size is the length of every card and root key in bytes.
const Size = 16

var (
	// ErrAlgorithm: the card's algorithm is SSF33 or a number nobody knows.
	ErrAlgorithm = fault.New(fault.AlgorithmUnsupported, "algorithm not supported")

	// ErrKeyUnknown: there is no key of that name and version.
	ErrKeyUnknown = errors.New("no such key")

	// ErrSubject: area, key version or a random has the wrong form.
	ErrSubject = errors.New("malformed diversification data")

	// ErrMAC: the MAC of a secured command or of an answer is wrong.
	ErrMAC = errors.New("wrong MAC")

	// ErrPadding: decrypted data do not have the form that the card
	// specification gives them: the key was another one.
	ErrPadding = errors.New("wrong padding")

	// ErrTooLong: the data do not fit into one short command.
	ErrTooLong = errors.New("data too long for a secured command")
)

// An Algorithm is a cipher, by the number that the card gives in tag 86 of its
// FCI (card specification, section 1).
type Algorithm byte

// The algorithms. Cards before version 3.0 use DES, later ones SM4.
const (
	DES   Algorithm = 1 // 3DES with double-length keys; session keys are single DES
	SSF33 Algorithm = 2 // unpublished; ErrAlgorithm
	SM4   Algorithm = 3
)

// String returns the algorithm's name, or "algorithm n".
func (a Algorithm) String() string {
	switch a {
	case DES:
		return "DES"
	case SSF33:
		return "SSF33"
	case SM4:
		return "SM4"
	}
	return fmt.Sprintf("algorithm %d", byte(a))
}

// Check returns nil for an algorithm that this package computes, otherwise an
// error that wraps [ErrAlgorithm] and names the algorithm.
func (a Algorithm) Check() error {
	if a == DES || a == SM4 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrAlgorithm, a)
}

// blockSize returns the cipher's block length in bytes: 8 or 16.
func (a Algorithm) blockSize() int {
	if a == DES {
		return des.BlockSize
	}
	return sm4.BlockSize
}

// A Key is a root key or a card key: 16 bytes, for DES a double-length 3DES key
// (its parity bits mean nothing). It prints as stars.
type Key [Size]byte

// ParseKey reads 32 hex digits. The error never repeats them.
func ParseKey(s string) (Key, error) {
	var k Key
	if len(s) != hex.EncodedLen(Size) {
		return Key{}, fmt.Errorf("key: want %d hex digits, got %d characters", hex.EncodedLen(Size), len(s))
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		k.Wipe()
		// The error of package hex names the offending character.
		return Key{}, errors.New("key: not hex")
	}
	return k, nil
}

// Wipe overwrites the key with zeros. Copies that the runtime or a cipher made
// are out of its reach.
func (k *Key) Wipe() { clear(k[:]) }

const stars = "****************"

// String returns stars.
func (k Key) String() string { return stars }

// GoString returns stars.
func (k Key) GoString() string { return stars }

// Format prints stars, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { printStars(f) }

// MarshalText returns stars.
func (k Key) MarshalText() ([]byte, error) { return []byte(stars), nil }

// MarshalJSON returns a string of stars.
func (k Key) MarshalJSON() ([]byte, error) { return []byte(`"` + stars + `"`), nil }

func printStars(f fmt.State) {
	// A Formatter has nobody to tell; fmt keeps the writer's error itself.
	_, _ = io.WriteString(f, stars)
}

// block returns the cipher under a double-length or SM4 key. The algorithm has
// been checked.
func block(a Algorithm, k *Key) (cipher.Block, error) {
	if a == DES {
		var triple [24]byte
		copy(triple[:], k[:])
		copy(triple[16:], k[:8])
		defer clear(triple[:])
		return des.NewTripleDESCipher(triple[:])
	}
	return sm4.NewCipher(k[:])
}
