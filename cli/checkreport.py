"""The result of `codec train --check` as text."""

from __future__ import annotations

from typing import Any


def check_report(run: dict[str, Any]) -> str:
    """The lines to print, from what :func:`audiocodec.training.check.report.check` returned."""
    rates = run["bitrates"]
    lines = [
        f"{run['recipe']}: checked, the run {'cannot' if run['problem'] else 'can'} start",
        f"  model   {run['name']}: {run['parameters'] / 1e6:.2f} M parameters, "
        f"{run['frame_rate']:g} frames/s, {rates[0] / 1000:g} to {rates[-1] / 1000:g} kbps",
    ]
    if run["to_download"]:
        size, unpacked = run["download_bytes"], run["disk_bytes"]["download"]
        lines.append(
            f"  audio   {', '.join(run['to_download'])}: {_size(size)} to download, "
            f"{_size(unpacked)} of disk while they are unpacked"
        )
    else:
        speakers = f" of {run['speakers']} speakers" if run["speakers"] else ""
        lines.append(
            f"  audio   {_hours(run['hours_of_audio'])} in {_count(run['files'], 'file')}"
            f"{speakers} to train on; {_count(run['held_out'], 'file')} held out"
        )
        lines.append(
            f"          near-silent: {run['near_silent']} of "
            f"{_count(run['files_decoded'], 'file')} decoded "
            f"(nowhere above {run['silence_threshold_db']:g} dB)"
        )
        lines += [f"          will be skipped: {reason}" for reason in run["unreadable"][:5]]
        if len(run["unreadable"]) > 5:
            lines.append(f"          and {len(run['unreadable']) - 5} more")
    lines.append(
        f"  time    about {_hours(run['hours'])} on this {run['device']}: {run['steps']} steps "
        f"of {run['seconds_per_step']:.3g} s (measured), {run['audio_seconds_per_step']:g} s of "
        "audio each"
    )
    if run["memory_bytes"] is not None:
        lines.append(f"  memory  about {_size(run['memory_bytes'])}")
    disk = {name: size for name, size in run["disk_bytes"].items() if name != "download"}
    shares = ", ".join(f"{name} {_size(size)}" for name, size in disk.items() if size)
    lines.append(f"  disk    about {_size(sum(disk.values()))} in {run['folder']}: {shares}")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.1f} min" if hours >= 1 / 60 else f"{hours * 3600:.0f} s"


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
