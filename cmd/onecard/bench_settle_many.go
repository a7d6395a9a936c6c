package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"onecard/settlement"
	"onecard/terminal"
	"onecard/terminal/api"
)

// terminals is how many settle at once; the national average of settlements a
// second is 18 million a day.
const (
	terminals       = 64
	nationalAverage = 208
)

// atOnce measures settlements a second of one onecardd with 64 desks that settle
// at once, through API, journal and HTTP, against the same 2207 posted by 64 at
// once to the same centre and nothing else, and against appends to a file with
// fsync, one after the other. What one settlement takes longer than the bare
// exchange while all that goes on is what onecard adds.
func (b *bench) atOnce(ctx context.Context) error {
	client, readers, err := b.manyDesks(ctx)
	if err != nil {
		return err
	}
	document, err := client.Identity(ctx, readers[0])
	if err != nil {
		return err
	}
	var file visitFile
	if err := json.Unmarshal(demoVisit, &file); err != nil {
		return fmt.Errorf("visit.json: %w", err)
	}
	dir := filepath.Join(b.dir, "posted")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	plain, err := newBareDesk(ctx, b.center, b.addr, dir, document, file)
	if err != nil {
		return err
	}
	plain.http.Transport = manyConnections()
	appended, err := os.Create(filepath.Join(dir, "appended"))
	if err != nil {
		return err
	}
	names := []terminal.Text{
		{Chinese: "onecard：64 个终端同时结算，每秒", English: "onecard: 64 terminals settle at once, a second"},
		{Chinese: "64 个并发直接发 2207，每秒", English: "2207 posted by 64 at once and nothing else, a second"},
		{Chinese: "文件追加并 fsync，一次一个，每秒", English: "appends to a file with fsync, one after the other, a second"},
	}
	n := 2 * terminals // settlements in a round
	if b.quick {
		n = terminals / 8
	}
	var each, bare samples
	row := make([]byte, 1100) // as long as a 2207
	found, err := interleave(ctx, b.runs(8),
		side{names[0], func(ctx context.Context) ([]time.Duration, error) {
			took, one, err := settleAll(ctx, client, readers, file, n)
			each = append(each, one...)
			return []time.Duration{took / time.Duration(n)}, err
		}},
		side{names[1], func(ctx context.Context) ([]time.Duration, error) {
			took, one, err := plain.postAll(ctx, n)
			bare = append(bare, one...)
			return []time.Duration{took / time.Duration(n)}, err
		}},
		side{names[2], func(context.Context) ([]time.Duration, error) {
			took, err := timed(func() error {
				for range n {
					if _, err := appended.Write(row); err != nil {
						return err
					}
					if err := appended.Sync(); err != nil {
						return err
					}
				}
				return nil
			})
			return []time.Duration{took / time.Duration(n)}, err
		}})
	if err = errors.Join(err, appended.Close(), plain.close()); err != nil {
		return err
	}
	rates := make([]figure, len(names))
	for i := range names {
		rates[i] = summarise(names[i], found[i][0].rates())
		rates[i].P99 = 0 // of eight rounds it says nothing
	}
	slower := rates[1:]
	slices.SortStableFunc(slower, func(a, b figure) int { return int(a.Median - b.Median) })
	b.add(comparison{ID: "terminals", Unit: "/s", Aim: 0.8, AtLeast: true, Figures: rates,
		Title: terminal.Text{Chinese: "64 个终端同时结算", English: "settlements with 64 terminals at once, against the slower of the two others"}})
	b.add(comparison{ID: "terminals_national", Unit: "/s", Aim: nationalAverage, AtLeast: true, Figures: rates[:1],
		Title: terminal.Text{Chinese: "与全国平均每秒结算数相比", English: "the same, against the national average"}})
	// The first rounds only warm up, and their settlements are many.
	each, bare = each[len(each)/3:], bare[len(bare)/3:]
	b.add(comparison{ID: "terminals_latency", Unit: "ms",
		Title: terminal.Text{Chinese: "同时结算时每一次的耗时", English: "one settlement while 64 settle"},
		Figures: []figure{
			summarise(terminal.Text{Chinese: "onecard", English: "onecard"}, each),
			summarise(terminal.Text{Chinese: "只发 2207", English: "2207 alone"}, bare),
		},
		Note: fmt.Sprintf(b.say("onecard 增加：p50 %.2f ms，p99 %.2f ms", "added by onecard: p50 %.2f ms, p99 %.2f ms"),
			each.quantile(0.5)-bare.quantile(0.5), each.quantile(0.99)-bare.quantile(0.99))})
	return b.stopLast()
}

// manyDesks starts onecardd with 64 readers, a card in each, and returns their
// names.
func (b *bench) manyDesks(ctx context.Context) (*api.Client, []string, error) {
	virtual := *b.cmd
	virtual.PCSC = false
	at := *b.demo
	at.cmd, at.state = &virtual, filepath.Join(b.dir, "desks")
	config, err := at.configure(b.hsm, b.center)
	if err != nil {
		return nil, nil, err
	}
	text, err := os.ReadFile(config)
	if err != nil {
		return nil, nil, err
	}
	for i := range terminals - 1 {
		text = fmt.Appendf(text, "\n[[reader]]\nkind = \"virtual\"\nmatch = \"desk %d\"\nimage = %s\n", i+2, quote(b.cmd.Image))
	}
	config = filepath.Join(b.dir, "desks.toml")
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return nil, nil, err
	}
	if b.addr, err = b.start("onecardd", "onecardd", "--config", config); err != nil {
		return nil, nil, err
	}
	client, err := api.NewClient(strings.TrimSuffix(b.addr, "/"), at.state)
	if err != nil {
		return nil, nil, err
	}
	client = client.Through(manyConnections())
	ctx, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	var readers []string
	_, err = client.Await(ctx, func(s terminal.State) bool {
		readers = readers[:0]
		for _, r := range s.Readers {
			if r.State == terminal.ReaderReady && r.Card != nil && r.Card.Authenticated {
				readers = append(readers, r.ID)
			}
		}
		return len(readers) == terminals
	})
	if err != nil {
		return nil, nil, fmt.Errorf("waiting for %d cards, %d are read: %w", terminals, len(readers), err)
	}
	return client, readers, nil
}

// manyConnections keeps a connection for each of the terminals.
func manyConnections() *http.Transport {
	return &http.Transport{MaxIdleConns: 2 * terminals, MaxIdleConnsPerHost: terminals}
}

// settleAll takes n visits to the payer's consent, outside the time, and settles
// them by 64 at once. It returns how long all took, and each.
func settleAll(ctx context.Context, client *api.Client, readers []string, file visitFile, n int) (all time.Duration, each samples, err error) {
	visits := make(chan terminal.Visit, n)
	for i := range n {
		request := file.VisitRequest
		request.Reader = readers[i%len(readers)]
		visit, err := client.OpenVisit(ctx, request)
		if err != nil {
			return 0, nil, fmt.Errorf("register: %w", err)
		}
		if _, err = client.SetLines(ctx, visit.ID, terminal.LinesRequest{Lines: file.Lines}); err != nil {
			return 0, nil, fmt.Errorf("fee lines: %w", err)
		}
		if visit, err = client.Trial(ctx, visit.ID); err != nil {
			return 0, nil, fmt.Errorf("trial: %w", err)
		}
		visits <- visit
	}
	close(visits)
	return together(visits, func(v terminal.Visit) error {
		settled, err := client.Settle(ctx, v.ID, terminal.Agreed{Total: v.Trial.Total, Cash: v.Trial.Cash})
		if err == nil && settled.Receipt == nil {
			err = errors.New("settled without a receipt")
		}
		return err
	})
}

// postAll prepares n visits, outside the time, and posts their 2207 by 64 at
// once.
func (d *bareDesk) postAll(ctx context.Context, n int) (all time.Duration, each samples, err error) {
	prepared := make(chan *settlement.Prepared, n)
	for range n {
		p, err := d.prepare(ctx)
		if err != nil {
			return 0, nil, err
		}
		prepared <- p
	}
	close(prepared)
	return together(prepared, func(p *settlement.Prepared) error {
		answer, err := d.post(ctx, d.url, p.Body)
		if err != nil {
			return err
		}
		return booked(answer)
	})
}

// together does what is waiting by 64 at once and returns how long all of it
// took, and each.
func together[T any](waiting <-chan T, do func(T) error) (all time.Duration, each samples, err error) {
	var mu sync.Mutex
	var failures []error
	all, _ = timed(func() error {
		var busy sync.WaitGroup
		for range terminals {
			busy.Go(func() {
				for one := range waiting {
					took, err := timed(func() error { return do(one) })
					mu.Lock()
					each = append(each, float64(took)/float64(time.Millisecond))
					if err != nil {
						failures = append(failures, err)
					}
					mu.Unlock()
				}
			})
		}
		busy.Wait()
		return nil
	})
	return all, each, errors.Join(failures...)
}

// rates are how often a second what takes so many milliseconds.
func (s samples) rates() samples {
	r := make(samples, len(s))
	for i, ms := range s {
		r[i] = 1000 / ms
	}
	return r
}
