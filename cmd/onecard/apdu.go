package main

import "onecard/terminal/api"

type apduCmd struct {
	Reader   string   `help:"Reader: r1, r2 or its name. Default: the one with a card."`
	Commands []string `arg:"" help:"Commands in hexadecimal."`
	directFlags
}

// Run sends raw commands. They go over the Unix socket, so that one that
// carries a PIN is possible and never crosses TCP.
func (c *apduCmd) Run(a *app) error {
	return c.with(a, func() (desk, error) { return api.NewSocketClient(a.StateDir), nil }, func(d desk) error {
		exchanges, err := d.APDU(a.ctx, c.reader(c.Reader), c.Commands)
		if a.JSON && err == nil {
			a.json(api.Exchanges{Responses: exchanges})
			return nil
		}
		for _, x := range exchanges {
			a.print("> %s\n< %s\n  %s\n", x.Command, x.Response, x.Text)
		}
		return err
	})
}
