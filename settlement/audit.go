package settlement

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// A Deviation is where an answer differs from the tables. Upstream is read
// generously, so a deviation is no failure: it is for whoever takes a region's
// interface into use, and for the centre. It names the place, never the value.
type Deviation struct {
	Node    string // "" for the output itself
	Row     int    // of a list, from 0; -1 where the node is no list
	Field   string // "" where the node itself is meant
	Problem Problem
}

// String names the place and the problem.
func (d Deviation) String() string {
	place := printable(d.Node)
	if place == "" {
		place = "output"
	}
	if d.Row >= 0 {
		place += fmt.Sprintf("[%d]", d.Row)
	}
	if d.Field != "" {
		place += " " + printable(d.Field)
	}
	return place + ": " + string(d.Problem)
}

// maxDeviations bounds what is reported of one answer.
const maxDeviations = 100

// Deviations holds the output of an answer against the tables: required nodes
// and fields that are missing or empty, nodes and fields that the tables do not
// have, values of another kind, numbers that are none, dates not in their form,
// texts that are too long. What [Text], [NullFen], [List] and [Node] read as
// meant is no deviation: numbers as texts, "null" for empty, an object for a
// list of one and the other way round, an empty output where nothing is
// required. At most 100 are returned. The error is ErrTransactionUnknown, or
// wraps ErrMalformed where the output is not JSON.
func (c *Catalogue) Deviations(infno string, output json.RawMessage) ([]Deviation, error) {
	t, err := c.Transaction(infno)
	if err != nil {
		return nil, err
	}
	if infno == envelopeInfno {
		return nil, fmt.Errorf("infno %q: %w", infno, ErrTransactionUnknown)
	}
	a := &audit{nodes: t.Out}
	output = bytes.TrimSpace(output)
	if len(output) > 0 && (!json.Valid(output) || !utf8.Valid(output)) {
		return nil, fmt.Errorf("%s: output is not JSON: %w", infno, ErrMalformed)
	}
	a.output(output)
	return a.found, nil
}

// Deviations holds an answer of this client against its tables.
func (c *Client) Deviations(a Answer) ([]Deviation, error) {
	return c.cfg.Catalogue.Deviations(a.Infno, a.Output)
}

// An audit collects deviations.
type audit struct {
	nodes []*NodeSpec
	found []Deviation
}

func (a *audit) add(node string, row int, field string, p Problem) {
	if len(a.found) < maxDeviations {
		a.found = append(a.found, Deviation{node, row, field, p})
	}
}

func (a *audit) node(name string) *NodeSpec {
	for _, n := range a.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// output checks the nodes of an output, or, where the tables give its fields
// none, its rows.
func (a *audit) output(text json.RawMessage) {
	bare := a.node("")
	if nothing(text) {
		for _, n := range a.nodes {
			if n.Required && n != bare {
				a.add(n.Name, -1, "", Missing)
			}
		}
		return
	}
	if text[0] != '{' {
		if bare == nil {
			a.add("", -1, "", WrongType)
			return
		}
		a.rows(bare, text, 0)
		return
	}
	list, err := readMembers(text)
	if err != nil {
		a.add("", -1, "", Twice)
		return
	}
	var own members
	for _, m := range list {
		if n := a.node(m.name); n != nil && m.name != "" {
			a.rows(n, m.value, 0)
			continue
		}
		if bare == nil {
			a.add(m.name, -1, "", NoSuch)
			continue
		}
		own = append(own, m)
	}
	if bare != nil {
		a.object(bare, -1, own, 0)
	}
	for _, n := range a.nodes {
		if n.Required && n != bare && list.get(n.Name) == nil {
			a.add(n.Name, -1, "", Missing)
		}
	}
}

// rows checks a node's rows: one object, or a list of them.
func (a *audit) rows(n *NodeSpec, text json.RawMessage, depth int) {
	text = bytes.TrimSpace(text)
	switch {
	case nothing(text):
		if n.Required {
			a.add(n.Name, -1, "", Missing)
		}
	case depth > 8:
		a.add(n.Name, -1, "", WrongType)
	case text[0] == '{':
		a.row(n, -1, text, depth)
	case text[0] == '[':
		var items []json.RawMessage
		_ = json.Unmarshal(text, &items) // the whole is valid JSON
		for i, item := range items {
			if len(a.found) == maxDeviations {
				return
			}
			if item = bytes.TrimSpace(item); nothing(item) {
				continue
			}
			if item[0] != '{' {
				a.add(n.Name, i, "", WrongType)
				continue
			}
			a.row(n, i, item, depth)
		}
	default:
		a.add(n.Name, -1, "", WrongType)
	}
}

func (a *audit) row(n *NodeSpec, row int, text json.RawMessage, depth int) {
	list, err := readMembers(text)
	if err != nil {
		a.add(n.Name, row, "", Twice)
		return
	}
	a.object(n, row, list, depth)
}

func (a *audit) object(n *NodeSpec, row int, list members, depth int) {
	for _, m := range list {
		i, ok := n.index[m.name]
		if !ok {
			a.add(n.Name, row, m.name, NoSuch)
			continue
		}
		f := &n.Fields[i]
		if inner := a.node(f.Name); f.Kind == ObjectKind && inner != nil && inner != n {
			a.rows(inner, m.value, depth+1)
			continue
		}
		if p := f.answered(m.value); p != "" {
			a.add(n.Name, row, m.name, p)
		}
	}
	for _, f := range n.Fields {
		if f.Required && list.get(f.Name) == nil {
			a.add(n.Name, row, f.Name, Missing)
		}
	}
}

// answered says what is wrong with a value of an answer. Numbers may be texts
// and texts numbers; empty is an answer, too, unless the field is required.
func (f *Field) answered(value json.RawMessage) Problem {
	if f.Kind == ObjectKind {
		if v := bytes.TrimSpace(value); !nothing(v) && v[0] != '{' && v[0] != '[' {
			return WrongType
		}
		return ""
	}
	s, absent, err := lenientScalar(value)
	switch {
	case err != nil:
		return WrongType
	case absent && f.Required:
		return Missing
	case absent:
		return ""
	}
	switch f.Kind {
	case NumberKind:
		if len(s) > 64 {
			return TooLong
		}
		plain, err := plainDecimal(s)
		if err != nil || !numeric(plain) {
			return WrongType
		}
		return f.number(plain)
	case BooleanKind:
		if s != "true" && s != "false" {
			return WrongType
		}
		return ""
	}
	return f.text(s)
}

// numeric says whether s is digits with at most one sign and point.
func numeric(s string) bool {
	digits, point := 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '.' && !point:
			point = true
		case c == '-' && i == 0:
		default:
			return false
		}
	}
	return digits > 0
}
