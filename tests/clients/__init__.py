"""Clients that the tests speak through: one after the v0.1 sample, a thin one for 1.0, and the reference SDK's."""
