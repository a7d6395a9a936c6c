package card

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"onecard/apdu"
	"onecard/card/keys"
	"onecard/card/profile"
)

// noise is a card that answers at random: data and status words taken from the
// fuzzer's bytes, over and over.
type noise struct {
	data []byte
	at   int
	sent int
}

func (n *noise) Exchange(_ context.Context, c apdu.Command) (apdu.Response, error) {
	n.sent++
	if n.sent > 5000 {
		panic("a card keeps its reader busy for ever")
	}
	if len(n.data) < 4 {
		return apdu.Response{Status: 0x6A82}, nil
	}
	n.at = (n.at*31 + 7 + int(c.INS) + int(c.P1)) % len(n.data)
	b := n.data[n.at:]
	take := min(len(b), 1+int(n.data[n.at])%256)
	statuses := []apdu.Status{0x9000, 0x9000, 0x9000, 0x6A83, 0x6A82, 0x6982, 0x6A86, 0x6981, 0x63C2, 0x6983, 0x6282, 0x6B00}
	s := statuses[int(n.data[(n.at+1)%len(n.data)])%len(statuses)]
	if c.INS == 0xA4 {
		s = apdu.StatusOK // otherwise little happens
	}
	return apdu.Response{Data: bytes.Clone(b[:take]), Status: s}, nil
}

func (n *noise) ATR() []byte { return n.data }

type silent struct{}

func (silent) InternalAuth(context.Context, keys.Subject, [8]byte, [8]byte) (a [8]byte, err error) {
	return
}

func (silent) ExternalAuth(context.Context, keys.Subject, string, []byte, [8]byte) (a [8]byte, err error) {
	return
}

// FuzzCard reads everything from a card that answers anything.
func FuzzCard(f *testing.F) {
	b, _ := hex.DecodeString(code01 + rest)
	f.Add(b)
	f.Add([]byte{0x01, 0x10, 0xFF, 0xFF, 0x03, 0x04, '2', '.', '0', '0'})
	f.Add(bytes.Repeat([]byte{0x70, 0x03, '1', '1', '0'}, 60))
	f.Add(bytes.Repeat([]byte{0x40, 0x34, 0x57, 0xFF}, 60))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := &noise{data: data}
		c, err := Open(t.Context(), n)
		if err != nil {
			return
		}
		id, _ := c.Identity(t.Context(), silent{})
		if _, err := json.Marshal(id); err != nil {
			t.Fatal(err)
		}
		_ = c.VerifyPIN(t.Context(), PIN("123456"))
		for _, file := range profile.Files() {
			n.sent = 0
			got, _ := c.ReadFile(t.Context(), FileID{file.DF, file.EF}, silent{})
			if _, err := json.Marshal(got); err != nil {
				t.Fatal(err)
			}
			if n.sent > 600 || len(got.Records) > maxCyclicRecords {
				t.Fatalf("%s: %d commands, %d records", file.ID(), n.sent, len(got.Records))
			}
		}
	})
}

// FuzzDecodeFile decodes any bytes as every file of the profile.
func FuzzDecodeFile(f *testing.F) {
	f.Add([]byte("\x70\x03110\x71\x03\x51\x01\x00"), uint8(26), true)
	f.Add(bytes.Repeat([]byte{0xEE}, 80), uint8(0), true)
	f.Add([]byte("\x40\x34\x57\x03408"), uint8(10), false)
	files := profile.Files()
	f.Fuzz(func(t *testing.T, b []byte, which uint8, v1 bool) {
		file := files[int(which)%len(files)]
		v := profile.V30
		if v1 {
			v = profile.V10
		}
		raws, whole := newChecklist(file).split(b, 1)
		if !whole {
			raws = append(raws, oneRecord(b, len(raws)+1))
		}
		got := decodeFile(profile.Reference(), file, v, raws)
		if len(got.Records) != len(raws) {
			t.Fatalf("%d records of %d", len(got.Records), len(raws))
		}
		if file.Structure == profile.CyclicFile {
			got = decodeCyclic(profile.Reference(), file, []rawRecord{{number: 1, value: b, bytes: b}}, len(b))
		}
		if _, err := json.Marshal(got); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzDecodeValue: what is decoded without error can be written again and is
// then the same.
func FuzzDecodeValue(f *testing.F) {
	f.Add(uint8(profile.CN), []byte{0x51, 0xFF})
	f.Add(uint8(profile.Text), []byte{0xD5, 0xC5, 0xC8})
	f.Add(uint8(profile.Date), []byte{0x20, 0x26, 0x13, 0x41})
	f.Add(uint8(profile.Time), []byte{0x20, 0x26, 0x01, 0x01, 0x23, 0x59, 0x59})
	f.Add(uint8(profile.Text), []byte{0x95, 0x32, 0x90, 0x31, 0x84, 0x31, 0xA4, 0x37})
	f.Fuzz(func(t *testing.T, format uint8, b []byte) {
		e := element(profile.Format(format), len(b))
		v, err := DecodeValue(e, b)
		if _, jerr := json.Marshal(v); jerr != nil {
			t.Fatal(jerr)
		}
		if err != nil || v.IsUnset() {
			return
		}
		out, err := EncodeValue(e, v)
		if err != nil {
			// Two bytes can be one character of GB18030 that is written
			// with others; length decides.
			if errors.Is(err, errTooLong) || errors.Is(err, errCharacters) {
				return
			}
			t.Fatalf("% X reads %q and does not write: %v", b, v.String(), err)
		}
		again, err := DecodeValue(e, out)
		if err != nil || again.String() != v.String() {
			t.Fatalf("% X reads %q, written % X reads %q, %v", b, v.String(), out, again.String(), err)
		}
	})
}

// FuzzJoinName: any two records give a text and no NUL.
func FuzzJoinName(f *testing.F) {
	f.Add([]byte("\xC5\xB7\xD1\xF4"), []byte{})
	f.Add(bytes.Repeat([]byte{0xD5, 0xC5}, 15), []byte("\xC8\xFD\x00"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		name, err := JoinName(a, b)
		if strings.ContainsRune(name, 0) {
			t.Fatalf("%q", name)
		}
		if err != nil {
			return
		}
		x, y, err := SplitName(name)
		if err != nil {
			return // too long or with spaces around
		}
		if again, err := JoinName(x, y); err != nil || again != strings.TrimSpace(name) {
			t.Fatalf("%q, %v, want %q", again, err, name)
		}
	})
}
