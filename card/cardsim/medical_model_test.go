package cardsim

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"onecard/card/keys"
)

// An accountModel is what a plain reader of the card specification, sections 4
// and 9, expects of the medical account. It shares nothing with the card.
type accountModel struct {
	balance, self, pooling uint64
	year                   int
	loads, debits          int
	records                []string // newest first
	proofs                 map[byte]string
	proofOf                map[byte]int

	pin      bool
	purchase *keys.Purchase
	load     *keys.Load
}

func (m *accountModel) idle() { m.purchase, m.load = nil, nil }

// settle is what a DEBIT does.
func (m *accountModel) settle(p keys.Purchase, proof string) {
	date := 0
	for _, c := range hex.EncodeToString(p.Time[:4]) {
		date = date*10 + int(c-'0')
	}
	if date-(m.year*10000+101) >= 10000 {
		m.self, m.pooling, m.year = 0, 0, date/10000
	}
	m.balance -= uint64(p.Account)
	m.self += uint64(p.Self)
	m.pooling += uint64(p.Pooling)
	m.record(fmt.Sprintf("%04X32%X%X%08X%08X%08X", m.debits, p.Terminal, p.Time, p.Account, p.Self, p.Pooling))
	m.proofs[keys.TypeSettlement], m.proofOf[keys.TypeSettlement] = proof, m.debits
	m.debits++
}

func (m *accountModel) credit(l keys.Load, proof string) {
	m.balance += uint64(l.Amount)
	m.record(fmt.Sprintf("%04X31%X%X%08X%08X%08X", m.loads, l.Terminal, l.Time, l.Amount, 0, 0))
	m.proofs[keys.TypeLoad], m.proofOf[keys.TypeLoad] = proof, m.loads
	m.loads++
}

func (m *accountModel) record(r string) {
	m.records = append([]string{r}, m.records...)
	if len(m.records) > 30 {
		m.records = m.records[:30]
	}
}

// TestMedicalStateMachine sends random transactions, right and wrong, and
// tears the card out of some. Money moves in complete transactions only.
func TestMedicalStateMachine(t *testing.T) {
	img := imageOf(t, "3.0", func(m map[string]any) {
		m["medical_account"] = map[string]any{"balance": "10.00", "year": "2025", "start_day": "0101", "load_sequence": 1, "purchase_sequence": 1}
		delete(m["files"].(map[string]any), "DF04EF08")
	})
	rapid.Check(t, func(rt *rapid.T) {
		c, err := New(img)
		if err != nil {
			rt.Fatal(err)
		}
		d := &desk{t, c}
		m := &accountModel{balance: 1000, year: 2025, loads: 1, debits: 1, proofs: map[byte]string{}, proofOf: map[byte]int{}}
		enter := func(pin bool) {
			c.PowerOff()
			c.PowerOn()
			d.ok(selectSSSE)
			if pin {
				d.ok("0020000003123456")
			}
			d.ok("00A4000002DF04")
			m.pin = pin
			m.idle()
		}
		want := func(command, answer string) {
			if got := d.send(command); got != answer {
				rt.Fatalf("%s: got %s, want %s (%+v)", command, got, answer, *m)
			}
		}
		amount := rapid.OneOf(rapid.Uint32Range(0, 900), rapid.Uint32())
		at := rapid.Custom(func(rt *rapid.T) (b [7]byte) {
			text := fmt.Sprintf("%04d%02d%02d120000", rapid.IntRange(2024, 2028).Draw(rt, "year"), rapid.IntRange(1, 12).Draw(rt, "month"), rapid.IntRange(1, 28).Draw(rt, "day"))
			raw, err := hex.DecodeString(text)
			if err != nil {
				rt.Fatal(err)
			}
			return [7]byte(raw)
		})
		// finish sends a command that ends a transaction, sometimes torn.
		finish := func(rt *rapid.T, command, answer string, done func()) {
			m.idle()
			if rapid.IntRange(0, 3).Draw(rt, "tear") > 0 {
				want(command, answer)
				done()
				return
			}
			tear := Tear{1, Phase(rapid.IntRange(0, phases-1).Draw(rt, "phase"))}
			c.TearAt(tear)
			if got := d.send(command); got != "" {
				rt.Fatalf("torn out, it answers %s", got)
			}
			if tear.New() {
				done()
			}
			enter(true)
		}
		enter(true)
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				a := c.mem.account
				if uint64(a.balance) != m.balance || uint64(a.selfPaid) != m.self || uint64(a.pooling) != m.pooling || int(a.loads) != m.loads || int(a.debits) != m.debits {
					rt.Fatalf("the card has %+v, want %+v", a, *m)
				}
				if n := len(c.mem.files[medicalFile].records); n != len(m.records) {
					rt.Fatalf("%d records, want %d", n, len(m.records))
				}
			},
			"power": func(rt *rapid.T) { enter(rapid.Bool().Draw(rt, "pin")) },
			"init purchase": func(rt *rapid.T) {
				account, self, pooling := amount.Draw(rt, "account"), amount.Draw(rt, "self"), amount.Draw(rt, "pooling")
				index := rapid.SampledFrom([]int{1, 1, 1, 1, 2}).Draw(rt, "index")
				m.idle()
				command := fmt.Sprintf("B028010113%02X%08X%08X%08X%X", index, account, self, pooling, testTerminal)
				if index != 1 {
					want(command, "9403")
					return
				}
				if uint64(account) > m.balance {
					want(command, "9401")
					return
				}
				out := d.ok(command)
				if got := fmt.Sprintf("%X", out[:16]); got != fmt.Sprintf("%08X%08X%08X%04d%04X", m.balance, m.self, m.pooling, m.year, m.debits) {
					rt.Fatal(got)
				}
				clear(m.proofs)
				m.purchase = &keys.Purchase{
					Random: [4]byte(out[18:]), Sequence: uint16(m.debits), Terminal: testTerminal,
					Account: account, Self: self, Pooling: pooling, TerminalSequence: rapid.Uint32().Draw(rt, "terminal sequence"),
				}
			},
			"init load": func(rt *rapid.T) {
				a := amount.Draw(rt, "amount")
				m.idle()
				command := fmt.Sprintf("B02800010B01%08X%X", a, testTerminal)
				if m.balance+uint64(a) > 0xFFFFFFFF {
					want(command, "9401")
					return
				}
				out := d.ok(command)
				clear(m.proofs)
				m.load = &keys.Load{Random: [4]byte(out[8:]), Sequence: uint16(m.loads), Balance: uint32(m.balance), Amount: a, Terminal: testTerminal}
				if binary.BigEndian.Uint16(out[4:]) != m.load.Sequence {
					rt.Fatal("sequence")
				}
			},
			"debit": func(rt *rapid.T) {
				p := m.purchase
				if p == nil {
					m.idle()
					want("B02C01000F"+zeros(15), "6901")
					return
				}
				if !m.pin {
					m.idle()
					want("B02C01000F"+zeros(15), "6982")
					return
				}
				p.Time = at.Draw(rt, "time")
				command := strings.ToUpper(d.debitCommand(*p))
				if rapid.IntRange(0, 4).Draw(rt, "wrong") == 0 {
					m.idle()
					want("B02C01000F"+zeros(15), "9302")
					return
				}
				date := binary.BigEndian.Uint32(p.Time[:4])
				same := date < 0x101+uint32(bcd4(m.year+1))<<16
				if same && (m.self+uint64(p.Self) > 0xFFFFFFFF || m.pooling+uint64(p.Pooling) > 0xFFFFFFFF) {
					m.idle()
					want(command, "9401")
					return
				}
				tac, mac2 := d.tac(*p), d.mac2(*p)
				finish(rt, command, fmt.Sprintf("%X%X9000", tac, mac2), func() { m.settle(*p, fmt.Sprintf("%X%X", mac2, tac)) })
			},
			"credit": func(rt *rapid.T) {
				l := m.load
				if l == nil {
					m.idle()
					want("B02A00000B"+zeros(11), "6901")
					return
				}
				l.Time = at.Draw(rt, "time")
				command := d.creditCommand(*l)
				tac, err := l.TAC(keys.SM4, d.cardKey("DTK"))
				if err != nil {
					rt.Fatal(err)
				}
				finish(rt, command, fmt.Sprintf("%X9000", tac), func() { m.credit(*l, fmt.Sprintf("%s%X", command[len(command)-8:], tac)) })
			},
			"balance": func(rt *rapid.T) {
				if !m.pin {
					m.idle()
					want("B026000104", "6982")
					return
				}
				want("B026000104", fmt.Sprintf("%08X9000", m.balance))
				want("B026000206", fmt.Sprintf("%08X%04d9000", m.self, m.year))
				want("B026000306", fmt.Sprintf("%08X%04d9000", m.pooling, m.year))
			},
			"proof": func(rt *rapid.T) {
				kind := rapid.SampledFrom([]byte{keys.TypeLoad, keys.TypeSettlement}).Draw(rt, "type")
				last := map[byte]int{keys.TypeLoad: m.loads, keys.TypeSettlement: m.debits}[kind] - 1
				sequence := last + rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(rt, "later")
				command := fmt.Sprintf("B02E00%02X02%04X08", kind, sequence)
				if m.proofs[kind] != "" && m.proofOf[kind] == sequence {
					want(command, m.proofs[kind]+"9000")
					return
				}
				m.idle()
				want(command, "9406")
			},
			"records": func(rt *rapid.T) {
				if !m.pin || len(m.records) == 0 {
					rt.Skip()
				}
				n := rapid.IntRange(1, len(m.records)).Draw(rt, "number")
				want(fmt.Sprintf("00B2%02X441C", n), m.records[n-1]+"9000")
			},
			"something else": func(rt *rapid.T) {
				command := rapid.SampledFrom([]string{"0084000008", "00A4000002DF04", "0020000003123456", "00FF000000", "B0260001", "B026000501"}).Draw(rt, "command")
				d.send(command)
				m.pin = c.ses.pin
				if command != "B0260001" || !m.pin { // GET BALANCE without Le is still one
					m.idle()
				}
			},
		})
	})
}

// bcd4 packs a year into two bytes of cn.
func bcd4(year int) int {
	return year/1000<<12 | year/100%10<<8 | year/10%10<<4 | year%10
}
