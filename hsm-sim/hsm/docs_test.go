package hsm

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// rows returns the cells of the table under a heading of docs/hsm-protocol.md
// whose first header cell is column.
func rows(t *testing.T, heading, column string) [][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/hsm-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	_, section, ok = strings.Cut(section, "\n| "+column+" |")
	if !ok {
		t.Fatalf("no table %q in section %q", column, heading)
	}
	section, _, _ = strings.Cut(section, "\n\n")
	_, section, _ = strings.Cut(section, "\n") // the rest of the heading
	var table [][]string
	for _, line := range strings.Split(strings.TrimSpace(section), "\n")[1:] {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " `")
		}
		table = append(table, cells)
	}
	return table
}

func TestStatusesAreDocumented(t *testing.T) {
	table := rows(t, "Status", "status")
	documented := make(map[string]bool)
	for _, row := range table {
		documented[row[0]+" "+row[1]] = true
	}
	for s := range statusTexts {
		if !documented[s.String()] {
			t.Errorf("%s is not documented so", s)
		}
	}
	if len(table) != len(statusTexts) {
		t.Errorf("%d statuses documented, there are %d", len(table), len(statusTexts))
	}
}

func TestFieldsAreDocumented(t *testing.T) {
	table := rows(t, "Fields", "tag")
	documented := make(map[string]string)
	for _, row := range table {
		documented[row[0]] = row[2]
	}
	for tag, size := range fieldSizes {
		want := fmt.Sprint(size[0])
		if size[0] != size[1] {
			want += ".." + fmt.Sprint(size[1])
		}
		if got := documented[fmt.Sprintf("%04X", uint16(tag))]; got != want {
			t.Errorf("field %04X is of %s bytes, documented as %q", uint16(tag), want, got)
		}
	}
	if len(table) != len(fieldSizes) {
		t.Errorf("%d fields documented, there are %d", len(table), len(fieldSizes))
	}
}

func TestCommandsAreDocumented(t *testing.T) {
	table := rows(t, "Commands", "command")
	if len(table) != len(specs) {
		t.Errorf("%d commands documented, there are %d", len(table), len(specs))
	}
	for _, row := range table {
		s, ok := specs[Command([]byte(row[0]))]
		if !ok {
			t.Errorf("%s is documented, but is no command", row[0])
			continue
		}
		for i, m := range []message{s.request, s.response} {
			var want []string
			for tag, n := range m {
				text := fmt.Sprintf("%04X", uint16(tag))
				switch {
				case n == many:
					text += "*"
				case n == optional:
					text += "?"
				}
				want = append(want, text)
			}
			got := strings.Fields(row[2+i])
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s: documented %v, in the code %v", row[0], got, want)
			}
		}
	}
}
