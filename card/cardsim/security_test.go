package cardsim

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"onecard/card/keys"
)

func TestPIN(t *testing.T) {
	d := newDesk(t, "2.0", nil)
	d.ok(selectSSSE)
	d.want("00200000", "63C6")
	d.want("0020000100", "6A86")
	d.want("00200000 01 12", "6700")
	d.want("00200000 09 123456789012345678", "6700")
	d.want("00200000", "63C6")
	for _, left := range []string{"63C5", "63C4"} {
		d.want("00200000 03 654321", left)
	}
	d.want("00200000", "63C4")
	d.want("00200000 03 123456", "9000")
	d.want("00200000", "63C6") // the right one gives the tries back
	d.ok("00A4000002DF01")
	d.ok("00B2012C00") // the PIN holds in every DF
	d.ok(selectSSSE)
	d.ok("00A4000002DF03")
	d.ok("00B2013C00")
	d.want("00200000 03 654321", "63C5") // and a wrong one takes it away, below SSSE too
	d.want("00B2013C00", "6982")
	d.ok("00200000 03 123456")
	d.card.PowerOn()
	d.ok(selectSSSE)
	d.ok("00A4000002DF03")
	d.want("00B2013C00", "6982")
	for _, left := range []string{"63C5", "63C4", "63C3", "63C2", "63C1", "63C0"} {
		d.want("00200000 03 000000", left)
	}
	d.want("00200000 03 123456", "6983")
	d.want("00200000", "6983")
	d.card.PowerOff()
	d.card.PowerOn()
	d.ok(selectSSSE)
	d.want("00200000 03 123456", "6983") // outlives power
}

func TestOddPIN(t *testing.T) {
	d := newDesk(t, "2.0", func(m map[string]any) { m["pin"] = "12345" })
	d.ok(selectSSSE)
	d.want("00200000 03 123456", "63C5")
	d.want("00200000 03 12345F", "9000")
}

func TestChangePIN(t *testing.T) {
	d := newDesk(t, "2.0", nil)
	d.want("805E010007123456FF654321", "6985")
	d.ok(selectSSSE)
	d.want("805E000007123456FF654321", "6A86")
	d.want("805E010006123456654321", "6700")
	d.want("805E010005123456FF65", "6700")
	d.want("805E010006123456FF653F", "6A80") // 3 digits
	d.want("805E010007123456FF65A321", "6A80")
	d.want("00200000", "63C6")
	d.want("805E010007000000FF654321", "63C5")
	d.want("805E010007123456FF654321", "9000")
	d.want("00200000 03 123456", "63C5")
	d.want("00200000 03 654321", "9000")
	d.want("805E010008654321FF7654321F", "9000")
	d.want("00200000 04 7654321F", "9000")
	d.want("805E010008 7654321F FF 123456", "9000")
	d.want("00200000 03 123456", "9000")
}

func TestChallenge(t *testing.T) {
	d := newDesk(t, "3.0", nil)
	d.ok(selectSSSE)
	for _, le := range []string{"00", "05", "20"} {
		d.want("00840000"+le, "6700")
	}
	d.want("00840000", "6700")
	d.want("0084000108", "6A86")
	for n, le := range map[int]string{4: "04", 8: "08", 16: "10"} {
		challenge := d.ok("00840000" + le)
		if len(challenge) != n {
			t.Errorf("Le %d: %d bytes", n, len(challenge))
		}
		auth := d.external("RKSSSE", 1, challenge)
		d.want(auth, "9000")
		d.want(auth, "6984") // valid once
	}

	// Another DF ends it, the same one and everything else keep it.
	keep := func(between string, answer string) {
		t.Helper()
		d.card.PowerOn()
		d.ok(selectSSSE)
		auth := d.external("RKSSSE", 1, d.ok("0084000008"))
		d.send(between)
		if d.card.ses.df != dfSSSE {
			d.ok(selectSSSE)
		}
		d.want(auth, answer)
	}
	keep(selectSSSE, "9000")
	keep("00A4020002EF05", "9000")
	keep("00B2012D00", "9000")
	keep("0020000003123456", "9000")
	keep("0088000010"+zeros(16), "9000")
	keep("00A4040006FFFFFFFFFFFF", "9000") // a selection that failed
	keep("0082000000", "6984")
	keep("0082000B10"+zeros(16), "6984")
	keep("00A4000002DF04", "6984")
	keep("00A40000", "6984")
	keep("04DC01280600000000"+"0000", "6984")
	d.card.PowerOn()
	d.ok(selectSSSE)
	auth := d.external("RKSSSE", 1, d.ok("0084000008"))
	d.card.PowerOn()
	d.ok(selectSSSE)
	d.want(auth, "6984")
}

func TestExternalAuth(t *testing.T) {
	d := newDesk(t, "3.0", nil)
	d.ok(selectSSSE)
	d.want("00B2013500", "6982") // EF06 of a 3.0 card
	if got := d.prove("RKSSSE"); got != "9000" {
		t.Fatal(got)
	}
	d.ok("00A4020002EF06")
	d.ok("00B2010500")
	d.ok(selectSSSE) // the same DF keeps the key
	d.ok("00B2013500")
	d.ok("00A4000002DF01") // another one drops it
	d.ok(selectSSSE)
	d.want("00B2013500", "6982")

	// Keys are looked for in the current DF only.
	d.ok("00A4000002DF04")
	d.want("0082000A10"+zeros(16), "6A88")
	d.want("0082008210"+zeros(16), "6A88") // STKDF04 is not for this
	d.want("0082018410"+zeros(16), "6A86")
	d.want("008200840F"+zeros(15), "6700")

	// DF04/EF06 wants both, EF05 one of the two.
	d.want("00B2012C00", "6982")
	if got := d.prove("RK1DF04"); got != "9000" {
		t.Fatal(got)
	}
	d.ok("00B2012C00")
	d.want("00B2013400", "6982")
	d.want("00B2014400", "6982")
	d.ok("0020000003123456")
	d.ok("00B2013400")
	d.ok("00B2014400")
	d.ok(selectSSSE)
	d.ok("00A4000002DF04")
	d.ok("00B2012C00") // the PIN is still there, the key is not
	d.want("00B2013400", "6982")

	// Versions 1 to 3 of a key, and none after them.
	for v := byte(1); v <= 3; v++ {
		d.want(d.external("RK1DF04", v, d.ok("0084000008")), "9000")
	}
	d.ok("0084000008")
	d.want("0082008411"+zeros(16)+"04", "6A88")

	// Three tries, kept without power.
	for _, answer := range []string{"63C2", "63C1"} {
		d.ok("0084000008")
		d.want("0082008410"+zeros(16), answer)
	}
	d.want("00B2013400", "6982") // a failure drops what was proved before
	if got := d.prove("RK1DF04"); got != "9000" {
		t.Fatal(got)
	}
	for _, answer := range []string{"63C2", "63C1", "63C0", "6983"} {
		d.card.PowerOn()
		d.ok(selectSSSE)
		d.ok("00A4000002DF04")
		d.ok("0084000008")
		d.want("0082008410"+zeros(16), answer)
	}
	if got := d.prove("RK1DF04"); got != "6983" {
		t.Error(got)
	}
	if got := d.prove("UK1DF04"); got != "9000" {
		t.Error("another key:", got)
	}
}

func TestAccess10(t *testing.T) {
	d := newDesk(t, "1.0", nil)
	d.ok(selectSSSE)
	d.ok("00B2013500") // the holder is free
	d.want("00B2073400", "6A83")
	d.ok("00A4000002DF03")
	d.ok("0020000003123456")
	d.want("00B2013D00", "6982") // EF07: PIN and RK1DF03
	d.want("00B2012D00", "6982") // EF05: PIN and RK2DF03
	d.want("00B2014500", "6982") // EF08: (PIN and RK1DF03) or UK4DF03
	if got := d.prove("RK1DF03"); got != "9000" {
		t.Fatal(got)
	}
	d.ok("00B2013D00")
	d.ok("00B2014500")
	d.want("00B2012D00", "6982")
	d.card.PowerOn()
	d.ok(selectSSSE)
	d.ok("00A4000002DF03")
	if got := d.prove("UK4DF03"); got != "9000" {
		t.Fatal(got)
	}
	d.ok("00B2014500") // without PIN
	d.want("00B201AD00", "6A82")
}

// vectors are the worked examples of the card specification.
type vectors struct {
	Cases []struct {
		Algorithm  string            `json:"algorithm"`
		Area       string            `json:"area"`
		Historical string            `json:"historical"`
		CardKeys   map[string]string `json:"card_keys"`
		Internal   struct{ Process, Raw, Answer string }
		External   struct{ Key, Challenge, Raw, Auth string }
		ReloadPIN  struct{ Challenge, PIN, Command string } `json:"reload_pin"`
	} `json:"cases"`
}

func TestVectors(t *testing.T) {
	b, err := os.ReadFile("../keys/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range v.Cases {
		t.Run(c.Algorithm+c.Area, func(t *testing.T) {
			challenge, err := hex.DecodeString(c.External.Challenge)
			if err != nil {
				t.Fatal(err)
			}
			if c.ReloadPIN.Challenge != c.External.Challenge {
				t.Fatal("the challenges differ")
			}
			same := bytes.NewReader(bytes.Repeat(challenge, 4))
			d := newDesk(t, "3.0", func(m map[string]any) {
				m["algorithm"], m["historical_bytes"] = c.Algorithm, c.Historical
				m["identification_code"] = c.Area + "D15600000500000000FFFFFFFF"
			}, WithRandom(same))
			d.ok(selectSSSE)
			d.want("0088000010"+c.Internal.Process+c.Internal.Raw, hexUpper(c.Internal.Answer)+"9000")
			d.ok("0084000008")
			d.want("0082000A10"+c.External.Auth+c.External.Raw, "9000")
			d.ok("0084000008")
			d.want(c.ReloadPIN.Command, "6982") // not before PUK
			d.want(d.external("PUK", 1, d.ok("0084000008")), "9000")
			d.ok("0084000008")
			d.want(c.ReloadPIN.Command, "9000")
			d.want("0020000003123456", "63C5")
			d.want("0020000003654321", "9000")
		})
	}
}

func hexUpper(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		return s
	}
	return string(bytes.ToUpper([]byte(hex.EncodeToString(b))))
}

func TestUnblockPIN(t *testing.T) {
	d := newDesk(t, "2.0", nil, WithQuirks(QuirkPINBlocked))
	d.ok(selectSSSE)
	d.want("00200000", "6983")
	if got := d.prove("PUK"); got != "9000" {
		t.Fatal(got)
	}
	challenge := d.ok("0084000008")
	s, err := keys.NewSession(keys.DES, d.card.mem.keys[keyID{"STK", 1}], challenge)
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := s.UnblockPIN()
	if err != nil {
		t.Fatal(err)
	}
	d.want(hex.EncodeToString(cmd), "9000")
	d.want(hex.EncodeToString(cmd), "6984")
	d.want("0020000003123456", "9000")
}

func TestInternalAuth(t *testing.T) {
	genuine := newDesk(t, "3.0", nil)
	copied := newDesk(t, "3.0", nil, WithQuirks(QuirkNotGenuine))
	cmd := "0088000010" + zeros(16)
	genuine.ok(selectSSSE)
	copied.ok(selectSSSE)
	if bytes.Equal(genuine.ok(cmd), copied.ok(cmd)) {
		t.Error("a copied card answers like the genuine one")
	}
	if !bytes.Equal(genuine.ok(cmd), genuine.ok("0088000011"+zeros(16)+"01")) {
		t.Error("key version 1 is not the default")
	}
	if bytes.Equal(genuine.ok(cmd), genuine.ok("0088000011"+zeros(16)+"02")) {
		t.Error("key versions 1 and 2 are the same")
	}
	genuine.want("0088000011"+zeros(16)+"04", "6A88")
	genuine.want("0088000010"+zeros(16)+"04", "6C08")
	genuine.want("0088000008"+zeros(8), "6700")
	genuine.want("0088010010"+zeros(16), "6A86")
	genuine.ok("00A4000002DF01")
	genuine.want(cmd, "6A88")
}

func TestBalance(t *testing.T) {
	d := newDesk(t, "3.0", nil)
	d.ok(selectSSSE)
	d.want("B026000104", "6985")
	d.ok("00A4000002DF04")
	d.want("B026000104", "6982")
	d.ok("0020000003123456")
	d.want("B026000104", "0001E240 9000") // 1,234.56 yuan
	d.want("B026000206", "00000CB2 2026 9000")
	d.want("B026000306", "0000B347 2026 9000")
	d.want("B026000406", "6A86")
	d.want("B056010002", "0101 9000")
}
