package keys

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
	"sync"
)

// A Use is the one thing that a key is for. A key holder refuses every other:
// an external authentication with STK, for one, would hand out the cipher
// blocks from which anybody could put secured commands together.
type Use string

// The uses.
const (
	UseInternal Use = "internal" // INTERNAL AUTHENTICATE
	UseExternal Use = "external" // EXTERNAL AUTHENTICATE
	UseSecure   Use = "secure"   // secure messaging
	UseDebit    Use = "debit"    // MAC1 and MAC2 of a purchase
	UseLoad     Use = "load"     // MAC1 and MAC2 of a load
	UseTAC      Use = "tac"      // TAC
)

// An Entry describes one key of the card.
type Entry struct {
	Name string // 1 to 16 characters A-Z and 0-9: IRK, RK1DF04
	Use  Use
	Note string // one English line

	// ID is the key's number on the card, P2 of EXTERNAL AUTHENTICATE. Only
	// where Numbered: the keys of load and purchase go by key index instead.
	ID       byte
	Numbered bool
}

// A Table holds the names of a card profile's keys. It does not change once
// parsed.
type Table struct {
	entries []Entry
	byName  map[string]int
}

const (
	maxTableSize = 1 << 16
	maxNameSize  = 16
)

// ParseTable reads a table of tab-separated rows: a heading, then name, number
// in hex or "-", use, note. At most 64 KiB. Names are unique, and so is the
// number within a DF (the last four characters of a name, where they are
// "DFnn"); an error names the row.
func ParseTable(text string) (*Table, error) {
	if len(text) > maxTableSize {
		return nil, fmt.Errorf("key table: %d bytes, at most %d", len(text), maxTableSize)
	}
	t := &Table{byName: make(map[string]int)}
	numbers := make(map[string]string)
	rows := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if strings.TrimSuffix(rows[0], "\r") != "name\tid\tuse\tnote" {
		return nil, fmt.Errorf("key table: the heading is not name, id, use, note")
	}
	for i, row := range rows[1:] {
		e, err := parseEntry(strings.TrimSuffix(row, "\r"))
		if err != nil {
			return nil, fmt.Errorf("key table: row %d: %w", i+2, err)
		}
		if _, twice := t.byName[e.Name]; twice {
			return nil, fmt.Errorf("key table: row %d: %s stands twice", i+2, e.Name)
		}
		if e.Numbered {
			place := fmt.Sprintf("%s %02X", domain(e.Name), e.ID)
			if other, twice := numbers[place]; twice {
				return nil, fmt.Errorf("key table: row %d: %s has the number of %s", i+2, e.Name, other)
			}
			numbers[place] = e.Name
		}
		t.byName[e.Name] = len(t.entries)
		t.entries = append(t.entries, e)
	}
	return t, nil
}

func parseEntry(row string) (Entry, error) {
	f := strings.Split(row, "\t")
	if len(f) != 4 {
		return Entry{}, fmt.Errorf("%d columns, not 4", len(f))
	}
	e := Entry{Name: f[0], Use: Use(f[2]), Note: f[3]}
	if !ValidName(e.Name) {
		return Entry{}, fmt.Errorf("%q is not the name of a key", e.Name)
	}
	switch e.Use {
	case UseInternal, UseExternal, UseSecure, UseDebit, UseLoad, UseTAC:
	default:
		return Entry{}, fmt.Errorf("unknown use %q", f[2])
	}
	if f[1] == "-" {
		if e.Use == UseExternal {
			return Entry{}, fmt.Errorf("%s needs a number", e.Name)
		}
		return e, nil
	}
	id, err := hex.DecodeString(f[1])
	if err != nil || len(id) != 1 {
		return Entry{}, fmt.Errorf("%q is not a number of two hex digits", f[1])
	}
	e.ID, e.Numbered = id[0], true
	return e, nil
}

// ValidName says whether s has the form of a key's name: 1 to 16 characters A-Z
// and 0-9.
func ValidName(s string) bool {
	if s == "" || len(s) > maxNameSize {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// domain returns the DF that a key belongs to, "SSSE" for the keys without one.
func domain(name string) string {
	if n := len(name); n > 4 && name[n-4:n-2] == "DF" {
		return name[n-4:]
	}
	return "SSSE"
}

// Lookup returns the entry of a name.
func (t *Table) Lookup(name string) (Entry, bool) {
	i, ok := t.byName[name]
	if !ok {
		return Entry{}, false
	}
	return t.entries[i], true
}

// KeyID returns the number of a key on the card: P2 of EXTERNAL AUTHENTICATE.
// False for unknown keys and for those without a number.
func (t *Table) KeyID(name string) (byte, bool) {
	e, ok := t.Lookup(name)
	return e.ID, ok && e.Numbered
}

// All iterates over the entries in the table's order.
func (t *Table) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, e := range t.entries {
			if !yield(e) {
				return
			}
		}
	}
}

// Len returns the number of entries.
func (t *Table) Len() int { return len(t.entries) }

//go:embed keys.tsv
var referenceText string

var reference = sync.OnceValue(func() *Table {
	t, err := ParseTable(referenceText)
	if err != nil {
		// The table is compiled in and checked by this package's test.
		panic("keys: " + err.Error())
	}
	return t
})

// Reference returns the key table of the reference profile (card specification,
// section 5).
func Reference() *Table { return reference() }

// KeyID is [Table.KeyID] of the reference profile.
func KeyID(name string) (byte, bool) { return reference().KeyID(name) }
