package main

import (
	"strings"

	"onecard/terminal"
	"onecard/terminal/api"
)

type readCmd struct {
	Reader   string `help:"Reader: r1, r2 or its name. Default: the one with a card."`
	File     string `help:"One file of the card, e.g. DF03EF07." xor:"what"`
	All      bool   `help:"Every file that can be read, and why the others cannot." xor:"what"`
	PINStdin bool   `name:"pin-stdin" help:"Read the PIN from standard input, for a file that needs it."`
	directFlags
}

// Run reads the card. A PIN goes to the daemon over the Unix socket alone.
func (c *readCmd) Run(a *app) error {
	var pin []byte
	if c.PINStdin {
		var err error
		if pin, err = a.readPIN(); err != nil {
			return err
		}
		defer clear(pin)
	}
	remote := func() (desk, error) { return a.client() }
	if pin != nil {
		remote = func() (desk, error) { return api.NewSocketClient(a.StateDir), nil }
	}
	return c.with(a, remote, func(d desk) error {
		id := c.reader(c.Reader)
		if pin != nil {
			if err := d.VerifyPIN(a.ctx, id, pin); err != nil {
				return err
			}
		}
		if c.All {
			return c.all(a, d, id)
		}
		if c.File != "" {
			return c.file(a, d, id)
		}
		doc, err := d.Identity(a.ctx, id)
		if err != nil {
			return err
		}
		if a.JSON {
			a.json(doc)
			return nil
		}
		a.printIdentity(doc)
		return nil
	})
}

func (c *readCmd) file(a *app, d desk, id string) error {
	f, err := d.File(a.ctx, id, strings.ToUpper(c.File))
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(api.File{File: f})
		return nil
	}
	a.print("%s %s\n", f.ID, a.text(f.Name))
	a.printRecords(f.Records, "  ")
	return nil
}

func (c *readCmd) all(a *app, d desk, id string) error {
	doc, err := d.Identity(a.ctx, id)
	if err != nil {
		return err
	}
	files, err := d.Files(a.ctx, id)
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(struct {
			terminal.IdentityDocument
			Files []terminal.FileDocument `json:"files"`
		}{doc, files})
		return nil
	}
	a.printIdentity(doc)
	for _, f := range files {
		a.print("\n%s %s\n", f.ID, a.text(f.Name))
		if f.Fault != nil {
			a.print("  %s %s\n", f.Fault.Code, a.text(f.Fault.Text))
		}
		a.printRecords(f.Records, "  ")
	}
	return nil
}

func (a *app) printRecords(records []terminal.RecordDocument, indent string) {
	for _, r := range records {
		value := r.Value
		switch {
		case r.Fault != nil:
			value = string(r.Fault.Code) + " " + a.text(r.Fault.Text)
		case r.Unset:
			value = a.say("（未设置）", "(not set)")
		case r.Text != nil:
			value += " " + a.text(*r.Text)
		}
		a.print("%s%-5s %s: %s\n", indent, r.Tag, a.text(r.Name), value)
		a.printRecords(r.Members, indent+"      ")
	}
}

func (a *app) printIdentity(d terminal.IdentityDocument) {
	row := func(zh, en, value string) {
		if value != "" {
			a.print("%s: %s\n", a.say(zh, en), value)
		}
	}
	row("卡规范版本", "Card version", d.Card.Version+" ("+d.Card.Algorithm+")")
	row("卡识别码", "Identification code", d.Card.IdentificationCode)
	row("卡号", "Card number", d.Card.Number)
	row("发卡地区", "Area", d.Card.Area)
	row("发卡日期", "Issued", d.Card.Issued)
	row("有效期至", "Expires", d.Card.Expires)
	if d.Authenticated {
		row("认证", "Authenticated", a.say("通过", "yes"))
	} else {
		row("认证", "Authenticated", a.say("未通过", "no"))
		if d.AuthFault != nil {
			a.print("  %s %s %s\n", d.AuthFault.Code, a.text(d.AuthFault.Text), a.text(d.AuthFault.Remedy))
		}
	}
	if h := d.Holder; h != nil {
		word := func(code string, t *terminal.Text) string {
			if t != nil {
				return code + " " + a.text(*t)
			}
			return code
		}
		row("社会保障号码", "Social security number", h.SocialSecurityNumber)
		row("姓名", "Name", h.Name)
		row("性别", "Sex", word(h.Sex, h.SexText))
		row("民族", "Ethnic group", word(h.EthnicGroup, h.EthnicGroupText))
		row("出生日期", "Date of birth", h.BirthDate)
	}
	a.print("%s: %d\n", a.say("卡片命令数", "Card commands"), d.Commands)
}
