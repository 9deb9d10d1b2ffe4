"""The facts of a model that `codec info` prints."""

from __future__ import annotations

from .facts import Facts, sizes


def bundled_model_lines(facts: Facts) -> list[str]:
    """A bundled model in two lines."""
    return [
        f"{facts['model']} ({facts['fingerprint']})",
        f"  {facts['sample_rate']} Hz, {facts['frame_rate']:g} frames a second, "
        f"{facts['num_codebooks']} codebooks of {sizes(facts['codebook_sizes'])}, "
        f"{facts['bitrates'][0] / 1000:g} to {facts['bitrates'][-1] / 1000:g} kbit/s",
    ]


def model_facts(model: str) -> Facts:
    """A model's configuration and what follows from it."""
    from audiocodec.checkpoint import find_model, load_codec
    from audiocodec.complexity import gigamacs

    from .options import use_threads

    use_threads()
    codec = load_codec(model)
    return {
        "model": codec.name,
        "folder": str(find_model(model)),
        "fingerprint": codec.fingerprint,
        "sample_rate": codec.sample_rate,
        "hop_length": codec.hop_length,
        "frame_rate": codec.frame_rate,
        "lookahead": codec.lookahead,
        "num_codebooks": codec.num_codebooks,
        "codebook_sizes": list(codec.codebook_sizes),
        "bitrates": [codec.bitrate(n) for n in range(1, codec.num_codebooks + 1)],
        "context": codec.context.fingerprint if codec.context else "",
        "parameters": codec.parameter_counts,
        "gigamacs": gigamacs(codec.config),
        "config": codec.config.model_dump(mode="json"),
    }


def model_lines(facts: Facts) -> list[str]:
    """A model's description."""
    import yaml

    rates = " ".join(f"{rate / 1000:g}" for rate in facts["bitrates"])
    parts = facts["parameters"]
    each = ", ".join(f"{part} {count / 1e6:.2f}" for part, count in parts.items())
    coding = "fixed (codec train-context makes a context model)"
    if facts["context"]:
        coding = f"fixed, or context ({facts['context']})"
    look = 1000 * facts["lookahead"] / facts["frame_rate"]
    config = yaml.safe_dump(facts["config"], sort_keys=False, default_flow_style=None).splitlines()
    return [
        f"{facts['model']} ({facts['fingerprint']}) in {facts['folder']}",
        f"  audio       {facts['sample_rate']} Hz, {facts['frame_rate']:g} frames a second "
        f"(hop length {facts['hop_length']}), the decoder looks {look:g} ms ahead",
        f"  codebooks   {facts['num_codebooks']} of {sizes(facts['codebook_sizes'])}",
        f"  bitrates    {rates} kbit/s a channel",
        f"  coding      {coding}",
        f"  parameters  {sum(parts.values()) / 1e6:.2f} M as run ({each})",
        f"  networks    {facts['gigamacs']:.2f} GMAC per second of audio, encoder and decoder",
        "  config",
        *(f"    {line}" for line in config),
    ]
