"""Artifact stores: large content, under names made by this server. One file a medium."""
