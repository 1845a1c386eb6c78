-- The first schema, in SQLite's spelling.
--
-- Keys are 16 bytes (UUIDv7), times integer microseconds since the epoch with 0 = none, flags 0 or 1, bodies encoded
-- bytes whose first item is their format. Text is never NULL: '' = none. Columns stand in the order of model.rows.
-- Phases in partial indexes are model.objects.Phase: 3 ready, 4 held, 5 leased.
-- A table is WITHOUT ROWID where its primary key is what it is read by; `task` is not, because its rows are often longer
-- than the quarter page that such a table keeps in place.

-- What this database is: one row, 'schema', with the number of the last migration applied.
CREATE TABLE meta (
  name TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row a task: who owns it, where it stands, when it is due. `gates` are joined by line breaks.
CREATE TABLE task (
  key BLOB NOT NULL PRIMARY KEY,
  format INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  owner TEXT NOT NULL,
  agent TEXT NOT NULL,
  id TEXT NOT NULL,
  context TEXT NOT NULL,
  generation INTEGER NOT NULL,
  visible INTEGER NOT NULL,
  skill TEXT NOT NULL,
  queue TEXT NOT NULL,
  lane INTEGER NOT NULL,
  rank INTEGER NOT NULL,
  gates TEXT NOT NULL,
  held_by TEXT NOT NULL,
  state INTEGER NOT NULL,
  phase INTEGER NOT NULL,
  last_n INTEGER NOT NULL,
  journal_n INTEGER NOT NULL,
  rev INTEGER NOT NULL,
  status_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  deadline_at INTEGER NOT NULL,
  cancel_at INTEGER NOT NULL,
  worker BLOB NOT NULL,
  fence INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  crashes INTEGER NOT NULL,
  unmet INTEGER NOT NULL,
  parent BLOB NOT NULL,
  pushes INTEGER NOT NULL,
  status BLOB NOT NULL,
  spec BLOB NOT NULL
) STRICT;

-- The name that clients use.
CREATE UNIQUE INDEX task_name ON task (tenant, owner, agent, id);

-- Lists of an owner, newest status first.
CREATE INDEX task_list ON task (tenant, owner, agent, status_at DESC, key DESC) WHERE visible = 1;

-- Lists of one context.
CREATE INDEX task_context ON task (tenant, owner, context, status_at DESC, key DESC);

-- Claims; `crashes` and `format` only spare them the row of a task that they leave out.
CREATE INDEX task_ready ON task (queue, lane, rank, key, crashes, format) WHERE phase = 3;

-- Who goes on when a gate has room.
CREATE INDEX task_held ON task (held_by, lane, rank, key) WHERE phase = 4;

-- What a dead worker leaves behind.
CREATE INDEX task_leased ON task (worker, key) WHERE phase = 5;

-- Alarms.
CREATE INDEX task_due ON task (due_at, key) WHERE due_at > 0;

-- Children of a task.
CREATE INDEX task_parent ON task (parent) WHERE parent > x'';

-- The log that clients see: events 1, 2, 3 ... of a task.
CREATE TABLE event (
  task BLOB NOT NULL,
  n INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  at INTEGER NOT NULL,
  fence INTEGER NOT NULL,
  artifact INTEGER,
  body BLOB NOT NULL,
  PRIMARY KEY (task, n)
) STRICT, WITHOUT ROWID;

-- The chunks of one artifact.
CREATE INDEX event_artifact ON event (task, artifact, n) WHERE artifact IS NOT NULL;

-- The log that operators see: leases, retries, crashes, log lines.
CREATE TABLE journal (
  task BLOB NOT NULL,
  n INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  at INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (task, n)
) STRICT, WITHOUT ROWID;

-- A task's history of messages.
CREATE TABLE message (
  task BLOB NOT NULL,
  seq INTEGER NOT NULL,
  at_n INTEGER NOT NULL,
  role INTEGER NOT NULL,
  id TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (task, seq)
) STRICT, WITHOUT ROWID;

-- Takes of artifacts; content is in `body`, or at `location`, or else in the chunk events.
CREATE TABLE artifact (
  task BLOB NOT NULL,
  id INTEGER NOT NULL,
  take INTEGER NOT NULL,
  first_n INTEGER NOT NULL,
  last_n INTEGER NOT NULL,
  closed INTEGER NOT NULL,
  name TEXT NOT NULL,
  media_type TEXT NOT NULL,
  size INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  location TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (task, id, take)
) STRICT, WITHOUT ROWID;

-- Values that handlers remember: steps, answers, checkpoints; `scope` is a task's key or a context.
CREATE TABLE state (
  scope BLOB NOT NULL,
  space TEXT NOT NULL,
  name TEXT NOT NULL,
  seq INTEGER NOT NULL,
  fence INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (scope, space, name)
) STRICT, WITHOUT ROWID;

-- Accepted sends, so that a repeated one gets the same answer.
CREATE TABLE sent (
  tenant TEXT NOT NULL,
  owner TEXT NOT NULL,
  agent TEXT NOT NULL,
  task_id TEXT NOT NULL,
  message_id TEXT NOT NULL,
  hash BLOB NOT NULL,
  task BLOB NOT NULL,
  at_n INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (tenant, owner, agent, task_id, message_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX sent_expires ON sent (expires_at);

-- What goes when its task is erased.
CREATE INDEX sent_task ON sent (task);

-- Dependencies: `downstream` waits for `upstream`.
CREATE TABLE edge (
  upstream BLOB NOT NULL,
  downstream BLOB NOT NULL,
  on_failure INTEGER NOT NULL,
  done INTEGER NOT NULL,
  PRIMARY KEY (upstream, downstream)
) STRICT, WITHOUT ROWID;

CREATE INDEX edge_downstream ON edge (downstream);

-- Tags of tasks.
CREATE TABLE tag (
  tenant TEXT NOT NULL,
  owner TEXT NOT NULL,
  tag TEXT NOT NULL,
  task BLOB NOT NULL,
  PRIMARY KEY (tenant, owner, tag, task)
) STRICT, WITHOUT ROWID;

CREATE INDEX tag_task ON tag (task);

-- Limits: concurrency, rate, breaker, pause. `capacity` NULL = any number.
CREATE TABLE gate (
  key TEXT NOT NULL PRIMARY KEY,
  capacity INTEGER,
  used INTEGER NOT NULL,
  tokens INTEGER NOT NULL,
  refilled_at INTEGER NOT NULL,
  closed_until INTEGER NOT NULL,
  reason TEXT NOT NULL,
  rev INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Virtual times of fair queueing, for each writer process.
CREATE TABLE fair (
  shard TEXT NOT NULL,
  queue TEXT NOT NULL,
  lane INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  owner TEXT NOT NULL,
  vt INTEGER NOT NULL,
  PRIMARY KEY (shard, queue, lane, tenant, owner)
) STRICT, WITHOUT ROWID;

-- How many visible tasks there are of each kind, for each writer process; the shard stands last because totals sum it.
CREATE TABLE tally (
  shard TEXT NOT NULL,
  tenant TEXT NOT NULL,
  owner TEXT NOT NULL,
  agent TEXT NOT NULL,
  queue TEXT NOT NULL,
  state INTEGER NOT NULL,
  phase INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY (tenant, owner, agent, queue, state, phase, shard)
) STRICT, WITHOUT ROWID;

-- Worker processes and when they last said that they live; `ttl` in microseconds.
CREATE TABLE worker (
  id BLOB NOT NULL PRIMARY KEY,
  seen_at INTEGER NOT NULL,
  ttl INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  format INTEGER NOT NULL,
  body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Webhooks: how far each has been told, and when it is told next.
CREATE TABLE push (
  task BLOB NOT NULL,
  id TEXT NOT NULL,
  generation INTEGER NOT NULL,
  cursor_n INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (task, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX push_due ON push (due_at) WHERE due_at > 0;

-- Whatever is few and named by people: schedules, templates, agents, keys.
CREATE TABLE record (
  kind TEXT NOT NULL,
  tenant TEXT NOT NULL,
  owner TEXT NOT NULL,
  id TEXT NOT NULL,
  rev INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (kind, tenant, owner, id)
) STRICT, WITHOUT ROWID;

-- Large content in parts, where the store keeps it itself.
CREATE TABLE blob (
  object TEXT NOT NULL,
  part INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (object, part)
) STRICT;

-- The audit trail: one hash chain for each process.
CREATE TABLE audit (
  chain TEXT NOT NULL,
  seq INTEGER NOT NULL,
  at INTEGER NOT NULL,
  hash BLOB NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (chain, seq)
) STRICT, WITHOUT ROWID;
