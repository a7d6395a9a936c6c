package settlement

import (
	_ "embed"
	"strings"
)

// waitingTSV lists the uploads that may wait in the outbox, and which of them
// may be sent again when an answer was lost: no text promises what a second one
// does, so only those that name what they are about and replace it.
//
//go:embed waiting.tsv
var waitingTSV string

// MayWait says whether a transaction may wait in the outbox, and whether it may
// be repeated where its answer was lost. What books may not wait there: it goes
// through the journal, and nobody leaves the desk before it is decided.
func MayWait(infno string) (wait, repeat bool) {
	if infno == "" || strings.ContainsAny(infno, "\t\n") {
		return false, false
	}
	_, rest, found := strings.Cut(waitingTSV, "\n"+infno+"\t")
	return found, found && strings.HasPrefix(rest, "Y\t")
}
