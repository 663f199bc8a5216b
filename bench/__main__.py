"""``python -m bench``: what ``make bench-quick``, ``make bench``, ``make cost`` and ``make profile`` run."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys

from bench import cost, machine, page, profiling, report, runner, sessions, venvs
from bench.figures import Table
from bench.lineup import LOAFERS
from bench.runner import Run
from bench.scenarios import SCENARIOS
from bench.targets import targets
from bench.watch import Failed

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


def core(arguments: argparse.Namespace) -> None:
    """Exits with 1 where a case costs too much, with 2 where none could be counted."""
    other = arguments.against
    try:
        found = cost.count(arguments.case or list(cost.CASES), arguments.rounds, other)
    except Failed as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(f"{machine.description()}\n\n{cost.table(found, other)}")
    if other is not None and (dearer := cost.dearer(found, other, arguments.most)):
        sys.exit("\n".join(dearer))


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

    alone = commands.add_parser("cost", help="instructions of the core alone for one message; needs valgrind")
    alone.add_argument("case", nargs="*", help=f"of {', '.join(map(repr, cost.CASES))}; unset: all")
    alone.add_argument("--rounds", type=int, default=3)
    alone.add_argument(
        "--against", metavar="WHERE", help="another core to be held against: a folder, or a git revision"
    )
    alone.add_argument("--most", type=float, default=1.03, help="the ratio above which a case costs too much")
    alone.set_defaults(run=core)

    one = commands.add_parser("profile", help="where the CPU goes under load, by module")
    one.add_argument("consumer", nargs="?", default="loafer")
    one.set_defaults(run=profile)

    arguments = parser.parse_args()
    # Else a terminated bench would leave the consumer of the moment behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    arguments.run(arguments)


if __name__ == "__main__":
    main()
