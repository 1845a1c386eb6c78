"""The management API, `/api/v1`: one table of routes, and what serves and describes it.

`table` says what a route is; `application` answers requests by it, `openapi` describes it, and the files named after
things (`tasks`, `batches` …) hold its rows. What is asked for, `service` does; nothing here knows a store.
"""
