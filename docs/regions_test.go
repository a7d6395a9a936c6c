package docs_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"onecard/settlement"
	"onecard/settlement/region"
)

// regions.md describes every key of a region's file, every style and every
// shipped region, and nothing else.
func TestRegionsAreDescribed(t *testing.T) {
	text := read(t, "regions.md")
	part := func(name string) string {
		_, rest, found := strings.Cut(text, "\n## "+name+"\n")
		if !found {
			t.Fatalf("regions.md has no section %s", name)
		}
		rest, _, _ = strings.Cut(rest, "\n## ")
		return rest
	}
	compare := func(what string, real, described map[string]bool) {
		for k := range real {
			if !described[k] {
				t.Errorf("regions.md does not describe the %s %s", what, k)
			}
		}
		for k := range described {
			if !real[k] {
				t.Errorf("regions.md describes the %s %s, which there is not", what, k)
			}
		}
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z0-9_.-]+)` \\|")
	found := func(section string, pattern *regexp.Regexp) map[string]bool {
		names := make(map[string]bool)
		for _, m := range pattern.FindAllStringSubmatch(section, -1) {
			names[m[1]] = true
		}
		return names
	}
	real := make(map[string]bool)
	keys(reflect.TypeFor[region.Region](), "", real)
	compare("key", real, found(part("Keys"), row))
	styles := make(map[string]bool)
	for _, name := range settlement.StyleNames() {
		styles[name] = true
	}
	signatures, _, _ := strings.Cut(part("Signatures"), "\n### ")
	compare("style", styles, found(signatures, row))
	shipped := make(map[string]bool)
	for _, name := range region.Names() {
		shipped[name] = true
	}
	compare("example", shipped, found(part("The examples"), regexp.MustCompile(`(?m)^\* \*\*([a-z-]+)\*\*`)))
}
