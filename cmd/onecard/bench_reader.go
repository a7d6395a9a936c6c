package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"onecard/apdu"
	"onecard/reader"
	"onecard/terminal"
)

// rowOfCommands is how many commands one sample of compareExchange has, as many as a
// desk sends for a summary.
const rowOfCommands = 32

// compareExchange is a command over an open session, GET CHALLENGE in a row as a desk
// reads a card, against the bare binding; what it leaves to the garbage collector; and a
// command by itself, which costs two changes of goroutines more.
func (b *bench) compareExchange(ctx context.Context, p *cardBench) (err error) {
	link, err := p.driver.Open(ctx, p.slot, reader.Shared)
	if err != nil {
		return err
	}
	s := reader.NewSession(link, reader.SlotState{Slot: p.slot})
	defer func() { err = errors.Join(err, s.Close()) }()
	bare, err := connectBare(p.slot)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.close()) }()
	challenge := apdu.Command{INS: 0x84, Le: 8}
	raw, err := challenge.Bytes()
	if err != nil {
		return err
	}
	exchange := func() error {
		r, err := s.Exchange(ctx, challenge)
		return errors.Join(err, r.Status.Err())
	}
	// Each command is a sample: one that another program delays does not spoil its row.
	type series = []time.Duration
	row := func(once func() error) (series, error) {
		took := make(series, rowOfCommands)
		for i := range took {
			var err error
			if took[i], err = timed(once); err != nil {
				return nil, err
			}
		}
		return took, nil
	}
	inARow := func() (took series, err error) {
		err = s.Do(ctx, func() (err error) { took, err = row(exchange); return err })
		return took, err
	}
	alone := func() (series, error) { return row(exchange) }
	plain := func() (series, error) { return row(func() error { _, err := bare.send(raw); return err }) }
	names := []terminal.Text{
		{Chinese: "onecard 会话，连续命令", English: "onecard, a session, commands in a row"},
		{Chinese: "直接 PC/SC", English: "bare PC/SC"},
		{Chinese: "onecard 会话，单条命令", English: "onecard, a session, each by itself"},
	}
	calls := []func() (series, error){inARow, plain, alone}
	sides := make([]side, len(calls))
	allocated := make([]string, len(calls))
	for i, call := range calls {
		sides[i] = side{names[i], func(context.Context) ([]time.Duration, error) { return call() }}
	}
	found, err := interleave(ctx, b.runs(300), sides...)
	if err != nil {
		return err
	}
	for i, call := range calls {
		if allocated[i], err = allocations(b.runs(50), rowOfCommands, func() error { _, err := call(); return err }); err != nil {
			return err
		}
	}
	b.add(comparison{ID: "exchange", Unit: "ms", Aim: 1.05,
		Title:   terminal.Text{Chinese: "一条命令（取随机数）", English: "one command, GET CHALLENGE"},
		Figures: []figure{summarise(names[0], all(found[0])), summarise(names[1], all(found[1])), summarise(names[2], all(found[2]))},
		Note:    fmt.Sprintf(b.say("每条命令的分配：onecard %s；直接 %s", "allocated for each: onecard %s; bare %s"), allocated[0], allocated[1])})
	return nil
}

// all joins the samples of all parts.
func all(parts []samples) samples { return slices.Concat(parts...) }

// allocations says what each of the commands of a call allocates.
func allocations(n, commands int, call func() error) (string, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		if err := call(); err != nil {
			return "", err
		}
	}
	runtime.ReadMemStats(&after)
	per := func(a, b uint64) float64 { return float64(b-a) / float64(n*commands) }
	return fmt.Sprintf("%.1f objects, %.0f bytes", per(before.Mallocs, after.Mallocs), per(before.TotalAlloc, after.TotalAlloc)), nil
}
