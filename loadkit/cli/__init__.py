"""The command line: the only place that talks. Each command imports what it needs when it runs."""
