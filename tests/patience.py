"""How long a test waits for what must happen, before it says that it did not.

Far longer than any machine needs, however busy: a test that passes never gets near it, and one that fails may take it.
"""

PATIENCE = 150.0
"""Seconds."""
