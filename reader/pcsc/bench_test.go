package pcsc

import (
	"slices"
	"testing"
	"time"

	"github.com/ebfe/scard"

	"onecard/reader"
)

// What a command costs through a session and through a link, beside the bare
// binding on the same card in the same moments. The card is a process of its own.
func BenchmarkTransmit(b *testing.B) {
	k := newDesk(b)
	stop := cardProcess(b)
	k.until(reader.CardInserted, slot0)
	defer func() {
		stop()
		k.until(reader.CardRemoved, slot0)
	}()
	command := []byte{0x00, 0x84, 0x00, 0x00, 0x08}

	ctx, err := scard.EstablishContext()
	check(b, err)
	defer func() { check(b, ctx.Release()) }()
	card, err := ctx.Connect(slot0, scard.ShareShared, scard.ProtocolAny)
	check(b, err)
	defer func() { check(b, card.Disconnect(scard.LeaveCard)) }()
	l, err := k.d.Open(k.c, slot0, reader.Shared)
	check(b, err)
	defer func() { check(b, l.Close()) }()
	s, err := k.w.Open(k.c, slot0, reader.Shared)
	check(b, err)
	defer func() { check(b, s.Close()) }()

	// Runs of seven, as identity has them, in turns: what else the machine does
	// meets all.
	const run = 7
	repeat := func(f func() error) error {
		for range run {
			if err := f(); err != nil {
				return err
			}
		}
		return nil
	}
	exchange := func() error { _, err := s.Exchange(k.c, challenge); return err }
	ways := []func() error{
		func() error { return repeat(func() error { _, err := card.Transmit(command); return err }) },
		func() error { return repeat(func() error { _, err := l.Transmit(k.c, command); return err }) },
		func() error { return repeat(exchange) },
		func() error { return s.Do(k.c, func() error { return repeat(exchange) }) },
	}
	took := make([][]time.Duration, len(ways))
	for b.Loop() {
		for i, way := range ways {
			start := time.Now()
			check(b, way())
			took[i] = append(took[i], time.Since(start)/run)
		}
	}
	median := func(i int) float64 {
		slices.Sort(took[i])
		return float64(took[i][len(took[i])/2])
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(0)/1e3, "bare-µs")
	b.ReportMetric(median(1)/1e3, "link-µs")
	b.ReportMetric(median(2)/1e3, "session-µs")
	b.ReportMetric(median(1)/median(0), "link/bare")
	b.ReportMetric(median(2)/median(0), "session/bare")
	b.ReportMetric(median(3)/median(0), "do/bare")
}
