"""Whether this machine can do what is asked of it, and the exact line that fixes what it cannot do."""
