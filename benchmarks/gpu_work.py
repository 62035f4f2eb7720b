"""Training and inference steps on a GPU with this package at work and without it: how long they take, and every bit.

    python benchmarks/gpu_work.py eager --results benchmarks/results
    python benchmarks/gpu_work.py compile --results benchmarks/results

Needs a GPU that torch can use, and diffusers for the UNet; weights are random, nothing is downloaded. Each measurement
is a process of its own, in alternation. "With us" is more than most people have: torch's functions are patched, because
a mapping of the card's own capability makes xformers be told another (RTX50_MASQUERADE); nothing of the work asks so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import report

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 3
STEPS = 20
WARM_UP = 5
DEVICE = "cuda"


class Block(nn.Module):
    """A layer of a GPT."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend and feed forward; (batch, tokens, width) in and out."""
        batch, tokens, width = x.shape
        heads = self.attention(self.before(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.feed(self.after(x))


def transformer() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Make a GPT of 6 layers of width 768 and its input, 48 x 1024 tokens."""
    layers = [Block(768, 12) for _ in range(6)]
    model = nn.Sequential(nn.Embedding(8_000, 768), *layers, nn.LayerNorm(768))
    return model, (torch.randint(0, 8_000, (48, 1024), device=DEVICE),)


def conv_net() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Make a plain network of 12 convolutions and its input, 64 pictures of 128 x 128."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512):
        stride = 2 if channels not in (width, 3) else 1
        layers += [nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))
    return model, (torch.randn(64, 3, 128, 128, device=DEVICE),)


class UNet(nn.Module):
    """diffusers' UNet, giving its tensor."""

    def __init__(self) -> None:
        super().__init__()
        from diffusers import UNet2DConditionModel

        self.unet = UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(128, 256, 512),
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=512,
            attention_head_dim=8,
        )

    def forward(self, sample: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """Predict the noise of step 500."""
        return self.unet(sample, 500, encoder_hidden_states=context, return_dict=False)[0]


def unet() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Make a UNet of three levels, as Stable Diffusion's are built, and its input, 32 latents of 64 x 64."""
    return UNet(), (torch.randn(32, 4, 64, 64, device=DEVICE), torch.randn(32, 77, 512, device=DEVICE))


MODELS = {"transformer": transformer, "conv net": conv_net, "diffusion UNet": unet}


def digest(tensors: list[torch.Tensor]) -> str:
    """Give the SHA-256 of all bits."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(tensor.detach().flatten().view(torch.uint8).cpu().numpy().tobytes())
    return sha.hexdigest()


def milliseconds(step: Callable[[], object]) -> float:
    """Give the shortest time of a step on the GPU: in a longer one it has waited for the processor."""
    for _ in range(WARM_UP):
        step()
    times = []
    for _ in range(STEPS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        step()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return min(times)


def measure(name: str, mode: str) -> dict[str, Any]:
    """Train and infer in this process; give the times in ms and the bits after three steps of training."""
    torch.manual_seed(0)
    torch._dynamo.reset()  # noqa: SLF001 - the way that torch names for it
    model, inputs = MODELS[name]()
    model = model.to(DEVICE)
    run = torch.compile(model) if mode == "compile" else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

    def forward() -> torch.Tensor:
        with torch.autocast(DEVICE, torch.bfloat16):
            return run(*inputs)

    def train() -> torch.Tensor:
        optimizer.zero_grad()
        loss = forward().float().square().mean()
        loss.backward()
        optimizer.step()
        return loss

    @torch.inference_mode()
    def infer() -> torch.Tensor:
        return forward()

    losses = [train() for _ in range(3)]
    model.eval()
    bits = digest([*losses, *model.parameters(), infer()])
    inference = milliseconds(infer)
    model.train()
    return {"bits": bits, "training": milliseconds(train), "inference": inference}


def child(mode: str) -> None:
    """Measure every model and print the results as JSON."""
    torch.use_deterministic_algorithms(mode=True)
    print(json.dumps({name: measure(name, mode) for name in MODELS}))


def ask(mode: str, variables: dict[str, str]) -> dict[str, Any]:
    """Measure in a new process."""
    variables = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "RTX50_QUIET": "1", **variables}
    command = [sys.executable, __file__, mode, "--child"]
    done = subprocess.run(command, env={**os.environ, **variables}, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Print a row for each model and direction; fail where a bit differs."""
    parser = report.arguments(__doc__)
    parser.add_argument("mode", choices=("eager", "compile"), help="how the models run")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.mode)
        return 0
    if not torch.cuda.is_available():
        print("needs a GPU that torch can use", file=sys.stderr)
        return 2
    major, minor = torch.cuda.get_device_capability()
    patched = {"RTX50_MASQUERADE": f"{major}.{minor}:{major - 1}.9"}
    # The first process fills the compiler's cache and is not counted.
    ask(options.mode, {"RTX50_DISABLE": "1"})
    rounds = [(ask(options.mode, {"RTX50_DISABLE": "1"}), ask(options.mode, patched)) for _ in range(ROUNDS)]
    rows = []
    for name in MODELS:
        same = len({one[name]["bits"] for both in rounds for one in both}) == 1
        for direction in ("training", "inference"):
            without, ours = ([both[column][name][direction] for both in rounds] for column in (0, 1))
            rows.append(
                {
                    "model": name,
                    "direction": direction,
                    "without_ms": without,
                    "with_ms": ours,
                    "ratio": min(ours) / min(without),
                    "noise": max(without) / min(without),
                    "same_bits": same,
                }
            )
    shown = [
        (
            f"{row['model']}, {row['direction']}",
            f"{min(row['without_ms']):.3f}",
            f"{min(row['with_ms']):.3f}",
            f"{row['ratio']:.3f}",
            f"{row['noise']:.3f}",
            "same" if row["same_bits"] else "DIFFERENT",
        )
        for row in rows
    ]
    report.Result(
        f"gpu-work-{options.mode}",
        f"Steps on the GPU with us and without us, {'torch.compile' if options.mode == 'compile' else 'eager'}",
        f"python benchmarks/gpu_work.py {options.mode}",
        ("work", "without ms", "with us ms", "ratio", "noise without us", "bits"),
        shown,
        rows,
        ("torch", "diffusers"),
    ).finish(options.results)
    return 0 if all(row["same_bits"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
