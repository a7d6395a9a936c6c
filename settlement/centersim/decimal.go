package centersim

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
)

// fen is an amount of money in hundredths of a yuan.
type fen int64

// maxFen bounds every amount and every sum here, 9,999,999,999.99 yuan: far
// above any visit and far below where int64 arithmetic with a ratio overflows.
const maxFen fen = 999_999_999_999

// yuan writes the amount with two decimals, "-0.05".
func (f fen) yuan() string {
	sign := ""
	if f < 0 {
		sign, f = "-", -f
	}
	return fmt.Sprintf("%s%d.%02d", sign, f/100, f%100)
}

// short writes the amount without trailing zeros, as centres do that keep
// amounts in binary fractions: "12.3", "7".
func (f fen) short() string {
	return strings.TrimSuffix(strings.TrimRight(f.yuan(), "0"), ".")
}

func (f fen) MarshalJSON() ([]byte, error) { return []byte(`"` + f.yuan() + `"`), nil }

func (f *fen) UnmarshalJSON(b []byte) error {
	v, err := parseDecimal(strings.Trim(string(b), `"`), 2)
	if err != nil {
		return fmt.Errorf("amount: %w", err)
	}
	if v > int64(maxFen) || v < -int64(maxFen) {
		return errors.New("amount out of range")
	}
	*f = fen(v)
	return nil
}

var (
	errDecimal   = errors.New("not a decimal number")
	errPrecision = errors.New("too many decimals")
)

// parseDecimal reads a plain decimal number (no exponent, no plus sign, at
// most 18 digits) as an integer of 10^-scale. Zeros beyond the scale are
// nothing; other digits there are an error, never rounded away.
func parseDecimal(s string, scale int) (int64, error) {
	negative := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	whole, fraction, point := strings.Cut(s, ".")
	if whole == "" || (point && fraction == "") {
		return 0, errDecimal
	}
	if len(fraction) > scale {
		if strings.Trim(fraction[scale:], "0") != "" {
			for _, c := range fraction {
				if c < '0' || c > '9' {
					return 0, errDecimal
				}
			}
			return 0, errPrecision
		}
		fraction = fraction[:scale]
	}
	digits := whole + fraction + strings.Repeat("0", scale-len(fraction))
	digits = strings.TrimLeft(digits, "0")
	if len(digits) > 18 {
		return 0, errDecimal
	}
	var v int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, errDecimal
		}
		v = v*10 + int64(c-'0')
	}
	if negative {
		v = -v
	}
	return v, nil
}

// formatDecimal writes v, an integer of 10^-scale, without trailing zeros.
func formatDecimal(v int64, scale int) string {
	s := fmt.Sprintf("%0*d", scale+1, v)
	return strings.TrimSuffix(strings.TrimRight(s[:len(s)-scale]+"."+s[len(s)-scale:], "0"), ".")
}

const (
	priceScale    = 6 // pric and pric_uplmt_amt are 16,6
	quantityScale = 4 // cnt is 16,4
	ratioScale    = 4 // selfpay_prop and pool_prop_selfpay are 5,4
	ratioOne      = 10_000
)

// times is price x quantity (10^-6 yuan x 10^-4) in fen, rounded half up. Both
// are non-negative. ok is false where the product is above maxFen.
func times(price, quantity int64) (amount fen, ok bool) {
	const unit = 100_000_000 // 10^-10 yuan in one fen
	hi, lo := bits.Mul64(uint64(price), uint64(quantity))
	lo, carry := bits.Add64(lo, unit/2, 0)
	hi += carry
	if hi >= unit {
		return 0, false
	}
	q, _ := bits.Div64(hi, lo, unit)
	if q > uint64(maxFen) {
		return 0, false
	}
	return fen(q), true
}

// share is amount x ratio (10^-4), rounded half up. Amount is not negative.
func share(amount fen, ratio int64) fen {
	return (amount*fen(ratio) + ratioOne/2) / ratioOne
}
