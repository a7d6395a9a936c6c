package keys_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"onecard/card/keys"
	"onecard/fault"
)

var card = keys.Subject{
	Algorithm:  keys.SM4,
	Area:       "510100",
	Historical: [13]byte{0x00, 0x81, 0x54, 0x4C, 0x96, 0x86, 0x84, 0x51, 0x01, 0x00, 0x03, 0x56, 0x76},
}

func TestKeysPrintStars(t *testing.T) {
	k := keys.TestRoot("IRK", 1)
	s, err := keys.NewSession(keys.DES, k, make([]byte, 8))
	if err != nil {
		t.Fatal(err)
	}
	secret := hex.EncodeToString(k[:4])
	values := map[string]any{
		"Key": k, "*Key": &k, "[]Key": []keys.Key{k}, "map": map[string]keys.Key{"IRK": k},
		"struct": struct{ Key keys.Key }{k}, "Session": s, "*Session": &s,
		"Ring": keys.TestRing(keys.Reference()),
	}
	for name, value := range values {
		for _, verb := range []string{"v", "+v", "#v", "s", "q", "x", "X", "d", "o", "b", "c", "U", "z", "T"} {
			text := fmt.Sprintf("%"+verb, value)
			if strings.HasSuffix(verb, "T") {
				continue
			}
			if !strings.Contains(text, "****") || strings.Contains(strings.ToLower(text), secret) {
				t.Errorf("%s with %%%s prints %q", name, verb, text)
			}
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), secret) || strings.Contains(string(text), fmt.Sprint(k[0])+",") {
			t.Errorf("%s in JSON: %s", name, text)
		}
	}
	if got := fmt.Sprint(k.String(), k.GoString(), s.String(), s.GoString()); strings.Trim(got, "* ") != "" {
		t.Errorf("String and GoString: %q", got)
	}
	inMap, err := json.Marshal(map[keys.Key]int{k: 1})
	if err != nil || !strings.Contains(string(inMap), "****") {
		t.Errorf("key of a JSON object: %s, %v", inMap, err)
	}
}

func TestParseKeyNeverRepeatsItsInput(t *testing.T) {
	k, err := keys.ParseKey("5b0e086f8d7c3575c2421b23077e802b")
	if err != nil || k != keys.TestRoot("IRK", 1) {
		t.Fatalf("ParseKey: %v", err)
	}
	for _, bad := range []string{"", "5b0e", "5b0e086f8d7c3575c2421b23077e802", "5b0e086f8d7c3575c2421b23077e80zb", strings.Repeat("ab", 17)} {
		k, err := keys.ParseKey(bad)
		if err == nil || k != (keys.Key{}) {
			t.Errorf("ParseKey of %d characters: %v", len(bad), err)
		} else if strings.Contains(err.Error(), "5b0e") || strings.Contains(err.Error(), "'z'") {
			t.Errorf("the error repeats the key: %v", err)
		}
	}
}

func TestAlgorithmsThatAreNotComputed(t *testing.T) {
	for _, a := range []keys.Algorithm{0, keys.SSF33, 4, 255} {
		s := card
		s.Algorithm = a
		k := keys.TestRoot("IRK", 1)
		_, deriveErr := s.CardKey(k)
		_, sessionErr := keys.NewSession(a, k, make([]byte, 8))
		_, internalErr := keys.InternalAnswer(a, k, [8]byte{}, [8]byte{})
		_, externalErr := keys.ExternalAuth(a, k, make([]byte, 8), [8]byte{})
		_, tacErr := new(keys.Purchase).TAC(a, k)
		_, loadErr := new(keys.Load).TAC(a, k)
		for i, err := range []error{deriveErr, sessionErr, internalErr, externalErr, tacErr, loadErr} {
			if !errors.Is(err, keys.ErrAlgorithm) || fault.Of(err).Code != fault.AlgorithmUnsupported {
				t.Errorf("%v, call %d: %v", a, i, err)
			}
		}
	}
}

func TestSubjectsThatAreRefused(t *testing.T) {
	for name, change := range map[string]func(*keys.Subject){
		"short area":    func(s *keys.Subject) { s.Area = "51010" },
		"no area":       func(s *keys.Subject) { s.Area = "" },
		"long area":     func(s *keys.Subject) { s.Area = "5101000" },
		"letter":        func(s *keys.Subject) { s.Area = "51010A" },
		"full width":    func(s *keys.Subject) { s.Area = "５１" },
		"version three": func(s *keys.Subject) { s.Version = 4 },
	} {
		s := card
		change(&s)
		if _, err := s.CardKey(keys.TestRoot("IRK", 1)); !errors.Is(err, keys.ErrSubject) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range 20 {
		_, err := keys.NewSession(keys.SM4, keys.Key{}, make([]byte, n))
		if ok := n == 4 || n == 8 || n == 16; ok != (err == nil) || !ok && !errors.Is(err, keys.ErrSubject) {
			t.Errorf("random of %d bytes: %v", n, err)
		}
	}
}

// The lengths of a challenge: 4 bytes are padded with zeros; of 16 DES uses the
// first half (card specification, section 9) and SM4 all.
func TestChallengeLengths(t *testing.T) {
	k, raw := keys.TestRoot("RKSSSE", 1), [8]byte{1, 2, 3}
	auth := func(a keys.Algorithm, challenge ...byte) [8]byte {
		t.Helper()
		got, err := keys.ExternalAuth(a, k, challenge, raw)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, a := range []keys.Algorithm{keys.DES, keys.SM4} {
		if auth(a, 1, 2, 3, 4) != auth(a, 1, 2, 3, 4, 0, 0, 0, 0) {
			t.Errorf("%v: 4 bytes are not padded with zeros", a)
		}
		short := auth(a, 1, 2, 3, 4, 5, 6, 7, 8)
		long := auth(a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
		if (short == long) != (a == keys.DES) {
			t.Errorf("%v: the second half of a challenge of 16 bytes", a)
		}
	}
}

func TestCityAreas(t *testing.T) {
	k := keys.TestRoot("IRK", 1)
	of := func(area string) keys.Key {
		t.Helper()
		s := card
		s.Area = area
		got, err := s.CardKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if of("330100") != of("330182") {
		t.Error("areas beginning 33 differ by district")
	}
	if of("330100") == of("330200") || of("510100") == of("510182") {
		t.Error("cities, or districts elsewhere, do not differ")
	}
}

func TestVersionsDiffer(t *testing.T) {
	seen := map[keys.Key]bool{}
	for v := byte(1); v <= keys.Versions; v++ {
		seen[keys.TestRoot("IRK", v)] = true
	}
	if len(seen) != keys.Versions {
		t.Error("versions of a test root are equal")
	}
	if keys.TestRoot("IRK:02", 1) != keys.TestRoot("IRK", 2) {
		t.Error("version 2 is not named :02")
	}
}

func algorithms() *rapid.Generator[keys.Algorithm] {
	return rapid.SampledFrom([]keys.Algorithm{keys.DES, keys.SM4})
}

func sessions() *rapid.Generator[keys.Session] {
	return rapid.Custom(func(t *rapid.T) keys.Session {
		k := keys.Key(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "key"))
		random := rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "random")
		s, err := keys.NewSession(algorithms().Draw(t, "algorithm"), k, random)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestSecuredCommandsOpenAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := sessions().Draw(t, "session")
		h := keys.Header(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "header"))
		data := rapid.SliceOfN(rapid.Byte(), 0, 251).Draw(t, "data")
		command, err := s.Secure(h, data)
		if err != nil {
			t.Fatal(err)
		}
		if len(command) != 5+len(data)+keys.MACSize || int(command[4]) != len(command)-5 {
			t.Fatalf("command of %d bytes for %d", len(command), len(data))
		}
		opened, err := s.Open(h, command[5:])
		if err != nil || !bytes.Equal(opened, data) {
			t.Fatalf("opened: %x, %v", opened, err)
		}
		i, bit := rapid.IntRange(0, len(command)-1).Draw(t, "byte"), rapid.IntRange(0, 7).Draw(t, "bit")
		if i == 4 {
			return // Lc is not sent to Open: it counts the body
		}
		command[i] ^= 1 << bit
		if _, err := s.Open(keys.Header(command[:4]), command[5:]); !errors.Is(err, keys.ErrMAC) {
			t.Fatalf("a flipped bit in byte %d passes: %v", i, err)
		}
	})
}

func TestEncryptedDataDecryptAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := sessions().Draw(t, "session")
		data := rapid.SliceOfN(rapid.Byte(), 0, 255).Draw(t, "data")
		encrypted, err := s.Encrypt(data)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Decrypt(encrypted)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("decrypted: %x, %v", got, err)
		}
	})
}

func TestTooLongToSecure(t *testing.T) {
	var s keys.Session
	s, err := keys.NewSession(keys.SM4, keys.Key{}, make([]byte, 8))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Secure(keys.Header{}, make([]byte, 252)); !errors.Is(err, keys.ErrTooLong) {
		t.Errorf("Secure: %v", err)
	}
	if _, err := s.Encrypt(make([]byte, 256)); !errors.Is(err, keys.ErrTooLong) {
		t.Errorf("Encrypt: %v", err)
	}
	for _, n := range []int{0, 1, 9} {
		if _, err := s.ReloadPIN(make([]byte, n)); !errors.Is(err, keys.ErrSubject) {
			t.Errorf("PIN of %d bytes: %v", n, err)
		}
	}
}

// The lengths of RELOAD PIN that card specification, section 9, gives.
func TestReloadPINLengths(t *testing.T) {
	for _, test := range []struct {
		algorithm keys.Algorithm
		pin       int // bytes
		lc        byte
	}{{keys.DES, 2, 0x0C}, {keys.DES, 7, 0x0C}, {keys.DES, 8, 0x14}, {keys.SM4, 2, 0x14}, {keys.SM4, 8, 0x14}} {
		s, err := keys.NewSession(test.algorithm, keys.Key{1}, make([]byte, 8))
		if err != nil {
			t.Fatal(err)
		}
		command, err := s.ReloadPIN(make([]byte, test.pin))
		if err != nil || command[4] != test.lc {
			t.Errorf("%v, PIN of %d bytes: Lc %02X, %v", test.algorithm, test.pin, command[4], err)
		}
	}
	s, err := keys.NewSession(keys.SM4, keys.Key{1}, make([]byte, 8))
	if err != nil {
		t.Fatal(err)
	}
	command, err := s.UnblockPIN()
	if err != nil || len(command) != 9 || !bytes.HasPrefix(command, []byte{0x84, 0x24, 0, 0, 4}) {
		t.Errorf("unblock: %x, %v", command, err)
	}
}

// FuzzCardSide gives the card's side of secure messaging whatever a terminal
// may send.
func FuzzCardSide(f *testing.F) {
	f.Add(byte(1), []byte{0x84, 0x24, 0, 1}, []byte("0123456789ab"))
	f.Add(byte(3), []byte{0x84, 0x24, 0, 1}, []byte("0123456789abcdef0123"))
	f.Add(byte(3), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, a byte, header, body []byte) {
		s, err := keys.NewSession(keys.Algorithm(a), keys.TestRoot("STK", 1), make([]byte, 8))
		if err != nil {
			t.Skip()
		}
		var h keys.Header
		copy(h[:], header)
		if data, err := s.Open(h, body); err == nil {
			again, err := s.Secure(h, data)
			if err != nil || !bytes.Equal(again[5:], body) {
				t.Errorf("opened, but not what Secure makes: %v", err)
			}
		}
		if data, err := s.Decrypt(body); err == nil {
			again, err := s.Encrypt(data)
			if err != nil || !bytes.Equal(again, body) {
				t.Errorf("decrypted, but not what Encrypt makes: %v", err)
			}
		}
	})
}

// The MACs of a load have no published vector; what they cover is checked field
// by field, and their session against that of a purchase, which has one.
func TestLoadCoversItsFields(t *testing.T) {
	load := keys.Load{Random: [4]byte{1, 2, 3, 4}, Sequence: 7, Balance: 100, Amount: 50, Terminal: [6]byte{0x41}, Time: [7]byte{0x20, 0x26}}
	for _, a := range []keys.Algorithm{keys.DES, keys.SM4} {
		dlk, dtk := keys.TestRoot("DLK", 1), keys.TestRoot("DTK", 1)
		macs := func(l keys.Load) [3][keys.MACSize]byte {
			t.Helper()
			s, err := l.Session(a, dlk)
			if err != nil {
				t.Fatal(err)
			}
			tac, err := l.TAC(a, dtk)
			if err != nil {
				t.Fatal(err)
			}
			return [3][keys.MACSize]byte{l.MAC1(&s), l.MAC2(&s), tac}
		}
		before := macs(load)
		purchase := keys.Purchase{Random: load.Random, Sequence: load.Sequence, TerminalSequence: 0x8000}
		s, err := purchase.Session(a, dlk)
		if err != nil {
			t.Fatal(err)
		}
		if got := load.MAC1(&s); got != before[0] {
			t.Errorf("%v: the session is not of random, sequence, 8000", a)
		}
		for name, test := range map[string]struct {
			change func(*keys.Load)
			covers [3]bool // MAC1, MAC2, TAC
		}{
			"random":   {func(l *keys.Load) { l.Random[0]++ }, [3]bool{true, true, false}},
			"sequence": {func(l *keys.Load) { l.Sequence++ }, [3]bool{true, true, true}},
			"balance":  {func(l *keys.Load) { l.Balance++ }, [3]bool{true, false, true}},
			"amount":   {func(l *keys.Load) { l.Amount++ }, [3]bool{true, true, true}},
			"terminal": {func(l *keys.Load) { l.Terminal[5]++ }, [3]bool{true, true, true}},
			"time":     {func(l *keys.Load) { l.Time[6]++ }, [3]bool{false, true, true}},
		} {
			changed := load
			test.change(&changed)
			after := macs(changed)
			for i, covered := range test.covers {
				if covered == (before[i] == after[i]) {
					t.Errorf("%v, %s: MAC %d covers it: %t", a, name, i+1, !covered)
				}
			}
		}
	}
	full := keys.Load{Balance: 1<<32 - 1, Amount: 1}
	if _, err := full.TAC(keys.SM4, keys.Key{}); !errors.Is(err, keys.ErrSubject) {
		t.Errorf("a balance that overflows: %v", err)
	}
}
