package transport_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"onecard/reader/transport"
)

// FuzzUnit has the whole driver talk with a unit that answers every command with
// the next piece of random bytes. It must come to an end without a panic, and give
// no card an answer of less than two bytes.
func FuzzUnit(f *testing.F) {
	f.Add(unhex("06F20000065031303032300394 06F200000750A43030323041 0341 06F200000A5151393232309000 0300"))
	f.Add(unhex("15151515"))
	f.Add(unhex("06F2000006503130323230 0396 F2F2F20000 0404"))
	f.Fuzz(func(t *testing.T, script []byte) {
		host, unit := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			b := make([]byte, 2048)
			for {
				n, err := unit.Read(b)
				if err != nil {
					return
				}
				if n == 1 {
					continue // ACK, NAK, EOT
				}
				piece := script[:min(len(script), 1+int(b[n-1])%64)]
				script = script[len(piece):]
				if len(piece) > 0 {
					if _, err := unit.Write(piece); err != nil {
						return
					}
				}
			}
		}()
		timing := transport.Timing{Ack: time.Millisecond, Gap: time.Millisecond, Query: 2 * time.Millisecond, Motor: 3 * time.Millisecond, Chip: 3 * time.Millisecond}
		u := transport.NewCRT571(host, transport.WithTiming(timing), transport.WithBaud(100_000_000))
		ctx := context.Background()
		_, _ = u.Initialise(ctx, transport.ParkHold)
		_, _ = u.Status(ctx)
		_, _ = u.Sensors(ctx)
		_, _ = u.PowerOn(ctx, transport.FieldChip, false)
		if atr, err := u.PowerOn(ctx, transport.UserChip, false); err == nil && (len(atr) < 2 || len(atr) > 33) {
			t.Errorf("answer to reset of %d bytes", len(atr))
		}
		if answer, err := u.Transmit(ctx, transport.UserChip, []byte{0, 0x84, 0, 0, 8}); err == nil && len(answer) < 2 {
			t.Errorf("answer of %d bytes", len(answer))
		}
		_, _ = u.BinCount(ctx)
		if err := u.Close(); err != nil && err != io.ErrClosedPipe {
			t.Error(err)
		}
		<-done
		_ = unit.Close()
	})
}
