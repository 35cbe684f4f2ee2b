"""What telemetry costs, and whether the number can be trusted: ``python -m trading_app.benchmark``.

Nothing is measured, and nothing beyond the standard library imported, by importing this.
"""


class BenchmarkError(Exception):
    """Nothing can be measured; the message is one line: why, and what to do about it."""
