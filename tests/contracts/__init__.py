"""One suite per port, over every backend."""
