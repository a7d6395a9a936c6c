-- What onecard has begun on cards, schema version 1. A plan's values stand here
-- only while the plan is open: afterwards nobody needs a person's data.

CREATE TABLE plan (
  number    INTEGER PRIMARY KEY,
  id        TEXT NOT NULL UNIQUE CHECK (length(id) = 32),
  card      TEXT NOT NULL CHECK (card <> ''),
  body      TEXT NOT NULL DEFAULT '',                 -- JSON, '' once closed
  files     TEXT NOT NULL,                            -- which files, for people
  writing   INTEGER NOT NULL DEFAULT -1,
  outcome   TEXT NOT NULL DEFAULT '' CHECK (outcome IN ('', 'done', 'rolled-back', 'conflict', 'abandoned')),
  opened_at INTEGER NOT NULL,                         -- Unix milliseconds
  closed_at INTEGER,
  CHECK ((outcome = '') = (closed_at IS NULL)),
  CHECK ((outcome = '') = (body <> ''))
) STRICT;

CREATE INDEX plan_open ON plan (card) WHERE outcome = '';

CREATE TABLE debit (
  number   INTEGER PRIMARY KEY,
  id       TEXT NOT NULL UNIQUE CHECK (length(id) = 32),
  card     TEXT NOT NULL CHECK (card <> ''),
  state    TEXT NOT NULL CHECK (state IN ('intended', 'done', 'void')),
  body     TEXT NOT NULL,                             -- JSON, with the TAC once done
  noted_at INTEGER NOT NULL                           -- Unix milliseconds
) STRICT;

CREATE INDEX debit_open ON debit (card) WHERE state = 'intended';

-- The card's word is final.
CREATE TRIGGER decided BEFORE UPDATE ON debit
WHEN OLD.state <> 'intended' AND NEW.state <> OLD.state
BEGIN SELECT RAISE(ABORT, 'the transaction is decided'); END;

-- The terminal's own number of its latest purchase.
CREATE TABLE terminal (
  number   TEXT PRIMARY KEY CHECK (length(number) = 12),
  sequence INTEGER NOT NULL CHECK (sequence BETWEEN 1 AND 4294967295)
) STRICT, WITHOUT ROWID;
