package settlement

import (
	"bytes"
	"context"
	"crypto/sha256"
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
	"strings"
	"time"

	"onecard/fault"
)

// The tables, those that came later, and what makes them refuse: a migration
// copies old rows before the last.
var (
	//go:embed schema.sql
	schema string
	//go:embed work.sql
	work string
	//go:embed triggers.sql
	triggers string
)

const (
	applicationID = 0x4F4E4543 // "ONEC", in the header of every journal
	schemaVersion = 3

	// quickCheckLimit is the size up to which the whole file is checked when it
	// is opened; a check reads all of it, and a daemon must start in seconds.
	// [Journal.Check] does it at any size.
	quickCheckLimit = 64 << 20
)

// A JournalOption changes how a journal is opened.
type JournalOption func(*Journal)

// WithKeyFile names the file of the journal's key, for example on a token.
// Without it (or with "") the key is beside the database, under its name with
// .key in the place of .db.
func WithKeyFile(path string) JournalOption {
	return func(j *Journal) {
		if path != "" {
			j.keyFile = path
		}
	}
}

// OpenJournal opens a journal, or makes one where path does not exist, with its
// key and its mark. Entries that an earlier process left intended become
// unknown: their requests may have left. A journal of an earlier version is
// brought up to this one in one transaction. Errors wrap ErrAlreadyRunning where
// another process holds the journal, ErrJournalForeign where the file is
// something else or of a newer version (it is not touched), ErrJournalKey where
// its key is missing or another one, ErrJournalOld where it is not the one last
// written or was lost ([AcceptJournal] is the way out), ErrJournalAltered where
// its end was altered, and ErrJournalUnavailable where it is damaged or the
// directory refuses.
func OpenJournal(path string, now func() time.Time, options ...JournalOption) (*Journal, error) {
	j, err := openJournalWith(path, now, options, nil)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return j, nil
}

// AcceptJournal accepts a journal that is not the one last written, such as a
// backup that was restored, or none at all in the place of one that was lost:
// who decided that and why becomes a link of its chain, and its mark starts
// there. What was settled since that journal was written is not in it, and is
// to be reconciled with the centre. The journal must not be open.
func AcceptJournal(path string, now func() time.Time, who, reason string, options ...JournalOption) error {
	if err := checkDecision(who, reason); err != nil {
		return fmt.Errorf("accept journal: %w", err)
	}
	j, err := openJournalWith(path, now, options, &Decision{Who: who, Reason: reason})
	if err == nil {
		err = j.Close()
	}
	if err != nil {
		return fmt.Errorf("accept journal: %w", err)
	}
	return nil
}

func openJournalWith(path string, now func() time.Time, options []JournalOption, accepted *Decision) (*Journal, error) {
	if now == nil {
		now = time.Now
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, unavailable(err)
	}
	j := &Journal{path: path, now: now, keyFile: beside(path, ".key")}
	for _, option := range options {
		option(j)
	}
	if err := j.open(accepted); err != nil {
		_ = j.Close() // the first error is the one that counts
		return nil, err
	}
	return j, nil
}

// beside returns the database's name with another ending.
func beside(path, ending string) string { return strings.TrimSuffix(path, ".db") + ending }

func (j *Journal) open(accepted *Decision) error {
	ctx := context.Background()
	if err := j.lock.acquire(j.path + ".lock"); err != nil {
		return err
	}
	found, err := openMark(beside(j.path, ".mark"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && (accepted == nil || !errors.Is(err, ErrJournalOld)) {
		return err
	}
	j.mark = found
	info, err := os.Lstat(j.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(j.path + "-wal"); err == nil {
			return fmt.Errorf("the write-ahead log is there and its journal is not: %w", ErrJournalUnavailable)
		}
		if j.mark != nil && j.mark.seq > 0 && accepted == nil {
			return fmt.Errorf("there was one up to link %d and it is gone: %w", j.mark.seq, ErrJournalOld)
		}
		if j.key, err = makeKey(j.keyFile); err != nil {
			return err
		}
		if j.mark == nil {
			if j.mark, err = newMark(beside(j.path, ".mark"), 0, j.hash); err != nil {
				return err
			}
		}
		if err := create(ctx, j.path, j.key); err != nil {
			return err
		}
	case err != nil:
		return unavailable(err)
	default:
		if err := recognise(j.path, info); err != nil {
			return err
		}
	}
	if j.write, err = sql.Open("sqlite", dsn(j.path, "immediate", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)")); err != nil {
		return unavailable(err)
	}
	j.write.SetMaxOpenConns(1)
	if j.read, err = sql.Open("sqlite", dsn(j.path, "", "query_only(1)")); err != nil {
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
	if version < 1 || version > schemaVersion {
		return fmt.Errorf("schema version %d, this onecard knows %d: %w", version, schemaVersion, ErrJournalForeign)
	}
	if info == nil || info.Size() <= quickCheckLimit {
		if err := j.Check(ctx); err != nil {
			return err
		}
	}
	switch version {
	case 1:
		err = j.migrate(ctx)
	case 2:
		err = j.extend(ctx)
	}
	if err != nil {
		return err
	}
	if err := j.unlock(ctx); err != nil {
		return err
	}
	for _, s := range []struct {
		statement **sql.Stmt
		query     string
	}{{&j.insert, insertEntry}, {&j.readOne, readEntry}, {&j.update, updateEntry}, {&j.chain, insertLink},
		{&j.openVisit, insertVisit}, {&j.changeVisit, updateVisit}} {
		if *s.statement, err = j.write.PrepareContext(ctx, s.query); err != nil {
			return unavailable(err)
		}
	}
	if err := j.findEnd(ctx, accepted); err != nil {
		return err
	}
	if err := j.checkTail(ctx); err != nil {
		return err
	}
	return j.doubtIntended(ctx)
}

// unlock reads the key and compares it with the one that the journal was sealed
// with.
func (j *Journal) unlock(ctx context.Context) (err error) {
	if j.key == nil {
		if j.key, err = loadKey(j.keyFile); err != nil {
			return err
		}
	}
	var id int64
	switch err := j.write.QueryRowContext(ctx, `SELECT value FROM mark WHERE name = 'key'`).Scan(&id); {
	case errors.Is(err, sql.ErrNoRows):
		return altered("the number of its key is missing")
	case err != nil:
		return unavailable(err)
	case id != j.key.id:
		return fmt.Errorf("%s is another journal's: %w", filepath.Base(j.keyFile), ErrJournalKey)
	}
	return nil
}

// findEnd reads the end of the chain and compares it with the mark.
func (j *Journal) findEnd(ctx context.Context, accepted *Decision) error {
	var last []byte
	err := j.write.QueryRowContext(ctx, `SELECT seq, hash FROM chain ORDER BY seq DESC LIMIT 1`).Scan(&j.seq, &last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return unavailable(err)
	}
	copy(j.hash[:], last)
	if accepted != nil {
		return j.accept(ctx, *accepted)
	}
	if j.mark == nil {
		return fmt.Errorf("its mark is gone: %w", ErrJournalOld)
	}
	if j.seq < j.mark.seq {
		return fmt.Errorf("it ends at link %d and was last written up to link %d: %w", j.seq, j.mark.seq, ErrJournalOld)
	}
	tx, err := j.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return unavailable(err)
	}
	hash, err := hashAt(ctx, tx, j.mark.seq)
	_ = tx.Rollback() // it read only
	if err != nil {
		return err
	}
	if hash != j.mark.hash {
		return fmt.Errorf("link %d is not the one last written: %w", j.mark.seq, ErrJournalOld)
	}
	return j.remark()
}

// accept begins a new mark with a link that says who wanted it.
func (j *Journal) accept(ctx context.Context, d Decision) error {
	was := "none"
	if j.mark != nil {
		was = fmt.Sprint("link ", j.mark.seq)
		if err := j.mark.close(); err != nil {
			return unavailable(err)
		}
	}
	d.At = j.now()
	d.Reason = fmt.Sprintf("%s (mark: %s, journal: link %d)", d.Reason, was, j.seq)
	var err error
	if j.mark, err = newMark(beside(j.path, ".mark"), j.seq, j.hash); err != nil {
		return err
	}
	return j.commit(ctx, func(ctx context.Context, b *batch) error {
		none := sha256.Sum256(nil)
		return b.link(ctx, link{seq: b.seq + 1, kind: linkAccepted, digest: none[:], decision: &d})
	})
}

// doubtIntended turns what an earlier process left intended into unknown.
func (j *Journal) doubtIntended(ctx context.Context) error {
	rows, err := j.read.QueryContext(ctx, `SELECT id FROM entry WHERE outcome = 'intended' AND`+unresolved)
	if err != nil {
		return unavailable(err)
	}
	defer rows.Close()
	var open []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return unavailable(err)
		}
		open = append(open, id)
	}
	if err := rows.Err(); err != nil {
		return unavailable(err)
	}
	if len(open) == 0 {
		return nil
	}
	now := j.now().UnixMilli()
	return j.commit(ctx, func(ctx context.Context, b *batch) error {
		for _, id := range open {
			if err := b.conclude(ctx, conclusion{id, now, Conclusion{
				Outcome: Unknown, Fault: fault.AnswerLost,
				Note: "onecardd ended before the answer; the request may have been sent",
			}}, nil); err != nil {
				return fmt.Errorf("entry %d: %w: %w", id, ErrJournalUnavailable, err)
			}
		}
		return nil
	})
}

// Check reads the whole file and reports damage as ErrJournalUnavailable.
func (j *Journal) Check(ctx context.Context) error {
	var result string
	if err := j.read.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&result); err != nil {
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
	if j.mark != nil {
		if len(j.refused) > 0 {
			errs = append(errs, j.commit(context.Background(), func(context.Context, *batch) error { return nil }))
		}
		j.marked.Lock()
		errs = append(errs, j.mark.close())
		j.mark = nil
		j.marked.Unlock()
	}
	for _, statement := range []*sql.Stmt{j.insert, j.readOne, j.update, j.chain, j.openVisit, j.changeVisit} {
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

// dsn names a database; lock is how its transactions begin, "" for those that
// only read.
func dsn(path, lock string, pragmas ...string) string {
	q := url.Values{"_pragma": append([]string{"busy_timeout(5000)", "trusted_schema(0)"}, pragmas...)}
	if lock != "" {
		q.Set("_txlock", lock)
	}
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
func create(ctx context.Context, path string, key *journalKey) (err error) {
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
	db, err := sql.Open("sqlite", dsn(draft, "", "journal_mode(DELETE)", "synchronous(EXTRA)"))
	if err != nil {
		return unavailable(err)
	}
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; BEGIN; %s; %s; %s; INSERT INTO mark VALUES ('key', %d); COMMIT;",
		applicationID, schemaVersion, schema, work, triggers, key.id))
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
