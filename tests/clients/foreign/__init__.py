"""Clients that other people wrote: one small program each, which speaks JSON lines to the tests and A2A to the server.

A program runs in `.cache/clients` (`scripts/clients` makes it), never in this environment. Lines in:
`{"id", "op", "args"}`, and `{"id", "op": "stop"}` to leave a stream early. Lines out: `{"id": 0, "done": true}` once it
is ready, which may take long; `{"id", "item"}` for each answer, then `{"id", "done": true}` or
`{"id", "error": {"code", "message"}}`; the code is null where the client shows none.
Objects are spelled as the client's own generation spells them. End of input is the end of the program.
"""
