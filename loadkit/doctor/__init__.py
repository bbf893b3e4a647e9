"""Whether this machine can do what is asked of it, and the exact line that mends what it cannot."""
