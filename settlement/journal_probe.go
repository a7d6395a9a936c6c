package settlement

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// probeRoom is what must be free beside the journal: some pages for each of the
// commits of a settlement, with the request and an answer of usual size.
const probeRoom = 256 << 10

// Probe writes one row, durably, and with it every conclusion that the disk
// refused earlier: whether the journal can be written only a write can tell. A
// row may still fit where a settlement does not, because the write-ahead log
// uses its space again, so a file as large as a settlement may need is written,
// too, and removed. Errors wrap ErrJournalUnavailable.
func (j *Journal) Probe(ctx context.Context) error {
	err := j.commit(ctx, func(ctx context.Context, b *batch) error {
		return b.exec(ctx, `INSERT INTO mark (name, value) VALUES ('probe', 1)
			ON CONFLICT (name) DO UPDATE SET value = value % 1000000 + 1`)
	})
	if err == nil {
		err = j.probeRoom()
	}
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return nil
}

// probeRoom finds out whether the disk has room for a settlement.
func (j *Journal) probeRoom() error {
	j.probing.Lock()
	defer j.probing.Unlock()
	name := beside(j.path, ".probe")
	// A crash may have left one.
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unavailable(err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return unavailable(err)
	}
	_, err = f.Write(bytes.Repeat([]byte{0xA5}, probeRoom))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close(), os.Remove(name)); err != nil {
		return unavailable(err)
	}
	return nil
}
