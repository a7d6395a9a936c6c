package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"onecard/reader/pinpad"
	"onecard/terminal"
)

// The pad that `onecard sim pinpad` is, on a pseudo-terminal, and the one of the
// configuration understand each other.
func TestSimulatedSerialPad(t *testing.T) {
	dir := t.TempDir()
	keyFile := filepath.Join(dir, "pad.key")
	if err := os.WriteFile(keyFile, []byte("00112233445566778899aabbccddeeff\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "pad")
	ctx, stop := context.WithCancel(t.Context())
	said, says, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	ended := make(chan error, 1)
	var errs strings.Builder
	go func() {
		defer says.Close()
		c := simPinpadCmd{KeyFile: keyFile, PtyLink: link, PIN: "246813", New: "cancel"}
		ended <- c.Run(&app{cli: new(cli), ctx: ctx, out: says, errs: &errs})
	}()
	if _, err := said.Read(make([]byte, 1)); err != nil { // the pad is there
		t.Fatal(err)
	}
	for _, cipher := range []string{"sm4", "3des"} {
		pad, err := terminal.PINPadConfig{Kind: "serial", Port: link, Baud: 9600, Cipher: cipher, KeyFile: keyFile}.SerialPad()
		if err != nil {
			t.Fatal(err)
		}
		if digits, err := pad.Enter(t.Context(), pinpad.Enter); err != nil || string(digits) != "246813" {
			t.Errorf("%s: %q, %v", cipher, digits, err)
		}
		if digits, err := pad.Enter(t.Context(), pinpad.New); !errors.Is(err, pinpad.ErrCancelled) {
			t.Errorf("%s: %q, %v", cipher, digits, err)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("%v: %s", err, errs.String())
	}
	if strings.Contains(errs.String(), "246813") || strings.Contains(errs.String(), "00112233") {
		t.Error("PIN or key in the log")
	}
	if _, err := os.Lstat(link); err == nil {
		t.Error("the link is left behind")
	}
}
