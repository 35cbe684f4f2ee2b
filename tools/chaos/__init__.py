"""Kill everything, at any moment, and count to the event: ``python -m chaos --help``."""
