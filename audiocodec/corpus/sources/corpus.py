"""The contract of a corpus: utterances in a fixed order, of which any slice can be had."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol

from audiocodec.corpus.utterance import Utterance


class Corpus(Protocol):
    """A corpus. It can be pickled, for other processes and machines that have the same files.

    ``digest`` is hexadecimal. It changes when the utterances do: which there are, in which order,
    where they lie and what is known of them. It does not depend on where the corpus lies, nor on
    what the audio files hold.
    """

    digest: str

    def __len__(self) -> int:
        """The number of utterances."""
        ...

    def utterances(self, start: int, stop: int) -> Iterator[Utterance]:
        """The utterances ``start`` to ``stop - 1``, in order, without holding the others.

        Raises:
            CodecError: the corpus has changed since it was opened.
        """
        ...


def digest_of(texts: Iterable[str]) -> str:
    """The digest of a list of texts."""
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        digest.update(text.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()
