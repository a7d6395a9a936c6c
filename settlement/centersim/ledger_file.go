package centersim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// storage is what the ledger needs of its file; a test puts a disk that fails
// in its place.
type storage interface {
	io.WriteCloser
	Truncate(size int64) error
	Sync() error
}

// fileStore keeps the lines in a file.
type fileStore struct {
	name string
	file storage
	size int64 // up to the last whole line

	readOnly bool
}

// openFile opens or makes the file, for one centre alone.
func openFile(name string) (*fileStore, error) {
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return &fileStore{name: name, file: file}, nil
}

// readFile opens a ledger that a centre may have open, to read it only.
func readFile(name string) (*fileStore, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return &fileStore{name: name, file: file, readOnly: true}, nil
}

func (s *fileStore) load(take func([]byte) error, torn func([]byte) bool) (int64, error) {
	file, ok := s.file.(*os.File)
	if !ok {
		return 0, fmt.Errorf("ledger %s: not a file", s.name)
	}
	scan := s.scan
	if s.readOnly {
		scan = func(file *os.File, take func([]byte) error, torn func([]byte) bool) (int64, error) {
			_, _, err := readLines(file, take, torn)
			return 0, err
		}
	}
	cut, err := scan(file, take, torn)
	if err != nil {
		return 0, fmt.Errorf("ledger %s: %w", s.name, err)
	}
	return cut, nil
}

func (s *fileStore) scan(file *os.File, take func([]byte) error, torn func([]byte) bool) (int64, error) {
	if err := lockFile(file); err != nil {
		return 0, fmt.Errorf("%w: another centre has it open: %w", ErrLedger, err)
	}
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if exposed(info) {
		return 0, fmt.Errorf("%w: it is readable by others; chmod 600 it", ErrLedger)
	}
	size, cut, err := readLines(file, take, torn)
	if err != nil {
		return 0, err
	}
	s.size = size
	if cut > 0 {
		if err := file.Truncate(size); err != nil {
			return 0, err
		}
	}
	if err := file.Sync(); err != nil {
		return 0, err
	}
	if size > 0 {
		return cut, nil
	}
	return cut, syncDir(filepath.Dir(s.name))
}

// readLines hands over the whole lines of a file and returns their size and how
// much of a torn one follows them.
func readLines(file io.Reader, take func([]byte) error, torn func([]byte) bool) (size, cut int64, err error) {
	r := bufio.NewReader(file)
	for {
		text, err := readLine(r)
		switch {
		case errors.Is(err, io.EOF) && torn(text):
			return size, int64(len(text)), nil
		case errors.Is(err, io.EOF):
			return 0, 0, fmt.Errorf("%w: what follows the last whole line is no ledger line", ErrLedger)
		case err != nil:
			return 0, 0, fmt.Errorf("%w: %w", ErrLedger, err)
		}
		if err := take(text); err != nil {
			return 0, 0, err
		}
		size += int64(len(text))
	}
}

// readLine reads up to and with the next line feed, at most maxLine bytes; at
// the end of the file it returns what is left and io.EOF.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, errors.New("a line is too long")
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// syncDir makes the name of a file that was just created survive a power cut.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (s *fileStore) write(line ledgerLine) error {
	if s.readOnly {
		return errReadOnly
	}
	b := line.bytes()
	if n, err := s.file.Write(b); err != nil {
		if n > 0 {
			if cut := s.file.Truncate(s.size); cut != nil {
				return fmt.Errorf("%w: %w", errHalf, cut)
			}
		}
		return err
	}
	s.size += int64(len(b))
	return nil
}

func (s *fileStore) flush() error { return s.file.Sync() }

func (s *fileStore) ready() error { return nil }

// export reads the file by its name, up to its last whole line: the centre may
// go on booking meanwhile.
func (s *fileStore) export(w io.Writer) error {
	file, err := os.Open(s.name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, _, err = readLines(file, func(text []byte) error {
		_, err := w.Write(text)
		return err
	}, func([]byte) bool { return true })
	return err
}

func (s *fileStore) close() error { return s.file.Close() }
