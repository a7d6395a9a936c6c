package settlement

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"

	"github.com/emmansun/gmsm/sm2"
)

// defaultUserID is the SM2 user identity where the region names none
// (GB/T 32918.2, and GM/T 0009, 10).
const defaultUserID = "1234567812345678"

// signatureLength is r and s of SM2, 32 bytes each.
const signatureLength = 64

// A sm2Signer signs with our key and verifies with upstream's, SM2 with SM3.
type sm2Signer struct {
	// Both as functions: the key is out of reach of whoever prints the struct.
	sign   func(text []byte) ([]byte, error)  // r and s
	verify func(text, signature []byte) error // nil where upstream's key is not known
}

func newSM2Signer(c Credentials) (*sm2Signer, error) {
	raw, err := hex.DecodeString(string(c.SM2Key))
	if err != nil || len(raw) != 32 {
		return nil, errors.New("needs an SM2 private key of 64 hexadecimal digits")
	}
	key, err := sm2.NewPrivateKey(raw)
	clear(raw)
	if err != nil {
		return nil, errors.New("the SM2 private key is not one")
	}
	user := []byte(c.SM2UserID)
	if len(user) == 0 {
		user = []byte(defaultUserID)
	}
	random := c.Random
	s := &sm2Signer{sign: func(text []byte) ([]byte, error) { return sm2Sign(random, key, user, text) }}
	if c.UpstreamKey == "" {
		return s, nil
	}
	public, err := parseSM2Public(c.UpstreamKey)
	if err != nil {
		return nil, err
	}
	s.verify = func(text, signature []byte) error { return sm2Verify(public, user, text, signature) }
	return s, nil
}

// parseSM2Public reads x and y in hex, with or without the 04 before them.
func parseSM2Public(text string) (*ecdsa.PublicKey, error) {
	if len(text) == 128 {
		text = "04" + text
	}
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 65 {
		return nil, errors.New("upstream's SM2 public key is not 04 and 128 hexadecimal digits")
	}
	public, err := sm2.NewPublicKey(raw)
	if err != nil {
		return nil, errors.New("upstream's SM2 public key is no point of the curve")
	}
	return public, nil
}

func sm2Sign(random io.Reader, key *sm2.PrivateKey, user, text []byte) ([]byte, error) {
	hash, err := sm2.CalculateSM2Hash(&key.PublicKey, text, user)
	if err != nil {
		return nil, fmt.Errorf("sm2: %w", err)
	}
	r, s, err := sm2.Sign(random, &key.PrivateKey, hash)
	if err != nil {
		return nil, fmt.Errorf("sm2: %w", err)
	}
	out := make([]byte, signatureLength)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out, nil
}

func sm2Verify(public *ecdsa.PublicKey, user, text, signature []byte) error {
	if len(signature) != signatureLength {
		return errors.New("the signature is not of 64 bytes")
	}
	hash, err := sm2.CalculateSM2Hash(public, text, user)
	if err != nil {
		return fmt.Errorf("sm2: %w", err)
	}
	if !sm2.Verify(public, hash, new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return errors.New("the signature is wrong")
	}
	return nil
}

// sm2Cainfo is the style that signs the plain input: cainfo holds the
// signature, signtype says SM2. Upstream signs its output likewise.
type sm2Cainfo struct{ signer *sm2Signer }

func newSM2Cainfo(c Credentials) (Style, error) {
	signer, err := newSM2Signer(c)
	if err != nil {
		return nil, err
	}
	return &sm2Cainfo{signer}, nil
}

func (*sm2Cainfo) Name() string { return "sm2-cainfo" }

func (s *sm2Cainfo) Sign(m *Message) error {
	list, err := readMembers(m.Body)
	if err != nil {
		return fmt.Errorf("sm2-cainfo: %w", err)
	}
	input := list.get("input")
	if input == nil {
		return errors.New("sm2-cainfo: a request without input")
	}
	signature, err := s.signer.sign(input)
	if err != nil {
		return fmt.Errorf("sm2-cainfo: %w", err)
	}
	m.Body = list.setText("cainfo", base64.StdEncoding.EncodeToString(signature)).setText("signtype", "SM2").bytes()
	return nil
}

// Open verifies the signature of an output, where upstream's key is known. A
// refusal has no output, and a gateway's own refusal is not the platform's: there is
// nothing in them that a signature could cover.
func (s *sm2Cainfo) Open(_ string, answer []byte) ([]byte, error) {
	if s.signer.verify == nil {
		return answer, nil
	}
	list, err := readMembers(answer)
	if err != nil {
		// Not an answer of the platform; whoever reads it says what it is.
		return answer, nil
	}
	output := list.get("output")
	if bare := strings.TrimSpace(string(output)); bare == "" || bare == "null" || bare == `""` {
		return answer, nil
	}
	cainfo, ok := list.text("cainfo")
	if !ok || cainfo == "" {
		return nil, errors.New("cainfo missing")
	}
	signature, err := base64.StdEncoding.DecodeString(cainfo)
	if err != nil {
		return nil, errors.New("cainfo is not Base64")
	}
	// What stands in the answer as a text was signed as the text says it.
	if text, ok := list.text("output"); ok {
		output = []byte(text)
	}
	if err := s.signer.verify(bytes.TrimSpace(output), signature); err != nil {
		return nil, fmt.Errorf("cainfo: %w", err)
	}
	return answer, nil
}
