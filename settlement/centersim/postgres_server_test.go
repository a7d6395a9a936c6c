//go:build unix

package centersim

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the test's own connection, by database/sql
)

// aPostgres is a PostgreSQL server of the test's own: a directory and a socket
// that nobody else has, run by a user that is not root.
type aPostgres struct {
	bin, dir string
	as       *syscall.Credential // nil: who runs the test
	life     io.WriteCloser      // the server stops when this closes
	ended    chan error
	n        int
}

// startPostgres makes one, or skips the test where there is none; where CI
// runs every part of the tests it fails.
func startPostgres(t *testing.T) *aPostgres {
	t.Helper()
	cannot := t.Skipf
	if os.Getenv("CI") == "true" {
		cannot = t.Fatalf
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		cannot("no PostgreSQL server in /usr/lib/postgresql (scripts/setup installs it)")
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	s := &aPostgres{bin: filepath.Dir(found[len(found)-1])}
	// Not t.TempDir: that is for one user alone, and its path, or that of
	// TMPDIR, may be too long for a socket.
	if s.dir, err = os.MkdirTemp("/tmp", "onecard-pg"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(s.dir); err != nil {
			t.Error(err)
		}
	})
	if os.Geteuid() == 0 { // which PostgreSQL refuses
		u, err := user.Lookup("postgres")
		if err != nil {
			u, err = user.Lookup("nobody")
		}
		if err != nil {
			cannot("no user to run PostgreSQL as: %v", err)
		}
		uid, errU := strconv.ParseUint(u.Uid, 10, 32)
		gid, errG := strconv.ParseUint(u.Gid, 10, 32)
		if errU != nil || errG != nil {
			t.Fatalf("%+v", u)
		}
		s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, int(uid), int(gid)); err != nil {
			t.Fatal(err)
		}
	}
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "-D", s.dir+"/data", "-U", "onecard", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1")
	initdb.Dir = s.dir
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.start(t)
	t.Cleanup(func() { s.stop(t) })
	return s
}

// version is the major version in /usr/lib/postgresql/15/bin/postgres.
func version(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4])
	return n
}

// start returns when the server takes connections. A shell stands between, so
// that the server ends with the test however the test ends.
func (s *aPostgres) start(t *testing.T) {
	t.Helper()
	server := exec.Command("/bin/sh", "-c", `"$@" 2>&1 & p=$!; cat >/dev/null; kill -INT $p; wait $p`, "sh",
		filepath.Join(s.bin, "postgres"), "-D", s.dir+"/data", "-k", s.dir, "-h", "", "-c", "shared_buffers=16MB", "-c", "max_connections=30",
		// The server is stopped, never unplugged: what it does to the disk is its
		// own affair, and most of the time.
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off", "-c", "lc_messages=C", "-c", "logging_collector=off")
	server.Dir = s.dir
	server.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if s.life, err = server.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan string)
	s.ended = make(chan error, 1)
	go func() {
		defer close(said)
		var log []string
		ready := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			log = append(log, lines.Text())
			if !ready && strings.Contains(lines.Text(), "database system is ready to accept connections") {
				ready = true
				said <- ""
			}
		}
		s.ended <- server.Wait()
		if !ready {
			said <- strings.Join(log, "\n")
		}
	}()
	select {
	case why := <-said:
		if why != "" {
			t.Fatalf("PostgreSQL did not start:\n%s", why)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("PostgreSQL has not started in two minutes")
	}
}

// stop shuts the server down: transactions under way are broken off.
func (s *aPostgres) stop(t *testing.T) {
	t.Helper()
	if s.life == nil {
		return
	}
	err := s.life.Close()
	s.life = nil
	if err == nil {
		err = <-s.ended
	}
	if err != nil {
		t.Errorf("PostgreSQL: %v", err)
	}
}

func (s *aPostgres) url(database string) string {
	return "postgres://onecard@/" + database + "?host=" + s.dir
}

// admin is a connection of the test's own.
func (s *aPostgres) admin(t *testing.T, database string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", s.url(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func run(t fataler, db *sql.DB, statement string, a ...any) {
	t.Helper()
	if _, err := db.ExecContext(context.Background(), statement, a...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// fresh is an empty database.
func (s *aPostgres) fresh(t *testing.T) (name string, db *sql.DB) {
	t.Helper()
	s.n++
	name = fmt.Sprintf("center%d", s.n)
	run(t, s.admin(t, "postgres"), "CREATE DATABASE "+name)
	return name, s.admin(t, name)
}
