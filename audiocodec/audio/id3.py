"""ID3v2 tags: metadata in front of MP3 and other audio. They are skipped."""

from __future__ import annotations

from typing import BinaryIO

ID3_HEADER_BYTES = 10


def id3_bytes(header: bytes) -> int:
    """Size in bytes of the tag that starts with ``header``, of which ten bytes are needed."""
    size = 0
    for byte in header[6:10]:
        size = size << 7 | byte & 0x7F
    return size + (20 if header[5] & 0x10 else 10)


def after_id3(file: BinaryIO, start: int) -> int:
    """The position after the ID3v2 tags that start at ``start``; ``start`` if there are none."""
    while True:
        file.seek(start)
        header = file.read(ID3_HEADER_BYTES)
        if header[:3] != b"ID3" or len(header) < ID3_HEADER_BYTES:
            return start
        start += id3_bytes(header)
