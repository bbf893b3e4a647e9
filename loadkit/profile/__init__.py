"""WHAT was asked: the options of a run, from a profile file and from the command line."""
