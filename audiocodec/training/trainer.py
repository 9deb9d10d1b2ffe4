"""The one training loop.

A step is a function of the state and of (seed, step), and all of the state is in ``state.pt``, so
a run stopped at any step and resumed equals one that never stopped (CPU, same machine).

A run's folder:


    recipe.yaml                 the recipe, every default written out
    state.pt                    all that resuming needs; replaced whole, never half-written
    model/                      EMA weights as a model folder: what `--model` takes
    discriminators.safetensors  the judges, for `init_from`
    log.jsonl, tensorboard/     what happened
"""

import copy
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from audiocodec.checkpoint import (
    WEIGHTS_NAME,
    find_model,
    load_weights,
    read_weights,
    save_codec,
    save_weights,
)
from audiocodec.codec import Codec
from audiocodec.errors import CodecError, NotFiniteError
from audiocodec.paths import replacing
from audiocodec.progress import progress_hidden
from audiocodec.training.clipping import clip_to_usual
from audiocodec.training.data import AudioCache, SegmentSampler, training_files
from audiocodec.training.discriminators import Discriminators
from audiocodec.training.losses import (
    adversarial_loss,
    buzz_loss,
    discriminator_loss,
    feature_matching_loss,
    level_loss,
    spectral_losses,
    waveform_loss,
)
from audiocodec.training.loudness import loudness_loss
from audiocodec.training.monitor import MeanMeter, Monitor, UsageMeter
from audiocodec.training.recipe import Recipe
from audiocodec.training.replay import Replay
from audiocodec.training.schedule import (
    codebooks_in_use,
    is_decoder_only,
    is_quantizing,
    judges_in_use,
    learning_rates,
    loss_weights,
)
from audiocodec.training.signals import stop_requests
from audiocodec.training.validation import ValidationSet

STATE_NAME = "state.pt"
JUDGES_NAME = "discriminators.safetensors"
MOST_SKIPPED_IN_A_ROW = 20
START_DRAWS = 2**40
"""Batches numbered from here on serve codebook starts, so that no training step sees them."""
MOST_REPLAYS = 8
"""Recordings, each with memory of its own; where steps differ in more ways, the rest are not."""


class Way(NamedTuple):
    """All but numbers in which one step may differ from another."""

    quantizing: bool
    learning: bool
    """Whether encoder and codebooks learn, too."""
    losses: tuple[str, ...]
    heard: tuple[str, ...]
    """The judges."""
    judges_learn: bool


class Trainer:
    """One run of a recipe in a folder of its own.

    Args:
        recipe: what to do.
        folder: where the run lives; created.
        device: ``cpu`` or ``cuda``.
        resume: go on from the folder's ``state.pt``.

    Raises:
        CodecError: the folder holds a run and ``resume`` is off, or there is nothing to resume, or
            the data or ``init_from`` cannot be had.
    """

    def __init__(
        self, recipe: Recipe, folder: str | Path, device: str = "cpu", resume: bool = False
    ) -> None:
        self.recipe = recipe
        self.folder = Path(folder)
        self.device = torch.device(device)
        self.step = 0
        self.skipped = 0
        self._skips = torch.zeros(2, dtype=torch.long, device=self.device)  # in all, in a row
        self._reseed = 0
        self._means = MeanMeter()
        if resume != (self.folder / STATE_NAME).is_file():
            mend = "leave out --resume" if resume else "--resume continues it, --out starts another"
            has = "no run to resume" if resume else "a run lives here already"
            raise CodecError(f"{self.folder}: {has}; {mend}")

        if self.device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = recipe.precision == "tf32"
            torch.backends.cudnn.benchmark = True  # shapes stay the same from step to step
        torch.manual_seed(recipe.seed)
        self.codec = Codec(recipe.codec).to(self.device)
        self.judges = Discriminators(recipe.discriminators) if recipe.discriminators else None
        if self.judges is not None:
            self.judges.to(self.device)
        if recipe.init_from is not None and not resume:
            self._init_from(find_model(recipe.init_from))
        self.ema = copy.deepcopy(self.codec).requires_grad_(False)
        self._averages, self._moving = (  # weights and buffers
            [value for value in codec.state_dict().values() if value.is_floating_point()]
            for codec in (self.ema, self.codec)
        )
        self._replays: dict[Way, Replay] = {}
        self._make_optimizers()
        if resume:
            self._load_state()

        files, validation_files = training_files(recipe.data)
        cache_folder = Path(recipe.data.cache or self.folder / "cache").expanduser()
        self.cache = AudioCache(files, recipe.codec.sample_rate, cache_folder)
        self.sampler = SegmentSampler(
            self.cache,
            recipe.data,
            recipe.codec.sample_rate,
            recipe.schedule.batch_size,
            recipe.seed,
            self.device,
        )
        self.validation = ValidationSet(validation_files, recipe.codec.sample_rate, recipe.losses)
        self.usage = UsageMeter(self.codec.codebook_sizes, self.device)

    # The run.

    def train(self, time_limit: float | None = None) -> bool:
        """Train to the last step, or for ``time_limit`` seconds, or until SIGINT or SIGTERM.

        Always leaves a whole checkpoint. Returns whether the last step was reached.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.folder / "recipe.yaml") as path:
            path.write_text(self.recipe.to_yaml())
        began, schedule = time.monotonic(), self.recipe.schedule
        self.monitor = Monitor(self.folder, self.step)
        bar = tqdm(
            total=schedule.steps,
            initial=self.step,
            unit="step",
            mininterval=0.5 if sys.stderr.isatty() else 30,
            disable=progress_hidden(),
        )
        try:
            with stop_requests() as stopped, bar:
                while self.step < schedule.steps and not stopped:
                    values = self.train_step()
                    bar.update()
                    if self.step % schedule.log_every == 0:
                        values |= self._usage()
                        self.monitor.numbers(self.step, values)
                        loss = values.get("loss", float("nan"))
                        bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                    last = self.step == schedule.steps
                    if self.step % schedule.validate_every == 0 or last:
                        self._validate()
                    if self.step % schedule.checkpoint_every == 0:
                        self.save()
                    if time_limit is not None and time.monotonic() - began >= time_limit:
                        break
            self.save()
        finally:
            self.monitor.close()
        return self.step >= schedule.steps

    def train_step(self) -> dict[str, float]:
        """One update of the codec and, when it is their turn, of the judges.

        Returns the numbers to log, on the steps that are logged: losses are means since the last.
        """
        recipe = self.recipe
        if self.step in recipe.schedule.quantizer_start_steps:
            self.start_quantizer()
        weights = loss_weights(recipe, self.step)
        way = self._way(weights)
        for part in (self.codec.encoder, self.codec.quantizer):
            part.train(way.learning).requires_grad_(way.learning)
        began = time.perf_counter()
        audio = self.sampler.batch(self.step + self._reseed)
        data_seconds = time.perf_counter() - began

        self._set_rates(*learning_rates(recipe, self.step))
        in_use = codebooks_in_use(recipe, self.step, len(audio))
        if in_use is None:
            in_use = torch.full((len(audio),), self.codec.num_codebooks)
        numbers = torch.tensor([weights[name] for name in way.losses])
        try:
            self._updater(way)(
                audio, *(x.to(self.device, non_blocking=True) for x in (in_use, numbers))
            )
        except NotFiniteError:  # the quantiser refuses what it cannot code
            self._skips += 1
        self.step += 1
        logged = self.step % recipe.schedule.log_every == 0
        if logged or self.device.type == "cpu":  # to look is to wait for a GPU
            self._look_at_skips()
        if not logged:
            return {}
        return {
            **self._means.read(),
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            "skipped_steps": float(self.skipped),
            "seconds/data": data_seconds,
            "seconds/step": time.perf_counter() - began,
        }

    def _way(self, weights: dict[str, float]) -> Way:
        """How this step is done."""
        recipe = self.recipe
        quantizing = is_quantizing(recipe, self.step)
        computed = {"mel", "stft", "waveform"}
        computed |= {name for name in ("loudness", "level", "buzz") if weights[name] > 0}
        if quantizing:
            computed.add("quantizer")
        heard: tuple[str, ...] = ()
        judges_learn = False
        if weights["adversarial"] > 0:
            assert self.judges is not None and recipe.discriminators is not None
            computed |= {"adversarial", "feature_matching"}
            heard = judges_in_use(recipe, self.step, self.judges.names)
            judges_learn = self.step % recipe.discriminators.every == 0
        losses = tuple(name for name in weights if name in computed)
        return Way(quantizing, not is_decoder_only(recipe, self.step), losses, heard, judges_learn)

    def _updater(self, way: Way) -> Callable[[Tensor, Tensor, Tensor], None]:
        """What does a step this way: :meth:`_update`, on a GPU as a recording."""
        update = partial(self._update, way)
        if self.device.type != "cuda" or self.codec.quantizer.observes:
            return update
        if way not in self._replays and len(self._replays) < MOST_REPLAYS:
            self._replays[way] = Replay(update)
        return self._replays.get(way, update)

    def _update(self, way: Way, audio: Tensor, in_use: Tensor, weights: Tensor) -> None:
        """Everything a step does to ``audio [B, 1, T]``, with ``in_use [B]`` codebooks an item.

        ``weights`` are those of ``way.losses``. Asks no tensor for its value. If loss or gradient
        are not finite, weights and moments stay as they are, and ``_skips`` counts it.
        """
        reconstruction, losses, codes = self._reconstruct(way, audio, in_use)
        if way.heard:
            losses |= self._judge(way, audio, reconstruction)
        total = (weights * torch.stack([losses[name] for name in way.losses])).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = clip_to_usual(self.optimizer, self.recipe.optimizer.gradient_clip)
        finite = norm.isfinite() & total.detach().isfinite()
        step_if(self.optimizer, finite)
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._moving, 1 - self.recipe.optimizer.ema_decay)
        named = {f"loss/{name}": loss for name, loss in losses.items()}
        self._means.add({"loss": total, **named, "gradient_norm": norm}, finite)
        if codes is not None:
            self.usage.add(codes, finite)
        bad = (~finite).long()
        self._skips.add_(bad)
        self._skips[1] *= bad

    def _set_rates(self, *rates: float) -> None:
        """Of the optimiser's groups, in their order; a recording reads them from its tensors."""
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            if self.device.type != "cuda":
                group["lr"] = rate
            elif isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = torch.tensor(rate, device=self.device)

    def _half(self) -> torch.autocast:
        """Networks in bfloat16 on a GPU, if asked for; losses are float32 everywhere."""
        half = self.device.type == "cuda" and self.recipe.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, half)

    def _reconstruct(
        self, way: Way, audio: Tensor, in_use: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        """Reconstruction, the codec's own losses, and codes once the codebooks are in place."""
        recipe, codes = self.recipe, None
        losses: dict[str, Tensor] = {}
        if way.quantizing:
            with self._half():
                output = self.codec(audio, in_use if recipe.schedule.codebooks else None)
            reconstruction, codes = output.audio, output.quantized.codes
            losses["quantizer"] = output.quantized.loss
            self._residual_energy = output.quantized.residual_energy
        else:
            with self._half():
                reconstruction = self.codec.autoencode(audio)
        reconstruction = reconstruction.float()
        losses["mel"], losses["stft"] = spectral_losses(
            reconstruction, audio, recipe.codec.sample_rate, recipe.losses
        )
        losses["waveform"] = waveform_loss(reconstruction, audio)
        if "loudness" in way.losses:
            losses["loudness"] = loudness_loss(reconstruction, audio, recipe.codec.sample_rate)
        if "level" in way.losses:
            losses["level"] = level_loss(reconstruction, audio)
        if "buzz" in way.losses:
            losses["buzz"] = buzz_loss(reconstruction, audio, self.codec.hop_length)
        return reconstruction, losses, codes

    def _judge(self, way: Way, audio: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
        """Adversarial losses for the codec; when it is their turn the judges learn first."""
        assert self.judges is not None
        if way.judges_learn:
            with self._half():
                real, fake = (self.judges(x, way.heard) for x in (audio, reconstruction.detach()))
            judged = discriminator_loss(real, fake)
            self.judge_optimizer.zero_grad(set_to_none=True)
            judged.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.judges.parameters(), 10.0)
            finite = norm.isfinite()
            step_if(self.judge_optimizer, finite)
            self._means.add({"loss/judges": judged}, finite)
        self.judges.requires_grad_(False)
        with self._half():
            with torch.no_grad():
                real = self.judges(audio, way.heard)
            fake = self.judges(reconstruction, way.heard)
        self.judges.requires_grad_(True)
        return {
            "adversarial": adversarial_loss(fake),
            "feature_matching": feature_matching_loss(real, fake),
        }

    @torch.no_grad()
    def start_quantizer(self) -> None:
        """Place the codebooks on latents of fresh, non-silent frames."""
        schedule, hop = self.recipe.schedule, self.codec.hop_length
        quietest = 10 ** (self.recipe.data.quietest_db / 20)
        frames: list[Tensor] = []
        at_once = self.recipe.data.segment_seconds * self.codec.frame_rate * schedule.batch_size
        for draw in range(1000 + round(4 * schedule.quantizer_start_frames / at_once)):
            audio = self.sampler.batch(START_DRAWS + 1000 * self.step + draw)
            latents = self.codec.latents(audio).transpose(1, 2)
            whole = audio[..., : audio.shape[-1] // hop * hop].unflatten(-1, (-1, hop))
            audible = whole.square().mean(dim=-1).sqrt().squeeze(1) > quietest
            frames.append(latents[:, : audible.shape[1]][audible].float())
            if sum(map(len, frames)) >= schedule.quantizer_start_frames:
                break
        generator = torch.Generator().manual_seed(self.recipe.seed)
        self.codec.quantizer.start(torch.cat(frames), generator)
        self.ema.load_state_dict(self.codec.state_dict())
        for parameter in self.codec.quantizer.parameters():
            for value in self.optimizer.state.get(parameter, {}).values():
                value.zero_()  # in place: a recording knows these tensors
        self.usage.read()

    # Watching.

    def _usage(self) -> dict[str, float]:
        starts = self.recipe.schedule.quantizer_start_steps
        if starts and self.step <= min(starts):
            return {}
        usage, perplexity = self.usage.read()
        if not starts or self.step >= max(starts) + self.recipe.schedule.log_every:
            self.monitor.watch(self.step, usage)
        by_stage = {
            "usage": usage,
            "perplexity": perplexity,
            "input_energy": self._residual_energy.tolist(),
        }
        return {
            f"{name}/{stage}": value
            for name, values in by_stage.items()
            for stage, value in enumerate(values)
        }

    def _validate(self) -> None:
        numbers, sounds = self.validation.run(self.ema)
        self.monitor.numbers(self.step, numbers)
        self.monitor.sounds(self.step, sounds, self.codec.sample_rate)
        shown = "  ".join(f"{name.split('/')[1]} {value:.3f}" for name, value in numbers.items())
        if not progress_hidden():
            tqdm.write(f"step {self.step}: {shown}", file=sys.stderr)

    def _look_at_skips(self) -> None:
        """Note steps that were not finite; after a run of them go back to the last good state."""
        skipped, in_a_row = self._skips.tolist()
        if skipped > self.skipped:
            self.monitor.note(self.step, "step skipped: loss or gradient not finite")
        self.skipped = skipped
        if in_a_row < MOST_SKIPPED_IN_A_ROW:
            return
        if not (self.folder / STATE_NAME).is_file():
            raise CodecError(
                f"{self.folder}: the loss is not finite from the beginning; lower "
                "optimizer.learning_rate"
            )
        self._load_state()
        self.skipped = skipped
        self._skips.copy_(torch.tensor([skipped, 0]))
        self._reseed += 1_000_000_007  # other crops than those that led astray
        self.monitor.note(self.step, "rolled back to the last checkpoint")

    # State.

    def save(self) -> None:
        """Write ``state.pt``, the model and the judges, each whole."""
        state = {
            "step": self.step,
            "skipped": int(self._skips[0]),
            "reseed": self._reseed,
            "codec": self.codec.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.judges is not None:
            state["judges"] = self.judges.state_dict()
            state["judge_optimizer"] = self.judge_optimizer.state_dict()
            save_weights(self.judges.state_dict(), self.folder / JUDGES_NAME)
        save_codec(self.ema, self.folder / "model")
        with replacing(self.folder / STATE_NAME) as path:
            torch.save(state, path)

    def _load_state(self) -> None:
        path = self.folder / STATE_NAME
        try:
            state: dict[str, Any] = torch.load(path, self.device, weights_only=True)
            self.codec.load_state_dict(state["codec"])
            self.ema.load_state_dict(averaged(state["ema"]))
            self.optimizer.load_state_dict(state["optimizer"])
            if self.judges is not None and "judges" in state:
                self.judges.load_state_dict(state["judges"])
                self.judge_optimizer.load_state_dict(state["judge_optimizer"])
            self.step, self.skipped = state["step"], state["skipped"]
            self._reseed = state["reseed"]
            self._skips.copy_(torch.tensor([self.skipped, 0]))
            self._replays.clear()  # they know the moments of before
            for optimizer in self._optimizers():
                for group in optimizer.param_groups:
                    group["capturable"] = self.device.type == "cuda"
        except (
            RuntimeError,
            ValueError,
            TypeError,
            KeyError,
            EOFError,
            OSError,
            UnpicklingError,
        ) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise CodecError(f"{path}: damaged, or of another recipe ({reason})") from None

    def _init_from(self, model: Path) -> None:
        if 0 in self.recipe.schedule.quantizer_start_steps:  # placed before they are first used
            load_weights(self.codec.encoder, model / WEIGHTS_NAME, "encoder.")
            load_weights(self.codec.decoder, model / WEIGHTS_NAME, "decoder.")
        else:
            load_weights(self.codec, model / WEIGHTS_NAME)
        for place in (model / JUDGES_NAME, model.parent / JUDGES_NAME):
            if self.judges is not None and place.is_file():
                if new := self.judges.load_known(read_weights(place)):
                    print(f"{place}: these judges start anew: {', '.join(new)}", file=sys.stderr)
                break

    def _optimizers(self) -> list[torch.optim.AdamW]:
        return [self.optimizer] + ([self.judge_optimizer] if self.judges is not None else [])

    def _make_optimizers(self) -> None:
        settings = self.recipe.optimizer
        quantizer = list(self.codec.quantizer.parameters())
        network = [*self.codec.encoder.parameters(), *self.codec.decoder.parameters()]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": network, "weight_decay": settings.weight_decay},
                {"params": quantizer, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            betas=settings.betas,
            fused=True,
            capturable=self.device.type == "cuda",
        )
        if self.judges is not None and self.recipe.discriminators is not None:
            self.judge_optimizer = torch.optim.AdamW(
                self.judges.parameters(),
                lr=self.recipe.discriminators.learning_rate,
                betas=settings.betas,
                weight_decay=0.0,
                fused=True,
                capturable=self.device.type == "cuda",
            )


def step_if(optimizer: torch.optim.AdamW, finite: Tensor) -> None:
    """``optimizer.step()`` if ``finite``, a boolean scalar; otherwise its state stays as it is.

    As torch.amp.GradScaler has it: a fused optimiser is told where gradients are not finite.
    """
    optimizer.grad_scale = None  # type: ignore[attr-defined]
    optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
    optimizer.step()


def averaged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The averaged codec's state, also as it was written before 2026-11-26: in a wrapper."""
    return {name.removeprefix("module."): x for name, x in state.items() if name != "n_averaged"}
