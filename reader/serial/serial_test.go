package serial

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"onecard/reader"
)

func drawMessage(t *rapid.T) message {
	return message{
		Kind: kind(rapid.Byte().Draw(t, "kind")), Slot: rapid.Byte().Draw(t, "slot"), Seq: rapid.Byte().Draw(t, "seq"),
		Extra: [3]byte(rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, "extra")),
		Data:  rapid.SliceOfN(rapid.Byte(), 0, maxData).Draw(t, "data"),
	}
}

func same(a, b message) bool {
	return a.Kind == b.Kind && a.Slot == b.Slot && a.Seq == b.Seq && a.Extra == b.Extra && bytes.Equal(a.Data, b.Data)
}

// A frame comes out as it went in, however the line cuts it.
func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			want []message
			line []byte
			err  error
		)
		for range rapid.IntRange(1, 3).Draw(t, "frames") {
			m := drawMessage(t)
			want = append(want, m)
			if line, err = appendFrame(line, m); err != nil {
				t.Fatal(err)
			}
		}
		var d decoder
		for len(line) > 0 {
			n := rapid.IntRange(1, len(line)).Draw(t, "cut")
			d.feed(line[:n])
			line = line[n:]
			for {
				what, m := d.next()
				if what == nothing {
					break
				}
				if what != anAnswer || len(want) == 0 || !same(m, want[0]) {
					t.Fatalf("%v %+v", what, m)
				}
				want = want[1:]
			}
		}
		if len(want) > 0 || d.partial() {
			t.Fatalf("%d frames left", len(want))
		}
	})
}

// One broken byte never yields another message.
func TestBrokenByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMessage(t)
		frame, err := appendFrame(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		at := rapid.IntRange(0, len(frame)-1).Draw(t, "at")
		frame[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
		var d decoder
		d.feed(frame)
		if what, got := d.next(); what == anAnswer && got.Kind == m.Kind && got.Seq == m.Seq && !bytes.Equal(got.Data, m.Data) {
			t.Fatalf("%+v out of a broken frame of %+v", got, m)
		}
	})
}

func TestFrameBytes(t *testing.T) {
	got, err := appendFrame(nil, message{Kind: escape, Seq: 5, Data: []byte{0x02}})
	if err != nil || hex.EncodeToString(got) != "03066b010000000005000000"+"02"+"68" {
		t.Errorf("%x %v", got, err)
	}
	if _, err := appendFrame(nil, message{Data: make([]byte, maxData+1)}); !errors.Is(err, errFrame) {
		t.Error(err)
	}
}

func FuzzDecoder(f *testing.F) {
	frame, err := appendFrame(nil, message{Kind: dataBlock, Seq: 1, Data: []byte{0x90, 0x00}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frame, 3)
	f.Add(append([]byte{0x50, 0x02, 0x80, 0x03, 0x15, 0x16}, frame...), 1)
	f.Add([]byte{0x03, 0x06, 0x80, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0}, 2)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		cut = max(cut, 1)
		var d decoder
		for piece := range slices.Chunk(b, cut) {
			d.feed(piece)
			for range len(b) + 1 {
				what, m := d.next()
				if what == nothing {
					break
				}
				if what == anAnswer {
					// What is accepted is a frame of the line, byte for byte.
					again, err := appendFrame(nil, m)
					if err != nil || !bytes.Contains(b, again) {
						t.Fatalf("%+v out of %x", m, b)
					}
				}
			}
			if len(d.buf) > overhead+maxData+cut {
				t.Fatalf("%d bytes kept", len(d.buf))
			}
		}
	})
}

// fuzzLine is a line in memory on which every read brings the next bytes of a
// script, and nothing after its end.
type fuzzLine struct {
	in     []byte
	writes int
	limit  int
}

func (l *fuzzLine) Read(p []byte) (int, error) {
	if len(l.in) == 0 {
		if l.limit--; l.limit < 0 {
			return 0, errHungUp
		}
		return 0, ErrNothing
	}
	n := copy(p, l.in[:1+len(l.in)/2])
	l.in = l.in[n:]
	return n, nil
}

func (l *fuzzLine) Write(p []byte) (int, error) { l.writes++; return len(p), nil }
func (l *fuzzLine) Close() error                { return nil }

// FuzzDriver puts the whole driver on a line of random bytes: it ends, with a
// clear error, and bounds what it writes.
func FuzzDriver(f *testing.F) {
	answer := func(m message) []byte {
		b, err := appendFrame(nil, m)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	name := answer(message{Kind: escaped, Seq: 1, Data: []byte("x")})
	f.Add(name)
	f.Add(slices.Concat(name, answer(message{Kind: status, Seq: 2}), answer(message{Kind: dataBlock, Seq: 3, Data: unhex("3B6D00000081544C968684510100035676")}),
		answer(message{Kind: parameters, Seq: 4, Data: []byte{0x11, 0, 0, 10, 0}})))
	f.Add(bytes.Repeat([]byte{0x03, 0x15, 0x16}, 40))
	f.Add(bytes.Repeat([]byte{0x90}, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<12 {
			return
		}
		line := &fuzzLine{in: b, limit: 8}
		d, err := New([]Port{{Name: "fuzz", Baud: 9600, Open: func(string, int) (Line, error) { return line, nil }}}, WithLook(time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		p := d.ports[0]
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		w, info, err := p.detect(ctx)
		if err == nil {
			p.appear(info)
			err = p.serve(ctx, w)
		}
		if err == nil || ctx.Err() != nil {
			t.Fatal("it went on for ever:", err)
		}
		if line.writes > 40*(len(b)+10) {
			t.Fatalf("%d writes for %d bytes", line.writes, len(b))
		}
	})
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func TestTerms(t *testing.T) {
	for _, c := range []struct{ atr, parameters string }{
		{"3B6D00000081544C968684510100035676", "110000" + "0A00"},
		{"3B1195" + "AA", "950000" + "0A00"},                // TA1
		{"3B8001" + "81", "11100" + "04D002000"},            // T=1 by TD1
		{"3B80813140" + "45" + "35", "11100045" + "004000"}, // with IFSC and BWI
	} {
		a, err := reader.ParseATR(unhex(c.atr))
		if err != nil {
			t.Error(c.atr, err)
			continue
		}
		got, err := choose(a)
		if err != nil || fmt.Sprintf("%X", got.structure()) != c.parameters {
			t.Errorf("%s: %X %v, want %s", c.atr, got.structure(), err, c.parameters)
		}
	}
	for _, atr := range []string{"3B800E8E", "3B80814101" + "41"} {
		a, err := reader.ParseATR(unhex(atr))
		if err != nil {
			t.Error(atr, err)
		} else if _, err := choose(a); !errors.Is(err, reader.ErrMute) {
			t.Error(atr, err)
		}
	}
}

func TestPorts(t *testing.T) {
	root := t.TempDir()
	make := func(dirs ...string) {
		for _, d := range dirs {
			if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		if err := os.Symlink(filepath.Join(root, target), filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	make("dev/serial/by-id", "driver")
	for _, tty := range []string{"ttyUSB0", "ttyUSB1", "ttyS0", "ttyS1", "tty0"} {
		put("dev/"+tty, "")
		make("sys/class/tty/" + tty)
		if tty != "tty0" {
			make("sys/class/tty/" + tty + "/device")
			link("driver", "sys/class/tty/"+tty+"/device/driver")
		}
	}
	put("sys/class/tty/ttyS0/type", "4\n")
	put("sys/class/tty/ttyS1/type", "0\n") // the kernel's place for a chip that is not there
	link("dev/ttyUSB1", "dev/serial/by-id/usb-maker-if00")
	link("dev/ttyUSB7", "dev/serial/by-id/usb-gone-if00")
	got, err := ports(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i], _ = filepath.Rel(root, got[i])
	}
	if want := []string{"dev/serial/by-id/usb-maker-if00", "dev/ttyS0", "dev/ttyUSB0"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, list := range [][]Port{{{Name: "a"}, {Name: "a"}}, {{}}, {{Name: "a", Baud: -1}}} {
		if _, err := New(list); err == nil {
			t.Errorf("%v is taken", list)
		}
	}
}
