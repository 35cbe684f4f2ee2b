"""The files that can be replayed: by name only, from folders that are known beforehand.

Reads sizes and first and last times, and nothing of what is in between. Must not know replays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from market_engine.errors import FileError
from market_engine.feeds.archive import ArchiveFile
from market_engine.feeds.frames import FramesFile

SHIPPED: Final = Path(__file__).parent.parent / "recordings"
"""The folder of the recordings that come with the package."""
RECORDINGS_MAX: Final = 500
"""So many are listed, in the order of their names."""
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,127}")
_KINDS: Final[dict[str, Literal["frames", "csv"]]] = {
    ".frames": "frames",
    ".frames.gz": "frames",
    ".csv": "csv",
    ".zip": "csv",
}

_Times = tuple[int | None, int | None]
_Stamp = tuple[int, int]
"""A file's size and when it was changed."""


class RecordingInfo(msgspec.Struct, frozen=True):
    """One file; times are None where it cannot be read, or where reading them takes long."""

    name: str
    size_bytes: int
    kind: Literal["frames", "csv"]
    first_ns: int | None
    last_ns: int | None


class Recordings:
    """Of some folders; where two hold the same name, the first one's counts."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._times: dict[Path, tuple[_Stamp, _Times]] = {}

    def list(self) -> list[RecordingInfo]:
        """At most ``RECORDINGS_MAX``, by name; a folder that is not there holds none."""
        found: dict[str, Path] = {}
        for path in self._paths():
            found.setdefault(path.name, path)
        first = sorted(found)[:RECORDINGS_MAX]
        infos = [self._info(found[name]) for name in first]
        for gone in self._times.keys() - set(found.values()):
            del self._times[gone]
        return [info for info in infos if info is not None]

    def path(self, name: str) -> Path | None:
        """The file of this name; None where there is none, or where it is no mere name."""
        if not NAME.fullmatch(name) or _kind(name) is None:
            return None
        candidates = (folder / name for folder in self._folders)
        return next((path for path in candidates if path.is_file()), None)

    def _paths(self) -> Iterator[Path]:
        for folder in self._folders:
            if folder.is_dir():
                for path in folder.iterdir():
                    if NAME.fullmatch(path.name) and _kind(path.name) and path.is_file():
                        yield path

    def _info(self, path: Path) -> RecordingInfo | None:
        kind = _kind(path.name)
        try:
            status = path.stat()
        except OSError:  # taken away meanwhile
            return None
        stamp = (status.st_size, status.st_mtime_ns)
        known = self._times.get(path)
        if known is None or known[0] != stamp:
            known = self._times[path] = (stamp, _times(path))
        return RecordingInfo(path.name, status.st_size, kind or "csv", *known[1])


def _kind(name: str) -> Literal["frames", "csv"] | None:
    return next((kind for suffix, kind in _KINDS.items() if name.lower().endswith(suffix)), None)


def _times(path: Path) -> _Times:
    """Only of plain files: in the others the last time is found by reading all of them."""
    if path.suffix.lower() in {".gz", ".zip"}:
        return None, None
    try:
        opened = FramesFile(path) if _kind(path.name) == "frames" else ArchiveFile(path)
        times = opened.first_ns, opened.last_ns
    except (FileError, OSError):
        return None, None
    return times
