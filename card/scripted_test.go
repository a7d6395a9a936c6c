package card

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"onecard/apdu"
	"onecard/fault"
	"onecard/hsm-sim/hsm"
	"onecard/reader"
)

var (
	_ Conn         = (*reader.Session)(nil)
	_ KeyHolder    = (*hsm.Client)(nil)
	_ SecureHolder = (*hsm.Client)(nil)
	_ DebitHolder  = (*hsm.Client)(nil)
	_ LoadHolder   = (*hsm.Client)(nil)
	_ TACChecker   = (*hsm.Client)(nil)
)

// script is a Conn whose answers are chosen by the commands' bytes: the longest
// prefix wins. It answers 6D00 to what it does not know.
type script struct {
	answers map[string]string // hex prefix of the command: hex of the answer
	log     []string
	err     error
}

func (s *script) Exchange(_ context.Context, c apdu.Command) (apdu.Response, error) {
	b, err := c.Bytes()
	if err != nil {
		return apdu.Response{}, err
	}
	command := strings.ToUpper(hex.EncodeToString(b))
	s.log = append(s.log, command)
	if s.err != nil {
		return apdu.Response{}, s.err
	}
	best, answer := -1, "6D00"
	for prefix, a := range s.answers {
		if strings.HasPrefix(command, prefix) && len(prefix) > best {
			best, answer = len(prefix), a
		}
	}
	raw, err := hex.DecodeString(answer)
	if err != nil {
		return apdu.Response{}, err
	}
	return apdu.ParseResponse(raw)
}

func (s *script) ATR() []byte {
	return []byte("\x3B\x6D\x00\x00\x00\x81\x4E\x43\x23\x86\x97\x41\x01\x00\xBF\x7C\x7A")
}

const (
	selectSSSE = "00A404000F7378312E73682EC9E7BBE1B1A3D5CF"
	code01     = "0110410100D15600000500BF7C7A48FB4966"
	version03  = "0304322E3030"
	rest       = "020131" + version03 + "040C915600000241010041010001" + "050420240101" + "060420340101" + "0709413030303030303131"
)

func TestOpenOddAnswers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers map[string]string
		code    fault.Code // "" opens
		version string
		bad     int // problems
	}{
		{"plain", map[string]string{selectSSSE: "9000", "00B2012D": code01 + rest + "9000"}, "", "2.00", 0},
		{"empty version", map[string]string{selectSSSE: "9000", "00B2012D": code01 + "030400000000" + "9000", "00B2": "6A83"}, "", "1.00", 0},
		{"version 2.0 and 00", map[string]string{selectSSSE: "9000", "00B2012D": code01 + "0304322E3000" + "9000", "00B2": "6A83"}, "", "2.0", 0},
		{"version 4.00", map[string]string{selectSSSE: "9000", "00B2012D": code01 + "0304342E3030" + "9000"}, fault.VersionUnknown, "", 0},
		{"no record is one", map[string]string{selectSSSE: "9000", "00B2012D": "AABBCC9000", "00B2": "6A83"}, fault.RecordMalformed, "", 0},
		{"nothing in it", map[string]string{selectSSSE: "9000", "00B2": "6A83"}, fault.RecordMalformed, "", 0},
		{"no EF05", map[string]string{selectSSSE: "9000", "00B2": "6A82", "00A4": "6A82"}, fault.FileMissing, "", 0},
		{"application blocked", map[string]string{selectSSSE: "9303"}, fault.CardBlocked, "", 0},
		{"card blocked", map[string]string{selectSSSE: "6A81"}, fault.CardBlocked, "", 0},
		{"bank card with a master file", map[string]string{selectSSSE: "6A82", "00A40000023F00": "9000", "00B2": "70045A0200009000"}, fault.NotSocialSecurityCard, "", 0},
		{"bank card that knows nothing", map[string]string{}, fault.NotSocialSecurityCard, "", 0},
		{"SSSE is the MF", map[string]string{selectSSSE: "6A82", "00A40000023F00": "9000", "00B2012D": code01 + rest + "9000"}, "", "2.00", 0},
		{"SSSE by file identifier", map[string]string{selectSSSE: "6A82", "00A4000002DDF1": "9000", "00B2012D": code01 + rest + "9000"}, "", "2.00", 0},
		{"another file 05 in the master file", map[string]string{selectSSSE: "6A82", "00A40000023F00": "9000", "00B2012D": "0302313203043030303000009000"}, fault.NotSocialSecurityCard, "", 0},
		{"SELECT without Le", map[string]string{selectSSSE + "00": "6700", selectSSSE: "9000"}, fault.CardRefused, "", 0},
		{"no FCI but noise", map[string]string{selectSSSE: "FF00FF9000", "00B2012D": code01 + rest + "9000"}, "", "2.00", 0},
		{"SSF33", map[string]string{selectSSSE: "6F098407A5059F0C028601029000", "00B2012D": code01 + rest + "9000"}, "", "2.00", 0}, // not a valid FCI: the default
		{"SSF33 in a good FCI", map[string]string{selectSSSE: "6F0884009F0C009F0C009000"}, fault.CardRefused, "", 0},
		{"SM4 on a 2.0 card", map[string]string{selectSSSE: "6F08A5069F0C038601039000", "00B2012D": code01 + rest + "9000"}, "", "2.00", 1},
		{"a date that is none", map[string]string{selectSSSE: "9000", "00B2012D": code01 + version03 + "050420261341" + "060420340101" + "9000", "00B2": "6A83"}, "", "2.00", 1},
		{"a length that lies", map[string]string{selectSSSE: "9000", "00B2012D": code01 + version03 + "05FE20240101" + "9000",
			"00B2032C": "05FE202401019000", "00B2042C": "0604203401019000", "00B2": "6A83"}, "", "2.00", 1},
		{"a tag of another file", map[string]string{selectSSSE: "9000", "00B2012D": code01 + version03 + "090431313131" + "060420340101" + "9000",
			"00B2032C": "0904313131319000", "00B2042C": "0604203401019000", "00B2": "6A83"}, "", "2.00", 1},
		{"an identification code that is none", map[string]string{selectSSSE: "9000", "00B2012D": "0110FF0100D15600000500BF7C7A48FB4966" + rest + "9000"}, "", "2.00", 1},
		{"short identifiers refused", map[string]string{selectSSSE: "9000", "00B2012D": "6A82", "00A4020002EF05": "9000", "00B20105": code01 + rest + "9000"}, "", "2.00", 0},
		{"short identifiers refused, P1=00", map[string]string{selectSSSE: "9000", "00B2012D": "6986", "00A4020002EF05": "6A86", "00A4000002EF05": "9000", "00B20105": code01 + rest + "9000"}, "", "2.00", 0},
		{"neither mode 5 nor short identifiers", map[string]string{selectSSSE: "9000", "00B2": "6A86", "00A4020002EF05": "9000", "00B20105": "6981", "00B20104": code01 + "9000", "00B20204": version03 + "9000", "00B20304": "6A83"}, "", "2.00", 0},
		{"mode 5 gives one at a time", map[string]string{selectSSSE: "9000", "00B2012D": code01 + "9000", "00B2022D": version03 + "9000", "00B2": "6A83"}, "", "2.00", 0},
		{"mode 5 from record 1 only", map[string]string{selectSSSE: "9000", "00B2012D": code01 + "9000", "00B2022D": "6A86", "00B2022C": version03 + "9000", "00B2032C": "6A83"}, "", "2.00", 0},
		{"it breaks off", map[string]string{selectSSSE: "9000", "00B2012D": code01 + version03 + "9000", "00B2": "6F00"}, "", "2.00", 1},
		{"the same record for ever", map[string]string{selectSSSE: "9000", "00B2": code01 + "9000"}, "", "1.00", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &script{answers: tt.answers}
			c, err := Open(t.Context(), s)
			if tt.code != "" {
				if err == nil || fault.Of(err).Code != tt.code {
					t.Fatalf("%v: %s, want %s", err, fault.Of(err).Code, tt.code)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(s.log, "\n"))
			}
			i := c.Issuer()
			if i.Version != tt.version || len(i.Problems) != tt.bad {
				t.Errorf("version %s, problems %v", i.Version, i.Problems)
			}
			for _, p := range i.Problems {
				if fault.Of(p).Code != fault.RecordMalformed || !errors.Is(p, ErrMalformed) {
					t.Errorf("%v has code %s", p, fault.Of(p).Code)
				}
			}
			if _, err := json.Marshal(i); err != nil {
				t.Error(err)
			}
			if len(s.log) > 24 {
				t.Errorf("%d commands", len(s.log))
			}
		})
	}
}

func TestConnErrorsPassThrough(t *testing.T) {
	gone := fault.New(fault.CardRemoved, "the card was removed")
	if _, err := Open(t.Context(), &script{err: gone}); !errors.Is(err, gone) || fault.Of(err).Code != fault.CardRemoved {
		t.Errorf("%v", err)
	}
	s := &script{answers: map[string]string{selectSSSE: "9000", "00B2012D": code01 + rest + "9000"}}
	c, err := Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	s.err = gone
	if _, err := c.Identity(t.Context(), nil); !errors.Is(err, gone) {
		t.Errorf("identity: %v", err)
	}
	if _, err := c.TriesLeft(t.Context()); !errors.Is(err, gone) {
		t.Errorf("tries left: %v", err)
	}
	if err := c.VerifyPIN(t.Context(), PIN("123456")); !errors.Is(err, gone) {
		t.Errorf("verify: %v", err)
	}
	if _, err := c.ReadFile(t.Context(), FileID{"DF03", "EF07"}, nil); !errors.Is(err, gone) {
		t.Errorf("read: %v", err)
	}
}

func TestReadMalformedFile(t *testing.T) {
	s := &script{answers: map[string]string{
		selectSSSE: "9000", "00B2012D": code01 + rest + "9000", "00A40400": "9000", "002000": "9000",
		// 70 right, 71 with nibbles A to E, 6E too long, 6C no date, 6F right, 73 unset.
		"00B2013D": "7003313130" + "71035101AB" + "6E05199807010A" + "6C0420261341" + "6F0420080801" + "7304FFFFFFFF" + "9000"}}
	c, err := Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.VerifyPIN(t.Context(), PIN("123456")); err != nil {
		t.Fatal(err)
	}
	f, err := c.ReadFile(t.Context(), FileID{"DF03", "EF07"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Records) != 6 || len(f.Problems()) != 3 {
		t.Fatalf("%d records, %v", len(f.Records), f.Problems())
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		File    string
		Records []struct {
			Tag, Value, Raw string
			NameZH          string `json:"name_zh"`
			NameEN          string `json:"name_en"`
			Text            struct{ ZH, EN string }
			Unset           bool
			Malformed       *struct{ Code, Problem string }
		}
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if r := got.Records[0]; got.File != "DF03EF07" || r.Tag != "70" || r.Value != "110" || r.Text.EN != "Enterprise employees" ||
		r.NameZH != "养老保险险种类型" || r.NameEN == "" || r.Raw != "313130" || r.Malformed != nil {
		t.Errorf("%s", b)
	}
	if r := got.Records[3]; r.Malformed == nil || r.Malformed.Code != "OC-1204" || r.Value != "" || r.Raw != "20261341" {
		t.Errorf("%+v", r)
	}
	if r := got.Records[4]; r.Value != "2008-08-01" {
		t.Errorf("%+v", r)
	}
	if r := got.Records[5]; !r.Unset || r.Value != "" || r.Malformed != nil {
		t.Errorf("%+v", r)
	}
	p, err := c.Pension(t.Context(), nil)
	if err != nil || p.BenefitStart.String() != "2008-08-01" || !p.Retired.IsZero() || len(p.Problems) != 3 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestReadFileErrors(t *testing.T) {
	s := &script{answers: map[string]string{selectSSSE: "9000", "00B2012D": code01 + rest + "9000", "00A40400": "9000", "00A4": "6A82", "002000": "9000", "00B2": "6A82"}}
	c, err := Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadFile(t.Context(), FileID{"DF03", "EF99"}, nil); !errors.Is(err, ErrFileUnknown) {
		t.Errorf("%v", err)
	}
	if err := c.VerifyPIN(t.Context(), PIN("1234")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadFile(t.Context(), FileID{"DF03", "EF07"}, nil); !errors.Is(err, ErrFileMissing) || fault.Of(err).Code != fault.FileMissing {
		t.Errorf("%v", err)
	}
	if _, err := c.ReadFile(t.Context(), FileID{"DF05", "EF05"}, nil); !errors.Is(err, ErrFileMissing) {
		t.Errorf("no such directory: %v", err)
	}
	// The card denies what the profile grants: it forgot the PIN.
	s.answers["00B2013D"] = "6982"
	if _, err := c.ReadFile(t.Context(), FileID{"DF03", "EF07"}, nil); !errors.Is(err, ErrPINRequired) || c.PINVerified() {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "DF03", "DF03EFGG", "XX03EF07", "DF03EF071"} {
		if _, err := ParseFileID(bad); !errors.Is(err, ErrFileUnknown) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for text, want := range map[string]string{"df03ef07": "DF03EF07", "3F00EF06": "SSSEEF06", "ssseef05": "SSSEEF05"} {
		if id, err := ParseFileID(text); err != nil || id.String() != want {
			t.Errorf("%s: %s, %v", text, id, err)
		}
	}
}

func TestTransparentFileIsBounded(t *testing.T) {
	full := strings.Repeat("AB", 256)
	for _, tt := range []struct {
		name    string
		answers map[string]string
		want    int
	}{
		{"full, and more to come", map[string]string{"00B0": full + "9000"}, 296},
		{"shorter than the profile", map[string]string{"00B096": full + "9000", "00B00100": "6B00"}, 256},
		{"ends early", map[string]string{"00B096": "AABB6282"}, 2},
		{"never written", map[string]string{"00B0": strings.Repeat("00", 256) + "9000"}, 0},
		{"short identifiers refused", map[string]string{"00B096": "6A86", "00A4020002EF16": "9000", "00B00000": full + "9000", "00B00100": strings.Repeat("CD", 40) + "9000"}, 296},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.answers[selectSSSE], tt.answers["00B2012D"], tt.answers["00A40400"] = "9000", code01+rest+"9000", "9000"
			s := &script{answers: tt.answers}
			c, err := Open(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			f, err := c.ReadFile(t.Context(), FileID{"DF01", "EF16"}, nil)
			if err != nil || len(f.Data) != tt.want {
				t.Errorf("%d bytes, %v\n%s", len(f.Data), err, strings.Join(s.log, "\n"))
			}
		})
	}
}

func TestCyclicFile(t *testing.T) {
	record := "0003" + "32" + "510100000101" + "20260914102137" + "00000E60" + "000004E2" + "00003A16"
	for _, tt := range []struct {
		name    string
		answers map[string]string
		want    int
		bad     int
	}{
		{"all at once", map[string]string{"00B20144": record + "9000", "00B20245": record + record + "9000"}, 3, 0},
		{"one at a time", map[string]string{"00B20144": record + "9000", "00B20245": "6981", "00B20244": record + "9000", "00B2": "6A83"}, 2, 0},
		{"mode 5 gives half records", map[string]string{"00B20144": record + "9000", "00B20245": "AABB9000", "00B20244": record + "9000", "00B2": "6A83"}, 2, 0},
		{"empty", map[string]string{"00B2": "6A83"}, 0, 0},
		{"never written", map[string]string{"00B2": strings.Repeat("00", 28) + "9000"}, 0, 0},
		{"account only", map[string]string{"00B20144": record[:40] + "9000", "00B2": "6A83"}, 1, 0},
		{"another size", map[string]string{"00B20144": record[:38] + "9000", "00B2": "6A83"}, 1, 1},
		{"for ever", map[string]string{"00B2": record + "9000"}, 254, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.answers[selectSSSE], tt.answers["00B2012D"], tt.answers["00A40400"], tt.answers["0020"] = "9000", code01+rest+"9000", "9000", "9000"
			s := &script{answers: tt.answers}
			c, err := Open(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.VerifyPIN(t.Context(), PIN("123456")); err != nil {
				t.Fatal(err)
			}
			list, err := c.MedicalTransactions(t.Context(), nil)
			if err != nil || len(list) != tt.want {
				t.Fatalf("%d records, %v\n%s", len(list), err, strings.Join(s.log, "\n"))
			}
			bad := 0
			for _, l := range list {
				bad += len(l.Problems)
			}
			if bad != tt.bad {
				t.Errorf("%d problems", bad)
			}
			if tt.want > 0 && tt.bad == 0 && (list[0].Account != 3680 || list[0].Time.String() != "2026-09-14 10:21:37" || list[0].Type.Text.EN != "Settlement") {
				t.Errorf("%+v", list[0])
			}
			if account := tt.name == "account only"; tt.want > 0 && (list[0].Pooling == nil) != (account || tt.bad > 0) {
				t.Errorf("%+v", list[0])
			}
		})
	}
}
