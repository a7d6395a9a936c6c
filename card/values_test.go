package card

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"onecard/card/profile"

	"pgregory.net/rapid"
)

// elements of the profile that hold a value, with both meanings.
func valueElements() []profile.Element {
	var list []profile.Element
	for _, e := range profile.Elements() {
		switch {
		case e.Kind == profile.Internal, e.Length == 0:
		case e.Format == profile.Template, e.Format == profile.Cyclic:
		default:
			list = append(list, e)
		}
	}
	return list
}

var latin = rapid.StringMatching(`[!-~]([ -~]{0,28}[!-~])?`)

// drawValue draws a value that fits the element.
func drawValue(t *rapid.T, e profile.Element) Value {
	v := Value{format: e.Format}
	switch e.Format {
	case profile.CN:
		v.text = rapid.StringMatching(`[0-9]{1,`+itoa(2*e.Length)+`}`).Draw(t, "digits")
	case profile.AN:
		v.text = clip(latin.Draw(t, "an"), e.Length)
	case profile.Text:
		runes := rapid.SliceOfN(rapid.SampledFrom([]rune("王秀英欧阳海燕·䶮㛃𠮷𬭊Aé阿依古丽 号-")), 1, 12).Draw(t, "runes")
		v.text = fit(strings.TrimSpace("李"+string(runes)), e.Length)
	case profile.Date:
		v.date = drawDate(t)
	case profile.Month:
		d := drawDate(t)
		v.date = Date{Year: d.Year, Month: d.Month}
	case profile.Year:
		v.date.Year = rapid.IntRange(1, 9999).Draw(t, "year")
	case profile.Time:
		v.date = drawDate(t)
		v.clock = [3]int{rapid.IntRange(0, 23).Draw(t, "h"), rapid.IntRange(0, 59).Draw(t, "m"), rapid.IntRange(0, 59).Draw(t, "s")}
	case profile.Amount:
		v.number = rapid.Int64Range(0, pow10(2*e.Length)-1).Draw(t, "fen")
	case profile.BinaryAmount, profile.Number:
		v.number = rapid.Int64Range(0, 1<<(8*e.Length)-1).Draw(t, "number")
	case profile.Identifier:
		b := rapid.SliceOfN(rapid.Byte(), e.Length, e.Length).Draw(t, "id")
		b[0] = 0x51
		v.text = strings.ToUpper(hex.EncodeToString(b))
	case profile.Binary:
		v.data = rapid.SliceOfN(rapid.Byte(), e.Length, e.Length).Draw(t, "bytes")
		v.data[0] = 1
	default:
		t.Fatalf("no generator for %v", e.Format)
	}
	return v
}

func drawDate(t *rapid.T) Date {
	d := Date{rapid.IntRange(1, 9999).Draw(t, "y"), rapid.IntRange(1, 12).Draw(t, "m"), rapid.IntRange(1, 31).Draw(t, "d")}
	for !d.valid() {
		d.Day--
	}
	return d
}

func pow10(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func clip(s string, n int) string { return strings.TrimRight(s[:min(len(s), n)], " ") }

// fit shortens a text until it can be written in n bytes.
func fit(s string, n int) string {
	for {
		if b, err := encodeText(s); err == nil && len(b) <= n {
			return s
		}
		_, size := utf8.DecodeLastRuneInString(s)
		s = strings.TrimSpace(s[:len(s)-size])
	}
}

// What is written to any element of the profile reads back the same, and so
// does its text.
func TestEncodeThenDecodeIsIdentity(t *testing.T) {
	for _, e := range valueElements() {
		name := e.DF + e.EF + " " + e.Tag + " " + e.Record
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				v := drawValue(t, e)
				b, err := EncodeValue(e, v)
				if err != nil {
					t.Fatalf("encode %v %q: %v", v.format, v.String(), err)
				}
				if len(b) != e.Length {
					t.Fatalf("%d bytes, want %d", len(b), e.Length)
				}
				got, err := DecodeValue(e, b)
				if err != nil || got.String() != v.String() || got.format != v.format || got.number != v.number || got.date != v.date {
					t.Fatalf("% X: %+v, %v, want %+v", b, got, err, v)
				}
				again, err := ParseValue(e, v.String())
				if err != nil {
					t.Fatalf("parse %q: %v", v.String(), err)
				}
				if c, err := EncodeValue(e, again); err != nil || !bytes.Equal(b, c) {
					t.Fatalf("parse %q: % X, %v, want % X", v.String(), c, err, b)
				}
			})
			unset, err := EncodeValue(e, Value{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeValue(e, unset)
			// Binary numbers have no unset value: 0 is 0.
			if number := e.Format == profile.Number || e.Format == profile.BinaryAmount; err != nil || got.IsUnset() == number {
				t.Errorf("unset is % X and reads %+v, %v", unset, got, err)
			}
		})
	}
}

func element(f profile.Format, length int) profile.Element {
	return profile.Element{Format: f, Length: length}
}

func TestDecodeValue(t *testing.T) {
	for _, tt := range []struct {
		name string
		e    profile.Element
		hex  string
		want string
		err  bool
	}{
		{"cn", element(profile.CN, 3), "510100", "510100", false},
		{"cn filled", element(profile.CN, 3), "51FFFF", "51", false},
		{"cn odd", element(profile.CN, 1), "1F", "1", false},
		{"cn unset", element(profile.CN, 3), "FFFFFF", "", false},
		{"cn with A", element(profile.CN, 3), "5101A0", "", true},
		{"cn with F inside", element(profile.CN, 3), "51F100", "", true},
		{"an 00", element(profile.AN, 5), "3132330000", "123", false},
		{"an 20", element(profile.AN, 5), "3132332020", "123", false},
		{"an unset", element(profile.AN, 3), "000000", "", false},
		{"an with 00 inside", element(profile.AN, 5), "3132003300", "12", true},
		{"text", element(profile.Text, 6), "D5C5C8FD0000", "张三", false},
		{"text cut", element(profile.Text, 3), "D5C5C8", "张", true},
		{"text four bytes", element(profile.Text, 8), "95329031D5C50000", "𠂇张", false},
		{"text that ends in 80", element(profile.Text, 2), "8180", "亐", false},
		{"date", element(profile.Date, 4), "20260228", "2026-02-28", false},
		{"leap day", element(profile.Date, 4), "20240229", "2024-02-29", false},
		{"no leap day", element(profile.Date, 4), "20260229", "", true},
		{"date 20261341", element(profile.Date, 4), "20261341", "", true},
		{"date unset", element(profile.Date, 4), "FFFFFFFF", "", false},
		{"date never written", element(profile.Date, 4), "00000000", "", false},
		{"date half", element(profile.Date, 4), "2026FFFF", "", true},
		{"month", element(profile.Month, 3), "202613", "", true},
		{"year", element(profile.Year, 2), "2026", "2026", false},
		{"time", element(profile.Time, 7), "20260301093015", "2026-03-01 09:30:15", false},
		{"time 24", element(profile.Time, 7), "20260301240000", "", true},
		{"fen left-aligned", element(profile.Amount, 4), "1234FFFF", "12.34", false},
		{"fen zero-filled", element(profile.Amount, 4), "00001234", "12.34", false},
		{"fen zero", element(profile.Amount, 4), "00000000", "0.00", false},
		{"fen unset", element(profile.Amount, 4), "FFFFFFFF", "", false},
		{"fen binary", element(profile.BinaryAmount, 4), "FFFFFFFF", "42949672.95", false},
		{"number", element(profile.Number, 2), "0102", "258", false},
		{"identifier", element(profile.Identifier, 4), "51010FFF", "51010FFF", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := hex.DecodeString(tt.hex)
			if err != nil {
				t.Fatal(err)
			}
			v, err := DecodeValue(tt.e, b)
			if got := v.String(); got != tt.want || (err != nil) != tt.err {
				t.Errorf("%q, %v", got, err)
			}
			if tt.want != "" && !tt.err && v.IsUnset() {
				t.Error("unset")
			}
			if tt.err && tt.want != "" && strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error tells the value: %v", err)
			}
		})
	}
}

func TestParseValueRefuses(t *testing.T) {
	for _, tt := range []struct {
		e profile.Element
		s string
	}{
		{element(profile.CN, 1), "123"},
		{element(profile.CN, 3), "51A"},
		{element(profile.AN, 3), "1234"},
		{element(profile.AN, 8), "12 "},
		{element(profile.AN, 8), "a\nb"},
		{element(profile.Text, 4), "张三丰"},
		{element(profile.Text, 40), "\U0010FFFF\x00"},
		{element(profile.Date, 4), "2026-13-41"},
		{element(profile.Date, 4), "20260101"},
		{element(profile.Month, 3), "2026-00"},
		{element(profile.Year, 2), "0000"},
		{element(profile.Time, 7), "2026-01-01 25:00:00"},
		{element(profile.Amount, 4), "-1.00"},
		{element(profile.Amount, 4), "1.234"},
		{element(profile.Amount, 4), "1."},
		{element(profile.Amount, 4), "1000000.00"},
		{element(profile.BinaryAmount, 4), "42949672.96"},
		{element(profile.Number, 2), "65536"},
		{element(profile.Identifier, 4), "5101"},
		{element(profile.Template, 4), "x"},
	} {
		if v, err := ParseValue(tt.e, tt.s); err == nil {
			t.Errorf("%v accepts %q as %+v", tt.e.Format, tt.s, v)
		}
	}
}

func TestNamesAreJoinedBeforeTheyAreDecoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		runes := rapid.SliceOfN(rapid.SampledFrom([]rune("阿卜杜热合曼·麦麦提䶮㛃𠮷 MaryO")), 1, 40).Draw(t, "runes")
		name := fit(strings.Join(strings.Fields("买"+string(runes)), " "), nameLength+extensionLength)
		a, b, err := SplitName(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(a) != nameLength || len(b) != extensionLength {
			t.Fatalf("%d and %d bytes", len(a), len(b))
		}
		got, err := JoinName(a, b)
		if err != nil || got != name {
			t.Fatalf("%q, %v, want %q", got, err, name)
		}
		// 1.0 cards have no 4E and fill with spaces.
		if allBytes(b, 0) {
			short := bytes.ReplaceAll(a, []byte{0}, []byte{0x20})
			if got, err := JoinName(short, nil); err != nil || got != name {
				t.Fatalf("%q, %v, want %q", got, err, name)
			}
		}
	})
	full := fit(strings.Repeat("张", 30), nameLength+extensionLength)
	if _, _, err := SplitName(full + "三"); !errors.Is(err, errTooLong) {
		t.Errorf("a name of 52 bytes: %v", err)
	}
	// A writer that cut before the character that did not fit.
	b, _ := encodeText("A" + strings.Repeat("张", 14))
	first := append(b, 0)
	if got, err := JoinName(first, []byte{0xC8, 0xFD, 0, 0}); err != nil || got != "A"+strings.Repeat("张", 14)+"三" {
		t.Errorf("%q, %v", got, err)
	}
	// A space at the cut belongs to the name.
	if got, _ := JoinName([]byte("JOHANNES CHRYSOSTOMUS WOLFGANG "), []byte("MOZART\x00\x00")); got != "JOHANNES CHRYSOSTOMUS WOLFGANG MOZART" {
		t.Errorf("%q", got)
	}
}

// The 1.0 record that was rewritten with the meaning of 2.0 (card
// specification, section 2).
func TestEE(t *testing.T) {
	for _, tt := range []struct {
		file, tag, hex string
		version        profile.Version
		want           string
		v1             bool
	}{
		{"DF03EF07", "71", "00123456", profile.V10, "1234.56", true},
		{"DF03EF07", "71", "510100EE", profile.V10, "510100", false},
		{"DF03EF07", "71", "510100EE", profile.V20, "510100", false},
		{"DF03EF07", "71", "510100", profile.V20, "510100", false},
		{"DF03EF07", "70", "313230", profile.V10, "120", true},
		{"DF03EF07", "70", "313130", profile.V20, "110", false},
		{"DF03EF07", "6F", "20060101", profile.V10, "2006-01-01", true},
		{"DF03EF05", "61", "510100EE", profile.V10, "510100", false},
		{"DF03EF05", "61", "00040000", profile.V10, "400.00", true},
		{"DF01EF09", "32", "3131EE", profile.V10, "11", false},
		{"DF01EF09", "32", "313130", profile.V10, "110", true},
		{"DF01EF0A", "37", "43484EEE", profile.V10, "CHN", false},
		{"DF04EF06", "90", "31EEEEEE", profile.V10, "1", false},
		{"DF04EF06", "90", "00000050", profile.V10, "0.50", true},
		{"DF04EF06", "93", "3132EEEE", profile.V10, "12", false},
		{"DF02EF06", "4D", "510100EE", profile.V10, "510100", false},
		{"DF02EF06", "4D", "20050607", profile.V10, "2005-06-07", true},
		{"DF02EF09", "55", "31323334353637383930313233343536", profile.V10, "1234567890123456", false},
	} {
		id, err := ParseFileID(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		f, _ := profile.Reference().File(id.DF, id.EF)
		value, _ := hex.DecodeString(tt.hex)
		tag, _ := hex.DecodeString(tt.tag)
		whole := append([]byte{tag[0], byte(len(value))}, value...)
		r := decodeRecord(profile.Reference(), f, tt.version, oneRecord(whole, 1), 1)
		if r.Malformed != nil || r.Value.String() != tt.want || r.V1 != tt.v1 {
			t.Errorf("%s %s %s on %s: %q (1.0 meaning %v) %v", tt.file, tt.tag, tt.hex, tt.version, r.Value, r.V1, r.Malformed)
		}
	}
	// A name of a hospital in 70 bytes, and EE behind the 2.0 value.
	f, _ := profile.Reference().File("DF04", "EF05")
	name, _ := encodeText("杭州市样例医院")
	old := append(name, make([]byte, 70-len(name))...)
	rewritten := append([]byte("31011000"), bytes.Repeat([]byte{0xEE}, 62)...)
	for value, want := range map[string]string{string(old): "杭州市样例医院", string(rewritten): "31011000"} {
		r := decodeRecord(profile.Reference(), f, profile.V10, oneRecord(append([]byte{0x81, 70}, value...), 1), 1)
		if r.Value.String() != want || r.Malformed != nil {
			t.Errorf("%q, %v, want %q", r.Value, r.Malformed, want)
		}
	}
}

func TestDateJSON(t *testing.T) {
	b, err := json.Marshal(struct {
		Set   Date `json:"set,omitzero"`
		Unset Date `json:"unset,omitzero"`
	}{Set: Date{2026, 1, 2}})
	if err != nil || string(b) != `{"set":"2026-01-02"}` {
		t.Errorf("%s, %v", b, err)
	}
	var d Date
	if err := json.Unmarshal([]byte(`"1958-07-12"`), &d); err != nil || d != (Date{1958, 7, 12}) || !d.Before(Date{1958, 7, 13}) {
		t.Errorf("%v, %v", d, err)
	}
	for _, bad := range []string{`"1958-13-01"`, `"1958-7-12"`, `"0000-01-01"`, `"19580712"`} {
		if json.Unmarshal([]byte(bad), &d) == nil {
			t.Errorf("%s is a date", bad)
		}
	}
}

func TestHistoricalBytes(t *testing.T) {
	for atr, want := range map[string]string{
		"3B6D000000814E43238697410100BF7C7A":         "00814E43238697410100BF7C7A",
		"3B8D800100814E43238697410100BF7C7A4B":       "00814E43238697410100BF7C7A", // what PC/SC makes of an ATS
		"3BFD11000081718000814E43238697410100BF7C7A": "",                           // TD says more than there is
		"3B6C000000814E43238697410100BF7C":           "",
		"3B6D0000":                                   "",
		"3B":                                         "",
		"":                                           "",
	} {
		b, _ := hex.DecodeString(atr)
		h, err := historical(b)
		if got := strings.ToUpper(hex.EncodeToString(h[:])); want != "" && (got != want || err != nil) || want == "" && err == nil {
			t.Errorf("%s: %s, %v", atr, got, err)
		}
	}
}
