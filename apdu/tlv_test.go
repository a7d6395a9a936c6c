package apdu_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"onecard/apdu"

	"pgregory.net/rapid"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func hexOf(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }

func TestSimpleTLVRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b []byte
		list := rapid.SliceOf(rapid.Custom(func(t *rapid.T) apdu.TLV {
			n := rapid.SampledFrom([]int{0, 1, 18, 254, 255, 256, 65535}).Draw(t, "length")
			return apdu.TLV{
				Tag:   rapid.ByteRange(1, 0xFE).Draw(t, "tag"),
				Value: bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, n),
			}
		})).Draw(t, "list")
		for _, o := range list {
			b = append(b, make([]byte, rapid.IntRange(0, 2).Draw(t, "padding"))...)
			var err error
			if b, err = apdu.AppendSimpleTLV(b, o); err != nil {
				t.Fatal(err)
			}
		}
		back, err := apdu.ParseSimpleTLV(b)
		if err != nil || len(back) != len(list) {
			t.Fatalf("%d of %d, %v", len(back), len(list), err)
		}
		for i := range list {
			if back[i].Tag != list[i].Tag || !bytes.Equal(back[i].Value, list[i].Value) {
				t.Fatalf("%d: %02X", i, back[i].Tag)
			}
		}
	})
}

func TestSimpleTLVMalformed(t *testing.T) {
	for text, whole := range map[string]int{"08": 0, "0801": 0, "080201": 0, "08FF": 0, "08FF01": 0, "08FF0001": 0, "0801AA0902BB": 1} {
		list, err := apdu.ParseSimpleTLV(unhex(t, text))
		if !errors.Is(err, apdu.ErrTLV) || !errors.Is(err, apdu.ErrGarbage) || len(list) != whole {
			t.Errorf("%s: %d whole, %v", text, len(list), err)
		}
	}
	for _, o := range []apdu.TLV{{Tag: 0}, {Tag: 0xFF}, {Tag: 1, Value: make([]byte, 65536)}} {
		if _, err := apdu.AppendSimpleTLV(nil, o); !errors.Is(err, apdu.ErrTLV) {
			t.Errorf("%02X: %v", o.Tag, err)
		}
	}
}

const sm4FCI = "6F1C 840F 7378312E73682EC9E7BBE1B1A3D5CF A509 880105 9F0C03 860103"

func TestFCI(t *testing.T) {
	f, err := apdu.ParseFCI(unhex(t, sm4FCI[:4]+sm4FCI[4:]))
	if err != nil {
		t.Fatal(err)
	}
	if hexOf(f.Name) != "7378312E73682EC9E7BBE1B1A3D5CF" || f.SFI != 5 || f.Algorithm != 3 {
		t.Errorf("%+v", f)
	}
	for text, want := range map[string]byte{
		"6F00":                           0, // nothing said
		"6F05 A503 880105":               0, // no 9F0C
		"6F06 A504 9F0C01 FF":            0, // issuer's data that is no TLV for us
		"6F07 A505 9F0C02 8601":          0, // cut short inside the issuer's data
		"6F08 A506 9F0C03 860102":        2,
		"6F09 A507 9F0C04 86020103":      0, // not one byte
		"6F08 A506 9F0C03 860101 0000FF": 1, // padding behind
	} {
		f, err := apdu.ParseFCI(unhex(t, text))
		if err != nil || f.Algorithm != want {
			t.Errorf("%s: algorithm %d, %v", text, f.Algorithm, err)
		}
	}
	for _, text := range []string{"", "84023F00", "6F05 8401", "6F8301000000", "6F80 0000", "9F", "1F818181818101", "6F04 84 05 01 02", "6F03 A50288"} {
		if _, err := apdu.ParseFCI(unhex(t, text)); !errors.Is(err, apdu.ErrTLV) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestBERFind(t *testing.T) {
	list, err := apdu.ParseBER(unhex(t, sm4FCI))
	if err != nil || len(list) != 1 {
		t.Fatalf("%d, %v", len(list), err)
	}
	if o, ok := list[0].Find(0xA5, 0x9F0C, 0x86); !ok || hexOf(o.Value) != "03" {
		t.Errorf("algorithm: %X, %t", o.Value, ok)
	}
	if _, ok := list[0].Find(0xA5, 0x50); ok {
		t.Error("found a label that is not there")
	}
	if _, ok := list[0].Find(0x84, 0x01); ok {
		t.Error("found something in the name")
	}
	long, err := apdu.ParseBER(append(unhex(t, "5F2D820100"), make([]byte, 256)...))
	if err != nil || len(long) != 1 || long[0].Tag != 0x5F2D || len(long[0].Value) != 256 {
		t.Errorf("long form: %v", err)
	}
}
