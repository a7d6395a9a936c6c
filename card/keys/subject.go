package keys

import (
	"fmt"

	"github.com/emmansun/gmsm/sm3"
)

// A Subject is what a key holder has to know of a card, and of the version of
// the key wanted, to derive the card's keys. Nothing in it is secret.
type Subject struct {
	// Algorithm is the card's, from its FCI.
	Algorithm Algorithm `json:"algorithm"`

	// Area is the six digits with which the card identification code begins.
	Area string `json:"area"`

	// Historical is the card's 13 historical bytes, from its ATR or ATS.
	Historical [13]byte `json:"historical"`

	// Version is the version of the root key: 1 to 3; 0 means 1.
	Version byte `json:"version"`
}

// Versions is the number of versions that a key can have, counted from 1.
const Versions = 3

// KeyVersion returns the version of the root key, 1 where Version is 0.
func (s Subject) KeyVersion() byte {
	if s.Version == 0 {
		return 1
	}
	return s.Version
}

// Check returns nil for a subject that can be derived for, otherwise an error
// that wraps [ErrAlgorithm] or [ErrSubject].
func (s Subject) Check() error {
	if err := s.Algorithm.Check(); err != nil {
		return err
	}
	if len(s.Area) != 6 {
		return fmt.Errorf("%w: area has %d characters, not 6", ErrSubject, len(s.Area))
	}
	for i := range len(s.Area) {
		if s.Area[i] < '0' || s.Area[i] > '9' {
			return fmt.Errorf("%w: area is not all digits", ErrSubject)
		}
	}
	if s.Version > Versions {
		return fmt.Errorf("%w: key version %d", ErrSubject, s.Version)
	}
	return nil
}

// Factors returns the three diversification factors of the card specification,
// section 5: province, area, card. The subject has been checked.
func (s Subject) Factors() [3][8]byte {
	var f [3][8]byte
	copy(f[0][:], s.Area[:2]+"0000sh")
	if s.Area[:2] == "33" {
		// Cards of areas that begin with 33 are derived by city only.
		copy(f[1][:], s.Area[:4]+"00sx")
	} else {
		copy(f[1][:], s.Area+"sx")
	}
	copy(f[2][:], s.Historical[5:])
	return f
}

// CardKey derives the card's key from a root key in three steps, one for each
// factor f of province, area and card: DES: 3DES(K, f) followed by
// 3DES(K, not f); SM4: SM4(K, f followed by not f). The caller chose the root
// by name and version. Errors are those of [Subject.Check].
func (s Subject) CardKey(root Key) (Key, error) {
	if err := s.Check(); err != nil {
		return Key{}, fmt.Errorf("derive card key: %w", err)
	}
	key := root
	for _, factor := range s.Factors() {
		next, err := Diversify(s.Algorithm, key, factor)
		if err != nil {
			return Key{}, fmt.Errorf("derive card key: %w", err)
		}
		key = next
	}
	return key, nil
}

// Diversify does one of the three steps: DES: 3DES(K, f) followed by
// 3DES(K, not f); SM4: SM4(K, f followed by not f). A PSAM that holds the keys
// of a province or an area begins behind them. Errors wrap [ErrAlgorithm].
func Diversify(a Algorithm, key Key, factor [8]byte) (Key, error) {
	if err := a.Check(); err != nil {
		return Key{}, fmt.Errorf("diversify: %w", err)
	}
	c, err := block(a, &key)
	if err != nil {
		return Key{}, fmt.Errorf("diversify: %w", err)
	}
	var out Key
	copy(out[:], factor[:])
	for i, b := range factor {
		out[8+i] = ^b
	}
	for i := 0; i < Size; i += c.BlockSize() {
		c.Encrypt(out[i:i+c.BlockSize()], out[i:i+c.BlockSize()])
	}
	return out, nil
}

// TestRoot returns a root key that everybody knows: the first 16 bytes of
// SM3("onecard-test:" + name), for versions 2 and 3 with ":02" and ":03" after
// the name; version 0 means 1. Everything that simulates uses these. Never
// personalise a real card with keys that come from them.
func TestRoot(name string, version byte) Key {
	text := "onecard-test:" + name
	if version > 1 {
		text += fmt.Sprintf(":%02d", version)
	}
	sum := sm3.Sum([]byte(text))
	return Key(sum[:Size])
}
