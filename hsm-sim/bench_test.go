package hsmsim_test

import (
	"testing"

	"onecard/hsm-sim/hsm"
)

// BenchmarkSerial is one caller on one connection: its time is the latency of
// an internal authentication. Compare with keys.BenchmarkInternal, which
// computes the same without a wire.
func BenchmarkSerial(b *testing.B) {
	_, addr := start(b)
	client := connect(b, addr, hsm.WithConnections(1))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.InternalAuth(b.Context(), subject, [8]byte{1}, [8]byte{2}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkPipelined is 64 callers on one connection.
func BenchmarkPipelined(b *testing.B) {
	_, addr := start(b)
	client := connect(b, addr, hsm.WithConnections(1), hsm.WithInFlight(64))
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.InternalAuth(b.Context(), subject, [8]byte{1}, [8]byte{2}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
