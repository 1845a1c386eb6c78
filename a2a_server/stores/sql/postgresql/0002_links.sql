-- What follows which task, what has to be looked at, and searches, each by a range of an index. Nothing but speed: the
-- tables are those of before, and code that knows only these goes on while and after it is applied. (Such code refuses
-- a database with this number when it is started anew.)
--
-- The one index of `task` is made while nobody writes tasks: a few seconds for a million of them.

-- Children of a task, newest first.
DROP INDEX task_parent;
CREATE INDEX task_parent ON task (parent, key) WHERE parent > '';

-- What a task follows.
DROP INDEX edge_downstream;
CREATE INDEX edge_downstream ON edge (downstream, upstream);

-- Who is to be settled: an upstream has ended and it has not been told since. Most of the time there is none.
CREATE INDEX edge_arrived ON edge (downstream, upstream) WHERE done > 0;

-- Edges change with the end of their upstream, and when they are settled.
ALTER TABLE edge SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);

-- Tags of a task.
DROP INDEX tag_task;
CREATE INDEX tag_task ON tag (task, tag);

-- Records that somebody has to look at, of each kind by itself the earliest first: not everybody acts on every kind.
CREATE INDEX record_due ON record (kind, due_at, tenant, owner, id) WHERE due_at > 0;
