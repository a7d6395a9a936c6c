package card

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"onecard/card/profile"
)

// Fen is an amount of money in fen, a hundredth of a yuan. JSON shows yuan with
// two decimals.
type Fen int64

// Yuan returns the amount in yuan with two decimals: "12.34".
func (f Fen) Yuan() string {
	sign := ""
	u := uint64(f)
	if f < 0 {
		sign, u = "-", -u
	}
	return fmt.Sprintf("%s%d.%02d", sign, u/100, u%100)
}

// String returns what Yuan does.
func (f Fen) String() string { return f.Yuan() }

// MarshalJSON returns the amount in yuan as a number with two decimals.
func (f Fen) MarshalJSON() ([]byte, error) { return []byte(f.Yuan()), nil }

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Fen) UnmarshalJSON(b []byte) error {
	s, negative := strings.CutPrefix(string(b), "-")
	v, err := parseYuan(s)
	if err != nil {
		return err
	}
	if negative {
		v = -v
	}
	*f = v
	return nil
}

// ParseYuan reads an amount in yuan with at most two decimals: "12.34".
func ParseYuan(s string) (Fen, error) {
	f, err := parseYuan(s)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrAmount, err)
	}
	return f, nil
}

// parseYuan reads yuan with at most two decimals.
func parseYuan(s string) (Fen, error) {
	whole, cents, _ := strings.Cut(s, ".")
	if len(cents) > 2 || !allDigits(whole) || strings.HasSuffix(s, ".") || (cents != "" && !allDigits(cents)) || len(whole) > 13 {
		return 0, errors.New("not an amount in yuan")
	}
	return Fen(atoi(whole)*100 + atoi((cents + "00")[:2])), nil
}

// A Value is the decoded content of one data element. The zero Value is the
// unset one: all F in a cn, all 00 in an an (card specification, section 3).
type Value struct {
	format profile.Format
	text   string // CN digits, AN, Text, Identifier (hex, upper case)
	date   Date   // Date; Month and Year use its fields; Time its date
	clock  [3]int // of Time
	number int64  // Amount and BinaryAmount in fen, Number
	data   []byte // Binary
}

// IsUnset reports whether the element holds nothing.
func (v Value) IsUnset() bool { return v.format == 0 }

// Format returns how the value is stored, 0 when unset.
func (v Value) Format() profile.Format { return v.format }

// String returns the value for people: digits, text, yyyy-MM-dd, yuan with two
// decimals, hex for bytes, "" when unset. [ParseValue] reads it back.
func (v Value) String() string {
	switch v.format {
	case profile.Date:
		return v.date.String()
	case profile.Month:
		return v.Month().String()
	case profile.Year:
		return fmt.Sprintf("%04d", v.date.Year)
	case profile.Time:
		return v.Time().String()
	case profile.Amount, profile.BinaryAmount:
		return Fen(v.number).Yuan()
	case profile.Number:
		return strconv.FormatInt(v.number, 10)
	case profile.Binary:
		return strings.ToUpper(hex.EncodeToString(v.data))
	}
	return v.text
}

// Date returns the date of a date or time, otherwise the unset date.
func (v Value) Date() Date {
	if v.format == profile.Date || v.format == profile.Time {
		return v.date
	}
	return Date{}
}

// Month returns the month of a month, otherwise the unset month.
func (v Value) Month() Month {
	if v.format == profile.Month {
		return Month{v.date.Year, v.date.Month}
	}
	return Month{}
}

// Time returns the time of a time, otherwise the unset time.
func (v Value) Time() Time {
	if v.format == profile.Time {
		return Time{v.date, v.clock[0], v.clock[1], v.clock[2]}
	}
	return Time{}
}

// Fen returns an amount, and whether the value is one.
func (v Value) Fen() (Fen, bool) {
	return Fen(v.number), v.format == profile.Amount || v.format == profile.BinaryAmount
}

// Int returns a number, or digits and text that are one (months of
// contribution stand on the card as characters), and whether there is one.
func (v Value) Int() (int, bool) {
	switch v.format {
	case profile.Number:
		return int(v.number), true
	case profile.CN, profile.AN, profile.Year:
		n, err := strconv.Atoi(strings.TrimSpace(v.String()))
		return n, err == nil && n >= 0
	}
	return 0, false
}

// MarshalJSON returns null when unset, amounts and numbers as numbers, all
// else as the string that String returns.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.format {
	case 0:
		return []byte("null"), nil
	case profile.Amount, profile.BinaryAmount:
		return Fen(v.number).MarshalJSON()
	case profile.Number:
		return strconv.AppendInt(nil, v.number, 10), nil
	}
	return json.Marshal(v.String())
}

// Problems of values. None holds the value.
var (
	errDigits = errors.New("a cn value with other nibbles than digits")
	errFormat = errors.New("the value does not fit the element's format")
)

// DecodeValue reads the bytes of one element. An unset value is no error. With
// an error the value is what could still be read (a text up to the fault),
// mostly nothing. Templates and cyclic records have members instead of a value.
func DecodeValue(e profile.Element, b []byte) (Value, error) {
	v := Value{format: e.Format}
	var err error
	switch e.Format {
	case profile.Text, profile.AN:
		if v.text, err = decodeText(b); v.text == "" {
			return Value{}, err
		}
		return v, err
	case profile.Identifier:
		if allBytes(b, 0xFF) || allBytes(b, 0) {
			return Value{}, nil
		}
		v.text = strings.ToUpper(hex.EncodeToString(b))
		return v, nil
	case profile.Binary:
		if allBytes(b, 0xFF) || allBytes(b, 0) {
			return Value{}, nil
		}
		v.data = append([]byte(nil), b...)
		return v, nil
	case profile.Number, profile.BinaryAmount:
		if len(b) == 0 {
			return Value{}, nil
		}
		if len(b) > 7 {
			return Value{}, errTooLong
		}
		for _, x := range b {
			v.number = v.number<<8 | int64(x)
		}
		return v, nil
	case profile.Template, profile.Cyclic:
		return Value{}, errFormat
	}
	digits, err := decodeCN(b)
	if err != nil || digits == "" {
		return Value{}, err
	}
	return v.fromDigits(digits, b)
}

// fromDigits fills the value of a cn format.
func (v Value) fromDigits(digits string, b []byte) (Value, error) {
	var err error
	// Files that were created full of 00 and never written hold no dates of
	// the year nought.
	if v.format != profile.CN && v.format != profile.Amount && allBytes(b, 0) {
		return Value{}, nil
	}
	switch v.format {
	case profile.CN:
		v.text = digits
	case profile.Amount:
		if len(digits) > 15 {
			return Value{}, errTooLong
		}
		v.number, err = strconv.ParseInt(digits, 10, 64)
	case profile.Date:
		v.date, err = dateOf(digits)
	case profile.Month:
		var m Month
		m, err = monthOf(digits)
		v.date = Date{Year: m.Year, Month: m.Month}
	case profile.Year:
		if len(digits) != 4 || atoi(digits) == 0 {
			return Value{}, errors.New("not a year")
		}
		v.date.Year = atoi(digits)
	case profile.Time:
		var t Time
		t, err = timeOf(digits)
		v.date, v.clock = t.Date, [3]int{t.Hour, t.Minute, t.Second}
	default:
		err = errFormat
	}
	if err != nil {
		return Value{}, err
	}
	return v, nil
}

// decodeCN reads BCD, left-aligned and filled with F on the right; all F is "".
func decodeCN(b []byte) (string, error) {
	digits := strings.TrimRight(strings.ToUpper(hex.EncodeToString(b)), "F")
	if digits != "" && !allDigits(digits) {
		return "", errDigits
	}
	return digits, nil
}

func allBytes(b []byte, x byte) bool {
	for _, y := range b {
		if y != x {
			return false
		}
	}
	return true
}

// ParseValue makes a value for an element from text: what [Value.String]
// returns; "" is the unset value. It refuses what does not fit the element's
// format or length; the error does not hold the text.
func ParseValue(e profile.Element, s string) (Value, error) {
	if s == "" {
		return Value{}, nil
	}
	v := Value{format: e.Format}
	var err error
	switch e.Format {
	case profile.AN, profile.Text, profile.CN:
		v.text = s
	case profile.Identifier:
		v.text = strings.ToUpper(s)
	case profile.Binary:
		v.data, err = hex.DecodeString(s)
	case profile.Date:
		v.date, err = ParseDate(s)
	case profile.Month:
		if len(s) != 7 || s[4] != '-' {
			return Value{}, errFormat
		}
		return v.fromDigits(s[:4]+s[5:], nonZero)
	case profile.Year:
		if !allDigits(s) {
			return Value{}, errFormat
		}
		return v.fromDigits(s, nonZero)
	case profile.Time:
		if len(s) != 19 {
			return Value{}, errFormat
		}
		return v.fromDigits(strings.NewReplacer("-", "", ":", "", " ", "").Replace(s), nonZero)
	case profile.Amount, profile.BinaryAmount:
		var f Fen
		f, err = parseYuan(s)
		v.number = int64(f)
	case profile.Number:
		v.number, err = strconv.ParseInt(s, 10, 64)
	default:
		err = errFormat
	}
	if err != nil {
		return Value{}, errFormat
	}
	if _, err := EncodeValue(e, v); err != nil {
		return Value{}, err
	}
	return v, nil
}

// nonZero stands for the card's bytes where a value comes from text.
var nonZero = []byte{1}

// EncodeValue writes a value as the element's full length of bytes. The unset
// value is all F in cn formats, all 00 in the others. What EncodeValue accepts,
// [DecodeValue] reads back the same.
func EncodeValue(e profile.Element, v Value) ([]byte, error) {
	if !v.IsUnset() && v.format != e.Format {
		return nil, errFormat
	}
	out := make([]byte, e.Length)
	var b []byte
	var err error
	switch e.Format {
	case profile.Text, profile.AN:
		b, err = encodeText(v.text)
	case profile.Identifier:
		if v.IsUnset() {
			return filled(out, 0xFF), nil
		}
		if b, err = hex.DecodeString(v.text); err != nil || len(b) != e.Length || allBytes(b, 0xFF) || allBytes(b, 0) {
			return nil, errFormat
		}
	case profile.Binary:
		b = v.data
	case profile.Number, profile.BinaryAmount:
		if e.Length > 7 || v.number < 0 || v.number >= 1<<(8*e.Length) {
			return nil, errTooLong
		}
		for i := range out {
			out[i] = byte(v.number >> (8 * (e.Length - 1 - i)))
		}
		return out, nil
	case profile.Template, profile.Cyclic:
		return nil, errFormat
	default:
		digits, err := v.cnDigits()
		if err != nil {
			return nil, err
		}
		return encodeCN(filled(out, 0xFF), digits)
	}
	if err != nil {
		return nil, err
	}
	if len(b) > e.Length {
		return nil, errTooLong
	}
	copy(out, b)
	return out, nil
}

func filled(b []byte, x byte) []byte {
	for i := range b {
		b[i] = x
	}
	return b
}

// cnDigits returns the digits of a value of a cn format.
func (v Value) cnDigits() (string, error) {
	switch v.format {
	case 0:
		return "", nil
	case profile.CN:
		if !allDigits(v.text) {
			return "", errDigits
		}
		return v.text, nil
	case profile.Date:
		if !v.date.valid() {
			return "", errDate
		}
		return v.date.digits(), nil
	case profile.Month:
		return fmt.Sprintf("%04d%02d", v.date.Year, v.date.Month), nil
	case profile.Year:
		return fmt.Sprintf("%04d", v.date.Year), nil
	case profile.Time:
		return v.date.digits() + fmt.Sprintf("%02d%02d%02d", v.clock[0], v.clock[1], v.clock[2]), nil
	case profile.Amount:
		if v.number < 0 {
			return "", errFormat
		}
		return strconv.FormatInt(v.number, 10), nil
	}
	return "", errFormat
}

// encodeCN writes digits over the F in out, left-aligned.
func encodeCN(out []byte, digits string) ([]byte, error) {
	if len(digits) > 2*len(out) {
		return nil, errTooLong
	}
	for i := range len(digits) {
		d := digits[i] - '0'
		if i%2 == 0 {
			out[i/2] = d<<4 | 0x0F
		} else {
			out[i/2] = out[i/2]&0xF0 | d
		}
	}
	return out, nil
}
