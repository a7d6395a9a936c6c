package region

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"onecard/settlement"
)

// Values of feedetl_sn.
const (
	feedetlNumber = "number"
	feedetlText   = "text"
)

// check looks at everything that would otherwise fail, or do nothing, when the
// first patient stands at the desk.
func (r *Region) check() *Error {
	wrong := func(key, format string, a ...any) *Error { return &Error{Key: key, Problem: fmt.Sprintf(format, a...)} }
	if r.Name == "" {
		return wrong("name", "missing")
	}
	for key, p := range map[string]string{"path": r.Path} {
		if p != "" && !isPath(p) {
			return wrong(key, "a path beginning with / expected")
		}
	}
	for part := range strings.SplitSeq(r.Style, "+") {
		if r.Style != "" && !slices.Contains(settlement.StyleNames(), part) {
			return wrong("style", "unknown; there are %s", strings.Join(settlement.StyleNames(), ", "))
		}
	}
	for _, x := range []struct{ key, value, style string }{
		{"csb.api_name", r.CSB.APIName, "csb"}, {"csb.api_version", r.CSB.APIVersion, "csb"}, {"mobile.version", r.Mobile.Version, "mobile"},
	} {
		if x.value != "" && !slices.Contains(strings.Split(r.Style, "+"), x.style) {
			return wrong(x.key, "without style %s it does nothing", x.style)
		}
	}
	if parts := strings.Split(r.Style, "+"); r.SM2.UserID != "" && !slices.Contains(parts, "sm2-cainfo") && !slices.Contains(parts, "mobile") {
		return wrong("sm2.user_id", "without style sm2-cainfo or mobile it does nothing")
	}
	if len(r.Receiver) > 10 {
		return wrong("receiver", "longer than 10 characters")
	}
	if len(r.Version) > 6 {
		return wrong("version", "longer than 6 characters")
	}
	switch r.FeedetlSN {
	case "", feedetlNumber, feedetlText:
	default:
		return wrong("feedetl_sn", "number or text")
	}
	if err := r.Lookups().Check(); err != nil {
		key, problem, _ := strings.Cut(err.Error(), ": ")
		return wrong("lookup."+key, "%s", problem)
	}
	national, err := settlement.NewCatalogue()
	if err != nil {
		return wrong("", "%v", err)
	}
	if e := r.checkNumbers(national); e != nil {
		return e
	}
	if e := r.checkAmendments(national); e != nil {
		return e
	}
	c, err := r.Catalogue()
	if err != nil {
		return wrong("amendment", "%v", err)
	}
	if err := r.regional().Check(c); err != nil {
		key, problem, _ := strings.Cut(err.Error(), ": ")
		return wrong(key, "%s", problem)
	}
	if err := r.Offline.Check(national); err != nil {
		key, problem, _ := strings.Cut(err.Error(), ": ")
		return wrong(key, "%s", problem)
	}
	if r.Offline.Path != "" && !isPath(r.Offline.Path) {
		return wrong("offline.path", "a path beginning with / expected")
	}
	for dictionary, codes := range r.Dictionaries {
		for code, text := range codes {
			if dictionary == "" || code == "" || text == "" {
				return wrong("dictionaries."+dictionary+"."+code, "a dictionary, a code and a text expected")
			}
		}
	}
	return nil
}

func isPath(p string) bool {
	u, err := url.Parse(p)
	return err == nil && strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "//") && u.Host == "" && u.RawQuery == "" && u.Fragment == ""
}

// checkNumbers looks at paths and variants.
func (r *Region) checkNumbers(national *settlement.Catalogue) *Error {
	for infno, p := range r.Paths {
		key := "paths." + infno
		if _, err := national.Transaction(infno); err != nil {
			return &Error{Key: key, Problem: "no such transaction"}
		}
		if !isPath(p) {
			return &Error{Key: key, Problem: "a path beginning with / expected"}
		}
		if v := r.Variants[infno]; v != "" {
			return &Error{Key: key, Problem: "never used: " + infno + " is sent as " + v + "; give the path of that"}
		}
	}
	for infno, variant := range r.Variants {
		key := "variants." + infno
		for _, n := range []string{infno, variant} {
			if _, err := national.Transaction(n); err != nil {
				return &Error{Key: key, Problem: "no such transaction"}
			}
		}
		if infno == variant {
			return &Error{Key: key, Problem: "a variant of itself"}
		}
		if len(r.Paths) > 0 && r.Path == "" && r.Paths[variant] == "" {
			return &Error{Key: key, Problem: "there is no path for " + variant + " and no endpoint"}
		}
	}
	return nil
}

// checkAmendments refuses an amendment that would change nothing because what
// it names does not exist.
func (r *Region) checkAmendments(national *settlement.Catalogue) *Error {
	for i, a := range r.Amendments {
		key := fmt.Sprintf("amendment[%d]", i)
		for name, text := range map[string]string{"infno": a.Infno, "node": a.Node, "field": a.Field, "property": a.Property, "value": a.Value, "reason": a.Reason} {
			if strings.ContainsAny(text, "\t\r\n") {
				return &Error{Key: key + "." + name, Problem: "one line without TAB expected"}
			}
		}
		if a.Reason == "" {
			return &Error{Key: key, Problem: "reason missing: say why the region differs"}
		}
		if !settlement.Amendable(a.Property, a.Value) {
			return &Error{Key: key, Problem: "no such property, or a value that it cannot have"}
		}
		if err := exists(national, a, r.Amendments); err != nil {
			return &Error{Key: key, Problem: err.Error()}
		}
	}
	return nil
}

// exists says whether there is what an amendment is about.
func exists(national *settlement.Catalogue, a Amendment, all []Amendment) error {
	whole := a.Property == "shape" || a.Property == "presence"
	switch {
	case a.Property == "like":
		for _, n := range []string{a.Infno, a.Value} {
			if _, err := national.Transaction(n); err != nil {
				return errors.New("no such transaction")
			}
		}
		if a.Node != "" || a.Field != "" {
			return errors.New("like is about a whole transaction")
		}
		return nil
	case whole && a.Field != "":
		return errors.New(a.Property + " is about a whole node")
	case !whole && a.Field == "":
		return errors.New("field missing")
	}
	infnos := []string{a.Infno}
	if a.Infno == "*" {
		infnos = national.Transactions()
	}
	for _, infno := range infnos {
		for _, other := range all {
			if other.Property == "like" && other.Infno == infno {
				infno = other.Value
			}
		}
		t, err := national.Transaction(infno)
		if err != nil {
			return errors.New("no such transaction")
		}
		for _, n := range append(slices.Clone(t.In), t.Out...) {
			if n.Name != a.Node {
				continue
			}
			if whole || slices.ContainsFunc(n.Fields, func(f settlement.Field) bool { return f.Name == a.Field }) {
				return nil
			}
		}
	}
	return errors.New("no such node or field in that transaction")
}

// String is the region's name.
func (r *Region) String() string { return r.Name }

// Timeouts returns both; 0 where the file says nothing.
func (r *Region) Timeouts() (connect, answer time.Duration) {
	return time.Duration(r.ConnectTimeout), time.Duration(r.AnswerTimeout)
}
