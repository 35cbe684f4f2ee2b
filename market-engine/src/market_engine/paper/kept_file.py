"""A publisher's journal file that outlives its publisher, which deletes one that is all delivered.

A second name for the same file, taken before the publisher ends and given the first name back
afterwards. Knows names of files, and nothing of what is in them.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import structlog

_SUFFIX: Final = ".kept"


def keep_file(folder: Path, epoch: int) -> Path | None:
    """Give the file of an epoch a second name; None where it has no file, or cannot have one."""
    try:
        for path in folder.glob(f"*-{epoch}.journal"):
            kept = path.with_name(path.name + _SUFFIX)
            kept.hardlink_to(path)
            return kept
    except OSError as error:
        structlog.get_logger("paper-desk").error("a journal is not kept", reason=str(error))
    return None


def bring_back(folder: Path) -> None:
    """Let the files that were kept have their names again; raises OSError."""
    for kept in folder.glob(f"*.journal{_SUFFIX}"):
        path = kept.with_name(kept.name.removesuffix(_SUFFIX))
        with contextlib.suppress(FileExistsError):  # the publisher left it where it was
            path.hardlink_to(kept)
        kept.unlink()
