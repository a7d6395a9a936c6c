package docs_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A command is one command of a console block and what is shown under it.
type command struct {
	line   int // in the document, 1 first
	text   string
	output []string
	demo   bool // it is the demonstration's own start
}

// commands takes a console block apart: a line that begins with "$ " is a
// command, one that ends with a backslash goes on in the next.
func commands(b block) ([]command, error) {
	var found []command
	number := b.line
	open := false
	for line := range strings.Lines(b.text) {
		number++
		line = strings.TrimRight(line, "\n")
		switch typed, is := strings.CutPrefix(line, "$ "); {
		case open:
			last := &found[len(found)-1]
			last.text += "\n" + line
		case is:
			found = append(found, command{line: number, text: typed})
		case len(found) == 0:
			return nil, fmt.Errorf("line %d: output before the first command", number)
		default:
			last := &found[len(found)-1]
			last.output = append(last.output, line)
		}
		open = strings.HasSuffix(line, "\\") && (open || strings.HasPrefix(line, "$ "))
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("line %d: a console block without a command", b.line)
	}
	return found, nil
}

// shows reports whether output is what the document shows: line by line, where
// a line "..." stands for any lines and "..." within a line for any text.
func shows(document []string, output string) bool {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for _, line := range document {
		if line == "..." {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		for i, part := range strings.Split(line, "...") {
			if i > 0 {
				pattern.WriteString(`.*`)
			}
			pattern.WriteString(regexp.QuoteMeta(part))
		}
		pattern.WriteString(`\n`)
	}
	pattern.WriteString(`\z`)
	if output != "" && !strings.HasSuffix(output, "\n") {
		output += "\n"
	}
	return regexp.MustCompile(pattern.String()).MatchString(output)
}

func TestShows(t *testing.T) {
	for _, c := range []struct {
		document []string
		output   string
		want     bool
	}{
		{nil, "", true},
		{nil, "something\n", false},
		{[]string{"..."}, "", true},
		{[]string{"..."}, "one\ntwo\n", true},
		{[]string{"one", "..."}, "one\ntwo\nthree\n", true},
		{[]string{"...", "three"}, "one\ntwo\nthree\n", true},
		{[]string{"...", "two"}, "one\ntwo\nthree\n", false},
		{[]string{"...", "two", "..."}, "one\ntwo\nthree\n", true},
		{[]string{"o...e"}, "o n e", true},
		{[]string{"o...e"}, "o n\ne\n", false},
		{[]string{"a.b"}, "axb\n", false},
		{[]string{"a", "b"}, "a\nb", true},
		{[]string{"a", "b"}, "b\na\n", false},
	} {
		if got := shows(c.document, c.output); got != c.want {
			t.Errorf("shows(%q, %q) = %v", c.document, c.output, got)
		}
	}
}

func TestCommands(t *testing.T) {
	got, err := commands(block{line: 10, text: "$ one \\\n  more\nout\n$ two\n"})
	if err != nil || len(got) != 2 || got[0].text != "one \\\n  more" || got[0].line != 11 ||
		len(got[0].output) != 1 || got[1].text != "two" || got[1].line != 14 {
		t.Errorf("commands = %+v, %v", got, err)
	}
	for _, bad := range []string{"", "no prompt\n"} {
		if _, err := commands(block{text: bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// Every block in a document is of a kind that is checked somehow, or says that
// it is not: a block that merely looks like a session would never be tried.
func TestBlocksAreMarked(t *testing.T) {
	known := map[string]bool{"console": true, "console norun": true, "console demo": true, "toml": true, "json": true, "ini": true, "text": true, "wire": true}
	for _, file := range documents(t) {
		for _, b := range blocks(read(t, file)) {
			if !known[b.info] {
				t.Errorf("%s, line %d: blocks of kind %q are not known here", file, b.line, b.info)
			}
			if strings.HasPrefix(b.info, "console") {
				if _, err := commands(b); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
		}
	}
}

// The address that documents name; the demonstration of the test listens
// elsewhere, so that it disturbs nobody's.
const documented = "http://127.0.0.1:8750"

// TestConsole runs the commands of every document, in order, against a
// demonstration of its own for each document; a block "console demo" is compared
// with what that printed itself. It needs the programs in bin/,
// so it runs where ONECARD_DOCS=1 (scripts/test-docs).
func TestConsole(t *testing.T) {
	if os.Getenv("ONECARD_DOCS") != "1" {
		t.Skip("ONECARD_DOCS is not 1; scripts/test-docs runs this")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, file := range documents(t) {
		var todo []command
		for _, b := range blocks(read(t, file)) {
			if b.info != "console" && b.info != "console demo" {
				continue
			}
			c, err := commands(b)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for i := range c {
				c[i].demo = b.info == "console demo"
			}
			todo = append(todo, c...)
		}
		if len(todo) == 0 {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			demo := startDemo(t, root)
			for _, c := range todo {
				ran++
				demo.try(t, file, c)
			}
		})
	}
	if ran == 0 {
		t.Error("no document has a command to run")
	}
}

// TestFlagsExist looks up every flag that a document uses with one of the
// programs, also in blocks that are not run and in indented lines.
func TestFlagsExist(t *testing.T) {
	if os.Getenv("ONECARD_DOCS") != "1" {
		t.Skip("ONECARD_DOCS is not 1; scripts/test-docs runs this")
	}
	typed := regexp.MustCompile("(?m)(?:^(?:    |\\$ (?:.*\\| *)?)|`|&& )(onecardd|onecard|hsm-sim)((?: +[^ `|&\n]+)+)")
	word := regexp.MustCompile(`^[a-z]+$`)
	looked := 0
	for _, file := range documents(t) {
		for _, m := range typed.FindAllStringSubmatch(read(t, file), -1) {
			var path, flags []string
			for _, w := range strings.Fields(m[2]) {
				switch {
				case strings.HasPrefix(w, "--") && len(w) > 2:
					name, _, _ := strings.Cut(strings.TrimLeft(w, "-"), "=")
					flags = append(flags, "--"+strings.TrimRight(name, ".,;:)"))
				case len(flags) == 0 && word.MatchString(w):
					path = append(path, w)
				}
			}
			if len(flags) == 0 {
				continue
			}
			looked++
			help := help(t, m[1], path)
			for _, f := range flags {
				if !regexp.MustCompile(regexp.QuoteMeta(f) + `(?:[^a-z-]|$)`).MatchString(help) {
					t.Errorf("%s: %s%s: there is no %s", file, m[1], m[2], f)
				}
			}
		}
	}
	if looked < 5 {
		t.Errorf("only %d command lines with flags found", looked)
	}
}

// help is what PROGRAM COMMAND... --help prints.
func help(t *testing.T, program string, command []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join("..", "bin", program), append(command, "--help")...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", program, strings.Join(command, " "), err, out)
	}
	return string(out)
}

// A demo is a running demonstration and the surroundings of a person who uses
// it.
type demo struct {
	addr, dir  string
	env        []string
	transcript string // what it printed before it served
}

// startDemo plays the visit and keeps serving until the test ends.
func startDemo(t *testing.T, root string) *demo {
	t.Helper()
	d := &demo{dir: t.TempDir()}
	state := filepath.Join(d.dir, "state")
	// Commands name the files beside the documents.
	if err := os.CopyFS(filepath.Join(d.dir, "examples"), os.DirFS(filepath.Join(root, "docs", "examples"))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "run"), "--virtual",
		"--listen", "127.0.0.1:0", "--state-dir", state)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "ONECARD_LANG=en")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	type service struct{ addr, transcript string }
	serving := make(chan service, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		var transcript strings.Builder
		announced := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			t.Log("demonstration: ", lines.Text())
			addr, found := strings.CutPrefix(lines.Text(), "serving ")
			if found && !announced {
				announced = true
				serving <- service{strings.TrimSuffix(addr, "/"), transcript.String()}
			}
			transcript.WriteString(lines.Text() + "\n")
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-read
		// Told to stop, it has to end with status 0.
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the demonstration ended with %v", err)
		}
	})
	select {
	case s := <-serving:
		d.addr, d.transcript = s.addr, s.transcript
	case <-read:
		t.Fatal("the demonstration ended before it served")
	}
	d.env = append(os.Environ(),
		"PATH="+filepath.Join(root, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"),
		"HOME="+d.dir, "LANG=C.UTF-8", "ONECARD_LANG=en",
		"ONECARD_ADDR="+d.addr, "ONECARD_STATE_DIR="+state)
	return d
}

func (d *demo) try(t *testing.T, file string, c command) {
	t.Helper()
	if c.demo {
		if !shows(c.output, d.transcript) {
			t.Errorf("%s, line %d: $ %s\nshown:\n%s\nprinted:\n%s", file, c.line, c.text, strings.Join(c.output, "\n"), d.transcript)
		}
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(c.text, documented, d.addr))
	cmd.Dir, cmd.Env = d.dir, d.env
	out, err := cmd.CombinedOutput()
	text := strings.ReplaceAll(string(out), d.addr, documented)
	if err != nil {
		t.Errorf("%s, line %d: $ %s\n%v\n%s", file, c.line, c.text, err, text)
		return
	}
	if !shows(c.output, text) {
		t.Errorf("%s, line %d: $ %s\nshown:\n%s\nprinted:\n%s", file, c.line, c.text, strings.Join(c.output, "\n"), text)
	}
}
