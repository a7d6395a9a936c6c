package pinpad

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ownTerminal is the terminal that a process was started at.
const ownTerminal = "/dev/tty"

var errBackground = errors.New("the program is not in the foreground of its terminal")

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// openConsole opens a terminal so that reads have deadlines.
func openConsole(name string) (*os.File, error) {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	// A process in the background that reads is stopped, and the desk with it.
	if group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP); err == nil && group != unix.Getpgrp() {
		return nil, errors.Join(errBackground, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// quiet is a terminal that does not echo.
type quiet struct {
	fd  int
	was unix.Termios
}

// silence turns echo, lines and the keys for signals off, and throws away what was
// typed before.
func silence(t *os.File) (*quiet, error) {
	raw, err := t.SyscallConn()
	if err != nil {
		return nil, err
	}
	q := &quiet{}
	var failed error
	err = raw.Control(func(fd uintptr) {
		q.fd = int(fd)
		var was *unix.Termios
		if was, failed = unix.IoctlGetTermios(q.fd, unix.TCGETS); failed != nil {
			return
		}
		q.was = *was
		now := q.was
		now.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
		now.Iflag &^= unix.IXON
		now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
		failed = unix.IoctlSetTermios(q.fd, unix.TCSETSF, &now)
	})
	return q, errors.Join(err, failed)
}

// restore makes the terminal what it was and throws away what was typed since.
func (q *quiet) restore() error { return unix.IoctlSetTermios(q.fd, unix.TCSETSF, &q.was) }
