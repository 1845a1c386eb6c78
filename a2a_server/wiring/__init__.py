"""Settings and an agent put together into a running system; the only place that knows every part.

Reached by the command line, by `testing` and by the package's `run` and `asgi`, and by nothing else.
"""

from a2a_server.wiring.running import work
from a2a_server.wiring.serving import Server, asgi, run, serve, serve_in_loop
from a2a_server.wiring.system import Process, System

__all__ = ["Process", "Server", "System", "asgi", "run", "serve", "serve_in_loop", "work"]
