"""A tokenised corpus back to audio: a file for each utterance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from audiocodec.audio.file_writer import AudioWriter
from audiocodec.errors import CodecError
from audiocodec.files import BLOCK_SECONDS
from audiocodec.runtime import RuntimeCodec
from audiocodec.streaming import StreamDecoder
from audiocodec.threads import Stop, in_order
from audiocodec.tokenising.output import make_folder
from audiocodec.tokenising.rewriting import TokenCorpus
from audiocodec.tokenising.tokenised import Tokenised


def detokenize(
    corpus: TokenCorpus,
    codec: RuntimeCodec,
    folder: Path,
    num_codebooks: int | None = None,
    suffix: str = ".wav",
    overwrite: bool = False,
    workers: int = 1,
    progress: Callable[[int, float], object] | None = None,
) -> tuple[int, int]:
    """Decode all utterances: ``folder/ID.wav``, 16-bit, mono, at the model's rate.

    Args:
        num_codebooks: how many of the codebooks to use; ``None`` for all.
        suffix: ``.wav`` or ``.flac``.
        overwrite: replace files that are there; they are kept otherwise.
        progress: called with the number of utterances since the last call, and their seconds.

    Returns:
        The number of files that were made, and of those that were there already.

    Raises:
        CodecError: another model than the corpus's, more codebooks than it has, a shard that is
            not finished or damaged, or a file that cannot be written.
    """
    settings, stop = corpus.settings, Stop()
    if settings.fingerprint != codec.fingerprint:
        raise CodecError(
            f"{corpus.folder}: made by model {settings.model} ({settings.fingerprint}), not by "
            f"{codec.name} ({codec.fingerprint}); name the model that made it with --model"
        )
    if num_codebooks and num_codebooks > settings.num_codebooks:
        raise CodecError(
            f"{corpus.folder}: holds {settings.num_codebooks} codebooks; {num_codebooks} asked for"
        )
    block = max(1, round(BLOCK_SECONDS * codec.frame_rate))

    def rows() -> Iterator[Tokenised]:
        for index in range(settings.num_shards):
            yield from corpus.rows(index)

    def decode(row: Tokenised) -> tuple[bool, float]:
        target = folder / row.file_name(suffix)
        seconds = row.num_samples / settings.sample_rate
        if target.exists() and not overwrite:
            return False, seconds
        make_folder(target.parent)
        decoder = StreamDecoder(codec)
        codes = row.codes[None, :num_codebooks].astype("int64")
        left = row.num_samples
        with AudioWriter(target, settings.sample_rate, 1, row.num_samples) as writer:
            for start in range(0, codes.shape[2] + block, block):
                stop.check()
                piece = codes[:, :, start : start + block]
                audio = decoder.push(piece) if piece.shape[2] else decoder.flush()
                samples = audio[0, :, :left].float().cpu().numpy()
                left -= samples.shape[1]
                writer.write(samples)
        return True, seconds

    made = kept = 0
    with closing(in_order(decode, rows(), workers, stop, 4 * workers)) as results:
        for new, seconds in results:
            made, kept = made + new, kept + (not new)
            if progress:
                progress(1, seconds)
    return made, kept
