package serialsim

import "testing"

func TestParseFault(t *testing.T) {
	for text, want := range map[string]Fault{
		"nak":        {Kind: NAK},
		"nak:3":      {Kind: NAK, Times: 3},
		"stall@12":   {Kind: Stall, At: 12},
		"stale:2@40": {Kind: Stale, Times: 2, At: 40},
	} {
		if got, err := ParseFault(text); err != nil || got != want {
			t.Errorf("%s: %+v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "nak:", "nak:0", "nak@-1", "nak@x", "nak:1@", "nak@1:2"} {
		if got, err := ParseFault(text); err == nil {
			t.Errorf("%q is taken: %+v", text, got)
		}
	}
}

// What the reader makes of a message, byte for byte.
func TestMessages(t *testing.T) {
	r := New(Config{Firmware: "F"})
	for _, c := range []struct{ name, in, out string }{
		{"firmware", "\x6b\x01\x00\x00\x00\x00\x07\x00\x00\x00\x02", "\x83\x01\x00\x00\x00\x00\x07\x02\x00\x00F"},
		{"no card", "\x65\x00\x00\x00\x00\x00\x08\x00\x00\x00", "\x81\x00\x00\x00\x00\x00\x08\x02\x00\x00"},
		{"power without a card", "\x62\x00\x00\x00\x00\x00\x09\x00\x00\x00", "\x80\x00\x00\x00\x00\x00\x09\x42\xfe\x00"},
		{"another slot", "\x65\x00\x00\x00\x00\x01\x0a\x00\x00\x00", "\x81\x00\x00\x00\x00\x01\x0a\x42\x05\x00"},
		{"unknown", "\x7f\x00\x00\x00\x00\x00\x0b\x00\x00\x00", "\x81\x00\x00\x00\x00\x00\x0b\x42\x00\x00"},
	} {
		if _, got := r.handle([]byte(c.in)); string(got) != c.out {
			t.Errorf("%s: %x, want %x", c.name, got, c.out)
		}
	}
}

func TestPPS(t *testing.T) {
	for _, c := range []struct {
		bytes string
		is    bool
	}{{"\xff\x10\x95\x7a", true}, {"\xff\x00\xff", true}, {"\xff\x10\x95\x7b", false}, {"\xff\x10\x95", false}, {"\x00\x84\x00\x00\x08", false}} {
		if pps([]byte(c.bytes)) != c.is {
			t.Errorf("%x", c.bytes)
		}
	}
}
