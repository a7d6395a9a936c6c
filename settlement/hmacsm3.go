package settlement

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"strconv"

	"github.com/emmansun/gmsm/sm3"
)

// hmacSM3 is the style of the x-ca headers: HMAC-SM3 over the time and the
// body as it is sent. It is the only header style that covers the body.
type hmacSM3 struct {
	key string
	// The secret is out of reach of whoever prints the struct.
	signature func(timestamp string, body []byte) string
}

func newHMACSM3(c Credentials) (Style, error) {
	if c.ID == "" || c.Secret == "" {
		return nil, errors.New("needs a key and a secret")
	}
	secret := string(c.Secret)
	return &hmacSM3{c.ID, func(timestamp string, body []byte) string {
		mac := hmac.New(sm3.New, []byte(secret))
		mac.Write([]byte(timestamp + "\n"))
		mac.Write(body)
		return fmt.Sprintf("%s:%X", timestamp, mac.Sum(nil))
	}}, nil
}

func (*hmacSM3) Name() string { return "hmac-sm3" }

func (s *hmacSM3) Sign(m *Message) error {
	m.Header.Set("x-ca-key", s.key)
	m.Header.Set("x-ca-signature", s.signature(strconv.FormatInt(m.Now.Unix(), 10), m.Body))
	return nil
}
