"""Where the codes of a data set come from: shards of utterances, read one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audiocodec.errors import CodecError
from audiocodec.tokenising.ledger import Ledger
from audiocodec.tokenising.rewriting import TokenCorpus
from audiocodec.tokens import TokenFile, TokenHeader, find_tokens
from audiocodec.tokens.context import ContextModel

Codes = NDArray[np.unsignedinteger]


class CodedUtterance(Protocol):
    """An utterance with its codes ``[K, F]``, and what the corpus says of it."""

    @property
    def id(self) -> str: ...
    @property
    def codes(self) -> Codes: ...
    @property
    def speaker(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def split(self) -> str: ...


class TokenData(Protocol):
    """Utterances of one model in shards, each of which can be read by itself.

    Attributes:
        model, fingerprint: of the codec that made the codes.
        codebook_sizes: entries of each codebook.
        place: its path, for messages.
    """

    model: str
    fingerprint: str
    codebook_sizes: tuple[int, ...]
    place: Path

    def __len__(self) -> int:
        """The number of shards."""

    def read(self, shard: int) -> Iterator[CodedUtterance]:
        """The utterances of a shard, always in the same order.

        Raises:
            CodecError: the shard is missing or damaged, or of another model than the first.
        """


@dataclass(frozen=True)
class TokenFileUtterance:
    """A channel of a token file: ``id`` is its path in the folder, without suffix."""

    id: str
    codes: Codes
    speaker: str = ""
    text: str = ""
    split: str = ""


class TokenFiles:
    """``.tok`` files as shards of one utterance, or of one for each channel.

    Args:
        path: a file, or a folder with files in it and its subfolders.
        context: as in :class:`~audiocodec.TokenFile`.

    Raises:
        CodecError: no such files, or the first of them is damaged.
    """

    def __init__(self, path: str | Path, context: ContextModel | None = None) -> None:
        self.place = Path(path)
        self._paths, self._context = find_tokens(path), context
        with TokenFile(self._paths[0], context) as tokens:
            self._set_model(tokens.header)

    def _set_model(self, header: TokenHeader) -> None:
        self.model, self.fingerprint = header.model, header.fingerprint
        self.codebook_sizes = header.codebook_sizes

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, shard: int) -> Iterator[CodedUtterance]:
        path = self._paths[shard]
        with TokenFile(path, self._context) as tokens:
            if tokens.header.fingerprint != self.fingerprint:
                raise CodecError(
                    f"{path}: has codes of model {tokens.header.model} "
                    f"({tokens.header.fingerprint}), and {self._paths[0]} of {self.model} "
                    f"({self.fingerprint}); encode all with one model"
                )
            codes = tokens.read()
        narrow = np.uint16 if max(self.codebook_sizes) <= 2**16 else np.uint32
        root = self.place if self.place.is_dir() else self.place.parent
        name = path.relative_to(root).with_suffix("").as_posix()
        for channel, of_channel in enumerate(codes):
            id = name if len(codes) == 1 else f"{name}:{channel}"
            yield TokenFileUtterance(id, of_channel.astype(narrow))


class TokenShards:
    """What ``codec tokenize`` wrote, in any of its formats.

    Raises:
        CodecError: ``folder`` holds no such corpus, or its format needs a package that is not
            installed.
    """

    def __init__(self, folder: str | Path) -> None:
        self._corpus = TokenCorpus(Path(folder))
        settings = self._corpus.settings
        self.place = self._corpus.folder
        self.model, self.fingerprint = settings.model, settings.fingerprint
        self.codebook_sizes = settings.codebook_sizes

    def __len__(self) -> int:
        return self._corpus.settings.num_shards

    def read(self, shard: int) -> Iterator[CodedUtterance]:
        yield from self._corpus.rows(shard)


def open_token_data(path: str | Path, context: ContextModel | None = None) -> TokenData:
    """The codes at a path: what ``codec tokenize`` wrote, a ``.tok`` file, or a folder of them.

    Args:
        context: as in :class:`~audiocodec.TokenFile`.

    Raises:
        CodecError: nothing of that kind is there.
    """
    if Ledger(Path(path)).exists():
        return TokenShards(path)
    return TokenFiles(path, context)
