-- The journal's schema, version 1. What must never happen is refused here,
-- whatever program writes. Entries are never deleted, so their numbers are
-- never used again. Every index costs a page in each fsynced commit.

CREATE TABLE mark (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE entry (
  id             INTEGER PRIMARY KEY,
  visit          TEXT NOT NULL CHECK (visit <> ''),
  infno          TEXT NOT NULL CHECK (infno <> ''),
  msgid          TEXT NOT NULL UNIQUE CHECK (msgid <> ''),
  day            TEXT NOT NULL CHECK (length(day) = 10), -- of opened_at, in China
  opened_at      INTEGER NOT NULL,                       -- Unix milliseconds
  closed_at      INTEGER,
  outcome        TEXT NOT NULL CHECK (outcome IN ('intended', 'done', 'refused', 'unknown')),
  agreed_total   INTEGER NOT NULL,                       -- fen, as the payer agreed
  agreed_fund    INTEGER NOT NULL,
  agreed_account INTEGER NOT NULL,
  agreed_cash    INTEGER NOT NULL,
  total          INTEGER NOT NULL,                       -- fen, as booked, as agreed before
  fund           INTEGER NOT NULL,
  account        INTEGER NOT NULL,
  cash           INTEGER NOT NULL,
  mdtrt_id       TEXT NOT NULL,
  psn_no         TEXT NOT NULL,
  holder         TEXT NOT NULL,                          -- masked
  setl_id        TEXT NOT NULL DEFAULT '',
  fault          TEXT NOT NULL DEFAULT '',               -- OC-nnnn
  message        TEXT NOT NULL DEFAULT '',               -- upstream's words
  note           TEXT NOT NULL DEFAULT '',               -- ours
  reversed_by    INTEGER REFERENCES entry (id),          -- the refund that undid it
  request_sha256 BLOB NOT NULL CHECK (length(request_sha256) = 32),
  request        BLOB NOT NULL,
  answer         BLOB,
  CHECK ((outcome = 'intended') = (closed_at IS NULL)),
  CHECK (outcome <> 'done' OR setl_id <> '')
) STRICT;

-- A visit has one call on its way or in doubt, and one settlement that stands.
CREATE UNIQUE INDEX entry_unresolved ON entry (visit) WHERE outcome IN ('intended', 'unknown');
CREATE UNIQUE INDEX entry_standing ON entry (visit, infno)
  WHERE outcome IN ('intended', 'unknown', 'done') AND reversed_by IS NULL;
-- The same visit upstream, whatever number the terminal gave it.
CREATE UNIQUE INDEX entry_mdtrt ON entry (mdtrt_id) WHERE outcome IN ('intended', 'unknown') AND mdtrt_id <> '';
CREATE INDEX entry_day ON entry (day, id);

CREATE TRIGGER entry_born BEFORE INSERT ON entry WHEN NEW.outcome <> 'intended'
BEGIN SELECT RAISE(ABORT, 'an entry begins as intended'); END;

CREATE TRIGGER entry_stays BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'an entry is never deleted'); END;

CREATE TRIGGER entry_forward BEFORE UPDATE OF outcome ON entry
WHEN NOT (OLD.outcome = 'intended' AND NEW.outcome IN ('done', 'refused', 'unknown')
       OR OLD.outcome = 'unknown' AND NEW.outcome IN ('done', 'refused', 'unknown'))
BEGIN SELECT RAISE(ABORT, 'an outcome never goes back'); END;

CREATE TRIGGER entry_final BEFORE UPDATE ON entry
WHEN OLD.outcome IN ('done', 'refused') AND (
     OLD.closed_at IS NOT NEW.closed_at OR OLD.total <> NEW.total OR OLD.fund <> NEW.fund
  OR OLD.account <> NEW.account OR OLD.cash <> NEW.cash OR OLD.setl_id <> NEW.setl_id
  OR OLD.answer IS NOT NEW.answer OR OLD.reversed_by IS NOT NULL AND OLD.reversed_by IS NOT NEW.reversed_by)
BEGIN SELECT RAISE(ABORT, 'a closed entry does not change'); END;

CREATE TRIGGER entry_sent BEFORE UPDATE ON entry
WHEN OLD.id <> NEW.id OR OLD.visit <> NEW.visit OR OLD.infno <> NEW.infno OR OLD.msgid <> NEW.msgid
  OR OLD.day <> NEW.day OR OLD.opened_at <> NEW.opened_at
  OR OLD.agreed_total <> NEW.agreed_total OR OLD.agreed_fund <> NEW.agreed_fund
  OR OLD.agreed_account <> NEW.agreed_account OR OLD.agreed_cash <> NEW.agreed_cash
  OR OLD.mdtrt_id <> NEW.mdtrt_id OR OLD.psn_no <> NEW.psn_no
  OR OLD.request_sha256 <> NEW.request_sha256 OR OLD.request <> NEW.request
BEGIN SELECT RAISE(ABORT, 'what was sent does not change'); END;

CREATE TABLE visit (
  id         TEXT PRIMARY KEY CHECK (id <> ''),
  state      TEXT NOT NULL,
  version    INTEGER NOT NULL CHECK (version > 0),
  opened_at  INTEGER NOT NULL, -- Unix milliseconds
  updated_at INTEGER NOT NULL,
  body       BLOB NOT NULL
) STRICT;
CREATE INDEX visit_state ON visit (state, updated_at);

CREATE TABLE sign_in (
  opter   TEXT NOT NULL,
  day     TEXT NOT NULL,
  sign_no TEXT NOT NULL CHECK (sign_no <> ''),
  PRIMARY KEY (opter, day)
) STRICT, WITHOUT ROWID;
