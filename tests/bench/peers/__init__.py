"""Servers that other people wrote, each with an agent of ours: one program a server, complete on its own page.

A program runs in `.cache/peers` (`scripts/peers` makes it), never in this environment, and imports nothing of ours:
`PORT=8001 .cache/peers/python/bin/python tests/bench/peers/plain_server.py`. It listens on 127.0.0.1 once its store is
ready. All are served at their fastest: uvloop, httptools, no access log, no header and no middleware that nobody needs.

Their agents understand the texts `stream N [gap]` (N chunks, with so many seconds behind each), `sleep S` (seconds),
`blob B` (bytes), and give back the first 64 characters of any other.
"""
