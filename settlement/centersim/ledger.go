package centersim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// The ledger is a list of JSON lines, in a file or in a database. Each is one
// booking:
//
//	{"seq":2,"prev":"<sum of line 1>","sum":"<64 hex>","event":{...}}
//
// sum is the SHA-256 of `seq "\n" prev "\n" event`, event as it stands in the
// line; so every line vouches for itself and for all before it. prev of the
// first line is 64 zeros. Event 1 says what the file is.
//
// A line is on the disk before its answer leaves. Of a file, a last line without
// its line feed is a booking that was torn by a crash and was never answered: it
// is cut off, and [Center.CutBytes] says so. Anything else that does not fit
// refuses the start.
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

// ErrDatabase is wrapped by the errors of a ledger's database that is away. While
// a centre runs that may pass: the lines that were handed over are kept and
// written as soon as that is possible. After any other failure to flush nobody
// knows what the disk holds.
var ErrDatabase = errors.New("the ledger's database cannot be reached")

// errHalf is wrapped by a failed write that left a part of a line behind.
var errHalf = errors.New("half a line was written")

// store keeps the lines of a ledger.
type store interface {
	// load hands over every line, oldest first, with its line feed, and leaves
	// the store ready to be written to. torn tells whether an end without a line
	// feed can be the next line's beginning; cut is how much of one was dropped.
	load(take func(text []byte) error, torn func(tail []byte) bool) (cut int64, err error)
	// write takes the next line; it has one caller at a time. After an error
	// nothing was written, or the error wraps errHalf.
	write(line ledgerLine) error
	// flush returns when every line written before the call is on the disk; it
	// has one caller at a time. An error wraps ErrDatabase or is the end.
	flush() error
	// ready says why a booking would not be kept now, nil if it would.
	ready() error
	// export writes the lines as they stand.
	export(w io.Writer) error
	close() error
}

// ledger is the chain of the lines. append has one caller at a time (the
// centre's lock); sync has many and lets one flush serve all who wait.
type ledger struct {
	store store // nil: kept in memory only
	seq   int64
	prev  string
	cut   int64 // bytes of a torn last line that were cut off at the start

	written atomic.Int64 // seq of the last line written
	failed  atomic.Pointer[error]
	syncing sync.Mutex
	durable int64 // seq of the last line known to be on the disk; under syncing
}

// maxLine bounds a line; the largest booking, a full list of fee lines, is a
// tenth of it.
const maxLine = 4 << 20

// openLedger hands every event of a store to replay, in order, and leaves it
// ready to append to. The store is closed if it cannot be used.
func openLedger(s store, replay func(seq int64, event []byte) error) (*ledger, error) {
	l := &ledger{prev: noPrev}
	if s == nil {
		return l, nil
	}
	cut, err := s.load(func(text []byte) error {
		if err := l.loadLine(text, replay); err != nil {
			return fmt.Errorf("%w: line %d: %w", ErrLedger, l.seq+1, err)
		}
		return nil
	}, l.torn)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	l.store, l.cut = s, cut
	l.written.Store(l.seq)
	l.durable = l.seq
	return l, nil
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
	l.seq, l.prev = line.Seq, line.Sum
	return nil
}

// torn tells whether tail, the end of a file without a line feed, can be the
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
	if len(text) > maxLine-1024 {
		return 0, errors.New("ledger: the booking is too large")
	}
	if l.store != nil {
		if err := l.store.write(line); err != nil {
			// A part of a line must not stay in front of the next one.
			if errors.Is(err, errHalf) {
				l.fail(err)
			}
			return 0, fmt.Errorf("ledger: %w", err)
		}
	}
	l.seq, l.prev = line.Seq, line.Sum
	l.written.Store(line.Seq)
	return line.Seq, nil
}

// sync returns when every line up to seq is on the disk. After a failed flush
// of a file nobody knows what is there: the ledger takes nothing more. A
// database that is away is asked again by the next caller.
func (l *ledger) sync(seq int64) error {
	if l.store == nil {
		return nil
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if err := l.failure(); err != nil || l.durable >= seq {
		return err
	}
	upTo := l.written.Load()
	if err := l.store.flush(); err != nil {
		if errors.Is(err, ErrDatabase) {
			return fmt.Errorf("ledger: %w", err)
		}
		l.fail(err)
		return l.failure()
	}
	l.durable = upTo
	return nil
}

// ready says why a booking would not be kept now: for a while, or (failure)
// for ever.
func (l *ledger) ready() error {
	if l.store == nil {
		return l.failure()
	}
	if err := l.failure(); err != nil {
		return err
	}
	if l.store.ready() == nil {
		return nil
	}
	return l.sync(l.written.Load())
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
	if l.store == nil {
		return nil
	}
	s := l.store
	l.store = nil
	return s.close()
}
