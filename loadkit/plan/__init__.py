"""WHAT will happen: everything decided, nothing left to choose. Pure: no clock, no sockets, no files."""
