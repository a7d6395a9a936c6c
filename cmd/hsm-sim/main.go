// Hsm-sim simulates an HSM for social security cards: it holds test root keys
// and answers the host commands of docs/hsm-protocol.md.
//
//	hsm-sim serve --test --listen 127.0.0.1:9100
//	hsm-sim status --addr 127.0.0.1:9100
//
// Exit codes: 0 done, 1 failed, 2 wrong usage.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"onecard/fault"
	hsmsim "onecard/hsm-sim"
	"onecard/hsm-sim/hsm"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

type commandLine struct {
	JSON bool `help:"Print JSON, one object to a line."`

	Serve   serveCommand   `cmd:"" help:"Run the simulator until it is told to stop."`
	Status  statusCommand  `cmd:"" help:"Ask an HSM who it is, as a client does."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// A console is what a command works with.
type console struct {
	ctx            context.Context
	stdout, stderr io.Writer
	json           bool
}

// print writes v as JSON or text, as the caller wants it.
func (c *console) print(v any, text string) error {
	if c.json {
		return json.NewEncoder(c.stdout).Encode(v)
	}
	_, err := fmt.Fprintln(c.stdout, text)
	return err
}

type versionCommand struct{}

func (versionCommand) Run(c *console) error {
	v := struct {
		Product  string `json:"product"`
		Protocol int    `json:"protocol"`
	}{hsmsim.Product, hsm.Version}
	return c.print(v, fmt.Sprintf("%s, protocol %d", v.Product, v.Protocol))
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program without its process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	var line commandLine
	// Kong ends the process after --help; here it ends run.
	type exit struct{ code int }
	defer func() {
		if e := recover(); e != nil {
			ended, ok := e.(exit)
			if !ok {
				panic(e)
			}
			code = ended.code
		}
	}()
	parser, err := kong.New(&line,
		kong.Name("hsm-sim"),
		kong.Description("Simulates an HSM that holds the root keys of social security cards. With test keys only: it proves nothing about a real card."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exit{code}) }),
		kong.Vars{"listen": defaultAddress},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		report(stderr, false, err)
		return exitFailed
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		report(stderr, line.JSON, err)
		return exitUsage
	}
	if err := parsed.Run(&console{ctx, stdout, stderr, line.JSON}); err != nil {
		report(stderr, line.JSON, err)
		return exitFailed
	}
	return 0
}

// report tells a person what went wrong and, where it has a code, the way out.
func report(w io.Writer, asJSON bool, err error) {
	var coded interface{ Code() fault.Code }
	known := errors.As(err, &coded)
	entry := fault.Of(err)
	if asJSON {
		e := struct {
			Code  fault.Code `json:"code,omitempty"`
			Error string     `json:"error"`
			Cure  string     `json:"cure,omitempty"`
		}{Error: err.Error()}
		if known {
			e.Code, e.Cure = entry.Code, entry.Remedy[fault.English]
		}
		// Standard error is the last resort; nobody is left to be told.
		_ = json.NewEncoder(w).Encode(map[string]any{"error": e})
		return
	}
	fmt.Fprintf(w, "hsm-sim: %v\n", err)
	if known {
		fmt.Fprintf(w, "%s: %s %s\n", entry.Code, entry.Text[fault.English], entry.Remedy[fault.English])
	}
}
