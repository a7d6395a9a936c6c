package main

import (
	"onecard/terminal"
	"onecard/terminal/api"
)

type readersCmd struct{}

// Run lists the readers that the daemon sees.
func (c *readersCmd) Run(a *app) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	state, err := client.State(a.ctx)
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(api.Readers{Readers: state.Readers})
		return nil
	}
	if len(state.Readers) == 0 {
		a.print("%s\n", a.say("没有读卡器", "no reader"))
	}
	for _, r := range state.Readers {
		a.print("%-3s %-8s %-8s %s", r.ID, r.Kind, a.readerState(r.State), r.Name)
		if r.Card != nil {
			a.print("  %s %s", r.Card.Version, r.Card.Algorithm)
		}
		if r.Fault != nil {
			a.print("  %s %s", r.Fault.Code, a.text(r.Fault.Text))
		}
		a.print("\n")
	}
	return nil
}

func (a *app) readerState(s string) string {
	switch s {
	case terminal.ReaderEmpty:
		return a.say("无卡", "empty")
	case terminal.ReaderReading:
		return a.say("读卡中", "reading")
	case terminal.ReaderReady:
		return a.say("就绪", "ready")
	case terminal.ReaderFailed:
		return a.say("失败", "failed")
	case terminal.ReaderStuck:
		return a.say("无响应", "stuck")
	}
	return s
}
