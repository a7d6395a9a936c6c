// Package docs_test keeps the documents true: links lead somewhere, failure
// codes exist, every configuration key is described, the table of the card's
// files is the profile's, and the commands shown do what is shown.
package docs_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"sort"
	"strings"
	"testing"

	"onecard/card/cardsim"
	"onecard/card/profile"
	"onecard/fault"
	"onecard/terminal"
)

var update = flag.Bool("update", false, "write the generated tables of docs/card.md anew")

// documents returns every document for people, as paths from this directory:
// the ones in the root first.
func documents(t *testing.T) []string {
	t.Helper()
	files := []string{"../README.md", "../CONTRIBUTING.md"}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".md") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// prose is a document without its fenced blocks: what stands in them is not
// Markdown.
func prose(text string) string {
	var b strings.Builder
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		if !fenced {
			b.WriteString(line)
		}
	}
	return b.String()
}

var (
	link    = regexp.MustCompile(`!?\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	unslug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns the fragments that a document's headings can be linked by.
func anchors(text string) map[string]bool {
	found := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(prose(text), -1) {
		slug := unslug.ReplaceAllString(strings.ToLower(m[1]), "")
		found[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return found
}

func TestLinksLead(t *testing.T) {
	for _, file := range documents(t) {
		text := read(t, file)
		for _, m := range link.FindAllStringSubmatch(prose(text), -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			there := text
			if target != "" {
				path := filepath.Join(filepath.Dir(file), target)
				info, err := os.Stat(path)
				if err != nil {
					t.Errorf("%s links to %s, which is not there", file, m[1])
					continue
				}
				if fragment == "" || info.IsDir() {
					continue
				}
				there = read(t, path)
			}
			if !anchors(there)[fragment] {
				t.Errorf("%s links to %s, but there is no such heading", file, m[1])
			}
		}
	}
}

// A document that no index names is not found by those it was written for.
func TestIndexNamesEveryDocument(t *testing.T) {
	index := read(t, "README.md")
	for _, file := range documents(t) {
		if strings.HasPrefix(file, "../") || file == "README.md" {
			continue
		}
		if !strings.Contains(index, "("+filepath.ToSlash(file)+")") {
			t.Errorf("docs/README.md does not name %s", file)
		}
	}
}

func TestCodesExist(t *testing.T) {
	code := regexp.MustCompile(`\bOC-[0-9]{4}\b`)
	for _, file := range documents(t) {
		for _, c := range code.FindAllString(read(t, file), -1) {
			if _, ok := fault.Lookup(fault.Code(c)); !ok {
				t.Errorf("%s names %s, which the catalogue does not have", file, c)
			}
		}
	}
}

// keys collects the dotted keys of a configuration struct.
func keys(typ reflect.Type, prefix string, into map[string]bool) {
	for i := range typ.NumField() {
		field := typ.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("toml"), ",")
		if name == "" || name == "-" {
			continue
		}
		inner := field.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			keys(inner, prefix+name+".", into)
			continue
		}
		into[prefix+name] = true
	}
}

func TestConfigurationIsDescribed(t *testing.T) {
	real := make(map[string]bool)
	keys(reflect.TypeFor[terminal.Config](), "", real)
	if len(real) < 20 {
		t.Fatalf("only %d keys found by their toml tags", len(real))
	}
	// A table row of the section: | `upstream.url` | ...
	section := read(t, "operations.md")
	_, section, found := strings.Cut(section, "\n## Configuration\n")
	if !found {
		t.Fatal("operations.md has no section Configuration")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	described := make(map[string]bool)
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\|").FindAllStringSubmatch(section, -1) {
		if described[m[1]] {
			t.Errorf("operations.md describes %s twice", m[1])
		}
		described[m[1]] = true
	}
	for key := range real {
		if !described[key] {
			t.Errorf("operations.md does not describe the key %s", key)
		}
	}
	for key := range described {
		if !real[key] {
			t.Errorf("operations.md describes %s, which the configuration does not have", key)
		}
	}
}

// fields collects the Go names behind the keys.
func fields(typ reflect.Type, into map[string]bool) {
	for i := range typ.NumField() {
		field := typ.Field(i)
		inner := field.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			fields(inner, into)
		} else {
			into[typ.Name()+"."+field.Name] = true
		}
	}
}

// A key that is read, checked and then used by nothing is worse than an unknown
// one: that would be refused.
func TestEveryKeyHasAnEffect(t *testing.T) {
	used := make(map[string]bool)
	for _, dir := range []string{"../terminal", "../cmd"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
				path == filepath.Join("..", "terminal", "config.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					used[s.Sel.Name] = true
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	all := make(map[string]bool)
	fields(reflect.TypeFor[terminal.Config](), all)
	for field := range all {
		if _, name, _ := strings.Cut(field, "."); !used[name] {
			t.Errorf("nothing uses %s", field)
		}
	}
}

// Every configuration that a document shows is accepted as it stands.
func TestConfigurationsShownAreAccepted(t *testing.T) {
	shown := 0
	for _, file := range documents(t) {
		for _, b := range blocks(read(t, file)) {
			if b.info != "toml" {
				continue
			}
			shown++
			if _, err := terminal.ParseConfig([]byte(b.text), "/etc/onecard"); err != nil {
				t.Errorf("%s, line %d: %v", file, b.line, err)
			}
		}
	}
	if shown == 0 {
		t.Error("no document shows a configuration")
	}
}

// A block is a fenced block of a document.
type block struct {
	info string // what follows the fence, "console"
	line int    // of the fence, 1 first
	text string
}

func blocks(text string) []block {
	var found []block
	var current *block
	number := 0
	for line := range strings.Lines(text) {
		number++
		switch {
		case current == nil && strings.HasPrefix(line, "```"):
			current = &block{info: strings.TrimSpace(strings.TrimPrefix(line, "```")), line: number}
		case current != nil && strings.HasPrefix(line, "```"):
			found = append(found, *current)
			current = nil
		case current != nil:
			current.text += line
		}
	}
	return found
}

// filesTable is the table of docs/card.md, as the reference profile has it.
func filesTable() string {
	var b bytes.Buffer
	names := make(map[string]profile.Directory)
	for _, d := range profile.Reference().Directories() {
		names[d.DF] = d
	}
	last := ""
	for _, f := range profile.Files() {
		if f.DF != last {
			last = f.DF
			d := names[f.DF]
			how := fmt.Sprintf("selected by name `%X`", d.AID)
			if len(d.AID) == 0 {
				how = fmt.Sprintf("selected by identifier `%X`", d.FID[:])
			}
			fmt.Fprintf(&b, "\n**%s** %s · %s (%s)\n\n", f.DF, d.NameZH, d.NameEN, how)
			b.WriteString("| file | content | structure | versions | read | read, where 1.0 differs | write | elements |\n")
			b.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
		}
		old := ""
		if f.Since <= profile.V10 {
			old = access(f.ReadAccess(profile.V10))
		}
		read, write := "", ""
		if f.Until == 0 || f.Until >= profile.V20 {
			read, write = access(f.ReadAccess(profile.V30)), access(f.WriteAccess(profile.V30))
			if at2 := access(f.ReadAccess(profile.V20)); at2 != read {
				if old == at2 {
					old = ""
				}
				read = at2 + "; 3.0: " + read
			}
			if old == read {
				old = "" // a column of repetitions hides what differs
			}
		} else {
			write = access(f.WriteAccess(profile.V10))
		}
		fmt.Fprintf(&b, "| %s | %s · %s | %s | %s | %s | %s | %s | %s |\n",
			f.EF, f.NameZH, f.NameEN, structure(f), versions(f), read, old, write, elements(f))
	}
	return b.String()
}

func access(a profile.Access) string {
	switch {
	case len(a) == 0:
		return "card only"
	case a.Free():
		return "free"
	}
	return strings.ReplaceAll(a.String(), "|", "\\|")
}

func structure(f profile.File) string {
	text := f.Structure.String()
	if len(f.RecordSizes) > 0 {
		sizes := make([]string, len(f.RecordSizes))
		for i, s := range f.RecordSizes {
			sizes[i] = fmt.Sprint(s)
		}
		text += ", records of " + strings.Join(sizes, " or ") + " bytes"
	}
	if f.MinRecords > 0 {
		text += fmt.Sprintf(", at least %d", f.MinRecords)
	}
	if f.Size > 0 {
		text += fmt.Sprintf(", %d bytes", f.Size)
	}
	return text
}

func versions(f profile.File) string {
	switch {
	case f.Until != 0 && f.Until < profile.V20:
		return "1.0"
	case f.Since > profile.V10:
		return f.Since.String() + " on"
	}
	return "all"
}

func elements(f profile.File) string {
	list := f.Elements
	if len(list) == 0 {
		list = f.ElementsV1
	}
	var tags []string
	for i := 0; i < len(list); {
		n := 1
		for i+n < len(list) && list[i+n].Tag == list[i].Tag {
			n++
		}
		switch tag := list[i].Tag; {
		case tag == "-" || tag == "":
		case n > 1:
			tags = append(tags, fmt.Sprintf("%s (%d times)", tag, n))
		default:
			tags = append(tags, tag)
		}
		i += n
	}
	return strings.Join(tags, " ")
}

// quirksTable lists the ways in which a simulated card can misbehave.
func quirksTable() string {
	var b strings.Builder
	b.WriteString("\n| name | the card |\n| --- | --- |\n")
	for _, q := range cardsim.Quirks() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", q.Quirk, q.Description)
	}
	return b.String()
}

func TestGeneratedTables(t *testing.T) {
	text := read(t, "card.md")
	want := text
	for name, table := range map[string]string{"files of the profile": filesTable(), "quirks": quirksTable()} {
		begin, end := "<!-- begin: "+name+" -->\n", "<!-- end: "+name+" -->\n"
		before, rest, ok1 := strings.Cut(want, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok1 || !ok2 {
			t.Fatalf("card.md has no place for the table of %s", name)
		}
		want = before + begin + table + "\n" + end + after
	}
	if *update {
		if err := os.WriteFile("card.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if text != want {
		t.Error("card.md does not show the tables of profile and simulator; run go test ./docs -update")
	}
}

// The names that operations.md promises are the ones of the metrics.
func TestMetricsAreDescribed(t *testing.T) {
	name := regexp.MustCompile(`(?:Name: +|NewDesc\()"(onecard_[a-z_]+)"`)
	real := make(map[string]bool)
	for _, dir := range []string{"../terminal", "../cmd"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			for _, m := range name.FindAllStringSubmatch(read(t, path), -1) {
				real[m[1]] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	described := make(map[string]bool)
	for _, m := range regexp.MustCompile("`(onecard_[a-z_]+)`").FindAllStringSubmatch(read(t, "operations.md"), -1) {
		described[m[1]] = true
	}
	var wrong []string
	for n := range real {
		if !described[n] {
			wrong = append(wrong, n+" is not described")
		}
	}
	for n := range described {
		if !real[n] {
			wrong = append(wrong, n+" is described and does not exist")
		}
	}
	sort.Strings(wrong)
	for _, w := range wrong {
		t.Error("operations.md: ", w)
	}
	if len(real) == 0 {
		t.Error("no metric found in terminal/ and cmd/")
	}
}
