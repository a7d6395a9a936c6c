package cardsim

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"onecard/apdu"
	"onecard/card/keys"
)

// A desk is what a test has of a terminal: a powered card and hex digits.
type desk struct {
	t    testing.TB
	card *Card
}

const selectSSSE = "00A404000F7378312E73682EC9E7BBE1B1A3D5CF"

// newDesk powers a card up that is made from an example image, changed by
// edit.
func newDesk(t testing.TB, version string, edit func(m map[string]any), opts ...Option) *desk {
	t.Helper()
	c, err := New(imageOf(t, version, edit), opts...)
	if err != nil {
		t.Fatal(err)
	}
	c.PowerOn()
	return &desk{t, c}
}

// imageOf returns an example image, changed by edit.
func imageOf(t testing.TB, version string, edit func(m map[string]any)) *Image {
	t.Helper()
	b, err := images.ReadFile("images/" + version + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		edit(m)
		if b, err = json.Marshal(m); err != nil {
			t.Fatal(err)
		}
	}
	img, err := ParseImage(b)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// send transmits hex digits (spaces allowed) and returns the answer as
// upper-case hex digits.
func (d *desk) send(command string) string {
	d.t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(command, " ", ""))
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.ToUpper(hex.EncodeToString(d.card.Transmit(b)))
}

func (d *desk) want(command, answer string) {
	d.t.Helper()
	if got := d.send(command); got != strings.ReplaceAll(answer, " ", "") {
		d.t.Errorf("%s: got %s, want %s", command, got, answer)
	}
}

// ok sends a command that must succeed and returns the data.
func (d *desk) ok(command string) []byte {
	d.t.Helper()
	got := d.send(command)
	if !strings.HasSuffix(got, "9000") {
		d.t.Fatalf("%s: got %s, want 9000", command, got)
	}
	b, err := hex.DecodeString(got[:len(got)-4])
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

// prove authenticates with a test key, as a PSAM or an HSM does.
func (d *desk) prove(key string) string {
	d.t.Helper()
	challenge := d.ok("0084000008")
	return d.send(d.external(key, 1, challenge))
}

func (d *desk) external(key string, version byte, challenge []byte) string {
	d.t.Helper()
	id, ok := keys.KeyID(key)
	if !ok {
		d.t.Fatal("no key", key)
	}
	raw := [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
	auth, err := keys.ExternalAuth(d.card.mem.algorithm(), d.card.mem.keys[keyID{key, version}], challenge, raw)
	if err != nil {
		d.t.Fatal(err)
	}
	data := hex.EncodeToString(auth[:]) + hex.EncodeToString(raw[:])
	if version == 1 {
		return "008200" + hex.EncodeToString([]byte{id, 0x10}) + data
	}
	return "008200" + hex.EncodeToString([]byte{id, 0x11}) + data + hex.EncodeToString([]byte{version})
}

func TestATR(t *testing.T) {
	d := newDesk(t, "3.0", nil)
	if got := hex.EncodeToString(d.card.PowerOn()); got != "3b6d00000081544c968684510100035676" {
		t.Error(got)
	}
	d.card.PowerOff()
	d.want(selectSSSE, "6F00")
}

func TestSelect(t *testing.T) {
	const fci3 = "6F1C 840F7378312E73682EC9E7BBE1B1A3D5CF A509 880101 9F0C03 860103 9000"
	d := newDesk(t, "3.0", nil)
	d.want("00A4020002EF05", "6A82") // MF has no EF
	d.want("00A4000002DF01", "6A82") // not from the MF
	d.want(selectSSSE, fci3)
	d.want(selectSSSE+"00", fci3)
	d.want("00A4000002DDF1", fci3)
	d.want("00A40402"+selectSSSE[8:], "6A82")
	d.want("00A4040007A0000003330101", "6A82")
	d.want("00A4040E0E315041592E5359532E4444463031", "6A86")
	d.want("00A404000E315041592E5359532E4444463031", "6A82")
	d.want("00A4020002EF05", "9000")
	d.want("00A4000002EF06", "9000")
	d.want("00A4020002EF09", "6A82")
	d.want("00A40200", "6700")
	d.want("00A4010002EF05", "6A86")
	d.want("00A4020C02EF05", "6A86")
	d.want("00A4000002DF03", "6F10 8406D15600000502 A506 9F0C03 860103 9000")
	d.want("00A4040006D15600000503", "6F10 8406D15600000503 A506 9F0C03 860103 9000")
	d.want("00A4000002DF05", "6A82") // optional, not on this card
	d.want("00A40000", "6F0483023F00 9000")
	d.want("00A40000023F00", "6F0483023F00 9000")
	d.want(selectSSSE+"10", "6C1E")

	d = newDesk(t, "1.0", nil)
	d.want(selectSSSE, "6F16 840F7378312E73682EC9E7BBE1B1A3D5CF A503 880101 9000")
	d.want("00A4000002DF07", "6A82")
	d.want("00A4000002DF03", "6F08 8406D15600000502 9000")
}

func TestCommandForm(t *testing.T) {
	d := newDesk(t, "3.0", nil)
	d.want("00", "6700")
	d.want("00A404", "6700")
	d.want("00A4040010AA", "6700")            // Lc beyond the end
	d.want("00B2010C000100", "6700")          // extended Le
	d.want("01A40000", "6E00")                // class
	d.want("00990000", "6D00")                // instruction
	d.want("80A40000", "6E00")                // class of another instruction
	d.want("00C0000000", "6985")              // nothing waits
	d.want("00B2010400", "6986")              // no current EF
	d.want("00B2010C00", "6A82")              // SFI 1 of the MF
	d.want("00B0000010", "6986")              //
	d.want("00200000", "6985")                // no PIN in the MF
	d.want("0088000010"+zeros(16), "6A88")    // no IRK in the MF
	d.want("0082000A10"+zeros(16), "6A88")    //
	d.want(strings.Repeat("00", 300), "6700") // longer than any command
}

func zeros(n int) string { return strings.Repeat("00", n) }

func TestReadRecord(t *testing.T) {
	d := newDesk(t, "3.0", nil)
	d.ok(selectSSSE)
	d.ok("00A4020002EF05")
	d.want("00B2030400", "0304 332E3030 9000")
	d.want("00B2030406", "0304 332E3030 9000")
	d.want("00B2030402", "6C06")
	d.want("00B2032C00", "0304 332E3030 9000") // by SFI 5
	d.want("00B2032C", "0304 332E3030 9000")   // without Le
	d.want("00B2080400", "6A83")
	d.want("00B2000400", "6A83") // no current record
	d.want("00B2050000", "0504 20210618 9000")
	d.want("00B2000400", "0504 20210618 9000")
	d.want("00B2000200", "0604 20310618 9000") // next
	d.want("00B2000300", "0504 20210618 9000") // previous
	d.want("00B2000300", "040C 915600000251010051010001 9000")
	d.want("00B2050200", "0504 20210618 9000") // next with identifier
	d.want("00B2050200", "6A83")
	d.want("00B2000100", "0709 423531303030303335 9000") // last
	d.want("00B2000700", "6A86")
	d.want("00B201FC00", "6A86")
	d.want("00B2060500", "0604203106180709423531303030303335 9000")
	d.want("00B2060600", "07094235313030303033350604203106189000")
	all := d.ok("00B2010500")
	if len(all) != 16+1+4+12+4+4+9+7*2 {
		t.Errorf("EF05 has %d bytes", len(all))
	}
	if b := d.ok("00B2010520"); len(b) != 18+3+6 { // whole records that fit into Le
		t.Errorf("mode 5 with Le 20: %d bytes", len(b))
	}
	d.want("00B2010504", "6C12")
	d.want("00B0000000", "6981")
	d.want("00B2060400 00", "6700")
}

func TestMode5NeverSplits(t *testing.T) {
	d := newDesk(t, "2.0", nil)
	d.ok(selectSSSE)
	d.ok("0020000003123456")
	d.ok("00A4000002DF02")
	var got []byte
	answers := 0
	for n := 1; n <= 6; answers++ {
		b := d.ok("00B2" + hex.EncodeToString([]byte{byte(n), 0x2D, 0}))
		if len(b) > 256 {
			t.Fatalf("%d bytes", len(b))
		}
		got = append(got, b...)
		items, err := apdu.ParseSimpleTLV(b)
		if err != nil || len(items) == 0 {
			t.Fatal(err)
		}
		n += len(items)
	}
	if len(got) != 5+5+2*110+2*103 || answers != 2 {
		t.Errorf("%d bytes in %d answers", len(got), answers)
	}
}

func TestCyclic(t *testing.T) {
	d := newDesk(t, "3.0", nil)
	d.ok(selectSSSE)
	d.ok("0020000003123456")
	d.ok("00A4000002DF04")
	d.want("00B2014400", "0003 32 510100000101 20260914102137 00000E60 000004E2 00003A16 9000")
	d.want("00B2044400", "6A83")
	d.want("00B201AC00", "0001 39 9000")
	d.want("00DC00431C"+zeros(28), "6982") // the card writes these itself
	if got := d.prove("UK2DF04"); got != "9000" {
		t.Fatal(got)
	}
	d.want("00DC00AB03 000231", "9000") // EF15: append
	d.want("00DC01AC03 000231", "6A86") // not by number
	d.want("00DC00AB04 00023100", "6700")
	d.want("00B200A900", "000139 9000") // the oldest, now record 2
	for i := range 9 {
		d.want("00DC00AB03 00"+hex.EncodeToString([]byte{byte(0x10 + i)})+"32", "9000")
	}
	if b := d.ok("00B201AD00"); len(b) != 8*3 || b[1] != 0x18 {
		t.Errorf("%x", b) // the oldest are gone
	}
	d.card.PowerOff()
	d.card.PowerOn()
	d.ok(selectSSSE)
	d.ok("0020000003123456")
	d.ok("00A4000002DF04")
	d.want("00B201AC00", "001832 9000")
}

func TestUpdateRecord(t *testing.T) {
	d := newDesk(t, "3.0", nil)
	d.ok(selectSSSE)
	d.ok("0020000003123456")
	d.ok("00A4000002DF03")
	d.ok("00A4020002EF07")
	const rec2 = "7103410100"
	d.want("00DC020405"+rec2, "6982")
	if got := d.prove("UK3DF03"); got != "9000" {
		t.Fatal(got)
	}
	d.want("00DC0204067103410100FF", "6700")
	d.want("00DC0204057003410100", "6A80")
	d.want("00DC0204057102410100", "6A85")
	d.want("00DC020405"+rec2, "9000")
	d.want("00DC090405"+rec2, "6A84")
	d.want("00B2020400", rec2+"9000")
	d.want("00DC710005 7103510100", "9000") // by identifier
	d.want("00DC710505 7103510100", "6A86")
	// Secured: a MAC under STKDF03 and the challenge.
	challenge := d.ok("0084000008")
	s, err := keys.NewSession(keys.SM4, d.card.mem.keys[keyID{"STKDF03", 1}], challenge)
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := s.Secure(keys.Header{0x04, 0xDC, 2, 4}, []byte{0x71, 3, 0x33, 0x01, 0x00})
	if err != nil {
		t.Fatal(err)
	}
	secured := hex.EncodeToString(cmd)
	d.want(secured, "9000")
	d.want("00B2020400", "7103330100 9000")
	d.want(secured, "6984") // the challenge is used up
	d.ok("0084000008")
	d.want(secured, "6988")
	d.want(secured, "6984")
}

func TestBinary(t *testing.T) {
	d := newDesk(t, "3.0", func(m map[string]any) {
		m["files"].(map[string]any)["SSSEEF08"] = "hex:FFD8FFE0"
	})
	d.ok(selectSSSE)
	d.want("00B0880004", "6982")
	if got := d.prove("RKSSSE"); got != "9000" {
		t.Fatal(got)
	}
	d.want("00B0880004", "FFD8FFE0 9000")
	d.want("00B0000203", "FFE000 9000")
	if b := d.ok("00B00F8000"); len(b) != 128 {
		t.Errorf("%d bytes at the end of the photo", len(b))
	}
	d.want("00B0100001", "6B00")
	d.want("00B2010400", "6981")
	d.want("00B0E80001", "6A86")
	d.want("00B0850001", "6981")
	d.want("00D6000001AA", "6982")
	if got := d.prove("UKSSSE"); got != "9000" {
		t.Fatal(got)
	}
	d.want("00D60FFF02AAAA", "6A84")
	d.want("00D6100001AA", "6B00")
	d.want("00D6000102AABB", "9000")
	d.want("00B0880004", "FFAABBE0 9000")
}

func TestBankCard(t *testing.T) {
	b, err := os.ReadFile("testdata/bank.json")
	if err != nil {
		t.Fatal(err)
	}
	img, err := ParseImage(b)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(img)
	if err != nil {
		t.Fatal(err)
	}
	if atr := c.PowerOn(); !bytes.HasPrefix(atr, []byte{0x3B}) {
		t.Errorf("%x", atr)
	}
	d := &desk{t, c}
	d.want("00A404000E315041592E5359532E4444463031", "6F15 840E315041592E5359532E4444463031 A503880101 9000")
	d.want(selectSSSE, "6A82")
	d.want("00A4000002DDF1", "6A82")
	d.want("00A40000", "6F0483023F00 9000")
	d.want("00B2010C00", "6985")
	d.want("0084000008", "6985")
}
