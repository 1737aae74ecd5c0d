"""Interleaved measuring, and tables of medians with their ratio to the C limit."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


class Table:
    """Rows of (way, median, minimum, maximum, ratio of the medians to the first row).

    Of times in nanoseconds the rate per second is shown as well.
    """

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
        rate = self.unit.startswith("ns")
        heads = f"{'median':>9}  {'min':>9}  {'max':>9}  {'x':>6}" + rate * f"  {'M/s':>7}"
        lines.append(f"  {'':{width}}  {heads}")
        for way, median in self.medians.items():
            low, high = self.spread[way]
            lines.append(
                f"  {way:{width}}  {median:9.2f}  {low:9.2f}  {high:9.2f}"
                f"  {median / limit:6.2f}" + (f"  {1000 / median:7.1f}" if rate else "")
            )
        return "\n".join(lines) + "\n"


def interleave(ways: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Call each way in turn, `rounds` times after one round that does not count: what slows the
    machine down for a while slows them all."""
    samples: dict[str, list[T]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, measure in ways.items():
            time = measure()
            if number:
                samples[way].append(time)
    return samples


def machine() -> str:
    cpus = f"{os.cpu_count()} CPUs {processor()}"
    return f"Linux {platform.release()}, {cpus}, Python {platform.python_version()}"


def processor() -> str:
    """What the kernel calls the first CPU; where it has no name for it, the architecture."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            field, _, value = line.partition(":")
            if field.strip() == "model name":
                return value.strip()
    return platform.machine()
