package settlement

import (
	"errors"
	"strings"
	"testing"
	"time"

	"onecard/fault"
	"pgregory.net/rapid"
)

func TestExtrasRefused(t *testing.T) {
	for name, x := range map[string]struct {
		extras Extras
		code   fault.Code
	}{
		"a flag that is none":    {Extras{TrumFlag: "2"}, fault.FieldType},
		"a flag too long":        {Extras{OtpErReflFlag: "12"}, fault.FieldType},
		"a key in lower case":    {Extras{More: map[string]string{"trum_flag": "1"}}, fault.FieldType},
		"a key with a blank":     {Extras{More: map[string]string{"A B": "1"}}, fault.FieldType},
		"no key":                 {Extras{More: map[string]string{"": "1"}}, fault.FieldType},
		"no text":                {Extras{More: map[string]string{"X": "\xff"}}, fault.FieldType},
		"a known key, wrongly":   {Extras{More: map[string]string{"REL_TTP_FLAG": "yes"}}, fault.FieldType},
		"longer than the tables": {Extras{More: map[string]string{"X": strings.Repeat("长", maxExpContent)}}, fault.FieldTooLong},
	} {
		if text, err := x.extras.Content(); fault.Of(err).Code != x.code || OutcomeOf(err) != NotSent || text != "" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for text, want := range map[string]Extras{
		"":                {},
		`{"TRUM_FLAG":1}`: {TrumFlag: "1"},
		`{"REL_TTP_FLAG":"1","OTP_ER_REFL_FLAG":"2","MDTRT_GRP_TYPE":"3","IPT_TYPE":null}`: {RelTtpFlag: "1", OtpErReflFlag: "2", MdtrtGrpType: "3"},
	} {
		got, err := ReadExtras(Text(text))
		if err != nil || got.TrumFlag != want.TrumFlag || got.RelTtpFlag != want.RelTtpFlag || got.OtpErReflFlag != want.OtpErReflFlag || got.MdtrtGrpType != want.MdtrtGrpType || got.IptType != want.IptType {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{`{`, `[]`, `{"X":{}}`, `"x"`} {
		if _, err := ReadExtras(Text(text)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What is written is read back, and a region's own never goes before what was
// said.
func TestExtrasRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		flag := func(name, values string) string {
			return rapid.SampledFrom(append([]string{""}, strings.Split(values, "")...)).Draw(t, name)
		}
		key, value := rapid.StringMatching(`[A-Z][A-Z0-9_]{0,20}`), rapid.StringMatching(`[0-9a-z长"\\]{1,10}`)
		e := Extras{
			TrumFlag: flag("trum", "01"), RelTtpFlag: flag("ttp", "01"), OtpErReflFlag: flag("er", "123"), MdtrtGrpType: flag("group", "12"),
			More: rapid.MapOfN(rapid.Map(key, func(s string) string { return "X_" + s }), value, 0, 5).Draw(t, "more"),
		}
		region := rapid.MapOfN(rapid.OneOf(rapid.Map(key, func(s string) string { return "Y_" + s }), rapid.Just("TRUM_FLAG")), rapid.SampledFrom([]string{"0", "1"}), 0, 5).Draw(t, "region")
		with := e.With(region)
		text, err := with.Content()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadExtras(Text(text))
		if err != nil {
			t.Fatal(err)
		}
		want, read := with.all(), got.all()
		if len(want) != len(read) {
			t.Fatalf("wrote %v, read %v", want, read)
		}
		for key, value := range want {
			if read[key] != value {
				t.Fatalf("wrote %v, read %v", want, read)
			}
		}
		for key, value := range e.all() {
			if read[key] != value {
				t.Fatalf("the region's went before %s: %v", key, read)
			}
		}
		for key, value := range region {
			if e.all()[key] == "" && read[key] != value {
				t.Fatalf("the region's %s is missing: %v", key, read)
			}
		}
	})
}

func TestFilingErrors(t *testing.T) {
	day := func(s string) time.Time {
		d, err := readDay(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, x := range []struct {
		err  FilingError
		code fault.Code
		says string
	}{
		{FilingError{}, fault.FilingMissing, "no filing"},
		{FilingError{Words: "请备案"}, fault.FilingMissing, "no filing: 请备案"},
		{FilingError{Ended: day("20260131")}, fault.FilingExpired, "filing ended on 2026-01-31"},
		{FilingError{Begins: day("2026-02-01 00:00:00")}, fault.FilingExpired, "filing begins on 2026-02-01"},
		{FilingError{Disease: "M1"}, fault.FilingMissing, "no filing of chronic disease M1"},
		{FilingError{Disease: "M1", direct: true}, fault.ChronicNotDirect, "chronic disease M1 does not settle directly across provinces"},
	} {
		if x.err.Code() != x.code || x.err.FaultDetail() != x.says || strings.Contains(x.err.Error(), "请") || x.err.Outcome() != NotSent {
			t.Errorf("%s, %s", x.err.Code(), x.err.FaultDetail())
		}
	}
	// The latest that ended and the earliest to come are what helps.
	filing := func(begin, end string) Filing {
		f, err := newFiling("5304", Text(begin), Text(end))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	_, missing := judge([]Filing{
		filing("2024-01-01", "2024-12-31"), filing("2025-01-01", "2025-12-31"), filing("2027-02-01", ""), filing("2027-01-01", ""),
	}, day("2026-06-01"))
	if missing == nil || !missing.Ended.Equal(day("2025-12-31")) || !missing.Begins.Equal(day("2027-01-01")) {
		t.Errorf("%+v", missing)
	}
	for _, d := range []string{"2026-01-01", "2026-06-01", "2026-12-31"} {
		if _, missing := judge([]Filing{filing("2026-01-01", "2026-12-31")}, day(d)); missing != nil {
			t.Errorf("%s is not covered", d)
		}
	}
	for _, days := range [][2]Text{{"", ""}, {"2026-02-30", ""}, {"2026-01-01", "soon"}, {"2026", ""}} {
		if _, err := newFiling("5304", days[0], days[1]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", days, err)
		}
	}
}
