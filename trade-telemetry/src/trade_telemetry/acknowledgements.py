"""What the sidecar answers: the message, its topic, encode and decode.

It goes the other way than everything in ``messages``. It must not know sockets.
"""

from __future__ import annotations

from typing import Final

import msgspec

from trade_telemetry.stamps import Count, Stamp


class Acknowledgement(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The sidecar's word to one epoch of a publisher; only what is committed is ever said.

    ``last`` is the highest sequence that is settled, applied or lost. ``head`` is the highest one
    the sidecar has heard of. ``beat`` is the number of the latest beat that it took in, 0 before
    one; ``gap`` that since then something arrived above a hole, and was not applied.
    ``incarnation`` is random for each start of a sidecar.
    """

    incarnation: Stamp
    epoch: Stamp
    last: Count
    head: Count
    beat: Count = 0
    gap: bool = False


_decoder: Final = msgspec.json.Decoder(Acknowledgement)
_encoder: Final = msgspec.json.Encoder()


def acknowledgement_topic(source: str) -> bytes:
    """What a publisher subscribes to; the NUL keeps ``bot`` from hearing ``bot-2``."""
    return source.encode() + b"\0"


def encode_acknowledgement(source: str, acknowledgement: Acknowledgement) -> bytes:
    """The frame that the sidecar publishes: the topic, then JSON."""
    return acknowledgement_topic(source) + _encoder.encode(acknowledgement)


def decode_acknowledgement(source: str, frame: bytes) -> Acknowledgement | None:
    """The acknowledgement in a frame, or None for anything that is not one for this source."""
    topic = acknowledgement_topic(source)
    if not frame.startswith(topic):
        return None
    try:
        return _decoder.decode(memoryview(frame)[len(topic) :])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
