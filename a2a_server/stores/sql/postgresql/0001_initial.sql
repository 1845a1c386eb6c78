-- The first schema, in PostgreSQL's spelling.
--
-- Keys are 16 bytes (UUIDv7), times integer microseconds since the epoch with 0 = none, bodies encoded bytes whose first
-- item is their format. Text is never NULL: '' = none, and is ordered by its bytes (COLLATE "C"). Columns stand in the
-- order of model.rows.
-- Phases in partial indexes are model.objects.Phase: 3 ready, 4 held, 5 leased.
-- Bodies are EXTERNAL: never compressed, which costs more than it saves on a few kilobytes; large ones lie outside of
-- their row, and their length is known without reading them.
-- Tables whose rows change often keep room in their pages, so that a change that touches no index adds nothing to one.

-- What this database is: one row, 'schema', with the number of the last migration applied.
CREATE TABLE meta (
  name text COLLATE "C" NOT NULL PRIMARY KEY,
  value text COLLATE "C" NOT NULL
);

-- One row a task: who owns it, where it stands, when it is due. `gates` are joined by line breaks.
CREATE TABLE task (
  key bytea NOT NULL PRIMARY KEY,
  format int2 NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  owner text COLLATE "C" NOT NULL,
  agent text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  context text COLLATE "C" NOT NULL,
  generation int2 NOT NULL,
  visible bool NOT NULL,
  skill text COLLATE "C" NOT NULL,
  queue text COLLATE "C" NOT NULL,
  lane int2 NOT NULL,
  rank int8 NOT NULL,
  gates text COLLATE "C" NOT NULL,
  held_by text COLLATE "C" NOT NULL,
  state int2 NOT NULL,
  phase int2 NOT NULL,
  last_n int4 NOT NULL,
  journal_n int4 NOT NULL,
  rev int8 NOT NULL,
  status_at int8 NOT NULL,
  created_at int8 NOT NULL,
  due_at int8 NOT NULL,
  deadline_at int8 NOT NULL,
  cancel_at int8 NOT NULL,
  worker bytea NOT NULL,
  fence int4 NOT NULL,
  attempt int4 NOT NULL,
  max_attempts int4 NOT NULL,
  crashes int4 NOT NULL,
  unmet int4 NOT NULL,
  parent bytea NOT NULL,
  pushes int4 NOT NULL,
  status bytea NOT NULL,
  spec bytea NOT NULL
) WITH (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_analyze_scale_factor = 0.02
);
ALTER TABLE task ALTER status SET STORAGE EXTERNAL, ALTER spec SET STORAGE EXTERNAL;

-- The name that clients use.
CREATE UNIQUE INDEX task_name ON task (tenant, owner, agent, id);

-- Lists of an owner, newest status first: one range for each state.
CREATE INDEX task_list ON task (tenant, owner, agent, state, status_at DESC, key DESC) WHERE visible;

-- Lists of one context.
CREATE INDEX task_context ON task (tenant, owner, agent, context, state, status_at DESC, key DESC) WHERE visible;

-- Claims; `crashes` and `format` only spare them the row of a task that they leave out.
CREATE INDEX task_ready ON task (queue, lane, rank, key) INCLUDE (crashes, format) WHERE phase = 3;

-- Who goes on when a gate has room.
CREATE INDEX task_held ON task (held_by, lane, rank, key) WHERE phase = 4;

-- What a dead worker leaves behind.
CREATE INDEX task_leased ON task (worker, key) WHERE phase = 5;

-- Alarms.
CREATE INDEX task_due ON task (due_at, key) WHERE due_at > 0;

-- Children of a task.
CREATE INDEX task_parent ON task (parent) WHERE parent > '';

-- The log that clients see: events 1, 2, 3 ... of a task.
CREATE TABLE event (
  task bytea NOT NULL,
  n int4 NOT NULL,
  kind int2 NOT NULL,
  at int8 NOT NULL,
  fence int4 NOT NULL,
  artifact int4,
  body bytea NOT NULL,
  PRIMARY KEY (task, n)
);
ALTER TABLE event ALTER body SET STORAGE EXTERNAL;

-- The log that operators see: leases, retries, crashes, log lines.
CREATE TABLE journal (
  task bytea NOT NULL,
  n int4 NOT NULL,
  kind int2 NOT NULL,
  at int8 NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (task, n)
);
ALTER TABLE journal ALTER body SET STORAGE EXTERNAL;

-- A task's history of messages.
CREATE TABLE message (
  task bytea NOT NULL,
  seq int4 NOT NULL,
  at_n int4 NOT NULL,
  role int2 NOT NULL,
  id text COLLATE "C" NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (task, seq)
);
ALTER TABLE message ALTER body SET STORAGE EXTERNAL;

-- Takes of artifacts; content is in `body`, or at `location`, or else in the chunk events.
CREATE TABLE artifact (
  task bytea NOT NULL,
  id int4 NOT NULL,
  take int4 NOT NULL,
  first_n int4 NOT NULL,
  last_n int4 NOT NULL,
  closed bool NOT NULL,
  name text COLLATE "C" NOT NULL,
  media_type text COLLATE "C" NOT NULL,
  size int8 NOT NULL,
  sha256 text COLLATE "C" NOT NULL,
  created_at int8 NOT NULL,
  location text COLLATE "C" NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (task, id, take)
) WITH (fillfactor = 80);
ALTER TABLE artifact ALTER body SET STORAGE EXTERNAL;

-- Values that handlers remember: steps, answers, checkpoints; `scope` is a task's key or a context.
CREATE TABLE state (
  scope bytea NOT NULL,
  space text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  seq int4 NOT NULL,
  fence int4 NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (scope, space, name)
) WITH (fillfactor = 90);
ALTER TABLE state ALTER body SET STORAGE EXTERNAL;

-- Accepted sends, so that a repeated one gets the same answer.
CREATE TABLE sent (
  tenant text COLLATE "C" NOT NULL,
  owner text COLLATE "C" NOT NULL,
  agent text COLLATE "C" NOT NULL,
  task_id text COLLATE "C" NOT NULL,
  message_id text COLLATE "C" NOT NULL,
  hash bytea NOT NULL,
  task bytea NOT NULL,
  at_n int4 NOT NULL,
  expires_at int8 NOT NULL,
  PRIMARY KEY (tenant, owner, agent, task_id, message_id)
);

-- What goes when its task is erased.
CREATE INDEX sent_task ON sent (task);

-- Dependencies: `downstream` waits for `upstream`.
CREATE TABLE edge (
  upstream bytea NOT NULL,
  downstream bytea NOT NULL,
  on_failure int2 NOT NULL,
  done int2 NOT NULL,
  PRIMARY KEY (upstream, downstream)
);

CREATE INDEX edge_downstream ON edge (downstream);

-- Tags of tasks.
CREATE TABLE tag (
  tenant text COLLATE "C" NOT NULL,
  owner text COLLATE "C" NOT NULL,
  tag text COLLATE "C" NOT NULL,
  task bytea NOT NULL,
  PRIMARY KEY (tenant, owner, tag, task)
);

CREATE INDEX tag_task ON tag (task);

-- Limits: concurrency, rate, breaker, pause. `capacity` NULL = any number.
CREATE TABLE gate (
  key text COLLATE "C" NOT NULL PRIMARY KEY,
  capacity int8,
  used int8 NOT NULL,
  tokens int8 NOT NULL,
  refilled_at int8 NOT NULL,
  closed_until int8 NOT NULL,
  reason text COLLATE "C" NOT NULL,
  rev int8 NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Virtual times of fair queueing, for each writer process.
CREATE TABLE fair (
  shard text COLLATE "C" NOT NULL,
  queue text COLLATE "C" NOT NULL,
  lane int2 NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  owner text COLLATE "C" NOT NULL,
  vt int8 NOT NULL,
  PRIMARY KEY (shard, queue, lane, tenant, owner)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);

-- How many visible tasks there are of each kind, for each writer process; the shard stands last because totals sum it.
CREATE TABLE tally (
  shard text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  owner text COLLATE "C" NOT NULL,
  agent text COLLATE "C" NOT NULL,
  queue text COLLATE "C" NOT NULL,
  state int2 NOT NULL,
  phase int2 NOT NULL,
  count int8 NOT NULL,
  PRIMARY KEY (tenant, owner, agent, queue, state, phase, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);

-- Worker processes and when they last said that they live; `ttl` in microseconds.
CREATE TABLE worker (
  id bytea NOT NULL PRIMARY KEY,
  seen_at int8 NOT NULL,
  ttl int8 NOT NULL,
  dead bool NOT NULL,
  format int4 NOT NULL,
  body bytea NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- Webhooks: how far each has been told, and when it is told next.
CREATE TABLE push (
  task bytea NOT NULL,
  id text COLLATE "C" NOT NULL,
  generation int2 NOT NULL,
  cursor_n int4 NOT NULL,
  due_at int8 NOT NULL,
  tries int4 NOT NULL,
  dead bool NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (task, id)
) WITH (fillfactor = 80);

CREATE INDEX push_due ON push (due_at) WHERE due_at > 0;

-- Whatever is few and named by people: schedules, templates, agents, keys.
CREATE TABLE record (
  kind text COLLATE "C" NOT NULL,
  tenant text COLLATE "C" NOT NULL,
  owner text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  rev int8 NOT NULL,
  due_at int8 NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (kind, tenant, owner, id)
);

-- Large content in parts, where the store keeps it itself.
CREATE TABLE blob (
  object text COLLATE "C" NOT NULL,
  part int4 NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (object, part)
);
ALTER TABLE blob ALTER body SET STORAGE EXTERNAL;

-- Names in their order, however many parts each has.
CREATE INDEX blob_names ON blob (object) WHERE part = 0;

-- The audit trail: one hash chain for each process.
CREATE TABLE audit (
  chain text COLLATE "C" NOT NULL,
  seq int8 NOT NULL,
  at int8 NOT NULL,
  hash bytea NOT NULL,
  body bytea NOT NULL,
  PRIMARY KEY (chain, seq)
);
