"""The vocabulary of a language model of codes: which id is which code, and a file that says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic

from audiocodec.config import Config
from audiocodec.errors import CodecError
from audiocodec.paths import replacing, writing
from audiocodec.patterns.arrays import check_range, column, filled, integers, numpy_array
from audiocodec.patterns.pattern import Pattern, Places
from audiocodec.patterns.registry import find_pattern

VERSION = 1
SPECIAL_TOKENS = ("pad", "bos", "eos")

Size = Annotated[int, pydantic.Field(ge=1, le=2**31)]
Name = Annotated[str, pydantic.Field(min_length=1)]


class Vocabulary(Config):
    """Codes of a codec as the ids of a language model, in a pattern, with special tokens.

    Special tokens come first, from ``first_id`` on in their order; ``pad`` stands where a pattern
    has no code. Then come the codes: where the pattern has one row, the codebooks one after the
    other, so that an id names its codebook; where each codebook has its own row, and so its own
    embedding table, each from the same id on.

    Attributes:
        model, fingerprint: of the codec whose codes these are.
        codebook_sizes: entries of each codebook in use.
        pattern: the name of an entry of :data:`~audiocodec.patterns.registry.PATTERNS`.
        special_tokens: their names; ``pad`` is one, ``bos`` and ``eos`` are known, and others are
            yours to use by :meth:`special_id`.
        first_id: the id of the first one: the size of the text vocabulary that this one extends.
    """

    format: Literal["audiocodec vocabulary"] = "audiocodec vocabulary"
    version: Annotated[int, pydantic.Field(ge=1, le=VERSION)] = VERSION
    model: str
    fingerprint: Annotated[str, pydantic.Field(pattern="^[0-9a-f]{16}$")]
    codebook_sizes: Annotated[tuple[Size, ...], pydantic.Field(min_length=1, max_length=255)]
    pattern: str
    special_tokens: tuple[Name, ...] = SPECIAL_TOKENS
    first_id: Annotated[int, pydantic.Field(ge=0)] = 0

    @pydantic.field_validator("pattern")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            find_pattern(name)
        except CodecError as error:
            raise ValueError(str(error)) from None
        return name

    @pydantic.field_validator("special_tokens")
    @classmethod
    def _named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if "pad" not in names or len(set(names)) < len(names):
            raise ValueError(f"special tokens have `pad` and each name once, not {list(names)}")
        return names

    @classmethod
    def of(
        cls,
        codec: Any,
        pattern: str,
        num_codebooks: int | None = None,
        special_tokens: tuple[str, ...] = SPECIAL_TOKENS,
        first_id: int = 0,
    ) -> Self:
        """The vocabulary of a codec's codes, or of those of a token file.

        Args:
            codec: what :func:`~audiocodec.load_codec` returns, or a
                :class:`~audiocodec.TokenHeader`.
            num_codebooks: the first ones; ``None`` for all.

        Raises:
            CodecError: more codebooks than there are, an unknown pattern, a codec that was never
                saved, or special tokens without ``pad`` or with a name twice.
        """
        sizes = tuple(codec.codebook_sizes)
        if num_codebooks is not None and not 1 <= num_codebooks <= len(sizes):
            raise CodecError(f"there are {len(sizes)} codebooks; {num_codebooks} asked for")
        values = {
            "model": _name(codec),
            "fingerprint": codec.fingerprint,
            "codebook_sizes": sizes[:num_codebooks],
            "pattern": pattern,
            "special_tokens": special_tokens,
            "first_id": first_id,
        }
        return cls.from_mapping(values, source="vocabulary")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read and check a file that :meth:`save` wrote.

        Raises:
            CodecError: missing, not JSON, of a newer version, or a key or value is wrong.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text file"
            raise CodecError(f"{path}: cannot be read ({reason})") from None
        except ValueError as error:
            raise CodecError(f"{path}: not valid JSON ({error}); write it anew") from None
        if not isinstance(values, dict) or "format" not in values or "version" not in values:
            raise CodecError(f"{path}: not a vocabulary file; Vocabulary.save writes one")
        return cls.from_mapping(values, source=str(path))

    def save(self, path: str | Path) -> None:
        """Write a JSON file, which appears whole or not at all.

        Raises:
            CodecError: it cannot be written.
        """
        with replacing(Path(path)) as temporary, writing(Path(path)):
            temporary.write_text(json.dumps(self.model_dump(mode="json"), indent=2) + "\n")

    def check(self, codec: Any) -> None:
        """Check that codes of ``codec``, or of the file with that header, are of this vocabulary.

        Raises:
            CodecError: another model, or fewer codebooks than the vocabulary has.
        """
        if codec.fingerprint != self.fingerprint:
            raise CodecError(
                f"the vocabulary is of model {self.model} ({self.fingerprint}), and the codes are "
                f"of {_name(codec)} ({codec.fingerprint}); encode with the former"
            )
        if tuple(codec.codebook_sizes[: self.num_codebooks]) != self.codebook_sizes:
            raise CodecError(
                f"the vocabulary has {self.num_codebooks} codebooks, and the codes have "
                f"{len(codec.codebook_sizes)}; encode with -n {self.num_codebooks} or more"
            )

    @property
    def order(self) -> Pattern:
        """The pattern itself."""
        return find_pattern(self.pattern)

    @property
    def num_codebooks(self) -> int:
        return len(self.codebook_sizes)

    @property
    def num_rows(self) -> int:
        """Rows of a sequence of tokens: 1, or one for each codebook."""
        return self.order.num_rows(self.num_codebooks)

    @property
    def offsets(self) -> tuple[int, ...]:
        """The id of code 0 of each codebook."""
        start = self.first_id + len(self.special_tokens)
        if not self.order.one_row:
            return (start,) * self.num_codebooks
        return tuple(start + sum(self.codebook_sizes[:k]) for k in range(self.num_codebooks))

    @property
    def size(self) -> int:
        """Ids that there are, those below ``first_id`` too: the size of an embedding table."""
        return max(map(sum, zip(self.offsets, self.codebook_sizes, strict=True)))

    def ids(self, codebook: int) -> range:
        """The ids of the codes of a codebook, counted from 0."""
        start = self.offsets[codebook]
        return range(start, start + self.codebook_sizes[codebook])

    def special_id(self, name: str) -> int:
        """The id of a special token.

        Raises:
            CodecError: the vocabulary has none of that name.
        """
        if name not in self.special_tokens:
            names = ", ".join(self.special_tokens)
            raise CodecError(f"no special token `{name}`; the vocabulary has {names}")
        return self.first_id + self.special_tokens.index(name)

    @property
    def pad_id(self) -> int:
        return self.special_id("pad")

    def codebooks(self, num_frames: int) -> Places:
        """The codebook of each place of a sequence, -1 where ``pad`` stands: ``[rows, steps]``."""
        return self.order.codebooks(self.num_codebooks, num_frames)

    def encode(self, codes: Any, bos: bool = False, eos: bool = False) -> Any:
        """Codes ``[..., K, F]`` -> tokens ``[..., L]``, or ``[..., K, L]`` with a row a codebook.

        Args:
            codes: a NumPy array or tensor of any integer type.
            bos, eos: put this token before the first step and behind the last, in every row.

        Returns:
            int64, of the same library and on the same device.

        Raises:
            CodecError: another shape or type, codes outside their codebooks, or a special token
                that the vocabulary does not have.
        """
        codes = integers(codes, "codes")
        if codes.ndim < 2 or codes.shape[-2] != self.num_codebooks:
            raise CodecError(
                f"codes must be [..., {self.num_codebooks} codebooks, frames], not "
                f"{list(codes.shape)}"
            )
        check_range(codes, [range(size) for size in self.codebook_sizes], "codes")
        tokens = self.order.interleave(codes + column(codes, self.offsets), self.pad_id)
        if not (bos or eos):
            return tokens
        steps = tokens.shape[-1]
        framed = filled(tokens, (*tokens.shape[:-1], bos + steps + eos), self.pad_id)
        if bos:
            framed[..., 0] = self.special_id("bos")
        framed[..., int(bos) : bos + steps] = tokens
        if eos:
            framed[..., -1] = self.special_id("eos")
        return framed

    def decode(self, tokens: Any, num_frames: int | None = None) -> Any:
        """The inverse of :meth:`encode` for one sequence; of one that was cut, its whole frames.

        ``bos`` at the beginning is left out; the sequence ends at the first ``eos``, or where all
        rows have ``pad``.

        Args:
            tokens: ``[L]``, or ``[K, L]`` with a row for each codebook, as a model sampled them.
            num_frames: as in :meth:`~audiocodec.patterns.pattern.Pattern.deinterleave`. Of pattern
                ``coarse_first`` the tokens show it: as many as are of the first codebook.

        Returns:
            Codes ``[K, F]``, int64, of the same library and on the same device.

        Raises:
            CodecError: another shape or type, or a token that is no code where a code belongs.
        """
        tokens = integers(tokens, "tokens")
        due = 1 if self.order.one_row else 2
        if tokens.ndim != due:
            shape = "[steps]" if due == 1 else f"[{self.num_codebooks}, steps]"
            raise CodecError(
                f"tokens of one sequence must be {shape}, not {list(tokens.shape)}; decode the "
                "sequences of a batch one by one"
            )
        start, stop = self._ends(tokens)
        tokens = tokens[..., start:stop]
        if num_frames is None and self.order.needs_length and self.num_codebooks > 1:
            of_first = numpy_array(tokens) < self.ids(0).stop
            num_frames = len(of_first) if of_first.all() else int(of_first.argmin())
        codes = self.order.deinterleave(tokens, self.num_codebooks, num_frames)
        check_range(codes, [self.ids(k) for k in range(self.num_codebooks)], "tokens")
        return codes - column(codes, self.offsets)

    def _ends(self, tokens: Any) -> tuple[int, int]:
        """The first step behind ``bos``, and the first one that is not of the sequence."""
        rows = numpy_array(tokens).reshape(self.num_rows, -1)
        start, stop = 0, rows.shape[1]
        if stop and "bos" in self.special_tokens and (rows[:, 0] == self.special_id("bos")).all():
            start = 1
        ended = (rows[:, start:] == self.pad_id).all(axis=0)
        if "eos" in self.special_tokens:
            ended |= (rows[:, start:] == self.special_id("eos")).any(axis=0)
        return start, start + int(ended.argmax()) if ended.any() else stop


def _name(codec: Any) -> str:
    """The name of a codec, or of the model that a token header names."""
    return str(getattr(codec, "name", None) or codec.model)
