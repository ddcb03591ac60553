"""What was measured -> medians, comparisons and a table."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

import saving_figures
import speech_figures

RATE, COST = "rate", "cost"  # more is better, less is better
AUDIO = (
    *("audio chunk", "audio chunk first", "audio chunk last", "audio chunk rate"),
    *("audio 30 s", "audio 30 s rate", "memory with audio"),
)


def kind_of(figure: str) -> str:
    return (
        RATE if figure.startswith(("prefill", "decode", "speech codes")) or figure.endswith("rate") else COST
    )


def summarise(results: dict[str, Any]) -> dict[str, Any]:
    """Per figure the median of every contender, the best peer, and how many times better ours is."""
    ours, *peers = results["contenders"]
    bandwidth = max(results["bandwidth_bytes_per_s"])
    figures: dict[str, Any] = {}
    prompts = [f"prefill {n_token}" for n_token in results["settings"]["prompt"]]
    seen = ("vision", "vision ten slices")
    read = (*prompts, "decode", "first token", "memory", *saving_figures.FIGURES)
    for figure in ("load", *seen, *read, *AUDIO, *speech_figures.FIGURES):
        if figure not in ours["samples"]:
            continue
        samples = ours["samples"][figure]
        entry: dict[str, Any] = {"medians": {ours["name"]: median(samples)}}
        for peer in peers:
            if figure in peer["samples"]:
                entry["medians"][peer["name"]] = median(peer["samples"][figure])
        rivals = [peer for peer in peers if figure in peer["samples"]]
        if rivals:
            entry |= _compare(figure, ours, rivals)
        figures[figure] = entry
    shares = {}
    for contender in results["contenders"]:
        size = results["decoder_bytes"]["ours" if contender is ours else "peer"]
        if size is not None and "decode" in contender["samples"]:
            shares[contender["name"]] = median(contender["samples"]["decode"]) * size / bandwidth
    summary = {"figures": figures, "bandwidth_bytes_per_s": bandwidth, "decode_share_of_bandwidth": shares}
    if results["sgemm_flop_per_s"]:
        summary["sgemm_flop_per_s"] = max(results["sgemm_flop_per_s"])
        summary["share_of_sgemm"] = {
            figure.removesuffix(" rate"): entry["medians"][ours["name"]] / summary["sgemm_flop_per_s"]
            for figure, entry in figures.items()
            if figure.endswith(" rate")
        }
    if "speech codes" in figures:
        rate = median(ours["samples"]["speech codes"])
        summary["codes_share_of_bandwidth"] = rate * results["code_bytes"] / bandwidth
    return summary


def _compare(figure: str, ours: dict[str, Any], rivals: list[dict[str, Any]]) -> dict[str, Any]:
    """Ours against the peer's setting with the better median. Rounds lie side by side in time."""
    sign = 1 if kind_of(figure) == RATE else -1
    rival = max(rivals, key=lambda peer: sign * median(peer["samples"][figure]))
    mine, theirs = ours["samples"][figure], rival["samples"][figure]
    rounds = [(a / b) ** sign for a, b in zip(mine, theirs, strict=True)]
    return {
        "rival": rival["name"],
        "ours_to_rival": (median(mine) / median(theirs)) ** sign,
        "ours_to_rival_rounds": rounds,
    }


def table(results: dict[str, Any]) -> str:
    return "\n".join(_lines(results))


def _lines(results: dict[str, Any]) -> Iterator[str]:
    machine, summary, contenders = results["machine"], results["summary"], results["contenders"]
    yield (
        f"{machine['processor']}, {machine['n_threads']} of {machine['n_cpu']} processors, "
        f"load average {machine['load_average'] or 0:.1f} at the start, {machine['begun']}"
    )
    for file in results["files"]:
        yield f"{file['path']}: {file['bytes'] / 1e9:.2f} GB"
    yield ", ".join(f"{contender['name']}: {contender['version']}" for contender in contenders)
    yield f"medians of {results['settings']['repeat']} rounds, in brackets the least and the most"
    yield ""
    names = [contender["name"] for contender in contenders]
    head = ["", *names, *(["best peer", "ours is better by"] if len(names) > 1 else [])]
    rows = [
        head,
        *(_row(results, figure, names) for figure in summary["figures"]),
        *_share_rows(summary, names),
    ]
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(head))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
    yield ""
    spread = [round(value / 1e9, 1) for value in results["bandwidth_bytes_per_s"]]
    yield f"read bandwidth {max(spread)} GB/s, the best of {spread} (one measurement a round)"
    if "sgemm_flop_per_s" in summary:
        spread = [round(value / 1e9) for value in results["sgemm_flop_per_s"]]
        yield f"float32 matrix products {max(spread)} GFLOP/s, the best of {spread} (one measurement a round)"


def _row(results: dict[str, Any], figure: str, names: list[str]) -> list[str]:
    unit, scale = _unit(figure)
    entry = results["summary"]["figures"][figure]
    cells = [f"{figure} [{unit}]"]
    for contender in results["contenders"]:
        samples = contender["samples"].get(figure)
        cells.append(_cell(samples, scale) if samples else "-")
    if len(names) > 1 and "rival" in entry:
        rounds = entry["ours_to_rival_rounds"]
        cells += [entry["rival"], f"{entry['ours_to_rival']:.2f}x ({min(rounds):.2f}..{max(rounds):.2f})"]
    return cells


def _share_rows(summary: dict[str, Any], names: list[str]) -> Iterator[list[str]]:
    shares = summary["decode_share_of_bandwidth"]
    if shares:
        yield ["decode, share of bandwidth", *(f"{shares[n]:.0%}" if n in shares else "-" for n in names)]
    if "codes_share_of_bandwidth" in summary:
        yield ["speech codes, share of bandwidth", f"{summary['codes_share_of_bandwidth']:.0%}"]
    for figure, share in summary.get("share_of_sgemm", {}).items():
        yield [f"{figure}, share of float32 products", f"{share:.0%}"]


def _cell(samples: list[float], scale: float) -> str:
    low, middle, high = (value * scale for value in (min(samples), median(samples), max(samples)))
    return f"{middle:.2f} ({low:.2f}..{high:.2f})"


def _unit(figure: str) -> tuple[str, float]:
    if figure.startswith("memory"):
        return "GB", 1e-9
    if "tokens" in figure:
        return "tokens", 1.0
    if figure.endswith("rate"):
        return "GFLOP/s", 1e-9
    if figure.startswith("audio chunk"):
        return "ms", 1e3
    if figure.startswith("speech codes"):
        return "codes/s", 1.0
    if figure.startswith("token2wav"):
        return "s per s of sound", 1.0
    return ("tok/s" if kind_of(figure) == RATE else "s"), 1.0
