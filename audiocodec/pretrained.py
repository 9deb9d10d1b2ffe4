"""The methods by which models are opened and published in the Hugging Face ecosystem."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self


class Pretrained:
    """What :class:`~audiocodec.codec.Codec` and :class:`~audiocodec.runtime.RuntimeCodec` share.

    Everything is in :mod:`audiocodec.hub`.
    """

    @classmethod
    def from_pretrained(cls, model: str | Path, **options: Any) -> Self:
        """The codec of a bundled name, a model folder, or a repository of the Hugging Face Hub.

        A :class:`~audiocodec.runtime.RuntimeCodec` encodes and decodes, with the codes of the
        command; a :class:`~audiocodec.codec.Codec` is there to be trained further.

        Args:
            options: ``device``, and ``dtype`` and ``engine`` of a runtime codec, as in
                :func:`~audiocodec.checkpoint.load_codec`; ``revision``, ``cache_dir``, ``token``,
                ``force_download`` and ``local_files_only`` of :func:`audiocodec.hub.fetch_model`.

        Raises:
            CodecError: no such model, or a damaged one.
        """
        from audiocodec.hub import load_pretrained

        return load_pretrained(cls, model, **options)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a model folder, see :func:`audiocodec.hub.save_pretrained`."""
        from audiocodec.hub import save_pretrained

        save_pretrained(self, folder)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Publish the model; returns its address. See :func:`audiocodec.hub.push_to_hub`."""
        from audiocodec.hub import push_to_hub

        return push_to_hub(self, repo_id, **options)
