package settlement

import (
	"strings"
	"testing"
)

// However many entries a journal has: what is in doubt is found by its small
// indexes.
func TestDoubtIsFoundByIndex(t *testing.T) {
	j := newJournal(t)
	for name, x := range map[string]struct {
		query, index string
		args         []any
	}{
		"unknowns":  {selectUnknowns, "entry_unresolved", []any{10}},
		"undoing":   {selectUndoing, "entry_undoing", []any{1}},
		"by msgid":  {`SELECT ` + columns + ` FROM entry WHERE msgid = ?`, "sqlite_autoindex_entry", []any{"x"}},
		"clearings": {selectAnswered, "INTEGER PRIMARY KEY", []any{"2207", 20}},
	} {
		rows, err := j.read.Query(`EXPLAIN QUERY PLAN `+x.query, x.args...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		all := strings.Join(plan, "; ")
		if !strings.Contains(all, x.index) || strings.Contains(all, "SCAN entry") && !strings.Contains(all, "SCAN entry USING") || strings.Contains(all, "SCAN e;") {
			t.Errorf("%s: %s", name, all)
		}
	}
}
