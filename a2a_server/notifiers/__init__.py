"""Notifiers: doorbells between whoever changes tasks and whoever watches them. One file a carrier."""
