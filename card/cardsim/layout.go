package cardsim

import (
	"strconv"

	"onecard/card/profile"
)

// A layout is one file of a card before anybody's data are in it.
type layout struct {
	file        profile.File
	read, write profile.Access

	// elements are the records of a linear file in their order, the fields of
	// a cyclic file's record by offset, nothing for a transparent file.
	elements []profile.Element

	recordSize int  // of a cyclic file, bytes
	capacity   int  // records of a linear or cyclic file at most
	size       int  // of a transparent file, bytes
	secured    bool // the image wants secure messaging for updates
}

// newLayout returns the file as a card of version v has it. A record that is
// not on every card is there if optional says so of its tag.
func newLayout(f profile.File, v profile.Version, optional func(tag byte) bool) *layout {
	l := &layout{file: f, read: f.ReadAccess(v), write: f.WriteAccess(v), size: f.Size}
	for _, e := range f.ElementsOf(v) {
		if !e.Optional || optional(e.ID) {
			l.elements = append(l.elements, e)
		}
	}
	switch f.Structure {
	case profile.CyclicFile:
		l.recordSize, l.capacity = f.RecordSizes[0], f.MinRecords
	case profile.Transparent:
		l.elements = nil
	default:
		l.capacity = len(l.elements)
	}
	return l
}

// form returns what the card keeps of the layout.
func (l *layout) form() *form {
	f := &form{
		structure: l.file.Structure, fid: [2]byte{0xEF, l.file.SFI}, read: l.read, write: l.write,
		recordSize: l.recordSize, capacity: l.capacity, size: l.size, secured: l.secured,
	}
	if l.file.Structure == profile.Variable || l.file.Structure == profile.Fixed {
		for _, e := range l.elements {
			f.slots = append(f.slots, place{e.ID, e.Length})
		}
	}
	return f
}

// empty returns the content of a personalised file with nobody's data: every
// linear record is there with unset values, a cyclic file has no records.
func (l *layout) empty() *content {
	c := &content{}
	switch l.file.Structure {
	case profile.Transparent:
		c.data = make([]byte, l.size)
	case profile.Variable, profile.Fixed:
		for _, e := range l.elements {
			c.records = append(c.records, record(e, unset(e)))
		}
	}
	return c
}

// record puts tag and length before a value. No element is longer than 108
// bytes, so the length is always one byte.
func record(e profile.Element, value []byte) []byte {
	return append([]byte{e.ID, byte(len(value))}, value...)
}

// unset returns the value that an element has before somebody writes it; a
// template holds all its members, unset.
func unset(e profile.Element) []byte {
	if e.Format == profile.Template {
		var v []byte
		for _, m := range e.Members {
			v = append(v, record(m, unset(m))...)
		}
		return v
	}
	return field{e.Length, e.Format}.unset()
}

// fieldNames gives the fields of cyclic records, which have no tags, names for
// the image. A field without one goes by its offset: "@15".
func fieldNames(file string) map[int]string {
	switch file {
	case "DF02EF07":
		return map[int]string{0: "occupation", 7: "from", 11: "to", 15: "employer"}
	case "DF02EF16":
		return map[int]string{0: "type", 3: "approved", 7: "from", 11: "to", 15: "area"}
	case "DF04EF08":
		return map[int]string{0: "sequence", 2: "type", 3: "terminal", 9: "time", 16: "account", 20: "self_paid", 24: "pooling"}
	case "DF04EF15":
		return map[int]string{0: "sequence", 2: "category"}
	}
	return nil
}

func fieldName(file string, offset int) string {
	if name, ok := fieldNames(file)[offset]; ok {
		return name
	}
	return "@" + strconv.Itoa(offset)
}
