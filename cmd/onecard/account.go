package main

import "onecard/terminal"

type accountCmd struct {
	Reader string `help:"Reader: r1, r2 or its name. Default: the one with a card."`
}

// Run shows the medical account on the card. The PIN has to be verified.
func (c *accountCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	account, err := client.Account(a.ctx, anyReader(c.Reader))
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(account)
		return nil
	}
	a.print("%s: %s\n", a.say("个人账户余额", "Balance"), account.Balance)
	a.print("%s: %s\n", a.say("年度个人自付累计", "Self-paid this year"), account.SelfPaid)
	a.print("%s: %s\n", a.say("年度统筹支付累计", "Pooling fund this year"), account.Pooling)
	return nil
}

type debitCmd struct {
	Reader   string `help:"Reader: r1, r2 or its name. Default: the one with a card."`
	Account  string `help:"Yuan from the personal account." required:""`
	SelfPaid string `help:"Yuan that the person pays: added to the card's yearly total."`
	Pooling  string `help:"Yuan that the pooling fund pays: added to the card's yearly total."`
	Offline  bool   `help:"Debit while the insurance centre cannot be reached, within the insurer's limits; it is told later."`
}

// Run debits the medical account on the card. The PIN has to be verified.
func (c *debitCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	t, err := client.Debit(a.ctx, anyReader(c.Reader), terminal.DebitRequest{Account: c.Account, SelfPaid: c.SelfPaid, Pooling: c.Pooling, Offline: c.Offline})
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(t)
		return nil
	}
	a.print("%s: %s  %s %d\n", a.say("已扣款", "Debited"), t.Account, a.say("交易序号", "sequence"), t.Sequence)
	a.print("%s: %s\n", a.say("余额", "Balance"), t.Balance)
	a.print("TAC: %s\n", t.TAC)
	if c.Offline {
		a.print("%s\n", a.say("脱网扣款已排队，联网后上传；见 onecard outbox list --kind debit。", "The insurer is told when the line is back: onecard outbox list --kind debit."))
	}
	return nil
}

type proofCmd struct {
	Reader   string `help:"Reader: r1, r2 or its name. Default: the one with a card."`
	Sequence uint16 `help:"Sequence number of the purchase on the card." required:""`
}

// Run asks the card for the proof of its latest purchase.
func (c *proofCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	p, err := client.Proof(a.ctx, anyReader(c.Reader), c.Sequence)
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(p)
		return nil
	}
	a.print("MAC2: %s\nTAC: %s\n", p.MAC2, p.TAC)
	return nil
}
