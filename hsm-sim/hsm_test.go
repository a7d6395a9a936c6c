package hsmsim_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onecard/card/keys"
	hsmsim "onecard/hsm-sim"
	"onecard/hsm-sim/hsm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var subject = keys.Subject{
	Algorithm:  keys.SM4,
	Area:       "510100",
	Historical: [13]byte{0x00, 0x81, 0x54, 0x4C, 0x96, 0x86, 0x84, 0x51, 0x01, 0x00, 0x03, 0x56, 0x76},
}

// start runs a simulator with the test keys until the test ends.
func start(t testing.TB, opts ...hsmsim.Option) (*hsmsim.Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := serve(t, ln, opts...)
	return server, ln.Addr().String()
}

func serve(t testing.TB, ln net.Listener, opts ...hsmsim.Option) *hsmsim.Server {
	t.Helper()
	server, stop := serveUntil(t, ln, opts...)
	t.Cleanup(stop)
	return server
}

// serveUntil returns a function that stops the simulator and waits for it.
func serveUntil(t testing.TB, ln net.Listener, opts ...hsmsim.Option) (*hsmsim.Server, func()) {
	t.Helper()
	server := hsmsim.New(opts...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln) }()
	return server, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func connect(t testing.TB, addr string, opts ...hsm.Option) *hsm.Client {
	t.Helper()
	client := hsm.New([]string{addr}, opts...)
	t.Cleanup(client.Close)
	return client
}

type vector struct {
	Algorithm  string
	Area       string
	Historical bytesHex
	Internal   struct{ Process, Raw, Answer bytesHex }
	External   struct {
		Key                  string
		Challenge, Raw, Auth bytesHex
	}
}

type bytesHex []byte

func (b *bytesHex) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

func (v vector) subject() keys.Subject {
	a := keys.SM4
	if v.Algorithm == "DES" {
		a = keys.DES
	}
	return keys.Subject{Algorithm: a, Area: v.Area, Historical: [13]byte(v.Historical)}
}

func readVectors(t *testing.T) []vector {
	t.Helper()
	text, err := os.ReadFile("../card/keys/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Cases []vector }
	if err := json.Unmarshal(text, &v); err != nil || len(v.Cases) == 0 {
		t.Fatalf("vectors.json: %d cases, %v", len(v.Cases), err)
	}
	return v.Cases
}

func TestVectorsOverTheWire(t *testing.T) {
	_, addr := start(t)
	client := connect(t, addr)
	for _, v := range readVectors(t) {
		s := v.subject()
		answer, err := client.InternalAuth(t.Context(), s, [8]byte(v.Internal.Process), [8]byte(v.Internal.Raw))
		if err != nil || answer != [8]byte(v.Internal.Answer) {
			t.Errorf("%s %s: internal: %x, %v", v.Algorithm, v.Area, answer, err)
		}
		auth, err := client.ExternalAuth(t.Context(), s, v.External.Key, v.External.Challenge, [8]byte(v.External.Raw))
		if err != nil || auth != [8]byte(v.External.Auth) {
			t.Errorf("%s %s: external: %x, %v", v.Algorithm, v.Area, auth, err)
		}
	}
}

func TestInfo(t *testing.T) {
	now := time.Date(2026, 3, 1, 9, 30, 15, 250e6, time.UTC)
	_, addr := start(t, hsmsim.WithClock(func() time.Time { return now }), hsmsim.WithMaxInFlight(9))
	info, err := connect(t, addr).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !info.TestKeys || info.Product != hsmsim.Product || !info.Time.Equal(now) || info.MaxInFlight != 9 ||
		info.MaxRequest != hsm.MaxRequest || info.Address != addr || len(info.Algorithms) != 2 {
		t.Errorf("%+v", info)
	}
	if len(info.Keys) != keys.Reference().Len() || len(info.Keys[0].Versions) != keys.Versions {
		t.Errorf("keys: %v", info.Keys)
	}
	own := keys.NewRing(keys.Reference())
	_, addr = start(t, hsmsim.WithKeys(own))
	info, err = connect(t, addr).Info(t.Context())
	if err != nil || info.TestKeys || len(info.Keys) != 0 {
		t.Errorf("a ring of one's own: %+v, %v", info, err)
	}
}

func TestRefusals(t *testing.T) {
	ring := keys.NewRing(keys.Reference())
	if err := ring.Add("RKSSSE", 1, keys.TestRoot("RKSSSE", 1)); err != nil {
		t.Fatal(err)
	}
	_, addr := start(t, hsmsim.WithKeys(ring))
	client := connect(t, addr)
	second := subject
	second.Version = 2
	for name, test := range map[string]struct {
		subject keys.Subject
		key     string
		want    hsm.Status
	}{
		"a key nobody knows":          {subject, "RK9DF99", hsm.StatusKeyUnknown},
		"a key that is not held":      {subject, "RK1DF04", hsm.StatusKeyUnknown},
		"a version that is not held":  {second, "RKSSSE", hsm.StatusKeyUnknown},
		"IRK answers internally only": {subject, "IRK", hsm.StatusKeyUse},
		"STK secures messages only":   {subject, "STK", hsm.StatusKeyUse},
		"DTK makes TACs only":         {subject, "DTK", hsm.StatusKeyUse},
	} {
		_, err := client.ExternalAuth(t.Context(), test.subject, test.key, make([]byte, 8), [8]byte{})
		var refused *hsm.RefusedError
		if !errors.As(err, &refused) || !errors.Is(err, hsm.ErrRefused) || refused.Status != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := client.Ping(t.Context()); err != nil {
		t.Errorf("after refusals: %v", err)
	}
}
