package main

import (
	"errors"
	"fmt"
	"os"

	"onecard/settlement"
	"onecard/terminal"
	"onecard/terminal/api"
)

type reconcileCmd struct {
	Day        string `help:"Day in China, yyyy-MM-dd, today or yesterday. Default: yesterday." xor:"period"`
	Month      string `help:"Month, yyyy-MM, instead of a day." xor:"period"`
	Show       bool   `help:"Show the latest comparison; compare nothing."`
	CSV        string `name:"csv" placeholder:"FILE" help:"Write it as CSV, for Excel, too. - is standard output."`
	XLSX       string `name:"xlsx" placeholder:"FILE" help:"Write it as an Excel workbook, too."`
	Execute    int    `placeholder:"N" help:"Have difference N of the latest comparison dealt with." xor:"execute"`
	ExecuteAll bool   `help:"Have every difference of the latest comparison dealt with that needs no looking up by a person." xor:"execute"`
	Action     string `help:"With --execute: book, refund, void or ask. Default: the one proposed."`
	Reason     string `help:"Why it is executed; kept with the difference and in the journal." default:"onecard reconcile"`
	Area       string `help:"With --execute: the person's place of insurance (insuplc_admdvs), for a refund of what is in no journal."`
}

// Run compares, or has something done about what was compared. The exit status
// is 0 where nothing is left open and 1 where something is.
func (c *reconcileCmd) Run(a *app) error {
	for _, name := range []string{c.CSV, c.XLSX} {
		if name != "" && name != "-" {
			if err := writable(name); err != nil {
				return err
			}
		}
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	period := c.Day + c.Month
	if period == "" || period == "today" || period == "yesterday" {
		state, err := client.State(a.ctx) // the daemon's clock counts
		if err != nil {
			return err
		}
		back := -1
		if period == "today" {
			back = 0
		}
		period = settlement.FormatDate(state.Time.AddDate(0, 0, back))
	}
	d, err := c.report(a, client, period)
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(d)
	} else if c.CSV != "-" {
		a.reconciliation(d)
	}
	for _, file := range [][2]string{{"csv", c.CSV}, {"xlsx", c.XLSX}} {
		if file[1] == "" {
			continue
		}
		content, err := client.ReconciliationTable(a.ctx, period, file[0], a.say("zh", "en"))
		if err == nil && file[1] == "-" {
			_, err = a.out.Write(content)
		} else if err == nil {
			if err = os.WriteFile(file[1], content, 0o600); err != nil {
				err = notWritable(file[1], err)
			}
		}
		if err != nil {
			return fmt.Errorf("write the %s: %w", file[0], err)
		}
	}
	if d.State == terminal.ReportNone || d.Open > 0 {
		return silent{errors.New("differences")}
	}
	return nil
}

// report compares or executes, and returns how the books stand then.
func (c *reconcileCmd) report(a *app, client *api.Client, period string) (terminal.Reconciliation, error) {
	if !c.Show && c.Execute == 0 && !c.ExecuteAll {
		return client.Reconcile(a.ctx, period)
	}
	d, err := client.Reconciliation(a.ctx, period)
	if err != nil || c.Show {
		return d, err
	}
	order := terminal.ReconcileOrder{Action: c.Action, Reason: c.Reason, Area: c.Area}
	if c.Execute != 0 {
		return client.ExecuteReconciliation(a.ctx, d.ID, c.Execute, order)
	}
	return c.executeAll(a, client, d, order)
}

// executeAll has the proposed actions done, but for those that a person has to
// look up. One that fails does not keep the others from being done.
func (c *reconcileCmd) executeAll(a *app, client *api.Client, d terminal.Reconciliation, order terminal.ReconcileOrder) (terminal.Reconciliation, error) {
	var failed error
	id := d.ID
	for _, x := range d.Differences {
		if len(x.Choices) == 0 || x.Proposed.Action == string(settlement.ActAsk) {
			continue
		}
		order.Action = x.Proposed.Action
		after, err := client.ExecuteReconciliation(a.ctx, id, x.N, order)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("row %d: %w", x.N, err))
			continue
		}
		d = after
	}
	return d, failed
}

// reconciliation prints a comparison.
func (a *app) reconciliation(d terminal.Reconciliation) {
	a.print("%s %s: %s\n", a.say("对账", "Reconciliation of"), d.Period, a.text(d.Text))
	for _, l := range d.Totals {
		if l.Asked && l.Balanced && l.Ours.Count == 0 {
			continue
		}
		verdict := a.say("不平", "differs")
		switch {
		case !l.Asked:
			verdict = a.say("未对总账", "not asked")
		case l.Balanced:
			verdict = a.say("平", "balanced")
		}
		a.print("  %s %s %s %s: %s %d, %s %s, %s %s, %s %s\n", l.Insurance.Code, l.Clearing.Code, l.Office, verdict, a.say("笔数", "count"), l.Ours.Count,
			a.say("总额", "total"), l.Ours.Total, a.say("基金", "fund"), l.Ours.Fund, a.say("个人账户", "account"), l.Ours.Account)
		if l.Words != "" && !l.Balanced {
			a.print("      %s\n", l.Words)
		}
	}
	for _, x := range d.Differences {
		a.print("%4d  %s  %s  [%s]\n", x.N, a.text(x.KindText), a.text(x.Text), a.text(x.StateText))
		if x.Settlement != "" || x.MsgID != "" {
			a.print("      setl_id %s  msgid %s", orDash(x.Settlement), orDash(x.MsgID))
			if x.Entry != 0 {
				a.print("  %s %d", a.say("日志", "journal"), x.Entry)
			}
			a.print("\n")
		}
		for _, side := range []struct {
			name   string
			amount *terminal.ReconcileAmounts
		}{{a.say("本机", "ours"), x.Ours}, {a.say("中心", "theirs"), x.Theirs}} {
			if side.amount != nil {
				a.print("      %s: %s %s, %s %s, %s %s\n", side.name, a.say("总额", "total"), side.amount.Total, a.say("基金", "fund"), side.amount.Fund, a.say("个人账户", "account"), side.amount.Account)
			}
		}
		if len(x.Choices) > 0 {
			a.print("      %s: %s (%s)\n", a.say("建议", "proposed"), a.text(x.Proposed.Text), x.Proposed.Action)
		}
		if e := x.Executed; e != nil {
			a.print("      %s: %s, %s: %s\n", a.say("已执行", "executed"), a.text(e.Text), e.Who, e.Reason)
			if e.Fault != nil {
				a.print("      %s %s\n", e.Fault.Code, a.text(e.Fault.Text))
			}
		}
	}
	for _, day := range d.Days {
		a.print("  %s  %s  %s %d\n", day.Period, a.text(day.Text), a.say("待处理", "open"), day.Open)
	}
	if d.Others != nil {
		a.print("  %s: %d, %s\n", a.say("其他窗口", "of other desks"), d.Others.Count, d.Others.Total)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
