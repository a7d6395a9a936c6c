package apdu_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"onecard/apdu"
)

func FuzzParseCommand(f *testing.F) {
	for _, s := range []string{"00A40400", "0084000008", "00B2012D00", "00A4040005010203040500", "00B00000000101", "00DC00000000050102030405", "00A4040000000501020304050100"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := apdu.ParseCommand(b)
		if err != nil {
			if !errors.Is(err, apdu.ErrCommand) {
				t.Fatal(err)
			}
			return
		}
		back, err := c.Bytes()
		if err != nil || !bytes.Equal(back, b) {
			t.Fatalf("% X became % X, %v", b, back, err)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	for _, s := range []string{"", "90", "9000", "0102036110", "6C10"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := apdu.ParseResponse(b)
		if err != nil {
			if !errors.Is(err, apdu.ErrGarbage) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(r.Bytes(), b) {
			t.Fatalf("% X became % X", b, r.Bytes())
		}
		_ = r.Status.String()
	})
}

func FuzzParseSimpleTLV(f *testing.F) {
	for _, s := range []string{"0803414243", "0000FF0801AA", "08FF000101", "08FF", "0801AA0902BB"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := apdu.ParseSimpleTLV(b)
		if err != nil && !errors.Is(err, apdu.ErrTLV) {
			t.Fatal(err)
		}
		var again []byte
		for _, o := range list {
			var err error
			if again, err = apdu.AppendSimpleTLV(again, o); err != nil {
				t.Fatal(err)
			}
		}
		back, err := apdu.ParseSimpleTLV(again)
		if err != nil || len(back) != len(list) {
			t.Fatalf("%d became %d, %v", len(list), len(back), err)
		}
	})
}

func FuzzParseBER(f *testing.F) {
	for _, s := range []string{"6F00", sm4FCI, "5F2D0101", "6F820100", "1F81818101", "000000FF"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := apdu.ParseBER(b)
		if err != nil && !errors.Is(err, apdu.ErrTLV) {
			t.Fatal(err)
		}
		sum := 0
		for _, o := range list {
			sum += 2 + len(o.Value)
			o.Find(0xA5, 0x9F0C, 0x86)
		}
		if sum > len(b) {
			t.Fatalf("%d bytes out of %d", sum, len(b))
		}
	})
}

func FuzzParseFCI(f *testing.F) {
	for _, s := range []string{"6F00", sm4FCI, "6F06A5049F0C01FF", "6F03A50288"} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := apdu.ParseFCI(b); err != nil && !errors.Is(err, apdu.ErrTLV) {
			t.Fatal(err)
		}
	})
}

// A card that answers noise, cut into answers by its first bytes, ends every
// exchange within the limits and with an answer or an error that has a name.
func FuzzExchange(f *testing.F) {
	f.Add([]byte{0x02, 0x61, 0x05, 0x03, 0xAA, 0x90, 0x00}, true)
	f.Add([]byte{0x02, 0x6C, 0x05, 0x02, 0x6C, 0x05}, false)
	f.Add([]byte{0x01, 0x90}, false)
	f.Add([]byte{0x02, 0x61, 0x00}, true)
	f.Fuzz(func(t *testing.T, noise []byte, t0 bool) {
		rest := noise
		card := transmit(func(command []byte) ([]byte, error) {
			if _, err := apdu.ParseCommand(command); err != nil {
				t.Fatalf("sent % X: %v", command, err)
			}
			if len(rest) == 0 {
				rest = noise // for ever
			}
			if len(rest) == 0 {
				return nil, nil
			}
			n := min(int(rest[0]), len(rest)-1)
			answer := bytes.Clone(rest[1 : 1+n])
			rest = rest[1+n:]
			return answer, nil
		})
		var trace apdu.Trace
		opts := []apdu.Option{apdu.WithTrace(&trace)}
		if t0 {
			opts = append(opts, apdu.WithT0())
		}
		x := apdu.NewExchanger(card, opts...)
		r, err := x.Exchange(context.Background(), apdu.Command{INS: 0xA4, Data: []byte{1}, Le: 256})
		if err != nil && !errors.Is(err, apdu.ErrGarbage) && !errors.Is(err, apdu.ErrEndless) {
			t.Fatal(err)
		}
		limits := apdu.DefaultLimits()
		if x.Sent() > limits.Rounds || len(r.Data) > limits.Bytes {
			t.Fatalf("%d rounds, %d bytes", x.Sent(), len(r.Data))
		}
		if trace.Len() != x.Sent() || len(trace.String()) == 0 {
			t.Fatalf("%d sent, %d traced", x.Sent(), trace.Len())
		}
	})
}
