package cardsim

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/encoding/simplifiedchinese"

	"onecard/card/profile"
)

// A field is one value of fixed length on the card (card specification,
// section 3).
type field struct {
	length int // bytes
	format profile.Format
}

// filler returns the byte of an unset value.
func (f field) filler() byte {
	switch f.format {
	case profile.CN, profile.Identifier, profile.Date, profile.Month, profile.Year, profile.Time, profile.Amount:
		return 0xFF
	}
	return 0
}

// unset returns the value that says nothing.
func (f field) unset() []byte {
	b := make([]byte, f.length)
	for i := range b {
		b[i] = f.filler()
	}
	return b
}

// rawPrefix introduces the bytes of a value, of the right length but otherwise
// unchecked: the way to make a card with a malformed value.
const rawPrefix = "hex:"

// encode returns the f.length bytes of a value. Problems name the place, never
// the value.
func (f field) encode(n node) ([]byte, error) {
	text := n.text
	number := n.kind == isNumber && (f.format == profile.Number || f.format == profile.BinaryAmount || f.format == profile.Amount)
	if n.kind == isNull || n.kind == isString && text == "" {
		return f.unset(), nil
	}
	if n.kind != isString && !number {
		return nil, badImage(n.path, "must be a string in quotation marks, not %s", n.kind)
	}
	if raw, ok := strings.CutPrefix(text, rawPrefix); ok {
		b, err := hex.DecodeString(raw)
		if err != nil {
			return nil, badImage(n.path, "hex: must be followed by pairs of hex digits")
		}
		if len(b) != f.length {
			return nil, badImage(n.path, "has %d bytes, the profile says %d", len(b), f.length)
		}
		return b, nil
	}
	b, err := f.value(text)
	if err != nil {
		return nil, badImage(n.path, "%s", err.Error())
	}
	out := f.unset()
	copy(out, b)
	return out, nil
}

// value returns at most f.length bytes.
func (f field) value(text string) ([]byte, error) {
	switch f.format {
	case profile.AN, profile.Text:
		return f.gbk(text)
	case profile.CN:
		return f.bcd(text, "0123456789")
	case profile.Identifier:
		return f.bcd(strings.ToUpper(text), "0123456789ABCDEF")
	case profile.Date, profile.Month, profile.Year, profile.Time:
		return f.date(text)
	case profile.Amount:
		fen, err := parseYuan(text)
		if err != nil {
			return nil, err
		}
		digits := fmt.Sprintf("%0*d", 2*f.length, fen)
		return f.bcd(digits, "0123456789")
	case profile.Number, profile.BinaryAmount:
		v, err := parseYuan(text)
		if f.format == profile.Number {
			v, err = strconv.ParseUint(text, 10, 63)
		}
		if err != nil || f.length < 8 && v>>(8*f.length) != 0 {
			return nil, fmt.Errorf("must be a number that fits into %d bytes", f.length)
		}
		b := make([]byte, f.length)
		for i := range b {
			b[i] = byte(v >> (8 * (f.length - 1 - i)))
		}
		return b, nil
	}
	return nil, fmt.Errorf("must be written as %s and hex digits", rawPrefix)
}

func (f field) gbk(text string) ([]byte, error) {
	for _, r := range text {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return nil, fmt.Errorf("has a character that is not text")
		}
	}
	// GB18030 is GBK where GBK has the character.
	b, err := simplifiedchinese.GB18030.NewEncoder().Bytes([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("has a character that GB18030 does not know")
	}
	if len(b) > f.length {
		return nil, fmt.Errorf("has %d bytes in GBK, the profile permits %d", len(b), f.length)
	}
	return b, nil
}

// bcd packs two digits into a byte; an odd last nibble is F.
func (f field) bcd(text, digits string) ([]byte, error) {
	if strings.Trim(text, digits) != "" {
		return nil, fmt.Errorf("may have the digits %s only", digits)
	}
	if len(text) > 2*f.length {
		return nil, fmt.Errorf("has %d digits, the profile permits %d", len(text), 2*f.length)
	}
	if len(text)%2 == 1 {
		text += "F"
	}
	return hex.DecodeString(text)
}

// date accepts 2020-01-02 and 20200102, 2020-01 and 202001, 2020, and
// 2020-01-02 03:04:05 and 20200102030405, as the length of the field asks.
func (f field) date(text string) ([]byte, error) {
	written, packed := "2006-01-02", "20060102"
	switch f.length {
	case 2:
		written, packed = "2006", "2006"
	case 3:
		written, packed = "2006-01", "200601"
	case 7:
		written, packed = "2006-01-02 15:04:05", "20060102150405"
	}
	for _, layout := range []string{written, packed} {
		// Parse is lenient about fractions of a second, hence the lengths.
		if t, err := time.Parse(layout, text); err == nil && len(text) == len(layout) {
			return hex.DecodeString(t.Format(packed))
		}
	}
	return nil, fmt.Errorf("must be an existing date in the form %s or %s",
		strings.NewReplacer("2006", "CCYY", "01", "MM", "02", "DD", "15", "hh", "04", "mm", "05", "ss").Replace(written),
		strings.NewReplacer("2006", "CCYY", "01", "MM", "02", "DD", "15", "hh", "04", "mm", "05", "ss").Replace(packed))
}

// parseYuan reads yuan with at most two decimals into fen.
func parseYuan(text string) (uint64, error) {
	whole, cents, point := strings.Cut(text, ".")
	for len(cents) < 2 {
		cents += "0"
	}
	fen, err := strconv.ParseUint(whole+cents, 10, 63)
	if err != nil || whole == "" || len(cents) > 2 || point && strings.HasSuffix(text, ".") ||
		strings.Trim(whole+cents, "0123456789") != "" {
		return 0, fmt.Errorf("must be an amount in yuan as in 12.34")
	}
	return fen, nil
}
