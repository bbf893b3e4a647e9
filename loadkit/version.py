"""The version of loadkit, of its wheel and of the records that it writes."""

__version__ = "0.1.0"
