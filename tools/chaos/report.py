"""What a run says: a line of progress now and then, and a summary at the end.

It knows the figures of a run and changes nothing.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chaos.metrics import sample
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
    """All figures of a run; those of the sidecar with what older copies of its state undid."""
    world = rounds.world
    publishers = _Sums(rounds)
    return {
        "verdict": "passed" if problem is None else "FAILED",
        "problem": problem,
        "seed": rounds.seed,
        "rounds": rounds.number,
        "seconds": round(seconds, 1),
        "kills": world.kills.total(),
        "kills_by_point": dict(sorted(world.kills.items())),
        "points_not_passed_in_time": dict(sorted(world.missed.items())),
        "actions": dict(sorted(rounds.done.items())),
        "events_accepted": world.oracle.accepted,
        "events_refused": world.oracle.refused,
        "published": publishers.of("published_total"),
        "applied": publishers.of("applied_total"),
        "waiting_in_dead_memories": publishers.of("waiting"),
        "lost": {str(reason): publishers.of("lost_total", reason=reason) for reason in LossReason},
        "duplicates": publishers.of("duplicates_total"),
        "gaps_resent": publishers.of("gaps_total"),
        "suspects_that_had_arrived": world.oracle.acquitted,
        "older_states_cost": rounds.cost,
        "acknowledgements_heard": world.promises.count,
        "samples": world.sampler.samples,
        "settling_s_max": round(rounds.settling_s_max, 2),
    }


class _Sums:
    """Figures of all publishers together, over all lives of the state."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds

    def of(self, name: str, **labels: str) -> int:
        """The sum of one figure."""
        rounds = self._rounds
        names = [
            sample(f"telemetry_publisher_{name}", publisher=source, **labels)
            for source in rounds.world.sources
        ]
        return sum(int(rounds.figures.get(each, 0)) + rounds.undone[each] for each in names)


def tell(figures: dict[str, Any], file: Path | None) -> None:
    """Print the summary, and write it as JSON where that is wanted."""
    if file is not None:
        file.write_text(json.dumps(figures, indent=1) + "\n")
    print()
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{name.replace('_', ' ')}:")
            for key, count in value.items():
                print(f"  {count:>8,}  {key}")
        elif name != "problem":
            shown = f"{value:,}" if isinstance(value, int) and name != "seed" else value
            print(f"{name.replace('_', ' ')}: {shown}")
    if figures["problem"]:
        print(f"\nround {figures['rounds']}, seed {figures['seed']}:\n{figures['problem']}")
    sys.stdout.flush()
