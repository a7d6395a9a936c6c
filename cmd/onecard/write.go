package main

import (
	"strings"

	"onecard/terminal"
)

type writeCmd struct {
	Reader string   `help:"Reader: r1, r2 or its name. Default: the one with a card."`
	File   string   `help:"File of the card, e.g. DF03EF07." required:""`
	Set    []string `help:"A change: 71=510100; 40:2/57=408 for a member of the second record 40; +field^field for a new record of a cyclic file; @16=hex:0102 for bytes. May be repeated." required:"" sep:"none"`
	DryRun bool     `help:"Show what would change and write nothing."`
}

// Run changes records of a card. What was written was read back and compared.
func (c *writeCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	result, err := client.Write(a.ctx, anyReader(c.Reader), terminal.WriteRequest{
		File: strings.ToUpper(c.File), Set: c.Set, DryRun: c.DryRun,
	})
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(result)
		return nil
	}
	for _, d := range result.Differences {
		a.print("%s %-5s %s: %s → %s\n", d.File, d.Tag, a.say(d.NameZH, d.NameEN), a.shown(d.Old), a.shown(d.New))
	}
	switch {
	case len(result.Differences) == 0:
		a.print("%s\n", a.say("无需更改", "nothing to change"))
	case result.Written:
		a.print("%s\n", a.say("已写入并回读核对", "written, read back and compared"))
	default:
		a.print("%s\n", a.say("仅预览，未写入", "shown only, nothing written"))
	}
	return nil
}

func (a *app) shown(value string) string {
	if value == "" {
		return a.say("（未设置）", "(not set)")
	}
	return value
}

// anyReader spells out that any reader will do.
func anyReader(id string) string {
	if id == "" {
		return terminal.AnyReader
	}
	return id
}
