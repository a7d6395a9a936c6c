package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"onecard/card/keys"
	holder "onecard/hsm-sim/hsm"
	"onecard/settlement"
	"onecard/terminal"
)

// keyHolder measures authentications by the HSM over TCP, one after the other
// and many at once on the same connection, against the same computation in this
// process.
func (b *bench) keyHolder(ctx context.Context) error {
	client := holder.New([]string{b.hsm}, holder.WithConnections(1), holder.WithInFlight(64))
	defer client.Close()
	ring := &ringHolder{ring: keys.TestRing(keys.Reference())}
	subject := keys.Subject{Algorithm: keys.SM4, Area: "510100"}
	block := b.runs(200) // authentications in one sample
	many := func(callers int, ask func() error) func(context.Context) ([]time.Duration, error) {
		return func(context.Context) ([]time.Duration, error) {
			took, err := timed(func() error { return share(callers, block, ask) })
			return []time.Duration{took / time.Duration(block)}, err
		}
	}
	overTCP := func() error { _, err := client.InternalAuth(ctx, subject, [8]byte{1}, [8]byte{2}); return err }
	here := func() error { _, err := ring.InternalAuth(ctx, subject, [8]byte{1}, [8]byte{2}); return err }
	names := []terminal.Text{
		{Chinese: "加密机，一次一个", English: "HSM, one at a time"},
		{Chinese: "在本进程计算", English: "computed in this process"},
		{Chinese: "加密机，64 个并发，一条连接", English: "HSM, 64 at a time, one connection"},
	}
	found, err := interleave(ctx, b.runs(50),
		side{names[0], many(1, overTCP)}, side{names[1], many(1, here)}, side{names[2], many(64, overTCP)})
	if err != nil {
		return err
	}
	b.add(comparison{ID: "hsm", Unit: "ms",
		Title:   terminal.Text{Chinese: fmt.Sprintf("一次内部认证（%d 次的平均）", block), English: fmt.Sprintf("an internal authentication, mean of %d", block)},
		Figures: []figure{summarise(names[2], found[2][0]), summarise(names[0], found[0][0]), summarise(names[1], found[1][0])},
		Note: fmt.Sprintf(b.say("每秒：并发 %.0f，一次一个 %.0f", "a second: %.0f many at a time, %.0f one at a time"),
			1000/found[2][0].quantile(0.5), 1000/found[0][0].quantile(0.5)),
	})
	return nil
}

// share lets callers ask n times together.
func share(callers, n int, ask func() error) error {
	turns := make(chan struct{}, n)
	for range n {
		turns <- struct{}{}
	}
	close(turns)
	failures := make([]error, callers)
	var asking sync.WaitGroup
	for i := range callers {
		asking.Go(func() {
			for range turns {
				if err := ask(); err != nil {
					failures[i] = err
					return
				}
			}
		})
	}
	asking.Wait()
	return errors.Join(failures...)
}

// journalAppends measures an entry of the journal, written before a settlement
// is sent, against a row in a table without constraints and a bare file.
func (b *bench) journalAppends(ctx context.Context) (err error) {
	journal, err := settlement.OpenJournal(filepath.Join(b.dir, "bench.db"), time.Now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	db, insert, err := plainJournal(ctx, filepath.Join(b.dir, "rows.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, insert.Close(), db.Close()) }()
	file, err := os.Create(filepath.Join(b.dir, "bare"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	request := []byte(strings.Repeat("x", 1100)) // as long as a 2207
	number := 0
	amounts := settlement.Amounts{Total: 100, Cash: 100}
	names := []terminal.Text{
		{Chinese: "日志：写入意图", English: "journal, an intention"},
		{Chinese: "SQLite（WAL，FULL）一行", English: "SQLite (WAL, FULL), one row"},
		{Chinese: "文件写入并 fsync", English: "a write to a file, and fsync"},
		{Chinese: "日志：写入结论", English: "journal, a conclusion"},
	}
	found, err := interleave(ctx, b.runs(500),
		side{names[0], func(ctx context.Context) ([]time.Duration, error) {
			number++
			id := strconv.Itoa(number)
			var entry int64
			intend, err := timed(func() (err error) {
				entry, err = journal.Intend(ctx, settlement.Entry{Visit: "V" + id, Infno: "2207", MsgID: "M" + id, MdtrtID: "T" + id, Agreed: amounts, Request: request})
				return err
			})
			if err != nil {
				return nil, err
			}
			conclude, err := timed(func() error {
				return journal.Conclude(ctx, entry, settlement.Conclusion{Outcome: settlement.Done, Booked: &amounts, SetlID: "S" + id, Answer: request})
			})
			return []time.Duration{intend, conclude}, err
		}},
		side{names[1], func(ctx context.Context) ([]time.Duration, error) {
			took, err := timed(func() error { _, err := insert.ExecContext(ctx, request, nil); return err })
			return []time.Duration{took}, err
		}},
		side{names[2], func(context.Context) ([]time.Duration, error) {
			took, err := timed(func() error {
				_, err := file.Write(request)
				return errors.Join(err, file.Sync())
			})
			return []time.Duration{took}, err
		}})
	if err != nil {
		return err
	}
	b.add(comparison{ID: "journal", Unit: "ms",
		Title: terminal.Text{Chinese: "日志落盘一次", English: "one durable append to the journal"},
		Figures: []figure{summarise(names[0], found[0][0]), summarise(names[1], found[1][0]),
			summarise(names[2], found[2][0]), summarise(names[3], found[0][1])},
		Note: fmt.Sprintf(b.say("每秒：日志 %.0f，一行 %.0f，fsync %.0f", "a second: %.0f entries, %.0f rows, %.0f fsyncs"),
			1000/found[0][0].quantile(0.5), 1000/found[1][0].quantile(0.5), 1000/found[2][0].quantile(0.5)),
	})
	return nil
}

// starts measures from the start of onecardd to its first line, which is when
// it answers, with the journal as it lies there, against a Go program that only
// prints its version.
func (b *bench) starts(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program := filepath.Join(filepath.Dir(self), "onecardd")
	config, err := b.configure(b.hsm, b.center)
	if err != nil {
		return err
	}
	names := []terminal.Text{
		{Chinese: "onecardd，从启动到可用", English: "onecardd, from its start until it answers"},
		{Chinese: "onecardd --version", English: "onecardd --version"},
	}
	found, err := interleave(ctx, b.runs(30),
		side{names[0], func(context.Context) ([]time.Duration, error) {
			took, err := timed(func() error { _, err := b.start("onecardd", "onecardd", "--config", config); return err })
			if err != nil {
				return nil, err
			}
			return []time.Duration{took}, b.stopLast()
		}},
		side{names[1], func(ctx context.Context) ([]time.Duration, error) {
			took, err := timed(exec.CommandContext(ctx, program, "--version").Run)
			return []time.Duration{took}, err
		}})
	if err != nil {
		return err
	}
	b.add(comparison{ID: "start", Unit: "ms",
		Title:   terminal.Text{Chinese: "守护进程启动", English: "start of the daemon"},
		Figures: []figure{summarise(names[0], found[0][0]), summarise(names[1], found[1][0])}})
	return nil
}

// memory reports what the idle daemon holds, against the simulated centre: a Go
// program with an HTTP server and a file, and nothing else.
func (b *bench) memory(fresh, full float64, visits int, err error) {
	c := comparison{ID: "memory", Unit: "MB", Title: terminal.Text{Chinese: "空闲时常驻内存", English: "resident memory, idle"}}
	var plain float64
	for _, p := range b.procs {
		if p.name == "hsm-sim" && err == nil {
			plain, err = residentMemory(p.cmd.Process.Pid)
		}
	}
	if err != nil {
		c.Skip = err.Error()
		b.add(c)
		return
	}
	c.Figures = []figure{
		{Name: terminal.Text{Chinese: "onecardd，读过一张卡", English: "onecardd, a card was read"}, Median: fresh},
		{Name: terminal.Text{Chinese: "hsm-sim：只有 TCP 服务的 Go 程序", English: "hsm-sim: a Go program with a TCP server"}, Median: plain},
		{Name: terminal.Text{Chinese: fmt.Sprintf("onecardd，%d 次就诊之后", visits), English: fmt.Sprintf("onecardd, after %d visits", visits)}, Median: full},
	}
	if self, err := os.Executable(); err == nil {
		if info, err := os.Stat(filepath.Join(filepath.Dir(self), "onecardd")); err == nil {
			c.Note = fmt.Sprintf(b.say("程序文件 %.1f MB", "the program file has %.1f MB"), float64(info.Size())/1e6)
		}
	}
	b.add(c)
}

// residentMemory is VmRSS of a process in megabytes, on Linux.
func residentMemory(pid int) (float64, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, errors.New("resident memory is read from /proc, which is not here")
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if text, found := strings.CutPrefix(lines.Text(), "VmRSS:"); found {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 64)
			return kb * 1024 / 1e6, err
		}
	}
	return 0, errors.Join(errors.New("no VmRSS"), lines.Err())
}
