package cardsim

import (
	"bytes"
	"strings"
	"testing"
)

func TestQuirks(t *testing.T) {
	for _, test := range []struct {
		quirk   Quirk
		version string
		do      func(d *desk)
	}{
		{QuirkMode5Parameters, "3.0", func(d *desk) { d.ok(selectSSSE); d.want("00B2012D00", "6A86"); d.ok("00B2012C00") }},
		{QuirkMode5Structure, "3.0", func(d *desk) { d.ok(selectSSSE); d.want("00B2012D00", "6981"); d.ok("00B2012C00") }},
		{QuirkGetResponse, "3.0", func(d *desk) {
			d.want(selectSSSE, "611E")
			d.want("00C0000010", "6F1C 840F7378312E73682EC9E7BBE1B1 610E")
			d.want("00C0010000", "6A86")
			d.want("00C000000E", "A3D5CFA5098801019F0C038601039000")
			d.want("00C0000000", "6985")
			d.want(selectSSSE, "611E")
			d.ok("00A4020002EF05") // another command: the answer is lost
			d.want("00C000001E", "6985")
			d.ok("00B2030400") // no data sent: the answer comes at once
			d.want("0088000010"+zeros(16), "6108")
		}},
		{QuirkStrictLe, "3.0", func(d *desk) {
			d.ok(selectSSSE)
			d.want("00B2032C00", "6C06")
			d.want("00B2032C20", "6C06")
			d.want("00B2032C06", "0304 332E3030 9000")
		}},
		{QuirkSelectP1Zero, "2.0", func(d *desk) {
			d.ok(selectSSSE)
			d.want("00A4020002EF05", "6A86")
			d.ok("00A4000002EF05")
			d.ok("00B2010400")
		}},
		{QuirkSpacePadded, "2.0", func(d *desk) {
			d.ok(selectSSSE)
			d.want("00B2023400", "091E D5C5C8FD"+strings.Repeat("20", 26)+"9000")
			d.want("00B2033400", "4E14"+zeros(20)+"9000") // unset stays unset
			d.ok("0020000003123456")
			d.ok("00A4000002DF01")
			d.want("00B202AC00", "4034 5703343038 5803080200 5928"+
				"D6A3D6DDD1F9C0FDB9A4D1A7D4BA"+strings.Repeat("20", 26)+"9000") // in a template too
		}},
		{QuirkRootSSSE, "1.0", func(d *desk) {
			d.ok("00B2032C00") // SSSE is there without a selection
			d.want("00A4000002DDF1", "6A82")
			d.ok("00A4000002DF03")
			d.want("00A40000", "6F16 840F7378312E73682EC9E7BBE1B1A3D5CF A503 880101 9000")
			d.ok("00B2032C00")
		}},
		{QuirkEndless61, "3.0", func(d *desk) {
			d.want(selectSSSE, "6110")
			for range 100 {
				d.want("00C0000010", zeros(16)+"6110")
			}
		}},
		{QuirkEndless6C, "3.0", func(d *desk) { d.want(selectSSSE, "6C10"); d.want("00B2010410", "6C10") }},
		{QuirkGarbage, "3.0", func(d *desk) {
			if n := len(d.send(selectSSSE)); n != 2*258 {
				d.t.Errorf("%d digits", n)
			}
		}},
		{QuirkShort, "3.0", func(d *desk) { d.want(selectSSSE, "90") }},
		{QuirkMute, "3.0", func(d *desk) {
			if atr := d.card.PowerOn(); atr != nil {
				d.t.Errorf("%x", atr)
			}
			d.want(selectSSSE, "6F00")
		}},
		{QuirkSSF33, "2.0", func(d *desk) {
			if !bytes.Contains(d.ok(selectSSSE), []byte{0x86, 1, 2}) {
				d.t.Error("FCI without SSF33")
			}
			d.want("0088000010"+zeros(16), "6A88")
		}},
		{QuirkAppBlocked, "3.0", func(d *desk) {
			d.want(selectSSSE, "9303")
			d.want("00A4040006D15600000503", "9303")
			d.ok("00A40000")
		}},
		{QuirkCardBlocked, "3.0", func(d *desk) { d.want(selectSSSE, "6A81"); d.want("00A40000", "6A81") }},
		{QuirkNotGenuine, "2.0", func(d *desk) { d.ok(selectSSSE); d.ok("0088000010" + zeros(16)) }},
		{QuirkPINBlocked, "2.0", func(d *desk) { d.ok(selectSSSE); d.want("0020000003123456", "6983") }},
	} {
		t.Run(string(test.quirk), func(t *testing.T) {
			test.do(newDesk(t, test.version, nil, WithQuirks(test.quirk)))
		})
	}
}

func TestQuirkList(t *testing.T) {
	for _, q := range Quirks() {
		if got, err := ParseQuirk(string(q.Quirk)); err != nil || got != q.Quirk {
			t.Error(q.Quirk, err)
		}
		if q.Description == "" || strings.Contains(q.Description, "\n") {
			t.Errorf("%s: %q", q.Quirk, q.Description)
		}
	}
	if _, err := ParseQuirk("nonsense"); err == nil {
		t.Error("a quirk that is none")
	}
	img, err := Example("3.0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(img, WithQuirks("nonsense")); err == nil {
		t.Error("a card with a quirk that is none")
	}
}
