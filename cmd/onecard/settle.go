package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"onecard/fault"
	"onecard/terminal"
	"onecard/terminal/api"
)

type settleCmd struct {
	File string `help:"Visit as JSON: kind, reader, department, doctor, diagnoses, lines, of a stay discharge. - is standard input." required:""`
	Yes  bool   `help:"Settle without asking: the payer has agreed to the trial." short:"y"`
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

var errVisitFile = fault.New(fault.BodyInvalid, "visit file not valid")

// maxVisitFile bounds the file.
const maxVisitFile = 1 << 20

func readVisit(a *app, name string) (visitFile, error) {
	var v visitFile
	in := a.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return v, fmt.Errorf("visit file: %w: %w", errVisitFile, err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxVisitFile+1))
	if err != nil || len(text) > maxVisitFile {
		return v, fmt.Errorf("visit file: unreadable or longer than %d bytes: %w", maxVisitFile, errVisitFile)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return v, fmt.Errorf("visit file: %w: %w", errVisitFile, err)
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
		if !a.confirm(visit) {
			return giveUp(silent{errors.New("not agreed")})
		}
	}
	// From here on nothing is cut off: a settlement that was begun has to end.
	visit, err = client.Settle(context.WithoutCancel(a.ctx), visit.ID, terminal.Agreed{Total: visit.Trial.Total, Cash: visit.Trial.Cash})
	if err != nil {
		return c.notSettled(a, client, id, err, giveUp)
	}
	if a.JSON {
		a.json(visit)
		return nil
	}
	r := visit.Receipt
	a.print("%s %s  %s  %s %s\n", a.say("结算编号", "Settlement"), r.SettlementID, r.Time, a.say("个人账户余额", "account balance"), r.Balance)
	return nil
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
	case visit.State == terminal.VisitUnknown:
		fmt.Fprintf(a.errs, "%s\n", a.say("结算结果未知：不要再次结算；查看 onecard journal --outcome unknown。", "The outcome of the settlement is unknown: do not settle again; look at onecard journal --outcome unknown."))
	case visit.State == terminal.VisitTried:
		return giveUp(cause)
	}
	return cause
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
