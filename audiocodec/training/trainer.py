"""The one training loop.

A step is a function of the state and of (seed, step), and all of the state is in ``state.pt``, so
a run stopped at any step and resumed equals one that never stopped (CPU, same machine).

A run's folder:

    recipe.yaml                 the recipe, every default written out: what a resumed run goes by
    files.json                  the files trained on and held out
    state.pt                    all that resuming needs; replaced whole, never half-written
    model/                      EMA weights as a model folder: what `--model` takes
    discriminators.safetensors  the discriminators, for `init_from`
    log.jsonl, tensorboard/     what happened
"""

import copy
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from audiocodec.paths import replacing, writing
from audiocodec.progress import progress_hidden
from audiocodec.training.clipping import clip_to_usual
from audiocodec.training.cudagraph import CUDAGraphStep
from audiocodec.training.data import (
    AudioCache,
    SegmentSampler,
    Split,
    cache_path,
    data_root,
    split_files,
)
from audiocodec.training.discriminators import Discriminators
from audiocodec.training.losses import (
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    level_loss,
    spectral_losses,
    tonal_loss,
    waveform_loss,
)
from audiocodec.training.loudness import loudness_loss
from audiocodec.training.monitor import COLLAPSED_USAGE, MeanMeter, Monitor, UsageMeter
from audiocodec.training.recipe import Recipe
from audiocodec.training.runfolder import (
    RECIPE_NAME,
    STATE_NAME,
    RunFiles,
    has_run,
    hold,
    read_run_recipe,
    recipe_changes,
    release,
    write_recipe,
)
from audiocodec.training.schedule import (
    codebooks_in_use,
    discriminators_in_use,
    is_decoder_only,
    is_quantizing,
    learning_rates,
    loss_weights,
)
from audiocodec.training.signals import stop_requests
from audiocodec.training.validation import ValidationSet

DISCRIMINATORS_NAME = "discriminators.safetensors"
MOST_SKIPPED_IN_A_ROW = 20
MOST_ROLLBACKS = 3
"""To one checkpoint; then the run ends."""
LEAST_DISTANCE = 0.1
"""Mel distance that silence has at least, when a model is compared with it: clips may be silent."""
START_DRAWS = 2**40
"""Batches numbered from here on serve codebook starts, so that no training step sees them."""
SILENT_DRAWS = 50
"""Batches without an audible frame after which a codebook start gives up."""
MOST_GRAPHS = 8
"""Recordings, each with memory of its own; where steps differ in more ways, the rest are not."""


class StepVariant(NamedTuple):
    """All but numbers in which one step may differ from another."""

    quantizing: bool
    learning: bool
    """Whether encoder and codebooks learn, too."""
    losses: tuple[str, ...]
    discriminators: tuple[str, ...]
    """Names of those that are in use."""
    discriminators_learn: bool


class Trainer:
    """One run of a recipe in a folder of its own, which no other process can train in meanwhile.

    Args:
        recipe: what to do. A run that is resumed says on stderr what differs from the recipe and
            the files that it began with.
        folder: where the run lives; created.
        device: ``cpu`` or ``cuda``.
        resume: go on from the folder's ``state.pt``.
        split: the files; by default those that the recipe names.

    ``problem`` says, after the last step, why the model is of no use; it is empty if all is well.

    Raises:
        CodecError: the folder holds a run and ``resume`` is off, or there is nothing to resume, or
            another process trains there, or the data or ``init_from`` cannot be had.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: str | Path,
        device: str = "cpu",
        resume: bool = False,
        split: Split | None = None,
    ) -> None:
        self.recipe = recipe
        self.folder = Path(folder)
        self.device = torch.device(device)
        self.step = 0
        self.skipped = 0
        self._skips = torch.zeros(2, dtype=torch.long, device=self.device)  # in all, in a row
        self._reseed = 0
        self.problem = ""
        self._means = MeanMeter()
        self._notes: list[str] = []
        self._collapses: list[int] = []  # collapsed stages, at each look at their usage
        self._rollbacks = 0
        self._rolled_back_to: int | None = None
        self._check_folder(resume)
        try:
            with memory_errors():
                if resume:
                    hold(self.folder)
                self._build(resume)
                self._read_speech(resume, split)
        except BaseException:
            release(self.folder)
            raise

    def _check_folder(self, resume: bool) -> None:
        if resume and not has_run(self.folder):
            raise CodecError(f"{self.folder}: no run to resume; leave out --resume")
        if not resume and has_run(self.folder):
            raise CodecError(
                f"{self.folder}: a run lives here already; go on with it by {self.resume_command},"
                " or start another with --out"
            )

    @property
    def resume_command(self) -> str:
        """What goes on with this run, for a shell."""
        return f"codec train --resume {shlex.quote(str(self.folder))}"

    def _build(self, resume: bool) -> None:
        """The codec, its discriminators and their optimisers, fresh or from ``state.pt``."""
        recipe = self.recipe
        if self.device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = recipe.precision == "tf32"
            torch.backends.cudnn.benchmark = True  # shapes stay the same from step to step
        torch.manual_seed(recipe.seed)
        self.codec = Codec(recipe.codec).to(self.device)
        self.discriminators = (
            Discriminators(recipe.discriminators) if recipe.discriminators else None
        )
        if self.discriminators is not None:
            self.discriminators.to(self.device)
        if recipe.init_from is not None and not resume:
            self._init_from(find_model(recipe.init_from))
        self.ema = copy.deepcopy(self.codec).requires_grad_(False)
        self.ema.name = recipe.name
        self._averages, self._moving = (  # weights and buffers
            [value for value in codec.state_dict().values() if value.is_floating_point()]
            for codec in (self.ema, self.codec)
        )
        self._graphs: dict[StepVariant, CUDAGraphStep] = {}
        self._make_optimizers()
        if resume:
            self._load_state()

        self._saved_step = self.step if resume else None

    def _read_speech(self, resume: bool, split: Split | None) -> None:
        """Hold the folder, decode the files and choose what to validate on."""
        recipe = self.recipe
        root = data_root(recipe.data)
        before = RunFiles.read(self.folder) if resume else None
        given = split
        if split is None:
            split = split_files(recipe.data, before.held_out_paths(root) if before else ())
        files = RunFiles.of(split, root)
        cache_folder = Path(recipe.data.cache or self.folder / "cache").expanduser()
        cache_path(split.training, recipe.codec.sample_rate, cache_folder)  # are they all there?
        hold(self.folder)
        self._check_folder(resume)
        if resume:
            self._report_changes(before, files)
        if given is None:
            self._report_split(split)
        self.cache = AudioCache(split.training, recipe.codec.sample_rate, cache_folder)
        self._notes += [f"skipped: {reason}" for reason in self.cache.skipped]
        if recipe.data.cache is None:
            for old in set(cache_folder.glob("*.int16")) - {self.cache.path}:
                old.unlink(missing_ok=True)
        self.sampler = SegmentSampler(
            self.cache,
            recipe.data,
            recipe.codec.sample_rate,
            recipe.schedule.batch_size,
            recipe.seed,
            self.device,
        )
        self.validation = ValidationSet(split.held_out, recipe.codec.sample_rate, recipe.losses)
        files.held_out |= before.held_out if before else {}
        files.write(self.folder)
        self.usage = UsageMeter(self.codec.codebook_sizes, self.device)

    def _report_split(self, split: Split) -> None:
        """How many files there are, and whether the run is long enough for a model."""
        self._say(split.describe())
        schedule = self.recipe.schedule
        if not is_quantizing(self.recipe, schedule.steps - 1):
            print(
                f"warning: schedule.steps is {schedule.steps}, but the codebooks are initialised "
                f"at step {min(schedule.initialisation_steps)}: this run makes no usable model",
                file=sys.stderr,
            )

    def _report_changes(self, before: RunFiles | None, files: RunFiles) -> None:
        """From what the run began with: settings and files."""
        if (self.folder / RECIPE_NAME).is_file():
            for change in recipe_changes(read_run_recipe(self.folder), self.recipe):
                self._say(f"recipe changed: {change}")
        changes = before.changes(files) if before else ""
        if changes:
            self._say(
                f"files changed since the run last started: {changes}; held-out files stay held out"
            )

    def _say(self, line: str) -> None:
        """To the user now, unless progress is hidden, and into the log when it is open."""
        if not progress_hidden():
            print(line, file=sys.stderr)
        self._notes.append(line)

    # The run.

    def train(self, time_limit: float | None = None) -> bool:
        """Train to the last step, or for ``time_limit`` seconds, or until SIGINT or SIGTERM.

        Always leaves a whole checkpoint. Returns whether the last step was reached.

        Raises:
            CodecError: a checkpoint cannot be written (the one before is whole), memory is
                exhausted, or loss and gradients do not become finite again.
        """
        hold(self.folder)
        write_recipe(self.folder, self.recipe)
        began, schedule = time.monotonic(), self.recipe.schedule
        self.monitor = Monitor(self.folder, self.step)
        for note in self._notes:
            self.monitor.note(self.step, note)
        self._notes.clear()
        bar = tqdm(
            total=schedule.steps,
            initial=self.step,
            unit="step",
            mininterval=0.5 if sys.stderr.isatty() else 30,
            disable=progress_hidden(),
        )
        try:
            with memory_errors(), stop_requests() as stopped, bar:
                while self.step < schedule.steps and not stopped:
                    self.problem = ""
                    values = self.train_step()
                    bar.update()
                    if self.step % schedule.log_every == 0:
                        values |= self._usage()
                        self.monitor.numbers(self.step, values)
                        loss = values.get("loss", float("nan"))
                        bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                    last = self.step == schedule.steps
                    if self.step % schedule.validate_every == 0 or last:
                        numbers = self._validate()
                        if last:
                            self.problem = self._find_problem(numbers)
                    # No checkpoint while steps are being skipped: the run may roll back to it.
                    if self.step % schedule.checkpoint_every == 0 and not int(self._skips[1]):
                        self.save()
                    if time_limit is not None and time.monotonic() - began >= time_limit:
                        break
            self.save()
        finally:
            self.monitor.close()
            release(self.folder)
        return self.step >= schedule.steps

    def _find_problem(self, numbers: dict[str, float]) -> str:
        """Why a finished model is of no use, from its last validation; empty if nothing is wrong.

        A short run may have poor quality and is no problem; one that has learned nothing is.
        """
        if not is_quantizing(self.recipe, self.step - 1):
            return ""  # the warning came at the start
        stages = self.codec.num_codebooks
        low = self._collapses[-1] if self._collapses else 0
        distance, of_silence = numbers[f"validation/mel_{stages}"], self.validation.silence
        if not distance < max(of_silence, LEAST_DISTANCE):
            found = (
                f"its reconstructions are no closer to the speech than silence is (mel distance "
                f"{distance:.2f}, silence {of_silence:.2f})"
            )
        elif low and sum(map(bool, self._collapses)) > len(self._collapses) / 2:
            found = (
                f"{low} of {stages} codebooks have collapsed: less than {COLLAPSED_USAGE:.0%} of "
                "their entries are used"
            )
        elif self.skipped > self.step / 2:
            found = f"{self.skipped} of {self.step} steps were skipped: they were not finite"
        else:
            return ""
        return (
            f"{found}; lower optimizer.learning_rate ({self.recipe.optimizer.learning_rate:g}) or "
            f"optimizer.quantizer_learning_rate "
            f"({self.recipe.optimizer.quantizer_learning_rate:g}) and train anew"
        )

    def train_step(self) -> dict[str, float]:
        """One update of the codec and, when it is their turn, of the discriminators.

        Returns the numbers to log, on the steps that are logged: losses are means since the last.
        """
        recipe = self.recipe
        if self.step in recipe.schedule.initialisation_steps:
            self.initialise_quantizer()
        weights = loss_weights(recipe, self.step)
        variant = self._variant(weights)
        for part in (self.codec.encoder, self.codec.quantizer):
            part.train(variant.learning).requires_grad_(variant.learning)
        began = time.perf_counter()
        audio = self.sampler.batch(self.step + self._reseed)
        data_seconds = time.perf_counter() - began

        self._set_rates(*learning_rates(recipe, self.step))
        in_use = codebooks_in_use(recipe, self.step, len(audio))
        if in_use is None:
            in_use = torch.full((len(audio),), self.codec.num_codebooks)
        numbers = torch.tensor([weights[name] for name in variant.losses])
        try:
            self._updater(variant)(
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

    def _variant(self, weights: dict[str, float]) -> StepVariant:
        """How this step is done."""
        recipe = self.recipe
        quantizing = is_quantizing(recipe, self.step)
        computed = {"mel", "stft", "waveform"}
        computed |= {name for name in ("loudness", "level", "tonal") if weights[name] > 0}
        if quantizing:
            computed.add("quantizer")
        in_use_names: tuple[str, ...] = ()
        discriminators_learn = False
        if weights["adversarial"] > 0:
            assert self.discriminators is not None and recipe.discriminators is not None
            computed |= {"adversarial", "feature_matching"}
            in_use_names = discriminators_in_use(recipe, self.step, self.discriminators.names)
            discriminators_learn = self.step % recipe.discriminators.update_every == 0
        losses = tuple(name for name in weights if name in computed)
        return StepVariant(
            quantizing,
            not is_decoder_only(recipe, self.step),
            losses,
            in_use_names,
            discriminators_learn,
        )

    def _updater(self, variant: StepVariant) -> Callable[[Tensor, Tensor, Tensor], None]:
        """What does a step this way: :meth:`_update`, on a GPU as a recording."""
        update = partial(self._update, variant)
        if self.device.type != "cuda" or self.codec.quantizer.updates_online:
            return update
        if variant not in self._graphs and len(self._graphs) < MOST_GRAPHS:
            self._graphs[variant] = CUDAGraphStep(update)
        return self._graphs.get(variant, update)

    def _update(self, variant: StepVariant, audio: Tensor, in_use: Tensor, weights: Tensor) -> None:
        """Everything a step does to ``audio [B, 1, T]``, with ``in_use [B]`` codebooks an item.

        ``weights`` are those of ``variant.losses``. Reads no tensor's value. If loss or gradient
        are not finite, weights and moments stay as they are, and ``_skips`` counts it.
        """
        reconstruction, losses, codes = self._reconstruct(variant, audio, in_use)
        if variant.discriminators:
            losses |= self._adversarial(variant, audio, reconstruction)
        total = (weights * torch.stack([losses[name] for name in variant.losses])).sum()
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
        self, variant: StepVariant, audio: Tensor, in_use: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        """Reconstruction, the codec's own losses, and codes once the codebooks are in place."""
        recipe, codes = self.recipe, None
        losses: dict[str, Tensor] = {}
        if variant.quantizing:
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
        if "loudness" in variant.losses:
            losses["loudness"] = loudness_loss(reconstruction, audio, recipe.codec.sample_rate)
        if "level" in variant.losses:
            losses["level"] = level_loss(reconstruction, audio)
        if "tonal" in variant.losses:
            losses["tonal"] = tonal_loss(reconstruction, audio, self.codec.hop_length)
        return reconstruction, losses, codes

    def _adversarial(
        self, variant: StepVariant, audio: Tensor, reconstruction: Tensor
    ) -> dict[str, Tensor]:
        """Adversarial losses for the codec. The discriminators learn first if it is their turn."""
        assert self.discriminators is not None
        if variant.discriminators_learn:
            with self._half():
                real, fake = (
                    self.discriminators(x, variant.discriminators)
                    for x in (audio, reconstruction.detach())
                )
            loss = discriminator_loss(real, fake)
            self.discriminator_optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.discriminators.parameters(), 10.0)
            finite = norm.isfinite()
            step_if(self.discriminator_optimizer, finite)
            self._means.add({"loss/discriminators": loss}, finite)
        self.discriminators.requires_grad_(False)
        with self._half():
            with torch.no_grad():
                real = self.discriminators(audio, variant.discriminators)
            fake = self.discriminators(reconstruction, variant.discriminators)
        self.discriminators.requires_grad_(True)
        return {
            "adversarial": adversarial_loss(fake),
            "feature_matching": feature_matching_loss(real, fake),
        }

    @torch.no_grad()
    def initialise_quantizer(self) -> None:
        """Place the codebooks on latents of fresh, non-silent frames."""
        schedule, hop = self.recipe.schedule, self.codec.hop_length
        quietest = 10 ** (self.recipe.data.silence_threshold_db / 20)
        frames: list[Tensor] = []
        at_once = self.recipe.data.segment_seconds * self.codec.frame_rate * schedule.batch_size
        for draw in range(1000 + round(4 * schedule.initialisation_frames / at_once)):
            audio = self.sampler.batch(START_DRAWS + 1000 * self.step + draw)
            latents = self.codec.latents(audio).transpose(1, 2)
            whole = audio[..., : audio.shape[-1] // hop * hop].unflatten(-1, (-1, hop))
            audible = whole.square().mean(dim=-1).sqrt().squeeze(1) > quietest
            frames.append(latents[:, : audible.shape[1]][audible].float())
            found = sum(map(len, frames))
            if found >= schedule.initialisation_frames or (not found and draw >= SILENT_DRAWS):
                break
        if sum(map(len, frames)) < 2:
            raise CodecError(
                "data.silence_threshold_db: no frame of the training audio, after data.gain_db, is "
                f"above {self.recipe.data.silence_threshold_db:g} dB, and the codebooks cannot be "
                "initialised; lower data.silence_threshold_db or raise data.gain_db"
            )
        generator = torch.Generator().manual_seed(self.recipe.seed)
        try:
            self.codec.quantizer.initialise(torch.cat(frames), generator)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise CodecError(
                "schedule.initialisation_steps: the codebooks cannot be placed on the latents of "
                f"step {self.step}, which vary too little ({error}); use more varied audio"
            ) from None
        self.ema.load_state_dict(self.codec.state_dict())
        for parameter in self.codec.quantizer.parameters():
            for value in self.optimizer.state.get(parameter, {}).values():
                value.zero_()  # in place: a recording knows these tensors
        self.usage.read()

    # Watching.

    def _usage(self) -> dict[str, float]:
        starts = self.recipe.schedule.initialisation_steps
        if starts and self.step <= min(starts):
            return {}
        enough = self.usage.enough
        usage, perplexity = self.usage.read()
        if enough and (not starts or self.step >= max(starts) + self.recipe.schedule.log_every):
            self.monitor.watch(self.step, usage)
            self._collapses.append(sum(0 < share < COLLAPSED_USAGE for share in usage))
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

    def _validate(self) -> dict[str, float]:
        numbers, clips = self.validation.run(self.ema)
        self.monitor.numbers(self.step, numbers)
        self.monitor.audio(self.step, clips, self.codec.sample_rate)
        shown = "  ".join(f"{name.split('/')[1]} {value:.3f}" for name, value in numbers.items())
        if not progress_hidden():
            tqdm.write(f"step {self.step}: {shown}", file=sys.stderr)
        return numbers

    def _look_at_skips(self) -> None:
        """Note steps that were not finite; after a run of them go back to the last good state."""
        skipped, in_a_row = self._skips.tolist()
        if skipped > self.skipped:
            self.monitor.note(self.step, "step skipped: loss or gradient not finite")
        self.skipped = skipped
        if in_a_row < MOST_SKIPPED_IN_A_ROW:
            return
        if self._saved_step is None:
            raise CodecError(
                f"{self.folder}: the loss is not finite from the beginning; lower "
                "optimizer.learning_rate"
            )
        if self._rolled_back_to != self._saved_step:
            self._rolled_back_to, self._rollbacks = self._saved_step, 0
        self._rollbacks += 1
        if self._rollbacks > MOST_ROLLBACKS:
            rate = self.recipe.optimizer.learning_rate
            raise CodecError(
                f"{self.folder}: loss and gradients do not stay finite after step "
                f"{self._saved_step}, whose checkpoint is whole; lower the learning rate: "
                f"{self.resume_command} --set optimizer.learning_rate={rate / 10:g}"
            )
        self._load_state()
        self.skipped = skipped
        self._skips.copy_(torch.tensor([skipped, 0]))
        self._reseed += 1_000_000_007  # other crops than those that led astray
        self.monitor.note(self.step, "rolled back to the last checkpoint")

    # State.

    def save(self) -> None:
        """Write ``state.pt``, the model and the discriminators, each whole.

        Raises:
            CodecError: one of them cannot be written; it is then as it was before.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "step": self.step,
            "skipped": int(self._skips[0]),
            "reseed": self._reseed,
            "problem": self.problem,
            "codec": self.codec.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.discriminators is not None:
            state["discriminators"] = self.discriminators.state_dict()
            state["discriminator_optimizer"] = self.discriminator_optimizer.state_dict()
        target = self.folder / STATE_NAME
        try:
            with replacing(target) as path, writing(target):
                _save_state(state, path, target)
            if self.discriminators is not None:
                save_weights(self.discriminators.state_dict(), self.folder / DISCRIMINATORS_NAME)
            save_codec(self.ema, self.folder / "model")
        except CodecError as error:
            whole = (
                ""
                if self._saved_step is None
                else (
                    f"; the checkpoint of step {self._saved_step} is whole, go on from it with "
                    f"{self.resume_command}"
                )
            )
            raise CodecError(f"{error}{whole}") from None
        self._saved_step = self.step

    def _load_state(self) -> None:
        path = self.folder / STATE_NAME
        try:
            state: dict[str, Any] = torch.load(path, self.device, weights_only=True)
            self.codec.load_state_dict(state["codec"])
            self.ema.load_state_dict(averaged(state["ema"]))
            self.optimizer.load_state_dict(state["optimizer"])
            if self.discriminators is not None and "discriminators" in state:
                self.discriminators.load_state_dict(state["discriminators"])
                self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
            self.step, self.skipped = state["step"], state["skipped"]
            self._reseed = state["reseed"]
            self.problem = state.get("problem", "")
            self._skips.copy_(torch.tensor([self.skipped, 0]))
            self._graphs.clear()  # they know the moments of before
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
        if 0 in self.recipe.schedule.initialisation_steps:  # placed before they are first used
            load_weights(self.codec.encoder, model / WEIGHTS_NAME, "encoder.")
            load_weights(self.codec.decoder, model / WEIGHTS_NAME, "decoder.")
        else:
            load_weights(self.codec, model / WEIGHTS_NAME)
        for place in (model / DISCRIMINATORS_NAME, model.parent / DISCRIMINATORS_NAME):
            if self.discriminators is not None and place.is_file():
                if new := self.discriminators.load_known(read_weights(place)):
                    print(
                        f"{place}: these discriminators start anew: {', '.join(new)}",
                        file=sys.stderr,
                    )
                break

    def _optimizers(self) -> list[torch.optim.AdamW]:
        return [self.optimizer] + (
            [self.discriminator_optimizer] if self.discriminators is not None else []
        )

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
        if self.discriminators is not None and self.recipe.discriminators is not None:
            self.discriminator_optimizer = torch.optim.AdamW(
                self.discriminators.parameters(),
                lr=self.recipe.discriminators.learning_rate,
                betas=settings.betas,
                weight_decay=0.0,
                fused=True,
                capturable=self.device.type == "cuda",
            )


def _save_state(state: dict[str, Any], path: Path, target: Path) -> None:
    """``torch.save``, which raises a RuntimeError without a reason when the disk is full."""
    try:
        torch.save(state, path)
    except RuntimeError as error:
        reason = error.__context__ if isinstance(error.__context__, OSError) else None
        why = reason.strerror if reason else "is the disk full?"
        raise CodecError(f"{target}: cannot be written ({why})") from None


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn exhausted memory, of the machine or of a GPU, into a :class:`CodecError`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        words = ("can't allocate memory", "not enough memory", "out of memory")
        if isinstance(error, RuntimeError) and not any(w in str(error) for w in words):
            raise
        raise CodecError(
            "schedule.batch_size, data.segment_seconds: memory is exhausted; lower them, or the "
            f"codec's channels ({(str(error).splitlines() or ['out of memory'])[0]})"
        ) from None


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
