package apdu_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"onecard/apdu"
	"onecard/fault"

	"pgregory.net/rapid"
)

// A script is a card that expects commands and answers from a list.
type script struct {
	t     testing.TB
	steps [][2]string
}

func (s *script) Transmit(_ context.Context, command []byte) ([]byte, error) {
	s.t.Helper()
	if len(s.steps) == 0 {
		s.t.Fatalf("unexpected command %X", command)
	}
	want := strings.ReplaceAll(s.steps[0][0], " ", "")
	if hexOf(command) != want {
		s.t.Errorf("command %X, want %s", command, want)
	}
	answer := unhex(s.t, s.steps[0][1])
	s.steps = s.steps[1:]
	return answer, nil
}

type transmit func(command []byte) ([]byte, error)

func (f transmit) Transmit(_ context.Context, command []byte) ([]byte, error) { return f(command) }

func TestExchange(t *testing.T) {
	read := apdu.Command{INS: 0xB2, P1: 1, P2: 0x2D, Le: 256}
	sel := apdu.Command{INS: 0xA4, P1: 4, Data: []byte{1, 2}, Le: 256}
	for _, test := range []struct {
		name    string
		command apdu.Command
		opts    []apdu.Option
		steps   [][2]string
		want    string
	}{
		{"straight", read, nil, [][2]string{{"00B2012D00", "AABB9000"}}, "AABB9000"},
		{"a status word is an answer", read, nil, [][2]string{{"00B2012D00", "6A83"}}, "6A83"},
		{"wrong Le", read, nil, [][2]string{{"00B2012D00", "6C02"}, {"00B2012D02", "AABB9000"}}, "AABB9000"},
		{"one 61xx", sel, nil, [][2]string{{"00A4040002010200", "6102"}, {"00C0000002", "AABB9000"}}, "AABB9000"},
		{"several 61xx, with data before and an error behind", sel, nil, [][2]string{
			{"00A4040002010200", "016102"}, {"00C0000002", "02036100"}, {"00C0000000", "046F00"},
		}, "010203046F00"},
		{"6Cxx of GET RESPONSE", sel, nil, [][2]string{
			{"00A4040002010200", "6110"}, {"00C0000010", "6C02"}, {"00C0000002", "AABB9000"},
		}, "AABB9000"},
		{"6Cxx twice, each for a command of its own", read, nil, [][2]string{
			{"00B2012D00", "6C05"}, {"00B2012D05", "6108"}, {"00C0000008", "6C02"}, {"00C0000002", "AABB9000"},
		}, "AABB9000"},
		{"T=0 leaves Le away", sel, []apdu.Option{apdu.WithT0()}, [][2]string{
			{"00A40400020102", "6102"}, {"00C0000002", "AABB9000"},
		}, "AABB9000"},
		{"T=0 keeps Le of case 2", read, []apdu.Option{apdu.WithT0()}, [][2]string{{"00B2012D00", "AA9000"}}, "AA9000"},
		{"a command with data and without Le is not repeated", apdu.Command{INS: 0xDC, Data: []byte{1}}, nil,
			[][2]string{{"00DC00000101", "6C02"}}, "6C02"},
		{"the channel is kept, secure messaging is not", apdu.Command{CLA: 0x05, INS: 0xA4, Data: []byte{1}, Le: 1}, nil,
			[][2]string{{"05A40000010101", "6101"}, {"01C0000001", "AA9000"}}, "AA9000"},
		{"GET RESPONSE of a proprietary class", apdu.Command{CLA: 0x84, INS: 0x24, Data: []byte{1}, Le: 1}, nil,
			[][2]string{{"84240000010101", "6101"}, {"00C0000001", "AA9000"}}, "AA9000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			card := &script{t, test.steps}
			x := apdu.NewExchanger(card, test.opts...)
			r, err := x.Exchange(t.Context(), test.command)
			if err != nil || hexOf(r.Bytes()) != test.want {
				t.Errorf("%X, %v; want %s", r.Bytes(), err, test.want)
			}
			if len(card.steps) != 0 || x.Sent() != len(test.steps) {
				t.Errorf("%d steps left, %d sent", len(card.steps), x.Sent())
			}
		})
	}
}

func TestExchangeEndless(t *testing.T) {
	read := apdu.Command{INS: 0xB2, P1: 1, Le: 256}
	clock := time.Unix(0, 0)
	for _, test := range []struct {
		name   string
		answer []byte
		most   int
		opts   []apdu.Option
	}{
		{"61xx without data", []byte{0x61, 0x10}, 64, nil},
		{"61xx with data", append(make([]byte, 256), 0x61, 0x00), 64, nil},
		{"61xx beyond the bytes", append(make([]byte, 200), 0x61, 0x00), 3, []apdu.Option{apdu.WithLimits(apdu.Limits{Bytes: 500})}},
		{"61xx beyond the time", []byte{0x61, 0x10}, 3, []apdu.Option{
			apdu.WithLimits(apdu.Limits{Time: 10 * time.Second}),
			apdu.WithClock(func() time.Time { clock = clock.Add(2 * time.Second); return clock }),
		}},
		{"6Cxx", []byte{0x6C, 0x10}, 2, nil},
	} {
		sent := 0
		x := apdu.NewExchanger(transmit(func([]byte) ([]byte, error) { sent++; return bytes.Clone(test.answer), nil }), test.opts...)
		_, err := x.Exchange(t.Context(), read)
		if !errors.Is(err, apdu.ErrEndless) || fault.Of(err).Code != fault.CardEndless {
			t.Errorf("%s: %v", test.name, err)
		}
		if sent > test.most || x.Sent() != sent {
			t.Errorf("%s: %d commands sent, at most %d", test.name, sent, test.most)
		}
	}
}

func TestExchangeGarbage(t *testing.T) {
	for name, answer := range map[string][]byte{
		"nothing":         nil,
		"one byte":        {0x90},
		"noise":           bytes.Repeat([]byte{0x2A, 0xF1, 0x07}, 86),
		"60xx":            {0x60, 0x00},
		"more than asked": append(make([]byte, 257), 0x90, 0x00),
	} {
		x := apdu.NewExchanger(transmit(func([]byte) ([]byte, error) { return answer, nil }))
		if _, err := x.Exchange(t.Context(), apdu.Command{INS: 0x84, Le: 8}); !errors.Is(err, apdu.ErrGarbage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A long answer handed out in pieces arrives whole, however the card cuts it.
func TestExchangeJoins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var whole []byte
		pieces := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 256), 1, 30).Draw(t, "pieces")
		at := 0
		card := transmit(func(command []byte) ([]byte, error) {
			c, err := apdu.ParseCommand(command)
			if err != nil {
				return nil, err
			}
			if at > 0 && (c.INS != 0xC0 || c.Le != max(1, len(pieces[at]))) {
				t.Fatalf("piece %d fetched by %X", at, command)
			}
			piece := pieces[at]
			whole = append(whole, piece...)
			at++
			if at == len(pieces) {
				return append(bytes.Clone(piece), 0x90, 0x00), nil
			}
			return append(bytes.Clone(piece), 0x61, byte(max(1, len(pieces[at])))), nil
		})
		r, err := apdu.NewExchanger(card).Exchange(context.Background(), apdu.Command{INS: 0xA4, Data: []byte{1}, Le: 256})
		if err != nil || !r.Status.OK() || !bytes.Equal(r.Data, whole) {
			t.Fatalf("%d of %d bytes, %v", len(r.Data), len(whole), err)
		}
	})
}

func TestExchangeTransportError(t *testing.T) {
	torn := errors.New("torn")
	var trace apdu.Trace
	x := apdu.NewExchanger(transmit(func([]byte) ([]byte, error) { return nil, torn }), apdu.WithTrace(&trace))
	if _, err := x.Exchange(t.Context(), apdu.Command{INS: 0x84, Le: 8}); !errors.Is(err, torn) {
		t.Errorf("%v", err)
	}
	if x.Sent() != 1 || !strings.Contains(trace.String(), "failed: torn") {
		t.Errorf("%d sent; %s", x.Sent(), trace.String())
	}
}

func TestTraceMasks(t *testing.T) {
	var trace apdu.Trace
	x := apdu.NewExchanger(transmit(func([]byte) ([]byte, error) { return []byte{0x77, 0x88, 0x90, 0x00}, nil }), apdu.WithTrace(&trace))
	exchange := func(cla, ins byte) {
		t.Helper()
		if _, err := x.Exchange(t.Context(), apdu.Command{CLA: cla, INS: ins, Data: []byte{0x12, 0x34, 0x56}, Le: 2}); err != nil {
			t.Fatal(err)
		}
	}
	secrets := [][2]byte{{0x00, 0x20}, {0x04, 0x20}, {0x80, 0x5E}, {0x84, 0x24}, {0x80, 0xD4}, {0x84, 0xD4}, {0x00, 0x2C}}
	exchange(0, 0xA4)
	for _, s := range secrets {
		exchange(s[0], s[1])
	}
	masked := trace.String()
	if strings.Contains(masked, "12 34 56") || strings.Contains(masked, "77 88") {
		t.Errorf("not masked:\n%s", masked)
	}
	for _, want := range []string{"SELECT", "00 A4 00 00  3 bytes out, up to 2 expected [masked]  -> 2 bytes [masked] 9000 normal processing", "VERIFY"} {
		if !strings.Contains(masked, want) {
			t.Errorf("no %q in\n%s", want, masked)
		}
	}

	trace.Reset()
	trace.Reveal(true)
	for _, s := range secrets {
		exchange(s[0], s[1])
	}
	if shown := trace.String(); strings.Contains(shown, "12 34 56") || strings.Contains(shown, "77 88") {
		t.Errorf("a secret is shown:\n%s", shown)
	}
	exchange(0xB0, 0x2C) // DEBIT, not RESET RETRY COUNTER
	if shown := trace.String(); !strings.Contains(shown, "[12 34 56]") || !strings.Contains(shown, "[77 88]") {
		t.Errorf("not shown:\n%s", shown)
	}
}

func TestTraceIsBounded(t *testing.T) {
	var trace apdu.Trace
	n := byte(0)
	x := apdu.NewExchanger(transmit(func([]byte) ([]byte, error) { n++; return []byte{0x90, 0x00}, nil }), apdu.WithTrace(&trace))
	for range 1000 {
		if _, err := x.Exchange(t.Context(), apdu.Command{INS: 0x84, P2: n}); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSpace(trace.String()), "\n")
	if trace.Len() != 1000 || len(lines) != 513 || lines[0] != "(488 earlier commands not kept)" {
		t.Fatalf("%d, %d lines, %q", trace.Len(), len(lines), lines[0])
	}
	// The last of 1000 has P2 999 mod 256, the oldest kept 488.
	if !strings.Contains(lines[1], "00 84 00 E8") || !strings.Contains(lines[512], "00 84 00 E7") {
		t.Errorf("%q ... %q", lines[1], lines[512])
	}
}

// Exchanging costs the card's answer and nothing that grows.
func TestExchangeAllocations(t *testing.T) {
	answer := []byte{1, 2, 3, 0x90, 0x00}
	x := apdu.NewExchanger(transmit(func([]byte) ([]byte, error) { return answer, nil }))
	data := []byte{1, 2, 3, 4}
	n := testing.AllocsPerRun(100, func() {
		if _, err := x.Exchange(context.Background(), apdu.Command{INS: 0xA4, Data: data, Le: 256}); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
