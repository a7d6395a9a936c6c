package transport

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// A frame survives the line, whatever its data, and whatever follows it.
func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := frame{
			addr: rapid.ByteRange(0, 15).Draw(t, "addr"), kind: rapid.Byte().Draw(t, "kind"),
			cm: rapid.Byte().Draw(t, "cm"), pm: rapid.Byte().Draw(t, "pm"),
			data: rapid.SliceOfN(rapid.Byte(), 0, maxData).Draw(t, "data"),
		}
		b, err := f.marshal()
		if err != nil || len(b) > maxFrame {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		rest := rapid.SliceOf(rapid.Byte()).Draw(t, "rest")
		got, n, err := parseFrame(append(bytes.Clone(b), rest...))
		if err != nil || n != len(b) || got.addr != f.addr || got.kind != f.kind || got.cm != f.cm || got.pm != f.pm || !bytes.Equal(got.data, f.data) {
			t.Fatalf("%+v, %d, %v", got, n, err)
		}
		// Every beginning is incomplete, every changed bit is noticed.
		cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
		if _, _, err := parseFrame(b[:cut]); !errors.Is(err, errIncomplete) {
			t.Fatalf("%d of %d bytes: %v", cut, len(b), err)
		}
		b[rapid.IntRange(0, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, _, err := parseFrame(b); err == nil {
			t.Fatal("a wrong bit is not noticed")
		}
	})
}

// Noise before a frame does not hide it.
func TestFrameInNoise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := frame{kind: kindSuccess, cm: 0x31, pm: '0', data: rapid.SliceOfN(rapid.Byte(), 3, 40).Draw(t, "data")}
		b, err := f.marshal()
		if err != nil {
			t.Fatal(err)
		}
		noise := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "noise")
		if _, found := findFrame(noise); found {
			return
		}
		got, found := findFrame(append(noise, b...))
		if !found || !bytes.Equal(got.data, f.data) && !bytes.Contains(noise, []byte{stx}) {
			t.Fatalf("%v, %+v", found, got)
		}
	})
}

func TestFrameIsBounded(t *testing.T) {
	if _, err := (frame{data: make([]byte, maxData+1)}).marshal(); err == nil {
		t.Error("more than 1024 bytes are made")
	}
	b, err := frame{data: make([]byte, maxData)}.marshal()
	if err != nil || len(b) != 1024 {
		t.Errorf("%d, %v", len(b), err)
	}
	for _, b := range [][]byte{{stx, 0, 0, 2}, {stx, 0, 3, 0xFB}, {stx, 0, 0xFF, 0xFF}, {stx, 0x10}, {0}} {
		if _, _, err := parseFrame(b); !errors.Is(err, errFrame) {
			t.Errorf("% X: %v", b, err)
		}
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add([]byte{stx, 0, 0, 6, 'P', 0x31, '0', '0', '2', '0', etx, 0x94})
	f.Add([]byte{stx, 0, 0, 5, 'N', 0x32, '0', '1', '0', etx, 0x87, stx, stx})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, n, err := parseFrame(b); err == nil {
			again, err := got.marshal()
			if err != nil || !bytes.Equal(again, b[:n]) {
				t.Errorf("% X is read and written as % X, %v", b[:n], again, err)
			}
		}
		findFrame(b)
	})
}

func FuzzContactlessATR(f *testing.F) {
	f.Add([]byte{'A', 4, 0, 4, 1, 2, 3, 4, 0x20, 5, 0x78, 0x80, 0x70, 2})
	f.Add([]byte{'B', 0x50, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})
	f.Fuzz(func(t *testing.T, b []byte) {
		atr, _, err := contactlessATR(b)
		if err == nil && (len(atr) < 5 || len(atr) > 33) {
			t.Errorf("% X", atr)
		}
	})
}
