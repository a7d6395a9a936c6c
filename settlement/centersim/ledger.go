package centersim

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// The ledger is a file of JSON lines. Each is one booking:
//
//	{"seq":2,"prev":"<sum of line 1>","sum":"<64 hex>","event":{...}}
//
// sum is the SHA-256 of `seq "\n" prev "\n" event`, event as it stands in the
// line; so every line vouches for itself and for all before it. prev of the
// first line is 64 zeros. Event 1 says what the file is.
//
// A line is on the disk before its answer leaves. A last line without its
// line feed is a booking that was torn by a crash and was never answered: it
// is cut off, and [Center.CutBytes] says so. Anything else that does not fit refuses the start.
type ledgerLine struct {
	Seq   int64           `json:"seq"`
	Prev  string          `json:"prev"`
	Sum   string          `json:"sum"`
	Event json.RawMessage `json:"event"`
}

func (l ledgerLine) sum() string {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%s\n%s", l.Seq, l.Prev, l.Event)
	return hex.EncodeToString(h.Sum(nil))
}

var noPrev = strings.Repeat("0", sha256.Size*2)

// ErrLedger is wrapped by every error of a ledger that cannot be trusted.
var ErrLedger = errors.New("the ledger cannot be used")

// ledger is the open file. append has one caller at a time (the centre's
// lock); sync has many and lets one flush serve all who wait.
type ledger struct {
	file storage // nil: kept in memory only
	size int64   // up to the last whole line
	seq  int64
	prev string
	cut  int64 // bytes of a torn last line that were cut off at the start

	written atomic.Int64 // seq of the last line written
	failed  atomic.Pointer[error]
	syncing sync.Mutex
	durable int64 // seq of the last line known to be on the disk; under syncing
}

// maxLine bounds a line of the file; the largest booking, a full list of fee
// lines, is a tenth of it.
const maxLine = 4 << 20

// storage is what the ledger needs of its file; a test puts a disk that fails
// in its place.
type storage interface {
	io.WriteCloser
	Truncate(size int64) error
	Sync() error
}

// openLedger opens or makes the file, hands every event to replay in order and
// leaves the file ready to append to.
func openLedger(name string, replay func(seq int64, event []byte) error) (*ledger, error) {
	l := &ledger{prev: noPrev}
	if name == "" {
		return l, nil
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := l.load(file, replay); err != nil {
		file.Close()
		return nil, fmt.Errorf("ledger %s: %w", name, err)
	}
	l.file = file
	l.written.Store(l.seq)
	l.durable = l.seq
	return l, nil
}

func (l *ledger) load(file *os.File, replay func(int64, []byte) error) error {
	if err := lockFile(file); err != nil {
		return fmt.Errorf("%w: another centre has it open: %w", ErrLedger, err)
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if exposed(info) {
		return fmt.Errorf("%w: it is readable by others; chmod 600 it", ErrLedger)
	}
	r := bufio.NewReader(file)
	for {
		text, err := readLine(r)
		if errors.Is(err, io.EOF) {
			if !l.torn(text) {
				return fmt.Errorf("%w: line %d: not a ledger line", ErrLedger, l.seq+1)
			}
			l.cut = int64(len(text))
			break
		}
		if err == nil {
			err = l.loadLine(text, replay)
		}
		if err != nil {
			return fmt.Errorf("%w: line %d: %w", ErrLedger, l.seq+1, err)
		}
	}
	if l.cut > 0 {
		if err := file.Truncate(l.size); err != nil {
			return err
		}
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if l.size > 0 {
		return nil
	}
	return syncDir(filepath.Dir(file.Name()))
}

// readLine reads up to and with the next line feed, at most maxLine bytes; at
// the end of the file it returns what is left and io.EOF.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, errors.New("it is too long")
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

func (l *ledger) loadLine(text []byte, replay func(int64, []byte) error) error {
	var line ledgerLine
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&line); err != nil {
		return errors.New("not a ledger line")
	}
	switch {
	case line.Seq != l.seq+1:
		return fmt.Errorf("has sequence number %d", line.Seq)
	case line.Prev != l.prev:
		return errors.New("does not follow the line before it")
	case line.Sum != line.sum():
		return errors.New("its checksum differs")
	}
	// What was written is exactly what append writes; a line with other
	// spacing or a second value was written by another hand.
	if !bytes.Equal(line.bytes(), text) {
		return errors.New("not written by this centre")
	}
	if err := replay(line.Seq, line.Event); err != nil {
		return err
	}
	l.seq, l.prev, l.size = line.Seq, line.Sum, l.size+int64(len(text))
	return nil
}

// torn tells whether tail, the end of the file without a line feed, can be the
// beginning of the line that would have come next.
func (l *ledger) torn(tail []byte) bool {
	next := ledgerLine{Seq: l.seq + 1, Prev: l.prev}.bytes()
	head := next[:bytes.Index(next, []byte(`","event"`))]
	if !bytes.HasPrefix(tail, head[:min(len(head), len(tail))]) {
		return false
	}
	// A whole line that is followed by anything but its line feed was damaged.
	d := json.NewDecoder(bytes.NewReader(tail))
	var line ledgerLine
	return d.Decode(&line) != nil || d.InputOffset() == int64(len(tail))
}

func (l ledgerLine) bytes() []byte {
	b := make([]byte, 0, len(l.Event)+200)
	b = append(b, `{"seq":`...)
	b = strconv.AppendInt(b, l.Seq, 10)
	b = append(b, `,"prev":"`+l.Prev+`","sum":"`+l.Sum+`","event":`...)
	b = append(b, l.Event...)
	return append(b, '}', '\n')
}

// append writes one event and returns its sequence number; the event is on the
// disk only after sync of that number. After an error nothing was booked.
func (l *ledger) append(event any) (int64, error) {
	if err := l.failure(); err != nil {
		return 0, err
	}
	text, err := json.Marshal(event)
	if err != nil {
		return 0, fmt.Errorf("ledger: %w", err)
	}
	line := ledgerLine{Seq: l.seq + 1, Prev: l.prev, Event: text}
	line.Sum = line.sum()
	b := line.bytes()
	if len(b) > maxLine {
		return 0, errors.New("ledger: the booking is too large")
	}
	if l.file != nil {
		if n, err := l.file.Write(b); err != nil {
			// A part of a line must not stay in front of the next one.
			if n > 0 {
				if cut := l.file.Truncate(l.size); cut != nil {
					l.fail(cut)
				}
			}
			return 0, fmt.Errorf("ledger: %w", err)
		}
	}
	l.seq, l.prev, l.size = line.Seq, line.Sum, l.size+int64(len(b))
	l.written.Store(line.Seq)
	return line.Seq, nil
}

// sync returns when every line up to seq is on the disk. After a failed flush
// nobody knows what is there: the ledger takes nothing more.
func (l *ledger) sync(seq int64) error {
	if l.file == nil {
		return nil
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if err := l.failure(); err != nil || l.durable >= seq {
		return err
	}
	upTo := l.written.Load()
	if err := l.file.Sync(); err != nil {
		l.fail(err)
		return l.failure()
	}
	l.durable = upTo
	return nil
}

func (l *ledger) fail(err error) {
	err = fmt.Errorf("ledger: %w", err)
	l.failed.CompareAndSwap(nil, &err)
}

func (l *ledger) failure() error {
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (l *ledger) close() error {
	if l.file == nil {
		return nil
	}
	file := l.file
	l.file = nil
	return file.Close()
}
