"""loadkit: an instrument for TCP at scale."""

__version__ = "0.1.0"
