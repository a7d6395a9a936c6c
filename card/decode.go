package card

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"onecard/apdu"
	"onecard/card/profile"
)

// A File is the decoded view of one file.
type File struct {
	ID        FileID
	NameZH    string
	NameEN    string
	Structure profile.Structure
	Records   []Record // of a cyclic file newest first
	Data      []byte   // of a transparent file; nil when it was never written
}

// A Record is one record, a member of a template record, or a field of a
// cyclic one.
type Record struct {
	Number    int    // record number on the card, 1 first; 0 for members and fields
	Tag       string // "70"; "" in cyclic files
	Instance  int    // 1 for the first record with this tag, 2 for the second, ...
	NameZH    string
	NameEN    string
	Raw       []byte // the value as it is on the card, padding included
	Value     Value
	Text      profile.Words // what a code means; empty where the profile has no words
	Parts     []Part        // of a value that holds several codes
	Members   []Record      // of a template, or the fields of a cyclic record
	Unset     bool          // the element is there and holds nothing
	Malformed error         // *RecordError; Value is then what could be read, mostly nothing
	V1        bool          // read with the meaning that only 1.0 cards give it
}

// A Part is one code of a value that holds several.
type Part struct {
	NameZH string        `json:"name_zh"`
	NameEN string        `json:"name_en"`
	Code   string        `json:"code"`
	Text   profile.Words `json:"text,omitzero"`
}

// Find returns the first record with a tag ("70"), in templates with the
// member's one behind a stroke ("79/18").
func (f File) Find(tag string) (Record, bool) { return find(f.Records, tag) }

func find(records []Record, tag string) (Record, bool) {
	tag, member, nested := strings.Cut(tag, "/")
	for _, r := range records {
		if r.Tag == tag {
			if nested {
				return find(r.Members, member)
			}
			return r, true
		}
	}
	return Record{}, false
}

// Problems returns what is malformed in the file.
func (f File) Problems() []error { return problems(f.Records) }

func problems(records []Record) []error {
	var list []error
	for _, r := range records {
		if r.Malformed != nil {
			list = append(list, r.Malformed)
		}
		list = append(list, problems(r.Members)...)
	}
	return list
}

// MarshalJSON returns the members file, name_zh, name_en, structure, records,
// and data (base64) for a transparent file.
func (f File) MarshalJSON() ([]byte, error) {
	data := ""
	if f.Data != nil {
		data = base64.StdEncoding.EncodeToString(f.Data)
	}
	records := f.Records
	if records == nil && f.Structure != profile.Transparent {
		records = []Record{}
	}
	return json.Marshal(struct {
		File      FileID   `json:"file"`
		NameZH    string   `json:"name_zh"`
		NameEN    string   `json:"name_en"`
		Structure string   `json:"structure"`
		Records   []Record `json:"records,omitzero"`
		Data      string   `json:"data,omitempty"`
	}{f.ID, f.NameZH, f.NameEN, f.Structure.String(), records, data})
}

// MarshalJSON returns the members record, tag, instance (from the second on),
// name_zh, name_en, value, text {zh, en}, parts, members, raw (hex), unset and
// malformed {code, ...}; what does not apply is left out.
func (r Record) MarshalJSON() ([]byte, error) {
	instance := r.Instance
	if instance == 1 {
		instance = 0
	}
	var value any
	if !r.Value.IsUnset() {
		value = r.Value
	}
	return json.Marshal(struct {
		Number    int           `json:"record,omitempty"`
		Tag       string        `json:"tag,omitempty"`
		Instance  int           `json:"instance,omitempty"`
		NameZH    string        `json:"name_zh,omitempty"`
		NameEN    string        `json:"name_en,omitempty"`
		Value     any           `json:"value,omitempty"`
		Text      profile.Words `json:"text,omitzero"`
		Parts     []Part        `json:"parts,omitempty"`
		Members   []Record      `json:"members,omitempty"`
		Raw       string        `json:"raw,omitempty"`
		Unset     bool          `json:"unset,omitempty"`
		Malformed error         `json:"malformed,omitempty"`
	}{r.Number, r.Tag, instance, r.NameZH, r.NameEN, value, r.Text, r.Parts, r.Members,
		strings.ToUpper(hex.EncodeToString(r.Raw)), r.Unset, r.Malformed})
}

// decodeFile decodes the records of a variable or fixed file on a card of
// version v.
func decodeFile(p *profile.Profile, f profile.File, v profile.Version, raws []rawRecord) File {
	out := File{ID: FileID{f.DF, f.EF}, NameZH: f.NameZH, NameEN: f.NameEN, Structure: f.Structure}
	out.Records = make([]Record, 0, len(raws))
	var seen [256]int
	for _, raw := range raws {
		seen[raw.tag]++
		out.Records = append(out.Records, decodeRecord(p, f, v, raw, seen[raw.tag]))
	}
	if f.DF == rootDF && f.EF == "EF06" {
		joinNames(out.Records)
	}
	return out
}

// joinNames makes one name of the records 09 and 4E: 09 gets the whole, and a
// character that is cut between the two is no fault of either.
func joinNames(records []Record) {
	var name, extension *Record
	for i := range records {
		r := &records[i]
		switch {
		case r.Tag == "09" && name == nil:
			name = r
		case r.Tag == "4E" && extension == nil:
			extension = r
		}
	}
	if name == nil {
		return
	}
	var rest []byte
	if extension != nil && !allBytes(trimPadding(extension.Raw), 0) {
		rest = extension.Raw
	}
	text, err := JoinName(name.Raw, rest)
	if err != nil {
		return // the fault is marked where it is
	}
	name.Value = Value{}
	if text != "" {
		name.Value = Value{format: profile.Text, text: text}
	}
	for _, r := range []*Record{name, extension} {
		if r == nil {
			continue
		}
		if bad := (*RecordError)(nil); errors.As(r.Malformed, &bad) && bad.Problem == errText.Error() {
			r.Malformed = nil
		}
	}
}

func decodeRecord(p *profile.Profile, f profile.File, v profile.Version, raw rawRecord, instance int) Record {
	r := Record{Number: raw.number, Instance: instance, Raw: raw.value}
	bad := func(problem string) {
		r.Malformed = &RecordError{File: FileID{f.DF, f.EF}, Tag: r.Tag, Number: raw.number, Problem: problem}
	}
	if len(raw.bytes) < 2 {
		r.Raw = raw.bytes
		bad(raw.problem)
		return r
	}
	r.Tag = tagName(raw.tag)
	e, value, ok := meaning(f, v, raw.tag, instance, raw.value)
	if !ok {
		bad("the tag does not belong to this file")
		return r
	}
	r.NameZH, r.NameEN, r.V1 = e.NameZH, e.NameEN, e.V1
	fill(p, &r, e, value, bad)
	if raw.problem != "" {
		bad(raw.problem)
	}
	return r
}

// tagName returns a tag as two hex digits.
func tagName(tag byte) string {
	const digits = "0123456789ABCDEF"
	return string([]byte{digits[tag>>4], digits[tag&0x0F]})
}

// meaning finds the element that a record is on a card of version v, and
// removes the filling EE of a 1.0 record that was rewritten with its 2.0
// meaning (card specification, section 2).
func meaning(f profile.File, v profile.Version, tag byte, instance int, value []byte) (profile.Element, []byte, bool) {
	now, ok := pick(f.Elements, tag, instance)
	if !ok {
		return now, value, false
	}
	old, ok := pick(f.ElementsV1, tag, instance)
	if !ok || !old.V1 || v != profile.V10 {
		return now, trimEE(value, now.Length), true
	}
	switch {
	case now.Length < old.Length && len(value) > now.Length && allBytes(value[now.Length:], 0xEE):
		return now, value[:now.Length], true
	case len(value) == now.Length && len(value) != old.Length:
		// The record was created with the new length.
		return now, value, true
	}
	// Where lengths do not tell, the version does.
	return old, value, true
}

func pick(elements []profile.Element, tag byte, instance int) (profile.Element, bool) {
	last, n := -1, 0
	for i := range elements { // by index: an element is large
		if elements[i].ID == tag {
			last = i
			if n++; n == instance {
				break
			}
		}
	}
	if last < 0 {
		return profile.Element{}, false
	}
	return elements[last], true
}

// trimEE removes a filling of EE behind length bytes.
func trimEE(value []byte, length int) []byte {
	if len(value) > length && allBytes(value[length:], 0xEE) {
		return value[:length]
	}
	return value
}

// fill decodes value into r.
func fill(p *profile.Profile, r *Record, e profile.Element, value []byte, bad func(string)) {
	if len(value) > e.Length {
		bad(fmt.Sprintf("%d bytes, the profile says %d", len(value), e.Length))
	}
	if e.Format == profile.Template {
		fillTemplate(p, r, e, value, bad)
		return
	}
	v, err := DecodeValue(e, value)
	r.Value = v
	if err != nil {
		bad(err.Error())
		return
	}
	r.Unset = v.IsUnset()
	describe(p, r, e)
}

// describe adds the words of codes.
func describe(p *profile.Profile, r *Record, e profile.Element) {
	text := r.Value.String()
	if text == "" {
		return
	}
	if e.Codes != "" {
		r.Text, _ = p.Words(e.Codes, text)
	}
	for _, part := range e.Parts {
		end := part.Offset + part.Length
		if end > len(text) {
			break
		}
		code := text[part.Offset:end]
		words, _ := p.Words(part.Codes, code)
		r.Parts = append(r.Parts, Part{part.NameZH, part.NameEN, code, words})
	}
}

// fillTemplate decodes the members of a template record.
func fillTemplate(p *profile.Profile, r *Record, e profile.Element, value []byte, bad func(string)) {
	if allBytes(value, 0) || allBytes(value, 0xFF) {
		r.Unset = true
		return
	}
	list, err := apdu.ParseSimpleTLV(value)
	if err != nil {
		bad("the members of the template are malformed")
	}
	r.Unset = err == nil && len(list) > 0
	for _, t := range list {
		m := Record{Tag: tagName(t.Tag), Instance: 1, Raw: t.Value}
		memberBad := func(problem string) {
			place := &RecordError{Tag: r.Tag + "/" + m.Tag, Number: r.Number, Problem: problem}
			place.File = FileID{e.DF, e.EF}
			m.Malformed = place
		}
		if element, ok := pick(e.Members, t.Tag, 1); ok {
			m.NameZH, m.NameEN = element.NameZH, element.NameEN
			fill(p, &m, element, t.Value, memberBad)
		} else {
			memberBad("the tag does not belong to this template")
		}
		r.Unset = r.Unset && m.Unset
		r.Members = append(r.Members, m)
	}
}

// decodeCyclic decodes records without tags: fields at offsets. A field beyond
// a shorter record (DF04/EF08 in account-only mode) is not there.
func decodeCyclic(p *profile.Profile, f profile.File, raws []rawRecord, size int) File {
	out := File{ID: FileID{f.DF, f.EF}, NameZH: f.NameZH, NameEN: f.NameEN, Structure: f.Structure}
	known := false
	for _, n := range f.RecordSizes {
		known = known || n == size
	}
	for _, raw := range raws {
		r := Record{Number: raw.number, NameZH: f.NameZH, NameEN: f.NameEN, Raw: raw.bytes, Unset: true}
		if !known || len(raw.bytes) != size {
			r.Malformed = &RecordError{File: out.ID, Number: raw.number,
				Problem: fmt.Sprintf("%d bytes, the profile says %d", len(raw.bytes), f.RecordSizes)}
		}
		for _, e := range f.Elements {
			if e.Offset+e.Length > len(raw.bytes) {
				continue
			}
			m := Record{NameZH: e.NameZH, NameEN: e.NameEN, Raw: raw.bytes[e.Offset : e.Offset+e.Length]}
			fill(p, &m, e, m.Raw, func(problem string) {
				m.Malformed = &RecordError{File: out.ID, Tag: fmt.Sprintf("@%d", e.Offset), Number: raw.number, Problem: problem}
			})
			r.Unset = r.Unset && m.Unset
			r.Members = append(r.Members, m)
		}
		out.Records = append(out.Records, r)
	}
	return out
}
