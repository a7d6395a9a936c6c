package settlement

import (
	"bytes"
	"context"
	"database/sql"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"onecard/fault"
)

//go:embed schema.sql
var schema string

const (
	applicationID = 0x4F4E4543 // "ONEC", in the header of every journal
	schemaVersion = 1

	// quickCheckLimit is the size up to which the whole file is checked when it
	// is opened; a check reads all of it, and a daemon must start in seconds.
	// [Journal.Check] does it at any size.
	quickCheckLimit = 64 << 20
)

// OpenJournal opens a journal, or makes one where path does not exist. Entries
// that an earlier process left intended become unknown: their requests may
// have left. Errors wrap ErrAlreadyRunning where another process holds the
// journal, ErrJournalForeign where the file is something else or of a newer
// version (it is not touched), and ErrJournalUnavailable where it is damaged or
// the directory refuses.
func OpenJournal(path string, now func() time.Time) (*Journal, error) {
	if now == nil {
		now = time.Now
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", unavailable(err))
	}
	j := &Journal{path: path, now: now}
	if err := j.open(); err != nil {
		_ = j.Close() // the first error is the one that counts
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return j, nil
}

func (j *Journal) open() error {
	ctx := context.Background()
	if err := j.lock.acquire(j.path + ".lock"); err != nil {
		return err
	}
	info, err := os.Lstat(j.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(j.path + "-wal"); err == nil {
			return fmt.Errorf("the write-ahead log is there and its journal is not: %w", ErrJournalUnavailable)
		}
		if err := create(ctx, j.path); err != nil {
			return err
		}
	case err != nil:
		return unavailable(err)
	default:
		if err := recognise(j.path, info); err != nil {
			return err
		}
	}
	if j.write, err = sql.Open("sqlite", dsn(j.path, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)")); err != nil {
		return unavailable(err)
	}
	j.write.SetMaxOpenConns(1)
	if j.read, err = sql.Open("sqlite", dsn(j.path, "query_only(1)")); err != nil {
		return unavailable(err)
	}
	j.read.SetMaxOpenConns(4)
	var mode string
	var full, version int
	if err := j.write.QueryRowContext(ctx, `SELECT m.journal_mode, s.synchronous, v.user_version
		FROM pragma_journal_mode m, pragma_synchronous s, pragma_user_version v`).Scan(&mode, &full, &version); err != nil {
		return unavailable(err)
	}
	if mode != "wal" || full != 2 {
		return fmt.Errorf("journal mode is %s, synchronous %d: %w", mode, full, ErrJournalUnavailable)
	}
	if version != schemaVersion {
		return fmt.Errorf("schema version %d, this onecard knows %d: %w", version, schemaVersion, ErrJournalForeign)
	}
	if info == nil || info.Size() <= quickCheckLimit {
		if err := j.Check(ctx); err != nil {
			return err
		}
	}
	if _, err := j.write.ExecContext(ctx, `UPDATE entry SET outcome = 'unknown', closed_at = ?1, fault = ?2,
		note = 'onecardd ended before the answer; the request may have been sent' WHERE outcome = 'intended' AND`+unresolved,
		j.now().UnixMilli(), string(fault.AnswerLost)); err != nil {
		return unavailable(err)
	}
	if j.insert, err = j.write.PrepareContext(ctx, insertEntry); err != nil {
		return unavailable(err)
	}
	if j.update, err = j.write.PrepareContext(ctx, updateEntry); err != nil {
		return unavailable(err)
	}
	return nil
}

// Check reads the whole file and reports damage as ErrJournalUnavailable.
func (j *Journal) Check(ctx context.Context) error {
	var result string
	if err := j.write.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&result); err != nil {
		return unavailable(err)
	}
	if result != "ok" {
		return fmt.Errorf("the file is damaged: %w", ErrJournalUnavailable)
	}
	return nil
}

// Close tries conclusions that the disk refused once more and closes the file.
func (j *Journal) Close() error {
	var errs []error
	if j.update != nil {
		errs = append(errs, j.flush(context.Background()))
	}
	for _, statement := range []*sql.Stmt{j.insert, j.update} {
		if statement != nil {
			errs = append(errs, statement.Close())
		}
	}
	// Readers first: the last connection folds the write-ahead log back in.
	for _, db := range []*sql.DB{j.read, j.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	errs = append(errs, j.lock.release())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

func dsn(path string, pragmas ...string) string {
	q := url.Values{"_pragma": append([]string{"busy_timeout(5000)", "trusted_schema(0)"}, pragmas...)}
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: q.Encode()}).String()
}

// recognise looks at a file before SQLite may touch it: opening another
// program's database in WAL mode would already change it.
func recognise(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("not a regular file: %w", ErrJournalForeign)
	}
	f, err := os.Open(path)
	if err != nil {
		return unavailable(err)
	}
	defer f.Close()
	var header [100]byte
	if _, err := io.ReadFull(f, header[:]); err != nil {
		return fmt.Errorf("shorter than a header: %w", ErrJournalForeign)
	}
	if !bytes.HasPrefix(header[:], []byte("SQLite format 3\x00")) || binary.BigEndian.Uint32(header[68:]) != applicationID {
		return ErrJournalForeign
	}
	if v := binary.BigEndian.Uint32(header[60:]); v > schemaVersion {
		return fmt.Errorf("schema version %d, this onecard knows %d: %w", v, schemaVersion, ErrJournalForeign)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o600); err != nil {
			return unavailable(err)
		}
	}
	return nil
}

// create makes a new journal beside its place and moves it there when it is
// whole, so that a crash never leaves half a journal.
func create(ctx context.Context, path string) (err error) {
	draft := path + ".new"
	for _, left := range []string{draft, draft + "-journal"} {
		if err := os.Remove(left); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unavailable(err)
		}
	}
	f, err := os.OpenFile(draft, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return unavailable(err)
	}
	if err := f.Close(); err != nil {
		return unavailable(err)
	}
	db, err := sql.Open("sqlite", dsn(draft, "journal_mode(DELETE)", "synchronous(EXTRA)"))
	if err != nil {
		return unavailable(err)
	}
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; BEGIN; %s; COMMIT;", applicationID, schemaVersion, schema))
	if err = errors.Join(err, db.Close()); err != nil {
		return unavailable(err)
	}
	if err := os.Rename(draft, path); err != nil {
		return unavailable(err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return unavailable(err)
	}
	return nil
}
