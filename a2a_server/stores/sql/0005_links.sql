-- What hangs together: tasks that follow others, their tags, their children, and records that are due.

-- How much a task still waits for is counted from this index alone; it is in the order of what it waits for, too.
DROP INDEX edge_downstream;
CREATE INDEX edge_downstream ON edge (downstream, upstream, on_failure, done);

-- Tasks that something has ended for and that were not settled since.
CREATE INDEX edge_settle ON edge (downstream) WHERE done > 0;

-- Tags of a task in their order.
DROP INDEX tag_task;
CREATE INDEX tag_task ON tag (task, tag);

-- Children of a task, newest first.
DROP INDEX task_parent;
CREATE INDEX task_parent ON task (parent, key) WHERE parent > x'';

-- Alarms of records, of each kind by itself: not everybody acts on every kind.
CREATE INDEX record_due ON record (kind, due_at) WHERE due_at > 0;
