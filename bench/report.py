"""Markdown: what was measured on what, a table for each scenario, and the targets."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

from bench import machine
from bench.figures import Spread, Table
from bench.lineup import PIPELINE, RAW
from bench.scenarios import SCENARIOS, Scenario
from bench.targets import Target

PACKAGES = ("loafer-core", "loafer-sqs", "aiobotocore", "botocore", "aiohttp", "uvloop", "orjson", "pydantic")
YARDSTICK = {"no-op": RAW, "waiting": PIPELINE}


def rows(head: list[str], body: Iterable[list[str]]) -> str:
    """A table; the first column is text, the others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def surroundings(table: Table) -> str:
    """The machine, versions, and what others did on it meanwhile."""
    return f"{machine.description()}. {', '.join(versions())}.\n{foreign(table)}\n"


def versions() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {name}")
    return found


def foreign(table: Table) -> str:
    if (load := table.foreign) is None:
        return "What others did meanwhile is not known."
    said = f"Others took {load.median:.0%} of the machine (median of {len(load.values)} runs; most: {load.most:.0%})"
    if table.is_quiet:
        return f"{said}: it was quiet."
    return f"{said}: **it was not quiet**. CPU ratios carry, messages a second and times do not."


def scenario_table(table: Table, scenario: Scenario) -> str:
    """Everybody in one scenario; who did not come through is in it, too."""
    columns = {"idle": _idle_columns, "stop": _stop_columns}.get(scenario.kind, _work_columns)
    body, head = [], list(columns(table, scenario, ""))
    for name in _ordered(table, scenario):
        cells = list(columns(table, scenario, name).values())
        body.append([name, *cells])
        if (failed := table.failure(name, scenario.name)) and not any(cell != "—" for cell in cells):
            body[-1] = [name, f"failed: {failed[:120]}", *[""] * (len(head) - 1)]
    return f"### {scenario.title}\n\n{rows(['consumer', *head], body)}"


def _ordered(table: Table, scenario: Scenario) -> list[str]:
    def cost(name: str) -> float:
        spread = table.spread(name, scenario.name, {"idle": "per wait", "stop": "exit"}.get(scenario.kind, "cpu"))
        return spread.median if spread else float("inf")

    return sorted(table.consumers(scenario.name), key=cost)


def _cell(spread: Spread | None, digits: int, unit: str = "") -> str:
    return "—" if spread is None else spread.text(digits) + unit


def _work_columns(table: Table, scenario: Scenario, name: str) -> dict[str, str]:
    def figure(of: str, digits: int) -> str:
        return _cell(table.spread(name, scenario.name, of), digits)

    yardstick = YARDSTICK.get(scenario.name, RAW)
    ratio = table.ratio("cpu", (name, scenario.name), (yardstick, scenario.name))
    wrong = [table.by_round(name, scenario.name, each) for each in ("duplicated", "lost", "unfinished")]
    counts = "/".join(f"{sum(each.values()):g}" for each in wrong) if wrong[0] else "—"
    columns = {"CPU µs/message": figure("cpu", 0), f"÷ {yardstick}": _cell(ratio, 2), "messages/s": figure("rate", 0)}
    if not table.by_round(yardstick, scenario.name, "cpu"):
        del columns[f"÷ {yardstick}"]
    if table.by_round(yardstick, scenario.name, "instructions"):
        count = table.spread(name, scenario.name, "instructions")
        share = table.ratio("instructions", (name, scenario.name), (yardstick, scenario.name))
        columns["thousand instructions/message"] = _cell(count and count.times(1e-3), 0)
        columns["instructions ÷"] = _cell(share, 2)
    return columns | {
        "requests/message": figure("requests", 3),
        "peak RSS MiB": figure("peak", 0),
        "start s": figure("start", 2),
        "duplicated/lost/unfinished": counts,
    }


def _idle_columns(table: Table, scenario: Scenario, name: str) -> dict[str, str]:
    idle = table.spread(name, scenario.name, "idle")
    return {
        "requests per 20 s": _cell(table.spread(name, scenario.name, "per wait"), 2),
        "CPU of a core": _cell(idle and idle.times(100), 2, " %"),
    }


def _stop_columns(table: Table, scenario: Scenario, name: str) -> dict[str, str]:
    def figure(of: str, digits: int = 0) -> str:
        return _cell(table.spread(name, scenario.name, of), digits)

    return {
        "exit s": figure("exit", 2),
        "handled": figure("handled"),
        "cut in mid-work": figure("cut"),
        "left hidden": figure("hidden"),
        "will come again": figure("duplicated"),
        "lost": figure("lost"),
    }


def target_table(found: Iterable[Target], quiet: bool) -> str:
    body = [
        [
            target.what,
            target.consumer,
            f"{target.sign} {target.bound:g}{target.unit}",
            _cell(target.measured, target.digits, target.unit),
            target.verdict(quiet),
        ]
        for target in found
    ]
    return rows(["target", "who", "bound", "measured", "verdict"], body)


def report(table: Table, found: Iterable[Target]) -> str:
    """The whole page."""
    parts = [scenario_table(table, each) for name, each in SCENARIOS.items() if table.consumers(name)]
    return "\n".join([surroundings(table), *parts, f"### Targets\n\n{target_table(found, table.is_quiet)}"])
