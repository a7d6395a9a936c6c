package settlement

import (
	"strings"
	"testing"
)

// What a settlement asks of the journal is found by indexes, however long it is:
// a journal of ten million entries has 40 GB.
func TestNoQuestionReadsTheWholeJournal(t *testing.T) {
	j := newJournal(t)
	for name, query := range map[string]string{
		"before an intention":   inTheWay,
		"before a conclusion":   readEntry,
		"the visits' states":    `SELECT min(v.state) FROM visit v WHERE v.state > ?1`,
		"the latest of a state": `SELECT id FROM visit WHERE state = ?1 ORDER BY updated_at DESC, id LIMIT ?2`,
		"a number near another": heldNear,
		"a number of a msgid":   heldByMsgID,
		"what is unresolved":    `SELECT id FROM entry WHERE outcome = 'intended' AND` + unresolved,
	} {
		rows, err := j.read.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+query, "a", "b", "c", "d")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer rows.Close()
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(step, "SCAN entry") && !strings.Contains(step, "INDEX entry_unresolved") || strings.HasPrefix(step, "SCAN visit") || strings.HasPrefix(step, "SCAN e ") || step == "SCAN e" {
				t.Errorf("%s: %s", name, step)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
}
