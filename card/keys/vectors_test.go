package keys_test

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"onecard/card/keys"
)

type bytesHex []byte

func (b *bytesHex) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

type vectors struct {
	RootKeys map[string]bytesHex `json:"root_keys"`
	Cases    []vector            `json:"cases"`
}

type vector struct {
	Algorithm  string              `json:"algorithm"`
	Area       string              `json:"area"`
	Historical bytesHex            `json:"historical"`
	CardKeys   map[string]bytesHex `json:"card_keys"`
	Internal   struct{ Process, Raw, Answer bytesHex }
	External   struct {
		Key                  string
		Challenge, Raw, Auth bytesHex
	}
	ReloadPIN struct {
		Challenge, PIN, Command bytesHex
	} `json:"reload_pin"`
	Purchase struct {
		Random, Sequence       bytesHex
		TerminalSequence       bytesHex `json:"terminal_sequence"`
		Terminal, Time         bytesHex
		Account, Self, Pooling uint32
		MAC1, MAC2, TAC        bytesHex
	}
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.RootKeys) == 0 || len(v.Cases) == 0 {
		t.Fatal("vectors.json is empty")
	}
	return v
}

func (v vector) algorithm(t testing.TB) keys.Algorithm {
	t.Helper()
	for _, a := range []keys.Algorithm{keys.DES, keys.SM4} {
		if a.String() == v.Algorithm {
			return a
		}
	}
	t.Fatalf("algorithm %q", v.Algorithm)
	return 0
}

func (v vector) subject(t testing.TB) keys.Subject {
	t.Helper()
	return keys.Subject{Algorithm: v.algorithm(t), Area: v.Area, Historical: [13]byte(v.Historical)}
}

func same(t *testing.T, what string, got []byte, want []byte) {
	t.Helper()
	if len(want) == 0 || !keys.Equal(got, want) {
		t.Errorf("%s: got %x, want %x", what, got, want)
	}
}

func key(t testing.TB, b bytesHex) keys.Key {
	t.Helper()
	if len(b) != keys.Size {
		t.Fatalf("key of %d bytes", len(b))
	}
	return keys.Key(b)
}

func TestVectorsOfRoots(t *testing.T) {
	for name, want := range readVectors(t).RootKeys {
		root := keys.TestRoot(name, 1)
		same(t, name, root[:], want)
		zero := keys.TestRoot(name, 0)
		same(t, name+", version 0", zero[:], want)
	}
}

func TestVectors(t *testing.T) {
	for _, v := range readVectors(t).Cases {
		t.Run(v.Algorithm+"/"+v.Area, func(t *testing.T) {
			a, subject := v.algorithm(t), v.subject(t)
			for name, want := range v.CardKeys {
				k, err := subject.CardKey(keys.TestRoot(name, subject.KeyVersion()))
				if err != nil {
					t.Fatal(err)
				}
				same(t, name, k[:], want)
			}

			answer, err := keys.InternalAnswer(a, key(t, v.CardKeys["IRK"]), [8]byte(v.Internal.Process), [8]byte(v.Internal.Raw))
			if err != nil {
				t.Fatal(err)
			}
			same(t, "internal authentication", answer[:], v.Internal.Answer)

			auth, err := keys.ExternalAuth(a, key(t, v.CardKeys[v.External.Key]), v.External.Challenge, [8]byte(v.External.Raw))
			if err != nil {
				t.Fatal(err)
			}
			same(t, "external authentication", auth[:], v.External.Auth)
		})
	}
}

func TestVectorsOfReloadPIN(t *testing.T) {
	for _, v := range readVectors(t).Cases {
		t.Run(v.Algorithm+"/"+v.Area, func(t *testing.T) {
			s, err := keys.NewSession(v.algorithm(t), key(t, v.CardKeys["STK"]), v.ReloadPIN.Challenge)
			if err != nil {
				t.Fatal(err)
			}
			command, err := s.ReloadPIN(v.ReloadPIN.PIN)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "command", command, v.ReloadPIN.Command)

			// And the card's side of it.
			encrypted, err := s.Open(keys.Header(command[:4]), command[5:])
			if err != nil {
				t.Fatal(err)
			}
			pin, err := s.Decrypt(encrypted)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "PIN", pin, v.ReloadPIN.PIN)
		})
	}
}

func TestVectorsOfPurchase(t *testing.T) {
	for _, v := range readVectors(t).Cases {
		t.Run(v.Algorithm+"/"+v.Area, func(t *testing.T) {
			a, w := v.algorithm(t), v.Purchase
			p := keys.Purchase{
				Random:           [4]byte(w.Random),
				Sequence:         uint16(w.Sequence[0])<<8 | uint16(w.Sequence[1]),
				TerminalSequence: uint32(w.TerminalSequence[2])<<8 | uint32(w.TerminalSequence[3]),
				Terminal:         [6]byte(w.Terminal),
				Time:             [7]byte(w.Time),
				Account:          w.Account, Self: w.Self, Pooling: w.Pooling,
			}
			s, err := p.Session(a, key(t, v.CardKeys["DPK"]))
			if err != nil {
				t.Fatal(err)
			}
			mac1, mac2 := p.MAC1(&s), p.MAC2(&s)
			same(t, "MAC1", mac1[:], w.MAC1)
			same(t, "MAC2", mac2[:], w.MAC2)
			tac, err := p.TAC(a, key(t, v.CardKeys["DTK"]))
			if err != nil {
				t.Fatal(err)
			}
			same(t, "TAC", tac[:], w.TAC)
		})
	}
}
