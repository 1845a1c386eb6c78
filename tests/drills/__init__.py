"""Drills: rehearsals of things going wrong, against real server processes. `python -m tests.drills NAME`."""
