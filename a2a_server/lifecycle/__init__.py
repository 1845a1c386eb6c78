"""What may happen to a task: the transition tables and the pure decisions of every turn.

`states` holds the tables, `turn` the rows of one turn while it is decided; each of the other modules holds one family
of operations: `submission` (send), `runs` (claim, report, end), `cancellation`, `sweeping` (alarms, rescues, gates).
"""
