"""The tables of the paper desk, beside those of the market. Knows columns and keys only.

Numbers are exact decimal text. Orders and positions are written again as they change; fills,
ledger entries and snapshots never are.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, Table, Text, UniqueConstraint

from market_engine.storage.tables import metadata

portfolios = Table(
    "portfolios",
    metadata,
    Column("name", Text, primary_key=True),
    Column("currency", Text, nullable=False),
    Column("balance", Text, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("annual_days", Integer, nullable=False),
    Column("limits", Text, nullable=False),  # JSON
    Column("model", Text, nullable=False),  # JSON
    sqlite_with_rowid=False,
)

orders = Table(
    "orders",
    metadata,
    Column("portfolio", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # over all portfolios
    Column("client_order_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("asked", Text, nullable=False),  # JSON of the order as it was asked for
    Column("state", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("submitted_ns", BigInteger, nullable=False),
    Column("accepted_wall_ns", BigInteger, nullable=False),
    Column("collar", Text),
    Column("filled", Text, nullable=False),
    Column("triggered_ns", BigInteger),
    Column("closed_ns", BigInteger),
    Column("open_books", Text, nullable=False),  # names with commas between them
    UniqueConstraint("portfolio", "client_order_id"),
    # each tree costs every order: no rowid, a key that is the order in which lists are read, and no
    # index of the open ones, which only a start reads
    sqlite_with_rowid=False,
)

fills = Table(
    "fills",
    metadata,
    Column("book", Text, primary_key=True),
    Column("order_number", BigInteger, primary_key=True),
    Column("order_fill", Integer, primary_key=True),
    Column("number", BigInteger, nullable=False),  # of the neutral book; 0 in the others
    Column("portfolio", Text, nullable=False),
    Column("client_order_id", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("price", Text, nullable=False),
    Column("qty", Text, nullable=False),
    Column("fee", Text, nullable=False),
    Column("is_maker", Integer, nullable=False),
    Column("filled_ns", BigInteger, nullable=False),
    Column("evidence", Text, nullable=False),  # JSON
    sqlite_with_rowid=False,
)
Index("ix_fills_portfolio_book_filled_ns", fills.c.portfolio, fills.c.book, fills.c.filled_ns)
Index("ix_fills_number", fills.c.number)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("portfolio", Text, primary_key=True),
    Column("transaction_number", BigInteger, primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("account", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("amount", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("fill_number", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

positions = Table(
    "positions",
    metadata,
    Column("portfolio", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("qty", Text, nullable=False),
    Column("cost", Text, nullable=False),
    Column("realised", Text, nullable=False),
    sqlite_with_rowid=False,
)

portfolio_snapshots = Table(
    "portfolio_snapshots",
    metadata,
    Column("portfolio", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("transaction_number", BigInteger, nullable=False),
    Column("cash", Text, nullable=False),
    Column("realised", Text, nullable=False),
    Column("fees", Text, nullable=False),
    Column("unrealised", Text),
    Column("equity", Text),
    Column("peak", Text),
    Column("max_drawdown", Float, nullable=False),
    Column("marks", Text, nullable=False),  # JSON by symbol
    sqlite_with_rowid=False,
)
Index(
    "ix_portfolio_snapshots_portfolio_at_ns",
    portfolio_snapshots.c.portfolio,
    portfolio_snapshots.c.at_ns,
)

trading_states = Table(
    "trading_states",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)

desk_starts = Table(
    "desk_starts",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("wall_ns", BigInteger, nullable=False),
    Column("newest_ns", BigInteger, nullable=False),  # what the desk knew of the market's time
)

desk_venues = Table(
    "desk_venues",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # 1: there is one
    Column("venue", Text, nullable=False),  # whose prices everything here was made with
)

telemetry_epochs = Table(
    "telemetry_epochs",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", Text, nullable=False),  # 64 bits without a sign
    Column("first_fill", BigInteger, nullable=False),  # the fill that its sequence 1 is
    Column("through_fill", BigInteger, nullable=False),  # known to be published when it ended
)
