package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"onecard/card/cardsim"
	"onecard/fault"
	"onecard/terminal"
	"onecard/terminal/api"
)

// TestScripts plays the sessions of testdata. Beside testscript's own commands
// they have:
//
//	config [KEY=VALUE...]          write onecard.toml, see hospital
//	image FILE NAME [PATH=VALUE...] write the card image NAME with other values,
//	                               files.DF03EF07.71=hex:51AE00; none: taken out
//	start VARIABLE PROGRAM ARGS... start a program; the variable is the last
//	                               word of its first line: an address
//	end VARIABLE                   interrupt it; it ends with status 0
//	tell VARIABLE WORDS...         write a line to its standard input
//	await CONDITION...             follow the daemon's events until they hold
//	verify-with-key KEY FILE SIGNATURE
//	                               onecard cert verify; KEY is what cert show printed
//	order FAULT...                 order faults of the centre that was started
//	exits STATUS PROGRAM ARGS...   run a program that ends with that status
//	json PATH VALUE                a value in the JSON of the last output
//	keys PATH NAME...              the names of an object there, all of them
//	http METHOD PATH [BODY]        a request to the daemon, as another program
//	                               would send it; see request
func TestScripts(t *testing.T) {
	simulator := start(t, t.TempDir(), os.Environ(), "hsm", "127.0.0.1:0")
	t.Run("scripts", func(t *testing.T) { // ends before the HSM does
		testscript.Run(t, testscript.Params{
			Dir: "testdata",
			Setup: func(e *testscript.Env) error {
				e.Setenv("HSM", simulator.where)
				e.Setenv("ONECARD_STATE_DIR", filepath.Join(e.WorkDir, "state"))
				e.Setenv("ONECARD_LANG", "en")
				e.Setenv("GORACE", os.Getenv("GORACE"))
				// Nothing of this machine's own smart-card service.
				e.Setenv("PCSCLITE_CSOCK_NAME", filepath.Join(e.WorkDir, "no-pcscd"))
				e.Values[programs{}] = map[string]*program{}
				return nil
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"config": cmdConfig, "image": cmdImage, "start": cmdStart, "end": cmdEnd, "tell": cmdTell, "await": cmdAwait,
				"exits": cmdExits, "json": cmdJSON, "keys": cmdKeys, "http": cmdHTTP,
				"order": cmdOrder, "verify-with-key": cmdVerify,
			},
			RequireExplicitExec: true,
		})
	})
}

type programs struct{}

func pairs(ts *testscript.TestScript, args []string) map[string]string {
	m := map[string]string{}
	for _, a := range args {
		key, value, found := strings.Cut(a, "=")
		if !found {
			ts.Fatalf("%s: KEY=VALUE expected", a)
		}
		m[key] = value
	}
	return m
}

func cmdConfig(ts *testscript.TestScript, _ bool, args []string) {
	h := hospital{"hsm": ts.Getenv("HSM"), "center": ts.Getenv("CENTER")}
	maps.Copy(h, pairs(ts, args))
	ts.Check(os.WriteFile(ts.MkAbs("onecard.toml"), []byte(h.toml()), 0o600))
}

func cmdImage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: image FILE NAME [PATH=VALUE...]")
	}
	text, err := cardsim.Images().ReadFile("images/" + args[1] + ".json")
	ts.Check(err)
	var image any
	ts.Check(json.Unmarshal(text, &image))
	for _, arg := range args[2:] {
		path, value, found := strings.Cut(arg, "=")
		if !found {
			ts.Fatalf("%s: PATH=VALUE expected", arg)
		}
		var v any = value
		if strings.HasPrefix(value, "[") || strings.HasPrefix(value, "{") {
			ts.Check(json.Unmarshal([]byte(value), &v))
		}
		ts.Check(replace(image, strings.Split(path, "."), v))
	}
	text, err = json.Marshal(image)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

// replace puts a value at a path of a JSON document; "" takes away what is there.
func replace(doc any, path []string, value any) error {
	name := path[0]
	switch at := doc.(type) {
	case map[string]any:
		switch {
		case len(path) > 1:
			return replace(at[name], path[1:], value)
		case value == "":
			delete(at, name)
		default:
			at[name] = value
		}
		return nil
	case []any:
		if n, err := strconv.Atoi(name); err == nil && n < len(at) && len(path) > 1 {
			return replace(at[n], path[1:], value)
		}
	}
	return fmt.Errorf("%s: nothing there", name)
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start VARIABLE PROGRAM ARGS...")
	}
	env := os.Environ()
	for _, key := range []string{"ONECARD_STATE_DIR", "ONECARD_LANG", "PCSCLITE_CSOCK_NAME"} {
		env = append(env, key+"="+ts.Getenv(key))
	}
	p, err := launch(ts.MkAbs("."), env, args[1], args[2:]...)
	ts.Check(err)
	running := ts.Value(programs{}).(map[string]*program)
	running[args[0]] = p
	ts.Setenv(args[0], p.where)
	ts.Defer(func() {
		select {
		case <-p.ended:
		default:
			ts.Check(p.stop())
		}
	})
}

func cmdEnd(ts *testscript.TestScript, neg bool, args []string) {
	p := ts.Value(programs{}).(map[string]*program)[args[0]]
	if neg || p == nil {
		ts.Fatalf("usage: end VARIABLE of a program that was started")
	}
	ts.Check(p.stop())
	fmt.Fprint(ts.Stdout(), p.out.String())
	fmt.Fprint(ts.Stderr(), p.errs.String())
}

func cmdTell(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: tell VARIABLE WORDS... of a program that was started")
	}
	p := ts.Value(programs{}).(map[string]*program)[args[0]]
	if p == nil {
		ts.Fatalf("tell: %s was not started", args[0])
	}
	_, err := fmt.Fprintln(p.in, strings.Join(args[1:], " "))
	ts.Check(err)
}

// cmdAwait knows reader=STATE, visit=STATE or none, pin=verified, of a card unit
// unit=none, mouth or inside, wrong=CODE, last=CODE and bin=CARDS, and the
// conditions of health: hsm=OC-1402, clock=ok.
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: await CONDITION...")
	}
	client, err := api.NewClient(ts.Getenv("ONECARD_ADDR"), ts.Getenv("ONECARD_STATE_DIR"))
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var last terminal.State
	_, err = client.Await(ctx, func(s terminal.State) bool {
		last = s
		for key, want := range pairs(ts, args) {
			if !slices.Contains(facts(s, key), want) {
				return false
			}
		}
		return true
	})
	if err != nil {
		text, _ := json.MarshalIndent(last, "", "  ")
		ts.Fatalf("await %v: %v; the last state was\n%s", args, err, text)
	}
}

// facts are what a state says under a key.
func facts(s terminal.State, key string) []string {
	var found []string
	switch key {
	case "reader":
		for _, r := range s.Readers {
			found = append(found, r.State)
		}
	case "pin":
		for _, r := range s.Readers {
			if r.Card != nil && r.Card.PIN.Verified {
				found = append(found, "verified")
			}
		}
	case "unit", "wrong", "last", "bin":
		found = append(found, unitFacts(s, key)...)
	case "letters":
		found = append(found, strconv.Itoa(s.Outbox.Waiting))
	case "visit":
		if s.Visit == nil {
			return []string{"none"}
		}
		found = append(found, s.Visit.State)
	}
	for _, c := range s.Health {
		switch {
		case c.Name != key:
		case c.OK:
			found = append(found, "ok")
		default:
			found = append(found, string(c.Fault.Code))
		}
	}
	return found
}

// unitFacts are what the card units of a state say under a key.
func unitFacts(s terminal.State, key string) []string {
	var found []string
	for _, r := range s.Readers {
		switch u := r.Unit; {
		case u == nil:
		case key == "unit":
			found = append(found, u.Card.Code)
		case key == "last" && u.Last != nil:
			found = append(found, string(u.Last.Fault.Code))
		case key == "bin" && u.InBin != nil:
			found = append(found, strconv.Itoa(*u.InBin))
		case key == "wrong":
			for _, f := range u.Faults {
				found = append(found, string(f.Code))
			}
		}
	}
	return found
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARGS...")
	}
	status := 0
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		status = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("%v ended with status %d, not %s\n[stdout]\n%s[stderr]\n%s", args[1:], status, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// lookup finds a value by a path like .card.number or .entries.0.outcome.
func lookup(ts *testscript.TestScript, path string) any {
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	dec.UseNumber()
	var v any
	ts.Check(dec.Decode(&v))
	for _, name := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' }) {
		switch at := v.(type) {
		case map[string]any:
			inner, there := at[name]
			if !there {
				return nil
			}
			v = inner
		case []any:
			// By tag or file, .files.DF03EF07.records.70.value, or by place.
			n := slices.IndexFunc(at, func(e any) bool {
				m, ok := e.(map[string]any)
				return ok && (m["tag"] == name || m["id"] == name)
			})
			if n < 0 {
				var err error
				if n, err = strconv.Atoi(name); err != nil || n >= len(at) {
					ts.Fatalf("%s: no element %s", path, name)
				}
			}
			v = at[n]
		default:
			ts.Fatalf("%s: nothing under %s", path, name)
		}
	}
	return v
}

func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH VALUE")
	}
	if got := fmt.Sprint(lookup(ts, args[0])); (got == args[1]) == neg {
		ts.Fatalf("%s is %q, not %q", args[0], got, args[1])
	}
}

func cmdKeys(ts *testscript.TestScript, neg bool, args []string) {
	object, ok := lookup(ts, args[0]).(map[string]any)
	if neg || !ok {
		ts.Fatalf("usage: keys PATH NAME..., PATH is an object")
	}
	got, want := slices.Sorted(maps.Keys(object)), slices.Sorted(slices.Values(args[1:]))
	if !slices.Equal(got, want) {
		ts.Fatalf("%s has\n%v, not\n%v", args[0], got, want)
	}
}

func cmdVerify(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: verify-with-key KEY FILE SIGNATURE")
	}
	words := strings.Fields(ts.ReadFile(args[0]))
	err := ts.Exec("onecard", "cert", "verify", "--file", args[1], "--signature", args[2], "--key", words[len(words)-1])
	if (err != nil) != neg {
		ts.Fatalf("verify: %v\n%s", err, ts.ReadFile("stderr"))
	}
	if neg && !strings.Contains(ts.ReadFile("stderr"), string(fault.SignatureWrong)) {
		ts.Fatalf("refused otherwise: %s", ts.ReadFile("stderr"))
	}
}

// cmdHTTP prints status, headers and body. Arguments before the method: socket
// (the Unix socket), token (send it), page (the page's session), and
// Name:value for a header.
func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	base := strings.TrimSuffix(ts.Getenv("ONECARD_ADDR"), "/")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	header := http.Header{}
	for len(args) > 0 && strings.ToUpper(args[0]) != args[0] {
		switch word := args[0]; word {
		case "socket":
			base = "http://onecard"
			client.Transport = &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", filepath.Join(ts.Getenv("ONECARD_STATE_DIR"), api.SocketFile))
			}}
		case "token":
			text, err := os.ReadFile(filepath.Join(ts.Getenv("ONECARD_STATE_DIR"), api.TokenFile))
			ts.Check(err)
			header.Set("Authorization", "Bearer "+strings.TrimSpace(string(text)))
		case "page":
			resp, err := client.Get(base + "/")
			ts.Check(err)
			ts.Check(resp.Body.Close())
			for _, c := range resp.Cookies() {
				header.Add("Cookie", c.Name+"="+c.Value)
			}
		default:
			name, value, found := strings.Cut(word, ":")
			if !found {
				ts.Fatalf("http: %s?", word)
			}
			header.Set(name, value)
		}
		args = args[1:]
	}
	if neg || len(args) < 2 {
		ts.Fatalf("usage: http [socket|token|page|Name:value...] METHOD PATH [BODY]")
	}
	var body io.Reader
	if len(args) > 2 {
		body = bytes.NewReader([]byte(args[2]))
		header.Set("Content-Type", "application/json")
	}
	req, err := http.NewRequest(args[0], base+args[1], body)
	ts.Check(err)
	req.Header = header
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintln(ts.Stderr(), resp.Status)
	ts.Check(resp.Header.Write(ts.Stderr()))
	fmt.Fprintf(ts.Stdout(), "%s\n", text)
}

// cmdOrder orders faults of the centre at $CENTER.
func cmdOrder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: order FAULT...")
	}
	ts.Check(orderFaults(ts.Getenv("CENTER"), args...))
}

// orderFaults orders faults of a running centre.
func orderFaults(center string, faults ...string) error {
	return tellCenter(center, map[string]any{"order": faults})
}

// releaseFaults lets what hangs at the centre go on.
func releaseFaults(center string) error {
	return tellCenter(center, map[string]any{"release": true})
}

func tellCenter(center string, what map[string]any) error {
	at, err := url.Parse(center)
	if err != nil {
		return err
	}
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	resp, err := http.Post("http://"+at.Host+"/sim/faults", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the centre does not take %v: %s", what, resp.Status)
	}
	return nil
}
