package terminal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"onecard/card"
	"onecard/card/cardsim"
	"onecard/card/keys"
	"onecard/reader"
	"onecard/reader/virtual"
)

func profileDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// reference is a table as the product has it.
func reference(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "card", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func changedOnce(t *testing.T, text, from, to string) string {
	t.Helper()
	if strings.Count(text, from) != 1 {
		t.Fatalf("%q stands %d times", from, strings.Count(text, from))
	}
	return strings.Replace(text, from, to, 1)
}

// opened is a simulated 3.0 card of the reference profile, opened with a profile
// directory.
func opened(t *testing.T, dir string) *card.Card {
	t.Helper()
	opts, err := LoadProfile(dir)
	if err != nil {
		t.Fatal(err)
	}
	image, err := cardsim.Example("3.0")
	if err != nil {
		t.Fatal(err)
	}
	sim, err := cardsim.New(image)
	if err != nil {
		t.Fatal(err)
	}
	driver := virtual.New("slot")
	t.Cleanup(driver.Stop)
	if err := driver.Insert("slot", sim); err != nil {
		t.Fatal(err)
	}
	link, err := driver.Open(t.Context(), "slot", reader.Shared)
	if err != nil {
		t.Fatal(err)
	}
	s := reader.NewSession(link, reader.SlotState{Slot: "slot"})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := card.Open(t.Context(), s, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProfileDirectory(t *testing.T) {
	if opts, err := LoadProfile(""); err != nil || len(opts) != 0 {
		t.Errorf("without a profile: %d options, %v", len(opts), err)
	}
	// An empty directory is the reference profile.
	if w, ok := opened(t, t.TempDir()).Profile().Words("area", "510100"); !ok || w.ZH != "四川省成都市" {
		t.Errorf("%v", w)
	}
	// A table replaces its namesake alone.
	p := opened(t, profileDir(t, map[string]string{"areas.tsv": "code\tzh\ten\n510100\t某市\tSome City\n"})).Profile()
	if w, _ := p.Words("area", "510100"); w.EN != "Some City" {
		t.Errorf("%v", w)
	}
	if _, ok := p.File("DF03", "EF07"); !ok {
		t.Error("the files are gone")
	}
}

// testKeys computes with the test roots, as an HSM does.
type testKeys struct{}

func (testKeys) InternalAuth(_ context.Context, s keys.Subject, process, raw [8]byte) ([8]byte, error) {
	key, err := s.CardKey(keys.TestRoot("IRK", s.KeyVersion()))
	if err != nil {
		return [8]byte{}, err
	}
	return keys.InternalAnswer(s.Algorithm, key, process, raw)
}

func (testKeys) ExternalAuth(_ context.Context, s keys.Subject, name string, challenge []byte, raw [8]byte) ([8]byte, error) {
	key, err := s.CardKey(keys.TestRoot(name, s.KeyVersion()))
	if err != nil {
		return [8]byte{}, err
	}
	return keys.ExternalAuth(s.Algorithm, key, challenge, raw)
}

// Key numbers are the issuer's: with another number for RKSSSE a card of the
// reference profile does not know the key.
func TestProfileKeyNumbers(t *testing.T) {
	for number, want := range map[string]bool{"0A": true, "0B": false} {
		table := changedOnce(t, reference(t, "keys/keys.tsv"), "RKSSSE\t0A\t", "RKSSSE\t"+number+"\t")
		c := opened(t, profileDir(t, map[string]string{"keys.tsv": table}))
		id, err := c.Identity(t.Context(), testKeys{})
		if err != nil {
			t.Fatal(err)
		}
		if (id.HolderError == nil) != want {
			t.Errorf("number %s: %v", number, id.HolderError)
		}
	}
}

func TestProfileIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		says  string
	}{
		"misspelt":       {map[string]string{"area.tsv": ""}, "area.tsv"},
		"columns":        {map[string]string{"areas.tsv": "code\tzh\ten\n510100\t某市\n"}, "areas.tsv line 2"},
		"key twice":      {map[string]string{"keys.tsv": "name\tid\tuse\tnote\nIRK\t00\tinternal\tx\nIRK\t01\tinternal\tx\n"}, "keys.tsv: key table: row 3"},
		"key not there":  {map[string]string{"keys.tsv": "name\tid\tuse\tnote\nIRK\t00\tinternal\tx\n"}, "the key table has none"},
		"too large":      {map[string]string{"codes.tsv": strings.Repeat("x", maxTable+1)}, "larger"},
		"not a table":    {map[string]string{"keys.tsv": "\n"}, "keys.tsv"},
		"unknown format": {map[string]string{"files.tsv": "df\n\n"}, "files.tsv line 2"},
	} {
		_, err := LoadProfile(profileDir(t, tt.files))
		if !errors.Is(err, ErrConfig) || !strings.Contains(Explain(err).Detail, tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := LoadProfile(filepath.Join(t.TempDir(), "nowhere")); !errors.Is(err, ErrConfig) {
		t.Errorf("no directory: %v", err)
	}
}
