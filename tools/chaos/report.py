"""What a run says: a line of progress now and then, and a summary at the end.

It knows the figures of a run and changes nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chaos.metrics import Readings, sample
from chaos.points import POINTS
from chaos.rounds import Rounds
from trade_telemetry import LossReason

PROGRESS_S: Final = 5.0


@dataclass(slots=True)
class Progress:
    """Prints a line at most every five seconds."""

    kills_wanted: int
    seconds_max: float
    began_s: float
    _told_s: float = 0.0

    def tell(self, rounds: Rounds) -> None:
        """A line, if it is time for one."""
        now_s = time.monotonic()
        if now_s < self._told_s + PROGRESS_S:
            return
        self._told_s = now_s
        seconds = now_s - self.began_s
        kills = rounds.world.kills.total()
        rate = kills / seconds if seconds else 0.0
        left_s = min((self.kills_wanted - kills) / rate if rate else 0, self.seconds_max - seconds)
        print(
            f"{seconds:6.0f} s  {kills} of {self.kills_wanted} kills ({rate:.2f}/s)  "
            f"{rounds.world.oracle.accepted:,} events  round {rounds.number}  "
            f"about {max(0.0, left_s):.0f} s left",
            flush=True,
        )


def summary(rounds: Rounds, seconds: float, problem: str | None) -> dict[str, Any]:
    """All figures of a run; those of the sidecar as /metrics shows them at the end."""
    world = rounds.world
    sidecar_s = world.sidecar_s()
    return {
        "verdict": "passed" if problem is None else "FAILED",
        "problem": problem,
        "seed": rounds.seed,
        "rounds": rounds.number,
        "seconds": round(seconds, 1),
        "kills": world.kills.total(),
        "kills_by_point": dict(sorted(world.kills.items())),
        "points_armed_and_not_passed_in_time": dict(sorted((world.armed - world.kills).items())),
        "points_never_passed": {
            p.name: f"armed {world.armed[p.name]} times"
            for p in POINTS
            if p.name not in world.kills
        },
        "actions": dict(sorted(rounds.done.items())),
        "events_accepted": world.oracle.accepted,
        "events_refused": world.oracle.refused,
        **_accounts(world.sources, rounds.figures),
        "undone_by_older_states": _accounts(world.sources, rounds.undone),
        "suspects_that_had_arrived": world.oracle.acquitted,
        "older_states_cost": rounds.cost,
        "acknowledgements_heard": world.promises.count,
        "samples": world.sampler.samples,
        "samples_a_second": round(world.sampler.samples / sidecar_s, 1) if sidecar_s else 0,
        "settling_s_max": round(rounds.settling_s_max, 2),
    }


def _accounts(sources: Sequence[str], figures: Readings) -> dict[str, Any]:
    """The sums of what is said of each publisher."""

    def of(name: str, **labels: str) -> int:
        names = [
            sample(f"telemetry_publisher_{name}", publisher=source, **labels) for source in sources
        ]
        return sum(int(figures.get(each, 0)) for each in names)

    return {
        "published": of("published_total"),
        "applied": of("applied_total"),
        "waiting_in_dead_memories": of("waiting"),
        "lost": {str(reason): of("lost_total", reason=reason) for reason in LossReason},
        "duplicates": of("duplicates_total"),
        "gaps_resent": of("gaps_total"),
    }


def tell(figures: dict[str, Any], file: Path | None) -> None:
    """Print the summary, and write it as JSON where that is wanted."""
    if file is not None:
        file.write_text(json.dumps(figures, indent=1) + "\n")
    print()
    _print({name: value for name, value in figures.items() if name != "problem"}, "")
    if figures["problem"]:
        print(f"\nround {figures['rounds']}, seed {figures['seed']}:\n{figures['problem']}")
    sys.stdout.flush()


def _print(figures: dict[str, Any], indent: str) -> None:
    for name, value in figures.items():
        label = name.replace("_", " ") if name.isidentifier() else name
        if isinstance(value, dict):
            print(f"{indent}{label}:" if value else f"{indent}{label}: none")
            _print(value, indent + "  ")
        else:
            number = isinstance(value, int) and name != "seed"
            print(f"{indent}{label}: {f'{value:,}' if number else value}")
