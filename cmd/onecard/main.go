// Onecard is the tool for everything a desk does: it talks to onecardd, or with
// --direct to the card reader itself, and it runs the simulators.
//
//	onecard read                       the card and its holder
//	onecard read --file DF03EF07       one file, decoded
//	onecard pin verify                 ask for the PIN and verify it
//	onecard settle --file visit.json   a whole visit
//	onecard refund VISIT               take its settlement back
//	onecard journal                    the settlements of the day
//	onecard doctor                     what is wrong with this machine
//	onecard apdu 00A40000023F00        raw commands
//	onecard sim card|center            the simulators
//	onecard bench                      how fast it is, against what
//
// Every command knows --json. The exit status is 0, 1 for a failure (which is
// named by its code on standard error, or as {"fault":...} with --json), 2 for
// a wrong command line, and of settle and refund 3 where it is not known whether
// something is booked.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"onecard/terminal"
	"onecard/terminal/api"
)

// version is set by the linker.
var version = "development"

// defaultStateDir is where the daemon of a desk keeps its state.
const defaultStateDir = "/var/lib/onecard"

type cli struct {
	Addr     string `help:"Address of onecardd." default:"http://127.0.0.1:8750" env:"ONECARD_ADDR"`
	StateDir string `help:"State directory of onecardd, with its token and socket." default:"${state}" env:"ONECARD_STATE_DIR" type:"path"`
	JSON     bool   `help:"Print JSON."`
	Lang     string `help:"Language of texts: zh or en. Default: from the locale." enum:"zh,en,auto" default:"auto" env:"ONECARD_LANG"`

	Read      readCmd      `cmd:"" help:"Read the card: its holder, or one file."`
	Write     writeCmd     `cmd:"" help:"Change records of the card: planned, journalled, read back."`
	PIN       pinCmd       `cmd:"" name:"pin" help:"Verify, change, reset or unblock the PIN, or ask for the tries left."`
	Summary   summaryCmd   `cmd:"" help:"What a person wants to know of the own card, as JSON; after the PIN."`
	Cert      certCmd      `cmd:"" help:"Keys, certificate and signatures of a 3.0 card."`
	Account   accountCmd   `cmd:"" help:"Show the medical account on the card."`
	Debit     debitCmd     `cmd:"" help:"Take an amount from the medical account on the card."`
	Proof     proofCmd     `cmd:"" help:"Ask the card for the proof of its latest purchase."`
	Readers   readersCmd   `cmd:"" help:"List the readers and what is in them."`
	Unit      unitCmd      `cmd:"" help:"A motorised card unit: status, return, capture, dispense, emptied."`
	Settle    settleCmd    `cmd:"" help:"Play a whole visit from a file: register, fee lines, trial, settle."`
	Refund    refundCmd    `cmd:"" help:"Take a settlement back, all of it: by visit, or by the entry of the journal."`
	Journal   journalCmd   `cmd:"" help:"The journal: list, show, resolve, export, verify, backup."`
	Reconcile reconcileCmd `cmd:"" help:"Compare a day or month with the insurance centre's books, and deal with the differences."`
	APDU      apduCmd      `cmd:"" name:"apdu" help:"Send raw commands to the card."`
	Call      callCmd      `cmd:"" help:"Send one transaction that books nothing, such as a look-up, to the insurance centre."`
	Outbox    outboxCmd    `cmd:"" help:"What waits until the insurance centre takes it: list, show, add, refund, retry, drop."`
	Doctor    doctorCmd    `cmd:"" help:"Say what is wrong with this machine."`
	Lend      lendCmd      `cmd:"" help:"Lend this machine's readers to a desk on another one."`
	Sim       simCmd       `cmd:"" help:"Run a simulator."`
	Demo      demoCmd      `cmd:"" help:"Play a counter visit against simulators and keep serving."`
	Bench     benchCmd     `cmd:"" help:"Measure how fast onecard is, and beside it what it is compared with."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}

// app is what every command gets.
type app struct {
	*cli
	ctx  context.Context
	out  io.Writer
	in   io.Reader
	errs io.Writer
}

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errs io.Writer) int {
	var c cli
	status := -1
	parser, err := kong.New(&c, kong.Name("onecard"),
		kong.Description("The social security card at a desk: read, verify, settle, look after."),
		kong.Vars{"version": version, "state": defaultStateDir}, kong.Writers(out, errs),
		kong.Exit(func(code int) { status = code; panic(exited{}) }))
	if err != nil {
		fmt.Fprintln(errs, "onecard:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed, err := parse(parser, args)
	if status >= 0 {
		return status
	}
	if err != nil {
		fmt.Fprintf(errs, "onecard: %v\nTry: onecard --help\n", err)
		return 2
	}
	a := &app{cli: &c, ctx: ctx, out: out, in: in, errs: errs}
	if err := parsed.Run(a); err != nil {
		return a.fail(err)
	}
	return 0
}

// exited unwinds out of kong after --help and --version.
type exited struct{}

func parse(parser *kong.Kong, args []string) (ctx *kong.Context, err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exited); !ok {
				panic(r)
			}
		}
	}()
	return parser.Parse(args)
}

// silent is a failure that was reported already.
type silent struct{ error }

// inDoubt is a failure after which something may be booked: its exit status is
// not that of a refusal.
type inDoubt struct{ error }

func (d inDoubt) Unwrap() error { return d.error }

// statusInDoubt is the exit status of inDoubt.
const statusInDoubt = 3

// fail reports an error and returns the exit status.
func (a *app) fail(err error) int {
	var quiet silent
	if errors.As(err, &quiet) {
		return 1
	}
	f := terminal.Explain(err)
	if a.JSON {
		a.json(api.FaultAnswer{Fault: f})
	}
	text, remedy := a.text(f.Text), a.text(f.Remedy)
	fmt.Fprintf(a.errs, "onecard: %s %s %s\n", f.Code, text, remedy)
	if f.TriesLeft != nil {
		fmt.Fprintf(a.errs, "  %s: %d\n", a.say("剩余次数", "tries left"), *f.TriesLeft)
	}
	if f.Detail != "" {
		fmt.Fprintf(a.errs, "  %s\n", f.Detail)
	}
	var remote *api.RemoteError
	if !errors.As(err, &remote) && err.Error() != f.Detail {
		fmt.Fprintf(a.errs, "  (%v)\n", err)
	}
	var doubtful inDoubt
	if errors.As(err, &doubtful) {
		return statusInDoubt
	}
	return 1
}

// say chooses the language.
func (a *app) say(zh, en string) string {
	if a.chinese() {
		return zh
	}
	return en
}

func (a *app) text(t terminal.Text) string { return a.say(t.Chinese, t.English) }

func (a *app) chinese() bool {
	switch a.Lang {
	case "zh":
		return true
	case "en":
		return false
	}
	for _, key := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := os.Getenv(key); v != "" {
			return strings.HasPrefix(v, "zh")
		}
	}
	return false
}

func (a *app) print(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// json prints one value, indented.
func (a *app) json(v any) {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		fmt.Fprintln(a.errs, "onecard:", err)
	}
}

// jsonLine prints one value on one line, for programs that follow.
func (a *app) jsonLine(v any) {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		fmt.Fprintln(a.errs, "onecard:", err)
	}
}

// client talks to the daemon.
func (a *app) client() (*api.Client, error) { return api.NewClient(a.Addr, a.StateDir) }
