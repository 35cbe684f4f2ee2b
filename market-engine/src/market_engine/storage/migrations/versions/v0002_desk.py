"""Portfolios, orders, fills, the ledger, positions, snapshots and states of the paper desk."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _make_portfolios()
    _make_orders()
    _make_fills()
    _make_ledger()
    _make_snapshots()
    _make_states()


def downgrade() -> None:
    """Drop them, with all that is in them."""
    for table in (
        "telemetry_epochs",
        "desk_venues",
        "desk_starts",
        "trading_states",
        "portfolio_snapshots",
        "positions",
        "ledger_entries",
        "fills",
        "orders",
        "portfolios",
    ):
        op.drop_table(table)


def _make_portfolios() -> None:
    op.create_table(
        "portfolios",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("balance", sa.Text(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("annual_days", sa.Integer(), nullable=False),
        sa.Column("limits", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_portfolios"),
        sqlite_with_rowid=False,
    )


def _make_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("portfolio", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("submitted_ns", sa.BigInteger(), nullable=False),
        sa.Column("accepted_wall_ns", sa.BigInteger(), nullable=False),
        sa.Column("collar", sa.Text()),
        sa.Column("filled", sa.Text(), nullable=False),
        sa.Column("triggered_ns", sa.BigInteger()),
        sa.Column("closed_ns", sa.BigInteger()),
        sa.Column("open_books", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("portfolio", "number", name="pk_orders"),
        sa.UniqueConstraint(
            "portfolio", "client_order_id", name="uq_orders_portfolio_client_order_id"
        ),
        sqlite_with_rowid=False,
    )


def _make_fills() -> None:
    op.create_table(
        "fills",
        sa.Column("book", sa.Text(), nullable=False),
        sa.Column("order_number", sa.BigInteger(), nullable=False),
        sa.Column("order_fill", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("portfolio", sa.Text(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", sa.Text(), nullable=False),
        sa.Column("qty", sa.Text(), nullable=False),
        sa.Column("fee", sa.Text(), nullable=False),
        sa.Column("is_maker", sa.Integer(), nullable=False),
        sa.Column("filled_ns", sa.BigInteger(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("book", "order_number", "order_fill", name="pk_fills"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_fills_portfolio_book_filled_ns", "fills", ["portfolio", "book", "filled_ns"]
    )
    op.create_index("ix_fills_number", "fills", ["number"])


def _make_ledger() -> None:
    op.create_table(
        "ledger_entries",
        sa.Column("portfolio", sa.Text(), nullable=False),
        sa.Column("transaction_number", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("amount", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("fill_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "portfolio", "transaction_number", "line", name="pk_ledger_entries"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "positions",
        sa.Column("portfolio", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("qty", sa.Text(), nullable=False),
        sa.Column("cost", sa.Text(), nullable=False),
        sa.Column("realised", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("portfolio", "symbol", name="pk_positions"),
        sqlite_with_rowid=False,
    )


def _make_snapshots() -> None:
    op.create_table(
        "portfolio_snapshots",
        sa.Column("portfolio", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("transaction_number", sa.BigInteger(), nullable=False),
        sa.Column("cash", sa.Text(), nullable=False),
        sa.Column("realised", sa.Text(), nullable=False),
        sa.Column("fees", sa.Text(), nullable=False),
        sa.Column("unrealised", sa.Text()),
        sa.Column("equity", sa.Text()),
        sa.Column("peak", sa.Text()),
        sa.Column("max_drawdown", sa.Float(), nullable=False),
        sa.Column("marks", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("portfolio", "number", name="pk_portfolio_snapshots"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_portfolio_snapshots_portfolio_at_ns", "portfolio_snapshots", ["portfolio", "at_ns"]
    )


def _make_states() -> None:
    op.create_table(
        "trading_states",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_trading_states"),
    )
    op.create_table(
        "desk_starts",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("wall_ns", sa.BigInteger(), nullable=False),
        sa.Column("newest_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_desk_starts"),
    )
    op.create_table(
        "desk_venues",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("venue", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_desk_venues"),
    )
    op.create_table(
        "telemetry_epochs",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.Text(), nullable=False),
        sa.Column("first_fill", sa.BigInteger(), nullable=False),
        sa.Column("through_fill", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_telemetry_epochs"),
    )
