"""Interleaved measuring, and tables of medians with their ratio to the C limit."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping


class Table:
    """Rows of (way, median nanoseconds, ratio to the first row)."""

    def __init__(self, title: str, unit: str, samples: Mapping[str, list[float]]) -> None:
        self.title = title
        self.unit = unit
        self.medians = {way: statistics.median(times) for way, times in samples.items()}
        self.spread = {way: (min(times), max(times)) for way, times in samples.items()}

    def as_dict(self) -> dict[str, object]:
        limit = next(iter(self.medians.values()))
        return {
            "title": self.title,
            "unit": self.unit,
            "machine": machine(),
            "rows": {
                way: {
                    "median": median,
                    "min": self.spread[way][0],
                    "max": self.spread[way][1],
                    "ratio": median / limit,
                }
                for way, median in self.medians.items()
            },
        }

    def __str__(self) -> str:
        limit = next(iter(self.medians.values()))
        width = max(map(len, self.medians))
        lines = [f"{self.title} ({self.unit}; {machine()})"]
        heads = f"{'median':>9}  {'min':>9}  {'max':>9}  {'x C':>6}  {'M/s':>7}"
        lines.append(f"  {'':{width}}  {heads}")
        for way, median in self.medians.items():
            low, high = self.spread[way]
            lines.append(
                f"  {way:{width}}  {median:9.2f}  {low:9.2f}  {high:9.2f}"
                f"  {median / limit:6.2f}  {1000 / median:7.1f}"
            )
        return "\n".join(lines) + "\n"


def interleave(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call each way in turn, `rounds` times after one round that does not count: what slows the
    machine down for a while slows them all."""
    samples: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, measure in ways.items():
            time = measure()
            if number:
                samples[way].append(time)
    return samples


def machine() -> str:
    return f"Linux {platform.release()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
