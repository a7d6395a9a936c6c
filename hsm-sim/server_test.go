package hsmsim_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	hsmsim "onecard/hsm-sim"
	"onecard/hsm-sim/hsm"
)

func echoes(t testing.TB, n, size int) []byte {
	t.Helper()
	var b []byte
	for id := range n {
		var err error
		b, err = hsm.AppendFrame(b, hsm.Frame{Version: 1, Kind: hsm.Request, Command: hsm.CommandEcho, ID: uint32(id + 1),
			Fields: []hsm.Field{{Tag: hsm.TagEcho, Value: make([]byte, size)}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// No more requests than permitted are worked on, and the others are not lost.
func TestInFlightIsBounded(t *testing.T) {
	const permitted, sent = 3, 20
	gate := make(chan struct{})
	working := make(chan struct{}, sent)
	_, addr := start(t, hsmsim.WithMaxInFlight(permitted), hsmsim.WithFaults(func(uint64, hsm.Frame) hsmsim.Fault {
		working <- struct{}{}
		return hsmsim.Fault{Until: gate}
	}))
	nc := dial(t, addr)
	if _, err := nc.Write(echoes(t, sent, 10)); err != nil {
		t.Fatal(err)
	}
	for range permitted {
		<-working
	}
	// Were a fourth begun, it would be by now or soon; this can miss a fault,
	// but not find one that is not there.
	pause(t, 20*time.Millisecond)
	if len(working) != 0 {
		t.Errorf("%d more in flight", len(working))
	}
	close(gate)
	seen := make(map[uint32]bool)
	for range sent {
		f, err := hsm.ReadFrame(nc, hsm.MaxFrame)
		if err != nil {
			t.Fatal(err)
		}
		seen[f.ID] = true
	}
	if len(seen) != sent {
		t.Errorf("%d answers", len(seen))
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	server, addr := start(t, hsmsim.WithMaxConnections(2))
	var open []net.Conn
	for range 2 {
		nc := dial(t, addr)
		if _, err := nc.Write(echoes(t, 1, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := hsm.ReadFrame(nc, hsm.MaxFrame); err != nil {
			t.Fatal(err)
		}
		open = append(open, nc)
	}
	if _, err := io.ReadAll(dial(t, addr)); err != nil {
		t.Errorf("the third is not closed: %v", err)
	}
	if n := server.Counters(); n.TurnedAway != 1 || n.Open != 2 {
		t.Errorf("%+v", n)
	}
	open[0].Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client := connect(t, addr, hsm.WithConnections(1), hsm.WithBackoff(1, 1))
	for client.Ping(ctx) != nil { // until the server has noticed the free place
		if ctx.Err() != nil {
			t.Fatal("the place is not free again")
		}
	}
}

func TestSlowPeersAreDropped(t *testing.T) {
	for name, test := range map[string]struct {
		option hsmsim.Option
		send   []byte
		broken int64
	}{
		"idle":           {hsmsim.WithIdleTimeout(20 * time.Millisecond), nil, 0},
		"idle again":     {hsmsim.WithIdleTimeout(20 * time.Millisecond), echoes(t, 1, 1), 0},
		"half a length":  {hsmsim.WithFrameTimeout(20 * time.Millisecond), []byte{0, 0}, 1},
		"half a frame":   {hsmsim.WithFrameTimeout(20 * time.Millisecond), echoes(t, 1, 100)[:50], 1},
		"one and a half": {hsmsim.WithFrameTimeout(20 * time.Millisecond), echoes(t, 2, 100)[:200], 1},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server, stop := serveUntil(t, ln, test.option)
			defer stop()
			nc := dial(t, ln.Addr().String())
			if _, err := nc.Write(test.send); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(nc); err != nil {
				t.Errorf("not closed: %v", err)
			}
			stop()
			if n := server.Counters(); n.Broken != test.broken {
				t.Errorf("%+v", n)
			}
		})
	}
}

// A peer that sends and never reads is dropped, and holds nobody else up.
func TestAnswersThatAreNotTaken(t *testing.T) {
	_, addr := start(t, hsmsim.WithWriteTimeout(50*time.Millisecond))
	nc := dial(t, addr)
	request := echoes(t, 16, 4000)
	for {
		if _, err := nc.Write(request); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("not dropped")
			}
			break
		}
	}
	if err := connect(t, addr).Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// A server that is told to stop answers what it has read.
func TestGracefulStop(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	working := make(chan struct{})
	server, stop := serveUntil(t, ln, hsmsim.WithFaults(func(uint64, hsm.Frame) hsmsim.Fault {
		close(working)
		return hsmsim.Fault{Until: make(chan struct{})} // until the server stops
	}))
	idle := dial(t, ln.Addr().String())
	nc := dial(t, ln.Addr().String())
	if _, err := nc.Write(echoes(t, 1, 1)); err != nil {
		t.Fatal(err)
	}
	<-working
	stop()
	if f, err := hsm.ReadFrame(nc, hsm.MaxFrame); err != nil || f.Status != hsm.StatusOK {
		t.Errorf("%+v, %v", f, err)
	}
	for _, c := range []net.Conn{nc, idle} {
		if rest, err := io.ReadAll(c); err != nil || len(rest) != 0 {
			t.Errorf("not closed: %x, %v", rest, err)
		}
	}
	if n := server.Counters(); n.Answered != 1 || n.Open != 0 || n.Broken != 0 {
		t.Errorf("%+v", n)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

// A client may send everything, close its side and then read.
func TestHalfClose(t *testing.T) {
	_, addr := start(t)
	nc := dial(t, addr)
	if _, err := nc.Write(echoes(t, 10, 100)); err != nil {
		t.Fatal(err)
	}
	if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := hsm.ReadFrame(nc, hsm.MaxFrame); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := hsm.ReadFrame(nc, hsm.MaxFrame); err != io.EOF {
		t.Error(err)
	}
}

type brokenListener struct{ net.Listener }

func (brokenListener) Accept() (net.Conn, error) { return nil, errors.New("broken") }

func TestAListenerThatFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := hsmsim.Serve(t.Context(), brokenListener{ln}); err == nil {
		t.Error("no error")
	}
}

// Neither keys nor what is computed with them reaches the log.
func TestLog(t *testing.T) {
	var text bytes.Buffer
	log := logrus.New()
	log.SetOutput(&text) // logrus locks around writing
	log.SetLevel(logrus.TraceLevel)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, stop := serveUntil(t, ln, hsmsim.WithLog(log))
	client := hsm.New([]string{ln.Addr().String()})
	v := readVectors(t)[0]
	if _, err := client.InternalAuth(t.Context(), v.subject(), [8]byte(v.Internal.Process), [8]byte(v.Internal.Raw)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ExternalAuth(t.Context(), v.subject(), "IRK", v.External.Challenge, [8]byte{}); !errors.Is(err, hsm.ErrRefused) {
		t.Fatal(err)
	}
	client.Close()
	stop()
	for _, want := range []string{"TEST KEYS", "refused", "0103"} {
		if !bytes.Contains(text.Bytes(), []byte(want)) {
			t.Errorf("the log lacks %q:\n%s", want, &text)
		}
	}
	for _, secret := range []string{"7f8e7160", "5b50aa96", "5b0e086f", v.Area} {
		if bytes.Contains(bytes.ToLower(text.Bytes()), []byte(secret)) {
			t.Errorf("the log has %q:\n%s", secret, &text)
		}
	}
}

// FuzzServer sends anything; the server ends the connection and stays alive.
func FuzzServer(f *testing.F) {
	_, addr := start(f)
	client := connect(f, addr)
	for _, e := range [][]byte{echoes(f, 3, 5), {}, {0}, {0, 0, 0, 10}, []byte("GET / HTTP/1.1\r\n\r\n"), {0x16, 3, 1, 2, 0, 1}} {
		f.Add(e)
	}
	random := make([]byte, 300)
	if _, err := rand.Read(random); err != nil {
		f.Fatal(err)
	}
	f.Add(random)
	for _, command := range []hsm.Command{hsm.CommandStatus, hsm.CommandInternalAuth, hsm.CommandExternalAuth} {
		b, err := hsm.AppendFrame(nil, hsm.Frame{Version: 1, Kind: hsm.Request, Command: command, ID: 1,
			Fields: append(hsm.SubjectFields(subject, "RKSSSE"), hsm.Field{Tag: hsm.TagChallenge, Value: make([]byte, 8)},
				hsm.Field{Tag: hsm.TagRaw, Value: make([]byte, 8)})})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		nc := dial(t, addr)
		defer nc.Close()
		// The server may have closed before it has all, and then resets.
		if _, err := nc.Write(sent); err == nil {
			if err := nc.(*net.TCPConn).CloseWrite(); err == nil {
				for {
					answer, err := hsm.ReadFrame(nc, hsm.MaxFrame)
					if errors.Is(err, hsm.ErrProtocol) || errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatalf("answered % X with %+v, %v", sent, answer, err)
					}
					if err != nil {
						break
					}
				}
			}
		}
		if err := client.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzClient answers anything; every call of the client ends, in an error
// unless the answer was right.
func FuzzClient(f *testing.F) {
	f.Add(true, echoes(f, 1, 16))
	f.Add(true, []byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add(true, []byte("\x00\x00\x00\x12\x01\x02CI\x00\x00\x00\x02\x00\x00\x01\x13\x00\x0812345678")[:18])
	f.Add(true, []byte("\x00\x00\x00\x16\x01\x02CI\x00\x00\x00\x02\x00\x00\x01\x13\x00\x0812345678"))
	f.Add(true, []byte("\x00\x00\x00\x0A\x01\x02CI\x00\x00\x00\x02\x01\x02"))
	f.Add(false, []byte("\x00\x00\x00\x0A\x01\x02HS\x00\x00\x00\x01\x00\x00"))
	f.Add(false, []byte{0, 0, 0, 1})
	type behaviour struct {
		greeted bool
		answer  []byte
	}
	var current atomic.Pointer[behaviour]
	addr, _ := peer(f, func(nc net.Conn) {
		b := current.Load()
		var r io.Reader = nc
		if b.greeted {
			buffered, err := greet(nc)
			if err != nil {
				return
			}
			r = buffered
		}
		if _, err := hsm.ReadFrame(r, hsm.MaxFrame); err == nil {
			_, _ = nc.Write(b.answer)
		}
	})
	f.Fuzz(func(t *testing.T, greeted bool, answer []byte) {
		current.Store(&behaviour{greeted, answer})
		client := hsm.New([]string{addr}, patient...)
		defer client.Close()
		_, err := client.InternalAuth(t.Context(), subject, [8]byte{}, [8]byte{})
		switch {
		case err == nil:
			if !greeted {
				t.Fatal("authenticated without a greeting")
			}
		case errors.Is(err, hsm.ErrUnreachable), errors.Is(err, hsm.ErrProtocol), errors.Is(err, hsm.ErrRefused):
		default:
			t.Fatal(err)
		}
	})
}
