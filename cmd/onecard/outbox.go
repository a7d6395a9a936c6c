package main

import (
	"fmt"
	"os/user"
	"strconv"
	"time"

	"onecard/terminal"
	"onecard/terminal/api"
)

type outboxCmd struct {
	List   outboxListCmd   `cmd:"" default:"withargs" help:"List what waits, or what could not be delivered."`
	Show   outboxShowCmd   `cmd:"" help:"Show one item with what would be sent, decrypted by onecardd."`
	Add    outboxAddCmd    `cmd:"" help:"Queue an upload that may wait."`
	Refund outboxRefundCmd `cmd:"" help:"Have a settlement taken back that nobody waits for."`
	Retry  outboxRetryCmd  `cmd:"" help:"Send an item again that could not be delivered."`
	Drop   outboxDropCmd   `cmd:"" help:"Give an item up: it is never sent."`
}

type outboxListCmd struct {
	State string `help:"Only this state: held, waiting, sending, dead, sent, dropped, void; or all. Default: what is not closed."`
	Kind  string `help:"Only this kind: withdraw, upload, refund or debit."`
	Limit int    `help:"At most so many items." default:"200"`
}

// Run lists the outbox.
func (c *outboxListCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	list, err := client.Outbox(a.ctx, c.State, c.Kind, c.Limit)
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(list)
		return nil
	}
	for _, i := range list.Items {
		why := ""
		if i.Fault != nil {
			why = fmt.Sprintf("%s %s", i.Fault.Code, a.text(i.Fault.Text))
		}
		a.print("%6d  %s  %-8s  %-8s  %s  %s\n", i.ID, i.Created.In(chinaTime).Format("01-02 15:04:05"), i.Kind, a.outboxState(i.State), i.Once, why)
	}
	for _, k := range list.Kinds {
		a.print("%s: %s %d, %s %d, %s %d; %s %s\n", k.Kind, a.say("等待", "waiting"), k.Waiting, a.say("暂存", "held"), k.Held,
			a.say("未送达", "dead"), k.Dead, a.say("最早", "oldest"), k.Oldest.In(chinaTime).Format(time.DateTime))
	}
	if len(list.Items) == 0 {
		a.print("%s\n", a.say("没有事项。", "Nothing."))
	}
	return nil
}

func (a *app) outboxState(s string) string {
	switch s {
	case "held":
		return a.say("暂存", s)
	case "waiting":
		return a.say("等待", s)
	case "sending":
		return a.say("发送中", s)
	case "dead":
		return a.say("未送达", s)
	case "sent":
		return a.say("已送达", s)
	case "dropped":
		return a.say("已放弃", s)
	case "void":
		return a.say("未发生", s)
	}
	return s
}

type outboxShowCmd struct {
	ID int64 `arg:"" help:"Number of the item."`
}

// Run shows one item.
func (c *outboxShowCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	i, err := client.OutboxItem(a.ctx, c.ID)
	if err != nil {
		return err
	}
	a.outboxItem(i)
	return nil
}

// outboxItem prints an item, one value a line.
func (a *app) outboxItem(i terminal.OutboxDetail) {
	if a.JSON {
		a.json(i)
		return
	}
	line := func(zh, en, value string) {
		if value != "" {
			a.print("%s: %s\n", a.say(zh, en), value)
		}
	}
	line("编号", "item", strconv.FormatInt(i.ID, 10))
	line("事项", "what", i.Kind+": "+i.Once)
	line("状态", "state", a.outboxState(i.State))
	line("顺序", "lane", i.Lane)
	line("排入", "queued", i.Created.In(chinaTime).Format(time.DateTime))
	if i.State == "waiting" {
		line("下次", "next", i.Due.In(chinaTime).Format(time.DateTime))
	}
	line("尝试", "attempts", fmt.Sprintf("%d (%s %d)", i.Attempts, a.say("未能发出", "nothing left in"), i.Misses))
	if i.Doubt {
		line("注意", "note", a.say("此前一次发送没有收到应答，可能已送达", "no answer came to an earlier attempt: it may have arrived"))
	}
	if f := i.Fault; f != nil {
		line("原因", "because", fmt.Sprintf("%s %s", f.Code, a.text(f.Text)))
		line("医保中心", "centre", f.Detail)
	}
	line("备注", "detail", i.Note)
	for _, d := range i.Decisions {
		line("处理", "decided", fmt.Sprintf("%s %s %s: %s", d.Time.In(chinaTime).Format(time.DateTime), d.Verdict, d.Who, d.Reason))
	}
	line("内容", "content", i.Content)
}

type outboxAddCmd struct {
	Infno string `arg:"" help:"Number of the transaction, such as 4101."`
	Input string `help:"Its input as JSON, nodes and all. - is standard input." required:""`
	Once  string `help:"What it is about, such as a report's number: the same is not queued twice." required:""`
	Area  string `help:"insuplc_admdvs, the person's place of insurance, six digits: where the input names a person."`
	Lane  string `help:"What keeps order, such as a visit's number. Default: the transaction."`
}

// Run queues an upload.
func (c *outboxAddCmd) Run(a *app) error {
	input, err := a.input(c.Input)
	if err != nil {
		return err
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	i, err := client.QueueUpload(a.ctx, terminal.UploadRequest{Infno: c.Infno, Input: input, Area: c.Area, Lane: c.Lane, Once: c.Once})
	if err != nil {
		return err
	}
	a.outboxItem(i)
	return nil
}

type outboxRefundCmd struct {
	Entry  int64  `arg:"" help:"Number of the settlement's entry in the journal."`
	Reason string `help:"Why, for the receipt."`
}

// Run queues a refund.
func (c *outboxRefundCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	i, err := client.QueueRefund(a.ctx, terminal.RefundRequest{Entry: c.Entry, Reason: c.Reason})
	if err != nil {
		return err
	}
	a.outboxItem(i)
	return nil
}

// outboxDecision is what retry and drop take.
type outboxDecision struct {
	ID     int64  `arg:"" help:"Number of the item."`
	Reason string `help:"Why: what was wrong, what was done about it." required:""`
	By     string `help:"Who decides. Default: the user of this machine."`
}

func (c outboxDecision) run(a *app, do func(*api.Client, terminal.OutboxOrder) (terminal.OutboxDetail, error)) error {
	if c.By == "" {
		u, err := user.Current()
		if err != nil {
			return fmt.Errorf("who decides is unknown, use --by: %w", err)
		}
		c.By = u.Username
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	i, err := do(client, terminal.OutboxOrder{Who: c.By, Reason: c.Reason})
	if err != nil {
		return err
	}
	a.outboxItem(i)
	return nil
}

type outboxRetryCmd struct{ outboxDecision }

// Run has an item sent again.
func (c *outboxRetryCmd) Run(a *app) error {
	return c.run(a, func(client *api.Client, o terminal.OutboxOrder) (terminal.OutboxDetail, error) {
		return client.RetryLetter(a.ctx, c.ID, o)
	})
}

type outboxDropCmd struct{ outboxDecision }

// Run gives an item up.
func (c *outboxDropCmd) Run(a *app) error {
	return c.run(a, func(client *api.Client, o terminal.OutboxOrder) (terminal.OutboxDetail, error) {
		return client.DropLetter(a.ctx, c.ID, o)
	})
}
