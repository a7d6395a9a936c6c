package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"onecard/terminal"
)

type callCmd struct {
	Infno string `arg:"" help:"Number of the transaction, such as 5201."`
	Input string `help:"Its input as JSON, nodes and all: {\"data\":{\"psn_no\":\"...\"}}. - is standard input." required:""`
	Area  string `help:"insuplc_admdvs, the person's place of insurance, six digits: where the input names a person."`
}

// maxInput bounds the file: no transaction takes more.
const maxInput = 1 << 20

// input reads a transaction's input from a file, - for standard input.
func (a *app) input(file string) (json.RawMessage, error) {
	text, err := a.readJSON(file, maxInput)
	if err != nil {
		return nil, err
	}
	return bytes.TrimSpace(text), nil
}

// Run sends the transaction and prints what came back: with --json the whole
// answer, else the output alone, and where it differs from the tables to
// standard error. Both may name people.
func (c *callCmd) Run(a *app) error {
	input, err := a.input(c.Input)
	if err != nil {
		return err
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	answer, err := client.Call(a.ctx, c.Infno, terminal.CallRequest{Input: input, Area: c.Area})
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(answer)
		return nil
	}
	if answer.Warning != "" {
		fmt.Fprintln(a.errs, answer.Warning)
	}
	for _, d := range answer.Deviations {
		fmt.Fprintln(a.errs, a.say("应答与接口表不一致：", "the answer differs from the tables: ")+d)
	}
	a.json(answer.Output)
	return nil
}
