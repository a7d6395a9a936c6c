package profile

import (
	"fmt"
	"regexp"
	"strings"
)

// A Version is a version of the card specification. Only the first three
// characters of SSSE/EF05 tag 03 decide it (card specification, section 1).
type Version uint8

// The versions.
const (
	V10 Version = 10 // 1.0x, 3DES
	V20 Version = 20 // 2.0x, 3DES
	V30 Version = 30 // 3.0x, SM4
)

// String returns "1.0", "2.0" or "3.0".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v/10, v%10) }

func parseVersion(s string) (Version, error) {
	switch s {
	case "1.0":
		return V10, nil
	case "2.0":
		return V20, nil
	case "3.0":
		return V30, nil
	}
	return 0, fmt.Errorf("unknown version %q", s)
}

// Access is a condition in disjunctive form: one of the alternatives must be
// met. No alternative at all means never.
type Access []Alternative

// An Alternative lists what must be met together. Neither PIN nor a key means
// free.
type Alternative struct {
	PIN  bool
	Keys []string // names as in card specification, section 5: "RK1DF03"
}

// Free reports whether nothing is needed.
func (a Access) Free() bool {
	for _, alt := range a {
		if !alt.PIN && len(alt.Keys) == 0 {
			return true
		}
	}
	return false
}

// Met reports whether the state of a card meets the condition: the PIN
// verified or not, and the keys that hold has.
func (a Access) Met(pin bool, hold func(key string) bool) bool {
	for _, alt := range a {
		met := pin || !alt.PIN
		for _, key := range alt.Keys {
			met = met && hold(key)
		}
		if met {
			return true
		}
	}
	return false
}

// String returns the condition as files.tsv writes it.
func (a Access) String() string {
	if len(a) == 0 {
		return "never"
	}
	var alts []string
	for _, alt := range a {
		parts := append([]string(nil), alt.Keys...)
		if alt.PIN {
			parts = append([]string{"PIN"}, parts...)
		}
		s := strings.Join(parts, " and ")
		switch {
		case s == "":
			s = "free"
		case len(parts) > 1 && len(a) > 1:
			s = "(" + s + ")"
		}
		alts = append(alts, s)
	}
	return strings.Join(alts, " or ")
}

var keyName = regexp.MustCompile(`^(RK|UK)[0-9A-F]?(SSSE|DF0[1-7])$`)

// parseAccess reads "free", "never", "PIN", "RK1DF03", "PIN or RK1DF03",
// "(PIN and RK1DF03) or UK4DF03".
func parseAccess(s string) (Access, error) {
	switch s {
	case "free":
		return Access{{}}, nil
	case "never":
		return nil, nil
	}
	var a Access
	for _, part := range strings.Split(s, " or ") {
		part = strings.TrimSuffix(strings.TrimPrefix(part, "("), ")")
		var alt Alternative
		for _, cond := range strings.Split(part, " and ") {
			switch {
			case cond == "PIN":
				alt.PIN = true
			case keyName.MatchString(cond):
				alt.Keys = append(alt.Keys, cond)
			default:
				return nil, fmt.Errorf("access condition %q in %q", cond, s)
			}
		}
		a = append(a, alt)
	}
	return a, nil
}

// versionedAccess reads the access column of elements.tsv for one version:
// "1.0/2.0: free; 3.0: RKSSSE ext-auth" differs by version, the rest do not.
func versionedAccess(s string, v Version) (Access, error) {
	if !strings.Contains(s, ":") {
		if strings.HasPrefix(s, "none") { // "none (COS only)"
			return nil, nil
		}
		return parseAccess(s)
	}
	for _, clause := range strings.Split(s, "; ") {
		versions, cond, ok := strings.Cut(clause, ": ")
		if !ok {
			return nil, fmt.Errorf("access %q", s)
		}
		for _, name := range strings.Split(versions, "/") {
			if name == v.String() {
				return parseAccess(strings.TrimSuffix(cond, " ext-auth"))
			}
		}
	}
	return nil, fmt.Errorf("access %q has no clause for %s", s, v)
}
