"""Real processes, real services, real clients."""
