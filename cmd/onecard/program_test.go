package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of these tests; none waits for it to pass.
const patience = 30 * time.Second

// A program is a running process: a tool, a daemon or a simulator.
type program struct {
	name  string
	where string // the last word of its first line
	cmd   *exec.Cmd
	in    io.WriteCloser // its standard input
	ended chan struct{}
	err   error // of Wait, once it has ended

	mu      sync.Mutex
	out     strings.Builder
	errs    strings.Builder
	changed chan struct{} // closed and replaced at every line
}

// launch starts a program and waits for its first line.
func launch(dir string, env []string, name string, args ...string) (*program, error) {
	p := &program{name: name, ended: make(chan struct{}), changed: make(chan struct{})}
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir, p.cmd.Env = dir, env
	own(p.cmd)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	errs, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	var reading sync.WaitGroup
	reading.Go(func() { p.follow(out, &p.out) })
	reading.Go(func() { p.follow(errs, &p.errs) })
	go func() {
		reading.Wait()
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	err = p.until(func() bool {
		line, _, found := strings.Cut(p.out.String(), "\n")
		if words := strings.Fields(line); found && len(words) > 0 {
			p.where = words[len(words)-1]
		}
		return p.where != ""
	})
	if err != nil {
		return p, errors.Join(fmt.Errorf("%s %v did not start: %w\n%s", name, args, err, p.printed()), p.kill())
	}
	return p, nil
}

// follow copies one stream line by line and tells who waits.
func (p *program) follow(r io.Reader, into *strings.Builder) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		p.mu.Lock()
		into.WriteString(line)
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// until waits for what the program prints; ready is called with mu held.
func (p *program) until(ready func() bool) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		p.mu.Lock()
		done, changed := ready(), p.changed
		p.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-p.ended:
			p.mu.Lock()
			defer p.mu.Unlock()
			if ready() {
				return nil
			}
			return fmt.Errorf("%s ended: %w", p.name, p.err)
		case <-late.C:
			return fmt.Errorf("%s: nothing for %s", p.name, patience)
		}
	}
}

// says waits until the program's log holds a text.
func (p *program) says(text string) error {
	if err := p.until(func() bool { return strings.Contains(p.errs.String(), text) }); err != nil {
		return fmt.Errorf("waiting for %q: %w\n%s", text, err, p.printed())
	}
	return nil
}

func (p *program) printed() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return "[stdout]\n" + p.out.String() + "[stderr]\n" + p.errs.String()
}

// stop tells the program to end and waits; ending otherwise than with status 0
// is an error.
func (p *program) stop() error {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		return errors.Join(fmt.Errorf("%s does not end", p.name), p.kill())
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w\n%s", p.name, p.err, p.printed())
	}
	return nil
}

// kill ends the program with SIGKILL.
func (p *program) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.ended
	return nil
}

// start is launch for a test: what is still running at its end is stopped and
// has to end well.
func start(t testing.TB, dir string, env []string, name string, args ...string) *program {
	t.Helper()
	p, err := launch(dir, env, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-p.ended: // the test has ended it
		default:
			if err := p.stop(); err != nil {
				t.Error(err)
			}
		}
		if t.Failed() {
			t.Logf("%s:\n%s", name, p.printed())
		}
	})
	return p
}

// finish runs a program to its end and returns what it printed and its status.
func finish(t testing.TB, env []string, name string, args ...string) (out, errs string, status int) {
	t.Helper()
	return finishWith(t, env, "", name, args...)
}

// finishWith is finish with something on standard input.
func finishWith(t testing.TB, env []string, in, name string, args ...string) (out, errs string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Stdin = env, strings.NewReader(in)
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// A hospital is what a configuration of these tests says.
type hospital map[string]string

// toml is the configuration: kind, match, role, image, quirks and reader (other
// keys, with semicolons for line ends) of the one reader, rights, hsm, center, style, credentials, listen, state, pin, terminal (its
// number), profile.
func (h hospital) toml() string {
	value := func(key, otherwise string) string {
		if v, given := h[key]; given {
			return v
		}
		return otherwise
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("listen = %q", value("listen", "127.0.0.1:0"))
	line("state_dir = %q", value("state", "state"))
	line("[[reader]]\nkind = %q\nmatch = %q\nrole = %q", value("kind", "virtual"), value("match", "*"), value("role", "user"))
	if value("kind", "virtual") == "virtual" {
		line("image = %q", value("image", "3.0"))
	}
	if more := value("reader", ""); more != "" {
		line("%s", strings.ReplaceAll(more, ";", "\n"))
	}
	if quirks := value("quirks", ""); quirks != "" {
		line("quirks = [\"%s\"]", strings.ReplaceAll(quirks, ",", `", "`))
	}
	if profile := value("profile", ""); profile != "" {
		line("[card]\nprofile = %q", profile)
	}
	if hsm := value("hsm", ""); hsm != "" {
		line("[keys]\nhsm = [%q]\ntimeout = \"20s\"", hsm)
	}
	if center := value("center", ""); center != "" {
		line("[upstream]\nurl = %q\nanswer_timeout = %q", center, value("timeout", "60s"))
		if style := value("style", ""); style != "" {
			line("style = %q\ncredentials_file = %q", style, value("credentials", "credentials.toml"))
		}
	}
	line("[institution]\ncode = \"H51010000001\"\nname = \"样例医院\"\narea = \"510100\"")
	if terminal := value("terminal", "510100000001"); terminal != "" {
		line("terminal = %q", terminal)
	}
	line("[operator]\nno = \"0001\"\nname = \"收费一\"")
	if rights, given := h["rights"]; given {
		line("rights = [%s]", rights)
	}
	// resolve has the lines of [resolve]; without it nothing is asked about by
	// itself, because most tests look at what is in doubt.
	line("[resolve]\n%s", strings.ReplaceAll(value("resolve", "automatic = false"), ";", "\n"))
	line("[counter]\ndepartment_code = \"0300\"\ndepartment_name = \"内科\"\nspecialty = \"A03\"")
	line("doctor_code = \"D51010000001\"\ndoctor_name = \"李医生\"\ndiagnosis_code = \"I10.x00\"\ndiagnosis_name = \"原发性高血压\"")
	if pin := value("pin", ""); pin != "" {
		line("[pinpad]\nkind = \"simulated\"\npin_file = %q", pin)
	}
	return b.String()
}
