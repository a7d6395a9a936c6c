package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// process is a program of the demonstration. It writes its log into the
// demonstration's directory and says on the first line of its output, as the
// last word, where it is.
type process struct {
	name  string
	cmd   *exec.Cmd
	stop  context.CancelFunc
	log   string
	ended chan struct{}
	err   error
}

// bounds of starting and ending a program.
const (
	startTime = 30 * time.Second
	endTime   = 15 * time.Second
)

// start runs a program that lies beside this one.
func (d *demo) start(name, program string, args ...string) (where string, err error) {
	return d.startIn(nil, name, program, args...)
}

// startIn is start with a prefix, such as one that enters another network.
func (d *demo) startIn(prefix []string, name, program string, args ...string) (where string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	line := append(append(append([]string{}, prefix...), filepath.Join(filepath.Dir(self), program)), args...)
	// Programs end in order, not with the caller's context: a daemon must be
	// able to speak to its simulators until it has ended itself.
	ctx, stop := context.WithCancel(context.WithoutCancel(d.ctx))
	p := &process{name: name, stop: stop, log: filepath.Join(d.dir, name+".log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		stop()
		return "", fmt.Errorf("%s: %w", name, err)
	}
	p.cmd = exec.CommandContext(ctx, line[0], line[1:]...)
	p.cmd.Stderr = log
	p.cmd.Env = append(os.Environ(), "ONECARD_LANG=en")
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.WaitDelay = endTime
	own(p.cmd)
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		stop()
		return "", errors.Join(fmt.Errorf("%s: %w", name, err), log.Close())
	}
	d.procs = append(d.procs, p)
	first := make(chan string, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewReader(out)
		line, err := lines.ReadString('\n')
		if err == nil {
			first <- line
		}
		close(first)
		if _, err := io.Copy(log, lines); err != nil {
			fmt.Fprintln(d.errs, name+":", err)
		}
	})
	go func() {
		reading.Wait()
		p.err = errors.Join(p.cmd.Wait(), log.Close())
		close(p.ended)
	}()
	late := time.NewTimer(startTime)
	defer late.Stop()
	select {
	case line, ok := <-first:
		words := strings.Fields(line)
		if !ok || len(words) == 0 {
			<-p.ended
			return "", fmt.Errorf("%s did not start: %s", name, p.tail())
		}
		return words[len(words)-1], nil
	case <-late.C:
		return "", fmt.Errorf("%s does not start: %s", name, p.tail())
	case <-d.ctx.Done():
		return "", d.ctx.Err()
	}
}

// tail is the end of a program's log, for the person who has to find out.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const enough = 2000
	if len(text) > enough {
		text = text[len(text)-enough:]
	}
	return strings.TrimSpace(string(text))
}

// serve waits until the caller ends the demonstration or one of its programs
// ends by itself.
func (d *demo) serve() error {
	gone := make(chan *process, len(d.procs))
	for _, p := range d.procs {
		go func() {
			<-p.ended
			gone <- p
		}()
	}
	select {
	case <-d.ctx.Done():
		return nil
	case p := <-gone:
		return fmt.Errorf("%s ended: %s", p.name, p.tail())
	}
}

// end stops the programs, the last started first, and removes what they left.
func (d *demo) end() error {
	var failures []error
	for i := len(d.procs) - 1; i >= 0; i-- {
		p := d.procs[i]
		p.stop()
		<-p.ended
		var exit *exec.ExitError
		if errors.As(p.err, &exit) && exit.ExitCode() > 0 {
			failures = append(failures, fmt.Errorf("%s: %w: %s", p.name, p.err, p.tail()))
		}
	}
	if d.dir != "" {
		failures = append(failures, os.RemoveAll(d.dir))
	}
	return errors.Join(failures...)
}
