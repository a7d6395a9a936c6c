package cardsim

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"onecard/card/keys"
	"onecard/fault"
)

// A samDesk is a terminal with a PSAM in its second slot.
type samDesk struct {
	t    *testing.T
	psam *PSAM
}

func newSAM(t *testing.T, edit func(map[string]any), opts ...PSAMOption) *samDesk {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(examplePSAM, &m); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(m)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	img, err := ParsePSAMImage(b)
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPSAM(img, opts...)
	if err != nil {
		t.Fatal(err)
	}
	p.PowerOn()
	return &samDesk{t, p}
}

func (s *samDesk) send(command string) string {
	s.t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(command, " ", ""))
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.ToUpper(hex.EncodeToString(s.psam.Transmit(b)))
}

func (s *samDesk) want(command, answer string) {
	s.t.Helper()
	if got := s.send(command); got != strings.ReplaceAll(answer, " ", "") {
		s.t.Errorf("%s: got %s, want %s", command, got, answer)
	}
}

func (s *samDesk) ok(command string) []byte {
	s.t.Helper()
	got := s.send(command)
	if !strings.HasSuffix(got, "9000") {
		s.t.Fatalf("%s: got %s", command, got)
	}
	b, err := hex.DecodeString(got[:len(got)-4])
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// enter selects the keys for an algorithm.
func (s *samDesk) enter(a keys.Algorithm) {
	s.t.Helper()
	digit := map[keys.Algorithm]string{keys.DES: "31", keys.SM4: "33"}[a]
	s.ok("00A404000F7378" + digit + "2E73682EC9E7BBE1B1A3D5CF")
	s.ok("00A4040006D15600000590")
}

// factors are the three of a card as BF DE wants them, hand-made: the card's
// first.
func factors(area, historical string) string {
	ascii := func(text string) string { return hex.EncodeToString([]byte(text)) }
	second := ascii(area + "sx")
	if strings.HasPrefix(area, "33") {
		second = ascii(area[:4] + "00sx")
	}
	return historical[len(historical)-16:] + second + ascii(area[:2]+"0000sh")
}

func psamNumber(t *testing.T, name string) byte {
	t.Helper()
	n := byte(0)
	for e := range keys.Reference().All() {
		n++
		if e.Name == name {
			return n
		}
	}
	t.Fatal("no key", name)
	return 0
}

// authenticate lets the PSAM compute the 8 bytes of an authentication.
func (s *samDesk) authenticate(a keys.Algorithm, key byte, f, process, raw string) []byte {
	s.t.Helper()
	s.ok(fmt.Sprintf("BFDE%02X%02X%02X%s%s", 3<<5|8, key, (len(f)+len(process))/2, f, process))
	if a == keys.DES {
		return s.ok("80FA000008" + raw)
	}
	b := s.ok("80FA000010" + raw + zeros(8))
	out := make([]byte, 8)
	subtle.XORBytes(out, b[:8], b[8:])
	return out
}

func TestPSAMVectors(t *testing.T) {
	b := readAllVectors(t)
	for _, v := range b {
		t.Run(v.Algorithm+v.Area, func(t *testing.T) {
			a := map[string]keys.Algorithm{"DES": keys.DES, "SM4": keys.SM4}[v.Algorithm]
			s := newSAM(t, nil)
			s.enter(a)
			f := factors(v.Area, v.Historical)
			if got := s.authenticate(a, 0x01, f, v.Internal.Process, v.Internal.Raw); hex.EncodeToString(got) != v.Internal.Answer {
				t.Errorf("internal: %x, want %s", got, v.Internal.Answer)
			}
			if got := s.authenticate(a, psamNumber(t, "RKSSSE"), f, v.External.Challenge, v.External.Raw); hex.EncodeToString(got) != v.External.Auth {
				t.Errorf("external: %x, want %s", got, v.External.Auth)
			}
			// The MAC of RELOAD PIN, under STK.
			s.ok("BFDE6802" + "20" + f + v.ReloadPIN.Challenge)
			command := v.ReloadPIN.Command
			iv := zeros(map[keys.Algorithm]int{keys.DES: 8, keys.SM4: 16}[a])
			message := command[:len(command)-8]
			s.want(fmt.Sprintf("80FA0500%02X", (len(iv)+len(message))/2)+iv+message, hexUpper(command[len(command)-8:])+"9000")

			p := v.Purchase
			s.want(fmt.Sprintf("80700000 34 %s %s %08X %08X %08X 32 %s 01 %02X %s", p.Random, p.Sequence, p.Account, p.Self, p.Pooling, p.Time, byte(a), f),
				hexUpper(p.TerminalSequence)+hexUpper(p.MAC1)+"9000")
			s.want("8072000004"+p.MAC2, "9000")
			s.want("8072000004"+p.MAC2, "6901")
		})
	}
}

type fullVector struct {
	vector
	Internal  struct{ Process, Raw, Answer string }
	External  struct{ Challenge, Raw, Auth string }
	ReloadPIN struct{ Challenge, Command string } `json:"reload_pin"`
}

func readAllVectors(t *testing.T) []fullVector {
	readVectors(t)
	b := bytes.NewReader(vectorFile(t))
	var all struct{ Cases []fullVector }
	if err := json.NewDecoder(b).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all.Cases
}

// TestPSAMAndCard lets a card and a PSAM settle with each other.
func TestPSAMAndCard(t *testing.T) {
	for _, version := range []string{"2.0", "3.0"} {
		t.Run(version, func(t *testing.T) {
			d := newDesk(t, version, nil)
			s := newSAM(t, nil)
			a := d.card.mem.algorithm()
			d.enterMedical()
			s.enter(a)
			terminal := hex.EncodeToString(s.ok("00B0960006"))
			code := map[string]string{"2.0": "410100", "3.0": "510100"}[version]
			f := factors(code, hex.EncodeToString(d.card.chip.historical[:]))
			amounts := "000003E8000000640000000A"
			init := d.ok("B0280101 13 01" + amounts + terminal)
			answer := s.ok(fmt.Sprintf("80700000 34 %X %X %s 32 20261001093015 01 %02X %s", init[18:22], init[14:16], amounts, byte(a), f))
			out := d.ok(fmt.Sprintf("B02C0100 0F %X 20261001093015 %X", answer[:4], answer[4:]))
			s.want(fmt.Sprintf("8072000004%X", out[4:]), "9000")

			// Read access by the PSAM.
			challenge := d.ok("0084000008")
			auth := s.authenticate(a, psamNumber(t, "RK1DF04"), f, hex.EncodeToString(challenge), "0102030405060708")
			d.want(fmt.Sprintf("0082008410%X0102030405060708", auth), "9000")
		})
	}
}

func TestPSAMLevels(t *testing.T) {
	d := newDesk(t, "3.0", nil)
	d.ok(selectSSSE)
	historical := hex.EncodeToString(d.card.chip.historical[:])
	for levels := 1; levels <= 3; levels++ {
		s := newSAM(t, func(m map[string]any) {
			m["levels"] = levels
			if levels < 3 {
				m["area"] = "510100"
			}
		})
		s.enter(keys.SM4)
		f := factors("510100", historical)[:16*levels]
		challenge := d.ok("0084000008")
		s.ok(fmt.Sprintf("BFDE%02X06%02X%s%X", levels<<5|8, 8*levels+8, f, challenge))
		b := s.ok("80FA0000100102030405060708" + zeros(8))
		auth := make([]byte, 8)
		subtle.XORBytes(auth, b[:8], b[8:])
		d.want(fmt.Sprintf("0082000A10%X0102030405060708", auth), "9000")
		s.want(fmt.Sprintf("BFDE%02X06%02X%s%X", (levels%3+1)<<5|8, 8*levels+8, f, challenge), "6A88")
	}
}

func TestPSAMStatus(t *testing.T) {
	f := factors("510100", "0081544C968684510100035676")
	prepare := "BFDE6801 20" + f + zeros(8)
	s := newSAM(t, func(m map[string]any) { m["lacks"] = []string{"RKSSSE"} })
	s.want("00B0960006", "410100813475 9000")
	s.want("00B0000006", "410100813475 9000") // it is the current one now
	s.want("00B0960606", "6B00")
	s.want("00B0950006", "6A82")
	s.want(prepare, "6985") // not in the directory of keys
	s.want("00A404000F7378322E73682EC9E7BBE1B1A3D5CF", "6A82")
	s.want("00A404000F7378312E73682EC9E7BBE1B1A3D5CF", "6F1C 840F7378312E73682EC9E7BBE1B1A3D5CF A509 880101 9F0C03 860101 9000")
	s.want("00B0000006", "6986")
	s.ok("00A4020002 0016")
	s.want("00B0000006", "410100813475 9000")
	s.want("00A4000002DF01", "6F13 8406D15600000590 A509 880101 9F0C03 860101 9000")
	s.want("00A4000002DDF3", "6F1C 840F7378332E73682EC9E7BBE1B1A3D5CF A509 880101 9F0C03 860103 9000")
	s.want("00A4000002DDF1", "6A82")
	s.ok("00A4040006D15600000590")
	s.want("80FA000010"+zeros(16), "6985")
	s.ok(prepare)
	s.want("80FA000008"+zeros(8), "6700") // SM4 has blocks of 16
	s.want("80FA010010"+zeros(16), "6A86")
	s.want("80FA050010"+zeros(16), "6700")
	s.want("80FA050011"+strings.Repeat("01", 17), "6A80")
	s.ok("80FA050011" + zeros(17))
	s.want("BFDE6801 1F"+f+zeros(7), "6700")
	s.want("80FA000010"+zeros(16), "6985") // a failure forgets the key
	s.want("BFDE4801 20"+f+zeros(8), "6A88")
	s.want("BFDE6601 20"+f+zeros(8), "6A88")
	s.want("BFDE68C1 20"+f+zeros(8), "6A88")
	s.want("BFDE683F 20"+f+zeros(8), "6A88") // no such place
	s.want(fmt.Sprintf("BFDE68%02X20%s%s", psamNumber(t, "RKSSSE"), f, zeros(8)), "6A88")
	s.want(fmt.Sprintf("BFDE68%02X20%s%s", psamNumber(t, "DPK"), f, zeros(8)), "6A88")
	s.want(fmt.Sprintf("BFDE62%02X20%s%s", psamNumber(t, "DPK"), f, zeros(8)), "6985")
	s.want(fmt.Sprintf("BFDE68%02X20%s%s", psamNumber(t, "DTK"), f, zeros(8)), "6A88")
	s.ok(fmt.Sprintf("BFDE68%02X20%s%s", psamNumber(t, "RK1DF04")|0x80, f, zeros(8)))
	s.want("80700000 34"+zeros(52), "6A80")
	s.want("80700000 33"+zeros(51), "6700")
	purchase := "80700000 34" + zeros(18) + "32 20260301093015 %s 03" + f
	s.want(fmt.Sprintf(purchase, "04"), "6A88")
	s.ok(fmt.Sprintf(purchase, "02"))
	s.want("807200000400000000", "9302")
	s.want("807200000400000000", "6901")
	s.want("0000000000", "6D00")
	s.want("0070000000", "6E00")
	s.want("90FA000000", "6E00")
	s.psam.PowerOff()
	s.want("00B0960006", "6F00")

	only := newSAM(t, func(m map[string]any) { m["algorithms"] = []string{"DES"} })
	only.want("00A404000F7378332E73682EC9E7BBE1B1A3D5CF", "6A82")
	only.ok("00A4040006D15600000590")
	s = newSAM(t, func(m map[string]any) { m["terminal_sequence"] = 4294967295 })
	s.enter(keys.SM4)
	s.ok(fmt.Sprintf(purchase, "01"))
	s.want(fmt.Sprintf(purchase, "01"), "9402")
}

// TestPSAMTear: a terminal sequence is never given out twice.
func TestPSAMTear(t *testing.T) {
	file := filepath.Join(t.TempDir(), "psam.eeprom")
	purchase := "80700000 34" + zeros(18) + "32 20260301093015 01 03" + factors("510100", "0081544C968684510100035676")
	seen := make(map[string]bool)
	s := newSAM(t, nil, PSAMWithEEPROM(file))
	for _, tear := range Tears(1) {
		s.psam.TearAt(tear)
		s.enter(keys.SM4)
		if b := s.send(purchase); b != "" {
			t.Fatalf("torn out at %s, it answers %s", tear, b)
		}
		s.want("00B0960006", "")
		s.psam.PowerOn()
		s = newSAM(t, nil, PSAMWithEEPROM(file)) // another process
		s.enter(keys.SM4)
		b := s.send(purchase)
		if seen[b[:8]] {
			t.Errorf("terminal sequence %s twice", b[:8])
		}
		seen[b[:8]] = true
	}
	// Before and during leave the old state: 4 answers, 2 numbers lost.
	if s.psam.next != 258+4+2 {
		t.Error(s.psam.next)
	}
}

func TestParsePSAMImage(t *testing.T) {
	for _, test := range [][2]string{
		{`{}`, "kind"}, {`{"kind":"card"}`, "kind"}, {`{"kind":"psam"}`, "terminal"},
		{`{"kind":"psam","terminal":"41010081347"}`, "terminal"}, {`{"kind":"psam","terminal":"41010081347A"}`, "terminal"},
		{`{"kind":"psam","terminal":"410100813475","historical_bytes":"00"}`, "historical_bytes"},
		{`{"kind":"psam","levels":4}`, "levels"}, {`{"kind":"psam","lacks":["X"]}`, "lacks[0]"}, {`{"kind":"psam","x":1}`, "x"},
		{`{"kind":"psam","algorithms":["SSF33"]}`, "algorithms[0]"}, {`{"kind":"psam","algorithms":[]}`, "algorithms"},
		{`{"kind":"psam","keys":{"X":""}}`, "keys.X"}, {`{"kind":"psam","keys":{"IRK":"00"}}`, "keys.IRK"},
		{`{"kind":"psam","terminal":"410100813475","historical_bytes":"0081544C968684510100035676","levels":2}`, "area"},
	} {
		_, err := ParsePSAMImage([]byte(test[0]))
		var bad *ImageError
		if !errors.As(err, &bad) || bad.Path != test[1] || bad.Code() != fault.ImageInvalid {
			t.Errorf("%s: %v", test[0], err)
		}
	}
	if _, err := ParseImage(examplePSAM); err == nil {
		t.Error("a PSAM taken for a card")
	}
}

func FuzzPSAM(f *testing.F) {
	img, err := ExamplePSAM()
	if err != nil {
		f.Fatal(err)
	}
	seed := func(commands ...string) {
		var b []byte
		for _, c := range commands {
			raw, err := hex.DecodeString(strings.ReplaceAll(c, " ", ""))
			if err != nil {
				f.Fatal(err)
			}
			b = append(append(b, byte(len(raw))), raw...)
		}
		f.Add(b)
	}
	fs := factors("510100", "0081544C968684510100035676")
	seed("00A404000F7378332E73682EC9E7BBE1B1A3D5CF", "00A4040006D15600000590", "BFDE6801 20"+fs+zeros(8), "80FA000010"+zeros(16), "80FA050011"+zeros(17))
	seed("00A4040006D15600000590", "80700000 34"+zeros(18)+"32 20260301093015 01 01"+fs, "807200000400000000")
	seed("00B0960006", "00A4020002 0016", "00B0000006", "00C0000000")
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := NewPSAM(img)
		if err != nil {
			t.Fatal(err)
		}
		p.PowerOn()
		for len(data) > 0 {
			n := min(int(data[0]), len(data)-1)
			before := p.next
			a := p.Transmit(bytes.Clone(data[1 : 1+n]))
			if len(a) < 2 || len(a) > 258 {
				t.Fatalf("%d bytes", len(a))
			}
			if p.next < before || p.next > before+1 {
				t.Fatalf("the sequence went from %d to %d", before, p.next)
			}
			data = data[1+n:]
		}
	})
}
