package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"onecard/reader/pinpad"
	"onecard/reader/pinpad/padsim"
	"onecard/reader/serial/serialsim"
	"onecard/terminal"
)

// simPinpadCmd is a serial PIN pad on a pseudo-terminal.
type simPinpadCmd struct {
	KeyFile string   `help:"File with the key that pad and desk share: 32 hexadecimal digits, mode 0600." required:"" type:"path"`
	PtyLink string   `help:"Name for the pseudo-terminal, a symbolic link. Without it the name is the system's." type:"path"`
	PIN     string   `name:"pin" help:"What the person enters: a PIN, cancel, or nothing." default:"123456"`
	New     string   `help:"What the person enters as the new PIN."`
	Again   string   `help:"What the person enters as the new PIN the second time; the same where not given."`
	Fault   []string `help:"A fault; may be repeated. --fault=list shows them." sep:"none"`
}

// Validate checks the command line.
func (c *simPinpadCmd) Validate() error {
	for _, name := range c.Fault {
		if name == "list" {
			continue
		}
		if _, err := padsim.ParseFault(name); err != nil {
			return err
		}
	}
	return nil
}

// Run is a pad until it is told to stop.
func (c *simPinpadCmd) Run(a *app) error {
	if slices.Contains(c.Fault, "list") {
		for _, f := range padsim.Faults() {
			a.print("%s\n", f)
		}
		return nil
	}
	key, err := terminal.ReadPadKey(c.KeyFile)
	if err != nil {
		return err
	}
	config := padsim.Config{Key: key, Person: c.person}
	for _, name := range c.Fault {
		config.Faults = append(config.Faults, padsim.Fault(name))
	}
	line, err := serialsim.OpenPty(c.PtyLink)
	if err != nil {
		return fmt.Errorf("%w: %w", errSimulator, err)
	}
	name := c.PtyLink
	if name == "" {
		name = line.Port()
	}
	// Scripts read the first line and take its last word.
	a.print("%s %s\n", a.say("模拟密码键盘（虚构密码，切勿用于真实业务）端口", "simulated PIN pad with a made-up PIN, never for real business, at"), name)
	if err := padsim.New(config).Serve(a.ctx, line); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", errSimulator, err)
	}
	return nil
}

// person types what the command line says.
func (c *simPinpadCmd) person(ctx context.Context, prompt pinpad.Prompt) (string, error) {
	typed := c.PIN
	switch prompt {
	case pinpad.New:
		typed = c.New
	case pinpad.Again:
		if typed = c.Again; typed == "" {
			typed = c.New
		}
	}
	switch strings.ToLower(typed) {
	case "cancel":
		return "", padsim.ErrCancel
	case "nothing", "":
		return "", padsim.ErrNothing
	}
	return typed, ctx.Err()
}
