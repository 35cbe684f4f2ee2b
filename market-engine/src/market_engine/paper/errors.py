"""What the desk refuses, in one sentence with the cure; ``code`` is for programs."""

from __future__ import annotations

from market_engine.errors import MarketError


class PaperError(MarketError):
    """The desk does not do what it was asked to."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def not_kept(state: str, problem: str | None) -> PaperError:
    """For a trading state that is in force and not stored."""
    return PaperError(
        "not_stored",
        f"the desk is {state} from now on, but that cannot be stored yet, and a restart before it "
        f"is would forget it: {problem}",
    )


class LedgerError(MarketError):
    """A transaction does not balance, or does not belong to the account: nothing was changed."""
