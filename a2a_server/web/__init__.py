"""HTTP. Knows Starlette; knows of the wires only where a request meets its generation (`rpc`) and of no backend."""
