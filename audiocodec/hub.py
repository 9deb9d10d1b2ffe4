"""Models by name, folder or repository of the Hugging Face Hub, and models published there:

    codec = RuntimeCodec.from_pretrained("owner/name")      # or a bundled name, or a folder
    codec.save_pretrained("folder")
    codec.push_to_hub("owner/name")

The methods of :class:`~audiocodec.pretrained.Pretrained` are the functions here. A bundled name or
a folder is opened without network and huggingface_hub (extra ``hub``). Transformers opens what was
saved here too, see :mod:`audiocodec.transformers_adapter`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import torch

from audiocodec.bundled import GOLDEN_NAME, bundled_models
from audiocodec.checkpoint import (
    CONFIG_NAME,
    FINGERPRINT_NAME,
    FULL_PRECISION,
    NAME_NAME,
    WEIGHTS_NAME,
    find_model,
    fingerprint,
    load_codec,
    load_trainable,
    save_codec,
    stated_name,
)
from audiocodec.codec import Codec
from audiocodec.errors import CodecError
from audiocodec.extras import import_extra
from audiocodec.modelcard import model_card
from audiocodec.paths import replacing, writing
from audiocodec.pretrained import Pretrained
from audiocodec.runtime import RuntimeCodec
from audiocodec.tokens.context import CONTEXT_NAME

CARD_NAME = "README.md"
FEATURES_NAME = "preprocessor_config.json"
"""What Transformers' feature extractor reads."""
COPIED = CONFIG_NAME, WEIGHTS_NAME, CONTEXT_NAME, GOLDEN_NAME, CARD_NAME, FINGERPRINT_NAME
"""The files of a model folder that it is copied with, the fingerprint last."""

DOWNLOAD = {"revision", "cache_dir", "token", "force_download", "local_files_only"}
"""The arguments by name of :func:`fetch_model`."""
Model = TypeVar("Model", bound=Pretrained)


def fetch_model(
    model: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    token: str | bool | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
) -> Path:
    """The folder of a bundled model's name, of a path, or of a repository of the Hub, downloaded.

    A name with one slash that is no folder here is a repository. Arguments by name: see
    ``huggingface_hub.snapshot_download``.

    Raises:
        CodecError: none of the three, or the repository cannot be reached or has no model.
    """
    repository = str(model)
    parts = repository.split("/")
    if isinstance(model, Path) or len(parts) != 2 or not all(parts) or Path(model).exists():
        return find_model(model)
    hub = import_extra("huggingface_hub", "hub", f"the model {model} of the Hugging Face Hub")
    try:
        folder = hub.snapshot_download(
            repository,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            force_download=force_download,
            local_files_only=local_files_only,
            allow_patterns=[*COPIED, NAME_NAME, FEATURES_NAME],
        )
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        reason = " ".join(str(error).split())
        raise CodecError(
            f"model {model}: neither a bundled model ({', '.join(bundled_models())}) nor a folder, "
            f"and the Hugging Face Hub did not give it ({type(error).__name__}: {reason:.120})"
        ) from None
    return find_model(Path(folder))


def load_pretrained(cls: type[Model], model: str | Path, **options: Any) -> Model:
    """A :class:`~audiocodec.runtime.RuntimeCodec`, or a :class:`~audiocodec.codec.Codec` in
    evaluation mode, of :func:`fetch_model`. See
    :meth:`audiocodec.pretrained.Pretrained.from_pretrained`."""
    folder = fetch_model(model, **{name: options.pop(name) for name in DOWNLOAD & options.keys()})
    load = load_codec if issubclass(cls, RuntimeCodec) else load_trainable
    codec: Any = load(folder, **options)
    codec.name = model_name(model, folder)
    return codec if issubclass(cls, RuntimeCodec) else codec.eval()


def model_name(model: str | Path, folder: Path) -> str:
    """What a model is called: as its folder states, or as ``model`` ends."""
    return stated_name(folder) or Path(model).name or folder.name


def save_pretrained(codec: Pretrained, folder: str | Path, source: Path | None = None) -> None:
    """Write a codec as a model folder that :func:`load_pretrained`, ``codec --model`` and
    Transformers open.

    A runtime codec is written as the folder it was loaded from, with its golden codes, context
    model and card. The fingerprint, and so the codes' contract, stays; weights that 16 bits hold
    exactly are stored in 16.

    Args:
        source: the model folder that a codec to train was read from; as long as its weights are
            the same, what else is there is copied.

    Raises:
        CodecError: a place that is not writable, or a runtime codec whose folder has changed.
    """
    folder = Path(folder)
    if folder.is_file():
        raise CodecError(f"{folder}: is a file; name a folder")
    assert isinstance(codec, Codec | RuntimeCodec)
    if isinstance(codec, RuntimeCodec):
        _copy_folder(codec, folder)
    else:
        save_codec(codec, folder, _smallest_dtype(codec))
        if source is not None and fingerprint(source) == fingerprint(folder):
            _copy(source, folder)
    features = {
        "feature_extractor_type": "EncodecFeatureExtractor",
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": codec.sample_rate,
    }
    _write(folder / NAME_NAME, codec.name + "\n")
    _write(folder / FEATURES_NAME, json.dumps(features, indent=2) + "\n")


def push_to_hub(
    codec: Pretrained,
    repo_id: str,
    *,
    source: Path | None = None,
    commit_message: str = "Push model using audiocodec",
    private: bool | None = None,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool | None = None,
) -> str:
    """Publish a codec as a repository of the Hugging Face Hub; returns the commit's address.

    ``source``: see :func:`save_pretrained`. The others are arguments of
    ``huggingface_hub.ModelHubMixin.push_to_hub``.

    Raises:
        CodecError: huggingface_hub is not installed, or the Hub refused.
    """
    assert isinstance(codec, Codec | RuntimeCodec)
    hub = import_extra("huggingface_hub", "hub", "push_to_hub")
    with tempfile.TemporaryDirectory(prefix="audiocodec-") as temporary:
        folder = Path(temporary)
        save_pretrained(codec, folder, source)
        card = folder / CARD_NAME
        text = card.read_text(encoding="utf-8") if card.is_file() else ""
        _write(card, model_card(codec.name, codec.sample_rate, text))
        try:
            api = hub.HfApi(token=token)
            repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            if branch is not None:
                api.create_branch(repo_id=repo_id, branch=branch, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=commit_message,
                revision=branch,
                create_pr=create_pr,
            )
        except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
            reason = " ".join(str(error).split())
            raise CodecError(
                f"{repo_id}: the Hugging Face Hub refused it ({type(error).__name__}: "
                f"{reason:.120}); log in with hf auth login, or check the name"
            ) from None
    return str(commit)


def _copy_folder(codec: RuntimeCodec, folder: Path) -> None:
    source = codec.folder
    if source is None:
        raise CodecError(
            f"{folder}: this runtime codec was made from a codec in memory; call save_pretrained "
            "of that one"
        )
    if fingerprint(source) != codec.fingerprint:
        raise CodecError(f"{source}: has changed since the codec was loaded; load it again")
    folder.mkdir(parents=True, exist_ok=True)
    _copy(source, folder)


def _copy(source: Path, folder: Path) -> None:
    if folder.resolve() == source.resolve():
        return
    for name in COPIED:
        if (source / name).is_file():
            with replacing(folder / name) as path, writing(folder / name):
                shutil.copyfile(source / name, path)


def _smallest_dtype(codec: Codec) -> torch.dtype:
    """16 bits if they hold all weights that may be stored so exactly."""
    values = [
        value.detach()
        for name, value in codec.state_dict().items()
        if not name.startswith(FULL_PRECISION) and value.is_floating_point()
    ]
    for dtype in (torch.float16, torch.bfloat16):
        if all(torch.equal(value.to(dtype).to(value.dtype), value) for value in values):
            return dtype
    return torch.float32


def _write(target: Path, text: str) -> None:
    with replacing(target) as path, writing(target):
        path.write_text(text, "utf-8")
