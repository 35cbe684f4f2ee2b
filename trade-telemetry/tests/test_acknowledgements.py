"""The sidecar's answers on the wire."""

from __future__ import annotations

import pytest

from trade_telemetry.acknowledgements import (
    Acknowledgement,
    acknowledgement_topic,
    decode_acknowledgement,
    encode_acknowledgement,
)

ANSWER = Acknowledgement(7, 5, last=3, head=4, beat=2, gap=True)


def test_an_acknowledgement_survives_the_wire():
    assert decode_acknowledgement("bot", encode_acknowledgement("bot", ANSWER)) == ANSWER


def test_its_topic_is_no_prefix_of_another_ones():
    frame = encode_acknowledgement("bot-2", ANSWER)
    assert not frame.startswith(acknowledgement_topic("bot"))
    assert decode_acknowledgement("bot", frame) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"\xff",
        b"[]",
        b"{}",
        b'{"incarnation":1,"epoch":1,"last":-1,"head":0}',
        b'{"incarnation":1,"epoch":0,"last":1,"head":1}',
        b'{"incarnation":1,"epoch":1,"last":1,"head":1e300}',
        b'{"incarnation":1,"epoch":1,"last":1,"head":9007199254740992}',
        b"[" * 100_000,
    ],
)
def test_anything_else_is_no_acknowledgement(body):
    assert decode_acknowledgement("bot", acknowledgement_topic("bot") + body) is None
