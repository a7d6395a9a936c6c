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
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  lane       TEXT NOT NULL CHECK (lane <> ''), -- a visit, a day, a card by its pseudonym
  kind       TEXT NOT NULL CHECK (kind <> ''),
  once       TEXT NOT NULL UNIQUE CHECK (once <> ''), -- the same is not queued twice
  state      TEXT NOT NULL CHECK (state IN ('held', 'waiting', 'sending', 'sent', 'dead', 'dropped', 'void')),
  doubt      INTEGER NOT NULL DEFAULT 0 CHECK (doubt IN (0, 1)), -- an attempt may have arrived
  attempts   INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),   -- that left, or may have, since queued_at
  misses     INTEGER NOT NULL DEFAULT 0 CHECK (misses >= 0),     -- of which nothing left, since queued_at
  created_at INTEGER NOT NULL, -- Unix milliseconds
  queued_at  INTEGER NOT NULL, -- created, or put back by a person
  updated_at INTEGER NOT NULL,
  due_at     INTEGER NOT NULL,
  fault      TEXT NOT NULL DEFAULT '', -- OC-nnnn of the last attempt
  message    TEXT NOT NULL DEFAULT '', -- upstream's words
  note       TEXT NOT NULL DEFAULT '', -- ours
  body       BLOB NOT NULL             -- sealed
) STRICT;
CREATE INDEX outbox_open ON outbox (lane, id) WHERE state IN ('held', 'waiting', 'sending', 'dead');
CREATE INDEX outbox_closed ON outbox (updated_at) WHERE state IN ('sent', 'dropped', 'void');

-- What a person decided of an item, and why; it outlives the item.
CREATE TABLE outbox_decision (
  id      INTEGER PRIMARY KEY,
  item    INTEGER NOT NULL,
  kind    TEXT NOT NULL,
  once    TEXT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('retry', 'drop')),
  at      INTEGER NOT NULL, -- Unix milliseconds
  who     TEXT NOT NULL CHECK (who <> ''),
  reason  TEXT NOT NULL CHECK (reason <> '')
) STRICT;
CREATE INDEX outbox_decision_item ON outbox_decision (item);

-- Reports of reconciliation, and what was done about their differences.
CREATE TABLE reconciliation (
  id     INTEGER PRIMARY KEY,
  period TEXT NOT NULL CHECK (length(period) IN (7, 10)), -- yyyy-MM or yyyy-MM-dd
  at     INTEGER NOT NULL,                                -- Unix milliseconds
  state  TEXT NOT NULL CHECK (state <> ''),
  body   BLOB NOT NULL                                    -- sealed
) STRICT;
CREATE INDEX reconciliation_period ON reconciliation (period, id);
