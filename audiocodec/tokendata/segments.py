"""Segments of utterances, and a data set that has all of them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from audiocodec.errors import CodecError
from audiocodec.progress import Progress
from audiocodec.tokendata.sources import (
    CodedUtterance,
    Codes,
    TokenData,
    open_token_data,
)

Choice = Callable[[CodedUtterance], bool]


@dataclass(frozen=True)
class Segment:
    """A part of an utterance.

    Attributes:
        codes: int64 ``[K, F]``.
        id: of the utterance.
        start: the first frame's place in it.
        begins, ends: whether the utterance begins or ends here.
        speaker, text: of the whole utterance; empty where the corpus does not say.
    """

    codes: Tensor
    id: str
    start: int
    begins: bool
    ends: bool
    speaker: str = ""
    text: str = ""


@dataclass(frozen=True)
class Cut:
    """How utterances become segments: one after the other, so that every frame is in one.

    Args:
        frames: of a segment; the last one of an utterance may be shorter. ``None``: the whole
            utterance.
        least_frames: shorter segments are left out.
        num_codebooks: the first ones.
        choose: which utterances to take; ``None`` for all.
    """

    frames: int | None
    least_frames: int
    num_codebooks: int
    choose: Choice | None

    @classmethod
    def of(
        cls,
        data: TokenData,
        frames: int | None,
        least_frames: int,
        num_codebooks: int | None,
        choose: Choice | None,
    ) -> Self:
        """Check these values for ``data``.

        Raises:
            CodecError: no frames, or more codebooks than there are.
        """
        count = len(data.codebook_sizes) if num_codebooks is None else num_codebooks
        cut = cls(frames, least_frames, count, choose)
        cut._check(data)
        return cut

    def _check(self, data: TokenData) -> None:
        if (self.frames is not None and self.frames < 1) or self.least_frames < 1:
            raise CodecError("frames and least_frames are 1 or more")
        if self.frames is not None and self.least_frames > self.frames:
            raise CodecError(f"no segment of {self.frames} frames has {self.least_frames}")
        held = len(data.codebook_sizes)
        if not 1 <= self.num_codebooks <= held:
            raise CodecError(
                f"{data.place}: holds {held} codebooks; {self.num_codebooks} asked for"
            )

    def utterances(self, data: TokenData, shard: int) -> Iterator[CodedUtterance]:
        """The utterances of a shard that are taken.

        Raises:
            CodecError: the shard cannot be read, or an utterance has too few codebooks.
        """
        for utterance in data.read(shard):
            held = len(utterance.codes)
            if held < self.num_codebooks:
                raise CodecError(
                    f"{data.place}: {utterance.id} has {held} codebooks, and {self.num_codebooks} "
                    f"are asked for; take num_codebooks={held}"
                )
            if self.choose is None or self.choose(utterance):
                yield utterance

    def places(self, num_frames: int) -> list[tuple[int, int]]:
        """First frame and the frame after the last of each segment of an utterance."""
        length = self.frames or max(num_frames, 1)
        ends = [(start, min(start + length, num_frames)) for start in range(0, num_frames, length)]
        return [(start, stop) for start, stop in ends if stop - start >= self.least_frames]

    def segment(self, utterance: CodedUtterance, start: int, stop: int) -> Segment:
        """Frames ``start`` to ``stop`` of an utterance."""
        codes = utterance.codes[: self.num_codebooks, start:stop].astype(np.int64)
        return Segment(
            codes=torch.from_numpy(codes),
            id=utterance.id,
            start=start,
            begins=start == 0,
            ends=stop == utterance.codes.shape[1],
            speaker=utterance.speaker,
            text=utterance.text,
        )


@dataclass(frozen=True)
class _Kept:
    """An utterance in memory."""

    id: str
    codes: Codes
    speaker: str
    text: str
    split: str


class TokenSegments(Dataset[Segment]):
    """All segments of a corpus in memory: 6 MB an hour for 16 codebooks at 50 frames per second.

    Item ``i`` is always the same segment. A ``DataLoader`` with ``shuffle`` and a seeded
    ``generator`` gives them in a random order that is the same each time; with
    ``torch.utils.data.DistributedSampler`` each rank gets equally many.

    Attributes:
        data: where the codes come from: ``data.model``, ``data.fingerprint``.
        codebook_sizes: of the codebooks in use.

    Args:
        source: a path as in :func:`~audiocodec.tokendata.sources.open_token_data`, or what that
            returned.
        frames, least_frames, choose: as in :class:`Cut`.
        num_codebooks: the first ones; ``None`` for all.
        progress: called with the number of shards since the last call.

    Raises:
        CodecError: nothing that can be read, more codebooks than there are, or no segments.
    """

    def __init__(
        self,
        source: str | Path | TokenData,
        frames: int | None = None,
        least_frames: int = 1,
        num_codebooks: int | None = None,
        choose: Choice | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.data = opened(source)
        self._cut = Cut.of(self.data, frames, least_frames, num_codebooks, choose)
        self.codebook_sizes = self.data.codebook_sizes[:num_codebooks]
        self._utterances: list[_Kept] = []
        places: list[tuple[int, int, int]] = []
        for shard in range(len(self.data)):
            for each in self._cut.utterances(self.data, shard):
                found = self._cut.places(each.codes.shape[1])
                places += [(len(self._utterances), *place) for place in found]
                codes = np.ascontiguousarray(each.codes[: self._cut.num_codebooks])
                self._utterances.append(_Kept(each.id, codes, each.speaker, each.text, each.split))
            if progress:
                progress(1)
        if not places:
            raise CodecError(f"{self.data.place}: has no segment of {least_frames} frames")
        self._places = np.array(places, np.int64)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Segment:
        utterance, start, stop = self._places[index].tolist()
        return self._cut.segment(self._utterances[utterance], start, stop)


def opened(source: str | Path | TokenData) -> TokenData:
    """The data at a path; what is open already stays as it is."""
    return open_token_data(source) if isinstance(source, str | Path) else source
