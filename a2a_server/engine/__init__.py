"""The engine: everything that happens to tasks over time. I/O only through ports."""
