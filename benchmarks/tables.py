"""The figures of ``running.run_groups`` as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Content = Mapping[str, Any]


def as_markdown(content: Content) -> str:
    """Machine, then a table of cases and one of ratios for each group."""
    return "\n".join(_lines(content)) + "\n"


def _lines(content: Content) -> Iterator[str]:
    machine = content["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    yield f"# Benchmarks, {machine['started'][:10]}"
    yield ""
    yield (
        f"{machine['cpu']}, {machine['cpu_cores']} cores, {machine['memory_gib']:g} GiB; "
        f"GPUs: {', '.join(machine['gpus']) or 'none'}; load {machine['load_average']:.1f} at the "
        f"end; {versions}; revision {(machine['git_revision'] or 'unknown')[:10]}."
    )
    yield ""
    yield f"Medians of {content['rounds']} rounds; in brackets the middle half of them."
    for name, group in content["groups"].items():
        yield ""
        yield f"## {name}"
        yield ""
        if "error" in group:
            yield f"Failed: {group['error']}"
            continue
        yield from _cases(group["cases"])
        if group["ratios"]:
            yield ""
            yield from _ratios(group["ratios"])
        yield ""
        peak = f"{group['peak_memory_mib']:,.0f} MiB"
        yield f"Peak memory of the process and its largest child: {peak}."


def _cases(cases: Content) -> Iterator[str]:
    figures = list(dict.fromkeys(name for case in cases.values() for name in case["figures"]))
    yield _row("case", "clock", "unit", "a second", "ms a unit", *map(_title, figures))
    yield _row("---", "---", "---", "---:", "---:", *("---:" for _ in figures))
    for name, case in cases.items():
        spread = {key: 1e3 * value for key, value in case["seconds_per_unit"].items()}
        others = (
            f"{case['figures'][figure]['median']:.3g}" if figure in case["figures"] else ""
            for figure in figures
        )
        rate = f"{case['units_per_second']:,.4g}"
        yield _row(name, case["clock"], case["unit"], rate, _spread(spread), *others)


def _ratios(ratios: Content) -> Iterator[str]:
    yield _row("ratio", "measured", "target", "met")
    yield _row("---", "---:", "---:", "---")
    for name, ratio in ratios.items():
        target, met = "", ""
        if ratio["target"] is not None:
            target = f"{ratio['target_is']} {ratio['target']:g}"
            met = "yes" if ratio["holds"] else "no"
        yield _row(name, _spread(ratio), target, met)


def _spread(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.3g} [{spread['low']:.3g}, {spread['high']:.3g}]"


def _title(name: str) -> str:
    return name.replace("_", " ")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
