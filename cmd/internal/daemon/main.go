package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/sirupsen/logrus"

	"onecard/fault"
	"onecard/terminal"
)

type flags struct {
	Config        string           `help:"Configuration file." default:"/etc/onecard/onecard.toml" type:"path"`
	Check         bool             `help:"Check the configuration and exit."`
	AcceptJournal string           `help:"Accept a journal that is not the one last written, such as a restored backup, for this reason, and exit." placeholder:"REASON"`
	ReadyFile     string           `help:"Write the address to this file once the service answers." type:"path"`
	Version       kong.VersionFlag `help:"Print the version and exit."`
}

// Main is the program onecardd. It returns the exit status: 0 where it was told
// to stop, 1 where it cannot start or go on, 2 for a wrong command line.
func Main(version string, args []string, out, errs io.Writer) int {
	var f flags
	parser, err := kong.New(&f, kong.Name("onecardd"), kong.Description("The terminal service of the social security card."),
		kong.Vars{"version": version}, kong.Writers(out, errs), kong.Exit(func(code int) { panic(exit(code)) }))
	if err != nil {
		fmt.Fprintln(errs, "onecardd:", err)
		return 2
	}
	status, err := parse(parser, args)
	switch {
	case errors.Is(err, errExit):
		return status
	case err != nil:
		fmt.Fprintf(errs, "onecardd: %v\nTry: onecardd --help\n", err)
		return 2
	}
	return serve(f, version, out, errs)
}

// exit unwinds out of kong after --help and --version.
type exit int

var errExit = errors.New("nothing more to do")

func parse(parser *kong.Kong, args []string) (status int, err error) {
	defer func() {
		if r := recover(); r != nil {
			code, ours := r.(exit)
			if !ours {
				panic(r)
			}
			status, err = int(code), errExit
		}
	}()
	_, err = parser.Parse(args)
	return 0, err
}

func serve(f flags, version string, out, errs io.Writer) int {
	log := logrus.New()
	log.SetOutput(errs)
	log.SetFormatter(&logrus.JSONFormatter{})
	log.AddHook(terminal.MaskHook{})
	cfg, err := terminal.LoadConfig(f.Config)
	if err != nil {
		return failed(log, errs, err)
	}
	if f.Check {
		if err := check(cfg, Options{Version: version, Log: log}); err != nil {
			return failed(log, errs, err)
		}
		fmt.Fprintln(out, "configuration is valid")
		return 0
	}
	if f.AcceptJournal != "" {
		if err := acceptJournal(cfg, f.AcceptJournal); err != nil {
			return failed(log, errs, err)
		}
		fmt.Fprintln(out, "journal accepted")
		return 0
	}
	level, err := logrus.ParseLevel(cfg.LogLevel)
	if err != nil {
		return failed(log, errs, err)
	}
	log.SetLevel(level)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ready := func(addr string) error {
		// Scripts read the first line and take its last word.
		if _, err := fmt.Fprintln(out, "onecardd serves", addr); err != nil || f.ReadyFile == "" {
			return err
		}
		// Whole or not at all: somebody is looking for it.
		draft := f.ReadyFile + ".new"
		return errors.Join(os.WriteFile(draft, []byte(addr+"\n"), 0o644), os.Rename(draft, f.ReadyFile))
	}
	if f.ReadyFile != "" {
		// One of an earlier run would lie, and so would this one afterwards.
		forget := func() error {
			if err := os.Remove(f.ReadyFile); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		}
		if err := forget(); err != nil {
			return failed(log, errs, fmt.Errorf("ready file: %w", err))
		}
		defer func() {
			if err := forget(); err != nil {
				log.WithError(err).Warning("the ready file is left")
			}
		}()
	}
	if err := Run(ctx, cfg, Options{Version: version, Log: log, Ready: ready}); err != nil {
		return failed(log, errs, err)
	}
	return 0
}

// failed says in both languages why the daemon does not run.
func failed(log *logrus.Logger, errs io.Writer, err error) int {
	e := fault.Of(err)
	log.WithError(err).WithField("code", e.Code).Error("onecardd ends")
	fmt.Fprintf(errs, "onecardd: %s %s %s\n          %s %s\n          %v\n", e.Code,
		e.Text[fault.Chinese], e.Remedy[fault.Chinese], e.Text[fault.English], e.Remedy[fault.English], err)
	return 1
}
