//go:build windows

package settlement

import (
	"errors"
	"fmt"
	"syscall"
)

// A fileLock is held by one process at a time and falls with it: a file opened
// without sharing.
type fileLock struct{ h syscall.Handle }

const errorSharingViolation = syscall.Errno(32)

func (l *fileLock) acquire(path string) error {
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return unavailable(err)
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		if errors.Is(err, errorSharingViolation) {
			return ErrAlreadyRunning
		}
		return fmt.Errorf("lock: %w", unavailable(err))
	}
	l.h = h
	return nil
}

func (l *fileLock) release() error {
	if l.h == 0 {
		return nil
	}
	h := l.h
	l.h = 0
	return syscall.CloseHandle(h)
}

// syncDir has nothing to do: NTFS journals its own directories.
func syncDir(string) error { return nil }
