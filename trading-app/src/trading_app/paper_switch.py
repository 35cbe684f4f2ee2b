"""What is said of a command to the kill switch that was not plainly done. Pure.

The words come from the state that the desk answers now, so that none outlives its truth.
"""

from __future__ import annotations

from dataclasses import dataclass

from trading_app.market_client import Failed, Refused
from trading_app.paper_answers import TradingState
from trading_app.paper_client import NOT_STORED
from trading_app.sidecar_client import Away

Now = TradingState | Away[TradingState] | Refused


@dataclass(frozen=True, slots=True)
class SwitchCommand:
    """A state that was wanted, and why it is in doubt: ``had`` is what the answer was."""

    wanted: str
    had: str
    reason: str
    is_stored: bool = True
    may_be_done: bool = False

    def words(self, now: Now) -> str:
        """Say what is not as it was wanted; "" where it is in force, and stored."""
        name = self.wanted.capitalize()
        if not isinstance(now, TradingState):
            doubt = "is not in force"
            if self.may_be_done or not self.is_stored:
                doubt = "may not be in force"
            return f"{name} {self.had}, and {doubt}. Press it again: {self.reason}"
        if not _is_in_force(self.wanted, now.state):
            state = f"the desk is {now.state}"
            return f"{name} {self.had}, and is not in force: {state}. Press it again: {self.reason}"
        if self.is_stored:
            return ""
        return (
            f"{name} is in force, but when it was pressed it could not be stored: a restart of the "
            f"engine may forget it. Press it again when the desk can store: {self.reason}"
        )


def switch_command(wanted: str, answer: Away[TradingState] | Refused | Failed) -> SwitchCommand:
    """Keep what a command to the switch was answered."""
    if isinstance(answer, Refused):
        if answer.code == NOT_STORED:
            return SwitchCommand(wanted, "was not stored", answer.message, is_stored=False)
        return SwitchCommand(wanted, "was refused", answer.message)
    if isinstance(answer, Failed):
        return SwitchCommand(wanted, "has no answer", answer.reason, may_be_done=True)
    return SwitchCommand(wanted, "did not reach the desk", answer.reason)


def _is_in_force(wanted: str, state: str) -> bool:
    return state == wanted or (wanted == "flatten" and state == "halted")
