package cardsim

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"onecard/card/keys"
)

// The terminal and time of the tests' transactions.
var (
	testTerminal = [6]byte{0x51, 0x01, 0x00, 0x00, 0x01, 0x01}
	testTime     = [7]byte{0x20, 0x26, 0x10, 0x01, 0x09, 0x30, 0x15}
)

// medicalDesk has the PIN verified and DF04 selected.
func medicalDesk(t testing.TB, edit func(map[string]any)) *desk {
	d := newDesk(t, "3.0", edit)
	d.enterMedical()
	return d
}

func (d *desk) enterMedical() {
	d.t.Helper()
	d.card.PowerOff()
	d.card.PowerOn()
	d.ok(selectSSSE)
	d.ok("0020000003123456")
	d.ok("00A4000002DF04")
}

func (d *desk) cardKey(name string) keys.Key { return d.card.mem.keys[keyID{name, 1}] }

// initPurchase sends INIT FOR PURCHASE and returns what the terminal knows.
func (d *desk) initPurchase(account, self, pooling uint32, at [7]byte) keys.Purchase {
	d.t.Helper()
	out := d.ok(fmt.Sprintf("B028010113 01 %08X %08X %08X %X", account, self, pooling, testTerminal))
	if len(out) != 0x16 {
		d.t.Fatalf("%d bytes", len(out))
	}
	return keys.Purchase{
		Random: [4]byte(out[18:]), Sequence: binary.BigEndian.Uint16(out[14:]), TerminalSequence: 0x102,
		Terminal: testTerminal, Time: at, Account: account, Self: self, Pooling: pooling,
	}
}

func (d *desk) debitCommand(p keys.Purchase) string {
	d.t.Helper()
	s, err := p.Session(d.card.mem.algorithm(), d.cardKey("DPK"))
	if err != nil {
		d.t.Fatal(err)
	}
	mac1 := p.MAC1(&s)
	return fmt.Sprintf("B02C01000F%08X%X%X", p.TerminalSequence, p.Time, mac1)
}

// purchase debits and checks MAC2 and TAC.
func (d *desk) purchase(account, self, pooling uint32, at [7]byte) keys.Purchase {
	d.t.Helper()
	p := d.initPurchase(account, self, pooling, at)
	d.want(d.debitCommand(p), fmt.Sprintf("%X%X9000", d.tac(p), d.mac2(p)))
	return p
}

func (d *desk) tac(p keys.Purchase) [4]byte {
	tac, err := p.TAC(d.card.mem.algorithm(), d.cardKey("DTK"))
	if err != nil {
		d.t.Fatal(err)
	}
	return tac
}

func (d *desk) mac2(p keys.Purchase) [4]byte {
	s, err := p.Session(d.card.mem.algorithm(), d.cardKey("DPK"))
	if err != nil {
		d.t.Fatal(err)
	}
	return p.MAC2(&s)
}

// initLoad sends INIT FOR LOAD, checks MAC1, and returns what the issuer knows.
func (d *desk) initLoad(amount uint32) keys.Load {
	d.t.Helper()
	out := d.ok(fmt.Sprintf("B02800010B 01 %08X %X", amount, testTerminal))
	if len(out) != 16 {
		d.t.Fatalf("%d bytes", len(out))
	}
	l := keys.Load{
		Random: [4]byte(out[8:]), Sequence: binary.BigEndian.Uint16(out[4:]), Balance: binary.BigEndian.Uint32(out),
		Amount: amount, Terminal: testTerminal, Time: testTime,
	}
	s, err := l.Session(d.card.mem.algorithm(), d.cardKey("DLK"))
	if err != nil {
		d.t.Fatal(err)
	}
	if mac1 := l.MAC1(&s); !bytes.Equal(out[12:], mac1[:]) || out[6] != 1 || out[7] != byte(d.card.mem.algorithm()) {
		d.t.Fatalf("%X", out)
	}
	return l
}

func (d *desk) creditCommand(l keys.Load) string {
	d.t.Helper()
	s, err := l.Session(d.card.mem.algorithm(), d.cardKey("DLK"))
	if err != nil {
		d.t.Fatal(err)
	}
	mac2 := l.MAC2(&s)
	return fmt.Sprintf("B02A00000B%X%X", l.Time, mac2)
}

func TestPurchase(t *testing.T) {
	d := medicalDesk(t, nil)
	before := len(d.card.mem.files[medicalFile].records)
	p := d.purchase(3680, 1250, 14870, testTime)
	if p.Sequence != 4 {
		t.Error(p.Sequence)
	}
	d.want("B026000104", "0001D3E09000") // 1234.56 - 36.80
	d.want("B026000206", "0000119420269000")
	d.want("B026000306", "0000ED5D20269000")
	d.want("00B20144 1C", "0004 32 510100000101 20261001093015 00000E60 000004E2 00003A16 9000")
	if n := len(d.card.mem.files[medicalFile].records); n != before+1 {
		t.Error(n)
	}
	// The proof, again and again, until the next INIT; also after power.
	proof := fmt.Sprintf("%X%X9000", d.mac2(p), d.tac(p))
	d.want("B02E0032 02 0004 08", proof)
	d.want("B02E0032 02 0004", proof)
	d.want("B02E0032 02 0005 08", "9406")
	d.want("B02E0031 02 0004 08", "9406")
	d.enterMedical()
	d.want("B02E0032 02 0004 08", proof)
	d.initPurchase(1, 0, 0, testTime)
	d.want("B02E0032 02 0004 08", "9406")
}

func TestPurchaseVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.Algorithm+v.Area, func(t *testing.T) {
			random, err := hex.DecodeString(v.Purchase.Random)
			if err != nil {
				t.Fatal(err)
			}
			d := newDesk(t, "3.0", func(m map[string]any) {
				m["algorithm"], m["historical_bytes"] = v.Algorithm, v.Historical
				m["identification_code"] = v.Area + "D15600000500000000FFFFFFFF"
				m["medical_account"] = map[string]any{"balance": "100.00", "purchase_sequence": 7}
			}, WithRandom(bytes.NewReader(random)))
			d.enterMedical()
			p := v.Purchase
			d.want(fmt.Sprintf("B02801011301%08X%08X%08X%s", p.Account, p.Self, p.Pooling, p.Terminal),
				fmt.Sprintf("00002710 00000000 00000000 0000 0007 01 %02X %s 9000", byte(d.card.mem.algorithm()), hexUpper(p.Random)))
			d.want("B02C01000F"+p.TerminalSequence+p.Time+p.MAC1, hexUpper(p.TAC)+hexUpper(p.MAC2)+"9000")
		})
	}
}

type vector struct {
	Algorithm, Area, Historical string
	Purchase                    struct {
		Random, Sequence, Terminal, Time, MAC1, MAC2, TAC string
		TerminalSequence                                  string `json:"terminal_sequence"`
		Account, Self, Pooling                            uint32
	}
}

func vectorFile(t *testing.T) []byte {
	b, err := os.ReadFile("../keys/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readVectors(t *testing.T) []vector {
	var all struct{ Cases []vector }
	if err := json.Unmarshal(vectorFile(t), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Cases) == 0 {
		t.Fatal("no vectors")
	}
	return all.Cases
}

func TestLoad(t *testing.T) {
	d := medicalDesk(t, nil)
	l := d.initLoad(10000)
	tac, err := l.TAC(keys.SM4, d.cardKey("DTK"))
	if err != nil {
		t.Fatal(err)
	}
	d.want(d.creditCommand(l), fmt.Sprintf("%X9000", tac))
	d.want("B026000104", "000209509000")
	d.want("B026000206", "00000CB220269000") // a load is no settlement
	d.want("00B20144 1C", "000C 31 510100000101 20261001093015 00002710 00000000 00000000 9000")
	s, err := l.Session(keys.SM4, d.cardKey("DLK"))
	if err != nil {
		t.Fatal(err)
	}
	d.want("B02E0031 02 000C 08", fmt.Sprintf("%X%X9000", l.MAC2(&s), tac))
	d.want("B02E0032 02 000C 08", "9406")
	if l := d.initLoad(1); l.Sequence != 13 || l.Balance != 133456 {
		t.Error(l.Sequence, l.Balance)
	}
}

func TestTransactionStatus(t *testing.T) {
	initP := "B02801011301 00000001 00000000 00000000 510100000101"
	initL := "B02800010B01 00000001 510100000101"
	idle := "B02C01000F" + zeros(15)
	for _, test := range []struct {
		name     string
		edit     func(map[string]any)
		commands [][2]string
	}{
		{"idle", nil, [][2]string{{idle, "6901"}, {"B02A00000B" + zeros(11), "6901"}}},
		{"crossed", nil, [][2]string{{initP, ""}, {"B02A00000B" + zeros(11), "6901"}, {idle, "6901"}, {initL, ""}, {idle, "6901"}}},
		{"wrong MAC", nil, [][2]string{{initP, ""}, {idle, "9302"}, {idle, "6901"}, {initL, ""}, {"B02A00000B" + zeros(11), "9302"}, {"B02A00000B" + zeros(11), "6901"}}},
		{"form", nil, [][2]string{
			{"B028020113" + zeros(19), "6A86"}, {"B028010213" + zeros(19), "6A86"}, {"B028010112" + zeros(18), "6700"}, {"B02800010A" + zeros(10), "6700"},
			{initP, ""}, {"B02C000000", "6A86"}, {initP, ""}, {"B02C01000E" + zeros(14), "6700"}, {idle, "6901"},
			{initL, ""}, {"B02A01000B" + zeros(11), "6A86"}, {initL, ""}, {"B02A00000A" + zeros(10), "6700"},
			{"B02E0132020001", "6A86"}, {"B02E0030020001", "6A86"}, {"B02E00320101", "6700"}, {"0028010113" + zeros(19), "6E00"},
		}},
		{"key index", nil, [][2]string{{"B02801011302" + zeros(18), "9403"}, {"B02800010B00" + zeros(10), "9403"}}},
		{"amount", nil, [][2]string{
			{"B02801011301 0001E241 00000000 00000000 510100000101", "9401"},
			{"B02801011301 0001E240 00000000 00000000 510100000101", ""},
			{"B02800010B01 FFFE1DC0 510100000101", "9401"}, {"B02800010B01 FFFE1DBF 510100000101", ""},
		}},
		{"counters", func(m map[string]any) {
			m["medical_account"] = map[string]any{"balance": "1.00", "load_sequence": 65535, "purchase_sequence": 65535}
		}, [][2]string{{initP, "9402"}, {initL, "9402"}}},
		{"kept by reading", nil, [][2]string{
			{initP, ""}, {"B026000104", ""}, {"00B2014400", ""}, {"00B2016C00", "6A82"}, {idle, "6901"},
			{initP, ""}, {"B026000104", ""}, {"00B2014400", ""}, {"B056010002", ""}, {idle, "9302"},
			{initP, ""}, {"B026000103", "6C04"}, {"B026000104", ""}, {"B02C01000F" + zeros(15) + "07", "6C08"}, {idle, "9302"},
			{initP, ""}, {"B02E0032020004", "9406"}, {idle, "6901"},
			{initP, ""}, {"0084000008", ""}, {idle, "6901"}, {initP, ""}, {"00A4000002DF04", ""}, {idle, "6901"},
			{initP, ""}, {"0020000003123456", ""}, {idle, "6901"}, {initP, ""}, {"FF00000000", "6E00"}, {idle, "6901"},
			{initP, ""}, {initL, ""}, {idle, "6901"}, {initL, ""}, {initP, ""}, {idle, "9302"},
		}},
		{"no EF08", func(m map[string]any) {
			delete(m["files"].(map[string]any), "DF04EF08")
			m["absent"] = []string{"DF04EF08"}
		}, [][2]string{{initP, "6985"}, {initL, "6985"}, {idle, "6985"}, {"B02E0032020001", "6985"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := medicalDesk(t, test.edit)
			for _, c := range test.commands {
				if c[1] == "" {
					d.ok(c[0])
				} else {
					d.want(c[0], c[1])
				}
			}
		})
	}
	d := newDesk(t, "3.0", nil)
	d.ok(selectSSSE)
	d.want(initP, "6985") // not below SSSE
	d.ok("00A4000002DF04")
	p := d.initPurchase(1, 0, 0, testTime)
	d.want(d.debitCommand(p), "6982") // no PIN
	d.want(d.debitCommand(p), "6901")
}

func TestDebitRefusesBadTime(t *testing.T) {
	d := medicalDesk(t, nil)
	p := d.initPurchase(1, 0, 0, [7]byte{0x20, 0x26, 0x1A, 1, 1, 1, 1})
	d.want(d.debitCommand(p), "6A80")
	d.want("B026000104", "0001E2409000")
}

func TestYear(t *testing.T) {
	day := func(digits string) (at [7]byte) {
		b, err := hex.DecodeString(digits + "120000")
		if err != nil {
			t.Fatal(err)
		}
		copy(at[:], b)
		return at
	}
	for _, test := range []struct {
		start, year, day string
		same             bool
		next             string
	}{
		{"0101", "2026", "20260101", true, "2026"},
		{"0101", "2026", "20261231", true, "2026"},
		{"0101", "2026", "20270101", false, "2027"},
		{"0701", "2026", "20270630", true, "2026"},
		{"0701", "2026", "20270701", false, "2027"},
		{"0701", "2026", "20260630", true, "2026"}, // as the numbers go
		{"0101", "", "20260101", false, "2026"},    // never settled before
	} {
		d := medicalDesk(t, func(m map[string]any) {
			m["medical_account"] = map[string]any{"balance": "100.00", "yearly_self_paid": "1.00", "yearly_pooling": "2.00", "year": test.year, "start_day": test.start}
		})
		d.purchase(10, 20, 30, day(test.day))
		self, pooling := 20, 30
		if test.same {
			self, pooling = 120, 230
		}
		d.want("B026000206", fmt.Sprintf("%08X%s9000", self, test.next))
		d.want("B026000306", fmt.Sprintf("%08X%s9000", pooling, test.next))
	}
}

func TestYearlyTotalOverflow(t *testing.T) {
	d := medicalDesk(t, func(m map[string]any) {
		m["medical_account"] = map[string]any{"balance": "1.00", "yearly_self_paid": "42949672.95", "year": "2026", "start_day": "0101"}
	})
	p := d.initPurchase(1, 1, 0, testTime)
	d.want(d.debitCommand(p), "9401")
	d.want("B026000104", "000000649000")
}

func TestRecordsAreForgotten(t *testing.T) {
	d := medicalDesk(t, nil)
	for range 35 {
		d.purchase(1, 0, 0, testTime)
	}
	if n := len(d.card.mem.files[medicalFile].records); n != 30 {
		t.Error(n)
	}
	if b := d.ok("00B2014400"); binary.BigEndian.Uint16(b) != 38 {
		t.Errorf("%X", b)
	}
}

func TestStartDay(t *testing.T) {
	d := medicalDesk(t, nil)
	d.want("B056010002", "01019000")
	d.want("B0560000020701", "6982")
	if got := d.prove("UK1DF04"); got != "9000" {
		t.Fatal(got)
	}
	d.want("B0560000020230", "6A80")
	d.want("B05600000207", "6700")
	d.want("B056000103", "6A86")
	d.want("B0560000020701", "9000")
	d.want("B056010002", "07019000")
}
