package card_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"onecard/card"
	"onecard/card/cardsim"
	"onecard/fault"
)

// A card that is wrong in one place is read everywhere else, and the place is
// marked with its code.
func TestBadRecordsAreMarked(t *testing.T) {
	for name, tt := range map[string]struct {
		file, tag, value string // what the image has there
		find             string // tag under which it is marked
		others           int    // records that are read all the same
	}{
		"longer than its length":         {"DF03EF07", "71", "whole:710451010000", "71", 5},
		"a tag of another file":          {"DF03EF07", "71", "whole:0903510100", "09", 5},
		"a length that lies":             {"DF03EF07", "71", "whole:7109510100", "71", 5},
		"a date that is none":            {"DF03EF07", "73", "hex:20261341", "73", 5},
		"a cn with A to E":               {"DF03EF07", "71", "hex:51AE00", "71", 5},
		"GBK cut in a character":         {"DF01EF06", "23", "hex:CBC4B4A8CA" + strings.Repeat("00", 75), "23", 4},
		"a template that lies":           {"DF01EF15", "40", "hex:5709" + strings.Repeat("31", 50), "40", 3},
		"bytes that are no text":         {"DF01EF05", "21", "hex:FFFE41" + strings.Repeat("00", 77), "21", 2},
		"a month that is none in a ring": {"DF02EF07", "", "", "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := changed(t, "3.0", func(m map[string]any) {
				files := m["files"].(map[string]any)
				if tt.tag == "" {
					files[tt.file].([]any)[0].(map[string]any)["from"] = "hex:20201301"
					return
				}
				value := any(tt.value)
				if tt.tag == "40" {
					value = []any{tt.value}
				}
				files[tt.file].(map[string]any)[tt.tag] = value
			})
			c := verified(t, s)
			id, err := card.ParseFileID(tt.file)
			if err != nil {
				t.Fatal(err)
			}
			f, err := c.ReadFile(t.Context(), id, &vault{})
			if err != nil {
				t.Fatal(err)
			}
			problems := f.Problems()
			if len(problems) == 0 || !slices.ContainsFunc(problems, func(e error) bool {
				var r *card.RecordError
				return errors.As(e, &r) && (r.Tag == tt.find || tt.find == "") && fault.Of(e).Code == fault.RecordMalformed
			}) {
				t.Errorf("%v", problems)
			}
			good := 0
			for _, r := range f.Records {
				if r.Malformed == nil {
					good++
				}
			}
			if good < tt.others {
				t.Errorf("%d records are good, want %d: %+v", good, tt.others, f.Records)
			}
			sum, err := c.Summary(t.Context(), &vault{})
			if err != nil || len(sum.Missing) != 0 || sum.Identity.Holder.Name == "" {
				t.Errorf("summary: %+v, %v", sum.Missing, err)
			}
			if _, err := json.Marshal(f); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestBadCards(t *testing.T) {
	without := changed(t, "2.0", func(m map[string]any) {
		delete(m["files"].(map[string]any), "DF03EF07")
		m["absent"] = []any{"DF03EF07"}
	})
	sum, err := verified(t, without).Summary(t.Context(), &vault{})
	if err != nil || len(sum.Missing) != 1 || fault.Of(sum.Missing[0].Reason).Code != fault.FileMissing || sum.Medical == nil {
		t.Errorf("a 2.0 card without an active file: %+v, %v", sum.Missing, err)
	}
	contradiction := changed(t, "3.0", func(m map[string]any) { m["algorithm"] = "DES" })
	c := open(t, contradiction)
	if p := c.Issuer().Problems; len(p) != 1 || fault.Of(p[0]).Code != fault.RecordMalformed {
		t.Errorf("3.0 with DES: %v", p)
	}
	if id, err := c.Identity(t.Context(), &vault{}); err != nil || !id.Authenticated || id.Holder.Name == "" {
		t.Errorf("3.0 with DES: %+v %v", id, err)
	}
	// PIN tries that end in the middle: what is free or opened by keys remains.
	s := example(t, "2.0")
	c = open(t, s)
	for range 6 {
		err = c.VerifyPIN(t.Context(), card.PIN("000000"))
	}
	if fault.Of(err).Code != fault.PINBlocked {
		t.Errorf("%v", err)
	}
	if sum, err = c.Summary(t.Context(), &vault{}); err != nil || sum.Pension == nil || len(sum.Missing) != 2 {
		t.Errorf("after the PIN was blocked: %+v %v", sum.Missing, err)
	}
	// A card whose area its keys are not of.
	s = changed(t, "2.0", func(m map[string]any) {})
	moved := &elsewhereVault{}
	id, err := open(t, s).Identity(t.Context(), moved)
	if err != nil || fault.Of(id.AuthError).Code != fault.CardNotGenuine || id.Holder.Name == "" {
		t.Errorf("keys of another area: %v %v", id.AuthError, err)
	}
	for _, q := range []cardsim.Quirk{cardsim.QuirkAppBlocked, cardsim.QuirkCardBlocked} {
		if _, err := card.Open(t.Context(), example(t, "3.0", cardsim.WithQuirks(q))); fault.Of(err).Code != fault.CardBlocked {
			t.Errorf("%s: %v", q, err)
		}
	}
}

func TestReadAllFiles(t *testing.T) {
	for _, image := range []string{"1.0", "2.0", "3.0"} {
		s := example(t, image)
		c := verified(t, s)
		s.commands()
		files, missing, err := c.ReadFiles(t.Context(), &vault{})
		if err != nil {
			t.Fatal(err)
		}
		sent := s.commands()
		read := map[string]bool{}
		for _, f := range files {
			if read[f.ID.String()] {
				t.Errorf("%s twice", f.ID)
			}
			read[f.ID.String()] = true
		}
		for _, m := range missing {
			if code := fault.Of(m.Reason).Code; code != fault.FileMissing {
				t.Errorf("%s %s: %v", image, m.File, m.Reason)
			}
		}
		if len(files)+len(missing) != len(c.FilesOfVersion()) {
			t.Errorf("%d read and %d missing of %d", len(files), len(missing), len(c.FilesOfVersion()))
		}
		if image == "3.0" && (len(files) < 35 || strings.Count(sent, "82") > 6) {
			t.Errorf("%d files with %s", len(files), sent)
		}
		// Without anything: what is free, and no command for what is not.
		s = example(t, image)
		c = open(t, s)
		s.commands()
		files, missing, err = c.ReadFiles(t.Context(), nil)
		if err != nil || len(files) == 0 || strings.Contains(s.commands(), "84") {
			t.Errorf("%s: %v", image, err)
		}
		for _, m := range missing {
			if code := fault.Of(m.Reason).Code; code != fault.PINRequired && code != fault.NoKeyHolder && code != fault.FileMissing {
				t.Errorf("%s %s: %v", image, m.File, m.Reason)
			}
		}
	}
}
