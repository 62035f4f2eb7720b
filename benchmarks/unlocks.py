"""What runs and what does not on a card that answers 12.0: without us, with rtx50-compat 3.0.2, and with us.

    python benchmarks/unlocks.py --xformers FOLDER... --rtx50-compat FOLDER --results benchmarks/results

Needs an NVIDIA GPU of capability 8.0 or later that torch can use. The folders hold unpacked wheels: one for each
version of xformers, and rtx50-compat's. Each column of each version is one process.

Two kinds of cases. The first calls `memory_efficient_attention` for real and compares with float64; a kernel that
exists for Hopper alone (FlashAttention-3) is counted as such whether it runs here or not, because a card of 12.0 cannot
load it. The second asks a library for which GPU it would generate or pick code: any other answer than without us would
break it on such a card, although this one might run it.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if "rtx50-compat 3.0.2" in sys.argv:
    import rtx50_compat  # noqa: F401 - its import is what it does, and it asks to be imported before torch

import torch

import report
import told_twelve

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

# The last one is no card of 12.0: it shows what the libraries can do at all where nobody pretends anything.
COLUMNS = ("without us", "rtx50-compat 3.0.2", "with us", "a Hopper that says so")
RUNS, HOPPER = "runs", "Hopper's kernel"

DTYPES = ("float32", "float16", "bfloat16")
BIASES = ("none", "triangle", "bottom right", "tensor", "blocks")
WIDTHS = (64, 256)
DIRECTIONS = ("forward", "backward")
WAYS = ("called", "compiled")

#: How far the result may be from float64's, in units of the type's rounding for values around one.
TOLERANCE = {"float32": 3e-3, "float16": 1e-2, "bfloat16": 6e-2}

#: Library, question, and the expression that answers it in a process of that column.
QUESTIONS = (
    ("torch.utils.cpp_extension", "architectures of a source build", "cpp_extension._get_cuda_arch_flags()"),
    ("torch.compile", "capability that its templates see", "asked('torch._inductor.utils')"),
    ("torch.compile", "capability in the key of its cache", "asked('torch._inductor.codecache')"),
    ("torch", "number of devices", "torch.cuda.device_count()"),
    ("torch", "bfloat16 is supported", "torch.cuda.is_bf16_supported()"),
    ("triton", "target of the kernels", "triton.runtime.driver.active.get_current_target().arch"),
    ("torchao", "8.9 or later", "torchao.is_sm_at_least_89()"),
    ("torchao", "10.0 or later: 4-bit floats", "torchao.is_sm_at_least_100()"),
    *(
        (module.partition(".")[0], "capability that it sees", f"asked({module!r})")
        for module in (
            "transformers.utils.import_utils",
            "vllm.platforms.cuda",
            "sglang.srt.utils",
            "sageattention.core",
            "flashinfer.jit.core",
            "flash_attn.cute.interface",
            "flash_attn_interface",
            "unsloth.models._utils",
            "train",
        )
    ),
)

#: The modules that the expressions name.
NAMES = {"cpp_extension": "torch.utils.cpp_extension", "triton": "triton", "torchao": "torchao.utils"}


def first_line(error: Exception) -> str:
    """Give an error's type and the first line of its text."""
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def asked(module: str) -> tuple[int, int]:
    """Ask for the capability as code of a module."""
    return eval("torch.cuda.get_device_capability()", {"__name__": module, "torch": torch})  # noqa: S307


def biases(name: str, dtype: torch.dtype, masks: Any) -> tuple[Any, torch.Tensor | None]:  # noqa: ANN401
    """Make a mask for (2, 128, 4, K) and the same as a tensor to add."""
    ones = torch.ones(128, 128, device="cuda", dtype=torch.float64)
    if name in ("triangle", "bottom right"):
        mask = masks.LowerTriangularMask() if name == "triangle" else masks.LowerTriangularFromBottomRightMask()
        return mask, torch.where(ones.tril() > 0, 0.0, -torch.inf)
    if name == "tensor":
        bias = torch.randn(2, 4, 128, 128, device="cuda", dtype=dtype)
        return bias, bias.double()
    if name == "blocks":
        lengths = [100, 60, 96]
        owner = torch.repeat_interleave(torch.arange(3, device="cuda"), torch.tensor(lengths, device="cuda"))
        apart = torch.where(owner[:, None] == owner[None, :], 0.0, -torch.inf).double()
        return masks.BlockDiagonalMask.from_seqlens(lengths), apart
    return None, None


def attention(dtype_name: str, bias: str, width: int, direction: str, way: str) -> str:
    """Run one case; give `RUNS`, `HOPPER`, or the error."""
    from xformers.ops import fmha, memory_efficient_attention

    torch.manual_seed(0)
    torch._dynamo.reset()  # noqa: SLF001 - the way that torch names for it
    dtype = getattr(torch, dtype_name)
    shape = (1, 256, 4, width) if bias == "blocks" else (2, 128, 4, width)
    leaves = [torch.randn(shape, device="cuda", dtype=dtype, requires_grad=direction == "backward") for _ in range(3)]
    mask, added = biases(bias, dtype, fmha.attn_bias)
    inputs = fmha.Inputs(*leaves, attn_bias=mask)
    call = memory_efficient_attention
    if way == "compiled":
        call = torch.compile(call, backend="eager")
    try:
        kernel = fmha.dispatch._dispatch_fw(inputs, direction == "backward").NAME  # noqa: SLF001
        result = call(*leaves, attn_bias=mask)
        gradients = torch.autograd.grad(result, leaves, torch.ones_like(result)) if direction == "backward" else ()
    except Exception as error:  # noqa: BLE001 - what it is, is the result
        return first_line(error)
    exact = [leaf.detach().double().requires_grad_(direction == "backward") for leaf in leaves]
    query, key, value = (tensor.transpose(1, 2) for tensor in exact)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, added).transpose(1, 2)
    wanted = [expected]
    if direction == "backward":
        wanted += torch.autograd.grad(expected, exact, torch.ones_like(expected))
    for got, right in zip((result, *gradients), wanted, strict=True):
        distance = ((got.double() - right).abs() / (1 + right.abs())).max().item()
        if distance > TOLERANCE[dtype_name]:
            return f"wrong by {distance:.3g}"
    return HOPPER if kernel.startswith("fa3") else RUNS


def cases() -> Iterator[tuple[str, str, int, str, str]]:
    """Give every case of attention."""
    for dtype in DTYPES:
        for bias in BIASES:
            for width in WIDTHS:
                for direction in DIRECTIONS:
                    for way in WAYS:
                        yield dtype, bias, width, direction, way


def child(column: str, kind: str) -> None:
    """Answer one kind of questions of one column, as JSON."""
    if column in COLUMNS[:2]:
        told_twelve.pretend()
    found: dict[str, Any] = {}
    if kind == "attention":
        for case in cases():
            found[", ".join(map(str, case))] = attention(*case)
    else:
        for library, question, expression in QUESTIONS:
            try:
                module = NAMES.get(expression.partition(".")[0])
                names = {expression.partition(".")[0]: importlib.import_module(module)} if module else {}
                answer = repr(eval(expression, {"torch": torch, "asked": asked, **names}))  # noqa: S307 - the text above
            except Exception as error:  # noqa: BLE001 - what it is, is the result
                answer = first_line(error)
            found[f"{library}: {question}"] = answer
    print(json.dumps(found))


def ask(column: str, kind: str, folders: list[Path]) -> dict[str, str]:
    """Start a process of a column."""
    ours = {"RTX50_SIMULATE": "12.0", "RTX50_QUIET": "1"}
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RTX50_")},
        **(ours if column == COLUMNS[2] else {"RTX50_DISABLE": "1"}),
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
    }
    command = [sys.executable, __file__, "--child", column, kind]
    done = subprocess.run(command, env=variables, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{column}, {kind}: exit code {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def version_of(folder: Path) -> str:
    """Read a version out of the name of an unpacked wheel's metadata."""
    return next(folder.glob("xformers-*.dist-info")).name.split("-")[1].removesuffix(".dist")


def measure(options: argparse.Namespace) -> tuple[list[tuple[str, ...]], dict[str, Any]]:
    """Ask everything; give the table and all answers."""
    rows, raw = [], {}
    # Nothing is timed, so the processes share the GPU.
    with ThreadPoolExecutor() as pool:
        asked_for = {
            (folder, column): pool.submit(ask, column, "attention", [folder, options.rtx50_compat])
            for folder in options.xformers
            for column in COLUMNS
        }
        questions = {column: pool.submit(ask, column, "questions", [options.rtx50_compat]) for column in COLUMNS}
    for folder in options.xformers:
        name = f"xformers {version_of(folder)}"
        answers = raw[name] = {column: asked_for[folder, column].result() for column in COLUMNS}
        before = {case for case, cell in answers[COLUMNS[0]].items() if cell == RUNS}
        for column, cells in answers.items():
            count = Counter(cell if cell in (RUNS, HOPPER) else "fails" for cell in cells.values())
            broken = sum(cells[case] != RUNS for case in before)
            rows.append((f"{name}, {column}", *map(str, (count[RUNS], count["fails"], count[HOPPER], broken))))
    answers = raw["questions"] = {column: answer.result() for column, answer in questions.items()}
    for column, cells in answers.items():
        other = sum(cells[question] != answer for question, answer in answers[COLUMNS[0]].items())
        same = len(cells) - other
        rows.append((f"{len(cells)} questions of other libraries, {column}", str(same), "", "", str(other)))
    return rows, raw


def main() -> int:
    """Print the table; fail where something that ran is broken by us."""
    parser = report.arguments(__doc__)
    parser.add_argument("--xformers", type=Path, nargs="+", default=[], metavar="FOLDER", help="unpacked wheels")
    parser.add_argument("--rtx50-compat", type=Path, metavar="FOLDER", help="the unpacked wheel")
    parser.add_argument("--child", nargs=2, metavar=("COLUMN", "KIND"))
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return 0
    if not torch.cuda.is_available():
        print("needs a GPU that torch can use", file=sys.stderr)
        return 2
    rows, raw = measure(options)
    report.Result(
        "unlocks",
        f"What runs where a card answers 12.0 ({len(list(cases()))} cases of attention for each version)",
        "python benchmarks/unlocks.py --xformers FOLDER... --rtx50-compat FOLDER",
        ("", "run", "fail", "Hopper's kernel", "broken"),
        rows,
        raw,
        ("torch", "triton", "transformers", "torchao", "bitsandbytes"),
    ).finish(options.results)
    return int(any(row[0].endswith(COLUMNS[2]) and row[-1] != "0" for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
