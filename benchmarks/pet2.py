"""Is a training step of PET2 at least twice as fast as that of the package ``omnilearned`` 0.2.0, at equal outputs?

    python benchmarks/pet2.py [--preset pet2-small] [--batch 256] [--threads 1] [--steps 4]

Both networks have the same weights and see the same batch: clouds padded to 33 tokens, with as many real ones as events
of a fine-grained tracker have (gamma distribution, mean 12). They take turns, step by step, in one process.
Time is that of the processor, without waiting for other programs; the ratio is that of the medians.
A step is forward, cross-entropy, backward and Adam. A third line is ours with products in bfloat16, from the same
weights; processors without such instructions are slower with it. Exit code 1 if outputs differ or the ratio is below 2.
Needs that package: ``pip install --no-deps omnilearned==0.2.0 einops torchdiffeq``.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nuadapt.models.cloud import KINEMATICS, CloudShape
from nuadapt.models.registry import build_model, load_preset

REQUIRED = 2.0
TOLERANCE = 1e-5  # of the largest score
CLOUD = CloudShape((*KINEMATICS, "dedx", "x", "y", "z", "time"), n_types=8, n_globals=15)
CLASSES = ("a", "b", "c", "d", "e")
PLACES = 33


def clouds(batch: int) -> dict[str, Tensor]:
    """Random events; real tokens stand first, and padding is zero, as the package reads it."""
    random = torch.Generator().manual_seed(1)
    gamma = torch.distributions.Gamma(torch.tensor(4.0), torch.tensor(1 / 3))  # mean 12, width 6
    torch.manual_seed(1)
    lengths = gamma.sample((batch,)).round().clamp(1, PLACES)
    mask = torch.arange(PLACES) < lengths[:, None]
    tokens = torch.randn(batch, PLACES, len(CLOUD.columns), generator=random)
    type = torch.randint(1, CLOUD.n_types + 1, (batch, PLACES), generator=random)
    return {
        "tokens": torch.where(mask[..., None], tokens, 0),
        "type": torch.where(mask, type, 0),
        "mask": mask,
        "globals": torch.randn(batch, CLOUD.n_globals, generator=random),
    }


def theirs(preset: dict[str, int]) -> nn.Module:
    """The package's network of a preset."""
    from omnilearned.network import PET2

    network: nn.Module = PET2(
        len(KINEMATICS),
        use_int=preset["interaction"],
        local_int=preset["local_interaction"],
        conditional=True,
        cond_dim=CLOUD.n_globals,
        pid=True,
        pid_dim=CLOUD.n_types + 1,
        add_info=True,
        add_dim=len(CLOUD.further),
        num_classes=len(CLASSES),
        base_dim=preset["width"],
        num_transformers=preset["depth"],
        num_transformers_head=preset["head_depth"],
        num_tokens=preset["tokens"],
        num_heads=preset["heads"],
        mlp_ratio=preset["mlp_ratio"],
        K=preset["neighbours"],
        num_coord=preset["num_coord"],
    )
    return network


def stepper(network: nn.Module, scores: Callable[[], Tensor], labels: Tensor) -> Callable[[], float]:
    """A function that makes one training step and returns its seconds of processor time."""
    update = torch.optim.Adam(network.parameters(), 1e-5)

    def step() -> float:
        began = time.process_time()
        update.zero_grad()
        F.cross_entropy(scores(), labels).backward()
        update.step()
        return time.process_time() - began

    return step


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="pet2-small")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    preset = load_preset(given.preset) | {"wrap_azimuth": False}
    ours, other = build_model(preset, cloud=CLOUD, classes=CLASSES), theirs(preset)
    ours.load_state_dict(other.state_dict())
    batch = clouds(given.batch)
    kinematics, further = batch["tokens"][..., :4], batch["tokens"][..., 4:]

    def our_scores() -> Tensor:
        logits: Tensor = ours(**batch)["logits"]
        return logits

    def other_scores() -> Tensor:
        scores: Tensor = other(kinematics, None, batch["globals"], batch["type"], further)["y_pred"]
        return scores

    with torch.inference_mode():
        apart = float((our_scores() - other_scores()).abs().max() / other_scores().abs().max())
    rounded = copy.deepcopy(ours)

    def rounded_scores() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits: Tensor = rounded(**batch)["logits"]
        return logits.float()

    labels = torch.arange(given.batch) % len(CLASSES)
    each = (ours, our_scores), (other, other_scores), (rounded, rounded_scores)
    steps = [stepper(network, scores, labels) for network, scores in each]
    print(
        f"{given.preset}, batch {given.batch}, mean {float(batch['mask'].sum(1).float().mean()):.1f} of {PLACES} tokens"
    )
    print(f"{given.threads} threads; load average at start {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"largest difference of scores: {apart:.1e} of the largest (allowed {TOLERANCE:.0e})")
    taken: list[list[float]] = [[] for _ in steps]
    for turn in range(given.steps + 1):
        for step, seconds in zip(steps, taken, strict=True):
            seconds.append(step())
        if turn == 0:  # the first steps also allocate
            for seconds in taken:
                seconds.clear()
    mine, package, coarse = (statistics.median(seconds) for seconds in taken)
    print(f"nuadapt:     {1000 * mine:7.0f} ms/step")
    print(f"omnilearned: {1000 * package:7.0f} ms/step")
    print(f"ratio: {package / mine:.2f} (required {REQUIRED:.0f})")
    print(f"nuadapt with bfloat16: {1000 * coarse:7.0f} ms/step, ratio {package / coarse:.2f}")
    return 0 if package / mine >= REQUIRED and apart <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
