-- The journal's tables, version 3. What must never happen is refused here and
-- in triggers.sql, whatever program writes. Entries are never deleted, so their
-- numbers are never used again. Every index costs a page in each fsynced commit.
-- "Sealed" is AES-256-GCM with the key of journal.key: nonce, text, tag.

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
  psn_no         BLOB NOT NULL,                          -- sealed
  holder         TEXT NOT NULL,                          -- masked
  setl_id        TEXT NOT NULL DEFAULT '',
  fault          TEXT NOT NULL DEFAULT '',               -- OC-nnnn
  message        TEXT NOT NULL DEFAULT '',               -- upstream's words
  note           TEXT NOT NULL DEFAULT '',               -- ours
  reversed_by    INTEGER REFERENCES entry (id),          -- the refund that undid it
  request_sha256 BLOB NOT NULL CHECK (length(request_sha256) = 32),
  request        BLOB NOT NULL,                          -- sealed
  answer         BLOB,                                   -- sealed
  born           INTEGER NOT NULL,                       -- the chain's link of the intention
  seq            INTEGER NOT NULL,                       -- the chain's latest link
  undoes         INTEGER REFERENCES entry (id),          -- what this one takes back
  CHECK ((outcome = 'intended') = (closed_at IS NULL)),
  CHECK (outcome <> 'done' OR setl_id <> '')
) STRICT;

-- A visit has one settlement on its way or in doubt, and one that stands.
CREATE UNIQUE INDEX entry_unresolved ON entry (visit, coalesce(undoes, 0)) WHERE outcome IN ('intended', 'unknown');
CREATE UNIQUE INDEX entry_standing ON entry (visit, infno)
  WHERE outcome IN ('intended', 'unknown', 'done') AND reversed_by IS NULL AND undoes IS NULL;
-- The same visit upstream, whatever number the terminal gave it.
CREATE UNIQUE INDEX entry_mdtrt ON entry (mdtrt_id)
  WHERE outcome IN ('intended', 'unknown') AND mdtrt_id <> '' AND undoes IS NULL;
-- What is taken back is taken back once.
CREATE UNIQUE INDEX entry_undoing ON entry (undoes)
  WHERE outcome IN ('intended', 'unknown', 'done') AND undoes IS NOT NULL;
CREATE INDEX entry_day ON entry (day, id);

CREATE TABLE visit (
  id         TEXT PRIMARY KEY CHECK (id <> ''),
  state      TEXT NOT NULL,
  version    INTEGER NOT NULL CHECK (version > 0),
  opened_at  INTEGER NOT NULL, -- Unix milliseconds
  updated_at INTEGER NOT NULL,
  body       BLOB NOT NULL     -- sealed
) STRICT;
CREATE INDEX visit_state ON visit (state, updated_at);

CREATE TABLE sign_in (
  opter   TEXT NOT NULL,
  day     TEXT NOT NULL,
  sign_no TEXT NOT NULL CHECK (sign_no <> ''),
  PRIMARY KEY (opter, day)
) STRICT, WITHOUT ROWID;

-- Every change of an entry, each link bound to the one before: hash is
-- HMAC-SHA-256 over the hash before and this row.
CREATE TABLE chain (
  seq    INTEGER PRIMARY KEY CHECK (seq > 0),
  entry  INTEGER NOT NULL,  -- 0: of the journal itself
  prev   INTEGER NOT NULL,  -- the entry's link before, 0: its first
  kind   TEXT NOT NULL CHECK (kind IN ('intended', 'concluded', 'decided', 'accepted')),
  digest BLOB NOT NULL CHECK (length(digest) = 32), -- of what the entry says since
  hash   BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

-- What a person decided, and why; the link of that number covers it.
CREATE TABLE decision (
  seq    INTEGER PRIMARY KEY,
  entry  INTEGER NOT NULL,
  at     INTEGER NOT NULL, -- Unix milliseconds
  who    TEXT NOT NULL CHECK (who <> ''),
  reason TEXT NOT NULL CHECK (reason <> '')
) STRICT;
