"""Measures what the README promises, on this machine: ``make bench``."""
