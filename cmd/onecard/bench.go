package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"onecard/terminal"
	"onecard/terminal/api"
)

type benchCmd struct {
	PCSC    bool   `name:"pcsc" help:"Cards through pcscd; vpcd has to run (scripts/pcsc-namespace)." xor:"reader"`
	Virtual bool   `help:"Without pcscd: what needs it is skipped (the default)." xor:"reader"`
	Because string `help:"Why there is no pcscd, for the report."`
	Quick   bool   `help:"A few runs only: whether it works, not how fast it is."`
	Rows    int    `help:"Settlements in the long journal; 10000000 needs 10 GB and a quarter of an hour." default:"1000000"`
	Only    string `help:"One part only." enum:"card,records,keys,journal,serial,slots,events,settlement,terminals,rows,daemon,all" default:"all"`
}

// Run measures onecard against what is compared with, in the same run and in
// turns, so that a busy machine is as busy for both.
func (c *benchCmd) Run(a *app) error {
	b := &bench{
		demo:  &demo{app: a, cmd: &demoCmd{PCSC: c.PCSC, Image: "3.0", Listen: "127.0.0.1:0"}},
		quick: c.Quick, rows: c.Rows, only: c.Only, because: cmp.Or(c.Because, "not asked for; make bench does where it is possible"),
	}
	return errors.Join(b.measure(), b.end())
}

// bench is a running benchmark: the simulators, each a process of its own, and
// what was found.
type bench struct {
	*demo
	quick   bool
	rows    int
	only    string
	because string
	center  string
	hsm     string
	report  benchReport
}

// runs is how often something is measured.
func (b *bench) runs(n int) int {
	if b.quick {
		return 3
	}
	return n
}

func (b *bench) measure() error {
	if err := b.stage(); err != nil {
		return err
	}
	b.report = benchReport{Version: version, Machine: machine(), Quick: b.quick}
	if !b.JSON {
		b.print("%s\n", b.report.head(b.app))
	}
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"card", b.identity}, {"records", b.records}, {"keys", b.keyHolder}, {"journal", b.journalAppends}, {"serial", b.serialLine}, {"slots", b.manySlots}, {"events", b.eventDelay}, {"settlement", b.settlements}, {"terminals", b.atOnce}, {"rows", b.longJournal}, {"daemon", b.starts},
	} {
		if b.only != "all" && b.only != part.name {
			continue
		}
		if err := part.run(b.ctx); err != nil {
			return fmt.Errorf("bench %s: %w", part.name, err)
		}
	}
	if b.JSON {
		b.json(b.report)
		return nil
	}
	b.print("\n%s\n", b.report.summary(b.app))
	return nil
}

// stage starts the simulators. The daemon comes later: it would take the card.
func (b *bench) stage() error {
	var err error
	if b.dir, err = os.MkdirTemp("", "onecard-bench-"); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	b.state = filepath.Join(b.dir, "state")
	if b.hsm, err = b.start("hsm-sim", "hsm-sim", "serve", "--test", "--listen", "127.0.0.1:0"); err != nil {
		return err
	}
	if b.center, err = b.start("center", "onecard", "sim", "center", "--listen", "127.0.0.1:0", "--ledger", filepath.Join(b.dir, "center.jsonl")); err != nil {
		return err
	}
	if b.cmd.PCSC {
		return b.startCard()
	}
	return nil
}

// daemon starts onecardd and waits until it has read the card.
func (b *bench) daemon(ctx context.Context) (*api.Client, terminal.Reader, error) {
	var reader terminal.Reader
	config, err := b.configure(b.hsm, b.center)
	if err != nil {
		return nil, reader, err
	}
	if b.addr, err = b.start("onecardd", "onecardd", "--config", config); err != nil {
		return nil, reader, err
	}
	client, err := api.NewClient(strings.TrimSuffix(b.addr, "/"), b.state)
	if err != nil {
		return nil, reader, err
	}
	ctx, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	_, err = client.Await(ctx, func(s terminal.State) bool {
		for _, r := range s.Readers {
			if r.State == terminal.ReaderReady || r.State == terminal.ReaderFailed {
				reader = r
				return true
			}
		}
		return false
	})
	if err != nil {
		return nil, reader, fmt.Errorf("waiting for the card: %w", err)
	}
	if reader.Card == nil || !reader.Card.Authenticated {
		return nil, reader, &demoFault{reader}
	}
	return client, reader, nil
}

// last is the program that was started last; stopLast ends it.
func (b *bench) last() *process { return b.procs[len(b.procs)-1] }

func (b *bench) stopLast() error {
	p := b.last()
	b.procs = b.procs[:len(b.procs)-1]
	p.stop()
	<-p.ended
	if p.cmd.ProcessState.ExitCode() > 0 {
		return fmt.Errorf("%s: %w: %s", p.name, p.err, p.tail())
	}
	return nil
}

// machine says what the figures were taken on.
func machine() string {
	m := fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		if words := strings.Fields(string(text)); len(words) > 0 {
			m += ", load " + words[0]
		}
	}
	return m
}

// add takes a comparison into the report and shows it at once.
func (b *bench) add(c comparison) {
	c.judge()
	b.report.Comparisons = append(b.report.Comparisons, c)
	if !b.JSON {
		b.print("%s", c.table(b.app))
	}
}

// timed is how long do takes.
func timed(do func() error) (time.Duration, error) {
	began := time.Now()
	err := do()
	return time.Since(began), err
}
