package cardsim

import (
	"bytes"
	"encoding/hex"
	"os"
	"slices"
	"testing"
)

func FuzzParseImage(f *testing.F) {
	for _, name := range []string{"1.0", "2.0", "3.0"} {
		b, err := images.ReadFile("images/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, name := range []string{"bank", "long-name"} {
		b, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"version":"2.0","historical_bytes":"00000000000000000000000000","identification_code":"000000D1560000050000000000000000","files":{"DF03EF07":{"70":"whole:","71":"hex:EEEEEE"},"SSSEEF06":{"09":"0123456789012345678901234567890"}},"absent":["DF01EF16"]}`))
	f.Add([]byte(`{"version":"1.0","historical_bytes":"00000000000000000000000000","identification_code":"000000D1560000050000000000000000","files":{"DF04EF05":{"81":"2.0:39000000"},"DF04EF08":[{"@16":null}]},"keys":{"IRK":"00000000000000000000000000000000"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := ParseImage(data)
		if err != nil {
			return
		}
		// What is accepted makes a card that can be read.
		c, err := New(img, WithQuirks(QuirkSpacePadded))
		if err != nil {
			t.Fatal(err)
		}
		c.PowerOn()
		for id := range c.mem.files {
			c.ses.df, c.ses.ef, c.ses.pin = id.df, id.sfi, true
			for _, ins := range []byte{insReadRecord, insReadBinary} {
				if a := c.Transmit([]byte{0, ins, 1, 5, 0}); len(a) < 2 || len(a) > 258 {
					t.Fatalf("%v: %d bytes", id, len(a))
				}
			}
		}
	})
}

// FuzzCard sends commands, each after a byte with its length, to a powered
// card.
func FuzzCard(f *testing.F) {
	session := func(quirks byte, commands ...string) {
		seed := []byte{quirks}
		for _, c := range commands {
			b, err := hex.DecodeString(c)
			if err != nil {
				f.Fatal(err)
			}
			seed = append(append(seed, byte(len(b))), b...)
		}
		f.Add(seed)
	}
	session(0, selectSSSE, "00B2012D00", "0088000010"+zeros(16), "0084000008", "0082000A10"+zeros(16), "00B2013D00")
	session(1, selectSSSE, "0020000003123456", "00A4000002DF03", "00B2013D00", "00DC020405"+"7103510100")
	session(2, selectSSSE, "00C0000010", "00C000000E", "0088000010"+zeros(16))
	session(3, selectSSSE, "00B0880000", "00D6880002FFFF", "0084000010", "04DC003B07"+zeros(7))
	session(0, selectSSSE, "0020000003123456", "00A4000002DF04", "B026000104", "00B201AD00", "00B2004700", "00B2004300")
	session(0, selectSSSE, "805E010007123456FF654321", "0084000004", "8424000004"+zeros(4), "842400010C"+zeros(12))
	medical := []string{selectSSSE, "0020000003123456", "00A4000002DF04"}
	purchase := []string{"B02801011301000000010000000200000003510100000101", "B02C01000F" + zeros(15), "B02E0032020003"}
	session(0x40, slices.Concat(medical, purchase)...)
	session(0x40, slices.Concat(medical, []string{"B02800010B0100000001510100000101", "B02A00000B" + zeros(11), "B02E0031020000", "B0560000020101", "84D4000004" + zeros(4)})...)
	session(0x40, slices.Concat(medical, []string{"0084000008", "0082008310" + zeros(16), "0084000008", "841E000104" + zeros(4), "8416000004" + zeros(4)})...)
	session(0x60, selectACSE, selectCERT, "00200181", "0084000010", "0020018110"+zeros(16), "8040000008C0020012C2020013", "80C98200020012", "002A9E9A20"+zeros(32), "805E018120"+zeros(32), "8024018110"+zeros(16))
	session(0x80, "80E0000013DDF101037378312E73682EC9E7BBE1B1A3D5CF", "80D40000070A000006123456", "80D4000014020A0103"+zeros(16),
		"80E001000EEF05C6000000FFFFFF0001020201", "00DC012C040102AABB", "80E001000CEF07C4000000020A00000010", "00D6000001AA",
		"80E000000ADF040103D15600000503", "80E001000CEF08C7010000FFFFFF001C1E", "80E001001E0003C3000000000000"+zeros(20), "80E0020000", "800E000000")
	imgs := make([]*Image, 0, 5)
	for _, v := range []string{"1.0", "2.0", "3.0"} {
		img, err := Example(v)
		if err != nil {
			f.Fatal(err)
		}
		imgs = append(imgs, img)
	}
	blank, err := ParseImage([]byte(`{"kind":"blank","historical_bytes":"0081544C968684510100035676"}`))
	if err != nil {
		f.Fatal(err)
	}
	imgs = append(imgs, imageOf(f, "3.0", withCertificates), blank)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		quirk := Quirks()[int(data[0])%len(Quirks())].Quirk
		c, err := New(imgs[int(data[0]>>5)%len(imgs)], WithQuirks(quirk), WithRandom(bytes.NewReader(bytes.Repeat([]byte{7}, 1<<16))))
		if err != nil {
			t.Fatal(err)
		}
		c.PowerOn()
		// None of the keys of transactions is in the seeds, so no command that
		// the fuzzer finds may move money. A card that is being personalised gets
		// its account by a command.
		had, blank := c.mem.account, c.mem.life == lifeBlank
		records := medicalRecords(c)
		for data = data[1:]; len(data) > 0; {
			n := min(int(data[0]), len(data)-1)
			command := bytes.Clone(data[1 : 1+n])
			data = data[1+n:]
			before := bytes.Clone(command)
			a := c.Transmit(command)
			if !bytes.Equal(before, command) {
				t.Fatal("the card changed the command")
			}
			if least := 2; len(a) < least && quirk != QuirkShort || len(a) > 258 {
				t.Fatalf("%d bytes", len(a))
			}
		}
		if now := c.mem.account; !blank && (now.balance != had.balance || now.debits != had.debits || now.loads != had.loads || medicalRecords(c) != records) {
			t.Fatal("money moved without a transaction")
		}
		if c.Writes() == 0 {
			return
		}
		state := eepromOf(t, c)
		again, err := parseState([]byte(state), c.chip.historical)
		if err != nil {
			t.Fatal("the card's own state is refused:", err)
		}
		c.mem = again
		if eepromOf(t, c) != state {
			t.Fatal("the state does not survive a restart")
		}
		for id, f := range c.mem.files {
			if l := c.mem.forms[id]; len(f.records) > l.capacity || len(f.data) != l.size {
				t.Fatalf("%v has grown", id)
			}
		}
		if c.mem.pinTries < 0 || c.mem.pinTries > c.mem.pinLimit || c.mem.pin != nil && !validPIN(c.mem.pin) {
			t.Fatal("PIN or tries are out of bounds")
		}
	})
}

func medicalRecords(c *Card) int {
	if f := c.mem.files[medicalFile]; f != nil {
		return len(f.records)
	}
	return 0
}
