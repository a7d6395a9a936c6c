// Onecardd is the daemon of a desk: it owns the card readers and serves the
// pages and the API on a loopback address.
//
//	onecardd --config /etc/onecard/onecard.toml
//
// It ends with status 0 on SIGTERM or SIGINT after what is under way has ended,
// 1 where it cannot start or go on, 2 for a wrong command line.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/sirupsen/logrus"

	"onecard/cmd/internal/daemon"
	"onecard/fault"
	"onecard/terminal"
)

// version is set by the linker.
var version = "development"

type flags struct {
	Config    string           `help:"Configuration file." default:"/etc/onecard/onecard.toml" type:"path"`
	Check     bool             `help:"Check the configuration and exit."`
	ReadyFile string           `help:"Write the address to this file once the service answers." type:"path"`
	Version   kong.VersionFlag `help:"Print the version and exit."`
}

func main() {
	var f flags
	kong.Parse(&f, kong.Name("onecardd"), kong.Description("The terminal service of the social security card."),
		kong.Vars{"version": version})
	os.Exit(run(f))
}

func run(f flags) int {
	log := logrus.New()
	log.SetOutput(os.Stderr)
	log.SetFormatter(&logrus.JSONFormatter{})
	log.AddHook(terminal.MaskHook{})
	cfg, err := terminal.LoadConfig(f.Config)
	if err != nil {
		return failed(log, err)
	}
	if f.Check {
		fmt.Println("configuration is valid")
		return 0
	}
	level, err := logrus.ParseLevel(cfg.LogLevel)
	if err != nil {
		return failed(log, err)
	}
	log.SetLevel(level)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ready := func(addr string) error {
		// Scripts read the first line and take its last word.
		fmt.Println("onecardd serves", addr)
		if f.ReadyFile == "" {
			return nil
		}
		return os.WriteFile(f.ReadyFile, []byte(addr+"\n"), 0o644)
	}
	if err := daemon.Run(ctx, cfg, daemon.Options{Version: version, Log: log, Ready: ready}); err != nil {
		return failed(log, err)
	}
	return 0
}

// failed says in both languages why the daemon does not run.
func failed(log *logrus.Logger, err error) int {
	e := fault.Of(err)
	log.WithError(err).WithField("code", e.Code).Error("onecardd ends")
	text, merr := json.Marshal(terminal.Explain(err))
	if merr == nil {
		log.Debug(string(text))
	}
	fmt.Fprintf(os.Stderr, "onecardd: %s %s %s\n          %s %s\n          %v\n", e.Code,
		e.Text[fault.Chinese], e.Remedy[fault.Chinese], e.Text[fault.English], e.Remedy[fault.English], err)
	return 1
}
