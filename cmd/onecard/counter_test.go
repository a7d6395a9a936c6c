package main

import (
	"bufio"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"onecard/terminal"
	"onecard/terminal/api"
)

// fee is the one fee line of these tests.
var fee = []terminal.Line{{Code: "XC10AAB026A001010190004", Name: "阿托伐他汀钙片", Quantity: "28", Price: "4.50"}}

// A counter is a desk of real processes: HSM, centre, daemon, tool.
type counter struct {
	testing.TB
	dir    string
	env    []string
	center *program
	daemon *program
	client *api.Client
	cards  []*program // in vpcd's reader

	unready bool // no card can be read at the start
}

// A setup is how a counter differs from the usual one.
type setup struct {
	faults   []string              // ordered of the centre
	upstream func(*counter) string // the centre's address as the daemon is told it
	config   hospital
	before   func(*counter) // the daemon starts
	unready  bool           // no card can be read when it has started
}

// newCounter starts them.
func newCounter(t testing.TB, s setup) *counter {
	t.Helper()
	c := &counter{TB: t, dir: t.TempDir()}
	c.env = append(os.Environ(), "ONECARD_LANG=en", "ONECARD_STATE_DIR="+filepath.Join(c.dir, "state"))
	hsm := start(t, c.dir, c.env, "hsm", "127.0.0.1:0")
	args := []string{"sim", "center", "--listen", "127.0.0.1:0", "--ledger", filepath.Join(c.dir, "ledger.jsonl")}
	for _, f := range s.faults {
		args = append(args, "--fault", f)
	}
	c.center = start(t, c.dir, c.env, "onecard", args...)
	h := hospital{"hsm": hsm.where, "center": c.center.where}
	if s.upstream != nil {
		h["center"] = s.upstream(c)
	}
	maps.Copy(h, s.config)
	c.must(os.WriteFile(c.file("pad"), []byte(demoPIN+"\n"), 0o600))
	c.must(os.WriteFile(c.file("onecard.toml"), []byte(h.toml()), 0o600))
	if s.before != nil {
		s.before(c)
	}
	c.unready = s.unready
	c.startDaemon()
	return c
}

func (c *counter) file(name string) string { return filepath.Join(c.dir, name) }

func (c *counter) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func (c *counter) startDaemon() {
	c.Helper()
	c.daemon = start(c.TB, c.dir, c.env, "onecardd", "--config", "onecard.toml")
	c.env = append(c.env, "ONECARD_ADDR="+c.daemon.where)
	var err error
	c.client, err = api.NewClient(c.daemon.where, c.file("state"))
	c.must(err)
	c.await(func(s terminal.State) bool {
		return c.unready || slices.ContainsFunc(s.Readers, func(r terminal.Reader) bool { return r.State == terminal.ReaderReady })
	})
}

func (c *counter) await(want func(terminal.State) bool) terminal.State {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), patience)
	defer cancel()
	var last terminal.State
	s, err := c.client.Await(ctx, func(s terminal.State) bool { last = s; return want(s) })
	if err != nil {
		text, _ := json.MarshalIndent(last, "", "  ")
		c.Fatalf("%v; the last state was\n%s", err, text)
	}
	return s
}

// tool runs onecard; it must end with the status.
func (c *counter) tool(status int, args ...string) (out, errs string) {
	c.Helper()
	out, errs, got := finish(c.TB, c.env, "onecard", args...)
	if got != status {
		c.Fatalf("onecard %v ended with status %d, want %d\n%s%s", args, got, status, out, errs)
	}
	return out, errs
}

// toolWith runs onecard with something to read on its standard input.
func (c *counter) toolWith(in string, args ...string) (out, errs string, status int) {
	c.Helper()
	return finishWith(c.TB, c.env, in, "onecard", args...)
}

// tried begins a visit and takes it to the trial.
func (c *counter) tried() terminal.Visit {
	c.Helper()
	v, err := c.client.OpenVisit(c.Context(), terminal.VisitRequest{})
	c.must(err)
	v, err = c.client.SetLines(c.Context(), v.ID, terminal.LinesRequest{Lines: fee})
	c.must(err)
	v, err = c.client.Trial(c.Context(), v.ID)
	c.must(err)
	return v
}

func agreedTo(v terminal.Visit) terminal.Agreed {
	return terminal.Agreed{Total: v.Trial.Total, Cash: v.Trial.Cash}
}

// journal is what `onecard journal --json` prints.
func (c *counter) journal(args ...string) terminal.JournalDay {
	c.Helper()
	out, _ := c.tool(0, append([]string{"journal", "--json"}, args...)...)
	var day terminal.JournalDay
	c.must(json.Unmarshal([]byte(out), &day))
	return day
}

// booked are the msgids of the settlements in the centre's ledger, as they stand
// in the file.
func (c *counter) booked() []string {
	c.Helper()
	f, err := os.Open(c.file("ledger.jsonl"))
	c.must(err)
	defer f.Close()
	var ids []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var line struct {
			Event struct{ Infno, MsgID string }
		}
		c.must(json.Unmarshal(lines.Bytes(), &line))
		if line.Event.Infno == "2207" {
			ids = append(ids, line.Event.MsgID)
		}
	}
	c.must(lines.Err())
	return ids
}

func (c *counter) visitFile() string {
	c.Helper()
	text, err := json.Marshal(map[string]any{"lines": fee})
	c.must(err)
	c.must(os.WriteFile(c.file("visit.json"), text, 0o600))
	return c.file("visit.json")
}
