package settlement

import (
	"encoding/json"
	"errors"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestParseYuan(t *testing.T) {
	good := map[string]Fen{
		"0": 0, "0.00": 0, "12": 1200, "12.3": 1230, "12.34": 1234, "-0.01": -1, "-12.30": -1230,
		"99999999999999.99": MaxFen, "-99999999999999.99": -MaxFen,
	}
	for s, want := range good {
		if got, err := ParseYuan(s); err != nil || got != want {
			t.Errorf("ParseYuan(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", " ", "-", ".", "1.", ".5", "01", "00", "+1", "1e3", "1,000", "1 ", " 1", "1.234", "１", "0x1", "--1", "1.2.3",
		"NaN", "Inf", "100000000000000", "999999999999999.99", "1.-2", "null", "1_0",
	} {
		if got, err := ParseYuan(s); !errors.Is(err, ErrAmount) {
			t.Errorf("ParseYuan(%q) = %d, %v; want ErrAmount", s, got, err)
		}
	}
}

func TestFenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Fen(rapid.Int64Range(-int64(MaxFen), int64(MaxFen)).Draw(t, "fen"))
		if got, err := ParseYuan(f.Yuan()); err != nil || got != f {
			t.Fatalf("ParseYuan(%s) = %d, %v", f.Yuan(), got, err)
		}
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		var back Fen
		if err := json.Unmarshal(b, &back); err != nil || back != f {
			t.Fatalf("%s came back as %d, %v", b, back, err)
		}
		p := Price(rapid.Int64Range(-9_999_999_999_999_999, 9_999_999_999_999_999).Draw(t, "price"))
		if got, err := ParsePrice(p.String()); err != nil || got != p {
			t.Fatalf("ParsePrice(%s) = %d, %v", p, got, err)
		}
		q := Quantity(rapid.Int64Range(-9_999_999_999_999_999, 9_999_999_999_999_999).Draw(t, "quantity"))
		if got, err := ParseQuantity(q.String()); err != nil || got != q {
			t.Fatalf("ParseQuantity(%s) = %d, %v", q, got, err)
		}
	})
}

func TestFenBeyondTheField(t *testing.T) {
	for _, f := range []Fen{MaxFen + 1, -MaxFen - 1, 1<<63 - 1, -1 << 63} {
		if b, err := json.Marshal(f); !errors.Is(err, ErrAmount) {
			t.Errorf("marshalled %d as %s, %v", f, b, err)
		}
	}
}

func TestAmountsAsUpstreamWritesThem(t *testing.T) {
	for in, want := range map[string]NullFen{
		`12.34`: SomeFen(1234), `"12.34"`: SomeFen(1234), `12`: SomeFen(1200), `"12"`: SomeFen(1200),
		`12.3400`: SomeFen(1234), `"012.3"`: SomeFen(1230), `1.2E+2`: SomeFen(12000), `1234e-2`: SomeFen(1234),
		`".5"`: SomeFen(50), `"+1"`: SomeFen(100), `0E-8`: SomeFen(0), `-0.00`: SomeFen(0), `-3.1`: SomeFen(-310),
		`null`: {}, `""`: {}, `"null"`: {}, `"NULL"`: {}, `" 7 "`: SomeFen(700),
	} {
		var got NullFen
		if err := json.Unmarshal([]byte(in), &got); err != nil || got != want {
			t.Errorf("%s = %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{`1.234`, `"x"`, `true`, `{}`, `[]`, `1e99`, `1e15`, `"1e1e1"`, `"--1"`, `"1.2.3"`, `"-"`, `"."`, `123456789012345`} {
		var got NullFen
		if err := json.Unmarshal([]byte(in), &got); err == nil {
			t.Errorf("%s was read as %+v", in, got)
		}
	}
}

func TestLineAmount(t *testing.T) {
	for _, c := range []struct{ price, quantity, want string }{
		{"1.005", "1", "1.01"}, {"1.004999", "1", "1.00"}, {"1.005", "-1", "-1.01"},
		{"0.005", "1", "0.01"}, {"0.004999", "1", "0.00"}, {"12.345678", "3.5", "43.21"},
		{"0.333333", "3", "1.00"}, {"2.5", "0.0018", "0.00"}, {"2.5", "0.002", "0.01"}, {"9999999999.999999", "0.0001", "1000000.00"},
	} {
		p, err1 := ParsePrice(c.price)
		q, err2 := ParseQuantity(c.quantity)
		got, err3 := LineAmount(p, q)
		if err := errors.Join(err1, err2, err3); err != nil || got.Yuan() != c.want {
			t.Errorf("%s x %s = %s, %v; want %s", c.price, c.quantity, got, err, c.want)
		}
	}
}

// The rational arithmetic of math/big is the reference.
func TestLineAmountIsExact(t *testing.T) {
	anything := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-1_000_000_000, 1_000_000_000))
	rapid.Check(t, func(t *rapid.T) {
		p, q := Price(anything.Draw(t, "price")), Quantity(anything.Draw(t, "quantity"))
		// |p q| / 10^8 + 1/2, rounded down.
		exact := new(big.Int).Mul(big.NewInt(int64(p)), big.NewInt(int64(q)))
		sign := exact.Sign()
		exact.Abs(exact).Add(exact, big.NewInt(50_000_000)).Quo(exact, big.NewInt(100_000_000))
		if sign < 0 {
			exact.Neg(exact)
		}
		got, err := LineAmount(p, q)
		if exact.CmpAbs(big.NewInt(int64(MaxFen))) > 0 {
			if !errors.Is(err, ErrAmount) {
				t.Fatalf("%d x %d = %d, %v; want out of range", p, q, got, err)
			}
			return
		}
		if err != nil || exact.Cmp(big.NewInt(int64(got))) != 0 {
			t.Fatalf("%d x %d = %d, %v; want %s", p, q, got, err, exact)
		}
		if back, err := LineAmount(p, -q); q > -1<<63 && (err != nil || back != -got) {
			t.Fatalf("the return of %d x %d is %d, %v", p, q, back, err)
		}
	})
}

func FuzzParseYuan(f *testing.F) {
	for _, s := range []string{"0", "12.34", "-0.01", "99999999999999.99", "1e5", ".5", "1.", "１.００"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		strict, err := ParseYuan(s)
		if err == nil {
			if strict > MaxFen || strict < -MaxFen {
				t.Fatalf("ParseYuan(%q) = %d: out of range", s, strict)
			}
			if again, err := ParseYuan(strict.Yuan()); err != nil || again != strict {
				t.Fatalf("%q gives %s, which gives %s, %v", s, strict, again, err)
			}
		}
		b, _ := json.Marshal(s)
		var lenient NullFen
		lenientErr := lenient.UnmarshalJSON(b)
		if err == nil && (lenientErr != nil || lenient != SomeFen(strict)) {
			t.Fatalf("%q is %s strictly and %+v, %v leniently", s, strict, lenient, lenientErr)
		}
		if lenient.Fen > MaxFen || lenient.Fen < -MaxFen {
			t.Fatalf("%q is read as %d: out of range", s, lenient.Fen)
		}
	})
}
