package settlement

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"onecard/fault"
)

// A Problem is what is wrong with one field of a request.
type Problem string

// The problems.
const (
	Missing   Problem = "missing"    // required and absent or empty
	TooLong   Problem = "too long"   // more characters, digits or decimals than the table permits
	WrongType Problem = "wrong type" // another JSON type than the table's
	BadDate   Problem = "bad date"   // not in the table's form, or no such day
	NoSuch    Problem = "no such field"
	Twice     Problem = "given twice"
)

// A ValidationError is why a request was not sent: it names the place, never
// the value.
type ValidationError struct {
	Infno   string
	Node    string // "" for the input itself, "(root)" for the envelope
	Row     int    // of a list, from 0; -1 where the node is no list
	Field   string // "" where the node itself is meant
	Problem Problem
}

// Error names the place and the problem.
func (e *ValidationError) Error() string {
	place := e.Infno
	if e.Node != "" {
		place += " " + printable(e.Node)
	}
	if e.Row >= 0 && e.Node != "" && e.Node != envelopeNode {
		place += fmt.Sprintf("[%d]", e.Row)
	}
	if e.Field != "" {
		place += " " + printable(e.Field)
	}
	return place + ": " + string(e.Problem)
}

// Code is OC-2001 to OC-2004.
func (e *ValidationError) Code() fault.Code {
	switch e.Problem {
	case Missing:
		return fault.FieldMissing
	case TooLong:
		return fault.FieldTooLong
	case BadDate:
		return fault.FieldDate
	}
	return fault.FieldType
}

// maxInput bounds what Validate looks at; the table's own bound of the input
// (40000 characters) is checked with the envelope.
const maxInput = 4 << 20

// Validate checks a request's input against the tables: every required field
// there and not empty, no field the table does not have, types, lengths in
// characters (digits of numbers), dates that exist. Codes are not checked
// against dictionaries, which are incomplete. The error is a
// *[ValidationError], or ErrTransactionUnknown.
func (c *Catalogue) Validate(infno string, input json.RawMessage) error {
	_, err := c.validate(infno, input)
	return err
}

// validate also reports whether the input carries psn_no, which makes
// insuplc_admdvs required.
func (c *Catalogue) validate(infno string, input []byte) (person bool, err error) {
	t, err := c.Transaction(infno)
	if err != nil {
		return false, err
	}
	if infno == envelopeInfno {
		return false, fmt.Errorf("infno %q: %w", infno, ErrTransactionUnknown)
	}
	v := newValidator(infno, t.In, input)
	if v == nil || !v.open('{') {
		return false, &ValidationError{Infno: infno, Row: -1, Problem: WrongType}
	}
	err = v.input()
	return v.person, err
}

// validateEnvelope checks the envelope's fields; inputLength is the number of
// characters of the input that will be put into it.
func (c *Catalogue) validateEnvelope(infno string, header []byte, inputLength int) error {
	t, err := c.Transaction(envelopeInfno)
	if err != nil {
		return err
	}
	v := newValidator(infno, t.In, header)
	root := v.node(envelopeNode)
	v.given = "input"
	if f := root.Fields[root.index["input"]]; f.Length > 0 && inputLength > f.Length {
		return &ValidationError{Infno: infno, Node: envelopeNode, Row: -1, Field: "input", Problem: TooLong}
	}
	if !v.open('{') {
		return v.fail(root, -1, "", WrongType)
	}
	return v.object(root, -1, 0)
}

type validator struct {
	infno  string
	nodes  []*NodeSpec
	dec    *json.Decoder
	person bool
	given  string // a required field that is supplied elsewhere
}

func newValidator(infno string, nodes []*NodeSpec, text []byte) *validator {
	// Valid refuses what a token decoder lets pass: trailing text and broken
	// UTF-8 aside, it bounds nesting.
	if len(text) > maxInput || !utf8.Valid(text) || !json.Valid(text) {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return &validator{infno: infno, nodes: nodes, dec: dec}
}

func (v *validator) fail(n *NodeSpec, row int, field string, p Problem) error {
	return &ValidationError{Infno: v.infno, Node: n.Name, Row: row, Field: field, Problem: p}
}

// open consumes the next token and says whether it is this delimiter.
func (v *validator) open(d json.Delim) bool {
	t, err := v.dec.Token()
	return err == nil && t == d
}

func (v *validator) token() json.Token {
	t, err := v.dec.Token()
	if err != nil {
		return nil // the text is valid JSON: unreachable, and null is refused
	}
	return t
}

func (v *validator) node(name string) *NodeSpec {
	for _, n := range v.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// input checks the input object, whose '{' is consumed. Its members are nodes,
// and fields where the table gives a field no node.
func (v *validator) input() error {
	bare := v.node("")
	if bare == nil {
		bare = &NodeSpec{}
	}
	seen := make([]bool, len(bare.Fields))
	var nodes []string
	for v.dec.More() {
		name, _ := v.token().(string)
		if i, ok := bare.index[name]; ok {
			if seen[i] {
				return v.fail(bare, -1, name, Twice)
			}
			filled, err := v.value(bare, -1, &bare.Fields[i], 0)
			if err != nil {
				return err
			}
			seen[i] = filled
			continue
		}
		n := v.node(name)
		if n == nil || name == "" {
			return &ValidationError{Infno: v.infno, Node: name, Row: -1, Problem: NoSuch}
		}
		for _, other := range nodes {
			if other == name {
				return v.fail(n, -1, "", Twice)
			}
		}
		nodes = append(nodes, name)
		if err := v.rows(n, v.token(), 0); err != nil {
			return err
		}
	}
	for i, f := range bare.Fields {
		if f.Required && !seen[i] {
			return v.fail(bare, -1, f.Name, Missing)
		}
	}
	for _, n := range v.nodes {
		if n.Required && n.Name != "" {
			found := false
			for _, name := range nodes {
				found = found || name == n.Name
			}
			if !found {
				return v.fail(n, -1, "", Missing)
			}
		}
	}
	return nil
}

// rows checks a node that begins with token t: an object or a list of them.
func (v *validator) rows(n *NodeSpec, t json.Token, depth int) error {
	switch {
	case depth > 8:
		return v.fail(n, -1, "", WrongType)
	case t == json.Delim('{') && n.Shape != ListShape:
		return v.object(n, -1, depth)
	case t == json.Delim('[') && n.Shape != ObjectShape:
		row := 0
		for ; v.dec.More(); row++ {
			if !v.open('{') {
				return v.fail(n, row, "", WrongType)
			}
			if err := v.object(n, row, depth); err != nil {
				return err
			}
		}
		v.token()
		if row == 0 && n.Required {
			return v.fail(n, -1, "", Missing)
		}
		return nil
	}
	return v.fail(n, -1, "", WrongType)
}

// object checks the members of an object whose '{' is consumed.
func (v *validator) object(n *NodeSpec, row, depth int) error {
	seen := make([]byte, len(n.Fields))
	for v.dec.More() {
		name, _ := v.token().(string)
		i, ok := n.index[name]
		if !ok {
			return v.fail(n, row, name, NoSuch)
		}
		if seen[i] != 0 {
			return v.fail(n, row, name, Twice)
		}
		filled, err := v.value(n, row, &n.Fields[i], depth)
		if err != nil {
			return err
		}
		seen[i] = 1
		if filled {
			seen[i] = 2
			v.person = v.person || name == "psn_no"
		}
	}
	v.token()
	for i, f := range n.Fields {
		if f.Required && seen[i] != 2 && f.Name != v.given {
			return v.fail(n, row, f.Name, Missing)
		}
	}
	return nil
}

// value checks one value and says whether it is more than an empty text.
func (v *validator) value(n *NodeSpec, row int, f *Field, depth int) (filled bool, err error) {
	t := v.token()
	if f.Kind == ObjectKind {
		if inner := v.node(f.Name); inner != nil && inner != n {
			return true, v.rows(inner, t, depth+1)
		}
		if t != json.Delim('{') && t != json.Delim('[') {
			return false, v.fail(n, row, f.Name, WrongType)
		}
		v.skip()
		return true, nil
	}
	var p Problem
	switch t := t.(type) {
	case string:
		if t == "" && f.Kind != NumberKind && f.Kind != BooleanKind {
			return false, nil
		}
		p = f.text(t)
	case json.Number:
		p = WrongType
		if f.Kind == NumberKind || f.Kind == EitherKind {
			p = f.number(t.String())
		}
	case bool:
		if f.Kind != BooleanKind {
			p = WrongType
		}
	default: // null, or an object or list where a value belongs
		p = WrongType
		if t == nil && f.Required {
			p = Missing
		}
	}
	if p != "" {
		return false, v.fail(n, row, f.Name, p)
	}
	return true, nil
}

// skip consumes the rest of an object or list without a table of its own.
func (v *validator) skip() {
	for depth := 1; depth > 0; {
		switch v.token() {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

func (f *Field) text(s string) Problem {
	switch f.Kind {
	case NumberKind, BooleanKind:
		return WrongType
	case DateKind, DateTimeKind:
		layout := DateLayout
		if f.Kind == DateTimeKind {
			layout = TimeLayout
		}
		if l := dateLayouts[f.Format]; l != "" {
			layout = l
		}
		return dated(s, layout)
	}
	if f.Length > 0 && utf8.RuneCountInString(s) > f.Length {
		return TooLong
	}
	// Some text fields hold dates. A format that does not fill the field's
	// length describes a part of it (msgid) and is left alone.
	if l := dateLayouts[f.Format]; l != "" && f.Kind == StringKind && len(f.Format) == f.Length {
		return dated(s, l)
	}
	return ""
}

var dateLayouts = map[string]string{
	"yyyy-MM-dd":          DateLayout,
	"yyyy-MM-dd HH:mm:ss": TimeLayout,
	"yyyyMM":              "200601",
	"yyyyMMdd":            "20060102",
}

// dated accepts exactly the layout; time.Parse alone lets fractions of seconds
// and one-digit hours pass.
func dated(s, layout string) Problem {
	if t, err := time.Parse(layout, s); err != nil || t.Format(layout) != s {
		return BadDate
	}
	return ""
}

// number checks the digits of a JSON number. "16,2" are 16 digits of which 2
// are decimals; "30" are thirty digits with the point anywhere.
func (f *Field) number(s string) Problem {
	if strings.ContainsAny(s, "eE") {
		return WrongType
	}
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if whole == "0" && fraction != "" {
		whole = ""
	}
	switch {
	case f.Length == 0:
		if len(whole)+len(fraction) > 64 {
			return TooLong
		}
	case f.Scale < 0:
		if len(whole)+len(fraction) > f.Length {
			return TooLong
		}
	case len(whole) > max(f.Length-f.Scale, 1) || len(fraction) > f.Scale:
		return TooLong
	}
	return ""
}
