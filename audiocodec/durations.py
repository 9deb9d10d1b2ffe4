"""Durations as people write them: ``90s``, ``25m``, ``1.5h``."""

import re

SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


def parse_duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``9m`` or ``1.5h``.

    Raises:
        ValueError: it is none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a duration; write 90s, 9m or 1.5h")
    return float(found[1]) * SECONDS[found[2]]


def show_duration(seconds: float) -> str:
    """Seconds as ``45s``, ``2m05s`` or ``1h30m``, rounded."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s" if whole % 60 else f"{whole // 60}m"
    minutes = round(whole / 60)
    return f"{minutes // 60}h{minutes % 60:02d}m" if minutes % 60 else f"{minutes // 60}h"
