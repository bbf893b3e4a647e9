"""HOW bytes move: engines, each behind the same seam."""
