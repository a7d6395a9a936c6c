package main

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"onecard/apdu"
	"onecard/card"
	"onecard/fault"
	"onecard/reader"
	"onecard/reader/pcsc"
)

// foreignCard starts vicc, a card that others have written (Debian package
// vsmartcard-vpicc), and returns a way to end it. Debian 12 puts its modules
// where Python does not look, and they ask for pycryptodome under the name that
// it has elsewhere.
func foreignCard(t *testing.T) (end func()) {
	t.Helper()
	missing := func(why string) {
		t.Helper()
		if os.Getenv("ONECARD_PCSC_REQUIRED") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	path, err := exec.LookPath("vicc")
	if err != nil {
		missing("vicc is not installed (Debian package vsmartcard-vpicc)")
	}
	modules := t.TempDir()
	const system = "/usr/lib/python3/"
	if err := os.Symlink(system+"dist-packages/Cryptodome", filepath.Join(modules, "Crypto")); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(os.Getenv("ONECARD_VPCD_ADDR"))
	if err != nil {
		t.Fatal(err)
	}
	line := append(strings.Fields(os.Getenv("ONECARD_VPCD_EXEC")), path, "--type", "iso7816", "--hostname", host, "--port", port)
	var printed strings.Builder
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+modules+":"+system+"site-packages/virtualsmartcard")
	cmd.Stdout, cmd.Stderr = &printed, &printed
	own(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }() // its status tells nothing
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
		if t.Failed() {
			t.Log(printed.String())
		}
	})
	return func() {
		t.Helper()
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		<-ended
	}
}

// TestPCSCForeignCard has our reader talk to a card of somebody else's: T=1, an
// ATR with everything in it, another file system, other status words.
func TestPCSCForeignCard(t *testing.T) {
	pcscStack(t)
	driver := pcsc.New()
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := driver.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	const slot = "Virtual PCD 00 00"
	awaitSlot(t, driver, slot, false) // the card of the test before
	end := foreignCard(t)
	awaitSlot(t, driver, slot, true)
	link, err := driver.Open(t.Context(), slot, reader.Shared)
	if err != nil {
		t.Fatal(err)
	}
	s := reader.NewSession(link, reader.SlotState{Slot: slot})
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	atr, err := reader.ParseATR(s.ATR())
	if err != nil || len(atr.Historical) != 5 {
		t.Errorf("%X: %+v, %v", s.ATR(), atr, err)
	}
	for _, step := range []struct {
		command string
		status  apdu.Status
		data    string // "" none; "*8" any eight bytes
		is      error
	}{
		{"00A4000C023F00", apdu.StatusOK, "", nil},
		{"00A4000C021234", apdu.StatusNotFound, "", apdu.ErrNotFound},
		{"00A4040C0FD1560000050102030405060708090A", apdu.StatusNotFound, "", apdu.ErrNotFound},
		{"0084000008", apdu.StatusOK, "*8", nil},
		{"0084000100", 0x6A86, "", apdu.ErrWrongParameters},
		{"00FE000000", 0x6D00, "", apdu.ErrInstruction},
		// A file is made with content, selected, read whole and in part.
		{"00E000001A6218" + "820101" + "83020101" + "80020010" + "540100" + "53080102030405060708", apdu.StatusOK, "", nil},
		{"00A4000C023F00", apdu.StatusOK, "", nil},
		{"00A4020C020101", apdu.StatusOK, "", nil},
		{"00B0000008", apdu.StatusOK, "0102030405060708", nil},
		{"00B0000204", apdu.StatusOK, "03040506", nil},
		{"00B0100004", 0x6B00, "", apdu.ErrWrongParameters},
		{"00B2010400", 0x6981, "", nil},
		// Its PIN is refused until it is blocked; its 6300 does not count.
		{"002000000431313131", 0x6300, "", nil},
		{"002000000431313131", 0x6300, "", nil},
		{"002000000431313131", 0x6300, "", nil},
		{"002000000431323334", apdu.StatusBlocked, "", apdu.ErrBlocked},
	} {
		raw, err := hex.DecodeString(step.command)
		if err != nil {
			t.Fatal(err)
		}
		c, err := apdu.ParseCommand(raw)
		if err != nil {
			t.Fatalf("%s: %v", step.command, err)
		}
		r, err := s.Exchange(t.Context(), c)
		if err != nil {
			t.Fatalf("%s: %v", step.command, err)
		}
		data := strings.ToUpper(hex.EncodeToString(r.Data))
		if r.Status != step.status || data != step.data && !(step.data == "*8" && len(data) == 16) {
			t.Errorf("%s: %04X %s, not %04X %s", step.command, uint16(r.Status), data, uint16(step.status), step.data)
		}
		if step.is != nil && !errors.Is(r.Status.Err(), step.is) {
			t.Errorf("%s: %v, not %v", step.command, r.Status.Err(), step.is)
		}
		if _, counts := r.Status.TriesLeft(); counts {
			t.Errorf("%s: %s is taken for a count of tries", step.command, r.Status)
		}
	}
	// It is no social security card, and pulling it out is noticed. This vicc
	// itself dies of a SELECT that wants the FCI, in the middle of the command.
	_, err = card.Open(t.Context(), s)
	if code := fault.Of(err).Code; code != fault.NotSocialSecurityCard && code != fault.CardRemoved {
		t.Errorf("%s: %v", code, err)
	}
	end()
	awaitSlot(t, driver, slot, false)
}

// awaitSlot waits until a card is in a slot, or none is.
func awaitSlot(t *testing.T, driver *pcsc.Driver, name string, present bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	seen := false
	err := driver.Watch(watching, func(snapshot reader.Snapshot) {
		for _, slot := range snapshot.Slots {
			if slot.Slot == name && slot.Present == present && (!present || len(slot.ATR) > 0) {
				seen = true
				stop()
			}
		}
	})
	if err != nil || !seen {
		t.Fatalf("%s: a card present is not %v: %v", name, present, err)
	}
}
