package settlement

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"onecard/fault"
)

// ErrBackup is what a backup says that was not written, or is not what the
// journal is.
var ErrBackup = fault.New(fault.BackupFailed, "the journal's backup failed")

// A Backup is a copy of a journal, written and verified.
type Backup struct {
	Verification
	File   string
	Bytes  int64
	SHA256 [32]byte // of the file
}

// Backup writes a consistent copy of the journal to a file that must not exist
// yet, mode 0600, while work goes on, and verifies the copy as it is on the disk.
// Its hash is beside it, under the file's name with .sha256, in the form of
// sha256sum. The copy is as sealed as the journal is: it needs the same key.
// Where anything fails the copy is removed. Errors wrap ErrBackup.
func (j *Journal) Backup(ctx context.Context, file string) (Backup, error) {
	b := Backup{File: file}
	if err := j.backup(ctx, &b); err != nil {
		return Backup{}, fmt.Errorf("back up journal: %w: %w", ErrBackup, err)
	}
	return b, nil
}

func (j *Journal) backup(ctx context.Context, b *Backup) (err error) {
	j.marked.Lock()
	if j.mark == nil {
		j.marked.Unlock()
		return errors.New("closed")
	}
	seq, hash := j.mark.seq, j.mark.hash
	j.marked.Unlock()
	// SQLite takes an empty file for one that it is to make: so the mode is right
	// from the first byte on.
	f, err := os.OpenFile(b.File, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(b.File))
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	if err := j.copyTo(ctx, b.File); err != nil {
		return err
	}
	if err := b.seal(); err != nil {
		return err
	}
	copied, err := sql.Open("sqlite", dsn(b.File, "", "query_only(1)"))
	if err != nil {
		return err
	}
	defer copied.Close()
	var check string
	if err := copied.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&check); err != nil {
		return err
	}
	if check != "ok" {
		return errors.New("the copy is damaged")
	}
	if b.Verification, err = verify(ctx, copied, j.key, seq, hash); err != nil {
		return err
	}
	line := fmt.Sprintf("%s  %s\n", hex.EncodeToString(b.SHA256[:]), filepath.Base(b.File))
	return writeDurably(b.File+".sha256", []byte(line))
}

func (j *Journal) copyTo(ctx context.Context, file string) error {
	db, err := sql.Open("sqlite", dsn(j.path, ""))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, file)
	return errors.Join(err, db.Close())
}

// seal brings the copy to the disk and hashes it.
func (b *Backup) seal() error {
	f, err := os.OpenFile(b.File, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(b.File)); err != nil {
		return err
	}
	h := sha256.New()
	if b.Bytes, err = io.Copy(h, f); err != nil {
		return err
	}
	h.Sum(b.SHA256[:0])
	return nil
}
