package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"onecard/card/cardsim"
	"onecard/reader/serial/serialsim"
)

// simReaderCmd is a reader on a pseudo-terminal.
type simReaderCmd struct {
	Image    string   `help:"Card image: 1.0, 2.0, 3.0, psam, or a file; none for a reader without a card." default:"3.0"`
	PtyLink  string   `help:"Name for the pseudo-terminal, a symbolic link. Without it the name is the system's." type:"path"`
	Echo     bool     `help:"Send back every byte received, as the readers do that pcsc-lite's libccidtwin knows." default:"true" negatable:""`
	Fragment int      `help:"Send at most so many bytes at a time."`
	Mute     bool     `help:"The card does not answer to reset."`
	Firmware string   `help:"What the reader calls itself."`
	Baud     int      `help:"Pass no more than this rate; a pseudo-terminal has none of its own."`
	Fault    []string `help:"A fault to order, KIND[:TIMES][@AT], such as nak:3 or stall@20; may be repeated. --fault=list shows the kinds." sep:"none"`
	Quirk    []string `help:"A quirk of the card; see sim card."`
}

// unplugged is how long a reader that was ordered to disappear stays away.
const unplugged = 2 * time.Second

// Validate checks the command line.
func (c *simReaderCmd) Validate() error {
	if c.Fragment < 0 || c.Baud < 0 {
		return errors.New("--fragment and --baud are not negative")
	}
	for _, text := range c.Fault {
		if text == "list" {
			continue
		}
		if _, err := serialsim.ParseFault(text); err != nil {
			return err
		}
	}
	return (&simCardCmd{Quirk: c.Quirk}).Validate()
}

// Run is a reader until it is told to stop. One that disappears comes back.
func (c *simReaderCmd) Run(a *app) error {
	config := serialsim.Config{Echo: c.Echo, Fragment: c.Fragment, Mute: c.Mute, Firmware: c.Firmware, Baud: c.Baud}
	for _, text := range c.Fault {
		if text == "list" {
			for _, kind := range serialsim.Kinds() {
				a.print("%s\n", kind)
			}
			return nil
		}
		f, err := serialsim.ParseFault(text)
		if err != nil {
			return err // Validate has seen it
		}
		config.Faults = append(config.Faults, f)
	}
	sim := serialsim.New(config)
	if c.Image != "none" {
		var chip cardsim.Chip
		chip, err := (&simCardCmd{Image: c.Image, Quirk: c.Quirk}).chip(a.simulatorLog())
		if err != nil {
			return err
		}
		sim.Insert(chip)
	}
	told := false
	for a.ctx.Err() == nil {
		line, err := serialsim.OpenPty(c.PtyLink)
		if err != nil {
			return fmt.Errorf("%w: %w", errSimulator, err)
		}
		name := c.PtyLink
		if name == "" {
			name = line.Port()
		}
		if !told || c.PtyLink == "" {
			told = true
			// Scripts read the first line and take its last word.
			a.print("%s %s\n", a.say("模拟串口读卡器（测试密钥，虚构人员，切勿用于真实业务）端口", "simulated serial reader with TEST KEYS and a synthetic person, never for real business, at"), name)
		}
		if err := sim.Serve(a.ctx, line); err != nil && !errors.Is(err, serialsim.ErrDisappeared) {
			return fmt.Errorf("%w: %w", errSimulator, err)
		}
		away(a.ctx)
	}
	return nil
}

// away waits until a reader that disappeared is plugged in again.
func away(ctx context.Context) {
	t := time.NewTimer(unplugged)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
