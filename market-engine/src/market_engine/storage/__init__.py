"""What is kept: trades and metrics, in SQLite by default."""
