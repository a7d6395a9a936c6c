package pinpad

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"onecard/apdu"
	"onecard/fault"
)

// The structures byte by byte, in the order of PC/SC part 10, v2.02.09: bTimeOut,
// bTimeOut2, bmFormatString, bmPINBlockString, bmPINLengthFormat, then what the
// spaces separate, ulDataLength and the command.
func TestStructures(t *testing.T) {
	verify := Template{Command: apdu.Command{INS: 0x20, Data: []byte{0xFF, 0xFF, 0xFF}}, Digits: 6}
	change := Template{Command: apdu.Command{CLA: 0x80, INS: 0x5E, P1: 1, Data: []byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}}, Digits: 6, New: 4}
	for _, c := range []struct {
		name  string
		build func(Template) ([]byte, error)
		t     Template
		want  string
	}{
		{"verify", VerifyStructure, verify, "1919810300" + "0606" + "03" + "01" + "0408" + "00" + "000000" + "08000000" + "0020000003FFFFFF"},
		{"verify, not at the beginning", VerifyStructure,
			Template{Command: apdu.Command{INS: 0x20, Data: []byte{1, 0xFF, 0xFF, 0xFF, 0xFF}}, Digits: 8, Old: 1},
			"1919890400" + "0808" + "03" + "01" + "0408" + "00" + "000000" + "0A000000" + "002000000501FFFFFFFF"},
		{"verify, four digits", VerifyStructure,
			Template{Command: apdu.Command{INS: 0x20, Data: []byte{0xFF, 0xFF}}, Digits: 4},
			"1919810200" + "0404" + "03" + "01" + "0408" + "00" + "000000" + "07000000" + "0020000002FFFF"},
		{"verify, five digits", VerifyStructure,
			Template{Command: apdu.Command{INS: 0x20, Data: []byte{0xFF, 0xFF, 0xFF}}, Digits: 5},
			"1919810300" + "0505" + "03" + "01" + "0408" + "00" + "000000" + "08000000" + "0020000003FFFFFF"},
		{"verify, twelve digits", VerifyStructure,
			Template{Command: apdu.Command{INS: 0x20, Data: bytes.Repeat([]byte{0xFF}, 6)}, Digits: 12},
			"1919810600" + "0C0C" + "03" + "01" + "0408" + "00" + "000000" + "0B000000" + "0020000006FFFFFFFFFFFF"},
		{"modify, seven digits", ModifyStructure,
			Template{Command: apdu.Command{CLA: 0x80, INS: 0x5E, P1: 1, Data: bytes.Repeat([]byte{0xFF}, 9)}, Digits: 7, New: 5},
			"1919810400" + "00" + "05" + "0707" + "03" + "03" + "03" + "0408" + "000102" + "000000" + "0E000000" + "805E010009FFFFFFFFFFFFFFFFFF"},
		{"modify, twelve digits", ModifyStructure,
			Template{Command: apdu.Command{CLA: 0x80, INS: 0x5E, P1: 1, Data: bytes.Repeat([]byte{0xFF}, 13)}, Digits: 12, New: 7},
			"1919810600" + "00" + "07" + "0C0C" + "03" + "03" + "03" + "0408" + "000102" + "000000" + "12000000" + "805E01000D" + strings.Repeat("FF", 13)},
		{"modify", ModifyStructure, change, "1919810300" + "00" + "04" + "0606" + "03" + "03" + "03" + "0408" + "000102" + "000000" + "0C000000" + "805E010007FFFFFFFFFFFFFF"},
	} {
		got, err := c.build(c.t)
		if err != nil {
			t.Fatal(c.name, err)
		}
		want, err := hex.DecodeString(c.want)
		if err != nil {
			t.Fatal(err)
		}
		if hex.EncodeToString(got) != hex.EncodeToString(want) {
			t.Errorf("%s:\n got %X\nwant %X", c.name, got, want)
		}
	}
	for _, wrong := range []Template{
		{Command: verify.Command, Digits: 3}, {Command: verify.Command, Digits: 7}, {Command: verify.Command, Digits: 8},
		{Command: apdu.Command{INS: 0x20, Data: bytes.Repeat([]byte{0xFF}, 7)}, Digits: 13}, {Command: verify.Command, Digits: 6, Old: 1},
		{Command: verify.Command, Digits: 6, Old: -1}, {Command: apdu.Command{INS: 0x20}, Digits: 6},
	} {
		if _, err := VerifyStructure(wrong); !errors.Is(err, ErrLength) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}

// A controller of a test: answers by code.
type controller func(code uint32, data []byte) ([]byte, error)

func (c controller) Control(_ context.Context, code uint32, data []byte) ([]byte, error) {
	return c(code, data)
}

func TestOutcomesOfAReadersPad(t *testing.T) {
	broken := fault.New(fault.ReaderFault, "broken")
	template := Template{Command: apdu.Command{INS: 0x20, Data: []byte{0xFF, 0xFF, 0xFF}}, Digits: 6}
	for _, c := range []struct {
		name             string
		features, answer string
		failed           error // of the feature query
		want             error
		status           apdu.Status
	}{
		{"right", "060442330006", "9000", nil, nil, apdu.StatusOK},
		{"among others", "0102AABB" + "0A0442330001" + "060442330006", "63C5", nil, nil, 0x63C5},
		{"cancelled", "060442330006", "6401", nil, ErrCancelled, 0},
		{"nothing entered", "060442330006", "6400", nil, ErrTimeout, 0},
		{"differ", "060442330006", "6402", nil, ErrMismatch, 0},
		{"too short", "060442330006", "6403", nil, ErrLength, 0},
		{"cut short", "060442330006", "90", nil, apdu.ErrGarbage, 0},
		{"cannot verify", "070442330007", "9000", nil, ErrNone, 0},
		{"no features", "", "9000", nil, ErrNone, 0},
		{"features cut short", "06044233", "9000", nil, ErrNone, 0},
		{"does not know the question", "", "", broken, ErrNone, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := (ReaderPad{}).Verify(t.Context(), controller(func(code uint32, data []byte) ([]byte, error) {
				if code == FeatureRequest() {
					b, err := hex.DecodeString(c.features)
					return b, errors.Join(err, c.failed)
				}
				if code != 0x42330006 {
					t.Errorf("control code %08X", code)
				}
				return hex.DecodeString(c.answer)
			}), template)
			if !errors.Is(err, c.want) || c.want == nil && (err != nil || r.Status != c.status) {
				t.Errorf("%s, %v; want %s, %v", r.Status, err, c.status, c.want)
			}
		})
	}
}

func FuzzFeatures(f *testing.F) {
	for _, seed := range []string{"", "060442330006", "06044233", "0600", "FFFF"} {
		b, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		features, err := parseFeatures(answer)
		if err == nil && len(features) > len(answer)/2 {
			t.Errorf("%d features in %d bytes", len(features), len(answer))
		}
	})
}
