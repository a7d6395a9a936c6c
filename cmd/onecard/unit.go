package main

import (
	"context"
	"fmt"

	"onecard/terminal"
	"onecard/terminal/api"
)

// unitCmd looks after a motorised card unit.
type unitCmd struct {
	Status   unitStatusCmd   `cmd:"" help:"What the unit holds and what is wrong with it."`
	Return   unitReturnCmd   `cmd:"" help:"Bring the card to the mouth, where its holder takes it."`
	Capture  unitCaptureCmd  `cmd:"" help:"Bring the card into the reject bin; it is recorded."`
	Dispense unitDispenseCmd `cmd:"" help:"Fetch a new card from the hopper and read it."`
	Emptied  unitEmptiedCmd  `cmd:"" help:"Say that the reject bin was emptied: the unit counts from 0."`
}

type (
	unitStatusCmd   struct{ unitFlags }
	unitReturnCmd   struct{ unitFlags }
	unitCaptureCmd  struct{ unitFlags }
	unitDispenseCmd struct{ unitFlags }
	unitEmptiedCmd  struct{ unitFlags }
)

type unitFlags struct {
	Reader string `help:"A reader of the unit: r1, r2 or its name. Default: the only unit."`
}

// Run shows the unit.
func (c *unitStatusCmd) Run(a *app) error { return a.unit(c.Reader, (*api.Client).Unit) }

// Run returns the card.
func (c *unitReturnCmd) Run(a *app) error { return a.unit(c.Reader, (*api.Client).ReturnCard) }

// Run captures the card.
func (c *unitCaptureCmd) Run(a *app) error { return a.unit(c.Reader, (*api.Client).CaptureCard) }

// Run dispenses a card.
func (c *unitDispenseCmd) Run(a *app) error { return a.unit(c.Reader, (*api.Client).DispenseCard) }

// Run sets the counter of the bin to 0.
func (c *unitEmptiedCmd) Run(a *app) error { return a.unit(c.Reader, (*api.Client).BinEmptied) }

// unit calls the daemon and shows what the unit holds then.
func (a *app) unit(reader string, call func(*api.Client, context.Context, string) (terminal.Unit, error)) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	u, err := call(client, a.ctx, anyReader(reader))
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(u)
		return nil
	}
	for _, line := range a.unitLines(u) {
		a.print("%s\n", line)
	}
	return nil
}

// unitLines is a unit in words: what it holds, what is wrong, what happened last.
func (a *app) unitLines(u terminal.Unit) []string {
	words := func(c terminal.Coded) string { return a.say(c.Chinese, c.English) }
	first := u.Name + "  " + a.say("卡片", "card") + ": " + words(u.Card) + "  " + a.say("卡箱", "hopper") + ": " + words(u.Hopper) + "  " + a.say("回收箱", "reject bin") + ": "
	switch {
	case u.BinFull:
		first += a.say("已满", "full")
	case u.InBin != nil && *u.InBin == 0:
		first += a.say("空", "empty")
	default:
		first += a.say("未满", "not full")
	}
	if u.InBin != nil {
		first += fmt.Sprintf(a.say(" (%d 张)", " (%d captured)"), *u.InBin)
	}
	lines := []string{first}
	for _, f := range u.Faults {
		line := "  " + string(f.Code) + " " + a.text(f.Text)
		if f.Detail != "" {
			line += " (" + f.Detail + ")"
		}
		lines = append(lines, line+" → "+a.text(f.Remedy))
	}
	if u.Last != nil {
		lines = append(lines, "  "+u.Last.Time.In(chinaTime).Format("2006-01-02 15:04:05")+" "+string(u.Last.Fault.Code)+" "+a.text(u.Last.Fault.Text))
	}
	return lines
}
