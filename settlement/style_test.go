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
	for name, c := range map[string]Credentials{"x-tif": {}, "X-TIF": {ID: "a", Secret: "b"}, "": {}} {
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
	if got := strings.Join(StyleNames(), " "); got != "none x-tif" {
		t.Errorf("styles: %s", got)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	const secret = "TESTTOKEN"
	c := Credentials{ID: "a", Secret: secret}
	x, err := newXTif(c)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{"c": c.Secret})
	if err != nil {
		t.Fatal(err)
	}
	printed := string(b) + fmt.Sprint(c, c.Secret, x) + fmt.Sprintf("%v %+v %#v %s %q %x %d", c, c, c, c.Secret, c.Secret, c.Secret, c.Secret) +
		fmt.Sprintf("%v %+v %#v", x, x, x)
	if strings.Contains(printed, secret) || strings.Contains(printed, "54455354544f4b454e") {
		t.Errorf("printed: %s", printed)
	}
}
