package settlement

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Upstream is read generously (settlement facts, envelope): "null" and "NULL"
// for empty, numbers as strings and strings as numbers, an object where a list
// is announced and a list of one where an object is.

// A Text is a text field of an answer. Numbers and booleans are taken as they
// are written; null, "null" and "NULL" are the empty text.
type Text string

// UnmarshalJSON reads a scalar; an object or a list is an error.
func (t *Text) UnmarshalJSON(b []byte) error {
	s, _, err := lenientScalar(b)
	if err != nil {
		return fmt.Errorf("read text: %w", err)
	}
	*t = Text(s)
	return nil
}

var errNotScalar = errors.New("an object or list where a value belongs")

// lenientScalar returns the text of a JSON scalar and whether it means
// absent.
func lenientScalar(b []byte) (s string, absent bool, err error) {
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0:
		return "", true, nil
	case b[0] == '{' || b[0] == '[':
		return "", false, errNotScalar
	case b[0] == '"':
		if err := json.Unmarshal(b, &s); err != nil {
			return "", false, errors.New("malformed JSON text")
		}
		s = strings.TrimSpace(s)
	default:
		s = string(b)
	}
	if s == "" || s == "null" || s == "NULL" {
		return "", true, nil
	}
	return s, false, nil
}

// A List is a node of an answer that holds any number of T. An object is read
// as a list of one; null, "" and {} as none.
type List[T any] []T

// UnmarshalJSON reads a list, an object or nothing.
func (l *List[T]) UnmarshalJSON(b []byte) error {
	*l = nil
	b = bytes.TrimSpace(b)
	if nothing(b) {
		return nil
	}
	if b[0] == '[' {
		var items []json.RawMessage
		if err := json.Unmarshal(b, &items); err != nil {
			return fmt.Errorf("read list: %w", errJSON(err))
		}
		for i, item := range items {
			if nothing(item) {
				continue
			}
			var t T
			if err := json.Unmarshal(item, &t); err != nil {
				return fmt.Errorf("read list, row %d: %w", i, errJSON(err))
			}
			*l = append(*l, t)
		}
		return nil
	}
	var t T
	if err := json.Unmarshal(b, &t); err != nil {
		return fmt.Errorf("read list of one: %w", errJSON(err))
	}
	*l = List[T]{t}
	return nil
}

// A Node is a node of an answer that holds one T. A list of one is read as its
// row; a longer list is an error, because taking one row of several would hide
// the others.
type Node[T any] struct {
	Value   T
	Present bool
}

// UnmarshalJSON reads an object, a list of at most one, or nothing.
func (n *Node[T]) UnmarshalJSON(b []byte) error {
	var l List[T]
	if err := l.UnmarshalJSON(b); err != nil {
		return err
	}
	*n = Node[T]{}
	switch len(l) {
	case 0:
	case 1:
		n.Value, n.Present = l[0], true
	default:
		return errors.New("several rows where one belongs")
	}
	return nil
}

// MarshalJSON writes the object, null where it is absent.
func (n Node[T]) MarshalJSON() ([]byte, error) {
	if !n.Present {
		return []byte("null"), nil
	}
	return json.Marshal(n.Value)
}

// nothing says whether a JSON value stands for no object.
func nothing(b []byte) bool {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return true
	}
	switch b[0] {
	case '{':
		return len(b) < 2 || len(bytes.TrimSpace(b[1:len(b)-1])) == 0
	case '[':
		return false
	}
	_, absent, err := lenientScalar(b)
	return err == nil && absent
}

// errJSON strips a JSON error of the value that it may quote.
func errJSON(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("malformed JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("field %s has the wrong kind", printable(kind.Field))
	}
	return err
}

// printable bounds a name that comes from outside for use in an error text.
func printable(s string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
	if r := []rune(clean); len(r) > 64 {
		clean = string(r[:64]) + "..."
	}
	return clean
}
