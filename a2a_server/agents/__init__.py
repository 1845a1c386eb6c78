"""Runners: how agents of each framework run their skills. One file knows one framework."""
