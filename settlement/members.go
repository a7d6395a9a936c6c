package settlement

import (
	"bytes"
	"encoding/json"
	"errors"
)

// A member is one of a JSON object, its value byte for byte as it stands
// there: signatures are over the text, not over its meaning.
type member struct {
	name  string
	value json.RawMessage
}

// members are those of one JSON object, in its order.
type members []member

var errNoObject = errors.New("not one JSON object")

// readMembers reads an object. Nothing may follow it, and no name may be in it
// twice: another reader might take the other one.
func readMembers(text []byte) (members, error) {
	if !json.Valid(text) {
		return nil, errNoObject
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errNoObject
	}
	var list members
	seen := make(map[string]bool)
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errNoObject
		}
		if seen[name] {
			return nil, errors.New("a member is given twice")
		}
		seen[name] = true
		m := member{name: name}
		if err := dec.Decode(&m.value); err != nil {
			return nil, errNoObject
		}
		list = append(list, m)
	}
	return list, nil
}

// get returns a member's text, nil where there is none.
func (l members) get(name string) json.RawMessage {
	for _, m := range l {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// text returns a member that is a JSON text; false for anything else.
func (l members) text(name string) (string, bool) {
	var s *string
	if raw := l.get(name); raw == nil || json.Unmarshal(raw, &s) != nil || s == nil {
		return "", false
	}
	return *s, true
}

// set replaces a member's value or appends it.
func (l members) set(name string, value json.RawMessage) members {
	for i := range l {
		if l[i].name == name {
			l[i].value = value
			return l
		}
	}
	return append(l, member{name, value})
}

// setText is set for a JSON text.
func (l members) setText(name, value string) members { return l.set(name, quote(value)) }

// bytes writes the object.
func (l members) bytes() []byte {
	b := []byte{'{'}
	for i, m := range l {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, quote(m.name)...)
		b = append(b, ':')
		b = append(b, m.value...)
	}
	return append(b, '}')
}

// quote writes a JSON text.
func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return []byte(`""`) // a string always marshals
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
