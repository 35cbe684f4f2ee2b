"""The examples of the README run as they stand, but for the address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parent.parent / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(example, sidecar, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(example.replace("tcp://127.0.0.1:5555", sidecar.address), {})
    if "tcp://" in example:
        assert sidecar.await_trades(1)[0].symbol == "BTCUSDT"
