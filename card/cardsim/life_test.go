package cardsim

import (
	"encoding/hex"
	"fmt"
	"testing"

	"onecard/card/keys"
)

// secured returns a command with MAC, for which it takes a challenge.
func (d *desk) secured(stk string, h keys.Header, data []byte) string {
	d.t.Helper()
	challenge := d.ok("0084000008")
	s, err := keys.NewSession(d.card.mem.algorithm(), d.cardKey(stk), challenge)
	if err != nil {
		d.t.Fatal(err)
	}
	command, err := s.Secure(h, data)
	if err != nil {
		d.t.Fatal(err)
	}
	return hex.EncodeToString(command)
}

func TestApplicationBlock(t *testing.T) {
	block := keys.Header{0x84, insAppBlock, 0, 1}
	d := newDesk(t, "3.0", nil)
	d.want("841E000104"+zeros(4), "6985") // the MF is no application
	d.ok(selectSSSE)
	d.ok("0020000003123456")
	d.ok("00A4000002DF04")
	d.want("841E000104"+zeros(4), "6984")
	d.want("841E000004"+zeros(4), "6A86")
	d.ok("0084000008")
	d.want("841E000104"+zeros(4), "6988")
	d.want(d.secured("STKDF04", block, nil), "6982")
	if got := d.prove("LKDF04"); got != "9000" {
		t.Fatal(got)
	}
	d.want(d.secured("STKDF04", block, []byte{1}), "6700")
	d.ok("B026000104")
	d.want(d.secured("STKDF04", block, nil), "9000")
	for _, command := range []string{"B026000104", "00B2014400", "0084000008", "B02800010B01000000010000000000000"} {
		if len(command)%2 == 0 {
			d.want(command, "9303")
		}
	}
	d.want("00A4000002DF04", "9303")
	d.want("00A4040006D15600000503", "9303")
	d.ok("00A4000002DF03") // the others live on
	d.card.PowerOn()
	d.ok(selectSSSE)
	d.want("00A4000002DF04", "9303") // for good
	d.ok("00A4000002DF01")
}

func TestCardBlock(t *testing.T) {
	d := newDesk(t, "2.0", nil)
	d.ok(selectSSSE)
	header := keys.Header{0x84, insCardBlock, 0, 0}
	d.want("8416010004"+zeros(4), "6A86")
	d.want(d.secured("STK", header, nil), "6982")
	if got := d.prove("BK"); got != "9000" {
		t.Fatal(got)
	}
	d.want(d.secured("STK", header, nil), "9000")
	for _, command := range []string{selectSSSE, "00A40000", "0084000008", "0020000003123456", "00B2012D00"} {
		d.want(command, "6A81")
	}
	d.card.PowerOn()
	d.want(selectSSSE, "6A81")
}

func TestSecureMessagingRequired(t *testing.T) {
	d := newDesk(t, "3.0", func(m map[string]any) { m["secure_messaging"] = []string{"DF03EF07", "SSSEEF08"} })
	d.ok(selectSSSE)
	if got := d.prove("UKSSSE"); got != "9000" {
		t.Fatal(got)
	}
	d.want("00D6880001AA", "6988")
	d.want(d.secured("STK", keys.Header{0x04, insUpdateBinary, 0x88, 0}, []byte{0xAA}), "9000")
	d.ok("00A4000002DF03")
	if got := d.prove("UK3DF03"); got != "9000" {
		t.Fatal(got)
	}
	d.want("00DC023C05"+"7103510100", "6988")
	d.want(d.secured("STKDF03", keys.Header{0x04, insUpdateRecord, 2, 0x3C}, []byte{0x71, 3, 0x51, 1, 0}), "9000")
}

func TestContactless(t *testing.T) {
	d := newDesk(t, "3.0", func(m map[string]any) { m["contactless"] = true })
	if got := hex.EncodeToString(d.card.ATS()); got != "127880a0020081544c968684510100035676" {
		t.Error(got)
	}
	atr := d.card.ATR()
	if got := hex.EncodeToString(atr); got[:26+8] != "3b8d80010081544c968684510100035676" {
		t.Error(got)
	}
	check := byte(0)
	for _, b := range atr[1:] {
		check ^= b
	}
	if check != 0 || len(atr) != 4+13+1 {
		t.Errorf("%X", atr)
	}
	d.ok(selectSSSE)
	if d := newDesk(t, "3.0", nil); d.card.ATS() != nil {
		t.Error("ATS without an antenna")
	}
	if d := newDesk(t, "3.0", nil, WithContactless()); len(d.card.PowerOn()) != 18 {
		t.Error("the option does nothing")
	}
	if _, err := ParseImage([]byte(`{"version":"2.0","historical_bytes":"00000000000000000000000000","identification_code":"000000D1560000050000000000000000","contactless":true}`)); err == nil {
		t.Error("a contactless 2.0 card")
	}
}

func TestLinearAppend(t *testing.T) {
	d := personalised(t, "3.0", 1)
	_ = d
	blank := newDesk(t, "3.0", nil, WithBlank())
	blank.ok("80E0000013 DDF1 01 03 7378312E73682EC9E7BBE1B1A3D5CF")
	blank.ok("80E001000E EF05 C6 000000 FFFFFF 00 0102 0201")
	blank.want("00B2010400", "6A83")
	blank.want("00DC022C0302013A", "6A83") // not before record 1
	blank.want("00DC012C040102AABB", "9000")
	blank.want("00DC022C03020131", "9000")
	blank.want("00DC032C03030131", "6A84") // no room
	blank.want("00DC022C0402023131", "6700")
	blank.want("00DC022C03030131", "6A80")
	blank.want("00DC022C03020231", "6A85")
	blank.want("00B2012D00", "0102AABB 020131 9000")
}

// personalised makes a card by commands, and checks each.
func personalised(t testing.TB, version string, certificates int) *desk {
	t.Helper()
	var edit func(map[string]any)
	if certificates > 0 && version == "3.0" {
		edit = func(m map[string]any) {
			withCertificates(m)
			m["certificates"].(map[string]any)["key"] = fmt.Sprintf("%064X", 0x1234567890)
			m["secure_messaging"] = []string{"DF01EF05"}
		}
	}
	d := newDesk(t, version, edit, WithBlank())
	img := imageOf(t, version, edit)
	commands, err := img.Commands()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		d.ok(hex.EncodeToString(c))
	}
	want, err := New(img)
	if err != nil {
		t.Fatal(err)
	}
	if eepromOf(t, d.card) != eepromOf(t, want) {
		t.Fatal("the card is not the one that the image makes")
	}
	return d
}

func TestPersonalisation(t *testing.T) {
	for _, version := range []string{"1.0", "2.0", "3.0"} {
		t.Run(version, func(t *testing.T) {
			d := personalised(t, version, 1)
			d.want("80E0020000", "6985") // there is no way back
			d.want("800E000000", "6985")
			d.want("80D4000014"+"02040103"+zeros(16), "6982")
			d.card.PowerOn()
			d.ok(selectSSSE)
			d.ok("0020000003123456")
			d.ok("00B2012D00")
		})
	}
}

func TestBlank(t *testing.T) {
	d := newDesk(t, "3.0", nil, WithBlank())
	if got := hex.EncodeToString(d.card.ATR()); got != "3b6d00000081544c968684510100035676" {
		t.Error(got)
	}
	d.want(selectSSSE, "6A82")
	d.ok("00A40000")
	d.want("80E0020000", "6985") // nobody's card
	d.want("80E0030000", "6A86")
	d.want("80E0000003DDF101", "6700")
	d.want("80E0000004AAAA0103", "6A80")
	d.want("80E0000004DF010203", "6A80") // the name is part of it
	d.want("80E000000ADF010203D15600000500", "6985")
	d.want("80E001000CEF05C400000000000000 0010", "6985")
	d.ok("80E0000013DDF101037378312E73682EC9E7BBE1B1A3D5CF")
	d.want("00A40000", "6F0483023F009000")
	d.want("80E0000013DDF101037378312E73682EC9E7BBE1B1A3D5CF", "6A89")
	d.ok(selectSSSE)
	d.want("0020000003123456", "6985") // no PIN yet
	d.want("80D4000007 0A000006 123A56", "6A80")
	d.want("80D4000007 0A000000 123456", "6A80")
	d.want("80D4000007 0A000010 123456", "6A80")
	d.ok("80D4000007 0A000006 123456")
	d.ok("0020000003123456")
	d.want("80D4000014 02990103"+zeros(16), "6A88")
	d.want("80D4000014 020A0403"+zeros(16), "6A88")
	d.want("80D4000013 020A0103"+zeros(15), "6700")
	d.ok("80D4000014 020A0103" + zeros(16))
	d.want("80E001000C EF05 C4 029900 000000 00 0010", "6A88")
	d.want("80E001000C 0005 C4 000000 000000 00 0010", "6A80")
	d.want("80E001000C EF05 C4 000000 000000 00 0000", "6A80")
	d.want("80E001000C EF05 C7 000000 000000 00 0010", "6A80")
	d.want("80E001000B EF05 C6 000000 000000 00 10", "6700")
	d.want("80E001000C EF05 C9 000000 000000 00 1010", "6A80")
	d.ok("80E001000C EF05 C4 000000 020A00 00 0010")
	d.want("80E001000C EF05 C4 000000 020A00 00 0010", "6A89")
	d.ok("00D6000001AA") // no conditions yet
	d.ok("80E0020000")
	d.ok("00B0000001")
	d.want("00D6000001AA", "6982")
	d = newDesk(t, "3.0", nil, WithBlank())
	d.ok("80E0000013DDF101037378312E73682EC9E7BBE1B1A3D5CF")
	d.ok("800E000000")
	d.want(selectSSSE, "6A82")

	img, err := ParseImage([]byte(`{"kind":"blank","historical_bytes":"0081544C968684510100035676"}`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(img)
	if err != nil {
		t.Fatal(err)
	}
	if eepromOf(t, c) != eepromOf(t, newDesk(t, "3.0", nil, WithBlank()).card) {
		t.Error("two blank cards differ")
	}
	if _, err := img.Commands(); err == nil {
		t.Error("commands for nobody")
	}
}

// TestInterruptedPersonalisation erases and begins again, as Commands says,
// at every write.
func TestInterruptedPersonalisation(t *testing.T) {
	img := imageOf(t, "1.0", nil)
	commands, err := img.Commands()
	if err != nil {
		t.Fatal(err)
	}
	whole := personalised(t, "1.0", 0)
	want := eepromOf(t, whole.card)
	blank := newDesk(t, "1.0", nil, WithBlank()).card
	for n, tear := range Tears(whole.card.Writes()) {
		if n%7 != 0 { // every phase meets every kind of command
			continue
		}
		d := &desk{t, blank.Clone()}
		d.card.TearAt(tear)
		for _, c := range commands {
			if d.card.Transmit(c) == nil {
				break
			}
		}
		d.card.PowerOn()
		if eepromOf(t, d.card) != want {
			d.ok("800E000000")
			for _, c := range commands {
				d.ok(hex.EncodeToString(c))
			}
		}
		if eepromOf(t, d.card) != want {
			t.Fatalf("%s: another card", tear)
		}
	}
}

func TestKeyReplacement(t *testing.T) {
	d := newDesk(t, "3.0", nil)
	d.ok(selectSSSE)
	d.ok("00A4000002DF04")
	replace := func(data []byte) string {
		challenge := d.ok("0084000008")
		s, err := keys.NewSession(keys.SM4, d.cardKey("STKDF04"), challenge)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := s.Encrypt(data)
		if err != nil {
			t.Fatal(err)
		}
		command, err := s.Secure(keys.Header{0x84, insWriteKey, 0, 0}, sealed)
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(command)
	}
	value := make([]byte, 16)
	d.want(replace(append([]byte{useExternal, 0x84, 1, 5}, value...)), "9000")
	if d.cardKey("RK1DF04") != (keys.Key{}) {
		t.Error("the old key")
	}
	if got := d.prove("RK1DF04"); got != "9000" {
		t.Error(got)
	}
	d.want(replace(append([]byte{useExternal, 0x99, 1, 5}, value...)), "6A88")
	d.want(replace([]byte{usePIN, 0, 0, 6, 0x12, 0x34}), "6985")
	d.ok("0084000008")
	d.want("84D4000014"+zeros(20), "6988")
}
