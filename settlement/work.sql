-- The journal's tables of what is still to be done, since version 3.

-- What was asked upstream of an entry in doubt, and when it is asked next.
CREATE TABLE attempt (
  entry   INTEGER NOT NULL REFERENCES entry (id),
  n       INTEGER NOT NULL CHECK (n > 0),
  at      INTEGER NOT NULL, -- Unix milliseconds
  next_at INTEGER,          -- NULL: nothing more is asked, a person decides
  finding TEXT NOT NULL,
  PRIMARY KEY (entry, n)
) STRICT, WITHOUT ROWID;

-- What may wait until upstream takes it, in order within a lane.
CREATE TABLE outbox (
  id         INTEGER PRIMARY KEY,
  lane       TEXT NOT NULL CHECK (lane <> ''), -- a visit, a day
  kind       TEXT NOT NULL CHECK (kind <> ''),
  once       TEXT NOT NULL UNIQUE CHECK (once <> ''), -- the same is not queued twice
  state      TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'dead', 'dropped')),
  attempts   INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  created_at INTEGER NOT NULL, -- Unix milliseconds
  updated_at INTEGER NOT NULL,
  due_at     INTEGER NOT NULL,
  fault      TEXT NOT NULL DEFAULT '', -- OC-nnnn of the last attempt
  note       TEXT NOT NULL DEFAULT '',
  body       BLOB NOT NULL, -- sealed
  answer     BLOB           -- sealed
) STRICT;
CREATE INDEX outbox_lane ON outbox (lane, id) WHERE state IN ('waiting', 'dead');

-- Reports of reconciliation, and what was done about their differences.
CREATE TABLE reconciliation (
  id     INTEGER PRIMARY KEY,
  period TEXT NOT NULL CHECK (length(period) IN (7, 10)), -- yyyy-MM or yyyy-MM-dd
  at     INTEGER NOT NULL,                                -- Unix milliseconds
  state  TEXT NOT NULL CHECK (state <> ''),
  body   BLOB NOT NULL                                    -- sealed
) STRICT;
CREATE INDEX reconciliation_period ON reconciliation (period, id);
