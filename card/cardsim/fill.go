package cardsim

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/encoding/simplifiedchinese"

	"onecard/card/profile"
)

// wholePrefix introduces a whole record with tag and length as it is put on the
// card, right or wrong: "whole:0A0131". The way to make a card whose TLV lies.
const wholePrefix = "whole:"

// newMeaning introduces a value of a 1.0 card that is meant as 2.0 means it. It
// is filled with EE up to the old length (card specification, section 2).
const newMeaning = "2.0:"

const eeFill = 0xEE

// fill returns the content of a file with the values of the image.
func (l *layout) fill(n node) (*content, error) {
	switch l.file.Structure {
	case profile.Transparent:
		return l.fillTransparent(n)
	case profile.CyclicFile:
		return l.fillCyclic(n)
	case profile.Fixed:
		return l.fillFixed(n)
	}
	return l.fillVariable(n)
}

func (l *layout) fillTransparent(n node) (*content, error) {
	data, err := n.bytes()
	if err != nil {
		return nil, err
	}
	if len(data) > l.size {
		return nil, badImage(n.path, "has %d bytes, the file holds %d", len(data), l.size)
	}
	c := l.empty()
	copy(c.data, data)
	return c, nil
}

func (l *layout) fillCyclic(n node) (*content, error) {
	items, err := n.list(l.capacity)
	if err != nil {
		return nil, err
	}
	c := l.empty()
	for _, item := range items {
		rec := make([]byte, 0, l.recordSize)
		fields := make(map[string]func(node) error)
		for _, e := range l.elements {
			f := field{e.Length, e.Format}
			rec = append(rec[:e.Offset], f.unset()...)
			fields[fieldName(l.file.ID(), e.Offset)] = func(n node) error {
				v, err := f.encode(n)
				copy(rec[e.Offset:], v)
				return err
			}
		}
		if err := item.object(fields); err != nil {
			return nil, err
		}
		c.records = append(c.records, rec)
	}
	return c, nil
}

// fillFixed takes a list: every record of the file has the same tag.
func (l *layout) fillFixed(n node) (*content, error) {
	items, err := n.list(l.capacity)
	if err != nil {
		return nil, err
	}
	c := l.empty()
	for i, item := range items {
		if c.records[i], err = l.encodeRecord(l.elements[i], item); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// fillVariable takes an object by tag. The values of a tag that the file has
// several times are a list.
func (l *layout) fillVariable(n node) (*content, error) {
	c := l.empty()
	places := make(map[byte][]int)
	for i, e := range l.elements {
		places[e.ID] = append(places[e.ID], i)
	}
	tags := make(map[string]func(node) error)
	for tag, at := range places {
		tags[fmt.Sprintf("%02X", tag)] = func(n node) error {
			items := []node{n}
			if len(at) > 1 {
				var err error
				if items, err = n.list(len(at)); err != nil {
					return err
				}
			}
			for i, item := range items {
				rec, err := l.encodeRecord(l.elements[at[i]], item)
				if err != nil {
					return err
				}
				c.records[at[i]] = rec
			}
			return nil
		}
	}
	return c, l.continueName(n).object(tags)
}

// continueName splits a name that is too long for tag 09 and puts the rest
// into tag 4E, at a character boundary (card specification, section 9). A
// name that a person has split himself is left alone.
func (l *layout) continueName(n node) node {
	at := func(key string) int {
		return slices.IndexFunc(n.members, func(m member) bool { return m.key == key })
	}
	i := at("09")
	if l.file.ID() != "SSSEEF06" || i < 0 || at("4E") >= 0 || strings.HasPrefix(n.members[i].value.text, rawPrefix) {
		return n
	}
	slot := slices.IndexFunc(l.elements, func(e profile.Element) bool { return e.ID == 0x09 })
	if slot < 0 || !slices.ContainsFunc(l.elements, func(e profile.Element) bool { return e.ID == 0x4E }) {
		return n
	}
	name, used := n.members[i].value, 0
	for j, r := range name.text {
		b, err := simplifiedchinese.GB18030.NewEncoder().Bytes([]byte(string(r)))
		if err != nil {
			return n // encoding the whole value will say so
		}
		if used += len(b); used > l.elements[slot].Length {
			rest := node{path: name.path, kind: isString, text: name.text[j:]}
			name.text = name.text[:j]
			n.members = slices.Clone(n.members)
			n.members[i].value = name
			n.members = append(n.members, member{"4E", rest})
			return n
		}
	}
	return n
}

// encodeRecord returns a whole record of a linear file.
func (l *layout) encodeRecord(e profile.Element, n node) ([]byte, error) {
	if digits, ok := strings.CutPrefix(n.text, wholePrefix); ok && n.kind == isString {
		rec, err := hex.DecodeString(digits)
		if err != nil || len(rec) > maxAnswer-2 {
			return nil, badImage(n.path, "whole: must be followed by hex digits for at most %d bytes", maxAnswer-2)
		}
		return rec, nil
	}
	v, err := l.encodeValue(e, n)
	return record(e, v), err
}

func (l *layout) encodeValue(e profile.Element, n node) ([]byte, error) {
	if e.Format == profile.Template && n.kind == isObject {
		return l.encodeTemplate(e, n)
	}
	if text, ok := strings.CutPrefix(n.text, newMeaning); ok && n.kind == isString {
		return l.encodeNewMeaning(e, node{path: n.path, kind: isString, text: text})
	}
	if e.Format == profile.Template && n.kind == isNull {
		return unset(e), nil
	}
	return field{e.Length, e.Format}.encode(n)
}

func (l *layout) encodeTemplate(e profile.Element, n node) ([]byte, error) {
	values := make(map[byte][]byte)
	tags := make(map[string]func(node) error)
	for _, m := range e.Members {
		tags[fmt.Sprintf("%02X", m.ID)] = func(n node) (err error) {
			values[m.ID], err = field{m.Length, m.Format}.encode(n)
			return err
		}
	}
	if err := n.object(tags); err != nil {
		return nil, err
	}
	var out []byte
	for _, m := range e.Members {
		v, ok := values[m.ID]
		if !ok {
			v = unset(m)
		}
		out = append(out, record(m, v)...)
	}
	return out, nil
}

func (l *layout) encodeNewMeaning(e profile.Element, n node) ([]byte, error) {
	i := slices.IndexFunc(l.file.Elements, func(x profile.Element) bool { return x.ID == e.ID })
	if !e.V1 || i < 0 {
		return nil, badImage(n.path, "has no other meaning in 2.0")
	}
	later := l.file.Elements[i]
	if later.Length >= e.Length {
		return nil, badImage(n.path, "cannot have the 2.0 meaning on a 1.0 card: it is not shorter than the 1.0 one")
	}
	v, err := field{later.Length, later.Format}.encode(n)
	if err != nil {
		return nil, err
	}
	for len(v) < e.Length {
		v = append(v, eeFill)
	}
	return v, nil
}
