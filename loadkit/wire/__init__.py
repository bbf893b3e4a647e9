"""Bytes <-> messages, no I/O. A framing says what a message looks like and where a reply ends."""
