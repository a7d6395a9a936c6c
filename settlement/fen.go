package settlement

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"onecard/fault"
)

// ErrAmount is wrapped by every failure to read an amount, a price or a
// quantity. The text never holds the value (OC-2005).
var ErrAmount = fault.New(fault.AmountInvalid, "invalid amount")

// ErrAmountRange is wrapped by failures to read a number that is one but has
// more digits than its field. It wraps [ErrAmount].
var ErrAmountRange = fmt.Errorf("out of range: %w", ErrAmount)

// Fen is an amount of money in hundredths of a yuan, positive or negative. The
// field tables give amounts 16 digits, 2 of them decimals: |f| <= [MaxFen].
type Fen int64

// MaxFen is the largest amount the field tables can carry (16,2).
const MaxFen Fen = 9_999_999_999_999_999

// ParseYuan reads an amount of yuan as a person types it: an optional minus
// sign, digits without leading zeros, at most two decimals. Anything else,
// blanks, exponents and separators included, is an error that wraps
// [ErrAmount].
func ParseYuan(s string) (Fen, error) {
	n, err := parseDecimal(s, 14, 2, false)
	if err != nil {
		return 0, fmt.Errorf("parse yuan: %w", err)
	}
	return Fen(n), nil
}

// Yuan returns the amount in yuan with two decimals, such as "-12.30".
func (f Fen) Yuan() string { return formatDecimal(int64(f), 2, 2) }

// String is [Fen.Yuan].
func (f Fen) String() string { return f.Yuan() }

// MarshalJSON writes a JSON number of yuan with two decimals. It refuses
// amounts beyond [MaxFen], which no field can carry.
func (f Fen) MarshalJSON() ([]byte, error) {
	if f > MaxFen || f < -MaxFen {
		return nil, fmt.Errorf("marshal amount: out of range: %w", ErrAmount)
	}
	return []byte(f.Yuan()), nil
}

// UnmarshalJSON reads what upstream sends for an amount: a number or a string
// with a number, with or without decimals or exponent; null, "", "null" and
// "NULL" give 0. Where absent and zero must be told apart use [NullFen].
func (f *Fen) UnmarshalJSON(b []byte) error {
	var n NullFen
	if err := n.UnmarshalJSON(b); err != nil {
		return err
	}
	*f = n.Fen
	return nil
}

// A NullFen is an amount in an answer that may be absent: upstream sends null
// where a term does not apply, and null is not zero.
type NullFen struct {
	Fen   Fen
	Valid bool // false: null, empty or not there
}

// SomeFen returns an amount that is present.
func SomeFen(f Fen) NullFen { return NullFen{f, true} }

// MarshalJSON writes null for an absent amount.
func (n NullFen) MarshalJSON() ([]byte, error) {
	if !n.Valid {
		return []byte("null"), nil
	}
	return n.Fen.MarshalJSON()
}

// UnmarshalJSON reads as [Fen.UnmarshalJSON] does and remembers absence.
func (n *NullFen) UnmarshalJSON(b []byte) error {
	s, absent, err := lenientScalar(b)
	if err != nil {
		return fmt.Errorf("read amount: %w", ErrAmount)
	}
	if absent {
		*n = NullFen{}
		return nil
	}
	v, err := parseDecimal(s, 14, 2, true)
	if err != nil {
		return fmt.Errorf("read amount: %w", err)
	}
	*n = SomeFen(Fen(v))
	return nil
}

// A Price is a price per unit in millionths of a yuan (field type 16,6).
type Price int64

// ParsePrice reads a price with up to ten integer digits and six decimals.
func ParsePrice(s string) (Price, error) {
	n, err := parseDecimal(s, 10, 6, false)
	if err != nil {
		return 0, fmt.Errorf("parse price: %w", err)
	}
	return Price(n), nil
}

// String returns the price in yuan with two to six decimals.
func (p Price) String() string { return formatDecimal(int64(p), 6, 2) }

// MarshalJSON writes a JSON number of yuan.
func (p Price) MarshalJSON() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalJSON reads a number or a string with a number.
func (p *Price) UnmarshalJSON(b []byte) error {
	n, err := unmarshalDecimal(b, 10, 6)
	*p = Price(n)
	return err
}

// A Quantity is a number of units in ten-thousandths (field type 16,4).
// Returns are negative.
type Quantity int64

// ParseQuantity reads a quantity with up to twelve integer digits and four
// decimals.
func ParseQuantity(s string) (Quantity, error) {
	n, err := parseDecimal(s, 12, 4, false)
	if err != nil {
		return 0, fmt.Errorf("parse quantity: %w", err)
	}
	return Quantity(n), nil
}

// String returns the quantity without trailing zeros.
func (q Quantity) String() string { return formatDecimal(int64(q), 4, 0) }

// MarshalJSON writes a JSON number.
func (q Quantity) MarshalJSON() ([]byte, error) { return []byte(q.String()), nil }

// UnmarshalJSON reads a number or a string with a number.
func (q *Quantity) UnmarshalJSON(b []byte) error {
	n, err := unmarshalDecimal(b, 12, 4)
	*q = Quantity(n)
	return err
}

// LineAmount returns price x quantity rounded half up to fen (settlement
// facts, money, identity 5). Halves go away from zero, so that a return
// cancels its charge exactly. The product is exact in 128 bits; a result
// beyond [MaxFen] is an error that wraps [ErrAmount].
func LineAmount(p Price, q Quantity) (Fen, error) {
	const scale = 100_000_000 // 10^6 x 10^4 / 10^2
	hi, lo := bits.Mul64(magnitude(int64(p)), magnitude(int64(q)))
	lo, carry := bits.Add64(lo, scale/2, 0)
	hi += carry
	if hi >= scale {
		return 0, fmt.Errorf("line amount: out of range: %w", ErrAmount)
	}
	fen, _ := bits.Div64(hi, lo, scale)
	if fen > uint64(MaxFen) {
		return 0, fmt.Errorf("line amount: out of range: %w", ErrAmount)
	}
	if (p < 0) != (q < 0) {
		return -Fen(fen), nil
	}
	return Fen(fen), nil
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

func unmarshalDecimal(b []byte, digits, scale int) (int64, error) {
	s, absent, err := lenientScalar(b)
	if err != nil {
		return 0, fmt.Errorf("read number: %w", ErrAmount)
	}
	if absent {
		return 0, nil
	}
	n, err := parseDecimal(s, digits, scale, true)
	if err != nil {
		return 0, fmt.Errorf("read number: %w", err)
	}
	return n, nil
}

// parseDecimal returns s x 10^scale. Integer digits are bounded by digits,
// which with scale never exceeds 16. The lenient form takes what other
// people's JSON writers produce: leading zeros and plus, an empty integer
// part, zeros beyond the scale, and an exponent.
func parseDecimal(s string, digits, scale int, lenient bool) (int64, error) {
	if len(s) == 0 || len(s) > 64 {
		return 0, fmt.Errorf("not a number: %w", ErrAmount)
	}
	if lenient {
		var err error
		if s, err = plainDecimal(s); err != nil {
			return 0, err
		}
	}
	negative := strings.HasPrefix(s, "-")
	if negative {
		s = s[1:]
	}
	whole, fraction, point := strings.Cut(s, ".")
	if point && fraction == "" || whole == "" || len(whole) > 1 && whole[0] == '0' {
		return 0, fmt.Errorf("not a number: %w", ErrAmount)
	}
	var n int64
	if len(whole) > digits {
		if strings.Trim(whole+fraction, "0123456789") != "" {
			return 0, fmt.Errorf("not a number: %w", ErrAmount)
		}
		return 0, ErrAmountRange
	}
	if len(fraction) > scale {
		return 0, fmt.Errorf("too many decimals: %w", ErrAmount)
	}
	for i := range len(whole) + scale {
		c := byte('0')
		switch {
		case i < len(whole):
			c = whole[i]
		case i-len(whole) < len(fraction):
			c = fraction[i-len(whole)]
		}
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("not a number: %w", ErrAmount)
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, nil
}

// plainDecimal rewrites a lenient number (at most 64 bytes) in the strict
// form, without rounding anything away but zeros.
func plainDecimal(s string) (string, error) {
	bad := fmt.Errorf("not a number: %w", ErrAmount)
	sign := ""
	switch s[0] {
	case '-':
		sign, s = "-", s[1:]
	case '+':
		s = s[1:]
	}
	exponent := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.Atoi(s[i+1:])
		if err != nil || e > 64 || e < -64 {
			return "", bad
		}
		s, exponent = s[:i], e
	}
	whole, fraction, _ := strings.Cut(s, ".")
	if whole == "" && fraction == "" || strings.Contains(fraction, ".") {
		return "", bad
	}
	for ; exponent > 0; exponent-- {
		if fraction == "" {
			fraction = "0"
		}
		whole, fraction = whole+fraction[:1], fraction[1:]
	}
	for ; exponent < 0; exponent++ {
		if whole == "" {
			whole = "0"
		}
		whole, fraction = whole[:len(whole)-1], whole[len(whole)-1:]+fraction
	}
	whole = strings.TrimLeft(whole, "0")
	fraction = strings.TrimRight(fraction, "0")
	if whole == "" {
		whole = "0"
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return sign + whole + fraction, nil
}

// formatDecimal writes n / 10^scale with at least atLeast decimals.
func formatDecimal(n int64, scale, atLeast int) string {
	digits := strconv.FormatUint(magnitude(n), 10)
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale+1-len(digits)) + digits
	}
	whole, fraction := digits[:len(digits)-scale], digits[len(digits)-scale:]
	for len(fraction) > atLeast && fraction[len(fraction)-1] == '0' {
		fraction = fraction[:len(fraction)-1]
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	if n < 0 {
		return "-" + whole + fraction
	}
	return whole + fraction
}
