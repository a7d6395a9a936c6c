package padsim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"onecard/reader/pinpad"
	"onecard/reader/pinpad/padsim"
	"onecard/reader/serial"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is one end of a line in memory that keeps all that passes.
type wire struct {
	net.Conn
	mu   *sync.Mutex
	seen *bytes.Buffer
}

func (w wire) Read(p []byte) (int, error) {
	if err := w.SetReadDeadline(time.Now().Add(serial.ReadTime)); err != nil {
		return 0, err
	}
	n, err := w.Conn.Read(p)
	w.mu.Lock()
	w.seen.Write(p[:n])
	w.mu.Unlock()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return n, serial.ErrNothing
	}
	return n, err
}

var key = pinpad.TransportKey{0: 0x11, 7: 0x22, 15: 0x33}

// A desk with a pad on a line in memory.
func desk(t *testing.T, c pinpad.Cipher, config padsim.Config) (*pinpad.Serial, *bytes.Buffer) {
	var seen bytes.Buffer
	var mu sync.Mutex
	var serving sync.WaitGroup
	config.Key = key
	pad := padsim.New(config)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); serving.Wait() })
	open := func(string, int) (serial.Line, error) {
		near, far := net.Pipe()
		serving.Wait() // the pad is one, and its line another one for every entry
		serving.Go(func() {
			if err := pad.Serve(ctx, far); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Error(err)
			}
		})
		return wire{near, &mu, &seen}, nil
	}
	return pinpad.NewSerial(open, "", 9600, c, key), &seen
}

// types is a person who types this, whatever is asked.
func types(digits string, err error) func(context.Context, pinpad.Prompt) (string, error) {
	return func(context.Context, pinpad.Prompt) (string, error) { return digits, err }
}

func TestEntry(t *testing.T) {
	for _, c := range []struct {
		name   string
		person func(context.Context, pinpad.Prompt) (string, error)
		faults []padsim.Fault
		want   string
		err    error
	}{
		{"digits", types("123456", nil), nil, "123456", nil},
		{"many digits", types("12345678901234", nil), nil, "12345678901234", nil},
		{"cancelled", types("", padsim.ErrCancel), nil, "", pinpad.ErrCancelled},
		{"nothing", types("", padsim.ErrNothing), nil, "", pinpad.ErrTimeout},
		{"too short", types("123", nil), nil, "", pinpad.ErrLength},
		{"too long", types("123456789012345", nil), nil, "", pinpad.ErrLength},
		{"noise", types("123456", nil), []padsim.Fault{padsim.Noise}, "123456", nil},
		{"garbled once", types("123456", nil), []padsim.Fault{padsim.Garble}, "123456", nil},
		{"another key", types("123456", nil), []padsim.Fault{padsim.OtherKey}, "", pinpad.ErrWire},
		{"altered", types("123456", nil), []padsim.Fault{padsim.Alter}, "", pinpad.ErrWire},
		{"mute", types("123456", nil), []padsim.Fault{padsim.Mute}, "", pinpad.ErrNone},
	} {
		for _, cipher := range []pinpad.Cipher{pinpad.SM4, pinpad.TripleDES} {
			t.Run(fmt.Sprintf("%s %c", c.name, cipher), func(t *testing.T) {
				t.Parallel()
				pad, seen := desk(t, cipher, padsim.Config{Person: c.person, Faults: c.faults})
				got, err := pad.Enter(t.Context(), pinpad.Enter)
				if string(got) != c.want || !errors.Is(err, c.err) {
					t.Errorf("%q, %v; want %q, %v", got, err, c.want, c.err)
				}
				// Neither the digits nor the bytes of the card's form are on the line.
				if c.want != "" && (bytes.Contains(seen.Bytes(), []byte(c.want)) || bytes.Contains(seen.Bytes(), []byte{0x12, 0x34, 0x56})) {
					t.Error("the PIN is on the line")
				}
			})
		}
	}
}

func TestPromptsReachThePad(t *testing.T) {
	var asked []pinpad.Prompt
	pad, _ := desk(t, pinpad.SM4, padsim.Config{Person: func(_ context.Context, p pinpad.Prompt) (string, error) {
		asked = append(asked, p)
		return "123456", nil
	}})
	for _, p := range []pinpad.Prompt{pinpad.Enter, pinpad.Old, pinpad.New, pinpad.Again} {
		if _, err := pad.Enter(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(asked) != "[0 1 2 3]" {
		t.Errorf("asked %v", asked)
	}
}

// A block of an earlier entry is refused.
func TestReplay(t *testing.T) {
	pad, _ := desk(t, pinpad.SM4, padsim.Config{Person: types("123456", nil), Faults: []padsim.Fault{padsim.Replay}})
	if _, err := pad.Enter(t.Context(), pinpad.Enter); err != nil {
		t.Fatal(err)
	}
	if _, err := pad.Enter(t.Context(), pinpad.Enter); !errors.Is(err, pinpad.ErrWire) {
		t.Errorf("replayed: %v", err)
	}
}

// A desk that does not wait any longer tells the pad.
func TestDeskCancels(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan struct{})
	pad, _ := desk(t, pinpad.SM4, padsim.Config{Person: func(p context.Context, _ pinpad.Prompt) (string, error) {
		cancel()
		<-p.Done()
		close(told)
		return "", padsim.ErrNothing
	}})
	if _, err := pad.Enter(ctx, pinpad.Enter); !errors.Is(err, pinpad.ErrCancelled) {
		t.Errorf("%v", err)
	}
	<-told
}

func TestSealAndOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom([]pinpad.Cipher{pinpad.SM4, pinpad.TripleDES}).Draw(t, "cipher")
		digits := rapid.StringMatching(`[0-9]{4,14}`).Draw(t, "digits")
		var desk, own [pinpad.NonceSize]byte
		copy(desk[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "desk"))
		copy(own[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "pad"))
		k, err := pinpad.NewSessionKey(c, key, desk, own)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := k.Seal([]byte(digits), desk)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.Open(sealed, desk); err != nil || string(got) != digits {
			t.Fatalf("%q, %v", got, err)
		}
		sealed[rapid.IntRange(0, 15).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if got, err := k.Open(sealed, desk); err == nil {
			t.Fatalf("an altered block gave %q", got)
		}
	})
}

func FuzzNextFrame(f *testing.F) {
	f.Add(pinpad.Frame{Type: pinpad.Hello, Body: []byte{1, 2, 3}}.Bytes())
	f.Add([]byte{2, 2, 2, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		for {
			frame, rest, ok := pinpad.NextFrame(b)
			if len(rest) > len(b) || ok && len(rest) >= len(b) {
				t.Fatal("it grows")
			}
			if !ok {
				break
			}
			again, _, ok := pinpad.NextFrame(frame.Bytes())
			if !ok || again.Type != frame.Type || !bytes.Equal(again.Body, frame.Body) {
				t.Fatal("a frame is not itself")
			}
			b = rest
		}
	})
}
