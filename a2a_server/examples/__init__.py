"""Agents to read, to run and to copy: `a2a-server run a2a_server.examples.demo:agent`."""
