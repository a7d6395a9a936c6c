package cardsim

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path"
	"strings"
	"testing"

	"onecard/card/profile"
	"onecard/fault"
)

// example returns an example image as a generic JSON object.
func example(t *testing.T, version string) map[string]any {
	t.Helper()
	b, err := images.ReadFile("images/" + version + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// The three people are what other simulators know, so their numbers have to be
// right.
func TestExamples(t *testing.T) {
	entries, err := images.ReadDir("images")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 3 {
		t.Errorf("%d images", len(entries))
	}
	for _, e := range entries {
		version := strings.TrimSuffix(e.Name(), path.Ext(e.Name()))
		if _, err := Example(version); err != nil {
			t.Error(err)
		}
		m := example(t, version)
		files := m["files"].(map[string]any)
		issuer := files["SSSEEF05"].(map[string]any)
		holder := files["SSSEEF06"].(map[string]any)
		ssn, number := holder["08"].(string), issuer["07"].(string)
		if want := residentCheck(ssn[:17]); ssn[17:] != want {
			t.Errorf("%s: social security number ends in %s, want %s", version, ssn[17:], want)
		}
		if want := cardCheck(number[:8]); number[8:] != want {
			t.Errorf("%s: card number ends in %s, want %s", version, number[8:], want)
		}
		birth := strings.ReplaceAll(holder["0D"].(string), "-", "")
		female := (ssn[16]-'0')%2 == 0
		if ssn[6:14] != birth || female != (holder["0A"] == "2") {
			t.Errorf("%s: birth date or sex differ from the social security number", version)
		}
		code, hist := m["identification_code"].(string), m["historical_bytes"].(string)
		if code[16:24] != hist[18:] || code[:4] != hist[14:18] {
			t.Errorf("%s: area or serial differ between identification code and historical bytes", version)
		}
	}
	if _, err := Example("4.0"); err == nil {
		t.Error("there is no 4.0 card")
	}
}

// residentCheck is the check character of GB 11643 over 17 digits.
func residentCheck(digits string) string {
	sum, weight := 0, 1
	for i := len(digits) - 1; i >= 0; i-- {
		weight = weight * 2 % 11
		sum += int(digits[i]-'0') * weight
	}
	return "10X98765432"[sum%11 : sum%11+1]
}

// cardCheck is the check character of a card number (card specification,
// section 3).
func cardCheck(body string) string {
	sum := 0
	for i, w := range []int{3, 7, 9, 10, 5, 8, 4, 2} {
		sum += strings.IndexByte("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", body[i]) * w
	}
	return "0123456789X0"[11-sum%11 : 12-sum%11]
}

func TestCardCheck(t *testing.T) {
	if got := cardCheck("D2143569"); got != "X" {
		t.Error(got)
	}
}

func TestLongName(t *testing.T) {
	b, err := os.ReadFile("testdata/long-name.json")
	if err != nil {
		t.Fatal(err)
	}
	img, err := ParseImage(b)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(img)
	if err != nil {
		t.Fatal(err)
	}
	c.PowerOn()
	d := &desk{t, c}
	d.ok(selectSSSE)
	d.want("00B2023400", "091E B0A2B2B7B6C5C8C8BACFC2FCA1A4B0A2B2B7B6C5CDE2C1A6A1A4C2F2C2F2 9000")
	d.want("00B2033400", "4E14 CCE18139EE39BDAD"+zeros(12)+"9000") // 8139EE39: four bytes in GB18030

	// Who splits it himself has it so, inside a character too.
	d = newDesk(t, "3.0", func(m map[string]any) {
		holder := m["files"].(map[string]any)["SSSEEF06"].(map[string]any)
		holder["09"], holder["4E"] = "hex:"+strings.Repeat("41", 29)+"B0", "hex:A2"+zeros(19)
	})
	d.ok(selectSSSE)
	if got := d.prove("RKSSSE"); got != "9000" {
		t.Fatal(got)
	}
	d.want("00B2023400", "091E"+strings.Repeat("41", 29)+"B0 9000")
}

func TestValues(t *testing.T) {
	for _, test := range []struct {
		length int
		format profile.Format
		text   string
		want   string // hex, or "" for refused
	}{
		{4, profile.AN, "AB", "41420000"},
		{4, profile.AN, "", "00000000"},
		{4, profile.AN, "ABCDE", ""},
		{4, profile.Text, "张三", "D5C5C8FD"},
		{4, profile.Text, "张三丰", ""},
		{8, profile.Text, "㐀", "8139EE3900000000"},
		{8, profile.Text, "a\nb", ""},
		{4, profile.CN, "123", "123FFFFF"},
		{4, profile.CN, "", "FFFFFFFF"},
		{4, profile.CN, "123456789", ""},
		{4, profile.CN, "12A", ""},
		{4, profile.Identifier, "0aFf", "0AFFFFFF"},
		{4, profile.Date, "2024-02-29", "20240229"},
		{4, profile.Date, "20240229", "20240229"},
		{4, profile.Date, "2023-02-29", ""},
		{4, profile.Date, "2023-2-9", ""},
		{4, profile.Date, "20261341", ""},
		{4, profile.Date, "hex:20261341", "20261341"},
		{3, profile.Month, "2024-02", "202402"},
		{3, profile.Month, "202413", ""},
		{2, profile.Year, "2024", "2024"},
		{7, profile.Time, "2024-02-29 23:59:59", "20240229235959"},
		{7, profile.Time, "20240229235959", "20240229235959"},
		{7, profile.Time, "2024-02-29 24:00:00", ""},
		{7, profile.Time, "20240229235959.5", ""},
		{4, profile.Amount, "1234.56", "00123456"},
		{4, profile.Amount, "1234.5", "00123450"},
		{4, profile.Amount, "0", "00000000"},
		{4, profile.Amount, "999999.99", "99999999"},
		{4, profile.Amount, "1000000", ""},
		{4, profile.Amount, "1.234", ""},
		{4, profile.Amount, "-1", ""},
		{4, profile.Amount, "+1", ""},
		{4, profile.Amount, ".5", ""},
		{4, profile.Amount, "1.", ""},
		{4, profile.BinaryAmount, "12.34", "000004D2"},
		{4, profile.BinaryAmount, "42949672.95", "FFFFFFFF"},
		{4, profile.BinaryAmount, "42949672.96", ""},
		{2, profile.Number, "65535", "FFFF"},
		{2, profile.Number, "65536", ""},
		{2, profile.Number, "1.5", ""},
		{2, profile.Number, "hex:0", ""},
		{2, profile.Number, "hex:010203", ""},
		{2, profile.Binary, "12", ""},
	} {
		f := field{test.length, test.format}
		b, err := f.encode(node{path: "x", kind: isString, text: test.text})
		got := strings.ToUpper(hex.EncodeToString(b))
		if err != nil {
			got = ""
			var ie *ImageError
			if !errors.As(err, &ie) || ie.Path != "x" || len(test.text) > 1 && strings.Contains(ie.Problem, test.text) {
				t.Errorf("%v %q: %v", test.format, test.text, err)
			}
		}
		if got != test.want {
			t.Errorf("%v %d %q: got %q, want %q (%v)", test.format, test.length, test.text, got, test.want, err)
		}
	}
}

func TestMeanings10(t *testing.T) {
	d := newDesk(t, "1.0", nil)
	d.ok(selectSSSE)
	d.want("00B2032C00", "0304 312E3030 9000")
	d.want("00B2033400", "0A01 32 9000") // no 4E before it
	d.ok("0020000003123456")
	d.ok("00A4000002DF01")
	d.want("00B2034C00", "3203 3131EE 9000")
	d.want("00B2015400", "3704 00285000 9000") // contribution base in fen
	d.want("00B2025400", "3804 3133EEEE 9000")
	d.ok("00A4000002DF02")
	d.want("00B2023400", "4B04 19630901 9000") // the day of the first work
	d.want("00B2033400", "4D04 330100EE 9000")
	d.want("00B2053400", "4F04 FFFFFFFF 9000")
	d.ok("00A4000002DF04")
	d.want("00B2012C00", "8146 3339303030303030"+strings.Repeat("EE", 62)+"9000")
	if got := d.prove("RK1DF04"); got != "9000" {
		t.Fatal(got)
	}
	d.want("00B2013500", "9004 00000000 9204 00015000 9304 3000EEEE 9000")
}

func TestBadImages(t *testing.T) {
	set := func(file, tag string, v any) func(map[string]any) {
		return func(m map[string]any) { m["files"].(map[string]any)[file].(map[string]any)[tag] = v }
	}
	top := func(key string, v any) func(map[string]any) { return func(m map[string]any) { m[key] = v } }
	file := func(name string, v any) func(map[string]any) {
		return func(m map[string]any) { m["files"].(map[string]any)[name] = v }
	}
	for _, test := range []struct {
		version string
		edit    func(map[string]any)
		path    string
	}{
		{"3.0", top("colour", "red"), "colour"},
		{"3.0", top("version", "4.0"), "version"},
		{"3.0", top("version", nil), "version"},
		{"3.0", top("version", 3.0), "version"},
		{"3.0", top("algorithm", "AES"), "algorithm"},
		{"3.0", top("historical_bytes", "00"), "historical_bytes"},
		{"3.0", top("identification_code", zeros(16)), "identification_code"},
		{"3.0", top("identification_code", "51010AD156000005000356767C31A94E"), "identification_code"},
		{"3.0", top("atr", "3B00"), "atr"},
		{"3.0", top("pin", "123"), "pin"},
		{"3.0", top("pin", "12345678901234567"), "pin"},
		{"3.0", top("pin", "12a4"), "pin"},
		{"3.0", top("pin", 123456), "pin"},
		{"3.0", top("pin_tries", 0), "pin_tries"},
		{"3.0", top("pin_tries", 16), "pin_tries"},
		{"3.0", top("key_tries", "3"), "key_tries"},
		{"3.0", top("keys", "production"), "keys"},
		{"3.0", top("keys", map[string]any{"XYZ": zeros(16)}), "keys.XYZ"},
		{"3.0", top("keys", map[string]any{"IRK": "00"}), "keys.IRK"},
		{"3.0", top("kind", "passport"), "kind"},
		{"3.0", top("kind", "bank"), ""},
		{"3.0", top("files", []any{}), "files"},
		{"3.0", top("absent", []any{"DF03EF07"}), "files.DF03EF07"},
		{"3.0", top("absent", []any{"DF03EF99"}), "absent"},
		{"3.0", top("absent", []any{"SSSEEF05"}), "files.SSSEEF05"},
		{"3.0", top("medical_account", map[string]any{"balance": "1.234"}), "medical_account.balance"},
		{"3.0", top("medical_account", map[string]any{"start_day": "0230"}), "medical_account.start_day"},
		{"3.0", top("medical_account", map[string]any{"load_sequence": 65536}), "medical_account.load_sequence"},
		{"3.0", file("DF03EF99", map[string]any{}), "files.DF03EF99"},
		{"3.0", file("DF03EF08", map[string]any{}), "files.DF03EF08"}, // 1.0 only
		{"1.0", file("DF07EF05", map[string]any{}), "files.DF07EF05"}, // 2.0 on
		{"3.0", file("DF03EF07", []any{}), "files.DF03EF07"},
		{"3.0", file("DF03EF19", map[string]any{}), "files.DF03EF19"},
		{"3.0", file("DF02EF07", make([]any, 5)), "files.DF02EF07"},
		{"3.0", file("SSSEEF08", "FFD8"), "files.SSSEEF08"},
		{"3.0", file("SSSEEF08", "base64:!"), "files.SSSEEF08"},
		{"3.0", file("SSSEEF08", "hex:"+zeros(4097)), "files.SSSEEF08"},
		{"3.0", set("DF03EF07", "72", "1"), "files.DF03EF07.72"},
		{"3.0", set("DF03EF07", "71", 510100), "files.DF03EF07.71"},
		{"3.0", set("DF03EF07", "71", "2.0:510100"), "files.DF03EF07.71"},
		{"3.0", set("DF03EF07", "73", "2026-13-41"), "files.DF03EF07.73"},
		{"3.0", set("DF03EF07", "73", true), "files.DF03EF07.73"},
		{"3.0", set("DF03EF07", "73", "whole:xx"), "files.DF03EF07.73"},
		{"3.0", set("SSSEEF06", "09", "欧阳海燕欧阳海燕欧阳海燕欧阳海燕欧阳海燕欧阳海燕欧阳海燕"), "files.SSSEEF06.09"},
		{"1.0", set("SSSEEF06", "09", "欧阳海燕欧阳海燕欧阳海燕欧阳海燕"), "files.SSSEEF06.09"},
		{"1.0", set("SSSEEF06", "4E", "燕"), "files.SSSEEF06.4E"},
		{"1.0", set("DF02EF06", "4B", "2.0:10100"), "files.DF02EF06.4B"},
		{"1.0", set("DF02EF06", "4D", "2.0:33010A"), "files.DF02EF06.4D"},
		{"2.0", func(m map[string]any) {
			m["files"].(map[string]any)["DF01EF15"].(map[string]any)["40"].([]any)[0].(map[string]any)["57"] = "4080"
		}, "files.DF01EF15.40[0].57"},
		{"2.0", func(m map[string]any) {
			m["files"].(map[string]any)["DF04EF08"].([]any)[1].(map[string]any)["colour"] = "red"
		}, "files.DF04EF08[1].colour"},
	} {
		m := example(t, test.version)
		test.edit(m)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseImage(b)
		var ie *ImageError
		if !errors.As(err, &ie) || fault.Of(err).Code != fault.ImageInvalid || test.path != "" && ie.Path != test.path {
			t.Errorf("%s: got %v", test.path, err)
		}
	}
	for _, text := range []string{
		"", "{", "[]", "null", "{} {}", `{"kind": "bank"}`, `{"version": "3.0", "version": "3.0"}`,
		strings.Repeat(`{"a":`, 20), `{"files":` + strings.Repeat("[", 100), "{\"a\": \"\x00\"}",
		`{"comment": [` + strings.Repeat("1,", 30000) + `1]}`, strings.Repeat(" ", maxImageBytes+1),
	} {
		_, err := ParseImage([]byte(text))
		var ie *ImageError
		if !errors.As(err, &ie) || ie.Error() == "" {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestAbsentAndOptional(t *testing.T) {
	d := newDesk(t, "2.0", func(m map[string]any) {
		files := m["files"].(map[string]any)
		delete(files, "DF02EF07")
		m["absent"] = []any{"DF02EF07"}
		files["DF05EF05"] = map[string]any{"A0": "1", "A3": []any{map[string]any{"A5": "青霉素"}}}
		files["DF03EF05"].(map[string]any)["60"] = "2021-12-20"
		files["DF03EF07"].(map[string]any)["6E"] = "whole:6F0531" // TLV that lies
		files["SSSEEF05"].(map[string]any)["03"] = "3.00"         // contradicts the algorithm
	})
	d.ok(selectSSSE)
	d.want("00B2032C00", "0304 332E3030 9000")
	d.ok("0020000003123456")
	d.ok("00A4000002DF02")
	d.want("00A4020002EF07", "6A82")
	d.ok("00A4000002DF05")
	d.want("00B2012C00", "A001 31 9000")
	d.want("00B2062C00", "A318 A510 C7E0C3B9CBD8"+zeros(10)+" A604"+zeros(4)+"9000")
	d.ok("00A4000002DF03")
	d.want("00B2022C00", "6004 20211220 9000")
	d.want("00B2033C00", "6F0531 9000")
}

func TestOwnKeys(t *testing.T) {
	d := newDesk(t, "3.0", func(m map[string]any) {
		m["keys"] = map[string]any{"RKSSSE": strings.Repeat("5A", 16)}
	})
	d.ok(selectSSSE)
	d.want("0088000010"+zeros(16), "6A88") // no IRK
	if got := d.prove("RKSSSE"); got != "9000" {
		t.Error(got)
	}
}
