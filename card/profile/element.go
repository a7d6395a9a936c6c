package profile

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A Format says how the bytes of a value are to be read (card specification,
// section 3).
type Format uint8

// The formats. Lengths are those of the element.
const (
	CN           Format = iota + 1 // BCD digits, left-aligned, right-filled with F
	AN                             // ASCII, left-aligned, right-filled with 00 (1.0 cards also with 20)
	Text                           // GBK, read as GB18030, right-filled as AN
	Date                           // CCYYMMDD, cn, 4 bytes
	Month                          // CCYYMM, cn, 3 bytes
	Year                           // CCYY, cn, 2 bytes
	Time                           // CCYYMMDDhhmmss, cn, 7 bytes
	Amount                         // fen, cn
	BinaryAmount                   // fen, binary, big-endian
	Number                         // binary, big-endian
	Identifier                     // any bytes, shown as hex, never stripped (tag 01)
	Template                       // simple TLV members inside the value
	Cyclic                         // a record without tags: fields at offsets
	Binary                         // opaque bytes (transparent files, keys)
)

var formatNames = [...]string{CN: "cn", AN: "an", Text: "text", Date: "date", Month: "month", Year: "year", Time: "time",
	Amount: "amount", BinaryAmount: "binary amount", Number: "number", Identifier: "identifier",
	Template: "template", Cyclic: "cyclic", Binary: "binary"}

// String returns the name that details.tsv uses.
func (f Format) String() string {
	if int(f) < len(formatNames) && formatNames[f] != "" {
		return formatNames[f]
	}
	return "Format(" + strconv.Itoa(int(f)) + ")"
}

func parseFormatName(s string) (Format, error) {
	for f, name := range formatNames {
		if name != "" && name == s {
			return Format(f), nil
		}
	}
	return 0, fmt.Errorf("unknown format %q", s)
}

// A Kind says what a row of elements.tsv describes.
type Kind uint8

// The kinds of rows.
const (
	Record   Kind = iota + 1 // a tagged record of a variable or fixed file
	Member                   // a member inside a template record, Tag "40/57"
	Ring                     // the record of a cyclic file as a whole
	Field                    // a field at an offset of a cyclic record
	Whole                    // the content of a transparent file
	Internal                 // a value that only the card keeps (balances, counters)
)

// An Element is one row of elements.tsv.
type Element struct {
	DF     string // "SSSE", "DF03"; of 1.0 meanings without the mark
	EF     string // "EF07"; "0012" in the certificate environment
	Record string // as written: "1", "2-4", "1..4+ (cyclic, 1=newest)", "cyclic @offset 7", "-"
	Tag    string // "70", "40/57", "C3-C5/E3", "-"
	NameZH string
	NameEN string
	Length int    // bytes of the value; 0 where the table does not say
	Format Format // from the format column, refined by details.tsv
	Read   string // the access column as written; File.ReadAccess parses it
	Write  string
	Note   string
	V1     bool // the meaning on 1.0 cards, where it differs
	Offset int  // of a Field in its cyclic record

	Kind     Kind
	Number   int       // record number in its file, 1 first; 0 where it has none
	ID       byte      // the tag of this value (the member's own one in a template); 0 for none
	Optional bool      // the record may be absent even in a complete file
	Codes    string    // name of the code table that gives its words, "" for none
	Parts    []Part    // for values that hold several codes one after the other
	Members  []Element // of a Template, in order
}

// A Part is a piece of an AN value that is a code of its own, e.g. insurance
// type and flags in tag 81.
type Part struct {
	Offset, Length int // in characters
	NameZH, NameEN string
	Codes          string
}

var (
	firstNumber   = regexp.MustCompile(`\d+`)
	fieldRecord   = regexp.MustCompile(`^cyclic @offset (\d+)$`)
	wholeNumber   = regexp.MustCompile(`^\d+$`)
	optionalPlace = regexp.MustCompile(`^\((\d+) if present\)$`)
	tagForm       = regexp.MustCompile(`^[0-9A-F]{2}$`)
	memberForm    = regexp.MustCompile(`^([0-9A-F]{2})(?:-([0-9A-F]{2}))?/([0-9A-F]{2})$`)
)

// row is an Element with the tags of the templates that hold it.
type row struct {
	Element
	parents []byte
}

func parseElement(f []string) (row, error) {
	r := row{Element: Element{DF: f[0], EF: f[1], Record: f[2], Tag: f[3], NameZH: f[4], NameEN: f[5],
		Read: f[8], Write: f[9], Note: f[10]}}
	r.DF, r.V1 = strings.CutSuffix(r.DF, " (1.0)")
	r.DF, _, _ = strings.Cut(r.DF, " ") // the certificate environment adds its names
	if n := firstNumber.FindString(f[6]); n != "" {
		length, err := strconv.Atoi(n)
		if err != nil || length > 65535 {
			return r, fmt.Errorf("length %q", f[6])
		}
		r.Length = length
	}
	var err error
	switch {
	case strings.HasPrefix(r.EF, "internal"):
		r.Kind = Internal
	case r.Tag == "-" && r.Record == "-":
		r.Kind = Whole
	case fieldRecord.MatchString(r.Record):
		r.Kind = Field
		r.Offset, err = strconv.Atoi(fieldRecord.FindStringSubmatch(r.Record)[1])
	case r.Tag == "-":
		r.Kind = Ring
	case memberForm.MatchString(r.Tag):
		r.Kind = Member
		m := memberForm.FindStringSubmatch(r.Tag)
		first, last := hexByte(m[1]), hexByte(m[1])
		if m[2] != "" {
			last = hexByte(m[2])
		}
		for t := int(first); t <= int(last); t++ {
			r.parents = append(r.parents, byte(t))
		}
		r.ID = hexByte(m[3])
	case tagForm.MatchString(r.Tag):
		r.Kind = Record
		r.ID = hexByte(r.Tag)
		switch {
		case wholeNumber.MatchString(r.Record):
			r.Number, err = strconv.Atoi(r.Record)
		case optionalPlace.MatchString(r.Record):
			r.Optional = true
		case r.Record == "" && r.V1:
		default:
			err = fmt.Errorf("record %q", r.Record)
		}
	default:
		err = fmt.Errorf("tag %q", r.Tag)
	}
	if err != nil {
		return r, err
	}
	r.Format, err = parseFormat(f[7])
	return r, err
}

// parseFormat reads the format column, whose remarks in brackets are for people.
func parseFormat(s string) (Format, error) {
	word, rest, _ := strings.Cut(s, " ")
	switch {
	case strings.HasPrefix(s, "cn CCYYMMDD"):
		return Date, nil
	case word == "cn" || word == "cn:":
		return CN, nil
	case word == "an" && strings.HasPrefix(rest, "(GBK text)"):
		return Text, nil
	case word == "an":
		return AN, nil
	case word == "B-TLV":
		return Template, nil
	case word == "cyclic":
		return Cyclic, nil
	case word == "b":
		return Binary, nil
	}
	return 0, fmt.Errorf("format %q", s)
}

// hexByte reads two hex digits that a pattern has already matched.
func hexByte(s string) byte {
	n, _ := strconv.ParseUint(s, 16, 8)
	return byte(n)
}
