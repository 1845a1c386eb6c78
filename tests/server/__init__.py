"""The whole server in one process, over HTTP."""
