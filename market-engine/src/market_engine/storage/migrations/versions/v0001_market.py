"""Symbols, trades, candles, metrics and faults."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "symbols",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("first_seen_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_symbols"),
        sa.UniqueConstraint("venue", "symbol", name="uq_symbols_venue_symbol"),
    )
    _make_trades()
    _make_candles()
    _make_metrics()
    op.create_table(
        "faults",
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("at_ns", "venue", "symbol", "kind", "detail", name="pk_faults"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop them, with all that is in them."""
    for table in ("faults", "aggregated_metrics", "candles", "trades", "symbols"):
        op.drop_table(table)


def _make_trades() -> None:
    op.create_table(
        "trades",
        sa.Column("symbol_id", sa.Integer(), nullable=False),
        sa.Column("event_ns", sa.BigInteger(), nullable=False),
        sa.Column("trade_key", sa.BigInteger(), nullable=False),
        sa.Column("twin", sa.BigInteger(), nullable=False),
        sa.Column("price", sa.Text(), nullable=False),
        sa.Column("qty", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.Column("resolution_ns", sa.BigInteger(), nullable=False),
        sa.Column("time_source", sa.Text(), nullable=False),
        sa.Column("backfilled", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("symbol_id", "event_ns", "trade_key", "twin", name="pk_trades"),
        sa.UniqueConstraint(
            "symbol_id", "trade_key", "twin", name="uq_trades_symbol_id_trade_key_twin"
        ),
        sa.ForeignKeyConstraint(["symbol_id"], ["symbols.id"], name="fk_trades_symbol_id_symbols"),
        sqlite_with_rowid=False,
    )


def _make_candles() -> None:
    op.create_table(
        "candles",
        sa.Column("symbol_id", sa.Integer(), nullable=False),
        sa.Column("span_ns", sa.BigInteger(), nullable=False),
        sa.Column("open_ns", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("open", "high", "low", "close")),
        sa.Column("volume", sa.Text(), nullable=False),
        sa.Column("trades", sa.BigInteger(), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.Column("resolution_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("symbol_id", "span_ns", "open_ns", name="pk_candles"),
        sa.ForeignKeyConstraint(["symbol_id"], ["symbols.id"], name="fk_candles_symbol_id_symbols"),
        sqlite_with_rowid=False,
    )


def _make_metrics() -> None:
    op.create_table(
        "aggregated_metrics",
        sa.Column("symbol_id", sa.Integer(), nullable=False),
        sa.Column("span_s", sa.Integer(), nullable=False),
        sa.Column("bar_start_ns", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("open", "high", "low", "close")),
        sa.Column("volume", sa.Text(), nullable=False),
        sa.Column("notional", sa.Text(), nullable=False),
        sa.Column("trades", sa.BigInteger(), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "symbol_id", "span_s", "bar_start_ns", name="pk_aggregated_metrics"
        ),
        sa.ForeignKeyConstraint(
            ["symbol_id"], ["symbols.id"], name="fk_aggregated_metrics_symbol_id_symbols"
        ),
        sqlite_with_rowid=False,
    )
