package settlement

import (
	"fmt"
	"strings"
)

// Markdown prints the life cycle as the tables of docs/settlement.md.
func (m *Machine) Markdown() string {
	var b strings.Builder
	b.WriteString("| state | step | sent | stored before it leaves | done | refused | not known | undoes |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range m.rules {
		during, refused, unknown := string(r.During), string(r.Refused), string(r.Unknown)
		if r.Infno == "" {
			during, refused, unknown = "", "", ""
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", r.From, r.Step, r.Infno, during, r.Done, refused, unknown, r.Undoes)
	}
	b.WriteString("\n| after a crash, or in doubt | was on its way | way out | ask | it was done | it was not |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, d := range m.doubts {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", d.State, d.Step, recoveries[d.Recovery], strings.Join(d.Ask, ", "), d.Done, d.Absent)
	}
	return b.String()
}

var recoveries = map[Recovery]string{
	SendAgain:     "take the step again",
	AskFirst:      "look it up first",
	WithdrawFirst: "take all lines back, then send them anew",
	ByJournal:     "the journal's entry decides; nothing is sent",
}

// DOT prints the life cycle as a graph: steps that book in bold, steps that
// undo in red and dashed, what happens here alone in grey.
func (m *Machine) DOT() string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n", m.Kind)
	for _, d := range m.doubts {
		fmt.Fprintf(&b, "  %s [style=\"rounded,dashed\"];\n", d.State)
	}
	drawn := make(map[string]bool)
	edge := func(from, to State, label, style string) {
		if line := fmt.Sprintf("  %s -> %s [label=%q%s];\n", from, to, label, style); !drawn[line] {
			drawn[line] = true
			b.WriteString(line)
		}
	}
	for _, r := range m.rules {
		style := ""
		switch {
		case r.Infno == "":
			style = ", color=gray"
		case r.Undoes != "":
			style = ", color=red, style=dashed"
		case r.Step == StepSettle:
			style = ", style=bold"
		}
		label := strings.TrimSpace(string(r.Step) + " " + r.Infno)
		if r.During == r.From {
			edge(r.From, r.Done, label, style)
			continue
		}
		edge(r.From, r.During, label, style)
		if r.During != r.Done {
			edge(r.During, r.Done, "done", style)
		}
		if r.Unknown != r.During {
			edge(r.During, r.Unknown, "not known", ", style=dotted")
		}
	}
	for _, d := range m.doubts {
		if d.Recovery == ByJournal || d.Recovery == AskFirst {
			edge(d.State, d.Absent, "not done", ", style=dotted")
		}
		if d.State == StateUnknown || d.State == StateRefundDoubt {
			edge(d.State, d.Done, "was done", ", style=dotted")
		}
	}
	b.WriteString("}\n")
	return b.String()
}
