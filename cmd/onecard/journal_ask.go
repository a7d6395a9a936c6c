package main

import (
	"fmt"
	"strings"
	"time"

	"onecard/terminal"
	"onecard/terminal/api"
)

type journalAskCmd struct {
	ID int64 `arg:"" help:"Number of the entry."`
}

// Run asks the centre about an entry.
func (c *journalAskCmd) Run(a *app) error {
	return a.showEntry(func(client *api.Client) (terminal.EntryDetail, error) { return client.Ask(a.ctx, c.ID) })
}

// inquiry prints what was asked about an entry, what was answered, and what a
// person is to do.
func (a *app) inquiry(q *terminal.Inquiry) {
	if q == nil {
		return
	}
	for _, n := range q.Attempts {
		by := ""
		if n.By != "" {
			by = " (" + n.By + ")"
		}
		a.print("%s %d: %s %s%s\n", a.say("查询", "attempt"), n.N, n.Time.In(chinaTime).Format(time.DateTime), a.text(n.Text), by)
		for _, x := range n.Asked {
			parts := []string{x.Transaction}
			for _, more := range []string{x.About, x.SettlementID, x.Total} {
				if more != "" {
					parts = append(parts, more)
				}
			}
			why := ""
			if x.Fault != nil {
				why = fmt.Sprintf(" %s %s", x.Fault.Code, a.text(x.Fault.Text))
			}
			a.print("  %s: %s%s\n", strings.Join(parts, " "), a.text(x.Text), why)
		}
	}
	next := ""
	if q.Next != nil {
		next = " " + a.say("下次查询", "next attempt") + " " + q.Next.In(chinaTime).Format(time.DateTime)
	}
	a.print("%s: %s%s\n", a.say("查询状态", "inquiry"), a.text(q.Text), next)
	if q.Todo != nil {
		a.print("%s: %s\n", a.say("请处理", "to do"), a.text(*q.Todo))
	}
}
