package serialsim

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/creack/pty"
	"golang.org/x/term"
)

// A Pty is a serial line without hardware: the reader's end of a pseudo-terminal.
// Closing it hangs the line up, as pulling the cable of a USB adapter does.
type Pty struct {
	*os.File          // the reader's end
	port     *os.File // the computer's end, held open so that the line stays up while nobody uses it
	link     string
	once     sync.Once
	err      error
}

// OpenPty makes a pseudo-terminal. Its other end is to be opened like a serial
// port, under its own name or, where link is not empty, under that one: a symbolic
// link that replaces an older one, and goes when the Pty is closed.
func OpenPty(link string) (*Pty, error) {
	reader, port, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("pseudo-terminal: %w", err)
	}
	p := &Pty{File: reader, port: port}
	if _, err := term.MakeRaw(int(port.Fd())); err != nil {
		return nil, errors.Join(fmt.Errorf("pseudo-terminal: %w", err), p.Close())
	}
	if link == "" {
		return p, nil
	}
	if info, err := os.Lstat(link); err == nil && info.Mode()&os.ModeSymlink == 0 {
		return nil, errors.Join(fmt.Errorf("%s exists and is no symbolic link", link), p.Close())
	}
	fresh := fmt.Sprintf("%s.%d", link, os.Getpid())
	if err := os.Symlink(port.Name(), fresh); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := os.Rename(fresh, link); err != nil {
		return nil, errors.Join(err, os.Remove(fresh), p.Close())
	}
	p.link = link
	return p, nil
}

// Port returns the name of the computer's end: /dev/pts/5.
func (p *Pty) Port() string { return p.port.Name() }

// Close hangs the line up.
func (p *Pty) Close() error {
	p.once.Do(func() {
		if target, err := os.Readlink(p.link); p.link != "" && err == nil && target == p.Port() {
			p.err = os.Remove(p.link)
		}
		p.err = errors.Join(p.err, p.port.Close(), p.File.Close())
	})
	return p.err
}
