"""Train a tiny language model of speech tokens, sample from it, and decode the sample to a WAV.

python examples/speech_lm.py --out speech_lm               # minutes on a CPU
python examples/speech_lm.py --tokens tokens/ --out mine   # token files of your own

Without --tokens it learns the two clips that ship in the package, sixteen seconds. It shows how the
parts fit together, and no more: the model learns the clips by heart. A sample is the beginning of
one of them, code for code; with --temperature 1 it strays from it after a moment, into noise. A
model that says something new needs thousands of times as much speech, and more weights.
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from audiocodec import encode_file, find_audio, load_codec, save_audio
from audiocodec.bundled import CLIPS
from audiocodec.patterns import Vocabulary
from audiocodec.tokendata import Collator, TokenSegments


class SpeechLM(nn.Module):
    """A causal Transformer whose steps have a token of each codebook (the pattern `delay`)."""

    def __init__(self, vocabulary, steps, dim=128, layers=4, heads=4):
        super().__init__()
        rows, size = vocabulary.num_rows, vocabulary.size
        self.embeddings = nn.ModuleList(nn.Embedding(size, dim) for _ in range(rows))
        self.positions = nn.Parameter(0.02 * torch.randn(steps, dim))
        layer = nn.TransformerEncoderLayer(
            dim, heads, 4 * dim, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.heads = nn.ModuleList(nn.Linear(dim, size) for _ in range(rows))

    def forward(self, tokens):
        """Tokens [B, K, L] -> logits [B, K, L, ids] of the tokens of the next step."""
        steps = tokens.shape[-1]
        hidden = sum(
            table(row) for table, row in zip(self.embeddings, tokens.unbind(1), strict=True)
        )
        mask = nn.Transformer.generate_square_subsequent_mask(steps)
        hidden = self.norm(self.layers(hidden + self.positions[:steps], mask, is_causal=True))
        return torch.stack([head(hidden) for head in self.heads], dim=1)


def train(model, dataset, vocabulary, steps, batch_size=8, rate=1e-3):
    """Print the loss in nats a token; return the last one."""
    loader = DataLoader(dataset, batch_size, shuffle=True, collate_fn=Collator(vocabulary))
    optimizer = torch.optim.AdamW(model.parameters(), rate)
    started, step, loss = time.perf_counter(), 0, torch.tensor(float("nan"))
    while step < steps:
        for batch in loader:
            logits = model(batch["input_ids"])[:, :, :-1]
            loss = F.cross_entropy(logits.flatten(0, 2), batch["labels"][:, :, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step % 50 == 0 or step == steps:
                elapsed = time.perf_counter() - started
                print(f"step {step}: loss {loss:.3f}, {elapsed:.0f} s", flush=True)
            if step == steps:
                break
    return loss.item()


@torch.no_grad()
def sample(model, vocabulary, frames, temperature=0.7, seed=0):
    """Codes int64 [K, frames] that follow the token `bos`."""
    generator = torch.Generator().manual_seed(seed)
    codebooks = torch.from_numpy(vocabulary.codebooks(frames))  # [K, L], -1: no code stands here
    tokens = torch.full((1, vocabulary.num_rows, 1), vocabulary.special_id("bos"))
    for column in codebooks.T:
        logits = model(tokens)[0, :, -1]
        next_tokens = torch.full((vocabulary.num_rows,), vocabulary.pad_id)
        for row, codebook in enumerate(column.tolist()):
            if codebook >= 0:  # of the codes of this codebook alone
                ids = vocabulary.ids(codebook)
                weights = F.softmax(logits[row, ids.start : ids.stop] / temperature, dim=0)
                next_tokens[row] = ids.start + torch.multinomial(weights, 1, generator=generator)[0]
        tokens = torch.cat([tokens, next_tokens[None, :, None]], dim=2)
    return vocabulary.decode(tokens[0])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("speech_lm"), help="folder to write")
    parser.add_argument("--tokens", type=Path, help="a folder of .tok files of the bundled model")
    parser.add_argument("--codebooks", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200, help="training steps")
    parser.add_argument("--seconds", type=float, default=3.0, help="of segments and of the sample")
    parser.add_argument("--temperature", type=float, default=0.7, help="of the sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    codec = load_codec("speech_16khz")
    frames = round(options.seconds * codec.frame_rate)

    tokens = options.tokens
    if tokens is None:
        tokens = options.out / "tokens"
        tokens.mkdir(exist_ok=True)
        for clip in find_audio(CLIPS):
            encode_file(clip, tokens / f"{clip.stem}.tok", codec)

    vocabulary = Vocabulary.of(codec, "delay", options.codebooks)
    dataset = TokenSegments(tokens, frames, num_codebooks=options.codebooks)
    vocabulary.check(dataset.data)
    steps = 2 + vocabulary.order.num_steps(options.codebooks, frames)  # bos and eos
    model = SpeechLM(vocabulary, steps)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")
    print(f"{len(dataset)} segments of {options.seconds:g} s from {tokens}")
    train(model, dataset, vocabulary, options.steps)

    vocabulary.save(options.out / "vocabulary.json")
    save_file(model.state_dict(), options.out / "model.safetensors")
    codes = sample(model.eval(), vocabulary, frames, options.temperature, options.seed)
    audio = codec.decode(codes[None])[:, 0]
    save_audio(options.out / "sample.wav", audio, codec.sample_rate)
    print(f"{options.out / 'sample.wav'}: {audio.shape[-1] / codec.sample_rate:g} s")


if __name__ == "__main__":
    main()
