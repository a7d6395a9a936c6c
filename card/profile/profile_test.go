package profile_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"onecard/card/keys"
	"onecard/card/profile"
)

func TestReference(t *testing.T) {
	p := profile.Reference()
	if got := len(p.Elements()); got != 297 {
		t.Errorf("%d elements, the table has 297", got)
	}
	// Every file of the table is a file of the profile and the other way round.
	files := map[string]bool{}
	for _, f := range p.Files() {
		files[f.ID()] = true
	}
	for _, e := range p.Elements() {
		if e.Kind == profile.Internal || e.DF == "ACSE" {
			continue
		}
		if !files[e.DF+e.EF] {
			t.Errorf("%s%s %s is in no file", e.DF, e.EF, e.Tag)
		}
	}
}

func TestFiles(t *testing.T) {
	for _, f := range profile.Files() {
		t.Run(f.ID(), func(t *testing.T) {
			if f.NameZH == "" || f.NameEN == "" {
				t.Error("no name")
			}
			for _, v := range []profile.Version{profile.V10, profile.V20, profile.V30} {
				for _, alt := range append(append(profile.Access{}, f.ReadAccess(v)...), f.WriteAccess(v)...) {
					for _, key := range alt.Keys {
						if _, ok := keys.KeyID(key); !ok {
							t.Errorf("%s: key %s has no number", v, key)
						}
					}
				}
				if len(f.ReadAccess(v)) == 0 {
					t.Errorf("%s: nobody may read it", v)
				}
				for i, e := range f.ElementsOf(v) {
					if e.Length < 1 || e.NameZH == "" || e.NameEN == "" {
						t.Errorf("%s: element %+v", v, e)
					}
					if e.Number != 0 && f.Structure == profile.Variable && v != profile.V10 && e.Number > i+1 {
						t.Errorf("%s %s: record %d at place %d", v, e.Tag, e.Number, i+1)
					}
				}
			}
			switch f.Structure {
			case profile.CyclicFile:
				end := 0
				for _, e := range f.Elements {
					if e.Offset != end {
						t.Errorf("field at %d, the one before ends at %d", e.Offset, end)
					}
					end = e.Offset + e.Length
				}
				if len(f.RecordSizes) == 0 || f.RecordSizes[0] != end || f.MinRecords == 0 {
					t.Errorf("record sizes %v, fields %d, at least %d records", f.RecordSizes, end, f.MinRecords)
				}
			case profile.Transparent:
				if f.Size == 0 {
					t.Error("no size")
				}
			}
		})
	}
}

func TestAccess(t *testing.T) {
	for _, tt := range []struct {
		df, ef      string
		v           profile.Version
		read, write string
	}{
		{"SSSE", "EF05", profile.V30, "free", "UKSSSE"},
		{"SSSE", "EF06", profile.V10, "free", "UKSSSE"},
		{"SSSE", "EF06", profile.V20, "free", "UKSSSE"},
		{"SSSE", "EF06", profile.V30, "RKSSSE", "UKSSSE"},
		{"SSSE", "EF08", profile.V20, "RKSSSE", "UKSSSE"},
		{"DF01", "EF06", profile.V20, "PIN or RK1DF01", "UK4DF01"},
		{"DF01", "EF1A", profile.V20, "free", "UKBDF01"},
		{"DF03", "EF05", profile.V20, "PIN or RK2DF03", "UK1DF03"},
		{"DF03", "EF05", profile.V10, "PIN and RK2DF03", "UK1DF03"},
		{"DF03", "EF07", profile.V10, "PIN and RK1DF03", "UK3DF03"},
		{"DF03", "EF08", profile.V10, "(PIN and RK1DF03) or UK4DF03", "UK4DF03"},
		{"DF04", "EF06", profile.V30, "PIN and RK1DF04", "UK2DF04"},
		{"DF04", "EF08", profile.V20, "PIN", "never"},
		{"DF07", "EF06", profile.V20, "RK2DF07", "UK2DF07"},
	} {
		f, ok := profile.Reference().File(tt.df, tt.ef)
		if got := f.ReadAccess(tt.v).String(); !ok || got != tt.read {
			t.Errorf("%s%s of %s: read %s, want %s", tt.df, tt.ef, tt.v, got, tt.read)
		}
		if got := f.WriteAccess(tt.v).String(); got != tt.write {
			t.Errorf("%s%s of %s: write %s, want %s", tt.df, tt.ef, tt.v, got, tt.write)
		}
	}
	f, _ := profile.Reference().File("DF03", "EF08")
	a := f.ReadAccess(profile.V10)
	none := func(string) bool { return false }
	rk := func(k string) bool { return k == "RK1DF03" }
	uk := func(k string) bool { return k == "UK4DF03" }
	if a.Met(true, none) || a.Met(false, rk) || !a.Met(true, rk) || !a.Met(false, uk) || a.Free() {
		t.Errorf("%+v", a)
	}
}

func TestElements(t *testing.T) {
	file := func(df, ef string) profile.File {
		f, ok := profile.Reference().File(df, ef)
		if !ok {
			t.Fatalf("no %s%s", df, ef)
		}
		return f
	}
	find := func(list []profile.Element, id byte) profile.Element {
		for _, e := range list {
			if e.ID == id {
				return e
			}
		}
		t.Fatalf("no %02X", id)
		return profile.Element{}
	}
	pension := file("DF03", "EF07")
	if e := find(pension.Elements, 0x71); e.Format != profile.CN || e.Codes != "area" || e.Length != 3 || e.V1 {
		t.Errorf("%+v", e)
	}
	if e := find(pension.ElementsV1, 0x71); e.Format != profile.Amount || e.Length != 4 || !e.V1 || e.Number != 2 {
		t.Errorf("%+v", e)
	}
	// 1.0: the new rural pension has the elements of the pension of 2.0.
	if e := find(file("DF03", "EF0A").ElementsV1, 0x71); e.V1 || e.EF != "EF0A" || e.Codes != "area" {
		t.Errorf("%+v", e)
	}
	holder := file("SSSE", "EF06")
	if len(holder.Elements) != 7 || len(holder.ElementsV1) != 6 || holder.Elements[2].ID != 0x4E || holder.ElementsV1[2].Number != 3 {
		t.Errorf("%d, %d", len(holder.Elements), len(holder.ElementsV1))
	}
	if e := find(file("DF06", "EF05").Elements, 0xC4); len(e.Members) != 5 || e.Members[3].Format != profile.Amount || e.Members[4].Format != profile.Month {
		t.Errorf("%+v", e)
	}
	if e := find(file("DF04", "EF05").Elements, 0x81); len(e.Parts) != 6 {
		t.Errorf("%+v", e)
	}
	if e := find(file("DF03", "EF05").Elements, 0x60); !e.Optional || e.Number != 0 {
		t.Errorf("%+v", e)
	}
	if f := file("DF04", "EF08"); f.Elements[3].Format != profile.Time || f.Elements[4].Format != profile.BinaryAmount || f.RecordSizes[1] != 20 {
		t.Errorf("%+v", f)
	}
	if f := file("SSSE", "EF08"); f.Size != 4096 {
		t.Errorf("photo of %d bytes", f.Size)
	}
}

func TestWords(t *testing.T) {
	for _, tt := range []struct{ table, code, zh string }{
		{"sex", "2", "女"},
		{"ethnic_group", "01", "汉族"},
		{"ethnic_group", "1", "汉族"},
		{"ethnic_group", "56", "基诺族"},
		{"area", "510104", "四川省成都市锦江区"},
		{"area", "510199", "四川省成都市"},
		{"area", "659999", "新疆维吾尔自治区"},
		{"area", "990000", ""},
		{"pension_type", "110", "企业职工基本养老保险"},
		{"disability_grade", "7", "七级"},
		{"nationality", "CHN", "中国"},
		{"nationality", "", ""},
		{"no such table", "1", ""},
	} {
		if w, ok := profile.Reference().Words(tt.table, tt.code); w.ZH != tt.zh || ok != (tt.zh != "") || (w.EN == "") == ok {
			t.Errorf("%s %s: %+v", tt.table, tt.code, w)
		}
	}
	if n := len(profile.Reference().Codes("ethnic_group")); n < 56 {
		t.Errorf("%d ethnic groups", n)
	}
}

// An issuer's own tables: a wrong one is refused with file and line.
func TestLoadRefuses(t *testing.T) {
	for _, tt := range []struct{ file, old, new, want string }{
		{"elements.tsv", "1	08	", "one	08	", "elements.tsv line 9"},
		{"elements.tsv", "	18	an	", "	18	ebcdic	", "elements.tsv line 9"},
		{"elements.tsv", "52	B-TLV", "51	B-TLV", "its members need 52"},
		{"files.tsv", "PIN and RK2DF03", "PIN and OTHER", "OTHER"},
		{"files.tsv", "SSSE	EF05	variable", "SSSE	EF05	hashed", "files.tsv line 2"},
		{"files.tsv", "SSSE	EF05	variable", "SSSE	EF1F	variable", "files.tsv line 2"},
		{"details.tsv", "identifier", "identity", "details.tsv line 2"},
		{"details.tsv", "	sex", "	gender", "gender"},
		{"details.tsv", "SSSE	EF05	01", "SSSE	EF05	AA", "no element"},
		{"parts.tsv", "	0	2	", "	-1	2	", "parts.tsv line 2"},
		{"codes.tsv", "sex	2	", "sex	1	", "twice"},
		{"directories.tsv", "DDF1", "DD", "directories.tsv line 2"},
		{"areas.tsv", "	Beijing", "", "areas.tsv line 2"},
	} {
		set := fstest.MapFS{}
		for _, name := range []string{"elements.tsv", "files.tsv", "details.tsv", "parts.tsv", "codes.tsv", "directories.tsv", "areas.tsv", "nationalities.tsv"} {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if name == tt.file {
				if !strings.Contains(string(b), tt.old) {
					t.Fatalf("%s does not hold %q", name, tt.old)
				}
				b = []byte(strings.Replace(string(b), tt.old, tt.new, 1))
			}
			set[name] = &fstest.MapFile{Data: b}
		}
		if _, err := profile.Load(set); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s with %q: %v", tt.file, tt.new, err)
		}
	}
	if _, err := profile.Load(fstest.MapFS{}); err == nil {
		t.Error("no tables at all")
	} else if _, ok := err.(interface{ Unwrap() error }); !ok || !strings.Contains(err.Error(), fs.ErrNotExist.Error()) {
		t.Error(err)
	}
}

// FuzzElements: a table of elements with anything in it is read or refused.
func FuzzElements(f *testing.F) {
	f.Add("SSSE	EF06	1	08	社会保障号码	Social security number	18	an	free	UKSSSE	")
	f.Add("DF01	EF15	2-4	40/57	学位代码	Degree code	3	an	PIN or RK1DF01	UK6DF01	")
	f.Add("DF04	EF08	cyclic @offset 99999999999999999999	-	x	x	2	b	PIN	none	")
	f.Add("DF06	EF05	3-5	C5-C3/E3	x	x	1	cn	RK1DF06	UK1DF06	")
	header := "df	ef	record	tag	name_zh	name_en	length	format	read_access	write_access	note\n"
	f.Fuzz(func(t *testing.T, line string) {
		set := fstest.MapFS{"elements.tsv": &fstest.MapFile{Data: []byte(header + line + "\n")}}
		for name, head := range map[string]string{"codes.tsv": "a", "areas.tsv": "a", "nationalities.tsv": "a", "details.tsv": "a", "parts.tsv": "a",
			"directories.tsv": "h\nSSSE\tDDF1\t73\tx\tx", "files.tsv": "h\nSSSE\tEF06\tvariable\t\t\t\t\t\t\t\tx\tx"} {
			set[name] = &fstest.MapFile{Data: []byte(head)}
		}
		p, err := profile.Load(set)
		if err == nil && len(p.Elements()) == 0 {
			t.Fatal("nothing read and nothing refused")
		}
	})
}
