"""`codec prepare`: a manifest and the statistics of a corpus."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .options import jobs_option, overwrite_option, quiet, resolve_jobs


@click.command()
@click.argument("corpus", metavar="IN", type=click.Path())
@click.argument("manifest", metavar="OUT.jsonl", type=click.Path())
@click.option(
    "--stats",
    type=click.Path(),
    metavar="FILE",
    help="Write the statistics as JSON, with the lists of duplicates and unreadable files.",
)
@jobs_option
@overwrite_option
def command(
    corpus: str, manifest: str, stats: str | None, jobs: int | None, overwrite: bool
) -> int:
    """Read a corpus, describe it in a manifest, and print its statistics.

    IN is a folder of audio files, a list of paths (.txt), a JSONL manifest, or WebDataset .tar or
    Parquet files, alone or in a folder. OUT.jsonl gets a JSON object for each utterance: id, path
    (and the member of a tar, or the row of a Parquet file), offset and duration in seconds, sample
    rate, channels, the share of silence, the number of clipped samples, and the SHA-256 of the
    file. Speaker and text are added where the corpus has them: in its manifest, tar or table, in a
    .txt beside the audio file, or in the layout of LibriSpeech, LibriTTS, VCTK or LJ Speech
    (metadata.csv).

    All audio is decoded, so that a file that is damaged or cut short is found here. It is an error
    line and not in the manifest, the others are, and the exit code is 1.

    Silence: frames of 20 ms below -50 dB of full scale. Clipped: three or more samples in a row at
    full scale. Duplicates: equal bytes, found by the checksum; they stay in the manifest.

    \b
    codec prepare corpus/ corpus.jsonl
    codec prepare corpus/ corpus.jsonl --stats corpus.json --jobs 8
    codec prepare shards/ shards.jsonl          WebDataset tars or Parquet files
    jq -c 'select(.silence < 0.5 and .clipped == 0)' corpus.jsonl > good.jsonl
    """
    from audiocodec.corpus.preparing.run import ESCAPE, prepare
    from audiocodec.errors import CodecError
    from audiocodec.paths import replacing

    if Path(manifest).suffix.lower() not in (".jsonl", ".json"):
        raise CodecError(f"{manifest}: a manifest is a .jsonl file; name it {manifest}.jsonl")
    for output in (manifest, *([stats] if stats else [])):
        if Path(output).exists() and not overwrite:
            raise CodecError(f"{output}: is there already; --overwrite replaces it")
    totals = prepare(Path(corpus), Path(manifest), resolve_jobs(jobs))
    if stats:
        text = json.dumps(totals.as_dict(), indent=2, ensure_ascii=False) + "\n"
        with replacing(Path(stats)) as temporary:
            temporary.write_text(text, encoding="utf-8", errors=ESCAPE)
    if not quiet():
        click.echo(totals.table())
    for line in totals.unreadable:
        click.echo(f"error: {line}", err=True)
    return 1 if totals.unreadable else 0
