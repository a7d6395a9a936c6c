package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"onecard/fault"
	"onecard/terminal"
)

// An authority makes certificates, in files.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	a := &authority{dir: filepath.Join(dir, name), next: 1}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err, os.Mkdir(a.dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	a.key = key
	a.cert = a.sign(t, "ca", &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, key)
	return a
}

// sign writes NAME.pem and NAME.key.
func (a *authority) sign(t *testing.T, name string, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(a.next)
	a.next++
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := a.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(a.dir, name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(a.dir, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (a *authority) side(t *testing.T, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.sign(t, name, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}, key)
}

// files are the keys of a configuration: whom it trusts, and who it is.
func (a *authority) files(trusted *authority, name string) string {
	return fmt.Sprintf("ca_file = %q\ncert_file = %q\nkey_file = %q\n", filepath.Join(trusted.dir, "ca.pem"),
		filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key"))
}

// A wire lies between two machines and can be cut.
type wire struct {
	net.Listener
	to    string
	mu    sync.Mutex
	ended bool
	open  []net.Conn
	busy  sync.WaitGroup
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, to: to}
	w.busy.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			w.join(near)
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		w.cut(true)
		w.busy.Wait()
	})
	return w
}

// join connects one connection with the other machine, while the wire is whole.
func (w *wire) join(near net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		near.Close()
		return
	}
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		near.Close()
		return
	}
	w.open = append(w.open, near, far)
	for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
		w.busy.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // ends when the wire is cut
			pair[0].Close()
		})
	}
}

// cut cuts the wire, or makes it whole again.
func (w *wire) cut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = cut
	if cut {
		for _, c := range w.open {
			c.Close()
		}
		w.open = nil
	}
}

// Two programs on two machines: one lends its reader, the other reads the card in it.
// A line that is cut is a removal, and when it is back the card is there again. A
// certificate of somebody else is refused, by either side, and both say so.
func TestLentReader(t *testing.T) {
	dir := t.TempDir()
	ours, theirs := newAuthority(t, dir, "ours"), newAuthority(t, dir, "theirs")
	for _, a := range []*authority{ours, theirs} {
		a.side(t, "board")
		a.side(t, "desk")
	}
	board := filepath.Join(dir, "board.toml")
	text := "state_dir = \"board\"\n[[reader]]\nkind = \"virtual\"\nmatch = \"kiosk reader\"\nimage = \"3.0\"\n[lend]\nlisten = \"127.0.0.1:0\"\n" + ours.files(ours, "board")
	if err := os.WriteFile(board, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lender := start(t, dir, append(os.Environ(), "ONECARD_LANG=en"), "onecard", "lend", "--config", board)
	line := newWire(t, lender.where)
	at := line.Addr().String()

	remote := func(files string) hospital {
		return hospital{"kind": "remote", "reader": fmt.Sprintf("address = %q\n%s", at, files)}
	}
	c := newCounter(t, setup{config: remote(ours.files(ours, "desk"))})
	ready := func(s terminal.State) bool {
		return len(s.Readers) == 1 && s.Readers[0].State == terminal.ReaderReady && s.Readers[0].Card.Authenticated
	}
	before := c.await(ready).Readers[0]
	if before.Name != "kiosk reader at "+at || before.Kind != "remote" {
		t.Errorf("the slot is %q, kind %q", before.Name, before.Kind)
	}
	out, errs := c.tool(0, "read")
	if !strings.Contains(out, "欧阳海燕") {
		t.Errorf("%s%s", out, errs)
	}

	line.cut(true)
	gone := c.await(func(s terminal.State) bool { return len(s.Readers) == 0 && unwell(s, terminal.HealthReader) != "" })
	if code := unwell(gone, terminal.HealthReader); code != fault.RemoteUnreachable {
		t.Errorf("a cut line is told as %s", code)
	}
	if _, errs := c.tool(1, "read"); !strings.Contains(errs, string(fault.RemoteUnreachable)) {
		t.Errorf("read over a cut line: %s", errs)
	}
	line.cut(false)
	after := c.await(ready).Readers[0]
	if after.ID != before.ID || after.Card.Insertion == before.Card.Insertion {
		t.Errorf("before %s %d, after %s %d", before.ID, before.Card.Insertion, after.ID, after.Card.Insertion)
	}
	out, errs = c.tool(0, "read")
	if !strings.Contains(out, "欧阳海燕") {
		t.Errorf("after the line was back: %s%s", out, errs)
	}

	for name, files := range map[string]string{
		"the desk's certificate":  theirs.files(ours, "desk"),
		"the board's certificate": ours.files(theirs, "desk"),
	} {
		t.Run(name, func(t *testing.T) {
			stranger := newCounter(t, setup{config: remote(files), unready: true})
			s := stranger.await(func(s terminal.State) bool { return unwell(s, terminal.HealthReader) != "" })
			if code := unwell(s, terminal.HealthReader); code != fault.RemoteRefused || len(s.Readers) != 0 {
				t.Errorf("told as %s, with %d readers", code, len(s.Readers))
			}
			if out, _ := stranger.tool(1, "doctor"); !strings.Contains(out, string(fault.RemoteRefused)) || !strings.Contains(out, "tls: ") {
				t.Errorf("doctor: %s", out)
			}
		})
	}
	if err := lender.says("a desk was refused"); err != nil {
		t.Error(err)
	}
}

// A board lends its serial reader, too.
func TestLentSerialReader(t *testing.T) {
	dir := t.TempDir()
	a := newAuthority(t, dir, "ours")
	a.side(t, "board")
	a.side(t, "desk")
	port := serialReader(t, "--image", "2.0")
	board := filepath.Join(dir, "board.toml")
	text := fmt.Sprintf("state_dir = \"board\"\n[[reader]]\nkind = \"serial\"\nport = %q\nbaud = 115200\n[lend]\nlisten = \"127.0.0.1:0\"\n%s", port, a.files(a, "board"))
	if err := os.WriteFile(board, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lender := start(t, dir, append(os.Environ(), "ONECARD_LANG=en"), "onecard", "lend", "--config", board)
	c := newCounter(t, setup{config: hospital{"kind": "remote", "reader": fmt.Sprintf("address = %q\n%s", lender.where, a.files(a, "desk"))}})
	if out, errs := c.tool(0, "read"); !strings.Contains(out, "张三") {
		t.Errorf("%s%s", out, errs)
	}
}

// unwell is the code of a failing condition, "" where it is well or not known.
func unwell(s terminal.State, name string) fault.Code {
	for _, c := range s.Health {
		if c.Name == name && !c.OK {
			return c.Fault.Code
		}
	}
	return ""
}
