package hsm

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"onecard/card/keys"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func frames() *rapid.Generator[Frame] {
	return rapid.Custom(func(t *rapid.T) Frame {
		f := Frame{
			Version: Version,
			Kind:    rapid.SampledFrom([]Kind{Request, Response}).Draw(t, "kind"),
			Command: Command{rapid.Byte().Draw(t, "group"), rapid.Byte().Draw(t, "command")},
			ID:      rapid.Uint32().Draw(t, "id"),
			Status:  Status(rapid.Uint16().Draw(t, "status")),
		}
		for range rapid.IntRange(0, 8).Draw(t, "fields") {
			f.Fields = append(f.Fields, Field{
				Tag:   Tag(rapid.Uint16().Draw(t, "tag")),
				Value: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value"),
			})
		}
		return f
	})
}

func TestFramesReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(frames(), 1, 4).Draw(t, "frames")
		var stream []byte
		for _, f := range all {
			var err error
			if stream, err = AppendFrame(stream, f); err != nil {
				t.Fatal(err)
			}
		}
		r := iotest.OneByteReader(bytes.NewReader(stream))
		for _, want := range all {
			got, err := ReadFrame(r, MaxFrame)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("got %+v, %v; want %+v", got, err, want)
			}
		}
		if _, err := ReadFrame(r, MaxFrame); err != io.EOF {
			t.Fatalf("after the last frame: %v", err)
		}
		cut := rapid.IntRange(1, len(stream)-1).Draw(t, "cut")
		r = bytes.NewReader(stream[:cut])
		for {
			_, err := ReadFrame(r, MaxFrame)
			if err == io.ErrUnexpectedEOF || err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
	})
}

func TestInfoReadsAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Info{
			Product:       rapid.StringMatching(`[a-z 0-9.]{1,64}`).Draw(t, "product"),
			OldestVersion: 1,
			NewestVersion: rapid.ByteMin(1).Draw(t, "newest"),
			TestKeys:      rapid.Bool().Draw(t, "test"),
			Time:          time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "time")).UTC(),
			MaxRequest:    int(rapid.Uint32().Draw(t, "size")),
			MaxInFlight:   int(rapid.Uint16().Draw(t, "flights")),
		}
		for range rapid.IntRange(0, 4).Draw(t, "algorithms") {
			want.Algorithms = append(want.Algorithms, keys.Algorithm(rapid.Byte().Draw(t, "algorithm")))
		}
		for range rapid.IntRange(0, 4).Draw(t, "keys") {
			held := keys.Held{Name: rapid.StringMatching(`[A-Z0-9]{1,16}`).Draw(t, "name")}
			for v := 1; v <= keys.Versions; v++ {
				if rapid.Bool().Draw(t, "version") {
					held.Versions = append(held.Versions, v)
				}
			}
			want.Keys = append(want.Keys, held)
		}
		f := Frame{Version: Version, Kind: Response, Command: CommandStatus, Fields: want.Fields()}
		if err := CheckResponse(&f); err != nil {
			t.Fatal(err)
		}
		got, err := ParseInfo(&f)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v; want %+v", got, err, want)
		}
	})
}

func TestFramesThatAreRefused(t *testing.T) {
	good := "\x00\x00\x00\x0F\x01\x01HE\x00\x00\x00\x01\x00\x00\x00\x0A\x00\x01x"
	if _, err := ReadFrame(strings.NewReader(good), MaxFrame); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		stream string
		limit  int
		want   Status
		kind   Kind // how far it was understood
	}{
		"length of nothing":        {"\x00\x00\x00\x00", MaxFrame, StatusMalformed, 0},
		"length below the header":  {"\x00\x00\x00\x09\x01\x01HE\x00\x00\x00\x01\x00", MaxFrame, StatusMalformed, 0},
		"length above the largest": {"\x00\x00\xFF\xFD", MaxFrame, StatusMalformed, 0},
		"the largest length":       {"\xFF\xFF\xFF\xFF", MaxFrame, StatusMalformed, 0},
		"a limit above the bounds": {"\x00\x01\x00\x00", 1 << 30, StatusMalformed, 0},
		"the reader's own limit":   {good, 18, StatusMalformed, 0},
		"kind":                     {strings.Replace(good, "\x01\x01HE", "\x01\x03HE", 1), MaxFrame, StatusMalformed, 0},
		"version":                  {strings.Replace(good, "\x01\x01HE", "\x02\x01HE", 1), MaxFrame, StatusVersion, Request},
		"field beyond the frame":   {strings.Replace(good, "\x00\x01x", "\x00\x02x", 1), MaxFrame, StatusMalformed, Request},
		"bytes after the fields":   {strings.Replace(good, "\x00\x01x", "\x00\x00x", 1), MaxFrame, StatusMalformed, Request},
	} {
		f, err := ReadFrame(strings.NewReader(test.stream), test.limit)
		var form *FormError
		if !errors.As(err, &form) || !errors.Is(err, ErrProtocol) || form.Status != test.want || f.Kind != test.kind {
			t.Errorf("%s: kind %d, %v", name, f.Kind, err)
		}
	}
	for name, f := range map[string]Frame{
		"field": {Fields: []Field{{Value: make([]byte, 1<<16)}}},
		"frame": {Fields: []Field{{Value: make([]byte, 1<<15)}, {Value: make([]byte, 1<<15)}}},
	} {
		if b, err := AppendFrame(nil, f); err == nil || b != nil {
			t.Errorf("a %s that is too long: %d bytes, %v", name, len(b), err)
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	field := func(t Tag, v string) Field { return Field{t, []byte(v)} }
	for name, test := range map[string]struct {
		command Command
		fields  []Field
		want    Status
	}{
		"command":          {Command{'Z', 'Z'}, nil, StatusCommand},
		"missing field":    {CommandEcho, nil, StatusFieldMissing},
		"unknown field":    {CommandEcho, []Field{field(TagEcho, ""), field(0x7777, "")}, StatusFieldUnknown},
		"another's field":  {CommandEcho, []Field{field(TagEcho, ""), field(TagRaw, "12345678")}, StatusFieldUnknown},
		"repeated field":   {CommandEcho, []Field{field(TagEcho, ""), field(TagEcho, "")}, StatusFieldRepeated},
		"too long":         {CommandEcho, []Field{field(TagEcho, strings.Repeat("x", 4097))}, StatusFieldValue},
		"repeated client":  {CommandStatus, []Field{field(TagClient, "a"), field(TagClient, "b")}, StatusFieldRepeated},
		"ignorable, alone": {CommandEcho, []Field{field(0x8001, "")}, StatusFieldMissing},
	} {
		f := Frame{Version: Version, Kind: Request, Command: test.command, Fields: test.fields}
		err := CheckRequest(&f)
		var form *FormError
		if !errors.As(err, &form) || form.Status != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := Frame{Version: Version, Kind: Request, Command: CommandEcho, Fields: []Field{field(TagEcho, ""), field(0x8001, ""), field(0x8001, "")}}
	if err := CheckRequest(&f); err != nil {
		t.Errorf("fields that may be ignored: %v", err)
	}
}

func TestSubjectsOnTheWire(t *testing.T) {
	good := keys.Subject{Algorithm: keys.DES, Area: "410100", Historical: [13]byte{1, 2, 3}, Version: 2}
	f := Frame{Fields: SubjectFields(good, "RK1DF04")}
	s, key, err := ParseSubject(&f)
	if err != nil || s != good || key != "RK1DF04" {
		t.Errorf("%+v, %s, %v", s, key, err)
	}
	f = Frame{Fields: SubjectFields(keys.Subject{Algorithm: keys.DES, Area: "410100"}, "IRK")}
	if s, _, err := ParseSubject(&f); err != nil || s.Version != 1 {
		t.Errorf("version 0 means 1: %+v, %v", s, err)
	}
	for name, test := range map[string]struct {
		tag   Tag
		value string
		want  Status
	}{
		"SSF33":         {TagAlgorithm, "\x02", StatusAlgorithm},
		"algorithm 9":   {TagAlgorithm, "\x09", StatusAlgorithm},
		"area":          {TagArea, "41010x", StatusFieldValue},
		"key name":      {TagKeyName, "irk", StatusFieldValue},
		"key version":   {TagKeyVersion, "\x04", StatusFieldValue},
		"key version 0": {TagKeyVersion, "\x00", StatusFieldValue},
	} {
		fields := SubjectFields(good, "IRK")
		for i := range fields {
			if fields[i].Tag == test.tag {
				fields[i].Value = []byte(test.value)
			}
		}
		_, _, err := ParseSubject(&Frame{Fields: fields})
		var form *FormError
		if !errors.As(err, &form) || form.Status != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Words of a foreign server reach logs and terminals.
func TestForeignWordsAreHarmless(t *testing.T) {
	for in, want := range map[string]string{
		"no such key":            "no such key",
		"密钥不存在":                  "密钥不存在",
		"a\x1b[2Jb\nc\x00\xffd":  "a.[2Jb.c..d",
		strings.Repeat("密", 400): strings.Repeat("密", 66),
	} {
		if got := printable([]byte(in)); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}

func TestCheckAddress(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:9100": true, "[::1]:9100": true, "hsm.example:1": true,
		"": false, "127.0.0.1": false, ":9100": false, "a:b": false, "a:0": false, "a:65536": false, "::1:9100": false,
	} {
		if err := CheckAddress(addr); ok != (err == nil) {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

// FuzzReadFrame: whatever is read as a frame is written again as it was, and
// nothing but a FormError or the stream's end comes out otherwise. What both
// sides do with a frame next is done, too.
func FuzzReadFrame(f *testing.F) {
	for _, frame := range []Frame{
		{Version: Version, Kind: Request, Command: CommandStatus, ID: 1, Fields: []Field{{TagClient, []byte("x")}}},
		{Version: Version, Kind: Request, Command: CommandInternalAuth, ID: 2, Fields: SubjectFields(keys.Subject{Algorithm: keys.SM4, Area: "510100"}, "IRK")},
		{Version: Version, Kind: Response, Command: CommandStatus, ID: 3, Fields: Info{Product: "x", Keys: []keys.Held{{Name: "IRK", Versions: []int{1}}}}.Fields()},
		{Version: Version, Kind: Response, Command: CommandEcho, ID: 4, Status: StatusBusy, Fields: []Field{{TagText, []byte("x")}}},
	} {
		b, err := AppendFrame(nil, frame)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bytes.NewReader(stream)
		frame, err := ReadFrame(r, MaxFrame)
		var form *FormError
		switch {
		case err == nil:
		case errors.As(err, &form), err == io.EOF, err == io.ErrUnexpectedEOF:
			return
		default:
			t.Fatalf("%v", err)
		}
		again, err := AppendFrame(nil, frame)
		if err != nil || !bytes.Equal(again, stream[:len(stream)-r.Len()]) {
			t.Fatalf("written again as % X, %v", again, err)
		}
		if CheckRequest(&frame) == nil {
			if _, _, err := ParseSubject(&frame); err != nil && !errors.As(err, &form) {
				t.Fatal(err)
			}
		}
		if CheckResponse(&frame) == nil && frame.Status == StatusOK && frame.Command == CommandStatus {
			if info, err := ParseInfo(&frame); err != nil && !errors.As(err, &form) {
				t.Fatal(err)
			} else if err == nil && info.Time.Year() < 1970 {
				t.Fatal(info.Time)
			}
		}
	})
}
