package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"onecard/fault"
)

// FuzzVisitFile: whatever the file of a visit holds, it is a visit or an error
// with a code, and a stay's days are the beginnings of its lines.
func FuzzVisitFile(f *testing.F) {
	examples, err := filepath.Glob("../../docs/examples/*.json")
	if err != nil || len(examples) != 3 {
		f.Fatal(examples, err)
	}
	for _, name := range examples {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"kind":"inpatient","lines":[]}`))
	f.Add([]byte(`{"kind":"inpatient","lines":[{"date":"b"},{"date":"a"},{"date":"b"}],"discharge":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := readVisit(&app{in: bytes.NewReader(text)}, "-")
		if err != nil {
			if fault.Of(err).Code == fault.Internal {
				t.Fatalf("no code: %v", err)
			}
			return
		}
		days := v.days()
		if len(days) == 0 || len(days[len(days)-1]) != len(v.Lines) {
			t.Fatalf("%d lines in %d days", len(v.Lines), len(days))
		}
		for i := 1; i < len(days); i++ {
			if len(days[i]) <= len(days[i-1]) {
				t.Fatalf("day %d adds nothing", i)
			}
		}
	})
}
