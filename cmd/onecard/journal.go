package main

import (
	"fmt"
	"strings"
	"time"

	"onecard/terminal"
)

type journalCmd struct {
	List    journalListCmd    `cmd:"" default:"withargs" help:"List the settlements of a day with their outcome."`
	Show    journalShowCmd    `cmd:"" help:"Show one entry with request and answer, decrypted by onecardd."`
	Resolve journalResolveCmd `cmd:"" help:"Decide an entry of unknown outcome as the insurance centre has it, by one of --done, --refused and --acknowledge."`
	Ask     journalAskCmd     `cmd:"" help:"Ask the insurance centre now what became of an entry of unknown outcome."`
	Export  journalExportCmd  `cmd:"" help:"Write the entries of some days, the earliest first, as CSV or JSON lines."`
	Verify  journalVerifyCmd  `cmd:"" help:"Have onecardd read the whole journal and recompute its chain."`
	Backup  journalBackupCmd  `cmd:"" help:"Have onecardd write a verified copy of the journal into its state directory."`
}

type journalListCmd struct {
	Day     string `help:"Day in China, yyyy-MM-dd, or all. Default: today."`
	Outcome string `help:"Only this outcome: intended, done, refused or unknown."`
	Limit   int    `help:"At most so many entries." default:"200"`
}

// chinaTime is the zone of the days of the journal.
var chinaTime = time.FixedZone("CST", 8*60*60)

// Run lists the journal of a day.
func (c *journalListCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	day, err := client.Journal(a.ctx, c.Day, c.Outcome, c.Limit)
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(day)
		return nil
	}
	a.print("%s %s\n", a.say("结算日志", "Journal of"), day.Day)
	for _, e := range day.Entries {
		a.print("%6d  %s  %s  %-8s  %10s  %s %s\n", e.ID, e.Opened.In(chinaTime).Format("15:04:05"), e.Visit, a.outcomeOf(e), e.Total, e.Holder, settlementOrFault(a, e))
	}
	t := day.Totals
	a.print("%s %d, %s %d, %s %d; %s %s: %s %s, %s %s, %s %s\n",
		a.outcome("done"), t.Done, a.outcome("refused"), t.Refused, a.outcome("unknown"), t.Unknown,
		a.say("已结算合计", "settled"), t.Total, a.say("基金", "fund"), t.Fund, a.say("个人账户", "account"), t.Account, a.say("现金", "cash"), t.Cash)
	return nil
}

func settlementOrFault(a *app, e terminal.Entry) string {
	parts := []string{}
	if e.SettlementID != "" {
		parts = append(parts, e.SettlementID)
	}
	if e.Fault != nil {
		parts = append(parts, fmt.Sprintf("%s %s", e.Fault.Code, a.text(e.Fault.Text)))
	}
	return strings.Join(parts, " ")
}

// outcomeOf says of a settlement that is done whether it is a refund, or was
// refunded.
func (a *app) outcomeOf(e terminal.Entry) string {
	switch {
	case e.Outcome == "done" && e.Undoes != 0:
		return a.say("退费", "refund")
	case e.Outcome == "done" && e.ReversedBy != 0:
		return a.say("已退费", "refunded")
	}
	return a.outcome(e.Outcome)
}

func (a *app) outcome(o string) string {
	switch o {
	case "intended":
		return a.say("处理中", "intended")
	case "done":
		return a.say("已结算", "done")
	case "refused":
		return a.say("被拒绝", "refused")
	case "unknown":
		return a.say("未知", "unknown")
	}
	return o
}
