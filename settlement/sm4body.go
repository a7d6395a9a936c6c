package settlement

import (
	"bytes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/emmansun/gmsm/sm4"
)

// sm4Body is the style that encrypts the input: Base64 of SM4-ECB with
// PKCS #7 padding, enc_type SM4. Upstream encrypts its output likewise. ECB
// hides neither equal blocks nor protects against change; that is what the
// interface prescribes, and why it goes with a signature.
type sm4Body struct {
	// The key is out of reach of whoever prints the struct.
	block func() cipher.Block
}

func newSM4Body(c Credentials) (Style, error) {
	key := []byte(c.SM4Key)
	if len(key) == 2*sm4.BlockSize {
		raw, err := hex.DecodeString(string(key))
		if err != nil {
			return nil, errors.New("the SM4 key of 32 characters is not hexadecimal")
		}
		key = raw
	}
	block, err := sm4.NewCipher(key)
	if err != nil {
		return nil, errors.New("needs an SM4 key of 32 hexadecimal digits or 16 characters")
	}
	return &sm4Body{func() cipher.Block { return block }}, nil
}

func (*sm4Body) Name() string { return "sm4-body" }

func (s *sm4Body) Sign(m *Message) error {
	list, err := readMembers(m.Body)
	if err != nil {
		return fmt.Errorf("sm4-body: %w", err)
	}
	input := list.get("input")
	if input == nil {
		return errors.New("sm4-body: a request without input")
	}
	m.Body = list.setText("input", base64.StdEncoding.EncodeToString(encryptECB(s.block(), input))).setText("enc_type", "SM4").bytes()
	return nil
}

// Open decrypts an output that is a text. Refusals and gateways answer in
// plain, and so do some transactions.
func (s *sm4Body) Open(_ string, answer []byte) ([]byte, error) {
	list, err := readMembers(answer)
	if err != nil {
		// Not an answer of the platform; whoever reads it says what it is.
		return answer, nil
	}
	text, ok := list.text("output")
	if !ok || text == "" || text[0] == '{' || text[0] == '[' || text == "null" || text == "NULL" {
		return answer, nil
	}
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("output is not Base64")
	}
	plain, err := decryptECB(s.block(), sealed)
	if err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	if !json.Valid(plain) {
		return nil, errors.New("output is no JSON once decrypted")
	}
	return list.set("output", plain).bytes(), nil
}

// encryptECB pads as PKCS #7 (RFC 5652, 6.3) and encrypts block by block.
func encryptECB(b cipher.Block, text []byte) []byte {
	pad := b.BlockSize() - len(text)%b.BlockSize()
	out := append(bytes.Clone(text), bytes.Repeat([]byte{byte(pad)}, pad)...)
	for i := 0; i < len(out); i += b.BlockSize() {
		b.Encrypt(out[i:], out[i:])
	}
	return out
}

// decryptECB is the inverse; a wrong key shows as wrong padding, mostly.
func decryptECB(b cipher.Block, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || len(sealed)%b.BlockSize() != 0 {
		return nil, errors.New("not whole blocks")
	}
	out := bytes.Clone(sealed)
	for i := 0; i < len(out); i += b.BlockSize() {
		b.Decrypt(out[i:], out[i:])
	}
	pad := int(out[len(out)-1])
	if pad == 0 || pad > b.BlockSize() || !bytes.Equal(out[len(out)-pad:], bytes.Repeat([]byte{byte(pad)}, pad)) {
		return nil, errors.New("padding wrong: another key")
	}
	return out[:len(out)-pad], nil
}
