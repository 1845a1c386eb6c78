-- Lists are merged from one range for each state, so a list of a state passes over no task of another; a list of all
-- states costs a few steps more, and a change of state no more than before.

DROP INDEX task_list;
DROP INDEX task_context;

-- Lists of an owner, newest status first.
CREATE INDEX task_list ON task (tenant, owner, agent, state, status_at DESC, key DESC) WHERE visible = 1;

-- Lists of one context.
CREATE INDEX task_context ON task (tenant, owner, agent, context, state, status_at DESC, key DESC) WHERE visible = 1;
