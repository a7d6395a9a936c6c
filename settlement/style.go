package settlement

import (
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
}

// Credentials are what the region gave the institution. The caller reads them
// from files; they are never printed.
type Credentials struct {
	ID     string    // x-tif: paasid
	Secret Secret    // x-tif: token
	Random io.Reader // nonces; nil: crypto/rand
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

// styles lists every style. A new one is a file beside xtif.go and a line
// here.
func styles() map[string]func(Credentials) (Style, error) {
	return map[string]func(Credentials) (Style, error){
		"none":  func(Credentials) (Style, error) { return unsigned{}, nil },
		"x-tif": newXTif,
	}
}

// NewStyle returns a signature style by its name in the configuration.
func NewStyle(name string, c Credentials) (Style, error) {
	make, ok := styles()[name]
	if !ok {
		return nil, fmt.Errorf("signature style %q: unknown; there are %s", printable(name), strings.Join(StyleNames(), ", "))
	}
	s, err := make(c)
	if err != nil {
		return nil, fmt.Errorf("signature style %s: %w", name, err)
	}
	return s, nil
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

type unsigned struct{}

func (unsigned) Name() string        { return "none" }
func (unsigned) Sign(*Message) error { return nil }
