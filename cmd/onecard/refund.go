package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"onecard/fault"
	"onecard/terminal"
	"onecard/terminal/api"
)

type refundCmd struct {
	Visit  string `arg:"" optional:"" help:"Number of the visit whose settlement is taken back."`
	Entry  int64  `help:"Number of the settlement's entry in the journal, instead of the visit."`
	Reason string `help:"Why, for the receipt."`
	GiveUp bool   `help:"Then give the visit up: its lines and its registration are taken back, too."`
	Yes    bool   `help:"Refund without asking." short:"y"`
}

// Help says what a program learns from the exit status.
func (*refundCmd) Help() string {
	return "Exit status: 0 refunded; 1 refused, nothing is booked; 2 wrong command line; 3 the outcome is unknown, or the visit of a booked refund could not be given up: look before anything is done again."
}

var errRefundWhat = fault.New(fault.BodyInvalid, "a visit, or --entry N, is wanted")

// Run takes a settlement back. It shows what goes back to whom and asks, or
// takes --yes.
func (c *refundCmd) Run(a *app) error {
	if (c.Visit == "") == (c.Entry == 0) {
		return errRefundWhat
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	entry := c.Entry
	if c.Visit != "" {
		visit, err := client.Visit(a.ctx, c.Visit)
		if err != nil {
			return err
		}
		switch {
		case visit.State == terminal.VisitSettled:
			entry = visit.Journal
		case len(visit.Refunds) > 0: // once more: the same refund
			entry = visit.Refunds[len(visit.Refunds)-1].Refunds
		default:
			// The service says why not.
			entry = max(visit.Journal, 1)
		}
	}
	settled, err := client.Entry(a.ctx, entry)
	if err != nil {
		return err
	}
	if !c.Yes && !a.confirmRefund(settled.ID, settled.Holder, settled.SettlementID, [4]string{settled.Total, settled.Fund, settled.Account, settled.Cash}) {
		return silent{errors.New("not agreed")}
	}
	// From here on nothing is cut off: a refund that was begun has to end.
	refund, err := client.Refund(context.WithoutCancel(a.ctx), c.Visit, terminal.RefundRequest{Entry: entry, Reason: c.Reason})
	if err != nil {
		var answered *api.RemoteError
		unknown := !errors.As(err, &answered) // onecardd itself has not answered
		switch fault.Of(err).Code {
		case fault.AnswerLost, fault.SumsDisagree, fault.AnswerMismatch, fault.OutcomeUnwritten, fault.UnknownUnresolved:
			unknown = true
		}
		if unknown {
			fmt.Fprintf(a.errs, "%s\n", a.say("退费结果未知：不要再次退费，不要退现金；查看 onecard journal --outcome unknown。", "The outcome of the refund is unknown: do not refund again and pay nothing back; look at onecard journal --outcome unknown."))
			return inDoubt{err}
		}
		return err
	}
	if c.GiveUp {
		if err := client.Abandon(context.WithoutCancel(a.ctx), refund.Visit); err != nil {
			return inDoubt{err} // the refund stands
		}
	}
	if a.JSON {
		a.json(refund)
		return nil
	}
	a.print("%s %s  %s  %s %s\n", a.say("退费编号", "Refund"), refund.Settlement, refund.Time, a.say("原结算", "of settlement"), refund.Refunded)
	a.printRefund(refund.Total, refund.Fund, refund.Account, refund.Cash)
	return nil
}

// opposite turns an amount of a refund, which is negative, into what goes back.
func opposite(yuan string) string {
	if back, negative := strings.CutPrefix(yuan, "-"); negative {
		return back
	}
	if strings.Trim(yuan, "0.") == "" {
		return yuan
	}
	return "-" + yuan
}

func (a *app) printRefund(total, fund, account, cash string) {
	row := func(zh, en, yuan string) { a.print("  %s %s\n", a.say(zh, en), yuan) }
	row("费用总额", "total", total)
	row("退回基金", "to the insurance fund", opposite(fund))
	row("退回个人账户", "to the personal account", opposite(account))
	row("退还现金", "to the payer", opposite(cash))
}

// confirmRefund shows what is to be taken back and asks.
func (a *app) confirmRefund(entry int64, holder, settlement string, amounts [4]string) bool {
	fmt.Fprintf(a.errs, "%s %d  %s  %s  %s %s, %s %s, %s %s\n%s %s %s [y/N] ",
		a.say("结算日志", "Journal entry"), entry, settlement, holder, a.say("总额", "total"), amounts[0],
		a.say("基金", "fund"), amounts[1], a.say("个人账户", "account"), amounts[2],
		a.say("全部撤销，退还现金", "Take all of it back and return"), amounts[3], a.say("元，确认退费吗？", "yuan to the payer?"))
	return a.agrees()
}
