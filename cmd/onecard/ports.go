package main

import (
	"path/filepath"
	"strings"

	"onecard/reader/serial"
	"onecard/terminal"
)

// A portDocument is one serial port of `onecard readers --ports --json`.
type portDocument struct {
	Name   string          `json:"name"`   // for the configuration: the lasting one where there is one
	Device string          `json:"device"` // what it stands for now
	Usable bool            `json:"usable"` // this user may open it
	Fault  *terminal.Fault `json:"fault,omitempty"`
}

// Ports is the document of `onecard readers --ports --json`.
type portsDocument struct {
	Ports []portDocument `json:"ports"`
}

// ports lists the machine's serial ports. None is opened: opening sets a port's rate
// and would disturb whoever talks on it.
func (a *app) ports() error {
	names, err := serial.Ports(a.ctx)
	if err != nil {
		return err
	}
	doc := portsDocument{Ports: []portDocument{}}
	for _, name := range names {
		p := portDocument{Name: name, Device: name}
		if target, err := filepath.EvalSymlinks(name); err == nil {
			p.Device = target
		}
		p.Fault = terminal.Explain(serial.Usable(name))
		p.Usable = p.Fault == nil
		doc.Ports = append(doc.Ports, p)
	}
	if a.JSON {
		a.json(doc)
		return nil
	}
	if len(doc.Ports) == 0 {
		a.print("%s\n", a.say("没有串口", "no serial port"))
	}
	for _, p := range doc.Ports {
		line := []string{p.Name}
		if p.Device != p.Name {
			line = append(line, p.Device)
		}
		if p.Fault != nil {
			line = append(line, string(p.Fault.Code), a.text(p.Fault.Text))
		}
		a.print("%s\n", strings.Join(line, "  "))
	}
	return nil
}
