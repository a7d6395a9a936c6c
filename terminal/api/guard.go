package api

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"net/http"
	"strings"

	"onecard/fault"
)

// Refusals of the guard.
var (
	ErrToken  = fault.New(fault.TokenInvalid, "token missing or wrong")
	ErrOrigin = fault.New(fault.OriginForeign, "foreign origin")
	ErrHost   = fault.New(fault.HostForeign, "foreign host")
)

// cookieName is the session of the service's own page.
const cookieName = "onecard_page"

// NewSecret returns 256 random bits in hexadecimal: a token or a session.
func NewSecret() string {
	var b [32]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// guard decides who may call over TCP. The order is the point: host and origin
// are refused before anything of the request is looked at, so that a page from
// elsewhere, or one that rebinds its name to 127.0.0.1, learns nothing.
type guard struct {
	hosts  map[string]bool // Host values of this service
	token  string
	cookie string // value of the page's session, made anew at every start
}

// newGuard knows the names by which a browser on this machine reaches listen.
func newGuard(listen, token string) *guard {
	g := &guard{hosts: make(map[string]bool), token: token, cookie: NewSecret()}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return g // no host is ours: everything is refused
	}
	names := []string{net.JoinHostPort(host, port), "localhost:" + port}
	for _, n := range names {
		g.hosts[n] = true
		if port == "80" {
			g.hosts[strings.TrimSuffix(n, ":80")] = true
		}
	}
	return g
}

// site checks Host, Origin and Sec-Fetch-Site.
func (g *guard) site(r *http.Request) error {
	if !g.hosts[strings.ToLower(r.Host)] {
		return ErrHost
	}
	if origins, sent := r.Header["Origin"]; sent {
		if len(origins) != 1 || !g.own(origins[0]) {
			return ErrOrigin
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return nil
	}
	if r.Method == http.MethodGet && r.URL.Path == "/" && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" {
		return nil // a link on an intranet page may lead to the counter
	}
	return ErrOrigin
}

func (g *guard) own(origin string) bool {
	host, found := strings.CutPrefix(strings.ToLower(origin), "http://")
	return found && g.hosts[host]
}

// caller checks that the request carries the token or, where page permits it, the
// page's session. A
// session changes nothing without an Origin: browsers send it with every
// request that is not a plain GET, and a GET changes nothing.
func (g *guard) caller(r *http.Request, page bool) error {
	if bearer, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); found {
		if same(bearer, g.token) {
			return nil
		}
		return ErrToken
	}
	if !page {
		return ErrToken // what changes a card is not the counter page's to do
	}
	c, err := r.Cookie(cookieName)
	if err != nil || !same(c.Value, g.cookie) {
		return ErrToken
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Header.Get("Origin") == "" {
		return ErrOrigin
	}
	return nil
}

// admit gives the page its session.
func (g *guard) admit(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: g.cookie, Path: "/",
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
