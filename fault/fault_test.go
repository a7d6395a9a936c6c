package fault

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var update = flag.Bool("update", false, "write docs/errors.md anew")

const manual = "../docs/errors.md"

// The columns of faults.tsv.
const columns = "code\tname\thttp\tzh\ten\tcause\tcure_zh\tcure_en"

func TestTableIsWellFormed(t *testing.T) {
	rows := strings.Split(table, "\n")
	if rows[len(rows)-1] != "" {
		t.Error("the last row does not end with a newline")
	}
	rows = rows[:len(rows)-1]
	if rows[0] != columns {
		t.Fatalf("columns %q, want %q", rows[0], columns)
	}
	form := regexp.MustCompile(`^OC-[1-9][0-9]{3}$`)
	seen := make(map[string]int)
	last := ""
	for i, row := range rows[1:] {
		line := i + 2
		f := strings.Split(row, "\t")
		if len(f) != 8 {
			t.Errorf("line %d: %d columns, want 8", line, len(f))
			continue
		}
		for c, text := range f {
			if text == "" || text != strings.TrimSpace(text) {
				t.Errorf("line %d: column %d is empty or padded: %q", line, c+1, text)
			}
		}
		if !form.MatchString(f[0]) {
			t.Errorf("line %d: %q is not a code", line, f[0])
		}
		if f[0] <= last {
			t.Errorf("line %d: %s does not follow %s in order", line, f[0], last)
		}
		last = f[0]
		for _, key := range []string{f[0], f[1], f[3], f[4]} {
			if before, twice := seen[key]; twice {
				t.Errorf("line %d: %q stands in line %d already", line, key, before)
			}
			seen[key] = line
		}
		for _, zh := range []string{f[3], f[6]} {
			if !strings.ContainsFunc(zh, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
				t.Errorf("line %d: %q is not Chinese", line, zh)
			}
		}
		for _, en := range []string{f[4], f[7]} { // a cause may name an application in Chinese
			if strings.ContainsFunc(en, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
				t.Errorf("line %d: %q is not English", line, en)
			}
		}
		for _, sentence := range []string{f[3], f[4], f[5], f[6], f[7]} {
			if !strings.HasSuffix(sentence, ".") && !strings.HasSuffix(sentence, "。") {
				t.Errorf("line %d: %q does not end as a sentence", line, sentence)
			}
		}
	}
}

func TestEntries(t *testing.T) {
	entries := Entries()
	if len(entries) < 70 {
		t.Fatalf("%d entries: the table was cut", len(entries))
	}
	for _, e := range entries {
		if http.StatusText(e.HTTP) == "" || e.HTTP < 400 {
			t.Errorf("%s: HTTP status %d is not one of a failure", e.Code, e.HTTP)
		}
		if got, ok := Lookup(e.Code); !ok || got.Name != e.Name {
			t.Errorf("Lookup(%s) = %q, %v", e.Code, got.Name, ok)
		}
		if _, ok := groupOf(e.Code); !ok {
			t.Errorf("%s: its hundred has no heading in %s", e.Code, manual)
		}
	}
	if _, ok := Lookup("OC-0000"); ok {
		t.Error("Lookup finds a code that the table does not have")
	}
	// What a caller does with its copy must not reach the catalogue.
	entries[0].Name = "changed"
	if Entries()[0].Name == "changed" {
		t.Error("Entries hands out the catalogue itself")
	}
}

func TestOf(t *testing.T) {
	noCard := New(NoCard, "no card in the reader")
	for _, c := range []struct {
		name string
		err  error
		want Code
	}{
		{"itself", noCard, NoCard},
		{"wrapped", fmt.Errorf("open r1: %w", noCard), NoCard},
		{"outermost code wins", fmt.Errorf("%w: %w", New(ReaderBusy, "busy"), noCard), ReaderBusy},
		{"joined", errors.Join(errors.New("close"), noCard), NoCard},
		{"without a code", errors.New("disk on fire"), Internal},
		{"a code that the catalogue lacks", New("OC-9999", "from a newer version"), Internal},
		{"nil", nil, Internal},
	} {
		if got := Of(c.err).Code; got != c.want {
			t.Errorf("%s: Of = %s, want %s", c.name, got, c.want)
		}
	}
	if !errors.Is(fmt.Errorf("read: %w", noCard), noCard) || errors.Is(noCard, New(NoCard, "no card in the reader")) {
		t.Error("errors.Is does not compare by the variable that New made")
	}
	if noCard.Error() != "no card in the reader" {
		t.Errorf("Error() = %q", noCard.Error())
	}
}

// constants parses codes.go: name to code and comment, in order.
func constants(t *testing.T) (names []string, code, comment map[string]string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	code, comment = make(map[string]string), make(map[string]string)
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			value := spec.(*ast.ValueSpec)
			name := value.Names[0].Name
			names = append(names, name)
			code[name] = strings.Trim(value.Values[0].(*ast.BasicLit).Value, `"`)
			comment[name] = strings.TrimSpace(value.Comment.Text())
		}
	}
	return names, code, comment
}

func TestConstantsMatchTable(t *testing.T) {
	names, code, comment := constants(t)
	entries := Entries()
	if len(names) != len(entries) {
		t.Errorf("codes.go has %d constants, faults.tsv %d rows", len(names), len(entries))
	}
	for i, e := range entries {
		if i < len(names) && names[i] != e.Name {
			t.Fatalf("constant %d is %s, row %d is %s: keep one order", i+1, names[i], i+1, e.Name)
		}
		if code[e.Name] != string(e.Code) {
			t.Errorf("%s is %q in codes.go and %q in faults.tsv", e.Name, code[e.Name], e.Code)
		}
		if comment[e.Name] != e.Text[English] {
			t.Errorf("%s: comment %q, table %q", e.Name, comment[e.Name], e.Text[English])
		}
	}
}

// A code that nothing can give promises an operator a page for a failure that
// never has this number.
func TestEveryCodeIsUsed(t *testing.T) {
	names, _, _ := constants(t)
	used := make(map[string]bool)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata" || path == "../fault"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if p, ok := s.X.(*ast.Ident); ok && p.Name == "fault" {
					used[s.Sel.Name] = true
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	used["Internal"] = true // what Of answers for an error without a code
	for _, name := range names {
		if !used[name] {
			t.Errorf("no package gives fault.%s: take it out or give it", name)
		}
	}
}

// The groups of the manual, by the first two digits of the code.
var groups = []struct{ hundred, title, text string }{
	{"10", "Readers", "The card reader and the PC/SC service between it and onecard."},
	{"11", "The card in the reader", "Whether a card is there, and whether it speaks."},
	{"12", "What is on the card", "The card speaks, but it is not what is expected or refuses."},
	{"13", "PIN", "The holder's PIN and the PIN pad."},
	{"14", "Keys and authentication", "The HSM, and whether the card is genuine."},
	{"15", "The medical account", "Money on the card: debit, load, proof."},
	{"16", "Certificates", "Signatures of 3.0 cards."},
	{"20", "Requests before they leave", "onecard checks every request against the national tables. Nothing of these was sent."},
	{"21", "The line to the insurance centre", "Whether a request left and an answer came. The difference between OC-2101 (nothing was sent) and OC-2102 (the outcome is unknown) decides whether a step may be repeated."},
	{"22", "Answers of the insurance centre", "The centre answered, but no, or not what onecard may book."},
	{"23", "Visit and journal", "The steps of a visit, and the journal that keeps every settlement."},
	{"24", "What waits", "The outbox keeps what may wait until the centre takes it; docs/operations.md says what to do about a dead letter."},
	{"25", "Reconciliation", "What a comparison of the journal with the centre's books finds; docs/reconciliation.md says what to do about each difference."},
	{"30", "Calls to the service", "For programs that call the API; a person at the counter page meets them only when the page is stale."},
	{"31", "Configuration", "onecardd does not start; the message names key and line."},
	{"32", "This machine", ""},
	{"33", "Simulators", "Only where simulators are used."},
}

func groupOf(c Code) (int, bool) {
	for i, g := range groups {
		if strings.HasPrefix(string(c), "OC-"+g.hundred) {
			return i, true
		}
	}
	return 0, false
}

func errorsManual() []byte {
	var b bytes.Buffer
	b.WriteString(`# What can go wrong

Every failure that a person can meet has a number that never changes its
meaning. The counter page, the tool and the API show the number with a sentence
in Chinese or English and the way out; the log carries the number in the field
` + "`code`" + `. Search this page for the number.

This page is made from fault/faults.tsv: ` + "`go test ./fault -update`" + ` writes it,
and ` + "`make test`" + ` fails where the two differ.
`)
	current := -1
	for _, e := range Entries() {
		if i, ok := groupOf(e.Code); ok && i != current {
			current = i
			fmt.Fprintf(&b, "\n## %s: %s\n", "OC-"+groups[i].hundred+"nn", groups[i].title)
			if groups[i].text != "" {
				fmt.Fprintf(&b, "\n%s\n", groups[i].text)
			}
		}
		fmt.Fprintf(&b, "\n### %s\n\n", e.Code)
		fmt.Fprintf(&b, "**%s**  \n**%s**\n\n", e.Text[Chinese], e.Text[English])
		fmt.Fprintf(&b, "* Cause: %s\n", e.Cause)
		fmt.Fprintf(&b, "* What to do: %s\n", e.Remedy[English])
		fmt.Fprintf(&b, "* 处理办法：%s\n", e.Remedy[Chinese])
		fmt.Fprintf(&b, "* HTTP status of the API: %d. In the source: `fault.%s`.\n", e.HTTP, e.Name)
	}
	return b.Bytes()
}

func TestManualIsInStep(t *testing.T) {
	want := errorsManual()
	if *update {
		if err := os.WriteFile(manual, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what faults.tsv says; run go test ./fault -update", manual)
	}
}
