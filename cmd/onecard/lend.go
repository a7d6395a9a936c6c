package main

import (
	"onecard/cmd/internal/daemon"
	"onecard/terminal"
)

// lendCmd lends this machine's readers to a desk.
type lendCmd struct {
	Config string `help:"Configuration file; its section lend and its readers count." default:"/etc/onecard/onecard.toml" type:"path"`
}

// Run lends until it is told to stop.
func (c *lendCmd) Run(a *app) error {
	cfg, err := terminal.LoadConfig(c.Config)
	if err != nil {
		return err
	}
	log := a.simulatorLog()
	log.AddHook(terminal.MaskHook{})
	return daemon.Lend(a.ctx, cfg, log, func(addr string) {
		// Scripts read the first line and take its last word.
		a.print("%s %s\n", a.say("正在出借读卡器，地址", "the readers of this machine are lent at"), addr)
	})
}
