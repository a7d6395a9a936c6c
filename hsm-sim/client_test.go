package hsmsim_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"onecard/card/keys"
	"onecard/fault"
	hsmsim "onecard/hsm-sim"
	"onecard/hsm-sim/hsm"
)

// patient is a client whose time-outs play no part in a test.
var patient = []hsm.Option{
	hsm.WithCallTimeout(time.Minute), hsm.WithDialTimeout(time.Minute), hsm.WithAnswerTimeout(time.Minute),
}

// onEcho orders a fault for echoes only, so that connections come about.
func onEcho(f hsmsim.Fault) hsmsim.Option {
	return hsmsim.WithFaults(func(_ uint64, request hsm.Frame) hsmsim.Fault {
		if request.Command == hsm.CommandEcho {
			return f
		}
		return hsmsim.Fault{}
	})
}

// deadAddress is one at which nothing listens.
func deadAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// peer is a server of the test's own making: each connection is given to do and
// closed afterwards.
func peer(t testing.TB, do func(net.Conn)) (addr string, accepted *atomic.Int64) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = new(atomic.Int64)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			running.Go(func() {
				defer nc.Close()
				do(nc)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); running.Wait() })
	return ln.Addr().String(), accepted
}

// greet answers the status command that begins a connection.
func greet(nc net.Conn) (*bufio.Reader, error) {
	r := bufio.NewReader(nc)
	f, err := hsm.ReadFrame(r, hsm.MaxFrame)
	if err != nil {
		return nil, err
	}
	f.Kind = hsm.Response
	f.Fields = hsm.Info{Product: "test", OldestVersion: 1, NewestVersion: 1}.Fields()
	b, err := hsm.AppendFrame(nil, f)
	if err != nil {
		return nil, err
	}
	_, err = nc.Write(b)
	return r, err
}

func TestAnswersOutOfOrder(t *testing.T) {
	gate, held := make(chan struct{}), make(chan struct{})
	server, addr := start(t, hsmsim.WithFaults(func(n uint64, request hsm.Frame) hsmsim.Fault {
		if request.Command == hsm.CommandInternalAuth {
			close(held)
			return hsmsim.Fault{Until: gate}
		}
		return hsmsim.Fault{}
	}))
	client := connect(t, addr, append(patient, hsm.WithConnections(1))...)
	v := readVectors(t)[0]
	done := make(chan error, 1)
	go func() {
		answer, err := client.InternalAuth(context.Background(), v.subject(), [8]byte(v.Internal.Process), [8]byte(v.Internal.Raw))
		if err == nil && answer != [8]byte(v.Internal.Answer) {
			err = errors.New("wrong answer")
		}
		done <- err
	}()
	<-held
	for range 100 {
		if err := client.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(gate)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := server.Counters(); n.Connections != 1 || n.Requests != 102 {
		t.Errorf("%+v", n)
	}
}

func TestManyCallers(t *testing.T) {
	server, addr := start(t, hsmsim.WithMaxInFlight(3))
	client := connect(t, addr, append(patient, hsm.WithConnections(4), hsm.WithInFlight(7))...)
	vectors := readVectors(t)
	var callers sync.WaitGroup
	for i := range 40 {
		callers.Go(func() {
			v := vectors[i%len(vectors)]
			for range 25 {
				answer, err := client.InternalAuth(context.Background(), v.subject(), [8]byte(v.Internal.Process), [8]byte(v.Internal.Raw))
				if err != nil || answer != [8]byte(v.Internal.Answer) {
					t.Errorf("%x, %v", answer, err)
					return
				}
			}
		})
	}
	callers.Wait()
	if n := server.Counters(); n.Connections > 4 || n.Answered < 1000 || n.Broken != 0 {
		t.Errorf("%+v", n)
	}
}

func TestFailOver(t *testing.T) {
	_, good := start(t)
	silent, _ := peer(t, func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) })
	garbage, _ := peer(t, func(nc net.Conn) { _, _ = nc.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
	closing, _ := peer(t, func(net.Conn) {})
	mute, _ := peer(t, func(nc net.Conn) {
		if r, err := greet(nc); err == nil {
			_, _ = io.Copy(io.Discard, r)
		}
	})
	_, busy := start(t, onEcho(hsmsim.Fault{Refuse: hsm.StatusBusy}))
	_, stopping := start(t, onEcho(hsmsim.Fault{Refuse: hsm.StatusStopping}))
	_, cut := start(t, onEcho(hsmsim.Fault{Cut: true}))
	for name, bad := range map[string]string{
		"nothing listens":        deadAddress(t),
		"no answer at all":       silent,
		"another protocol":       garbage,
		"closes at once":         closing,
		"falls silent":           mute,
		"busy":                   busy,
		"stopping":               stopping,
		"cuts the connection":    cut,
		"not an address":         "nonsense",
		"no host of this name":   "host.invalid:1",
		"two dead addresses yet": deadAddress(t),
	} {
		t.Run(name, func(t *testing.T) {
			client := hsm.New([]string{bad, good}, hsm.WithCallTimeout(time.Minute), hsm.WithDialTimeout(time.Minute),
				hsm.WithAnswerTimeout(50*time.Millisecond))
			defer client.Close()
			for range 3 {
				if err := client.Ping(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			info, err := client.Info(t.Context())
			if err != nil || info.Address != good {
				if name == "busy" || name == "stopping" || name == "cuts the connection" {
					return // these answer the status command themselves
				}
				t.Errorf("answered by %s, %v", info.Address, err)
			}
		})
	}
}

// While the back-off lasts an address is not dialled again and calls fail at
// once; afterwards it is.
func TestBackOff(t *testing.T) {
	addr, accepted := peer(t, func(net.Conn) {})
	var clock atomic.Int64
	client := connect(t, addr, append(patient,
		hsm.WithBackoff(time.Second, 8*time.Second),
		hsm.WithClock(func() time.Time { return time.Unix(0, clock.Load()) }))...)
	want := int64(0)
	for _, wait := range []time.Duration{0, 1300, 2600, 5000, 10000, 10000} {
		clock.Add(int64(wait * time.Millisecond))
		want++
		for range 50 {
			if err := client.Ping(t.Context()); !errors.Is(err, hsm.ErrUnreachable) || fault.Of(err).Code != fault.HSMUnreachable {
				t.Fatal(err)
			}
		}
		if got := accepted.Load(); got != want {
			t.Fatalf("%v later: %d connections, want %d", wait*time.Millisecond, got, want)
		}
	}
	clock.Add(int64(time.Second))
	if err := client.Ping(t.Context()); err == nil || accepted.Load() != want {
		t.Errorf("dialled one second after the sixth failure")
	}
}

func TestReconnectsAfterRestart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	var clock atomic.Int64
	client := connect(t, addr, append(patient, hsm.WithClock(func() time.Time { return time.Unix(0, clock.Load()) }))...)
	for range 3 {
		_, stop := serveUntil(t, ln)
		clock.Add(int64(time.Hour))
		if err := client.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		stop()
		if err := client.Ping(t.Context()); !errors.Is(err, hsm.ErrUnreachable) {
			t.Errorf("stopped: %v", err)
		}
		ln = listenAgain(t, addr)
	}
	ln.Close()
}

// listenAgain listens where somebody listened before. The port may be the
// near end of somebody's connection for a moment.
func listenAgain(t *testing.T, addr string) net.Listener {
	t.Helper()
	for range 1000 {
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			return ln
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
		pause(t, 10*time.Millisecond)
	}
	t.Fatal("the port does not become free")
	return nil
}

// A gate closes every connection at once until it is opened.
type gate struct {
	net.Listener
	opened atomic.Bool
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		nc, err := g.Listener.Accept()
		if err != nil || g.opened.Load() {
			return nc, err
		}
		nc.Close()
	}
}

// The preferred address is won back in the background, without a call waiting
// for it.
func TestReturnsToThePreferredAddress(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	preferred := &gate{Listener: ln}
	serve(t, preferred)
	_, spare := start(t)
	client := hsm.New([]string{ln.Addr().String(), spare}, append(patient, hsm.WithBackoff(1, 1))...)
	defer client.Close()
	info, err := client.Info(t.Context())
	if err != nil || info.Address != spare {
		t.Fatalf("%+v, %v", info, err)
	}
	preferred.opened.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for info.Address == spare {
		if info, err = client.Info(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCallersWhoLeave(t *testing.T) {
	gate := make(chan struct{})
	held := make(chan struct{}, 2)
	server, addr := start(t, hsmsim.WithFaults(func(_ uint64, request hsm.Frame) hsmsim.Fault {
		if request.Command != hsm.CommandInternalAuth {
			return hsmsim.Fault{}
		}
		held <- struct{}{}
		return hsmsim.Fault{Until: gate}
	}))
	client := connect(t, addr, append(patient, hsm.WithConnections(1))...)

	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-held; cancel() }()
	_, err := client.InternalAuth(ctx, subject, [8]byte{}, [8]byte{})
	if !errors.Is(err, context.Canceled) || errors.Is(err, hsm.ErrUnreachable) {
		t.Errorf("cancelled: %v", err)
	}

	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = client.InternalAuth(ctx, subject, [8]byte{}, [8]byte{})
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, hsm.ErrUnreachable) {
		t.Errorf("too late: %v", err)
	}

	// The late answers belong to somebody, if to nobody who waits.
	close(gate)
	for range 10 {
		if err := client.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := server.Counters(); n.Connections != 1 {
		t.Errorf("%+v", n)
	}
}

// An HSM that takes requests and answers none is given up by its connection,
// and the call by its own time-out at the latest.
func TestSilence(t *testing.T) {
	server, addr := start(t, onEcho(hsmsim.Fault{Drop: true}))
	client := connect(t, addr, hsm.WithCallTimeout(time.Minute), hsm.WithAnswerTimeout(30*time.Millisecond))
	if err := client.Ping(t.Context()); !errors.Is(err, hsm.ErrUnreachable) {
		t.Errorf("%v", err)
	}
	if n := server.Counters(); n.Connections == 0 || n.Connections > 2 {
		t.Errorf("%+v", n)
	}
	client = connect(t, addr, hsm.WithCallTimeout(30*time.Millisecond), hsm.WithAnswerTimeout(time.Minute))
	if err := client.Ping(t.Context()); !errors.Is(err, hsm.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// A wrong authentication value is well-formed: it is the card that finds it.
func TestWrongAnswer(t *testing.T) {
	_, addr := start(t, hsmsim.WithFaults(func(_ uint64, request hsm.Frame) hsmsim.Fault {
		return hsmsim.Fault{Wrong: request.Command == hsm.CommandInternalAuth}
	}))
	v := readVectors(t)[0]
	answer, err := connect(t, addr).InternalAuth(t.Context(), v.subject(), [8]byte(v.Internal.Process), [8]byte(v.Internal.Raw))
	if err != nil || answer == [8]byte(v.Internal.Answer) {
		t.Errorf("%x, %v", answer, err)
	}
}

// What needs no HSM to be refused is not sent to one.
func TestRefusedWithoutAnHSM(t *testing.T) {
	client := connect(t, deadAddress(t))
	for name, test := range map[string]struct {
		change    func(*keys.Subject)
		key       string
		challenge int
		want      error
	}{
		"SSF33":     {func(s *keys.Subject) { s.Algorithm = keys.SSF33 }, "RKSSSE", 8, keys.ErrAlgorithm},
		"area":      {func(s *keys.Subject) { s.Area = "" }, "RKSSSE", 8, keys.ErrSubject},
		"key name":  {func(*keys.Subject) {}, "rk", 8, keys.ErrSubject},
		"challenge": {func(*keys.Subject) {}, "RKSSSE", 5, keys.ErrSubject},
	} {
		s := subject
		test.change(&s)
		if _, err := client.ExternalAuth(t.Context(), s, test.key, make([]byte, test.challenge), [8]byte{}); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClose(t *testing.T) {
	gate := make(chan struct{})
	defer close(gate)
	held := make(chan struct{}, 1)
	_, addr := start(t, hsmsim.WithFaults(func(_ uint64, request hsm.Frame) hsmsim.Fault {
		if request.Command != hsm.CommandEcho {
			return hsmsim.Fault{}
		}
		held <- struct{}{}
		return hsmsim.Fault{Until: gate}
	}))
	client := hsm.New([]string{addr}, patient...)
	done := make(chan error, 1)
	go func() { done <- client.Ping(context.Background()) }()
	<-held
	client.Close()
	if err := <-done; !errors.Is(err, hsm.ErrUnreachable) {
		t.Errorf("during Close: %v", err)
	}
	if err := client.Ping(t.Context()); !errors.Is(err, hsm.ErrUnreachable) {
		t.Errorf("after Close: %v", err)
	}
	client.Close()

	none := hsm.New(nil)
	defer none.Close()
	if err := none.Ping(t.Context()); !errors.Is(err, hsm.ErrUnreachable) {
		t.Errorf("without addresses: %v", err)
	}

	// While a dial hangs in the greeting.
	hanging, _ := peer(t, func(nc net.Conn) { held <- struct{}{}; _, _ = io.Copy(io.Discard, nc) })
	client = hsm.New([]string{hanging}, patient...)
	go func() { done <- client.Ping(context.Background()) }()
	<-held
	client.Close()
	if err := <-done; !errors.Is(err, hsm.ErrUnreachable) {
		t.Errorf("during a dial: %v", err)
	}
}

func TestIdleConnectionsAreLetGo(t *testing.T) {
	server, addr := start(t)
	client := connect(t, addr, append(patient, hsm.WithIdleTimeout(time.Millisecond), hsm.WithBackoff(time.Hour, time.Hour))...)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// Neither the end of idleness nor a request that meets it is a failure.
	for server.Counters().Connections < 5 {
		if err := client.Ping(ctx); err != nil {
			t.Fatal(err)
		}
		pause(t, 2*time.Millisecond)
	}
}

// pause lets time pass on a connection: it waits for a deadline of another.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	<-ctx.Done()
}
