package settlement

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"time"

	"onecard/fault"
)

// ErrJournalOld is what a journal says that is behind its mark: an old copy in
// the place of the journal, or one that was lost.
var ErrJournalOld = fault.New(fault.JournalOld, "the journal is not the one last written")

// A headMark keeps, outside the database, how far its chain got. It is written
// after every commit, so it is never ahead of the database: a database behind
// it is an old one.
//
// The file has two slots of 95 bytes, written in turn: number, hash, checksum.
// A slot that a power cut tore is void and the other one counts.
type headMark struct {
	f      *os.File
	seq    int64
	hash   [32]byte
	slot   int64
	synced time.Time
}

const markSlot = 95

// markEvery bounds how long a mark stays in the page cache, which a killed
// process leaves intact and a power cut does not.
const markEvery = time.Second

func (m *headMark) line() []byte {
	text := fmt.Sprintf("%020d %064x", m.seq, m.hash)
	return fmt.Appendf(nil, "%s %08x\n", text, crc32.ChecksumIEEE([]byte(text)))
}

// openMark reads a mark; fs.ErrNotExist where there is none.
func openMark(path string) (*headMark, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, unavailable(err)
	}
	var text [2 * markSlot]byte
	n, err := f.ReadAt(text[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(unavailable(err), f.Close())
	}
	m := &headMark{f: f, seq: -1}
	for slot := int64(0); slot < 2 && int(slot+1)*markSlot <= n; slot++ {
		line := text[slot*markSlot : (slot+1)*markSlot]
		var one headMark
		var sum uint32
		var hash []byte
		if _, err := fmt.Sscanf(string(line), "%020d %064x %08x\n", &one.seq, &hash, &sum); err != nil || len(hash) != 32 {
			continue
		}
		copy(one.hash[:], hash)
		if string(one.line()) == string(line) && one.seq >= m.seq {
			m.seq, m.hash, m.slot = one.seq, one.hash, slot
		}
	}
	if m.seq < 0 {
		return nil, errors.Join(fmt.Errorf("its mark is not readable: %w", ErrJournalOld), f.Close())
	}
	return m, nil
}

// newMark makes a mark, in place of any that is there.
func newMark(path string, seq int64, hash [32]byte) (*headMark, error) {
	m := headMark{seq: seq, hash: hash}
	line := m.line()
	if err := writeDurably(path, append(line, line...)); err != nil {
		return nil, unavailable(err)
	}
	return openMark(path)
}

// set moves the mark forward. On the disk it is within a second.
func (m *headMark) set(seq int64, hash [32]byte) error {
	next := *m
	next.seq, next.hash, next.slot = seq, hash, 1-m.slot
	if _, err := m.f.WriteAt(next.line(), next.slot*markSlot); err != nil {
		return unavailable(err)
	}
	*m = next
	if now := time.Now(); now.Sub(m.synced) >= markEvery { // not the journal's clock: that of the kernel's cache
		if err := m.f.Sync(); err != nil {
			return unavailable(err)
		}
		m.synced = now
	}
	return nil
}

func (m *headMark) close() error { return errors.Join(m.f.Sync(), m.f.Close()) }
