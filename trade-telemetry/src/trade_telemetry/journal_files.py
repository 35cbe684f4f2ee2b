"""Journal files: their names, header, lock, creation and deletion.

A file is ``SOURCE@SINCE-EPOCH.journal``: a header page, then the slots. It is locked by its process
for as long as it is open. This must not know what a slot holds, nor what is sent.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import re
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import msgspec

from trade_telemetry.messages import STAMP_MAX

PAGE_BYTES: Final = 4096
HEADER_BYTES: Final = PAGE_BYTES
SLOT_BYTES: Final = 64
VERSION: Final = 3
FILES_MAX: Final = 64
"""Journal files of one source in one directory, those set aside included."""
UNREADABLE_SUFFIX: Final = ".unreadable"
WORDS_OFFSET: Final = 128
HEAD: Final = 0
TAIL: Final = 1

# Magic, version and the place of the checksum stay in all later versions, so that an older one can
# tell a newer file from a damaged one. Native byte order, as the two words after it must have.
_HEADER: Final = struct.Struct("=8sIIQQd65p19x")
_CHECKSUM: Final = struct.Struct("=I")
_MAGIC: Final = b"TTJRNL\r\n"
_NAME: Final = re.compile(
    r"(?P<source>[^@]+)@(?P<since_ms>[0-9]{1,14})-(?P<epoch>[0-9]{1,16})\.journal"
    r"(?P<aside>\.unreadable[0-9.]*)?"
)
_NONE_YET: Final = 1  # a word for no sequence at all: no multiple of 2047, nor one bit from any
_UNFINISHED_SUFFIX: Final = ".unfinished"
_UNFINISHED_S: Final = 60.0


class Header(msgspec.Struct, frozen=True):
    """Whose epoch it is, since when (unix seconds, whole milliseconds), and how many it holds."""

    source: str
    epoch: int
    since_s: float
    capacity: int

    @property
    def file_bytes(self) -> int:
        """The size of the whole file."""
        return HEADER_BYTES + self.capacity * SLOT_BYTES


class Name(msgspec.Struct, frozen=True):
    """What a file's name tells, so that a damaged header page does not cost the epoch."""

    source: str
    epoch: int
    since_s: float
    set_aside: bool


class UnreadableError(ValueError):
    """Nothing of a file can be used; the message says why, as half a sentence."""


def file_name(header: Header) -> str:
    """The name of a header's file; a source may hold a slash, so it is quoted."""
    since_ms = round(header.since_s * 1000)
    return f"{quote(header.source, safe='')}@{since_ms}-{header.epoch}.journal"


def parse_name(name: str) -> Name | None:
    """What the name of a journal file tells, or None for the name of something else."""
    match = _NAME.fullmatch(name)
    if match is None or not 1 <= int(match["epoch"]) <= STAMP_MAX or not int(match["since_ms"]):
        return None
    return Name(
        unquote(match["source"]),
        int(match["epoch"]),
        int(match["since_ms"]) / 1000,
        match["aside"] is not None,
    )


def journal_files(directory: Path, source: str | None = None) -> list[tuple[Path, Name]]:
    """The journal files in a directory (of one source, or of all), oldest first."""
    named = ((path, parse_name(path.name)) for path in directory.iterdir())
    found = [(path, name) for path, name in named if name and source in (None, name.source)]
    return sorted(found, key=lambda item: (item[1].source, item[1].since_s, item[1].epoch))


def encode_header(header: Header) -> bytes:
    """The first bytes of a file, up to the words."""
    fields = _HEADER.pack(
        _MAGIC,
        VERSION,
        SLOT_BYTES,
        header.capacity,
        header.epoch,
        header.since_s,
        header.source.encode(),
    )
    return fields + _CHECKSUM.pack(zlib.crc32(fields))


def decode_header(page: bytes) -> Header | None:
    """The header in a file's first page, or None when it is damaged or not one.

    Raises UnreadableError for a sound header of another version.
    """
    fields = page[: _HEADER.size]
    checksum = page[_HEADER.size : WORDS_OFFSET]
    if not fields.startswith(_MAGIC) or checksum != _CHECKSUM.pack(zlib.crc32(fields)):
        return None
    _, version, slot_bytes, capacity, epoch, since_s, source = _HEADER.unpack(fields)
    if version != VERSION or slot_bytes != SLOT_BYTES:
        raise UnreadableError(f"it is of format {version}, and this program reads format {VERSION}")
    if not (capacity and since_s > 0 and 1 <= epoch <= STAMP_MAX):
        return None
    return Header(source.decode(), epoch, since_s, capacity)


def encode_word(sequence: int) -> int:
    """A sequence as a word that shows damage: an AN code, one aligned store of 8 bytes.

    Every flipped bit, and a word of zeros, is seen; other damage in 2,046 of 2,047 cases.
    """
    return sequence * 2047 or _NONE_YET  # 53 bits and 11 make 64


def decode_word(page: bytes, index: int) -> int | None:
    """The sequence in a word of the first page, or None when it is damaged."""
    offset = WORDS_OFFSET + index * 8
    word = int.from_bytes(page[offset : offset + 8], sys.byteorder)
    sequence, rest = (0, 0) if word == _NONE_YET else divmod(word, 2047)
    return sequence if rest == 0 and word and sequence <= STAMP_MAX else None


def write_word(descriptor: int, index: int, sequence: int) -> None:
    """Write a word of a file that is not mapped."""
    word = encode_word(sequence).to_bytes(8, sys.byteorder)
    os.pwrite(descriptor, word, WORDS_OFFSET + index * 8)


class JournalFile:
    """An open file, mostly with its lock: no other process drains it until it is closed."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def in_place(self) -> bool:
        """Whether the path still names this file."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def size_bytes(self) -> int:
        """How long the file is now."""
        return os.fstat(self.descriptor).st_size

    def rename(self, path: Path) -> None:
        """Give the file another name in its directory, for good."""
        self.path.rename(path)
        self.path = path
        sync_directory(path.parent)

    def delete(self) -> None:
        """Remove the file, so that not even a power cut brings it back. Raises OSError."""
        self.path.unlink()
        sync_directory(self.path.parent)

    def close(self) -> None:
        """Let go of descriptor and lock. A copy of the descriptor elsewhere keeps the lock."""
        os.close(self.descriptor)


def open_locked(path: Path, flags: int = 0) -> JournalFile | None:
    """The file with its lock, or None when another holds it or it is gone. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | flags, 0o600)
    except FileNotFoundError:
        return None
    file = JournalFile(path, descriptor)
    # Whoever held the lock a moment ago may have deleted the file before letting go of it.
    if _lock(descriptor) and file.in_place():
        return file
    file.close()
    return None


def is_locked(descriptor: int) -> bool:
    """Whether a process holds the file. Looks by taking a shared lock for a moment."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def create(directory: Path, header: Header) -> tuple[JournalFile, mmap.mmap]:
    """A new file, allocated in full, locked before anyone can take it for a leftover, and mapped.

    Raises OSError when the directory, the space, the lock or the map cannot be had; nothing is left
    behind then.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if len(journal_files(directory, header.source)) >= FILES_MAX:
        raise OSError(errno.EMFILE, f"there are {FILES_MAX} journal files of {header.source!r}")
    path = directory / file_name(header)
    file = open_locked(path.with_name(path.name + _UNFINISHED_SUFFIX), os.O_CREAT | os.O_EXCL)
    if file is None:
        raise OSError(errno.EAGAIN, "another process removed the new file")
    try:
        with contextlib.ExitStack() as undo:
            undo.callback(file.delete)
            slots = _fill(file.descriptor, header)
            undo.callback(slots.close)
            file.rename(path)
            undo.pop_all()
            return file, slots
    except BaseException:
        file.close()
        raise


def remove_unfinished(directory: Path) -> None:
    """Delete what processes left that were killed while they created a file."""
    for path in directory.glob(f"*@*{_UNFINISHED_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() < path.stat().st_mtime + _UNFINISHED_S:
                continue  # it may not be locked yet
            file = open_locked(path)
            if file is not None:
                file.delete()
                file.close()


def sync_directory(directory: Path) -> None:
    """Make names durable; a file system that cannot is left at that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def page_offsets(size_bytes: int) -> Iterator[int]:
    """Where each page of a buffer begins."""
    return iter(range(0, size_bytes, PAGE_BYTES))


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _fill(descriptor: int, header: Header) -> mmap.mmap:
    """Allocate, write the header, make both durable, and map."""
    _allocate(descriptor, header.file_bytes)
    words = struct.pack("=QQ", encode_word(0), encode_word(0))
    os.pwrite(descriptor, encode_header(header) + words, 0)
    os.fsync(descriptor)
    return mmap.mmap(descriptor, header.file_bytes)


def _allocate(descriptor: int, size_bytes: int) -> None:
    """Have every block before the first is used: a sparse map kills its process on a full disk."""
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except AttributeError:  # macOS has none
        _write_zeros(descriptor, size_bytes)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        _write_zeros(descriptor, size_bytes)


def _write_zeros(descriptor: int, size_bytes: int) -> None:
    for offset in page_offsets(size_bytes):
        zeros = bytes(min(PAGE_BYTES, size_bytes - offset))
        if os.pwrite(descriptor, zeros, offset) < len(zeros):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
