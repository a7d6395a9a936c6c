package terminal_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"onecard/fault"
	"onecard/reader/pinpad"
	"onecard/reader/virtual"
	"onecard/terminal"
	"onecard/terminal/internal/deskbed"
)

// The reader's own pad verifies and changes the PIN on the card; every way in which
// an entry ends is told apart, and only a wrong PIN costs a try.
func TestReadersOwnPad(t *testing.T) {
	b := deskbed.New(t, deskbed.Options{Image: "3.0", Pad: pinpad.ReaderPad{}})
	b.Ready()
	if err := b.Service.VerifyPIN(t.Context(), "", nil); code(err) != fault.NoPINPad {
		t.Errorf("a reader without pad: %v", err)
	}
	var mu sync.Mutex
	var typed virtual.Typed
	if err := b.Reader.AttachPad(deskbed.Slot, func() virtual.Typed { mu.Lock(); defer mu.Unlock(); return typed }); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what   string
		typed  virtual.Typed
		change bool
		code   fault.Code
		left   int
	}{
		{"cancel", virtual.Typed{Cancel: true}, false, fault.PINCancelled, 6},
		{"nothing", virtual.Typed{Nothing: true}, false, fault.PINTimeout, 6},
		{"too short", virtual.Typed{PIN: "1234"}, false, fault.PINFormat, 6},
		{"wrong", virtual.Typed{PIN: "654321"}, false, fault.PINWrong, 5},
		{"new ones differ", virtual.Typed{PIN: deskbed.PIN, New: "918273", Again: "918274"}, true, fault.PINsDiffer, 5},
		{"change cancelled", virtual.Typed{Cancel: true}, true, fault.PINCancelled, 5},
		{"right", virtual.Typed{PIN: deskbed.PIN}, false, "", -1},
		{"changed", virtual.Typed{PIN: deskbed.PIN, New: "918273", Again: "918273"}, true, "", -1},
		{"the old one", virtual.Typed{PIN: deskbed.PIN}, false, fault.PINWrong, 5},
		{"the new one", virtual.Typed{PIN: "918273"}, false, "", -1},
	} {
		mu.Lock()
		typed = c.typed
		mu.Unlock()
		var err error
		if c.change {
			err = b.Service.ChangePIN(t.Context(), "", terminal.PINs{})
		} else {
			err = b.Service.VerifyPIN(t.Context(), "", nil)
		}
		if c.code == "" && err != nil || c.code != "" && code(err) != c.code {
			t.Errorf("%s: %v, want %s", c.what, err, c.code)
		}
		pin, err := b.Service.PINState(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if c.left >= 0 && (pin.TriesLeft == nil || *pin.TriesLeft != c.left) {
			t.Errorf("%s: %+v, want %d tries left", c.what, pin, c.left)
		}
		if pin.Phase != terminal.PINIdle {
			t.Errorf("%s: the phase is %q", c.what, pin.Phase)
		}
	}
	// A new PIN without the old one needs digits, which this pad does not give.
	if err := b.Service.ResetPIN(t.Context(), "", terminal.PINs{}); code(err) != fault.NoPINPad {
		t.Errorf("reset: %v", err)
	}
	noPIN(t, "the log", b.Log.String(), deskbed.PIN, "918273", "654321")
}

// An issuer's PINs may be longer or shorter, and of an odd number of digits: the card
// takes F after the last.
func TestReadersOwnPadWithOtherLengths(t *testing.T) {
	for _, pins := range [][2]string{{"4071836", "9182746"}, {"40718362", "91827465"}, {"407183629450", "918274650391"}} {
		b := deskbed.New(t, deskbed.Options{Image: "3.0", Pad: pinpad.ReaderPad{}, Digits: len(pins[0])})
		b.Ready()
		var mu sync.Mutex
		var typed virtual.Typed
		if err := b.Reader.AttachPad(deskbed.Slot, func() virtual.Typed { mu.Lock(); defer mu.Unlock(); return typed }); err != nil {
			t.Fatal(err)
		}
		person := func(p virtual.Typed) { mu.Lock(); defer mu.Unlock(); typed = p }
		if err := b.Service.ChangePIN(t.Context(), "", terminal.PINs{Old: []byte(deskbed.PIN), New: []byte(pins[0])}); err != nil {
			t.Fatal(err)
		}
		person(virtual.Typed{PIN: pins[0] + "0"})
		if err := b.Service.VerifyPIN(t.Context(), "", nil); code(err) != fault.PINFormat {
			t.Errorf("%d digits: one too many: %v", len(pins[0]), err)
		}
		person(virtual.Typed{PIN: pins[0]})
		if err := b.Service.VerifyPIN(t.Context(), "", nil); err != nil {
			t.Errorf("%d digits: %v", len(pins[0]), err)
		}
		person(virtual.Typed{PIN: pins[0], New: pins[1], Again: pins[1]})
		if err := b.Service.ChangePIN(t.Context(), "", terminal.PINs{}); err != nil {
			t.Errorf("%d digits: change: %v", len(pins[0]), err)
		}
		if err := b.Service.VerifyPIN(t.Context(), "", []byte(pins[1])); err != nil {
			t.Errorf("%d digits: the new one: %v", len(pins[0]), err)
		}
	}
}

// noPIN looks for PINs, in digits and as the card takes them, in hexadecimal and as
// bytes.
func noPIN(t *testing.T, where, text string, pins ...string) {
	t.Helper()
	if text == "" {
		t.Fatalf("%s is empty", where)
	}
	for _, pin := range pins {
		var packed []byte
		for i := 0; i < len(pin); i += 2 {
			packed = append(packed, (pin[i]-'0')<<4|(pin[i+1]-'0'))
		}
		if bytes.Contains([]byte(text), packed) {
			t.Errorf("%s holds the PIN as the card takes it", where)
		}
		// A number that happens to hold the digits is none: times, amounts, codes.
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return (r < '0' || r > '9') && (r < 'A' || r > 'F') && (r < 'a' || r > 'f') }) {
			if word == pin {
				t.Errorf("%s holds the PIN", where)
			}
		}
	}
}
