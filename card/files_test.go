package card_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"onecard/card"
	"onecard/card/cardsim"
	"onecard/card/profile"
	"onecard/fault"
)

func TestInsurancesWithPIN(t *testing.T) {
	s := example(t, "3.0")
	c := open(t, s)
	if _, err := c.Pension(t.Context(), nil); !errors.Is(err, card.ErrPINRequired) || fault.Of(err).Code != fault.PINRequired {
		t.Fatalf("without PIN: %v", err)
	}
	if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
		t.Fatal(err)
	}
	s.commands()
	p, err := c.Pension(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.Type.Code != "110" || p.Type.Text.EN != "Enterprise employees" || p.Area.Code != "510100" || p.Area.Text.EN != "Chengdu, Sichuan" ||
		p.BenefitStart.String() != "2008-08-01" || p.Retired.String() != "2008-07-12" || len(p.Problems) != 0 {
		t.Errorf("%+v", p)
	}
	u, err := c.Unemployment(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if u.ContributedTotal == nil || *u.ContributedTotal != 242 || u.BenefitMonths == nil || *u.BenefitMonths != 24 || u.LastClaim.String() != "1998-11-05" {
		t.Errorf("%+v", u)
	}
	m, err := c.MedicalInsurance(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Type.Code != "310" || m.Type.Text.ZH != "职工基本医疗保险" || len(m.Flags) != 5 || m.Person.Text.EN != "Retired" || m.CardUse.Text.EN != "Online" || len(m.Institutions) != 2 {
		t.Errorf("%+v", m)
	}
	// DF03 is selected already when the pension is read.
	if got := s.commands(); got != "B2 B2 A4 B2" {
		t.Errorf("commands %s", got)
	}
	list, err := c.MedicalTransactions(t.Context(), nil)
	if err != nil || len(list) == 0 || list[0].Sequence < list[len(list)-1].Sequence || list[0].Time.IsZero() || list[0].Account != 3680 {
		t.Errorf("%+v, %v", list, err)
	}
	if got := s.commands(); len(strings.Fields(got)) > 3 {
		t.Errorf("commands %s", got)
	}
}

func TestAccessByKey(t *testing.T) {
	s := example(t, "2.0")
	c := open(t, s)
	kh := &holder{}
	for _, id := range []string{"DF03EF07", "DF03EF15", "DF04EF05", "DF01EF05", "DF03EF05"} {
		f, _ := card.ParseFileID(id)
		if _, err := c.ReadFile(t.Context(), f, kh); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	// A key is authenticated once for the files of its directory, and again
	// after another directory was selected. RK2DF03 is another key.
	if got, want := s.commands(), "A4 B2 "+"A4 84 82 B2 "+"B2 "+"A4 84 82 B2 "+"A4 84 82 B2 "+"A4 84 82 B2"; got != want {
		t.Errorf("commands\n%s, want\n%s", got, want)
	}
}

func TestAccessByPINAndKey(t *testing.T) {
	id := card.FileID{DF: "DF04", EF: "EF06"}
	c := open(t, example(t, "2.0"))
	if _, err := c.ReadFile(t.Context(), id, &holder{}); !errors.Is(err, card.ErrPINRequired) {
		t.Errorf("key alone: %v", err)
	}
	if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadFile(t.Context(), id, nil); !errors.Is(err, card.ErrNoKeyHolder) {
		t.Errorf("PIN alone: %v", err)
	}
	if _, err := c.ReadFile(t.Context(), id, &holder{}); err != nil {
		t.Errorf("both: %v", err)
	}

	// On 1.0 cards the insurances need both.
	c = open(t, example(t, "1.0"))
	if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pension(t.Context(), nil); !errors.Is(err, card.ErrNoKeyHolder) {
		t.Errorf("1.0, PIN alone: %v", err)
	}
	if p, err := c.Pension(t.Context(), &holder{}); err != nil || len(p.Problems) != 0 {
		t.Errorf("1.0, both: %+v %v", p, err)
	}
}

// Every file of the profile is read on every version, or is missing.
func TestEveryFile(t *testing.T) {
	for _, image := range []string{"1.0", "2.0", "3.0"} {
		for _, quirk := range []cardsim.Quirk{"", cardsim.QuirkMode5Structure, cardsim.QuirkStrictLe, cardsim.QuirkSpacePadded} {
			t.Run(image+" "+string(quirk), func(t *testing.T) {
				var opts []cardsim.Option
				if quirk != "" {
					opts = append(opts, cardsim.WithQuirks(quirk))
				}
				c := open(t, example(t, image, opts...))
				if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
					t.Fatal(err)
				}
				read := 0
				for _, f := range profile.Files() {
					file, err := c.ReadFile(t.Context(), card.FileID{DF: f.DF, EF: f.EF}, &holder{})
					if errors.Is(err, card.ErrFileMissing) {
						continue
					}
					if err != nil {
						t.Errorf("%s: %v", f.ID(), err)
						continue
					}
					read++
					if p := file.Problems(); len(p) > 0 {
						t.Errorf("%s: %v", f.ID(), p)
					}
					if f.Structure == profile.Variable && len(file.Records) < len(f.ElementsOf(profile.V10))-1 {
						t.Errorf("%s: %d records", f.ID(), len(file.Records))
					}
					if _, err := json.Marshal(file); err != nil {
						t.Errorf("%s: %v", f.ID(), err)
					}
				}
				if read < 10 {
					t.Errorf("%d files read", read)
				}
				t.Logf("%d files read", read)
			})
		}
	}
}

func TestStateIsGoneAfterAReset(t *testing.T) {
	s := example(t, "2.0")
	c := open(t, s)
	if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
		t.Fatal(err)
	}
	reset := fault.New(fault.CardReset, "reset by another program")
	s.fail = reset
	if _, err := c.Pension(t.Context(), nil); !errors.Is(err, reset) {
		t.Fatalf("%v", err)
	}
	if c.PINVerified() {
		t.Error("the PIN state outlived a reset")
	}
	if _, err := c.Pension(t.Context(), nil); !errors.Is(err, card.ErrPINRequired) {
		t.Errorf("%v", err)
	}
	if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pension(t.Context(), nil); err != nil {
		t.Errorf("%v", err)
	}

	// Another card in its place is not taken for the first.
	s.fail = reset
	_, _ = c.Pension(t.Context(), nil)
	s.card = example(t, "3.0").card
	if _, err := c.Pension(t.Context(), nil); !errors.Is(err, card.ErrOtherCard) || fault.Of(err).Code != fault.CardChanged {
		t.Errorf("%v", err)
	}
	if err := c.VerifyPIN(t.Context(), card.PIN("123456")); !errors.Is(err, card.ErrOtherCard) {
		t.Errorf("a PIN for another card: %v", err)
	}
}

// Everything that the images of the simulator say is what is read: two
// implementations of the card specification agree on every value.
func TestImagesAreReadAsTheyAreWritten(t *testing.T) {
	for _, image := range []string{"1.0", "2.0", "3.0"} {
		t.Run(image, func(t *testing.T) {
			b, err := cardsim.Images().ReadFile("images/" + image + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var img struct{ Files map[string]json.RawMessage }
			if err := json.Unmarshal(b, &img); err != nil {
				t.Fatal(err)
			}
			c := open(t, example(t, image))
			if err := c.VerifyPIN(t.Context(), card.PIN("123456")); err != nil {
				t.Fatal(err)
			}
			compared := 0
			same := func(place string, want any, got card.Record) {
				compared++
				text := strings.TrimPrefix(want.(string), "2.0:")
				if got.Value.String() != text || got.Malformed != nil {
					t.Errorf("%s: %q (%v), the image says %q", place, got.Value, got.Malformed, text)
				}
			}
			members := func(place string, want map[string]any, got card.Record) {
				for tag, w := range want {
					for _, m := range got.Members {
						if m.Tag == tag {
							same(place+"/"+tag, w, m)
						}
					}
				}
			}
			for name, raw := range img.Files {
				id, err := card.ParseFileID(name)
				if err != nil {
					t.Fatal(err)
				}
				f, err := c.ReadFile(t.Context(), id, &holder{})
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				switch f.Structure {
				case profile.Variable:
					var want map[string]any
					if err := json.Unmarshal(raw, &want); err != nil {
						t.Fatal(err)
					}
					for tag, w := range want {
						list, ok := w.([]any)
						if !ok {
							list = []any{w}
						}
						for i, w := range list {
							var got card.Record
							for _, r := range f.Records {
								if r.Tag == tag && r.Instance == i+1 {
									got = r
								}
							}
							if object, ok := w.(map[string]any); ok {
								members(name+" "+tag, object, got)
							} else {
								same(name+" "+tag, w, got)
							}
						}
					}
				case profile.Fixed:
					var want []map[string]any
					if err := json.Unmarshal(raw, &want); err != nil {
						t.Fatal(err)
					}
					for i, w := range want {
						members(name, w, f.Records[i])
					}
				case profile.CyclicFile:
					var want []map[string]any
					if err := json.Unmarshal(raw, &want); err != nil {
						t.Fatal(err)
					}
					if len(f.Records) < len(want) {
						t.Errorf("%s: %d records, the image has %d", name, len(f.Records), len(want))
						continue
					}
					for i, w := range want {
						for _, v := range w {
							// Fields have names of their own there; every
							// value must be one of the record's.
							text, ok := v.(string)
							found := !ok
							for _, m := range f.Records[i].Members {
								found = found || m.Value.String() == text
							}
							if compared++; !found {
								t.Errorf("%s record %d: no %q", name, i+1, text)
							}
						}
					}
				}
			}
			if compared < 40 {
				t.Errorf("only %d values compared", compared)
			}
			t.Logf("%d values compared", compared)
		})
	}
}
