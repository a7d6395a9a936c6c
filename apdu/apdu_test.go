package apdu_test

import (
	"bytes"
	"errors"
	"testing"

	"onecard/apdu"
	"onecard/fault"

	"pgregory.net/rapid"
)

// commands draws commands of all four cases in both length forms.
func commands() *rapid.Generator[apdu.Command] {
	return rapid.Custom(func(t *rapid.T) apdu.Command {
		c := apdu.Command{
			CLA: rapid.Byte().Draw(t, "CLA"), INS: rapid.Byte().Draw(t, "INS"),
			P1: rapid.Byte().Draw(t, "P1"), P2: rapid.Byte().Draw(t, "P2"),
			Extended: rapid.Bool().Draw(t, "extended"),
		}
		n := rapid.SampledFrom([]int{0, 0, 1, 8, 254, 255, 256, 257, 65535}).Draw(t, "Lc")
		if n > 0 {
			c.Data = bytes.Repeat([]byte{rapid.Byte().Draw(t, "data")}, n)
		}
		c.Le = rapid.SampledFrom([]int{0, 0, 1, 255, 256, 257, 65535, 65536}).Draw(t, "Le")
		return c
	})
}

func TestCommandRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := commands().Draw(t, "command")
		b, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		back, err := apdu.ParseCommand(b)
		if err != nil {
			t.Fatalf("% X: %v", b, err)
		}
		want := c
		want.Extended = (c.Case() > 1) && (c.Extended || len(c.Data) > 255 || c.Le > 256)
		if back.CLA != want.CLA || back.INS != want.INS || back.P1 != want.P1 || back.P2 != want.P2 ||
			!bytes.Equal(back.Data, want.Data) || back.Le != want.Le || back.Extended != want.Extended {
			t.Fatalf("got %+v, want %+v", back, want)
		}
	})
}

func TestCommandForms(t *testing.T) {
	five := []byte{1, 2, 3, 4, 5}
	for _, test := range []struct {
		name string
		c    apdu.Command
		want string
	}{
		{"case 1", apdu.Command{CLA: 0x80, INS: 0x40}, "80400000"},
		{"case 1 is never extended", apdu.Command{INS: 0x40, Extended: true}, "00400000"},
		{"case 2 short", apdu.Command{INS: 0x84, Le: 8}, "0084000008"},
		{"case 2 short, all", apdu.Command{INS: 0xB2, P1: 1, P2: 0x2D, Le: apdu.MaxShortLe}, "00B2012D00"},
		{"case 2 extended", apdu.Command{INS: 0xB0, Le: 257}, "00B00000000101"},
		{"case 2 extended, all", apdu.Command{INS: 0xB0, Le: apdu.MaxExtendedLe}, "00B00000000000"},
		{"case 3 short", apdu.Command{INS: 0xDC, Data: five}, "00DC0000050102030405"},
		{"case 3 extended", apdu.Command{INS: 0xDC, Data: five, Extended: true}, "00DC00000000050102030405"},
		{"case 4 short", apdu.Command{INS: 0xA4, P1: 4, Data: five, Le: 256}, "00A4040005010203040500"},
		{"case 4 extended", apdu.Command{INS: 0xA4, P1: 4, Data: five, Le: 256, Extended: true}, "00A4040000000501020304050100"},
	} {
		b, err := test.c.Bytes()
		if err != nil || hexOf(b) != test.want {
			t.Errorf("%s: %X, %v; want %s", test.name, b, err, test.want)
		}
	}
}

func TestCommandRefused(t *testing.T) {
	for _, c := range []apdu.Command{
		{Data: make([]byte, 65536)}, {Le: -1}, {Le: 65537},
	} {
		if _, err := c.Bytes(); !errors.Is(err, apdu.ErrCommand) {
			t.Errorf("%d bytes, Le %d: %v", len(c.Data), c.Le, err)
		}
	}
	for _, text := range []string{
		"", "00A404", "00A40400050102", "00A404000501020304050607",
		"00B000000001", "00DC000000000501020304", "00DC0000000005010203040506", "00DC0000000000FF",
	} {
		if _, err := apdu.ParseCommand(unhex(t, text)); !errors.Is(err, apdu.ErrCommand) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestResponse(t *testing.T) {
	r, err := apdu.ParseResponse(unhex(t, "0102039000"))
	if err != nil || hexOf(r.Data) != "010203" || r.Status != apdu.StatusOK {
		t.Fatalf("%+v, %v", r, err)
	}
	if hexOf(r.Bytes()) != "0102039000" {
		t.Errorf("%X", r.Bytes())
	}
	for _, short := range []string{"", "90"} {
		_, err := apdu.ParseResponse(unhex(t, short))
		if !errors.Is(err, apdu.ErrShortResponse) || !errors.Is(err, apdu.ErrGarbage) || fault.Of(err).Code != fault.CardGarbage {
			t.Errorf("%q: %v", short, err)
		}
	}
	if _, err := apdu.ParseResponse(make([]byte, 65539)); !errors.Is(err, apdu.ErrGarbage) {
		t.Errorf("too long: %v", err)
	}
}

func TestStatus(t *testing.T) {
	for _, test := range []struct {
		s    apdu.Status
		text string
		err  error
	}{
		{0x9000, "9000 normal processing", nil},
		{0x6982, "6982 security status not satisfied", apdu.ErrSecurityStatus},
		{0x63C2, "63C2 verification failed, 2 tries left", apdu.ErrWrongPIN},
		{0x63C0, "63C0 verification failed, 0 tries left", apdu.ErrWrongPIN},
		{0x6983, "6983 PIN or key blocked", apdu.ErrBlocked},
		{0x6A82, "6A82 file or application not found", apdu.ErrNotFound},
		{0x6A83, "6A83 record not found", apdu.ErrRecordNotFound},
		{0x9303, "9303 application permanently blocked", apdu.ErrAppBlocked},
		{0x6A81, "6A81 card blocked or function not supported", apdu.ErrCardBlocked},
		{0x6988, "6988 secure messaging data wrong", apdu.ErrMAC},
		{0x9302, "9302 transaction MAC wrong", apdu.ErrMAC},
		{0x6C10, "6C10 wrong Le, exactly 16 bytes available", apdu.ErrWrongLength},
		{0x6100, "6100 256 more bytes available", apdu.ErrRefused},
		{0x1234, "1234 unknown status", apdu.ErrRefused},
	} {
		if test.s.String() != test.text {
			t.Errorf("%q, want %q", test.s.String(), test.text)
		}
		err := test.s.Err()
		if (err == nil) != (test.err == nil) || !errors.Is(err, test.err) {
			t.Errorf("%s: %v", test.text, err)
		}
	}
	var status *apdu.StatusError
	if err := apdu.Status(0x63C4).Err(); !errors.As(err, &status) {
		t.Fatal("no StatusError")
	}
	if n, ok := status.TriesLeft(); !ok || n != 4 {
		t.Errorf("tries left: %d, %t", n, ok)
	}
}

// Whatever the status word, its error can be shown to a person.
func TestEveryStatusHasAFault(t *testing.T) {
	for s := range 0x10000 {
		err := apdu.Status(s).Err()
		if (err == nil) != (s == 0x9000) {
			t.Fatalf("%04X: %v", s, err)
		}
		if err != nil && fault.Of(err).Code == fault.Internal {
			t.Fatalf("%04X: no code of its own", s)
		}
	}
}
