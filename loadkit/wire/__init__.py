"""Bytes <-> messages, no I/O. A wire is a script (what goes out) and a rule (where a reply ends, if it is right)."""
