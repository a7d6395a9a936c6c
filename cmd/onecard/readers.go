package main

import (
	"fmt"
	"strings"

	"onecard/terminal"
	"onecard/terminal/api"
)

type readersCmd struct {
	Watch bool `help:"Go on and print every change until Ctrl-C; with --json a line each." xor:"what"`
	Ports bool `help:"List this machine's serial ports instead, without opening one." xor:"what"`
}

// Run lists the readers that the daemon sees.
func (c *readersCmd) Run(a *app) error {
	if c.Ports {
		return a.ports()
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	if c.Watch {
		return a.watchReaders(client)
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
	shown := make(map[string]bool)
	for _, r := range state.Readers {
		a.printReader("", r)
		if r.Unit != nil && !shown[r.Unit.Name] {
			shown[r.Unit.Name] = true
			for _, line := range a.unitLines(*r.Unit) {
				a.print("    %s\n", line)
			}
		}
	}
	return nil
}

// watchReaders follows the events and prints what is different from before.
func (a *app) watchReaders(client *api.Client) error {
	shown, units := make(map[string]string), make(map[string]string)
	_, err := client.Await(a.ctx, func(s terminal.State) bool {
		now := make(map[string]terminal.Reader)
		for _, r := range s.Readers {
			now[r.ID] = r
			line, unit := a.readerLine(r), ""
			if r.Unit != nil {
				unit = strings.Join(a.unitLines(*r.Unit), "\n")
			}
			at := s.Time.In(chinaTime).Format("15:04:05.000") + " "
			switch {
			case shown[r.ID] == line && (r.Unit == nil || units[r.Unit.Name] == unit):
				continue
			case a.JSON:
				a.jsonLine(r)
			case shown[r.ID] != line:
				a.printReader(at, r)
			}
			shown[r.ID] = line
			if r.Unit != nil && units[r.Unit.Name] != unit {
				units[r.Unit.Name] = unit
				if !a.JSON {
					a.print("%s%s\n", at, strings.ReplaceAll(unit, "\n", "\n"+at))
				}
			}
		}
		for id := range shown {
			if _, there := now[id]; !there {
				delete(shown, id)
				if a.JSON {
					a.jsonLine(terminal.Reader{ID: id, State: terminal.ReaderGone})
				} else {
					a.print("%s %s %s\n", s.Time.In(chinaTime).Format("15:04:05.000"), id, a.say("已拔出", "gone"))
				}
			}
		}
		return false
	})
	if a.ctx.Err() != nil {
		return nil // Ctrl-C is how a person ends it
	}
	return err
}

func (a *app) printReader(prefix string, r terminal.Reader) {
	a.print("%s%s\n", prefix, a.readerLine(r))
}

func (a *app) readerLine(r terminal.Reader) string {
	line := fmt.Sprintf("%-3s %-8s %-8s %s", r.ID, r.Kind, a.readerState(r.State), r.Name)
	if r.Card != nil {
		line += fmt.Sprintf("  %s %s", r.Card.Version, r.Card.Algorithm)
	}
	if r.Fault != nil {
		line += fmt.Sprintf("  %s %s", r.Fault.Code, a.text(r.Fault.Text))
	}
	return line
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
