package settlement

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"strconv"
)

// csb is the style of the _api_ headers (Cloud Service Bus): HMAC-SHA1 over
// name, version, time and access key. It does not cover the body.
type csb struct {
	accessKey, name, version string
	// The secret is out of reach of whoever prints the struct.
	signature func(text string) string
}

// defaultAPIVersion is _api_version where the region says nothing.
const defaultAPIVersion = "1.0.0"

func newCSB(c Credentials) (Style, error) {
	if c.ID == "" || c.Secret == "" {
		return nil, errors.New("needs an access key and a secret key")
	}
	if c.APIVersion == "" {
		c.APIVersion = defaultAPIVersion
	}
	secret := string(c.Secret)
	return &csb{c.ID, c.APIName, c.APIVersion, func(text string) string {
		mac := hmac.New(sha1.New, []byte(secret))
		mac.Write([]byte(text))
		return base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}}, nil
}

func (*csb) Name() string { return "csb" }

func (s *csb) Sign(m *Message) error {
	name := s.name
	if name == "" {
		name = m.Infno
	}
	timestamp := strconv.FormatInt(m.Now.UnixMilli(), 10)
	m.Header.Set("_api_access_key", s.accessKey)
	m.Header.Set("_api_name", name)
	m.Header.Set("_api_timestamp", timestamp)
	m.Header.Set("_api_version", s.version)
	m.Header.Set("_api_signature", s.signature("_api_access_key="+s.accessKey+"&_api_name="+name+
		"&_api_timestamp="+timestamp+"&_api_version="+s.version))
	return nil
}
