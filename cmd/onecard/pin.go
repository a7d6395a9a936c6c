package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"onecard/fault"
	"onecard/terminal"
	"onecard/terminal/api"
)

type pinCmd struct {
	Verify  pinVerifyCmd  `cmd:"" help:"Verify the PIN: typed here, or entered at the PIN pad with --pad."`
	Tries   pinTriesCmd   `cmd:"" help:"Ask for the tries left without using one."`
	Change  pinChangeCmd  `cmd:"" help:"Change the PIN: typed here, or entered at the PIN pad with --pad."`
	Reset   pinResetCmd   `cmd:"" help:"Set a new PIN without the old one, once it is sure who the holder is."`
	Unblock pinUnblockCmd `cmd:"" help:"Give a blocked PIN its tries back."`
}

type pinVerifyCmd struct {
	Reader   string `help:"Reader: r1, r2 or its name. Default: the one with a card."`
	PINStdin bool   `name:"pin-stdin" help:"Read the PIN from standard input."`
	Pad      bool   `help:"Ask for the PIN at the PIN pad."`
	directFlags
}

// Run verifies the PIN. What is typed goes over the Unix socket alone.
func (c *pinVerifyCmd) Run(a *app) error {
	var pin []byte
	if !c.Pad {
		var err error
		if c.PINStdin {
			pin, err = a.readPIN()
		} else {
			pin, err = a.typePIN("请输入密码: ", "PIN: ")
		}
		if err != nil {
			return err
		}
		defer clear(pin)
	}
	return c.with(a, func() (desk, error) { return api.NewSocketClient(a.StateDir), nil }, func(d desk) error {
		if err := d.VerifyPIN(a.ctx, c.reader(c.Reader), pin); err != nil {
			return err
		}
		if a.JSON {
			a.json(api.Verified{Verified: true})
			return nil
		}
		a.print("%s\n", a.say("密码正确", "PIN verified"))
		if client, ok := d.(*api.Client); ok {
			if p, err := client.PIN(a.ctx, c.reader(c.Reader)); err == nil && p.Initial {
				a.print("%s\n", a.say("这是新卡的初始密码，请持卡人修改：onecard pin change", "It is the initial PIN of a new card; the holder should change it: onecard pin change"))
			}
		}
		return nil
	})
}

type pinTriesCmd struct {
	Reader string `help:"Reader: r1, r2 or its name. Default: the one with a card."`
}

// Run asks for the tries left.
func (c *pinTriesCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	p, err := client.PIN(a.ctx, directFlags{}.reader(c.Reader))
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(p)
		return nil
	}
	if p.TriesLeft != nil {
		a.print("%s: %d\n", a.say("剩余次数", "Tries left"), *p.TriesLeft)
	}
	if p.Verified {
		a.print("%s\n", a.say("本次插卡已验证密码", "The PIN is verified in this insertion"))
	}
	return nil
}

// newPINFlags are where a new PIN comes from.
type newPINFlags struct {
	Reader   string `help:"Reader: r1, r2 or its name. Default: the one with a card."`
	PINStdin bool   `name:"pin-stdin" help:"Read the PINs from standard input, a line each: the old one where it is wanted, then the new one."`
	Pad      bool   `help:"Ask at the PIN pad."`
}

// pins takes the PINs; at the pad it is the daemon that asks.
func (f newPINFlags) pins(a *app, old bool) (pins terminal.PINs, err error) {
	if f.Pad {
		return terminal.PINs{}, nil
	}
	var lines *bufio.Reader
	if f.PINStdin {
		lines = bufio.NewReaderSize(io.LimitReader(a.in, 128), 128)
	}
	take := func(zh, en string) ([]byte, error) {
		if lines == nil {
			return a.typePIN(zh, en)
		}
		line, err := lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read PIN: %w", err)
		}
		return checkPIN(line)
	}
	if old {
		if pins.Old, err = take("请输入原密码: ", "Old PIN: "); err != nil {
			return pins, err
		}
	}
	if pins.New, err = take("请输入新密码: ", "New PIN: "); err != nil || lines != nil {
		return pins, err
	}
	again, err := take("请再次输入新密码: ", "New PIN again: ")
	defer clear(again)
	if err == nil && !bytes.Equal(pins.New, again) {
		err = terminal.ErrPINsDiffer
	}
	return pins, err
}

// set runs what sets a PIN, over the Unix socket alone.
func (f newPINFlags) set(a *app, old bool, do func(*api.Client, string, terminal.PINs) error) error {
	pins, err := f.pins(a, old)
	defer clear(pins.Old)
	defer clear(pins.New)
	if err != nil {
		return err
	}
	if err := do(api.NewSocketClient(a.StateDir), anyReader(f.Reader), pins); err != nil {
		return err
	}
	a.changed()
	return nil
}

func (a *app) changed() {
	if a.JSON {
		a.json(api.Changed{Changed: true})
		return
	}
	a.print("%s\n", a.say("完成", "done"))
}

type pinChangeCmd struct{ newPINFlags }

// Run changes the PIN.
func (c *pinChangeCmd) Run(a *app) error {
	return c.set(a, true, func(client *api.Client, reader string, pins terminal.PINs) error {
		return client.ChangePIN(a.ctx, reader, pins)
	})
}

type pinResetCmd struct{ newPINFlags }

// Run sets a new PIN.
func (c *pinResetCmd) Run(a *app) error {
	return c.set(a, false, func(client *api.Client, reader string, pins terminal.PINs) error {
		return client.ResetPIN(a.ctx, reader, pins)
	})
}

type pinUnblockCmd struct {
	Reader string `help:"Reader: r1, r2 or its name. Default: the one with a card."`
}

// Run unblocks the PIN.
func (c *pinUnblockCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	if err := client.UnblockPIN(a.ctx, anyReader(c.Reader)); err != nil {
		return err
	}
	a.changed()
	return nil
}

// errPIN refuses what cannot be a PIN before it goes anywhere.
var errPIN = fault.New(fault.PINFormat, "not a PIN of 4 to 16 digits")

// readPIN takes the first line of standard input.
func (a *app) readPIN() ([]byte, error) {
	line, err := bufio.NewReaderSize(io.LimitReader(a.in, 64), 64).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read PIN: %w", err)
	}
	return checkPIN(line)
}

// typePIN asks at the terminal without showing what is typed.
func (a *app) typePIN(zh, en string) ([]byte, error) {
	tty, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(tty.Fd())) {
		return nil, fmt.Errorf("standard input is not a terminal; use --pin-stdin: %w", errPIN)
	}
	fmt.Fprint(a.errs, a.say(zh, en))
	line, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(a.errs)
	if err != nil {
		return nil, fmt.Errorf("read PIN: %w", err)
	}
	return checkPIN(line)
}

func checkPIN(line []byte) ([]byte, error) {
	pin := bytes.TrimRight(line, "\r\n")
	if len(pin) < 4 || len(pin) > 16 {
		clear(line)
		return nil, errPIN
	}
	for _, c := range pin {
		if c < '0' || c > '9' {
			clear(line)
			return nil, errPIN
		}
	}
	return pin, nil
}
