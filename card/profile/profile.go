// Package profile is the reference profile of the social security card as
// data: directories, files, data elements, access conditions, code tables
// (card specification, sections 2, 3 and 8). It knows no commands and no
// values; card and card/cardsim both stand on it.
//
// Everything is in tables that an issuer replaces without touching code:
//
//	elements.tsv     every data element
//	directories.tsv  the directories (DF) with file identifier and name
//	files.tsv        the files (EF): structure, record sizes, what 1.0 does differently
//	details.tsv      finer formats and code tables of elements
//	parts.tsv        values that hold several codes
//	codes.tsv        the words of the code tables, Chinese and English
//	areas.tsv        areas of GB/T 2260
//	nationalities.tsv countries and regions of ISO 3166-1 alpha-3
//
// [Reference] is the profile of the embedded tables, [Load] reads another set.
package profile

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
)

//go:embed *.tsv
var tables embed.FS

// Reference returns the profile of the embedded tables. Do not change it.
var Reference = sync.OnceValue(func() *Profile {
	p, err := Load(tables)
	if err != nil {
		// The tables are compiled in and checked by this package's tests.
		panic("profile: " + err.Error())
	}
	return p
})

// Elements returns all rows of the reference profile in the table's order.
func Elements() []Element { return slices.Clone(Reference().elements) }

// Files returns the files of the reference profile.
func Files() []File { return slices.Clone(Reference().files) }

// A Profile is one set of tables.
type Profile struct {
	elements    []Element
	files       []File
	directories []Directory
	codes       map[string]map[string]Words
}

// A Directory is a DF of the card.
type Directory struct {
	DF     string  // "SSSE", "DF03"
	FID    [2]byte // file identifier
	AID    []byte  // name for SELECT by name; empty: selected by FID
	NameZH string
	NameEN string
}

// Structure is the structure of an EF (ISO 7816-4).
type Structure uint8

// The structures.
const (
	Variable    Structure = iota + 1 // linear, one simple TLV a record
	Fixed                            // linear fixed, one simple TLV a record
	CyclicFile                       // cyclic without tags, newest = record 1
	Transparent                      // bytes
)

var structureNames = map[string]Structure{"variable": Variable, "fixed": Fixed, "cyclic": CyclicFile, "transparent": Transparent}

// String returns the name that files.tsv uses.
func (s Structure) String() string {
	for name, st := range structureNames {
		if st == s {
			return name
		}
	}
	return "Structure(" + strconv.Itoa(int(s)) + ")"
}

// A File is an EF of the card.
type File struct {
	DF, EF      string // "DF03", "EF07"
	SFI         byte   // short file identifier; the FID is EF followed by it
	Structure   Structure
	Since       Version // first and last version that has it
	Until       Version
	RecordSizes []int // of cyclic and fixed files, the usual one first; bytes
	MinRecords  int   // of cyclic files: at least so many are kept
	Size        int   // of transparent files, bytes
	NameZH      string
	NameEN      string

	// Elements are the records in order (with Members), of a cyclic file
	// the fields of its record, with the meanings of 2.0 and 3.0.
	Elements []Element
	// ElementsV1 are the same with the meanings of 1.0.
	ElementsV1 []Element

	read, write map[Version]Access
}

// ID returns "DF03EF07".
func (f File) ID() string { return f.DF + f.EF }

// ReadAccess returns what reading needs on a card of version v.
func (f File) ReadAccess(v Version) Access { return f.read[v] }

// WriteAccess returns what updating needs on a card of version v. A nil
// Access: only the card itself writes.
func (f File) WriteAccess(v Version) Access { return f.write[v] }

// ElementsOf returns the elements with the meanings of version v; tag 4E
// exists from 2.0 on.
func (f File) ElementsOf(v Version) []Element {
	if v == V10 {
		return f.ElementsV1
	}
	return f.Elements
}

// Directories returns the directories of the profile.
func (p *Profile) Directories() []Directory { return p.directories }

// Directory returns one directory.
func (p *Profile) Directory(df string) (Directory, bool) {
	for _, d := range p.directories {
		if d.DF == df {
			return d, true
		}
	}
	return Directory{}, false
}

// Files returns all files.
func (p *Profile) Files() []File { return p.files }

// Elements returns all rows in the table's order.
func (p *Profile) Elements() []Element { return p.elements }

// File returns one file, "DF03", "EF07".
func (p *Profile) File(df, ef string) (File, bool) {
	for _, f := range p.files {
		if f.DF == df && f.EF == ef {
			return f, true
		}
	}
	return File{}, false
}

// Words are the meaning of a code in both languages.
type Words struct {
	ZH string `json:"zh"`
	EN string `json:"en"`
}

// Words returns the meaning of a code. Areas fall back to their city and
// province; numeric codes are also found with or without a leading zero.
func (p *Profile) Words(table, code string) (Words, bool) {
	t := p.codes[table]
	if w, ok := t[code]; ok {
		return w, true
	}
	if table == "area" && len(code) == 6 {
		for _, wider := range []string{code[:4] + "00", code[:2] + "0000"} {
			if w, ok := t[wider]; ok {
				return w, true
			}
		}
	}
	for _, alike := range []string{"0" + code, strings.TrimPrefix(code, "0")} {
		if w, ok := t[alike]; ok && code != "" {
			return w, true
		}
	}
	return Words{}, false
}

// Codes returns the codes of a table with their words; nil for an unknown table.
func (p *Profile) Codes(table string) map[string]Words { return p.codes[table] }

// Load reads a set of tables, named as in the package comment, and checks
// that they fit together.
func Load(fsys fs.FS) (*Profile, error) {
	p := &Profile{codes: map[string]map[string]Words{}}
	if err := p.loadCodes(fsys); err != nil {
		return nil, err
	}
	rows, err := p.loadElements(fsys)
	if err != nil {
		return nil, err
	}
	if err := p.loadDirectories(fsys); err != nil {
		return nil, err
	}
	if err := p.loadFiles(fsys, rows); err != nil {
		return nil, err
	}
	return p, nil
}

// readTable calls each with the columns of every row after the header.
func readTable(fsys fs.FS, name string, columns int, each func(f []string) error) error {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	for i, line := range lines[1:] {
		f := strings.Split(line, "\t")
		if len(f) != columns {
			return fmt.Errorf("profile: %s line %d: %d columns, want %d", name, i+2, len(f), columns)
		}
		if err := each(f); err != nil {
			return fmt.Errorf("profile: %s line %d: %w", name, i+2, err)
		}
	}
	return nil
}

func (p *Profile) loadCodes(fsys fs.FS) error {
	add := func(table, code string, w Words) error {
		if p.codes[table] == nil {
			p.codes[table] = map[string]Words{}
		}
		if _, twice := p.codes[table][code]; twice {
			return fmt.Errorf("code %s of table %s twice", code, table)
		}
		p.codes[table][code] = w
		return nil
	}
	if err := readTable(fsys, "codes.tsv", 4, func(f []string) error { return add(f[0], f[1], Words{f[2], f[3]}) }); err != nil {
		return err
	}
	for table, file := range map[string]string{"area": "areas.tsv", "nationality": "nationalities.tsv"} {
		if err := readTable(fsys, file, 3, func(f []string) error { return add(table, f[0], Words{f[1], f[2]}) }); err != nil {
			return err
		}
	}
	return nil
}
