package reader_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"onecard/fault"
	"onecard/reader"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseATR(t *testing.T) {
	for _, test := range []struct {
		name, atr, historical string
		protocols             []byte
		groups                int
	}{
		{"a social security card", "3B6D000000814E43238697410100BF7C7A", "00814E43238697410100BF7C7A", []byte{0}, 1},
		{"nothing but TS and T0", "3B00", "", []byte{0}, 0},
		{"T=1, TCK", "3B8001" + "81", "", []byte{1}, 1},
		{"T=0 and T=1", "3B80800101", "", []byte{0, 1}, 2},
		{"T=1 and global bytes", "3B80811F03" + "1D", "", []byte{1}, 3},
		{"inverse convention", "3F020102", "0102", []byte{0}, 0},
	} {
		a, err := reader.ParseATR(unhex(t, test.atr))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if !bytes.Equal(a.Historical, unhex(t, test.historical)) || !bytes.Equal(a.Protocols(), test.protocols) || len(a.Interface) != test.groups {
			t.Errorf("%s: %+v, protocols %v", test.name, a, a.Protocols())
		}
	}
	for name, atr := range map[string]string{
		"empty": "", "one byte": "3B", "no TS": "0000", "cut in the interface bytes": "3BF011",
		"cut in the historical bytes": "3B050102", "too much": "3B00FF", "TCK wrong": "3B800180", "TCK missing": "3B8001",
		"longer than 33": "3B" + hex.EncodeToString(make([]byte, 33)),
	} {
		if _, err := reader.ParseATR(unhex(t, atr)); !errors.Is(err, reader.ErrATR) || fault.Of(err).Code != fault.CardGarbage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseATR(f *testing.F) {
	for _, s := range []string{"3B6D000000814E43238697410100BF7C7A", "3B80811F03", "3F020102", "3BF01100", "3B80018180"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := reader.ParseATR(b)
		if err != nil {
			if !errors.Is(err, reader.ErrATR) {
				t.Fatal(err)
			}
			return
		}
		if len(a.Historical) > 15 || len(a.Protocols()) == 0 {
			t.Fatalf("%+v", a)
		}
		// Every byte belongs to something.
		n := 2 + len(a.Historical)
		for _, g := range a.Interface {
			for _, v := range []int{g.TA, g.TB, g.TC, g.TD} {
				if v >= 0 {
					n++
				}
			}
		}
		if a.Check {
			n++
		}
		if n != len(b) {
			t.Fatalf("%d of %d bytes", n, len(b))
		}
	})
}
