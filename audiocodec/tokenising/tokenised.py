"""What tokenising makes of an utterance: its codes, or the reason why it has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiocodec.corpus.utterance import check_id
from audiocodec.errors import CodecError

Codes = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Tokenised:
    """The codes of an utterance.

    Args:
        codes: ``[K, F]``, of the type that :attr:`Settings.dtype
            <audiocodec.tokenising.settings.Settings.dtype>` says.
        num_samples: length of the audio at the model's sample rate.
        id, speaker, text, split: as in :class:`~audiocodec.corpus.utterance.Utterance`.
    """

    id: str
    codes: Codes
    num_samples: int
    speaker: str = ""
    text: str = ""
    split: str = ""

    def file_name(self, suffix: str) -> str:
        """The path of the utterance's own file in a folder.

        Raises:
            CodecError: it would lie elsewhere; ids come from files that others wrote.
        """
        try:
            return check_id(self.id) + suffix
        except ValueError as error:
            raise CodecError(f"the id of an utterance {error}") from None


@dataclass(frozen=True)
class Unreadable:
    """An utterance that could not be tokenised: where it lies, and one line that says why."""

    id: str
    place: str
    reason: str


Row = Tokenised | Unreadable
