package main

import (
	"context"
	"errors"
	"fmt"

	"onecard/terminal"
	"onecard/terminal/api"
)

type settleCmd struct {
	File string `help:"Visit as JSON: kind, reader, department, doctor, diagnoses, lines, of a stay discharge. - is standard input." required:""`
	Yes  bool   `help:"Settle without asking: the payer has agreed to the trial. Refused while another settlement of the person is in doubt." short:"y"`
	// DespiteDoubt is a sentence of its own: it may charge a person twice.
	DespiteDoubt bool `help:"Settle although the outcome of another settlement of the person is unknown: it was looked into, and this is not the same."`
}

// Help says what a program learns from the exit status.
func (*settleCmd) Help() string {
	return "Exit status: 0 settled; 1 refused or given up, nothing is booked; 2 wrong command line; 3 the outcome is unknown, it may be booked: do not settle again."
}

// A visitFile is the file of onecard settle: what begins a visit, its lines, and
// how a stay ends.
type visitFile struct {
	terminal.VisitRequest
	Lines     []terminal.Line            `json:"lines"`
	Discharge *terminal.DischargeRequest `json:"discharge,omitempty"`
}

// days are the lines up to the end of every day that they are of, in the order
// of the file: a stay's fees go up day by day.
func (v *visitFile) days() [][]terminal.Line {
	if v.Kind != terminal.KindInpatient {
		return [][]terminal.Line{v.Lines}
	}
	var days [][]terminal.Line
	for i := range v.Lines {
		if i+1 == len(v.Lines) || v.Lines[i+1].Date != v.Lines[i].Date {
			days = append(days, v.Lines[:i+1])
		}
	}
	return append(days, v.Lines)[:max(len(days), 1)]
}

// maxVisitFile bounds the file.
const maxVisitFile = 1 << 20

func readVisit(a *app, name string) (visitFile, error) {
	var v visitFile
	text, err := a.readJSON(name, maxVisitFile)
	if err != nil {
		return v, err
	}
	if err := decodeFile(name, text, &v); err != nil {
		return v, err
	}
	if len(v.Lines) == 0 {
		return v, &fileError{name, "lines: there is no fee line; a visit is settled with one or more"}
	}
	return v, nil
}

// Run plays the visit. It asks before it settles, or takes --yes.
func (c *settleCmd) Run(a *app) error {
	file, err := readVisit(a, c.File)
	if err != nil {
		return err
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	visit, err := client.OpenVisit(a.ctx, file.VisitRequest)
	if err != nil {
		return err
	}
	id := visit.ID
	giveUp := func(cause error) error {
		if err := client.Abandon(context.WithoutCancel(a.ctx), id); err != nil {
			fmt.Fprintf(a.errs, "%s %s: %v\n", a.say("未能撤销就诊", "could not give up the visit"), id, err)
		}
		return cause
	}
	if visit.Earlier != nil && c.Yes && !c.DespiteDoubt {
		fmt.Fprintf(a.errs, "%s\n", a.say("此人另有一笔结算结果未知，未结算。请等待：onecard 会自动查询（onecard journal --outcome unknown）；确认不是同一笔费用的，加 --despite-doubt 重试。",
			"Another settlement of this person is in doubt; nothing was settled. Wait: onecard asks by itself (onecard journal --outcome unknown). If it was looked into and is not the same, settle with --despite-doubt."))
		return giveUp(doubt(visit))
	}
	for _, lines := range file.days() {
		if visit, err = client.SetLines(a.ctx, id, terminal.LinesRequest{Lines: lines}); err != nil {
			return giveUp(err)
		}
		if visit, err = client.Trial(a.ctx, id); err != nil {
			return giveUp(err)
		}
	}
	if visit.Kind == terminal.KindInpatient {
		if visit, err = c.discharge(a, client, id, file.Discharge); err != nil {
			return giveUp(err)
		}
	}
	if !a.JSON {
		a.printSplit(visit)
	}
	if visit.Earlier != nil {
		fmt.Fprintf(a.errs, "%s %s (%s)\n", a.say("注意：此人另有一笔结算结果未知，请先核对，避免重复收费。", "Note: another settlement of this person is in doubt; look at it first, or the person may pay twice."), visit.Earlier.Code, visit.Earlier.Detail)
	}
	if !c.Yes {
		if visit.Earlier != nil && !c.DespiteDoubt && !a.confirmDoubt() || !a.confirm(visit) {
			return giveUp(silent{errors.New("not agreed")})
		}
	}
	// From here on nothing is cut off: a settlement that was begun has to end.
	visit, err = client.Settle(context.WithoutCancel(a.ctx), visit.ID, terminal.Agreed{Total: visit.Trial.Total, Cash: visit.Trial.Cash})
	if err != nil {
		return c.notSettled(a, client, id, err, giveUp)
	}
	a.settled(visit)
	return nil
}

// settled prints the receipt.
func (a *app) settled(visit terminal.Visit) {
	if a.JSON {
		a.json(visit)
		return
	}
	r := visit.Receipt
	a.print("%s %s  %s  %s %s\n", a.say("结算编号", "Settlement"), r.SettlementID, r.Time, a.say("个人账户余额", "account balance"), r.Balance)
}

// doubt is the failure that another settlement of the visit's person makes.
func doubt(visit terminal.Visit) error {
	return fmt.Errorf("settle: %w", &api.RemoteError{Fault: *visit.Earlier})
}

// discharge ends a stay and asks once more what it comes to.
func (c *settleCmd) discharge(a *app, client *api.Client, id string, how *terminal.DischargeRequest) (terminal.Visit, error) {
	if how == nil {
		how = &terminal.DischargeRequest{}
	}
	if visit, err := client.Discharge(a.ctx, id, *how); err != nil {
		return visit, err
	}
	return client.Trial(a.ctx, id)
}

// notSettled says what is known of a settlement that failed. What is certainly
// not booked is given up; what may be booked is left as it is and said loudly.
func (c *settleCmd) notSettled(a *app, client *api.Client, id string, cause error, giveUp func(error) error) error {
	visit, err := client.Visit(context.WithoutCancel(a.ctx), id)
	switch {
	case err != nil || visit.State == terminal.VisitSettling:
		fmt.Fprintf(a.errs, "%s\n", a.say("结算结果未知：不要再次结算；onecardd 恢复后查看 onecard journal。", "The outcome of the settlement is unknown: do not settle again; look at onecard journal once onecardd answers."))
		return inDoubt{cause}
	case visit.State == terminal.VisitUnknown:
		fmt.Fprintf(a.errs, "%s\n", a.say("结算结果未知：不要再次结算；查看 onecard journal --outcome unknown。", "The outcome of the settlement is unknown: do not settle again; look at onecard journal --outcome unknown."))
		return inDoubt{cause}
	case visit.State == terminal.VisitSettled && visit.Receipt != nil: // found out meanwhile
		a.settled(visit)
		return nil
	case visit.State == terminal.VisitTried:
		return giveUp(cause)
	}
	return cause
}

// confirmDoubt asks whether what is in doubt was looked into.
func (a *app) confirmDoubt() bool {
	fmt.Fprintf(a.errs, "%s [y/N] ", a.say("已核对过，这不是同一笔费用，仍要结算吗？", "Was it looked into, is this not the same charge, and is it to be settled all the same?"))
	return a.agrees()
}

// confirm asks the payer's consent.
func (a *app) confirm(v terminal.Visit) bool {
	fmt.Fprintf(a.errs, "%s %s %s [y/N] ", a.say("应付现金", "To pay"), v.Trial.Cash, a.say("元，付款人同意结算吗？", "yuan; does the payer agree?"))
	return a.agrees()
}

// agrees reads the answer to a question; it ends with the caller's Ctrl-C.
func (a *app) agrees() bool {
	said := make(chan string, 1)
	go func() { // ends with standard input, or with the process
		var answer string
		if _, err := fmt.Fscanln(a.in, &answer); err != nil {
			answer = ""
		}
		said <- answer
	}()
	select {
	case answer := <-said:
		return answer == "y" || answer == "Y" || answer == "是"
	case <-a.ctx.Done():
		fmt.Fprintln(a.errs)
		return false
	}
}

func (a *app) printSplit(v terminal.Visit) {
	a.print("%s %s  %s  %s\n", a.say("就诊", "Visit"), v.ID, v.Holder.Name, v.MdtrtID)
	for _, l := range v.Lines {
		a.print("  %-3s %-20s %8s x %8s = %10s\n", l.SN, l.Name, l.Price, l.Quantity, l.Amount)
	}
	t := v.Trial
	row := func(zh, en, yuan string) { a.print("  %s %s\n", a.say(zh, en), yuan) }
	row("费用总额", "total", t.Total)
	row("基金支付", "insurance fund pays", t.Fund)
	row("个人账户支付", "personal account pays", t.Account)
	row("应付现金", "to pay now", t.Cash)
}
