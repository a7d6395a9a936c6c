package settlement

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// The worked example of the settlement facts.
func TestXTif(t *testing.T) {
	const want = "c1d4c8ce2bd93389a68d87008e236e81aabe73dc89948117995cd2e8c7a84eef"
	if got := xTifSignature("1700000000", "TESTTOKEN", "0123456789abcdef0123456789abcdef"); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	nonce := []byte{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}
	s, err := NewStyle("x-tif", Credentials{ID: "PAAS", Secret: "TESTTOKEN", Random: bytes.NewReader(nonce)})
	if err != nil {
		t.Fatal(err)
	}
	m := &Message{Header: make(http.Header), Now: time.Unix(1700000000, 999)}
	if err := s.Sign(m); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"x-tif-paasid": "PAAS", "x-tif-timestamp": "1700000000", "x-tif-nonce": "0123456789abcdef0123456789abcdef", "x-tif-signature": want,
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestStyles(t *testing.T) {
	for name, c := range map[string]Credentials{
		"x-tif": {}, "X-TIF": {ID: "a", Secret: "b"}, "": {}, "csb": {}, "hmac-sm3": {ID: "a"}, "sm2-cainfo": {SM2Key: "00"},
		"sm4-body": {SM4Key: "short"}, "mobile": {AppID: "short", AppSecret: "b", SM2Key: testKey}, "x-tif+csb": {ID: "a", Secret: "b"},
		"none+x-tif": {ID: "a", Secret: "b"}, "x-tif+": {ID: "a", Secret: "b"}, "x-tif+x-tif": {ID: "a", Secret: "b"},
	} {
		if s, err := NewStyle(name, c); err == nil {
			t.Errorf("%q with %v gives %v", name, c, s)
		}
	}
	s, err := NewStyle("x-tif", Credentials{ID: "a", Secret: "b", Random: iotest.ErrReader(errors.New("no random"))})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Sign(&Message{Header: make(http.Header)}); err == nil {
		t.Error("signed without a nonce")
	}
	if s, err := NewStyle("none", Credentials{}); err != nil || s.Name() != "none" {
		t.Errorf("none: %v, %v", s, err)
	}
	if got := strings.Join(StyleNames(), " "); got != "csb hmac-sm3 mobile none sm2-cainfo sm4-body x-tif" {
		t.Errorf("styles: %s", got)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	const secret, sm4Key = "TESTTOKEN", "TESTTOKENTESTKEY"
	c := Credentials{ID: "a", Secret: secret, SM2Key: testKey, SM4Key: sm4Key, AppID: "0123456789ABCDEF", AppSecret: secret}
	styles := []any{c, &c}
	for _, name := range append(StyleNames(), "x-tif+sm2-cainfo+mobile") {
		s, err := NewStyle(name, c)
		if err != nil {
			t.Fatal(err)
		}
		styles = append(styles, s)
	}
	b, err := json.Marshal(map[string]any{"c": c.Secret})
	if err != nil {
		t.Fatal(err)
	}
	printed := string(b) + fmt.Sprint(c.Secret) + fmt.Sprintf("%s %q %x %d", c.Secret, c.Secret, c.Secret, c.Secret)
	for _, s := range styles {
		printed += fmt.Sprint(s) + fmt.Sprintf("%v %+v %#v %x", s, s, s, s)
	}
	for _, told := range []string{secret, "54455354544f4b454e", testKey, "[84 69 83 84"} {
		if strings.Contains(printed, told) {
			t.Errorf("%s printed: %s", told, printed)
		}
	}
}
