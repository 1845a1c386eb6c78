"""Rows about several processes on one PostgreSQL: `scripts/bench --scale`. docs/scaling.md has what they found."""
