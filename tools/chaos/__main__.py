"""``make chaos``: kill the sidecar and its bots at any moment; every event must add up.

Loopback and temporary files only. Exit code 0 when all was equal in every round, 1 when not (then
the folder stays, with the actors' logs), 2 for bad arguments.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from chaos import report
from chaos.actions import ACTIONS
from chaos.cast import BOTS, ChaosError
from chaos.faulty import FAULTS
from chaos.points import POINTS
from chaos.rounds import Plan, Rounds
from chaos.world import World

LONG_RUN_KILLS: Final = 500


def main() -> int:
    """Run the command."""
    options = _options()
    if not hasattr(os, "pidfd_open"):
        print("chaos: needs Linux, where a process can be killed by a handle", file=sys.stderr)
        return 2
    seed = options.seed or secrets.randbelow(10**6) + 1
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"seed {seed}, in {folder}", flush=True)
    world = World(seed, folder, BOTS, options.rate)
    world.fault, world.epochs_max = options.fault, options.epochs
    rounds = Rounds(world, _plan(options), seed)
    began_s = time.monotonic()
    problem: str | None = "not finished"
    try:
        problem = _run(rounds, report.Progress(options.kills, options.seconds, began_s))
    finally:
        world.close(keep=problem is not None)
    report.tell(report.summary(rounds, time.monotonic() - began_s, problem), options.json)
    if problem is not None:
        print(f"kept: {folder}")
    return int(problem is not None)


def _run(rounds: Rounds, progress: report.Progress) -> str | None:
    """All rounds; what is broken, or None."""
    problems = []
    try:
        _run_all(rounds, progress)
    except AssertionError as error:
        problems = [str(error) or "an assertion of the harness itself failed"]
    except KeyboardInterrupt:
        problems = ["interrupted by hand"]
    return "\n".join([*problems, *rounds.world.deaths]) or None


def _run_all(rounds: Rounds, progress: report.Progress) -> None:
    """Until there are kills enough or no time is left."""
    rounds.begin()
    while rounds.world.kills.total() < progress.kills_wanted:
        if time.monotonic() > progress.began_s + progress.seconds_max:
            break
        rounds.run_one()
        progress.tell(rounds)
    rounds.end()
    is_long = rounds.world.kills.total() >= LONG_RUN_KILLS
    everything = rounds.plan.older_states and is_long
    if everything and (missing := {*ACTIONS, "older-state", "day-of-silence"} - rounds.done.keys()):
        raise ChaosError(f"so long a run, and never done: {', '.join(sorted(missing))}")


def _plan(options: argparse.Namespace) -> Plan:
    actions = tuple(options.only.split(",")) if options.only else tuple(ACTIONS)
    points = [
        number
        for number, point in enumerate(POINTS, 1)
        if not options.point or options.point in point.name
    ]
    return Plan(actions, tuple(points), not options.only, options.settle)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="end after so many (default 100)")
    parser.add_argument("--seconds", type=float, default=3600, help="or after so long")
    parser.add_argument("--seed", type=int, default=0, help="the schedule (default: a random one)")
    parser.add_argument("--rate", type=int, default=1500, help="trades a second of each bot")
    parser.add_argument(
        "--settle", type=float, default=20, help="how long a difference may stay, s"
    )
    parser.add_argument("--epochs", type=int, help="a table of so few lives, so that it forgets")
    parser.add_argument("--only", help=f"these actions: {', '.join(ACTIONS)}")
    parser.add_argument("--point", help="only points whose name contains this")
    parser.add_argument("--fault", choices=FAULTS, help="a fault of the product, put in on purpose")
    parser.add_argument("--json", type=Path, help="write the summary there too")
    options = parser.parse_args()
    unknown = set((options.only or "").split(",")) - set(ACTIONS) - {""}
    if unknown:
        parser.error(f"unknown actions: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
