package terminal

import (
	"testing"
	"time"

	"onecard/fault"
)

// FuzzTimeOf: what a caller says of when a stay began or ended is a time between
// the two bounds, or an error with its code.
func FuzzTimeOf(f *testing.F) {
	for _, text := range []string{"", "2025-03-03", "2025-03-03 09:00:00", "2025-03-05 24:00:00", "2999-01-01", "0000-00-00", "2025-3-3", "2025-03-03T09:00:00Z", "\xff"} {
		f.Add(text)
	}
	now := time.Date(2025, 3, 5, 12, 0, 0, 0, ChinaTime)
	first := time.Date(2025, 3, 3, 9, 30, 0, 0, ChinaTime)
	f.Fuzz(func(t *testing.T, text string) {
		at, err := timeOf("time", text, first, now)
		switch {
		case err != nil && fault.Of(err).Code != fault.FieldDate:
			t.Fatalf("%q: %v", text, err)
		case err == nil && (at.Before(first) || at.After(now)):
			t.Fatalf("%q is %s", text, at)
		}
	})
}
