"""``python -m bench``: what ``make bench-quick``, ``make bench`` and ``make profile`` run."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys

from bench import page, profiling, report, runner, sessions, venvs
from bench.figures import Table
from bench.lineup import LOAFERS
from bench.runner import Run
from bench.scenarios import SCENARIOS
from bench.targets import targets

NAMES = [consumer.name for consumer in LOAFERS]


def show(runs: list[Run]) -> None:
    table = Table(runs)
    print(report.report(table, targets(table, NAMES, sessions.version_ms())))


def quick(arguments: argparse.Namespace) -> None:
    show(sessions.quick())


def full(arguments: argparse.Namespace) -> None:
    """Each part is saved when it is done, so that one of them can be made again; the page is of all that there is."""
    for name in arguments.part or sessions.PARTS:
        runner.save(sessions.part(name, arguments.rounds, arguments.share), page.RESULTS / f"{name}.jsonl")
    table = Table(page.saved(sessions.PARTS))
    found = targets(table, NAMES, sessions.version_ms())
    print(report.report(table, found))
    page.write(table, found)
    if venvs.is_there("plots"):
        words = ["-m", "bench.plots", str(page.RESULTS), str(page.PICTURES)]
        subprocess.run([venvs.python("plots"), *words], cwd=venvs.ROOT, check=True)


def compare(arguments: argparse.Namespace) -> None:
    scenario = SCENARIOS[arguments.scenario].sized(arguments.share)
    show(sessions.rounds([(scenario, sessions.named(arguments.consumer))], arguments.rounds))


def profile(arguments: argparse.Namespace) -> None:
    (consumer,) = sessions.named([arguments.consumer])
    run, samples = profiling.profile(consumer)
    print(f"{consumer.name}, {consumer.note}: {run.figures['cpu']:.0f} µs of CPU a message\n")
    print(profiling.table(samples, run.figures["cpu"]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(required=True)

    two = commands.add_parser("quick", help="Loafer and loops written by hand: all targets, two minutes")
    two.set_defaults(run=quick)

    every = commands.add_parser("full", help="all, or some parts; writes docs/explanation/performance.md")
    every.add_argument("part", nargs="*", help=f"of {', '.join(sessions.PARTS)}; unset: all")
    every.add_argument("--rounds", type=int, default=3)
    every.add_argument("--share", type=float, default=1.0, help="of the messages, to look at something sooner")
    every.set_defaults(run=full)

    some = commands.add_parser("compare", help="some consumers in one scenario")
    some.add_argument("scenario", choices=list(SCENARIOS))
    some.add_argument("consumer", nargs="+", choices=list(sessions.everybody()), metavar="consumer")
    some.add_argument("--rounds", type=int, default=3)
    some.add_argument("--share", type=float, default=1.0, help="of the scenario's messages")
    some.set_defaults(run=compare)

    one = commands.add_parser("profile", help="where the CPU goes under load, by module")
    one.add_argument("consumer", nargs="?", default="loafer")
    one.set_defaults(run=profile)

    arguments = parser.parse_args()
    # Else a terminated bench would leave the consumer of the moment behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    arguments.run(arguments)


if __name__ == "__main__":
    main()
