"""The two sockets and their health."""

from __future__ import annotations

import os

import pytest
import zmq

from trade_telemetry import connection as module
from trade_telemetry.connection import Connection


@pytest.fixture
def connection(sidecar, until):
    host, port = sidecar.address.rsplit(":", 1)
    connection = Connection(sidecar.address, f"{host}:{int(port) + 1}", "bot")
    until(lambda: connection.wait(10))
    yield connection
    connection.close(linger_ms=0)


FRAME = b'{"type":"trade","side":"buy","qty":1,"ts":1}'


class Stuck:
    """A socket that never has room, as ZeroMQ's sometimes after a reconnect."""

    def __init__(self, socket):
        self._socket = socket

    def send(self, *_):
        raise zmq.Again

    def __getattr__(self, name):
        return getattr(self._socket, name)


def test_a_push_socket_that_is_stuck_is_made_anew(connection, sidecar, until, monkeypatch):
    monkeypatch.setattr(module, "STUCK_AFTER_S", 0.05)
    stuck = connection._push.socket
    connection._push.socket = Stuck(stuck)
    assert not connection.push(FRAME)
    assert not connection.mend()
    until(connection.mend)
    assert not connection.connected
    until(lambda: connection.wait(10))
    assert stuck.closed
    assert connection.push(FRAME)
    until(lambda: len(sidecar.plain) == 1)


def test_an_idle_or_a_slow_connection_is_not_stuck(connection, monkeypatch):
    monkeypatch.setattr(module, "STUCK_AFTER_S", 0.0)
    assert not connection.mend()  # nothing was pushed
    assert connection.push(FRAME)
    connection._push.socket = Stuck(connection._push.socket)
    assert not connection.push(FRAME)
    assert not connection.mend()  # it has taken something since it was made


def test_a_descriptor_that_was_given_out_anew_is_not_closed(connection, tmp_path):
    (descriptor,) = connection._push.inodes
    inode = connection._push.inodes[descriptor]
    with (tmp_path / "file").open("w") as file:
        module._close_socket(file.fileno(), inode)
        os.fstat(file.fileno())
    left, right = os.pipe()
    module._close_socket(left, inode)
    os.close(left)
    os.close(right)
    module._close_socket(left, inode)  # gone: no error


def test_descriptors_are_forgotten_with_their_connection(connection, sidecar, until):
    assert connection._push.inodes
    sidecar.kill()
    until(lambda: connection.wait(1) or not connection._push.inodes)
    assert not connection.connected
