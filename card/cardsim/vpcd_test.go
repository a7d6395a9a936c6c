package cardsim

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"

	"onecard/fault"
)

// A slot is the reader's end: what vpcd does.
type slot struct {
	t    *testing.T
	conn net.Conn
}

func (s slot) send(frame ...byte) {
	s.t.Helper()
	// Length and payload apart, as vpcd sends them.
	if _, err := s.conn.Write(binary.BigEndian.AppendUint16(nil, uint16(len(frame)))); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.conn.Write(frame); err != nil {
		s.t.Fatal(err)
	}
}

func (s slot) receive() string {
	s.t.Helper()
	var size [2]byte
	if _, err := io.ReadFull(s.conn, size[:]); err != nil {
		s.t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(s.conn, b); err != nil {
		s.t.Fatal(err)
	}
	return strings.ToUpper(hex.EncodeToString(b))
}

// A safeBuffer is a log that two goroutines can touch.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestServeVPCD(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var out safeBuffer
	log := logrus.New()
	log.SetOutput(&out)
	img, err := Example("3.0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(img, WithLogger(log))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- ServeVPCD(ctx, ln.Addr().String(), c) }()
	accept := func() slot {
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return slot{t, conn}
	}
	command, err := hex.DecodeString(selectSSSE)
	if err != nil {
		t.Fatal(err)
	}

	s := accept()
	s.send(vpcdATR)
	if got := s.receive(); got != "3B6D00000081544C968684510100035676" {
		t.Error(got)
	}
	s.send() // an empty frame and an unknown control byte have no answer
	s.send(9)
	s.send(vpcdOn)
	s.send(command...)
	if got := s.receive(); !strings.HasSuffix(got, "9000") {
		t.Error(got)
	}
	s.send(0x00, 0xB2, 0x03, 0x2C, 0x00)
	if got := s.receive(); got != "0304332E30309000" {
		t.Error(got)
	}
	s.send(vpcdReset)
	s.send(0x00, 0xB2, 0x03, 0x2C, 0x00)
	if got := s.receive(); got != "6A82" { // the selection is gone
		t.Error(got)
	}
	s.send(vpcdOff)
	s.send(command...)
	if got := s.receive(); got != "6F00" {
		t.Error(got)
	}

	// The reader restarts: the card comes back by itself.
	if err := s.conn.Close(); err != nil {
		t.Fatal(err)
	}
	s = accept()
	s.send(vpcdATR)
	if got := s.receive(); got != "3B6D00000081544C968684510100035676" {
		t.Error(got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := s.conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the card is still in the reader: %v", err)
	}
	if err := s.conn.Close(); err != nil {
		t.Error(err)
	}
	logged := out.String()
	if !strings.Contains(logged, "TEST KEYS") {
		t.Error("nothing said about test keys")
	}
	for _, private := range []string{"510104195807120024", "123456", "B51000035", "欧阳"} {
		if strings.Contains(logged, private) {
			t.Errorf("the log holds %s", private)
		}
	}
}

func TestServeVPCDNobodyThere(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	img, err := Example("2.0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.AddHook(&afterWarnings{left: 3, call: cancel}) // test keys, two failures
	c, err := New(img, WithLogger(log))
	if err != nil {
		t.Fatal(err)
	}
	if err := ServeVPCD(ctx, addr, c); err != nil {
		t.Error(err)
	}
	for _, addr := range []string{"", "nonsense", "127.0.0.1", "127.0.0.1:"} {
		if err := ServeVPCD(t.Context(), addr, c); fault.Of(err).Code != fault.SimulatorListen {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

// afterWarnings calls once so many warnings have been logged.
type afterWarnings struct {
	left int
	call func()
}

func (*afterWarnings) Levels() []logrus.Level { return []logrus.Level{logrus.WarnLevel} }

func (a *afterWarnings) Fire(*logrus.Entry) error {
	if a.left--; a.left == 0 {
		a.call()
	}
	return nil
}

func TestMuteOnVPCD(t *testing.T) {
	img, err := Example("2.0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(img, WithQuirks(QuirkMute))
	if err != nil {
		t.Fatal(err)
	}
	if atr, ok := answerFrame(c, []byte{vpcdATR}); !ok || len(atr) != 0 {
		t.Errorf("%x %v", atr, ok)
	}
}

// TestServeTornCard: the card that is torn out cuts the link instead of
// answering, is put in again, and holds what the tear left.
func TestServeTornCard(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	c, err := New(imageOf(t, "2.0", nil), WithTear(Tear{1, TearCommitted}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- ServeVPCD(ctx, ln.Addr().String(), c) }()
	command, err := hex.DecodeString(selectSSSE)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		s := slot{t, conn}
		s.send(vpcdOn)
		s.send(command...)
		if got := s.receive(); !strings.HasSuffix(got, "9000") {
			t.Error(got)
		}
		if round == 1 {
			s.send(0x00, 0x20, 0x00, 0x00, 0x03, 0x65, 0x43, 0x21)
			if got := s.receive(); got != "63C4" { // the first try is used up
				t.Error(got)
			}
			break
		}
		s.send(0x00, 0x20, 0x00, 0x00, 0x03, 0x65, 0x43, 0x21)
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
