"""Compare the stand-ins with xformers' own kernels, where those run: 20 usual shapes, forward alone and with backward.

    python benchmarks/attention.py --output attention.json

It needs an NVIDIA GPU that xformers' kernels run on (not an RTX 50), torch for CUDA and xformers.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rtx50_autoload.rescue import xformers as ours

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


@dataclass(frozen=True)
class Shape:
    """A call: (B, M, N, heads, heads of the key, K) and what is masked.

    Attributes:
        direct: whether torch's public function takes it as it is.

    """

    name: str
    batch: int
    queries: int
    keys: int
    heads: int
    key_heads: int
    width: int
    mask: str = "none"
    dtype: str = "float16"
    backward: bool = True
    direct: bool = True


SHAPES = (
    Shape("SD 1.5 self 64x64", 2, 4096, 4096, 8, 8, 40),
    Shape("SD 1.5 self 32x32", 2, 1024, 1024, 8, 8, 80),
    Shape("SD 1.5 cross 64x64", 2, 4096, 77, 8, 8, 40),
    Shape("SDXL self 64x64", 2, 4096, 4096, 10, 10, 64),
    Shape("SDXL self 32x32", 2, 1024, 1024, 20, 20, 64),
    Shape("SDXL cross 64x64", 2, 4096, 77, 10, 10, 64),
    Shape("SDXL cross 32x32", 2, 1024, 77, 20, 20, 64),
    Shape("VAE 512 channels", 1, 4096, 4096, 1, 1, 512, backward=False),
    Shape("DiT-XL/2", 8, 256, 256, 16, 16, 72, dtype="bfloat16"),
    Shape("Flux 1024x1024", 1, 4608, 4608, 24, 24, 128, dtype="bfloat16"),
    Shape("ViT-L/14", 32, 257, 257, 16, 16, 64),
    Shape("video DiT", 1, 16384, 16384, 12, 12, 128, dtype="bfloat16"),
    Shape("float32 self", 2, 1024, 1024, 8, 8, 64, dtype="float32"),
    Shape("LLaMA 7B causal", 1, 4096, 4096, 32, 32, 128, mask="triangle", dtype="bfloat16"),
    Shape("LLaMA 7B causal, batch", 8, 1024, 1024, 32, 32, 128, mask="triangle", dtype="bfloat16"),
    Shape("causal with a cache", 1, 512, 4096, 32, 32, 128, mask="bottom right", dtype="bfloat16", direct=False),
    Shape("Mistral window", 1, 8192, 8192, 32, 32, 128, mask="local", dtype="bfloat16", direct=False),
    Shape("LLaMA 3 GQA", 1, 4096, 4096, 32, 8, 128, mask="triangle", dtype="bfloat16", backward=False),
    Shape("sequences of 100 to 2000", 1, 8192, 8192, 16, 16, 64, mask="blocks", direct=False),
    Shape("tensor bias", 2, 1024, 1024, 16, 16, 64, mask="tensor"),
)

DEVICE = "cuda"

#: How the packed sequences are cut.
LENGTHS = (100, 2000, 500, 1500, 700, 900, 300, 1200, 400, 592)


def mask_of(shape: Shape, masks: ModuleType, dtype: torch.dtype) -> Any:  # noqa: ANN401 - any of xformers' classes
    """Make the mask that both are given."""
    kinds = {
        "none": lambda: None,
        "triangle": masks.LowerTriangularMask,
        "bottom right": masks.LowerTriangularFromBottomRightMask,
        "local": lambda: masks.LowerTriangularFromBottomRightLocalAttentionMask(4096),
        "blocks": lambda: masks.BlockDiagonalMask.from_seqlens(LENGTHS, device=torch.device(DEVICE)),
        "tensor": lambda: torch.randn(shape.batch, shape.heads, shape.queries, shape.keys, device=DEVICE, dtype=dtype),
    }
    return kinds[shape.mask]()


def tensors_of(shape: Shape, dtype: torch.dtype) -> list[torch.Tensor]:
    """Make query, key and value, grouped where the key has fewer heads."""
    each = shape.heads // shape.key_heads
    options = {"device": DEVICE, "dtype": dtype}
    query = torch.randn(shape.batch, shape.queries, shape.heads, shape.width, **options)
    key, value = (torch.randn(shape.batch, shape.keys, shape.key_heads, shape.width, **options) for _ in range(2))
    if each == 1:
        return [query, key, value]
    grouped = (tensor.unsqueeze(3).expand(-1, -1, -1, each, -1) for tensor in (key, value))
    return [query.unflatten(2, (shape.key_heads, each)), *grouped]


def milliseconds(call: Callable[[], object], rounds: int) -> float:
    """Give the median time of a call on the device."""
    for _ in range(3):
        call()
    flush = torch.empty(64 * 2**20, dtype=torch.int8, device=DEVICE)
    times = []
    for _ in range(rounds):
        flush.zero_()  # what the last round left in the cache is gone, as in a model
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times)


def calls(
    module: ModuleType, shape: Shape, tensors: list[torch.Tensor], mask: object
) -> dict[str, Callable[[], object]]:
    """Give the calls that are timed."""
    function = module.memory_efficient_attention

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return function(*tensors, mask)

    found = {"forward": forward}
    if shape.backward:
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        gradient = torch.randn_like(forward())
        found["both"] = lambda: torch.autograd.grad(function(*leaves, mask), leaves, gradient)
    return found


def measure(shape: Shape, theirs: ModuleType, masks: ModuleType, rounds: int) -> dict[str, Any]:
    """Time one shape with both; alternating, so that a change of the clock hits both."""
    dtype = getattr(torch, shape.dtype)
    tensors, mask = tensors_of(shape, dtype), mask_of(shape, masks, dtype)
    row: dict[str, Any] = {"name": shape.name, "direct": shape.direct, "mask": shape.mask, "dtype": shape.dtype}
    both = calls(ours, shape, tensors, mask), calls(theirs, shape, tensors, mask)
    for what in both[0]:
        times: tuple[list[float], list[float]] = ([], [])
        try:
            for _ in range(3):
                for side, found in zip(times, both, strict=True):
                    side.append(milliseconds(found[what], rounds))
        except NotImplementedError:
            row[what] = None
            continue
        own, other = (statistics.median(side) for side in times)
        row[what] = {"ours_ms": round(own, 4), "theirs_ms": round(other, 4), "ratio": round(own / other, 3)}
    return row


def main() -> None:
    """Measure, print the table, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="how often each call is timed, three times over")
    parser.add_argument("--output", type=Path, help="a JSON file for the table")
    parser.add_argument(
        "--try-on-cpu", action="store_true", help="run the script without a GPU, both sides the stand-in"
    )
    arguments = parser.parse_args()
    import xformers.ops as theirs

    masks = theirs.fmha.attn_bias
    rows = [measure(shape, theirs, masks, arguments.rounds) for shape in SHAPES]
    print(f"{'shape':28} {'forward':>24} {'forward and backward':>28}")
    for row in rows:
        cells = [
            f"{cell['ours_ms']:8.3f} /{cell['theirs_ms']:8.3f} {cell['ratio']:5.2f}" if cell else "-"
            for cell in (row.get("forward"), row.get("both"))
        ]
        print(f"{row['name']:28} {cells[0]:>24} {cells[1]:>28}")
    medians = {
        f"{what}{', direct' if direct else ''}": statistics.median(
            row[what]["ratio"] for row in rows if row.get(what) and (row["direct"] or not direct)
        )
        for what in ("forward", "both")
        for direct in (False, True)
    }
    for what, ratio in medians.items():
        print(f"median ratio, {what}: {ratio:.3f}")
    if arguments.output:
        found = {
            "device": torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "xformers": importlib.metadata.version("xformers"),
            "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
            "rounds": arguments.rounds,
            "medians": medians,
            "rows": rows,
        }
        arguments.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
