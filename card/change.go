package card

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"onecard/apdu"
	"onecard/card/profile"
)

// A Change is one value to be written to a card. What it holds depends on the
// structure of the file:
//
//	variable, fixed  Tag, Instance and Value
//	cyclic           Fields: a new record, one text for each field in order
//	transparent      Data at Offset
//
// Texts are those that Value.String returns; "" is the unset value. Dates and
// times may be digits alone.
type Change struct {
	File     FileID
	Tag      string // "71"; of a template's member "40/57"
	Instance int    // which record with that tag, from 1; 0 is 1
	Value    string
	Later    bool // on a 1.0 card: in the meaning of 2.0, with EE behind it
	Fields   []string
	Data     []byte
	Offset   int
}

// ParseChange reads what a command line says of a file:
//
//	71=510100        the record with tag 71
//	40:2/57=408      member 57 of the second record with tag 40
//	2.0:71=330100    on a 1.0 card in the meaning of 2.0
//	+6120103^2020-01-01^^样例公司   a new record of a cyclic file, by field
//	@16=hex:0102     bytes of a transparent file from an offset; base64: also
//
// The error is a [*ChangeError].
func ParseChange(file FileID, s string) (Change, error) {
	ch := Change{File: file}
	bad := func(problem string) (Change, error) { return Change{}, &ChangeError{File: file, Problem: problem} }
	if rest, ok := strings.CutPrefix(s, "+"); ok {
		ch.Fields = strings.Split(rest, "^")
		return ch, nil
	}
	place, value, ok := strings.Cut(s, "=")
	if !ok {
		return bad("a change is written tag=value")
	}
	if at, ok := strings.CutPrefix(place, "@"); ok {
		n, err := strconv.ParseUint(at, 10, 15)
		if err != nil {
			return bad("not an offset")
		}
		ch.Offset = int(n)
		switch {
		case strings.HasPrefix(value, "hex:"):
			ch.Data, err = hex.DecodeString(value[4:])
		case strings.HasPrefix(value, "base64:"):
			ch.Data, err = base64.StdEncoding.DecodeString(value[7:])
		default:
			err = errFormat
		}
		if err != nil || len(ch.Data) == 0 {
			return bad("bytes are written hex:... or base64:...")
		}
		return ch, nil
	}
	place, ch.Later = strings.CutPrefix(place, "2.0:")
	tag, member, nested := strings.Cut(strings.ToUpper(place), "/")
	tag, instance, numbered := strings.Cut(tag, ":")
	if numbered {
		n, err := strconv.ParseUint(instance, 10, 8)
		if err != nil || n == 0 {
			return bad("not the number of a record")
		}
		ch.Instance = int(n)
	}
	ch.Tag, ch.Value = tag, value
	if nested {
		ch.Tag += "/" + member
	}
	if _, _, _, err := ch.tags(); err != nil {
		return Change{}, err
	}
	return ch, nil
}

// tags takes Tag apart.
func (ch Change) tags() (tag, member byte, nested bool, err error) {
	one, two, nested := strings.Cut(ch.Tag, "/")
	b, err := hex.DecodeString(one + two)
	if err != nil || len(one) != 2 || nested && len(two) != 2 {
		return 0, 0, nested, &ChangeError{ch.File, "", "not a tag"}
	}
	if nested {
		member = b[1]
	}
	return b[0], member, nested, nil
}

// problem makes the error of a change.
func (ch Change) problem(text string) error {
	return &ChangeError{File: ch.File, Tag: ch.Tag, Problem: text}
}

// encodeChecked writes a text as the element's full length of bytes, or says
// why the profile forbids it: format, length, characters, code table, check
// digit.
func encodeChecked(p *profile.Profile, e profile.Element, text string) ([]byte, error) {
	v, err := ParseValue(e, dashed(e.Format, text))
	if err != nil {
		return nil, err
	}
	b, err := EncodeValue(e, v)
	if err != nil || v.IsUnset() {
		return b, err
	}
	s := v.String()
	for _, r := range s {
		// Nothing that is invisible or turns a line around gets onto a card.
		if !unicode.IsPrint(r) || e.Format == profile.AN && r > '~' {
			return nil, errCharacters
		}
	}
	if e.Codes != "" {
		if _, ok := p.Words(e.Codes, s); !ok {
			return nil, errCode
		}
		if e.Codes == "area" && len(s) != 6 {
			return nil, errCode
		}
	}
	for _, part := range e.Parts {
		if part.Offset+part.Length > len(s) {
			return nil, errCode
		}
		if part.Codes == "" {
			continue
		}
		if _, ok := p.Words(part.Codes, s[part.Offset:part.Offset+part.Length]); !ok {
			return nil, errCode
		}
	}
	return b, checkDigits(e, s)
}

var (
	errCode       = errors.New("not in the code table")
	errCheckDigit = errors.New("the check digit is wrong")
)

// checkDigits judges the two numbers that have one.
func checkDigits(e profile.Element, s string) error {
	if e.DF != rootDF {
		return nil
	}
	if e.EF == "EF06" && e.ID == 0x08 && !ValidIDNumber(s) {
		return errCheckDigit
	}
	if e.EF == "EF05" && e.ID == 0x07 && (len(s) != 9 || CardNumberCheck(s[:8]) != s[8]) {
		return errCheckDigit
	}
	return nil
}

// dashed puts the dashes into dates and times that are digits alone.
func dashed(f profile.Format, s string) string {
	if !allDigits(s) {
		return s
	}
	switch {
	case f == profile.Date && len(s) == 8:
		return s[:4] + "-" + s[4:6] + "-" + s[6:]
	case f == profile.Month && len(s) == 6:
		return s[:4] + "-" + s[4:]
	case f == profile.Time && len(s) == 14:
		return fmt.Sprintf("%s-%s-%s %s:%s:%s", s[:4], s[4:6], s[6:8], s[8:10], s[10:12], s[12:])
	}
	return s
}

// check validates a change before anything is sent to the card.
func (c *Card) check(ch Change) (profile.File, error) {
	f, ok := c.profile.File(ch.File.DF, ch.File.EF)
	switch v := c.issuer.Specification; {
	case !ok:
		return f, fmt.Errorf("write %s: %w", ch.File, ErrFileUnknown)
	case v < f.Since || v > f.Until:
		return f, fmt.Errorf("write %s: %w", ch.File, ErrFileMissing)
	case len(f.WriteAccess(v)) == 0:
		return f, fmt.Errorf("write %s: %w", ch.File, ErrNotWritable)
	}
	switch f.Structure {
	case profile.CyclicFile:
		_, err := c.encodeFields(f, ch)
		return f, err
	case profile.Transparent:
		if ch.Tag != "" || len(ch.Fields) > 0 || len(ch.Data) == 0 || ch.Offset < 0 {
			return f, ch.problem("a transparent file takes bytes at an offset")
		}
		if ch.Offset+len(ch.Data) > f.Size {
			return f, ch.problem(errTooLong.Error())
		}
		return f, nil
	}
	if len(ch.Fields) > 0 || len(ch.Data) > 0 {
		return f, ch.problem("this file takes tag=value")
	}
	tag, member, nested, err := ch.tags()
	if err != nil {
		return f, err
	}
	if f.DF == rootDF && f.EF == "EF05" && tag == 0x01 {
		// The card is known by it, also to the journal of plans.
		return f, fmt.Errorf("write %s tag 01: %w", ch.File, ErrNotWritable)
	}
	for _, e := range c.candidates(f, ch, tag) {
		_, err = c.encodeElement(f, e, ch, member, nested, nil)
		if err == nil {
			return f, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("write %s tag %s: %w", ch.File, ch.Tag, ErrFileUnknown)
	}
	return f, err
}

// candidates are the elements that a tag may be on this card: on a 1.0 card
// the record's content decides between two meanings.
func (c *Card) candidates(f profile.File, ch Change, tag byte) []profile.Element {
	var list []profile.Element
	for _, elements := range [][]profile.Element{f.ElementsOf(c.issuer.Specification), f.Elements} {
		if e, ok := exactly(elements, tag, max(ch.Instance, 1)); ok {
			list = append(list, e)
		}
	}
	if ch.Later && len(list) > 1 {
		list = list[1:]
	}
	return list
}

// exactly finds the n-th element with a tag and no other.
func exactly(elements []profile.Element, tag byte, n int) (profile.Element, bool) {
	for _, e := range elements {
		if e.ID == tag {
			if n--; n == 0 {
				return e, true
			}
		}
	}
	return profile.Element{}, false
}

// encodeElement returns the value of a linear record after a change. old is the
// value on the card, of which a template keeps the other members.
func (c *Card) encodeElement(f profile.File, e profile.Element, ch Change, member byte, nested bool, old []byte) ([]byte, error) {
	if e.Format != profile.Template {
		if nested {
			return nil, ch.problem("the record has no members")
		}
		if f.DF == rootDF && f.EF == "EF06" && e.ID == 0x09 {
			name, _, err := c.splitName(f, ch.Value)
			if err != nil {
				return nil, ch.problem(err.Error())
			}
			return name, nil
		}
		b, err := encodeChecked(c.profile, e, ch.Value)
		if err != nil {
			return nil, ch.problem(err.Error())
		}
		return b, nil
	}
	values := map[byte][]byte{}
	if nested {
		if list, err := apdu.ParseSimpleTLV(old); err == nil && !allBytes(old, 0) && !allBytes(old, 0xFF) {
			for _, t := range list {
				values[t.Tag] = t.Value
			}
		}
		m, ok := pick(e.Members, member, 1)
		if !ok {
			return nil, ch.problem("the tag does not belong to this template")
		}
		b, err := encodeChecked(c.profile, m, ch.Value)
		if err != nil {
			return nil, ch.problem(err.Error())
		}
		values[member] = b
	} else if ch.Value != "" {
		return nil, ch.problem("a template is written by its members, or unset as a whole")
	}
	return encodeTemplate(e, values)
}

// encodeTemplate writes a template with all its members, those without a value
// unset.
func encodeTemplate(e profile.Element, values map[byte][]byte) ([]byte, error) {
	var out []byte
	for _, m := range e.Members {
		v, ok := values[m.ID]
		if !ok || len(v) != m.Length {
			var err error
			if v, err = EncodeValue(m, Value{}); err != nil {
				return nil, err
			}
		}
		out = append(append(out, m.ID, byte(m.Length)), v...)
	}
	return out, nil
}

// splitName writes a name into the value of 09 and, where the card has it, of
// 4E; extension is nil where it has not.
func (c *Card) splitName(f profile.File, s string) (name, extension []byte, err error) {
	name, extension, err = SplitName(s)
	if err != nil {
		return nil, nil, err
	}
	if _, ok := exactly(f.ElementsOf(c.issuer.Specification), 0x4E, 1); !ok {
		if !allBytes(extension, 0) {
			return nil, nil, errTooLong
		}
		extension = nil
	}
	return name, extension, nil
}

// encodeFields returns a new record of a cyclic file.
func (c *Card) encodeFields(f profile.File, ch Change) ([]byte, error) {
	if ch.Tag != "" || len(ch.Data) > 0 {
		return nil, ch.problem("a cyclic file takes a new record by its fields")
	}
	if len(ch.Fields) != len(f.Elements) {
		return nil, ch.problem(fmt.Sprintf("the record has %d fields", len(f.Elements)))
	}
	out := make([]byte, f.RecordSizes[0])
	for i, e := range f.Elements {
		b, err := encodeChecked(c.profile, e, ch.Fields[i])
		if err != nil {
			return nil, &ChangeError{ch.File, "@" + strconv.Itoa(e.Offset), err.Error()}
		}
		copy(out[e.Offset:], b)
	}
	if strings.Join(ch.Fields, "") == "" {
		return nil, ch.problem("a record that holds nothing would not be found again")
	}
	return out, nil
}
