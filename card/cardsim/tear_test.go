package cardsim

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"onecard/card/keys"
)

// A torn desk stops silently where the card stops answering.
var errTornOut = errors.New("torn out")

// A flow is what a terminal does with a powered card. It panics with
// errTornOut where the card is torn out.
type flow struct {
	name    string
	version string
	edit    func(map[string]any)
	opts    []Option
	prepare func(*desk)
	do      func(*desk)
	writes  int // of a flow that nothing interrupts
}

// tornDesk is a desk whose commands must succeed or be the one that the card
// is torn out in.
func (d *desk) step(command string) []byte {
	d.t.Helper()
	raw, err := hex.DecodeString(strings.ReplaceAll(command, " ", ""))
	if err != nil {
		d.t.Fatal(err)
	}
	answer := d.card.Transmit(raw)
	if answer == nil {
		panic(errTornOut)
	}
	return answer
}

func (d *desk) proveStep(key string) {
	challenge := d.step("0084000008")
	d.step(d.external(key, 1, challenge[:8]))
}

// secureStep sends a command with MAC under the STK of the directory.
func (d *desk) secureStep(stk string, h keys.Header, data []byte) {
	d.t.Helper()
	challenge := d.step("0084000008")
	s, err := keys.NewSession(d.card.mem.algorithm(), d.cardKey(stk), challenge[:8])
	if err != nil {
		d.t.Fatal(err)
	}
	command, err := s.Secure(h, data)
	if err != nil {
		d.t.Fatal(err)
	}
	d.step(hex.EncodeToString(command))
}

func enterSSSE(d *desk) { d.ok(selectSSSE) }

func enterDF(df string) func(*desk) {
	return func(d *desk) {
		d.ok(selectSSSE)
		d.ok("00A4000002" + df)
	}
}

func flows() []flow {
	return []flow{
		{name: "verify", version: "2.0", prepare: enterSSSE, writes: 2, do: func(d *desk) { d.step("0020000003123456") }},
		{name: "verify wrongly", version: "2.0", prepare: enterSSSE, writes: 1, do: func(d *desk) { d.step("0020000003000000") }},
		{name: "change PIN", version: "2.0", prepare: enterSSSE, writes: 2, do: func(d *desk) { d.step("805E010007123456FF654321") }},
		{name: "external authentication", version: "3.0", prepare: enterSSSE, writes: 2, do: func(d *desk) { d.proveStep("RKSSSE") }},
		{name: "external authentication, wrong", version: "3.0", prepare: enterSSSE, writes: 1, do: func(d *desk) {
			d.step("0084000008")
			d.step("0082000A10" + zeros(16))
		}},
		{name: "unblock PIN", version: "2.0", opts: []Option{WithQuirks(QuirkPINBlocked)}, prepare: enterSSSE, writes: 3, do: func(d *desk) {
			d.proveStep("PUK")
			d.secureStep("STK", keys.UnblockPINHeader, nil)
		}},
		{name: "reload PIN", version: "3.0", prepare: enterSSSE, writes: 3, do: func(d *desk) {
			d.proveStep("PUK")
			challenge := d.step("0084000008")
			s, err := keys.NewSession(keys.SM4, d.cardKey("STK"), challenge[:8])
			if err != nil {
				d.t.Fatal(err)
			}
			command, err := s.ReloadPIN([]byte{0x65, 0x43, 0x21})
			if err != nil {
				d.t.Fatal(err)
			}
			d.step(hex.EncodeToString(command))
		}},
		{name: "variable record", version: "3.0", prepare: enterDF("DF03"), writes: 3, do: func(d *desk) {
			d.proveStep("UK3DF03")
			d.step("00DC023C05" + "7103330100")
		}},
		{name: "fixed record", version: "2.0", prepare: enterDF("DF03"), writes: 3, do: func(d *desk) {
			d.proveStep("UK8DF03")
			d.step("00DC01CC29" + "7927" + strings.Repeat("31", 39))
		}},
		{name: "cyclic record", version: "3.0", prepare: enterDF("DF04"), writes: 4, do: func(d *desk) {
			d.proveStep("UK2DF04")
			d.step("00DC00AB03000231")
			d.step("00DC00AB03000332")
		}},
		{name: "transparent file", version: "3.0", prepare: enterSSSE, writes: 4, do: func(d *desk) {
			d.proveStep("UKSSSE")
			d.step("00D68800F8" + strings.Repeat("AB", 248))
			d.step("00D688F8F8" + strings.Repeat("CD", 248))
		}},
		{name: "secured record", version: "3.0", prepare: enterDF("DF03"), writes: 3, do: func(d *desk) {
			d.proveStep("UK3DF03")
			d.secureStep("STKDF03", keys.Header{0x04, insUpdateRecord, 2, 0x3C}, []byte{0x71, 3, 0x33, 1, 0})
		}},
		{name: "start day", version: "3.0", prepare: enterDF("DF04"), writes: 3, do: func(d *desk) {
			d.proveStep("UK1DF04")
			d.step("B0560000020701")
		}},
		{name: "purchase", version: "3.0", prepare: (*desk).enterMedical, writes: 3, do: func(d *desk) {
			for range 2 {
				p := d.initPurchaseStep(100, 20, 3)
				d.step(d.debitCommand(p))
			}
		}},
		{name: "load", version: "2.0", prepare: (*desk).enterMedical, writes: 3, do: func(d *desk) {
			for range 2 {
				l := d.initLoadStep(100)
				d.step(d.creditCommand(l))
			}
		}},
		{name: "application block", version: "3.0", prepare: enterDF("DF04"), writes: 3, do: func(d *desk) {
			d.proveStep("LKDF04")
			d.secureStep("STKDF04", keys.Header{0x84, insAppBlock, 0, 1}, nil)
		}},
		{name: "card block", version: "2.0", prepare: enterSSSE, writes: 3, do: func(d *desk) {
			d.proveStep("BK")
			d.secureStep("STK", keys.Header{0x84, insCardBlock, 0, 0}, nil)
		}},
		{name: "key replacement", version: "3.0", prepare: enterDF("DF04"), writes: 1, do: func(d *desk) {
			challenge := d.step("0084000008")
			s, err := keys.NewSession(keys.SM4, d.cardKey("STKDF04"), challenge[:8])
			if err != nil {
				d.t.Fatal(err)
			}
			sealed, err := s.Encrypt(append([]byte{useExternal, 0x84, 1, 3}, bytes.Repeat([]byte{7}, 16)...))
			if err != nil {
				d.t.Fatal(err)
			}
			command, err := s.Secure(keys.Header{0x84, insWriteKey, 0, 0}, sealed)
			if err != nil {
				d.t.Fatal(err)
			}
			d.step(hex.EncodeToString(command))
		}},
		{name: "key pair", version: "3.0", edit: withCertificates, prepare: enterCertificates, writes: 3, do: func(d *desk) {
			d.step(d.certificateProof(0x81, "123456"))
			d.step("8040000008C0020012C2020013")
		}},
	}
}

func (d *desk) initPurchaseStep(account, self, pooling uint32) keys.Purchase {
	out := d.step(fmt.Sprintf("B028010113 01 %08X %08X %08X %X", account, self, pooling, testTerminal))
	return keys.Purchase{
		Random: [4]byte(out[18:]), Sequence: uint16(out[14])<<8 | uint16(out[15]), TerminalSequence: 0x102,
		Terminal: testTerminal, Time: testTime, Account: account, Self: self, Pooling: pooling,
	}
}

func (d *desk) initLoadStep(amount uint32) keys.Load {
	out := d.step(fmt.Sprintf("B02800010B 01 %08X %X", amount, testTerminal))
	return keys.Load{
		Random: [4]byte(out[8:]), Sequence: uint16(out[4])<<8 | uint16(out[5]),
		Balance: uint32(out[0])<<24 | uint32(out[1])<<16 | uint32(out[2])<<8 | uint32(out[3]),
		Amount:  amount, Terminal: testTerminal, Time: testTime,
	}
}

// run does the flow until it ends or the card is torn out.
func (f flow) run(d *desk) (torn bool) {
	defer func() {
		if r := recover(); r != nil {
			if err, ok := r.(error); !ok || !errors.Is(err, errTornOut) {
				panic(r)
			}
			torn = true
		}
	}()
	f.do(d)
	return false
}

// sameNumbers gives every copy of a card the same random numbers.
func sameNumbers(c *Card) *Card {
	c.random = &countingReader{}
	return c
}

type countingReader struct{ n byte }

func (r *countingReader) Read(b []byte) (int, error) {
	for i := range b {
		r.n = r.n*5 + 17
		b[i] = r.n
	}
	return len(b), nil
}

func eepromOf(t testing.TB, c *Card) string {
	t.Helper()
	b, err := c.EEPROM()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestTear cuts the power at every point of every flow that writes. The card
// must hold exactly the state before or after the write, as the phase says,
// answer nothing until it is powered, and then answer as ever.
func TestTear(t *testing.T) {
	points := 0
	for _, f := range flows() {
		t.Run(f.name, func(t *testing.T) {
			start := newDesk(t, f.version, f.edit, f.opts...)
			f.prepare(start)
			n, _ := tearEverywhere(t, f, start)
			if n != f.writes*phases {
				t.Errorf("%d cut points in %d writes", n, f.writes)
			}
			points += n
		})
	}
	for _, version := range []string{"1.0", "2.0", "3.0"} {
		t.Run("personalise "+version, func(t *testing.T) {
			commands, err := imageOf(t, version, nil).Commands()
			if err != nil {
				t.Fatal(err)
			}
			d := newDesk(t, version, nil, WithBlank())
			for _, c := range commands {
				n, next := tearEverywhere(t, flow{do: func(d *desk) { d.step(hex.EncodeToString(c)) }}, d)
				points, d = points+n, next
			}
		})
	}
	t.Logf("%d cut points", points)
	if points < 2000 {
		t.Errorf("%d cut points, the aim is 2000", points)
	}
}

// tearEverywhere returns the number of cut points and the desk after the flow.
func tearEverywhere(t *testing.T, f flow, start *desk) (points int, end *desk) {
	t.Helper()
	end = &desk{t, sameNumbers(start.card.Clone())}
	if f.run(end) {
		t.Fatal("torn out without a tear")
	}
	writes := end.card.Writes() - start.card.Writes()
	former := start.card.mem
	for w := 1; w <= writes; w++ {
		next := tearAt(t, f, start, Tear{w, TearAfter})
		if same(next, former) {
			t.Errorf("write %d changes nothing", w)
		}
		points++
		for phase := TearBefore; phase < TearAfter; phase++ {
			tear := Tear{w, phase}
			points++
			want := former
			if tear.New() {
				want = next
			}
			if got := tearAt(t, f, start, tear); !same(got, want) {
				t.Fatalf("%s: neither the old nor the new state", tear)
			}
		}
		former = next
	}
	if !same(former, end.card.mem) {
		t.Error("the last write does not lead to the end of the flow")
	}
	return points, end
}

// tearAt does the flow with a copy of the card until it is torn out and
// returns what it holds when it is powered again.
func tearAt(t *testing.T, f flow, start *desk, tear Tear) *memory {
	t.Helper()
	d := &desk{t, sameNumbers(start.card.Clone())}
	d.card.TearAt(tear)
	if !f.run(d) || !d.card.Torn() {
		t.Fatalf("%s: not torn out", tear)
	}
	if a := d.card.Transmit([]byte{0, 0x84, 0, 0, 8}); a != nil {
		t.Fatalf("%s: a card out of its reader answers %x", tear, a)
	}
	if n := d.card.Writes() - start.card.Writes(); n != tear.Write {
		t.Fatalf("%s: %d writes", tear, n)
	}
	holds := d.card.mem
	if d.card.committed != nil {
		holds = d.card.committed
	}
	if d.card.PowerOn() == nil || d.card.Torn() {
		t.Fatalf("%s: the card does not come back", tear)
	}
	if d.card.mem != holds {
		t.Fatalf("%s: power changed the state", tear)
	}
	return d.card.mem
}

// same compares all that two memories hold. It is quick where they share it.
func same(a, b *memory) bool { return reflect.DeepEqual(a, b) }

// TestTornPurchase looks at money instead of bytes, through the commands: the
// balance, the totals, the record and the counter change together, and the
// proof tells which it is.
func TestTornPurchase(t *testing.T) {
	start := medicalDesk(t, nil)
	for _, tear := range Tears(2) { // the INIT after this one forgets a proof
		d := &desk{t, start.card.Clone()}
		d.purchase(1, 0, 0, testTime)
		p := d.initPurchase(500, 60, 7, testTime)
		d = &desk{t, d.card.Clone()}
		if tear.Write == 2 {
			d.purchase(1, 0, 0, testTime) // an INIT and a debit
			p = keys.Purchase{Sequence: 6}
			d.card.TearAt(Tear{1, tear.Phase})
			d.send(fmt.Sprintf("B028010113 01 %08X %08X %08X %X", 1, 0, 0, testTerminal))
		} else {
			d.card.TearAt(Tear{1, tear.Phase})
			if got := d.send(d.debitCommand(p)); got != "" {
				t.Fatal(got)
			}
		}
		d.enterMedical()
		if tear.Write == 2 {
			d.want("B02E0032020005", map[bool]string{true: "9406", false: d.send("B02E0032020005")}[tear.New()])
			continue
		}
		records := d.ok("00B2014400")
		sequence := int(records[0])<<8 | int(records[1])
		balance, proved := 123456-1, "9406"
		if tear.New() {
			balance, proved = balance-500, fmt.Sprintf("%X%X9000", d.mac2(p), d.tac(p))
		}
		d.want("B026000104", fmt.Sprintf("%08X9000", balance))
		d.want("B02E0032020005", proved)
		if (sequence == 5) != tear.New() {
			t.Errorf("%s: the newest record has sequence %d", tear, sequence)
		}
		next := d.initPurchase(1, 0, 0, testTime)
		if (next.Sequence == 6) != tear.New() {
			t.Errorf("%s: the next sequence is %d", tear, next.Sequence)
		}
	}
}

// TestGuessingPIN: pulling the card out at the right moment wins no try.
func TestGuessingPIN(t *testing.T) {
	for _, tear := range Tears(1)[1:] {
		d := newDesk(t, "2.0", nil)
		for range 6 * 4 {
			d.card.PowerOn()
			d.ok(selectSSSE)
			d.card.TearAt(tear)
			d.send("0020000003000000")
		}
		d.card.TearAt(Tear{})
		d.card.PowerOn()
		d.ok(selectSSSE)
		want := "6983"
		if !tear.New() {
			want = "63C6" // but nobody learnt anything either: there was no answer
		}
		d.want("00200000", want)
	}
}

func TestParseTear(t *testing.T) {
	for _, tear := range Tears(3) {
		if got, err := ParseTear(tear.String()); err != nil || got != tear {
			t.Error(tear, got, err)
		}
	}
	if got, err := ParseTear("7"); err != nil || got != (Tear{7, TearDuring}) {
		t.Error(got, err)
	}
	for _, text := range []string{"", "0", "-1", "1:", "1:later", "x", "1:before:2"} {
		if _, err := ParseTear(text); !errors.Is(err, ErrTear) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
