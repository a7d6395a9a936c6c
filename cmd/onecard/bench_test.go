package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBench runs the benchmark in its short form, with the real programs beside
// each other, and looks at what it says, not at how fast anything was. The card
// part needs the PC/SC stack of scripts/pcsc-namespace.
func TestBench(t *testing.T) {
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir+string(filepath.Separator), "onecard/cmd/onecard", "onecard/cmd/onecardd", "onecard/cmd/hsm-sim")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	through, skipped := "--virtual", true
	if os.Getenv("ONECARD_PCSC") != "" {
		through, skipped = "--pcsc", false
	}
	out, errs, status := finish(t, os.Environ(), filepath.Join(dir, "onecard"), "--json", "bench", "--quick", through)
	if status != 0 {
		t.Fatalf("status %d\n%s%s", status, out, errs)
	}
	var report benchReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found := make(map[string]comparison)
	for _, c := range report.Comparisons {
		found[c.ID] = c
	}
	for _, id := range []string{"settlement", "settlement_parts", "start", "hsm", "journal"} {
		if c := found[id]; c.Skip != "" || c.Ratio <= 0 || len(c.Figures) < 2 || c.Figures[0].Runs == 0 {
			t.Errorf("%s: %+v", id, c)
		}
	}
	for _, id := range []string{"terminals", "terminals_national", "terminals_latency", "long_journal", "long_start"} {
		if c := found[id]; c.Skip != "" || len(c.Figures) == 0 || c.Figures[0].Median <= 0 || c.Figures[0].Runs == 0 || c.Aim > 0 && c.Met == nil {
			t.Errorf("%s: %+v", id, c)
		}
	}
	if c := found["terminals"]; len(c.Figures) != 3 || !c.AtLeast || c.Figures[1].Median > c.Figures[2].Median {
		t.Errorf("terminals are not held against the slower of the two: %+v", c)
	}
	if c := found["settlement"]; c.Aim != 1.5 || c.Met == nil || *c.Met != (c.Ratio <= c.Aim) {
		t.Errorf("settlement: %+v", c)
	}
	for id, perRecord := range map[string]float64{"records_identity": 20, "records_summary": 100, "records_rewrite": 25} {
		c := found[id]
		if len(c.Figures) != 3 || c.Figures[0].Median < c.Figures[1].Median || c.Figures[2].Median < perRecord || c.Met != nil && !*c.Met {
			t.Errorf("%s: %+v", id, c)
		}
		if c := found[id+"_time"]; skipped != (c.Skip != "") || !skipped && c.Ratio <= 0 {
			t.Errorf("%s: %+v", id, c)
		}
	}
	if c := found["slots"]; len(c.Figures) != 3 || c.Ratio <= 0 || c.Figures[2].Median <= 0 || c.Aim != 0.9 || !c.AtLeast {
		t.Errorf("slots: %+v", c)
	}
	if c := found["event"]; skipped != (c.Skip != "") || !skipped && (len(c.Figures) != 3 || c.Figures[0].Median < c.Figures[2].Median) {
		t.Errorf("event: %+v", c)
	}
	if c := found["decode"]; len(c.Figures) != 1 || c.Figures[0].Median <= 0 || !strings.Contains(c.Note, "elements a second") {
		t.Errorf("decode: %+v", c)
	}
	if c := found["memory"]; len(c.Figures) > 0 && c.Figures[0].Median < 1 {
		t.Errorf("memory: %+v", c)
	}
	if skipped {
		if found["identity"].Skip == "" {
			t.Errorf("without pcscd: %+v", found["identity"])
		}
		return
	}
	for _, id := range []string{"identity", "identity_hsm", "identity_connected", "exchange"} {
		if c := found[id]; c.Ratio <= 0 {
			t.Errorf("%s: %+v", id, c)
		}
	}
	if c := found["commands"]; len(c.Figures) != 1 || c.Figures[0].Median > c.Aim || c.Figures[0].Median < 4 || c.Met == nil || !*c.Met {
		t.Errorf("commands: %+v", c)
	}
}

func TestQuantile(t *testing.T) {
	s := samples{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := s.quantile(q); got != want {
			t.Errorf("%g: %g, not %g", q, got, want)
		}
	}
	if s[0] != 5 {
		t.Error("the samples were sorted in place")
	}
}

func TestJudge(t *testing.T) {
	for _, test := range []struct {
		c     comparison
		ratio float64
		met   any
	}{
		{comparison{Aim: 1.5, Figures: []figure{{Median: 3}, {Median: 2}}}, 1.5, true},
		{comparison{Aim: 1.4, Figures: []figure{{Median: 3}, {Median: 2}}}, 1.5, false},
		{comparison{Aim: 7, Figures: []figure{{Median: 6}}}, 0, true},
		{comparison{Aim: 7, Figures: []figure{{Median: 8}}}, 0, false},
		{comparison{Figures: []figure{{Median: 3}, {Median: 2}}}, 1.5, nil},
		{comparison{Aim: 0.8, AtLeast: true, Figures: []figure{{Median: 9}, {Median: 10}}}, 0.9, true},
		{comparison{Aim: 0.8, AtLeast: true, Figures: []figure{{Median: 7}, {Median: 10}}}, 0.7, false},
		{comparison{Aim: 208, AtLeast: true, Figures: []figure{{Median: 300}}}, 0, true},
		{comparison{Aim: 1, Skip: "no PC/SC"}, 0, nil},
	} {
		c := test.c
		c.judge()
		var met any
		if c.Met != nil {
			met = *c.Met
		}
		if c.Ratio != test.ratio || met != test.met {
			t.Errorf("%+v", c)
		}
	}
}
