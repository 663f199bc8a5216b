"""``python -m bench.plots RESULTS PICTURES``: an SVG for each curve, and one for everybody. For the venv `plots`."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from bench.curves import CURVES, Curve
from bench.figures import Table
from bench.lineup import RAW
from bench.runner import load

PANELS = {
    "routes": [("cpu", "CPU µs/message"), ("peak", "peak RSS, MiB"), ("start", "start of the last, s")],
    "in-flight": [("rate", "messages/s"), ("cpu", "CPU µs/message")],
    "bodies": [("cpu", "CPU µs/message"), ("peak", "peak RSS, MiB")],
    "queued": [("seconds", "until empty, s"), ("cpu", "CPU µs/message"), ("peak", "peak RSS, MiB")],
}
LOGARITHMIC = {("queued", "seconds"), ("in-flight", "rate"), ("bodies", "cpu")}
TICK = 0.01
"""Seconds: CPU is counted in steps of that, so what took less than thirty of them is not drawn."""


def curve_picture(curve: Curve, table: Table, path: Path) -> None:
    panels = PANELS[curve.name]
    _, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 2.9), layout="constrained")
    names = list(dict.fromkeys(run.consumer for run in table.runs))
    for axis, (quantity, label) in zip(axes, panels, strict=True):
        for name in names:
            points = list(_points(curve, table, name, quantity))
            axis.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name) if points else None
        if (curve.name, quantity) == ("in-flight", "rate"):
            possible = [scenario.possible for scenario in curve.scenarios().values()]
            axis.plot(curve.x, possible, color="0.6", linestyle=":", label="possible")
        axis.set(xscale="log", xlabel=curve.label, ylabel=label)
        axis.minorticks_off()
        if (curve.name, quantity) in LOGARITHMIC:
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
    axes[0].legend(fontsize="small")
    _save(path)


def _points(curve: Curve, table: Table, name: str, quantity: str) -> list[tuple[int, float]]:
    found = []
    for x, scenario in curve.scenarios().items():
        spread = table.spread(name, scenario.name, quantity)
        if spread and (quantity != "cpu" or spread.median * 1e-6 * scenario.count >= 30 * TICK):
            found.append((x, spread.median))
    return found


def everybody_picture(table: Table, path: Path) -> None:
    """CPU per message with a handler that does nothing; the line is the raw loop on aiobotocore."""
    costs = {name: table.spread(name, "no-op", "cpu") for name in table.consumers("no-op")}
    shown = sorted(((spread.median, name) for name, spread in costs.items() if spread), reverse=True)
    _, axis = plt.subplots(figsize=(7.2, 0.28 * len(shown) + 0.9), layout="constrained")
    _bars(axis, shown)
    if (raw := costs.get(RAW)) is not None:
        axis.axvline(raw.median, color="0.6", linestyle=":")
    _save(path)


def _bars(axis: Axes, shown: list[tuple[float, str]]) -> None:
    colours = ["C0" if name.startswith("loafer") else "0.6" if name.startswith("raw-") else "C1" for _, name in shown]
    bars = axis.barh([name for _, name in shown], [cost for cost, _ in shown], color=colours)
    axis.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize="small")
    axis.set_xlabel("CPU µs/message")
    axis.margins(x=0.1)


def _save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plt.savefig(path, metadata={"Date": None})
    plt.close()


def main(results: Path, pictures: Path) -> None:
    # Text stays text, and the same figures give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9, "axes.grid": True})
    mpl.rcParams.update({"axes.axisbelow": True, "grid.color": "0.9", "axes.spines.top": False})
    mpl.rcParams.update({"axes.spines.right": False})
    for name, curve in CURVES.items():
        if (saved := results / f"{name}.jsonl").exists():
            curve_picture(curve, Table(load(saved)), pictures / f"{name}.svg")
    if (saved := results / "no-op.jsonl").exists():
        everybody_picture(Table(load(saved)), pictures / "everybody.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
