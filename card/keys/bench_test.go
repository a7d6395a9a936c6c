package keys_test

import (
	"testing"

	"onecard/card/keys"
)

func BenchmarkCardKey(b *testing.B) {
	for _, a := range []keys.Algorithm{keys.DES, keys.SM4} {
		b.Run(a.String(), func(b *testing.B) {
			s, root := card, keys.TestRoot("IRK", 1)
			s.Algorithm = a
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.CardKey(root); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkInternal is what a key holder does for one card: derive and answer.
func BenchmarkInternal(b *testing.B) {
	ring := keys.TestRing(keys.Reference())
	for _, a := range []keys.Algorithm{keys.DES, keys.SM4} {
		b.Run(a.String(), func(b *testing.B) {
			s := card
			s.Algorithm = a
			b.ReportAllocs()
			for b.Loop() {
				k, err := ring.CardKey(s, "IRK")
				if err != nil {
					b.Fatal(err)
				}
				if _, err := keys.InternalAnswer(a, k, [8]byte{1}, [8]byte{2}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMAC(b *testing.B) {
	for _, a := range []keys.Algorithm{keys.DES, keys.SM4} {
		b.Run(a.String(), func(b *testing.B) {
			s, err := keys.NewSession(a, keys.TestRoot("STK", 1), make([]byte, 8))
			if err != nil {
				b.Fatal(err)
			}
			data := make([]byte, 240)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				s.MAC(data)
			}
		})
	}
}
