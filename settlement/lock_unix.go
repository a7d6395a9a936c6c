//go:build unix

package settlement

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// A fileLock is held by one process at a time and falls with it. It is a file
// of its own: closing any descriptor of a database drops SQLite's own locks.
type fileLock struct{ f *os.File }

func (l *fileLock) acquire(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return unavailable(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // the refusal is what counts
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return ErrAlreadyRunning
		}
		return fmt.Errorf("lock: %w", unavailable(err))
	}
	l.f = f
	return nil
}

// release gives the lock up. The file stays: removing it would let two
// processes hold locks on two files of one name.
func (l *fileLock) release() error {
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
