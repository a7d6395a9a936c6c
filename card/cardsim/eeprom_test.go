package cardsim

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"onecard/card/keys"
)

func TestEEPROMFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "card.eeprom")
	for _, tear := range Tears(1) {
		d := newDesk(t, "3.0", nil, WithEEPROM(file))
		d.enterMedical()
		before := d.card.mem.account.balance
		p := d.initPurchase(5, 0, 0, testTime)
		d.card.TearAt(tear)
		d.send(d.debitCommand(p))
		again := newDesk(t, "3.0", nil, WithEEPROM(file))
		again.enterMedical()
		want := before
		if tear.New() {
			want -= 5
		}
		again.want("B026000104", fmt.Sprintf("%08X9000", want))
		again.purchase(1, 0, 0, testTime)
	}
	// A card that has been blocked stays so.
	d := newDesk(t, "3.0", nil, WithEEPROM(file))
	d.ok(selectSSSE)
	d.proveStep("BK")
	d.secureStep("STK", keys.Header{0x84, insCardBlock, 0, 0}, nil)
	d = newDesk(t, "3.0", nil, WithEEPROM(file))
	d.want(selectSSSE, "6A81")

	img, err := Example("2.0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(img, WithEEPROM(file)); !errors.Is(err, errEEPROM) {
		t.Error("another card's EEPROM:", err)
	}
	if _, err := New(img, WithEEPROM(filepath.Join(file, "x"))); err == nil {
		t.Error("a file below a file")
	}
}

// TestMemoryFailure: a disk that cannot be written is a worn-out EEPROM.
func TestMemoryFailure(t *testing.T) {
	dir := t.TempDir()
	d := newDesk(t, "2.0", nil, WithEEPROM(filepath.Join(dir, "card")))
	d.ok(selectSSSE)
	d.card.nvm.path = filepath.Join(dir, "gone", "card")
	d.want("0020000003123456", "6581")
	d.want("00200000", "63C6")
}

func FuzzState(f *testing.F) {
	for _, v := range []string{"1.0", "2.0", "3.0"} {
		img, err := Example(v)
		if err != nil {
			f.Fatal(err)
		}
		c, err := New(img)
		if err != nil {
			f.Fatal(err)
		}
		b, err := c.EEPROM()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"onecard_eeprom":1}`))
	img, err := Example("3.0")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseState(data, img.historical)
		if err != nil {
			if !errors.Is(err, errEEPROM) {
				t.Fatal(err)
			}
			return
		}
		c, err := New(img)
		if err != nil {
			t.Fatal(err)
		}
		c.mem = m
		first := eepromOf(t, c)
		again, err := parseState([]byte(first), img.historical)
		if err != nil {
			t.Fatal(err)
		}
		c.mem = again
		if eepromOf(t, c) != first {
			t.Fatal("the state does not survive")
		}
		c.PowerOn()
		c.ses.pin = true
		for id := range m.files {
			c.ses.df, c.ses.ef = id.df, id.sfi
			for _, command := range []string{"00B2010500", "00B0000000", "00DC0104021000", "00DC00030100", "00D6000001FF"} {
				b, err := hex.DecodeString(command)
				if err != nil {
					t.Fatal(err)
				}
				if a := c.Transmit(b); len(a) < 2 || len(a) > 258 {
					t.Fatalf("%d bytes", len(a))
				}
			}
		}
	})
}
