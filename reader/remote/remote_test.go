package remote_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"iter"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"onecard/apdu"
	"onecard/fault"
	"onecard/reader"
	"onecard/reader/remote"
	"onecard/reader/virtual"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// authority makes certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	check(t, err)
	a.cert, err = x509.ParseCertificate(der)
	check(t, err)
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) string {
	file := filepath.Join(a.dir, name)
	check(a.t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}

// side is the configuration of one side, which trusts the authority of trusted.
func (a *authority) side(name string, trusted *authority) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(a.t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	check(a.t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	check(a.t, err)
	config, err := remote.LoadTLS(filepath.Join(trusted.dir, "ca.pem"), a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", secret))
	check(a.t, err)
	return config
}

// chip answers with its number and counts resets.
type chip struct {
	mu sync.Mutex
	on int
}

func (c *chip) PowerOn() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on++
	return []byte{0x3B, 0x00}
}
func (c *chip) PowerOff() {}
func (c *chip) Transmit(command []byte) []byte {
	return append(bytes.Clone(command), 0x90, 0x00)
}

// lines is a listener whose connections can be cut.
type lines struct {
	net.Listener
	mu   sync.Mutex
	open []net.Conn
}

func (l *lines) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.open = append(l.open, c)
		l.mu.Unlock()
	}
	return c, err
}

func (l *lines) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		c.Close()
	}
	l.open = nil
}

// A bed is a lent virtual reader and a desk that watches it.
type bed struct {
	lent  *virtual.Driver
	slot  string // its name at the desk
	lines *lines
	desk  *remote.Driver
	w     *reader.Watcher
	next  func() (reader.Event, bool)
	t     *testing.T
}

func newBed(t *testing.T) *bed {
	a := newAuthority(t)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	b := &bed{t: t, slot: "far at " + tcp.Addr().String(), lent: virtual.New("far"), lines: &lines{Listener: tcp}}
	b.desk = remote.New(tcp.Addr().String(), a.side("desk", a))
	b.w = reader.NewWatcher([]reader.Driver{b.desk})
	ctx, stop := context.WithTimeout(context.Background(), time.Minute) // for a test that hangs
	var work sync.WaitGroup
	listener := tls.NewListener(b.lines, a.side("kiosk", a))
	work.Go(func() {
		if err := remote.Lend(ctx, listener, []reader.Driver{b.lent}, nil); err != nil {
			t.Error(err)
		}
	})
	work.Go(func() {
		if err := b.w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	var end func()
	b.next, end = iter.Pull(b.w.Subscribe(ctx))
	t.Cleanup(func() { end(); stop(); work.Wait() })
	return b
}

func (b *bed) until(kind reader.Kind) reader.Event {
	b.t.Helper()
	for {
		e, ok := b.next()
		if !ok {
			b.t.Fatalf("no %q", kind)
		}
		if e.Kind == kind {
			return e
		}
	}
}

func TestRemoteCard(t *testing.T) {
	b := newBed(t)
	b.until(reader.SlotAdded)
	if _, err := b.w.Open(t.Context(), b.slot, reader.Shared); !errors.Is(err, reader.ErrNoCard) {
		t.Errorf("an empty slot: %v", err)
	}
	c := new(chip)
	check(t, b.lent.Insert("far", c))
	told := b.until(reader.CardInserted)
	s, err := b.w.Open(t.Context(), b.slot, reader.Exclusive)
	check(t, err)
	if s.State().Insertion != told.Slot.Insertion || !bytes.Equal(s.ATR(), []byte{0x3B, 0x00}) {
		t.Errorf("told %+v, opened %+v", told.Slot, s.State())
	}
	if _, err := b.w.Open(t.Context(), b.slot, reader.Shared); !errors.Is(err, reader.ErrBusy) {
		t.Errorf("a second session: %v", err)
	}
	check(t, s.Begin(t.Context()))
	r, err := s.Exchange(t.Context(), apdu.Command{INS: 0x84, Le: 8})
	if err != nil || !bytes.Equal(r.Data, []byte{0, 0x84, 0, 0, 8}) {
		t.Errorf("% X, %v", r.Data, err)
	}
	check(t, s.End())
	check(t, s.Reset(t.Context()))
	check(t, b.lent.ResetByOther("far"))
	if _, err := s.Exchange(t.Context(), apdu.Command{INS: 0x84, Le: 8}); !errors.Is(err, reader.ErrCardReset) {
		t.Errorf("after another's reset: %v", err)
	}
	check(t, b.lent.Remove("far"))
	b.until(reader.CardRemoved)
	if _, err := s.Exchange(t.Context(), apdu.Command{INS: 0x84, Le: 8}); !errors.Is(err, reader.ErrCardRemoved) {
		t.Errorf("without card: %v", err)
	}
	check(t, s.Close())
}

// A line that is cut is a removal; the card was reset before the next session, and
// is another insertion.
func TestLineLost(t *testing.T) {
	b := newBed(t)
	c := new(chip)
	check(t, b.lent.Insert("far", c))
	before := b.until(reader.CardInserted)
	s, err := b.w.Open(t.Context(), b.slot, reader.Exclusive)
	check(t, err)
	b.lines.cut()
	if _, err := s.Exchange(t.Context(), apdu.Command{INS: 0x84, Le: 8}); !errors.Is(err, reader.ErrCardRemoved) {
		t.Errorf("on a cut line: %v", err)
	}
	check(t, s.Close())
	after := b.until(reader.CardInserted)
	if after.Slot.Insertion == before.Slot.Insertion {
		t.Error("it counts as the same insertion")
	}
	// The lending side lets go of the card once it has reset it.
	for {
		again, err := b.w.Open(t.Context(), b.slot, reader.Exclusive)
		if errors.Is(err, reader.ErrBusy) {
			b.until(reader.SlotChanged)
			continue
		}
		check(t, err)
		check(t, again.Close())
		break
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on < 2 {
		t.Error("the card was not reset")
	}
}

// A reader that hangs is given up at the command's deadline.
func TestRemoteReaderHangs(t *testing.T) {
	b := newBed(t)
	check(t, b.lent.Insert("far", new(chip)))
	b.until(reader.CardInserted)
	check(t, b.lent.Order("far", virtual.Fault{Kind: virtual.Hang}))
	s, err := b.w.Open(t.Context(), b.slot, reader.Shared)
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Exchange(ctx, apdu.Command{INS: 0x84, Le: 8}); !errors.Is(err, reader.ErrStuck) {
		t.Errorf("a reader that hangs: %v", err)
	}
	check(t, s.Close())
}

// Who has no certificate of the right authority gets nothing, and gives nothing.
func TestStrangers(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	for name, sides := range map[string][2]*tls.Config{
		"desk":  {ours.side("kiosk", ours), theirs.side("desk", ours)},
		"kiosk": {theirs.side("kiosk", ours), ours.side("desk", ours)},
	} {
		t.Run(name, func(t *testing.T) {
			tcp, err := net.Listen("tcp", "127.0.0.1:0")
			check(t, err)
			ctx, stop := context.WithCancel(t.Context())
			var work sync.WaitGroup
			refused := make(chan error, 1)
			work.Go(func() {
				told := func(from net.Addr, why error) {
					select {
					case refused <- why:
					default:
					}
				}
				if err := remote.Lend(ctx, tls.NewListener(tcp, sides[0]), []reader.Driver{virtual.New("far")}, told); err != nil {
					t.Error(err)
				}
			})
			desk := remote.New(tcp.Addr().String(), sides[1])
			if _, err := desk.Open(ctx, "far at "+tcp.Addr().String(), reader.Shared); !errors.Is(err, reader.ErrServiceDown) || !errors.Is(err, remote.ErrRefused) {
				t.Errorf("open: %v", err)
			}
			if err := <-refused; err == nil {
				t.Error("the lending side is not told")
			}
			watched := make(chan error, 1)
			work.Go(func() { _ = desk.Watch(ctx, func(s reader.Snapshot) { watched <- s.Err; stop() }) })
			if err := <-watched; !errors.Is(err, reader.ErrServiceDown) || !errors.Is(err, remote.ErrRefused) || fault.Of(err).Code != fault.RemoteRefused {
				t.Errorf("watch: %v", err)
			}
			stop()
			work.Wait()
		})
	}
}
