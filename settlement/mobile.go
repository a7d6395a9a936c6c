package settlement

import (
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/emmansun/gmsm/sm4"
)

// Values of the mobile envelope.
const (
	mobileEncType        = "SM4"
	mobileSignType       = "SM2"
	defaultMobileVersion = "2.0.1"
)

// mobile is the envelope of the mobile and e-voucher platform: the whole
// message is encrypted into encData, and signData signs the envelope's members
// with the plain message as data in place of encData.
type mobile struct {
	appID, version string
	signer         *sm2Signer
	// Secret and key are out of reach of whoever prints the struct.
	secret func() string
	block  func() cipher.Block
}

func newMobile(c Credentials) (Style, error) {
	if len(c.AppID) < sm4.BlockSize || c.AppSecret == "" {
		return nil, errors.New("needs an app id of at least 16 characters and its secret")
	}
	signer, err := newSM2Signer(c)
	if err != nil {
		return nil, err
	}
	secret := string(c.AppSecret)
	block, err := sm4.NewCipher([]byte(mobileKey(c.AppID, secret)))
	if err != nil {
		return nil, fmt.Errorf("message key: %w", err)
	}
	if c.MobileVersion == "" {
		c.MobileVersion = defaultMobileVersion
	}
	return &mobile{c.AppID, c.MobileVersion, signer, func() string { return secret }, func() cipher.Block { return block }}, nil
}

// mobileKey derives the message key: the first 16 characters of the upper-case
// hex of SM4-ECB over the secret, with the first 16 characters of the app id as
// key.
func mobileKey(appID, secret string) string {
	block, err := sm4.NewCipher([]byte(appID[:sm4.BlockSize]))
	if err != nil {
		return "" // 16 bytes are always a key
	}
	return fmt.Sprintf("%X", encryptECB(block, []byte(secret)))[:sm4.BlockSize]
}

func (*mobile) Name() string { return "mobile" }

func (s *mobile) Sign(m *Message) error {
	list := members{}.
		setText("appId", s.appID).setText("encType", mobileEncType).setText("signType", mobileSignType).
		setText("timestamp", strconv.FormatInt(m.Now.Unix(), 10)).setText("version", s.version)
	text, err := mobileText(list, m.Body, s.secret())
	if err != nil {
		return fmt.Errorf("mobile: %w", err)
	}
	signature, err := s.signer.sign(text)
	if err != nil {
		return fmt.Errorf("mobile: %w", err)
	}
	list = list.setText("encData", fmt.Sprintf("%X", encryptECB(s.block(), m.Body)))
	m.Body = list.setText("signData", base64.StdEncoding.EncodeToString(signature)).bytes()
	return nil
}

// mobileText is what signData signs: the members as k=v, sorted, joined by &,
// those without a value dropped, and &key=secret. data is the plain message;
// encData and signData are not in it.
func mobileText(list members, data []byte, secret string) ([]byte, error) {
	pairs := []string{"data=" + string(data)}
	for _, m := range list {
		if m.name == "encData" || m.name == "signData" || m.name == "data" {
			continue
		}
		value, ok := list.text(m.name)
		switch {
		case ok:
		case m.value[0] == '{' || m.value[0] == '[':
			return nil, fmt.Errorf("%s is neither a text nor a number", printable(m.name))
		case string(m.value) != "null":
			value = string(m.value)
		}
		if value != "" {
			pairs = append(pairs, m.name+"="+value)
		}
	}
	sort.Strings(pairs)
	return []byte(strings.Join(pairs, "&") + "&key=" + secret), nil
}

// Open takes the platform's answer out of its envelope and, where its key is
// known, verifies it: then nothing with an infcode is taken that was not signed.
// The gateway's own refusals come without envelope.
func (s *mobile) Open(_ string, answer []byte) ([]byte, error) {
	list, err := readMembers(answer)
	if err != nil {
		// Not an answer of the platform; whoever reads it says what it is.
		return answer, nil
	}
	sealed, ok := list.text("encData")
	if !ok || sealed == "" {
		if s.signer.verify != nil && list.get("infcode") != nil {
			return nil, errors.New("an answer without encData")
		}
		return answer, nil
	}
	raw, err := hex.DecodeString(sealed)
	if err != nil {
		return nil, errors.New("encData is not hexadecimal")
	}
	plain, err := decryptECB(s.block(), raw)
	if err != nil {
		return nil, fmt.Errorf("encData: %w", err)
	}
	if !json.Valid(plain) {
		return nil, errors.New("encData is no JSON once decrypted")
	}
	if s.signer.verify == nil {
		return plain, nil
	}
	encoded, _ := list.text("signData")
	signature, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("signData is not Base64")
	}
	text, err := mobileText(list, plain, s.secret())
	if err != nil {
		return nil, err
	}
	if err := s.signer.verify(text, signature); err != nil {
		return nil, fmt.Errorf("signData: %w", err)
	}
	return plain, nil
}
