package settlement

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"time"
)

// A Style is how a region wants requests signed. Styles differ in headers, and
// some put their signature into the body or encrypt it.
type Style interface {
	// Name is the style's name in the configuration.
	Name() string
	// Sign adds to the message what the region wants, once for every sending.
	// It may replace the body. It must not keep the message.
	Sign(m *Message) error
}

// An Opener is a Style whose answers need work before they can be read, such
// as decryption.
type Opener interface {
	// Open returns the plain answer. An error counts as a malformed answer.
	Open(infno string, answer []byte) ([]byte, error)
}

// A Message is a request on its way out.
type Message struct {
	Infno  string
	Header http.Header
	Body   []byte
	Now    time.Time

	late func(reply, error) // for an answer after its time-out, nil: none is awaited
}

// Credentials are what the region gave the institution, and what it wants the
// styles to say. The caller reads secrets from files; they are never printed.
type Credentials struct {
	ID     string // x-tif: paasid; csb: access key; hmac-sm3: x-ca-key
	Secret Secret // x-tif: token; csb: secret key; hmac-sm3: secret

	APIName    string // csb: a fixed service name; "": the infno
	APIVersion string // csb: _api_version, "": 1.0.0

	SM2Key      Secret // sm2-cainfo, mobile: our private key, 64 hex digits
	SM2UserID   string // sm2-cainfo, mobile: "": 1234567812345678
	UpstreamKey string // sm2-cainfo, mobile: upstream's public key, hex; "": answers are not verified
	SM4Key      Secret // sm4-body: 32 hex digits or 16 characters

	AppID         string // mobile: at least 16 characters
	AppSecret     Secret // mobile
	MobileVersion string // mobile: "": 2.0.1

	Random io.Reader // nonces and signatures; nil: crypto/rand
}

// A Secret prints as stars, whatever it is printed with.
type Secret string

// Format prints stars.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "***") }

// String prints stars.
func (Secret) String() string { return "***" }

// GoString prints stars.
func (Secret) GoString() string { return "***" }

// MarshalText writes stars.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// A stage is where in a message a style works; a combination has one style a
// stage and goes through them in this order, answers in the opposite one.
type stage int

const (
	signInput   stage = iota // over the plain input
	wrapBody                 // encrypts or replaces the body
	signRequest              // headers, which may cover the body as it is sent
	stages
)

// A styleKind is one line of [styles].
type styleKind struct {
	stage stage
	make  func(Credentials) (Style, error)
}

// styles lists every style. A new one is a file beside xtif.go and a line
// here.
func styles() map[string]styleKind {
	return map[string]styleKind{
		"none":       {signRequest, func(Credentials) (Style, error) { return unsigned{}, nil }},
		"x-tif":      {signRequest, newXTif},
		"csb":        {signRequest, newCSB},
		"hmac-sm3":   {signRequest, newHMACSM3},
		"sm2-cainfo": {signInput, newSM2Cainfo},
		"sm4-body":   {wrapBody, newSM4Body},
		"mobile":     {wrapBody, newMobile},
	}
}

// NewStyle returns a signature style by its name in the configuration, or a
// combination of them joined by "+", such as "hmac-sm3+sm2-cainfo+sm4-body":
// at most one that signs the input (sm2-cainfo), one that wraps the body
// (sm4-body, mobile) and one that signs by headers (csb, hmac-sm3, x-tif). The
// order in which they are written does not matter.
func NewStyle(name string, c Credentials) (Style, error) {
	if c.Random == nil {
		c.Random = rand.Reader
	}
	var chosen combination
	for part := range strings.SplitSeq(name, "+") {
		kind, ok := styles()[part]
		if !ok {
			return nil, fmt.Errorf("signature style %q: unknown; there are %s", printable(part), strings.Join(StyleNames(), ", "))
		}
		if part == "none" && part != name {
			return nil, fmt.Errorf("signature style %q: none is combined with nothing", printable(name))
		}
		if chosen[kind.stage] != nil {
			return nil, fmt.Errorf("signature style %q: %s and %s do the same", printable(name), chosen[kind.stage].Name(), part)
		}
		s, err := kind.make(c)
		if err != nil {
			return nil, fmt.Errorf("signature style %s: %w", part, err)
		}
		if part == name {
			return s, nil
		}
		chosen[kind.stage] = s
	}
	return &chosen, nil
}

// StyleNames returns the names of all styles, sorted.
func StyleNames() []string {
	var names []string
	for name := range styles() {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// A combination is one style or none for every stage.
type combination [stages]Style

// Name joins the names, in the order in which a message goes through them.
func (c *combination) Name() string {
	var names []string
	for _, s := range c {
		if s != nil {
			names = append(names, s.Name())
		}
	}
	return strings.Join(names, "+")
}

// Sign goes through the stages.
func (c *combination) Sign(m *Message) error {
	for _, s := range c {
		if s == nil {
			continue
		}
		if err := s.Sign(m); err != nil {
			return err
		}
	}
	return nil
}

// Open goes through them backwards: what was encrypted last is decrypted first.
func (c *combination) Open(infno string, answer []byte) ([]byte, error) {
	for i := range c {
		o, ok := c[len(c)-1-i].(Opener)
		if !ok {
			continue
		}
		var err error
		if answer, err = o.Open(infno, answer); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

type unsigned struct{}

func (unsigned) Name() string        { return "none" }
func (unsigned) Sign(*Message) error { return nil }
