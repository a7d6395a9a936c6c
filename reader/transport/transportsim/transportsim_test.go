package transportsim_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onecard/reader/transport/transportsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a chip that answers with what it is sent.
type echo struct{}

func (echo) PowerOn() []byte          { return []byte{0x3B, 0x00} }
func (echo) PowerOff()                {}
func (echo) Transmit(b []byte) []byte { return append(bytes.Clone(b), 0x90, 0x00) }

// Bytes in, bytes out, written from the transport specification: what another
// program for this family sees.
func TestToTheByte(t *testing.T) {
	card := &transportsim.Card{Contact: echo{}}
	u := transportsim.New(transportsim.WithHopper(card, card, card, card, card))
	host, line := net.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- u.Serve(ctx, line) }()
	for i, step := range []struct{ what, send, want string }{
		{"status before initialising", "F2 00 00 03 43 31 30 03 B0", "06 F2 00 00 05 4E 31 30 42 30 03 C9"},
		{"wrong BCC", "06 F2 00 00 03 43 31 30 03 B1", "15"},
		{"no ETX", "F2 00 00 03 43 31 30 04 B7", "15"},
		{"noise, then initialise", "00 FF 06 F2 00 00 03 43 30 30 03 B1", "06 F2 00 00 15 50 30 30 30 32 30 43 52 54 35 37 31 2D 53 49 4D 20 56 31 2E 30 03 D3"},
		{"NAK: the answer again", "15", "F2 00 00 15 50 30 30 30 32 30 43 52 54 35 37 31 2D 53 49 4D 20 56 31 2E 30 03 D3"},
		{"from the hopper to the contacts", "06 F2 00 00 03 43 32 31 03 B2", "06 F2 00 00 06 50 32 31 32 32 30 03 94"},
		{"cold reset", "06 F2 00 00 04 43 51 30 30 03 E7", "06 F2 00 00 08 50 51 30 32 32 30 3B 00 03 C3"},
		{"an APDU with 03, F2 and the control bytes", "06 F2 00 00 0A 43 51 39 03 F2 06 15 04 03 F2 03 C7", "06 F2 00 00 0F 50 51 39 32 32 30 03 F2 06 15 04 03 F2 90 00 03 71"},
		{"moved under power", "06 F2 00 00 03 43 32 39 03 BA", "06 F2 00 00 05 4E 32 39 30 35 03 B4"},
		{"unknown command", "06 F2 00 00 03 43 77 30 03 F6", "06 F2 00 00 05 4E 77 30 30 30 03 FD"},
	} {
		send, want := unhex(step.send), unhex(step.want)
		if _, err := host.Write(send); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if err := host.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := io.ReadFull(host, got)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d, %s: % X, want % X (%v)", i+1, step.what, got[:n], want, err)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := host.Close(); err != nil {
		t.Error(err)
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestParseFault(t *testing.T) {
	for text, want := range map[string]transportsim.Fault{
		"nak":           {Kind: transportsim.Nak},
		"nakx3":         {Kind: transportsim.Nak, Times: 3},
		"error=10:32@2": {Kind: transportsim.Fail, Code: "10", CM: 0x32, At: 2},
		"slow=2s@5x2":   {Kind: transportsim.Slow, Delay: 2 * time.Second, At: 5, Times: 2},
		"power-loss:51": {Kind: transportsim.PowerLoss, CM: 0x51},
	} {
		got, err := transportsim.ParseFault(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "nak=1", "error", "error=1", "slow", "slow=-1s", "nak@0", "nakx", "nak:00", "nak:zz", "nak 3"} {
		if f, err := transportsim.ParseFault(text); err == nil {
			t.Errorf("%q is taken as %+v", text, f)
		}
	}
}

// FuzzServe sends the unit anything; it neither panics nor hangs.
func FuzzServe(f *testing.F) {
	f.Add(unhex("F2 00 00 03 43 30 30 03 B1 06 F2 00 00 03 43 32 31 03 B2 F2 00 00 04 43 51 30 30 03 E7"))
	f.Add(unhex("F2 00 FF FF 15 15 04"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		u := transportsim.New(transportsim.WithHopper(&transportsim.Card{Contact: echo{}, Field: echo{}}), transportsim.WithSAM(0, echo{}))
		err := u.Serve(context.Background(), struct {
			io.Reader
			io.Writer
			io.Closer
		}{bytes.NewReader(sent), io.Discard, io.NopCloser(nil)})
		if !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}
