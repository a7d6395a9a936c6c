package centersim

import (
	"cmp"
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

//go:embed postgres.sql
var postgresSchema string

const (
	databaseTimeout = 10 * time.Second       // for one exchange with the database
	databasePause   = 200 * time.Millisecond // between two tries to reach one that is away
)

// ledgerLock is the first half of the advisory lock that keeps a second centre
// away; the other is the table's own number.
const ledgerLock = 0x6f6e6563

// postgresStore keeps the lines in a table of PostgreSQL. Lines that were
// written and not yet flushed wait in memory; one flush takes all of them in one
// statement. While the database is away they go on waiting: after a new
// connection it is looked up which of them have arrived.
type postgresStore struct {
	db       *sql.DB
	readOnly bool

	mu      sync.Mutex
	waiting []ledgerLine
	down    error     // why the last flush failed, nil if it did not
	tried   time.Time // when that was

	// Under the ledger's flush, which has one caller at a time.
	conn *sql.Conn // holds the lock; nil: not connected
	last ledgerLine
}

// openPostgres connects to the database that text names: its URL, or a file
// that holds it. It makes the tables where they are missing.
func openPostgres(text string) (*postgresStore, error) {
	s, err := postgresOf(text)
	if err != nil {
		return nil, err
	}
	if err := bounded(s.setUp); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrDatabase, err), s.db.Close())
	}
	return s, nil
}

// readPostgres is openPostgres to read only, beside the centre.
func readPostgres(text string) (*postgresStore, error) {
	s, err := postgresOf(text)
	if err != nil {
		return nil, err
	}
	s.readOnly = true
	return s, nil
}

func postgresOf(text string) (*postgresStore, error) {
	where, err := databaseURL(text)
	if err != nil {
		return nil, fmt.Errorf("%w: database: %w", ErrConfig, err)
	}
	config, err := pgx.ParseConfig(where)
	if err != nil {
		// The driver's own words repeat the URL.
		return nil, fmt.Errorf("%w: database: not a URL postgres://USER@HOST:PORT/DATABASE", ErrConfig)
	}
	config.ConnectTimeout = cmp.Or(config.ConnectTimeout, databaseTimeout/2)
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "onecard sim center"
	}
	// A database that is set up to lose what it has acknowledged must not.
	config.RuntimeParams["synchronous_commit"] = "on"
	s := &postgresStore{db: stdlib.OpenDB(*config)}
	s.db.SetMaxOpenConns(3)
	return s, nil
}

// databaseURL is the URL, or what the file of that name holds. A password must
// not stand on a command line: it belongs in the file, or in ~/.pgpass.
func databaseURL(text string) (string, error) {
	if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
		config, err := pgx.ParseConfig(text)
		rest := text[strings.Index(text, "//")+2:]
		user, _, _ := strings.Cut(rest, "@")
		if err == nil && (strings.Contains(user, ":") && strings.Contains(rest, "@") || strings.Contains(rest, "password=")) && config.Password != "" {
			return "", errors.New("the URL holds a password: put the URL in a file with mode 0600 and name that")
		}
		return text, nil
	}
	info, err := os.Stat(text)
	if err != nil {
		return "", err
	}
	if exposed(info) {
		return "", errors.New("the file is readable by others; chmod 600 it")
	}
	b, err := os.ReadFile(text)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

// setUp makes the tables. Two centres that start at once must not make them at
// once, whichever of them gets the ledger then.
func (s *postgresStore) setUp(ctx context.Context) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after Commit it does nothing
	var there bool
	if err := tx.QueryRowContext(ctx, `SELECT to_regclass('center_settlements') IS NOT NULL`).Scan(&there); err != nil || there {
		return err
	}
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(ledgerLock)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, postgresSchema); err != nil {
		return err
	}
	return tx.Commit()
}

// errHeld says that another session has the ledger.
var errHeld = errors.New("another centre has it open")

// How long to wait for the ledger: the session of a centre that was killed, or
// our own that broke, may have to notice that first.
const (
	patience      = "2s"
	patienceAgain = "500ms" // while institutions wait
)

// connect makes the connection that writes, and takes the ledger for it.
func (s *postgresStore) connect(ctx context.Context, patience string) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	s.conn = conn
	if _, err = conn.ExecContext(ctx, `SELECT set_config('lock_timeout', $1, false)`, patience); err == nil {
		_, err = conn.ExecContext(ctx, `SELECT pg_advisory_lock(($1::bigint << 32) | 'center_ledger'::regclass::oid::bigint)`, int64(ledgerLock))
	}
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == "55P03" { // lock_not_available
		err = errHeld
	}
	if err != nil {
		s.disconnect()
	}
	return err
}

// disconnect gives the connection up for good, not back to the pool: the lock
// goes with it.
func (s *postgresStore) disconnect() {
	if s.conn == nil {
		return
	}
	// What comes of a connection that is thrown away does not matter.
	s.conn.Raw(func(c any) error { return c.(*stdlib.Conn).Close() })
	s.conn.Close()
	s.conn = nil
}

func (s *postgresStore) load(take func([]byte) error, _ func([]byte) bool) (int64, error) {
	ctx := context.Background()
	if !s.readOnly {
		err := bounded(func(ctx context.Context) error { return s.connect(ctx, patience) })
		if errors.Is(err, errHeld) {
			return 0, fmt.Errorf("%w: %w", ErrLedger, err)
		} else if err != nil {
			return 0, fmt.Errorf("%w: %w", ErrDatabase, err)
		}
	}
	err := s.each(ctx, func(line ledgerLine) error {
		s.last = line
		return take(line.bytes())
	})
	switch {
	case err == nil:
		return 0, nil
	case errors.Is(err, ErrLedger):
		return 0, fmt.Errorf("ledger database: %w", err)
	}
	return 0, fmt.Errorf("%w: %w", ErrDatabase, err)
}

// each hands over every line.
func (s *postgresStore) each(ctx context.Context, do func(ledgerLine) error) error {
	rows, err := s.db.QueryContext(ctx, `SELECT seq, prev, sum, event FROM center_ledger ORDER BY seq`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var line ledgerLine
		var text string
		if err := rows.Scan(&line.Seq, &line.Prev, &line.Sum, &text); err != nil {
			return err
		}
		if line.Event = []byte(text); len(text) > maxLine {
			return fmt.Errorf("%w: line %d is too long", ErrLedger, line.Seq)
		}
		if err := do(line); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *postgresStore) write(line ledgerLine) error {
	if s.readOnly {
		return errReadOnly
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, line)
	return nil
}

// flush puts every waiting line into the table. A connection that broke is made
// anew once: who restarts the database quickly is not noticed.
func (s *postgresStore) flush() error {
	s.mu.Lock()
	down, tried := s.down, s.tried
	s.mu.Unlock()
	if down != nil && time.Since(tried) < databasePause {
		return down
	}
	err := bounded(s.insert)
	if err != nil {
		s.disconnect()
		if err = bounded(s.reconnect); err == nil {
			err = bounded(s.insert)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var server *pgconn.PgError
	switch {
	case err == nil:
		s.down = nil
		return nil
	case errors.Is(err, ErrLedger):
		return err
	case errors.As(err, &server) && strings.HasPrefix(server.Code, "23"):
		// A row that breaks a constraint of the table will always do so.
		return fmt.Errorf("%w: %w", ErrLedger, err)
	}
	s.down, s.tried = fmt.Errorf("%w: %w", ErrDatabase, err), time.Now()
	return s.down
}

// bounded gives one exchange with the database its time.
func bounded(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), databaseTimeout)
	defer cancel()
	return do(ctx)
}

// insert writes what waits, in one statement: all of it or nothing.
func (s *postgresStore) insert(ctx context.Context) error {
	s.mu.Lock()
	lines := s.waiting[:len(s.waiting):len(s.waiting)]
	s.mu.Unlock()
	if len(lines) == 0 {
		return nil
	}
	if s.conn == nil {
		return errors.New("not connected")
	}
	var seq []int64
	var prev, sum, event []string
	for _, line := range lines {
		seq, prev = append(seq, line.Seq), append(prev, line.Prev)
		sum, event = append(sum, line.Sum), append(event, string(line.Event))
	}
	_, err := s.conn.ExecContext(ctx, `INSERT INTO center_ledger (seq, prev, sum, event)
		SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[])`, seq, prev, sum, event)
	if err != nil {
		return err
	}
	s.arrived(len(lines))
	return nil
}

// arrived forgets the first n lines that wait: they are in the table.
func (s *postgresStore) arrived(n int) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = s.waiting[n-1]
	s.waiting = append([]ledgerLine(nil), s.waiting[n:]...)
}

// reconnect connects and looks which of the waiting lines are in the table: an
// insertion whose answer was lost may have happened. A table that holds
// anything else is not this ledger any more.
func (s *postgresStore) reconnect(ctx context.Context) error {
	if err := s.connect(ctx, patienceAgain); err != nil {
		return err
	}
	var seq int64
	var sum string
	err := s.conn.QueryRowContext(ctx, `SELECT seq, sum FROM center_ledger ORDER BY seq DESC LIMIT 1`).Scan(&seq, &sum)
	if errors.Is(err, sql.ErrNoRows) {
		seq, sum, err = 0, "", nil
	}
	if err != nil {
		s.disconnect()
		return err
	}
	s.mu.Lock()
	n := int(seq - s.last.Seq)
	known := n >= 0 && n <= len(s.waiting)
	if known {
		end := s.last
		if n > 0 {
			end = s.waiting[n-1]
		}
		known = end.Sum == sum
	}
	s.mu.Unlock()
	if !known {
		s.disconnect()
		return fmt.Errorf("%w: the database has come back with another ledger, up to line %d", ErrLedger, seq)
	}
	s.arrived(n)
	return nil
}

func (s *postgresStore) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

func (s *postgresStore) export(w io.Writer) error {
	return s.each(context.Background(), func(line ledgerLine) error {
		_, err := w.Write(line.bytes())
		return err
	})
}

func (s *postgresStore) close() error {
	if s.conn != nil {
		// Who starts next need not wait for the session's end; if this fails
		// that end will do.
		bounded(func(ctx context.Context) error {
			_, err := s.conn.ExecContext(ctx, `SELECT pg_advisory_unlock_all()`)
			return err
		})
	}
	s.disconnect()
	return s.db.Close()
}
