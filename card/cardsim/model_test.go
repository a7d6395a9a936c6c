package cardsim

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A model is what a plain reader of the card specification expects of a 3.0
// card's security state. It shares nothing with the card: its access table is
// written by hand from section 2.
type model struct {
	df        string
	pin       bool
	tries     int
	proved    map[string]bool
	keyTries  map[string]int
	challenge []byte
}

// guarded holds a file, what opens it, and the keys to try on it.
var guarded = []struct {
	df   string
	sfi  byte
	open func(m *model) bool
}{
	{"SSSE", 0x05, func(m *model) bool { return true }},
	{"SSSE", 0x06, func(m *model) bool { return m.proved["RKSSSE"] }},
	{"DF01", 0x05, func(m *model) bool { return m.pin || m.proved["RK1DF01"] }},
	{"DF02", 0x07, func(m *model) bool { return m.pin || m.proved["RK1DF02"] }},
	{"DF03", 0x05, func(m *model) bool { return m.pin || m.proved["RK2DF03"] }},
	{"DF03", 0x07, func(m *model) bool { return m.pin || m.proved["RK1DF03"] }},
	{"DF04", 0x05, func(m *model) bool { return m.pin || m.proved["RK1DF04"] }},
	{"DF04", 0x06, func(m *model) bool { return m.pin && m.proved["RK1DF04"] }},
	{"DF04", 0x08, func(m *model) bool { return m.pin }},
	{"DF07", 0x06, func(m *model) bool { return m.proved["RK2DF07"] }},
}

var modelKeys = map[string][]string{
	"SSSE": {"RKSSSE", "UKSSSE", "PUK"},
	"DF01": {"RK1DF01", "UK1DF01"},
	"DF02": {"RK1DF02"},
	"DF03": {"RK1DF03", "RK2DF03", "UK3DF03"},
	"DF04": {"RK1DF04", "UK1DF04"},
	"DF07": {"RK1DF07", "RK2DF07"},
}

func (m *model) enter(df string) {
	if df != m.df {
		m.proved, m.challenge = map[string]bool{}, nil
	}
	m.df = df
}

func TestSecurityStateMachine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDesk(t, "3.0", nil)
		m := &model{tries: 6, keyTries: map[string]int{}}
		want := func(command, status string) {
			got := d.send(command)
			if len(got) < 4 || got[len(got)-4:] != status {
				rt.Fatalf("%s: got %s, want %s (state %+v)", command, got, status, *m)
			}
		}
		reset := func(*rapid.T) {
			d.card.PowerOff()
			d.card.PowerOn()
			m.df, m.pin, m.proved, m.challenge = dfMF, false, map[string]bool{}, nil
		}
		fids := map[string]string{"DF01": "DF01", "DF02": "DF02", "DF03": "DF03", "DF04": "DF04", "DF07": "DF07", dfMF: "3F00", dfSSSE: "DDF1"}
		reset(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				if d.card.mem.pinTries != m.tries || d.card.mem.pinTries > 6 {
					rt.Fatalf("%d tries, want %d", d.card.mem.pinTries, m.tries)
				}
				if !maps.Equal(d.card.ses.proved, m.proved) {
					rt.Fatalf("the card takes %v for proved, want %v", d.card.ses.proved, m.proved)
				}
				if d.card.ses.pin != m.pin {
					rt.Fatal("the PIN's state is wrong")
				}
				if slices.Compare(d.card.ses.challenge, m.challenge) != 0 {
					rt.Fatal("the challenge lived too long or too short")
				}
			},
			"power": reset,
			"select": func(rt *rapid.T) {
				df := rapid.SampledFrom([]string{dfSSSE, dfSSSE, dfMF, "DF01", "DF02", "DF03", "DF04", "DF07"}).Draw(rt, "df")
				if m.df == dfMF && df != dfMF && df != dfSSSE {
					want("00A4000002"+fids[df], "6A82")
					return
				}
				want("00A4000002"+fids[df], "9000")
				m.enter(df)
			},
			"verify": func(rt *rapid.T) {
				right := rapid.Bool().Draw(rt, "right")
				pin := "123456"
				if !right {
					pin = "12345F"
				}
				switch {
				case m.df == dfMF:
					want("0020000003"+pin, "6985")
				case m.tries == 0:
					want("0020000003"+pin, "6983")
				case right:
					want("0020000003"+pin, "9000")
					m.pin, m.tries = true, 6
				default:
					m.pin = false
					m.tries--
					want("0020000003"+pin, fmt.Sprintf("63C%X", m.tries))
				}
			},
			"prove": func(rt *rapid.T) {
				if len(modelKeys[m.df]) == 0 {
					rt.Skip()
				}
				key := rapid.SampledFrom(modelKeys[m.df]).Draw(rt, "key")
				if n, failed := m.keyTries[key]; failed && n == 0 {
					rt.Skip()
				}
				want(d.external(key, 1, d.ok("0084000008")), "9000")
				m.challenge, m.proved[key] = nil, true
				delete(m.keyTries, key)
			},
			"query": func(rt *rapid.T) {
				switch {
				case m.df == dfMF:
					want("00200000", "6985")
				case m.tries == 0:
					want("00200000", "6983")
				default:
					want("00200000", fmt.Sprintf("63C%X", m.tries))
				}
			},
			"challenge": func(rt *rapid.T) {
				m.challenge = d.ok("00840000" + rapid.SampledFrom([]string{"04", "08", "10"}).Draw(rt, "Le"))
			},
			"authenticate": func(rt *rapid.T) {
				if len(modelKeys[m.df]) == 0 {
					rt.Skip()
				}
				key := rapid.SampledFrom(modelKeys[m.df]).Draw(rt, "key")
				tries, failed := m.keyTries[key]
				if !failed {
					tries = 3
				}
				challenge, right := m.challenge, rapid.Bool().Draw(rt, "right")
				m.challenge = nil
				if !right || challenge == nil {
					challenge = []byte{9, 9, 9, 9, 9, 9, 9, 9}
				}
				command := d.external(key, 1, challenge)
				switch {
				case tries == 0:
					want(command, "6983")
				case d.card.ses.challenge == nil:
					want(command, "6984")
				case right:
					want(command, "9000")
					m.proved[key] = true
					delete(m.keyTries, key)
				default:
					m.keyTries[key] = tries - 1
					delete(m.proved, key)
					want(command, fmt.Sprintf("63C%X", tries-1))
				}
				want(command, map[bool]string{true: "6983", false: "6984"}[m.keyTries[key] == 0 && hasKey(m.keyTries, key)]) // never twice
			},
			"read": func(rt *rapid.T) {
				f := rapid.SampledFrom(guarded).Draw(rt, "file")
				mode := rapid.SampledFrom([]byte{0, 1, 2, 4, 5, 6}).Draw(rt, "mode")
				p1 := byte(1)
				if mode < 4 {
					p1 = 0
				}
				command := "00B2" + hex.EncodeToString([]byte{p1, f.sfi<<3 | mode, 0})
				got := d.send(command)
				status := got[len(got)-4:]
				switch {
				case m.df != f.df:
					// Another DF's file of the same number has its own condition.
				case !f.open(m) && (status != "6982" || len(got) != 4):
					rt.Fatalf("%s%02X gave %s to nobody entitled (state %+v)", f.df, f.sfi, status, *m)
				case f.open(m) && status != "9000" && status != "6A83":
					rt.Fatalf("%s%02X refused with %s (state %+v)", f.df, f.sfi, status, *m)
				}
			},
			"internal": func(rt *rapid.T) {
				want("0088000010"+zeros(16), map[bool]string{true: "9000", false: "6A88"}[m.df == dfSSSE])
			},
			"noise": func(rt *rapid.T) {
				b := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "bytes")
				if len(b) > 1 && (b[1] == insVerify || b[1] == insSelect || b[1] == insExternalAuth || b[1] == insGetChallenge ||
					b[1] == insChangePIN || b[1] == insReloadPIN || b[1] == insUpdateRecord || b[1] == insUpdateBinary) {
					rt.Skip()
				}
				if a := d.card.Transmit(b); len(a) < 2 || len(a) > 258 {
					rt.Fatalf("%d bytes", len(a))
				}
			},
		})
	})
}

func hasKey(m map[string]int, key string) bool {
	_, ok := m[key]
	return ok
}
