package main

import (
	"errors"
	"fmt"
	"os"

	"onecard/fault"
	"onecard/terminal"
	"onecard/terminal/api"
)

// defaultConfig is where the daemon of a desk is configured.
const defaultConfig = "/etc/onecard/onecard.toml"

type doctorCmd struct {
	directFlags
}

// Run says what is wrong with this machine. The daemon examines it where one
// runs; without one the tool says so and, with a configuration, looks itself.
func (c *doctorCmd) Run(a *app) error {
	checks, err := c.examine(a)
	if err != nil {
		return err
	}
	if a.JSON {
		a.json(api.Checks{Checks: checks})
	}
	healthy := true
	for _, check := range checks {
		healthy = healthy && check.OK
		if a.JSON {
			continue
		}
		if check.OK {
			a.print("%s  %s\n", a.say("正常", "ok   "), a.text(check.Text))
			continue
		}
		a.print("%s  %s\n       %s %s\n", a.say("故障", "FAULT"), a.text(check.Text), check.Fault.Code, a.text(check.Fault.Text))
		if check.Fault.Detail != "" {
			a.print("       %s\n", check.Fault.Detail)
		}
		a.print("       → %s\n", a.text(check.Fault.Remedy))
	}
	if !healthy {
		return silent{errors.New("not healthy")}
	}
	return nil
}

func (c *doctorCmd) examine(a *app) ([]terminal.Check, error) {
	running := terminal.Check{Name: "daemon", Text: terminal.Text{Chinese: "onecardd 服务", English: "the onecardd service"}}
	if !c.Direct {
		client, err := a.client()
		if err == nil {
			var checks []terminal.Check
			checks, err = client.Doctor(a.ctx)
			if err == nil {
				running.OK = true
				return append([]terminal.Check{running}, checks...), nil
			}
		}
		if fault.Of(err).Code != fault.DaemonUnreachable {
			return nil, err
		}
		running.Fault = terminal.Explain(err)
	} else {
		running.OK = true
		running.Text = terminal.Text{Chinese: "不经 onecardd，直接检查", English: "examined directly, without onecardd"}
	}
	checks := []terminal.Check{running}
	if c.Config == "" {
		if _, err := os.Stat(defaultConfig); err == nil {
			c.Config = defaultConfig
		}
	}
	err := c.direct(a, func(s *terminal.Service) error {
		for _, check := range s.Doctor(a.ctx) {
			// Without a configuration nobody knows which HSM and which centre.
			if c.Config == "" && (check.Name == "hsm" || check.Name == "upstream") {
				continue
			}
			checks = append(checks, check)
		}
		return nil
	})
	if c.Config == "" {
		fmt.Fprintln(a.errs, a.say("未读取配置，密码机和医保中心未检查；用 --config 指定。", "No configuration was read, so HSM and insurance centre were not examined; name one with --config."))
	}
	return checks, err
}
