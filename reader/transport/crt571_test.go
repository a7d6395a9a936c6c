package transport_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"onecard/reader"
	"onecard/reader/transport"
)

// scripted is a unit that knows only what a table says: it expects exact bytes and
// answers with exact bytes.
type scripted struct {
	t    *testing.T
	line net.Conn
	done chan struct{}
}

// play answers each expected frame with its bytes, and takes the acknowledgement of
// every answer. The driver's own synchronising comes first.
func play(t *testing.T, rows [][2][]byte) *transport.CRT571 {
	t.Helper()
	host, unit := net.Pipe()
	s := &scripted{t, unit, make(chan struct{})}
	go func() {
		defer close(s.done)
		s.expect([]byte{0x04})
		s.turn(unhex("F2 00 0003 43 31 30 03 B0"), unhex("06 F2 00 0006 50 31 30 303230 03 94"))
		s.turn(unhex("F2 00 0003 43 A4 30 03 25"), unhex("06 F2 00 0007 50 A4 30 303230 41 03 41"))
		for _, row := range rows {
			s.turn(row[0], row[1])
		}
	}()
	u := transport.NewCRT571(host, transport.WithBaud(115200), transport.WithTiming(quick))
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
		<-s.done
		if err := unit.Close(); err != nil {
			t.Error(err)
		}
	})
	return u
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func (s *scripted) expect(want []byte) bool {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(s.line, got); err != nil {
		return false // the test has ended
	}
	if !bytes.Equal(got, want) {
		s.t.Errorf("the driver sends % X, want % X", got, want)
	}
	return true
}

func (s *scripted) turn(command, answer []byte) {
	if !s.expect(command) {
		return
	}
	if _, err := s.line.Write(answer); err != nil {
		return
	}
	s.expect([]byte{0x06})
}

// testdata/commands.tsv has every command of the transport specification's table
// with the bytes that go over the line, checksums written out.
func TestEveryCommandToTheByte(t *testing.T) {
	calls := map[string]func(ctx context.Context, u *transport.CRT571) (string, error){
		"initialise hold": func(ctx context.Context, u *transport.CRT571) (string, error) {
			return u.Initialise(ctx, transport.ParkHold)
		},
		"initialise capture": func(ctx context.Context, u *transport.CRT571) (string, error) {
			return u.Initialise(ctx, transport.ParkCapture)
		},
		"initialise stay": func(ctx context.Context, u *transport.CRT571) (string, error) {
			return u.Initialise(ctx, transport.ParkStay)
		},
		"initialise hold, counting": func(ctx context.Context, u *transport.CRT571) (string, error) {
			return u.InitialiseCounting(ctx, transport.ParkHold)
		},
		"initialise capture, counting": func(ctx context.Context, u *transport.CRT571) (string, error) {
			return u.InitialiseCounting(ctx, transport.ParkCapture)
		},
		"initialise stay, counting": func(ctx context.Context, u *transport.CRT571) (string, error) {
			return u.InitialiseCounting(ctx, transport.ParkStay)
		},
		"status": func(ctx context.Context, u *transport.CRT571) (string, error) {
			s, err := u.Status(ctx)
			full := ""
			if s.BinFull {
				full = ", bin full"
			}
			return s.Card.String() + ", hopper " + s.Hopper.String() + full, err
		},
		"sensors": func(ctx context.Context, u *transport.CRT571) (string, error) {
			s, err := u.Sensors(ctx)
			text := ""
			for _, on := range s {
				text += map[bool]string{true: "1", false: "0"}[on]
			}
			return text, err
		},
		"move hold": func(ctx context.Context, u *transport.CRT571) (string, error) { return "", u.Move(ctx, transport.Hold) },
		"move contacts": func(ctx context.Context, u *transport.CRT571) (string, error) {
			return "", u.Move(ctx, transport.Contact)
		},
		"move field": func(ctx context.Context, u *transport.CRT571) (string, error) {
			return "", u.Move(ctx, transport.Field)
		},
		"move bin": func(ctx context.Context, u *transport.CRT571) (string, error) { return "", u.Move(ctx, transport.Bin) },
		"move gate": func(ctx context.Context, u *transport.CRT571) (string, error) {
			return "", u.Move(ctx, transport.Mouth)
		},
		"entry accept": func(ctx context.Context, u *transport.CRT571) (string, error) { return "", u.Accept(ctx, true) },
		"entry refuse": func(ctx context.Context, u *transport.CRT571) (string, error) { return "", u.Accept(ctx, false) },
		"card type IC": func(ctx context.Context, u *transport.CRT571) (string, error) {
			return u.CardType(ctx, transport.UserChip)
		},
		"card type RF": func(ctx context.Context, u *transport.CRT571) (string, error) {
			return u.CardType(ctx, transport.FieldChip)
		},
		"cold reset": on(transport.UserChip, "cold"), "warm reset": on(transport.UserChip, "warm"), "power down": on(transport.UserChip, "off"),
		"chip status": on(transport.UserChip, "status"), "APDU": on(transport.UserChip, "auto"), "APDU T=0": on(transport.UserChip, "t0"), "APDU T=1": on(transport.UserChip, "t1"),
		"SAM cold reset": on(transport.SAM(1), "cold"), "SAM warm reset": on(transport.SAM(1), "warm"), "SAM power down": on(transport.SAM(1), "off"),
		"SAM status": on(transport.SAM(1), "status"), "SAM APDU": on(transport.SAM(1), "auto"), "SAM APDU T=0": on(transport.SAM(1), "t0"), "SAM APDU T=1": on(transport.SAM(1), "t1"),
		"RF start": on(transport.FieldChip, "cold"), "RF off": on(transport.FieldChip, "off"), "RF status": on(transport.FieldChip, "status"), "RF APDU": on(transport.FieldChip, "auto"),
		"RF APDU type B": func(ctx context.Context, u *transport.CRT571) (string, error) {
			if _, err := u.PowerOn(ctx, transport.FieldChip, false); err != nil {
				return "", err
			}
			return on(transport.FieldChip, "auto")(ctx, u)
		},
		"field on":      func(ctx context.Context, u *transport.CRT571) (string, error) { return "", u.SwitchField(ctx, true) },
		"field off":     func(ctx context.Context, u *transport.CRT571) (string, error) { return "", u.SwitchField(ctx, false) },
		"serial number": func(ctx context.Context, u *transport.CRT571) (string, error) { return u.SerialNumber(ctx) },
		"configuration": func(ctx context.Context, u *transport.CRT571) (string, error) {
			b, err := u.Configuration(ctx)
			return string(b), err
		},
		"version": func(ctx context.Context, u *transport.CRT571) (string, error) { return u.Version(ctx) },
		"bin counter": func(ctx context.Context, u *transport.CRT571) (string, error) {
			n, err := u.BinCount(ctx)
			return hexOf([]byte{byte(n)}), err
		},
		"bin counter reset": func(ctx context.Context, u *transport.CRT571) (string, error) { return "", u.ResetBinCount(ctx) },
	}
	text, err := os.ReadFile("testdata/commands.tsv")
	check(t, err)
	rows := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	seen := make(map[string]bool)
	for i := 0; i < len(rows); i++ {
		if strings.HasPrefix(rows[i], "#") {
			continue
		}
		f := strings.Split(rows[i], "\t")
		if len(f) != 4 {
			t.Fatalf("row %d: %d fields", i+1, len(f))
		}
		name, result := f[0], f[3]
		turns := [][2][]byte{{unhex(f[1]), unhex(f[2])}}
		for i+1 < len(rows) && strings.HasPrefix(rows[i+1], "\t") { // the same call goes on
			i++
			more := strings.Split(rows[i], "\t")
			turns = append(turns, [2][]byte{unhex(more[1]), unhex(more[2])})
			result = more[3]
		}
		seen[name] = true
		t.Run(name, func(t *testing.T) {
			call := calls[name]
			if call == nil {
				t.Fatal("no such call")
			}
			got, err := call(t.Context(), play(t, turns))
			check(t, err)
			if got != result {
				t.Errorf("result %q, want %q", got, result)
			}
		})
	}
	for name := range calls {
		if !seen[name] {
			t.Errorf("the table has no row for %s", name)
		}
	}
}

func hexOf(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }

// on returns a call for a chip.
func on(chip transport.Chip, what string) func(ctx context.Context, u *transport.CRT571) (string, error) {
	return func(ctx context.Context, u *transport.CRT571) (string, error) {
		var (
			b   []byte
			err error
		)
		command := unhex("00 84 00 00 08")
		switch what {
		case "cold", "warm":
			b, err = u.PowerOn(ctx, chip, what == "warm")
		case "off":
			err = u.PowerOff(ctx, chip)
		case "status":
			b, err = u.ChipStatus(ctx, chip)
		case "auto":
			b, err = u.Transmit(ctx, chip, command)
		case "t0":
			b, err = u.TransmitProtocol(ctx, chip, transport.T0, command)
		case "t1":
			b, err = u.TransmitProtocol(ctx, chip, transport.T1, command)
		}
		return hexOf(b), err
	}
}

// Every error code of the table arrives as what it is, with either letter.
func TestEveryErrorCode(t *testing.T) {
	kinds := []error{
		transport.ErrRefused, transport.ErrHardware, transport.ErrJam, transport.ErrSize, transport.ErrPosition, transport.ErrMovedByHand,
		transport.ErrHopperEmpty, transport.ErrBinFull, transport.ErrNotInitialised, transport.ErrChip, transport.ErrMute,
	}
	want := map[string]error{
		"00": transport.ErrRefused, "01": transport.ErrRefused, "02": transport.ErrRefused, "03": transport.ErrRefused, "04": transport.ErrRefused,
		"05": transport.ErrHardware, "10": transport.ErrJam, "12": transport.ErrHardware, "13": transport.ErrSize, "14": transport.ErrSize,
		"16": transport.ErrMovedByHand, "45": transport.ErrMovedByHand, "40": transport.ErrHardware, "41": transport.ErrHardware,
		"42": transport.ErrPosition, "43": transport.ErrPosition, "50": transport.ErrBinFull, "51": transport.ErrHardware,
		"60": transport.ErrChip, "61": transport.ErrMute, "62": transport.ErrChip, "66": transport.ErrChip, "65": transport.ErrChip, "67": transport.ErrChip,
		"68": transport.ErrChip, "69": transport.ErrChip, "A0": transport.ErrHopperEmpty, "A1": transport.ErrBinFull, "B0": transport.ErrNotInitialised,
		"ZZ": transport.ErrHardware,
	}
	if n := len(transport.ErrorTexts()); n != len(want)-1 {
		t.Errorf("%d codes in the table, %d here", n, len(want)-1)
	}
	for code, kind := range want {
		for _, letter := range []byte("NE") {
			answer := []byte{0xF2, 0, 0, 5, letter, 0x32, 0x30, code[0], code[1], 3}
			sum := byte(0)
			for _, c := range answer {
				sum ^= c
			}
			answer = append([]byte{6}, append(answer, sum)...)
			u := play(t, [][2][]byte{{unhex("F2 00 0003 43 32 30 03 B3"), answer}})
			err := u.Move(t.Context(), transport.Hold)
			var e *transport.Error
			if !errors.As(err, &e) || e.Unit != code {
				t.Errorf("%s by %c: %v", code, letter, err)
			}
			for _, k := range kinds {
				if errors.Is(err, k) != (k == kind) {
					t.Errorf("%s by %c: is %v: %t", code, letter, k, errors.Is(err, k))
				}
			}
		}
	}
}

// ETX, STX and the control bytes may be in the data, both ways.
func TestControlBytesInTheData(t *testing.T) {
	u := play(t, [][2][]byte{{
		unhex("F2 00 000A 43 51 39 03 F2 06 15 04 03 F2 03 C7"),
		unhex("06 F2 00 000F 50 51 39 323230 F2 00 03 03 06 15 04 90 00 03 83"),
	}})
	got, err := u.Transmit(t.Context(), transport.UserChip, unhex("03 F2 06 15 04 03 F2"))
	check(t, err)
	if hexOf(got) != "F2000303061504"+"9000" {
		t.Errorf("%X", got)
	}
}

// A frame is at most 1024 bytes: what does not fit is not sent.
func TestTooLong(t *testing.T) {
	u := play(t, nil)
	if _, err := u.Transmit(t.Context(), transport.UserChip, make([]byte, 1016)); err == nil {
		t.Error("1016 bytes are sent")
	}
}

// The unit vanishes; nothing hangs.
func TestUnplugged(t *testing.T) {
	host, unit := net.Pipe()
	u := transport.NewCRT571(host, transport.WithTiming(quick))
	go func() {
		b := make([]byte, 1)
		_, _ = unit.Read(b) // the driver has begun
		_ = unit.Close()
	}()
	if _, err := u.Status(t.Context()); !errors.Is(err, reader.ErrReaderGone) {
		t.Errorf("%v", err)
	}
	check(t, u.Close())
}

// A unit that takes bytes and says nothing is stuck, by its deadline and by the
// caller's.
func TestSilent(t *testing.T) {
	for _, limit := range []time.Duration{30 * time.Millisecond, time.Minute} {
		host, unit := net.Pipe()
		read := make(chan struct{})
		go func() { defer close(read); _, _ = io.Copy(io.Discard, unit) }()
		timing := transport.Timing{Ack: 5 * time.Millisecond, Gap: 5 * time.Millisecond, Query: 10 * time.Millisecond, Motor: 20 * time.Millisecond, Chip: 20 * time.Millisecond}
		u := transport.NewCRT571(host, transport.WithTiming(timing), transport.WithBaud(10_000_000))
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		if _, err := u.Status(ctx); !errors.Is(err, reader.ErrStuck) {
			t.Errorf("%v", err)
		}
		cancel()
		check(t, u.Close())
		<-read
	}
}
