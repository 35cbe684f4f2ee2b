"""A thread of the harness that dies by an exception fails the run: it could hear nothing any more.

One hook for every thread that there is. It must not know what they do.
"""

from __future__ import annotations

import threading
import traceback


def note_deaths(deaths: list[str]) -> None:
    """From now on tell there of every thread that dies, in this process; it is printed as usual."""

    def note(death: threading.ExceptHookArgs) -> None:
        name = death.thread.name if death.thread else "a thread"
        trace = traceback.format_exception(death.exc_type, death.exc_value, death.exc_traceback)
        deaths.append(f"the harness's thread {name!r} died:\n{''.join(trace)}")
        threading.__excepthook__(death)

    threading.excepthook = note
