package terminal

import (
	"fmt"
	"os"
	"path/filepath"
)

func readBounded(file string, limit int64) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("not a file of at most %d bytes", limit)
	}
	return os.ReadFile(file)
}

// ReadSecret reads a file of credentials, at most 64 KiB, and refuses one that
// group or others may read ([ErrExposed]).
func ReadSecret(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w: %w", ErrConfig, err)
	}
	if exposed(info) {
		return nil, fmt.Errorf("%s: mode %04o: %w", filepath.Base(file), info.Mode().Perm(), ErrExposed)
	}
	text, err := readBounded(file, 64<<10)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w: %w", ErrConfig, err)
	}
	return text, nil
}

// PrepareStateDir makes the directory where it is missing and refuses one that
// others may enter: it holds the token and personal data.
func PrepareStateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("%w: %w", ErrStateDir, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStateDir, err)
	}
	if !info.IsDir() || exposed(info) {
		return fmt.Errorf("mode %04o, 0700 expected: %w", info.Mode().Perm(), ErrStateDir)
	}
	return nil
}
