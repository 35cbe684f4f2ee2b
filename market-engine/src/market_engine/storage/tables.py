"""The tables, as the newest migration leaves them.

Knows columns and keys only. Numbers are exact decimal text: fifteen digits before the point and
nine after it do not fit into a 64-bit integer. Keys begin with the symbol and then the time, which
is how they are read, written and aged.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

symbols = Table(
    "symbols",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("venue", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("first_seen_ns", BigInteger, nullable=False),
    UniqueConstraint("venue", "symbol"),
)

trades = Table(
    "trades",
    metadata,
    Column("symbol_id", Integer, ForeignKey(symbols.c.id), primary_key=True),
    Column("event_ns", BigInteger, primary_key=True),
    Column("trade_key", BigInteger, primary_key=True),  # the venue's id; below 0 where it has none
    Column("twin", BigInteger, primary_key=True),  # 0, or what tells trades without an id apart
    Column("price", Text, nullable=False),
    Column("qty", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("received_ns", BigInteger, nullable=False),
    Column("resolution_ns", BigInteger, nullable=False),
    Column("time_source", Text, nullable=False),
    Column("backfilled", SmallInteger, nullable=False),  # 0 or 1: to bind a bool takes 0.5 µs more
    UniqueConstraint("symbol_id", "trade_key", "twin"),
    sqlite_with_rowid=False,
)

candles = Table(
    "candles",
    metadata,
    Column("symbol_id", Integer, ForeignKey(symbols.c.id), primary_key=True),
    Column("span_ns", BigInteger, primary_key=True),
    Column("open_ns", BigInteger, primary_key=True),
    Column("open", Text, nullable=False),
    Column("high", Text, nullable=False),
    Column("low", Text, nullable=False),
    Column("close", Text, nullable=False),
    Column("volume", Text, nullable=False),
    Column("trades", BigInteger, nullable=False),
    Column("received_ns", BigInteger, nullable=False),
    Column("resolution_ns", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

aggregated_metrics = Table(
    "aggregated_metrics",
    metadata,
    Column("symbol_id", Integer, ForeignKey(symbols.c.id), primary_key=True),
    Column("span_s", Integer, primary_key=True),
    Column("bar_start_ns", BigInteger, primary_key=True),
    Column("open", Text),
    Column("high", Text),
    Column("low", Text),
    Column("close", Text),
    Column("volume", Text, nullable=False),
    Column("notional", Text, nullable=False),
    Column("trades", BigInteger, nullable=False),
    Column("metrics", Text, nullable=False),
    sqlite_with_rowid=False,
)

faults = Table(
    "faults",
    metadata,
    Column("at_ns", BigInteger, primary_key=True),
    Column("venue", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),  # empty: the feed as a whole
    Column("kind", Text, primary_key=True),
    Column("detail", Text, primary_key=True),
    sqlite_with_rowid=False,
)
