"""Run by `probe` in an interpreter of its own: tiny computations on the GPU, compared with the CPU's results.

Like a user's program it imports torch first and nothing of this package. It is run as a file, not as text: Triton reads
a kernel's source from the file that defines it.

What it says goes to the parent as lines of JSON, each with an ``event``: ``unusable`` or ``ready`` first, then for each
probe ``start`` and ``result``. It ends early, for the parent to start another one behind the last result, where CUDA no
longer works in this process or memory may have been written that should not have been.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import math
import os
import sys
import time
import warnings
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Triton's language, once it is imported: Triton looks up what a kernel uses among the globals of its module.
tl: Any = None

# The parent's clock decides. This one only makes sure that nothing is left running should the parent have died.
_MARGIN = 10.0  # seconds
_LONGEST_TEXT = 4000  # characters of an error that are passed on; torch.compile quotes whole files

# Largest errors allowed, as a share of the largest value of the float64 result. They are meant to tell a broken kernel
# from rounding, not a good kernel from a better one, so they stand well above what rounding explains.
BOUNDS = {
    # 24 bits: a step is 1.2e-7; the GPU's exp and sqrt are off by a few steps, and short sums add some more.
    "float32": 1e-5,
    # Products of float32 may be computed as TF32 (cuDNN's default; cuBLAS where a variable says so): 11 bits for each
    # factor, so that a product is off by 2e-3 at most if the factors are cut off rather than rounded.
    "float32 product": 5e-3,
    # 11 bits: a step is 9.8e-4. Attention rounds the scores' softmax and then the result.
    "float16": 1e-2,
    # 8 bits: a step is 7.8e-3; otherwise as above.
    "bfloat16": 4e-2,
    # The widest gap between two values of NF4 is 0.304 of a block's largest value: rounding is off by half of it.
    "nf4": 0.16,
}


class Measurement(NamedTuple):
    """How far a result was off, and how far it may be."""

    error: float
    bound: float


class Probe(NamedTuple):
    """One computation."""

    name: str
    #: What it computes, for people.
    what: str
    #: Whose code it tries.
    library: str
    #: Computes on the GPU, and tells how far the results were off.
    run: Callable[[Any], list[Measurement]]
    #: A package without which it is not run; it counts as not installed.
    requires: str = "torch"
    #: Probes that share this are alternatives: a program that does not insist on one is served by any of them.
    one_of: str = ""


class Unusable(Exception):  # noqa: N818 - no error: the usual answer where there is no GPU
    """CUDA cannot be used here.

    Attributes:
        kind: what the parent's advice depends on.
        reason: a clause for people.

    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason


class Lab:
    """Where probes compute: inputs, the device, and the comparison."""

    def __init__(self, torch: Any, device: str) -> None:  # noqa: ANN401
        self.torch = torch
        self.device = device

    def about(self) -> dict[str, Any]:
        """Tell where the probes run."""
        cuda = self.torch.cuda
        return {
            "torch": self.torch.__version__,
            "cuda": self.torch.version.cuda,
            "device": cuda.get_device_name(),
            "capability": cuda.get_device_capability(),
        }

    def prepare(self, name: str) -> None:
        """Make inputs differ between probes, so that a result left in memory by one does not pass for another's."""
        self.torch.manual_seed(zlib.crc32(name.encode()))

    def normal(self, *shape: int, dtype: str = "float32") -> Any:  # noqa: ANN401
        """Make random numbers on the CPU, rounded to `dtype` before either side sees them."""
        return self.torch.randn(*shape, dtype=self.torch.float64).to(getattr(self.torch, dtype))

    def compare(
        self,
        function: Callable[..., Any],
        *inputs: Any,  # noqa: ANN401
        bound: str,
        reference: Callable[..., Any] | None = None,
    ) -> list[Measurement]:
        """Compute `function` on the device, and it or `reference` in float64 on the CPU."""
        actual = function(*(value.to(self.device) for value in inputs))
        expected = (reference or function)(*(value.double() for value in inputs))
        return [self.measure(actual, expected, bound)]

    def measure(self, actual: Any, expected: Any, bound: str) -> Measurement:  # noqa: ANN401
        """Give the largest error as a share of the largest expected value; infinite where a value is not finite."""
        # Nothing is computed on the device here: only the probe's own kernels may fail it. The copy waits for them.
        actual = actual.detach().cpu().double()
        if actual.shape != expected.shape:
            raise ValueError(f"the result has the shape {tuple(actual.shape)}, not {tuple(expected.shape)}")
        error = ((actual - expected).abs().max() / expected.abs().max()).item()
        return Measurement(error if math.isfinite(error) else math.inf, BOUNDS[bound])

    def surface(self) -> None:
        """Raise the error of an earlier launch that nobody has looked at: an extension may launch without checking."""
        self.torch.ones(1, device=self.device)

    def healthy(self) -> bool:
        """Tell whether CUDA still works here: after some errors every call in the process fails."""
        try:
            self.torch.cuda.synchronize()
        except RuntimeError:
            return False
        return True


def elementwise(lab: Lab) -> list[Measurement]:
    """Let torch's own kernels compute value by value."""
    return lab.compare(lambda x: (x * x + 1).sqrt() + x.exp(), lab.normal(4096), bound="float32")


def matmul(dtype: str, bound: str) -> Callable[[Lab], list[Measurement]]:
    """Make a probe of cuBLAS."""
    return lambda lab: lab.compare(
        lambda a, b: a @ b, lab.normal(128, 256, dtype=dtype), lab.normal(256, 64, dtype=dtype), bound=bound
    )


def convolution(dtype: str, bound: str) -> Callable[[Lab], list[Measurement]]:
    """Make a probe of cuDNN."""
    return lambda lab: lab.compare(
        lambda x, weight: lab.torch.nn.functional.conv2d(x, weight, padding=1),
        lab.normal(2, 16, 24, 24, dtype=dtype),
        lab.normal(32, 16, 3, 3, dtype=dtype),
        bound=bound,
    )


def _attention(
    lab: Lab, attention: Callable[..., Any], dtype: str, bound: str, *, tokens_first: bool = False
) -> list[Measurement]:
    """Compare an attention of (batch, head, token, channel), or with tokens before heads, with torch's plain one."""
    shape = (1, 128, 4, 64) if tokens_first else (1, 4, 128, 64)

    def reference(*inputs: Any) -> Any:  # noqa: ANN401
        plain = lab.torch.nn.functional.scaled_dot_product_attention
        # Turned on this side, so that no kernel of torch's own takes part in the other.
        return plain(*(x.transpose(1, 2) for x in inputs)).transpose(1, 2) if tokens_first else plain(*inputs)

    return lab.compare(
        attention, *(lab.normal(*shape, dtype=dtype) for _ in range(3)), bound=bound, reference=reference
    )


def sdpa(back_end: str) -> Callable[[Lab], list[Measurement]]:
    """Make a probe of one back end of torch's attention; no other one may take over."""

    def run(lab: Lab) -> list[Measurement]:
        from torch.nn.attention import SDPBackend, sdpa_kernel

        attention = lab.torch.nn.functional.scaled_dot_product_attention

        def forced(*inputs: Any) -> Any:  # noqa: ANN401
            with sdpa_kernel(getattr(SDPBackend, back_end)):
                return attention(*inputs)

        return _attention(lab, forced, "float16", "float16")

    return run


def torch_compile(lab: Lab) -> list[Measurement]:
    """Let Inductor write Triton code, compile and run it."""
    compiled = lab.torch.compile(_to_compile, fullgraph=True)
    return lab.compare(compiled, lab.normal(64, 64), bound="float32", reference=_to_compile)


def _to_compile(x: Any) -> Any:  # noqa: ANN401
    return (x.cos() * 2 + x).sum(dim=1)


def triton_kernel(lab: Lab) -> list[Measurement]:
    """Let Triton compile and run a kernel of ours."""
    global tl  # noqa: PLW0603
    import triton
    import triton.language as tl

    kernel = triton.jit(_square_plus_one)

    def run(x: Any) -> Any:  # noqa: ANN401
        result = lab.torch.empty_like(x)
        kernel[(1,)](x, result, size=x.numel())
        return result

    return lab.compare(run, lab.normal(1024), bound="float32", reference=lambda x: x * x + 1)


# Triton evaluates annotations as a part of the kernel, where only its own names may be used; it leaves texts alone.
def _square_plus_one(source: "Any", target: "Any", size: tl.constexpr) -> None:  # noqa: ANN401, UP037
    offsets = tl.arange(0, size)
    values = tl.load(source + offsets)
    tl.store(target + offsets, values * values + 1)


def xformers(dtype: str, bound: str) -> Callable[[Lab], list[Measurement]]:
    """Make a probe of the attention that xformers picks by itself."""

    def run(lab: Lab) -> list[Measurement]:
        from xformers.ops import memory_efficient_attention

        return _attention(lab, memory_efficient_attention, dtype, bound, tokens_first=True)

    return run


def flash_attention(lab: Lab) -> list[Measurement]:
    """Call FlashAttention 2."""
    from flash_attn import flash_attn_func

    return _attention(lab, flash_attn_func, "float16", "float16", tokens_first=True)


def bitsandbytes_4bit(lab: Lab) -> list[Measurement]:
    """Quantise a weight to NF4 and back, and multiply with it."""
    import bitsandbytes

    weight, x = lab.normal(128, 256, dtype="float16"), lab.normal(1, 256, dtype="float16")
    quantised, state = bitsandbytes.functional.quantize_4bit(weight.to(lab.device), blocksize=64, quant_type="nf4")
    restored = bitsandbytes.functional.dequantize_4bit(quantised, state)
    product = bitsandbytes.matmul_4bit(x.to(lab.device), quantised.t(), quant_state=state)
    return [
        lab.measure(restored, weight.double(), "nf4"),
        # Against what it restored: the loss by quantising, which is no error, is in both.
        lab.measure(product, x.double() @ restored.cpu().double().T, "float16"),
    ]


#: In the order in which they run: what the later ones rest on comes first.
PROBES: tuple[Probe, ...] = (
    Probe("elementwise", "arithmetic value by value, float32", "torch", elementwise),
    Probe("matmul-fp32", "matrix product (cuBLAS), float32", "torch", matmul("float32", "float32 product")),
    Probe("matmul-bf16", "matrix product (cuBLAS), bfloat16", "torch", matmul("bfloat16", "bfloat16")),
    Probe("conv-fp32", "convolution (cuDNN), float32", "torch", convolution("float32", "float32 product")),
    Probe("conv-fp16", "convolution (cuDNN), float16", "torch", convolution("float16", "float16")),
    *(
        Probe(f"sdpa-{name}", f"torch's attention, {what}, float16", "torch", sdpa(back_end), one_of="sdpa")
        for name, what, back_end in (
            ("math", "plain", "MATH"),
            ("efficient", "memory-efficient", "EFFICIENT_ATTENTION"),
            ("flash", "FlashAttention", "FLASH_ATTENTION"),
            ("cudnn", "cuDNN", "CUDNN_ATTENTION"),
        )
    ),
    Probe("triton", "a kernel compiled by Triton", "triton", triton_kernel, "triton"),
    Probe("torch-compile", "a function compiled by torch.compile", "torch", torch_compile, "triton"),
    *(
        Probe(
            f"xformers-{name}", f"memory_efficient_attention, {dtype}", "xformers", xformers(dtype, bound), "xformers"
        )
        for name, dtype, bound in (("fp16", "float16", "float16"), ("fp32", "float32", "float32 product"))
    ),
    Probe("flash-attn", "flash_attn_func, float16", "flash_attn", flash_attention, "flash_attn"),
    Probe("bitsandbytes-4bit", "4-bit weights (NF4)", "bitsandbytes", bitsandbytes_4bit, "bitsandbytes"),
)


def open_cuda(index: int) -> Lab:
    """Import torch and initialise CUDA on a device.

    Raises:
        Unusable: one of them cannot be done.

    """
    try:
        import torch
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            raise Unusable("no-torch", "torch is not installed") from error
        raise Unusable("broken-torch", f"torch cannot be imported ({in_one_line(error)})") from error
    if getattr(torch.version, "hip", None):
        raise Unusable("no-cuda-build", f"torch {torch.__version__} is built for AMD's GPUs")
    if not torch.version.cuda:
        raise Unusable("no-cuda-build", f"torch {torch.__version__} is built without CUDA")
    try:
        available = torch.cuda.is_available()
        torch.cuda.set_device(index)
        torch.cuda.synchronize()
    except Exception as error:
        raise Unusable("no-cuda", f"CUDA cannot be initialised ({in_one_line(error)})") from error
    if not available:
        raise Unusable("no-cuda", "torch.cuda.is_available() says no")
    return Lab(torch, "cuda")


def main(
    arguments: Sequence[str],
    probes: Sequence[Probe] = PROBES,
    open_lab: Callable[[int], Any] = open_cuda,
) -> None:
    """Run probes and say how each went.

    Args:
        arguments: seconds for the start, seconds for each probe, the device's index, and the names of the probes to
            run, all if there are none.
        probes: the table of probes.
        open_lab: makes where they compute; it may raise `Unusable`.

    """
    start_limit, time_limit, index, *names = arguments
    channel = take_stdout()

    def say(event: str, **content: Any) -> None:  # noqa: ANN401
        channel.write(json.dumps({"event": event, **content}) + "\n")
        channel.flush()

    faulthandler.dump_traceback_later(float(start_limit) + _MARGIN, exit=True)
    try:
        lab = open_lab(int(index))
        about = lab.about()
    except Unusable as unusable:
        say("unusable", kind=unusable.kind, reason=unusable.reason)
        return
    planned = [probe for probe in probes if not names or probe.name in names]
    told = [{key: getattr(probe, key) for key in ("name", "what", "library", "one_of")} for probe in planned]
    say("ready", **about, probes=told)
    for probe in planned:
        faulthandler.dump_traceback_later(float(time_limit) + _MARGIN, exit=True)
        say("start", name=probe.name)
        result = attempt(probe, lab)
        say("result", name=probe.name, **result)
        if result["state"] == "wrong numbers" or (result["state"] == "fails" and not lab.healthy()):
            break


def take_stdout() -> TextIO:
    """Keep stdout for ourselves, and lead to stderr whatever else this process prints there, C++ code included."""
    sys.stdout.flush()
    # Open to the very end: the parent takes its closing for the end of this process.
    channel = os.fdopen(os.dup(1), "w", encoding="ascii", newline="\n", closefd=False)
    os.dup2(2, 1)
    channel.write("\n")  # a start-up file may have printed something without an end of line
    return channel


def attempt(probe: Probe, lab: Any) -> dict[str, Any]:  # noqa: ANN401
    """Run a probe and give its state, with the error or the measurement."""
    if not installed(probe.requires):
        return {"state": "not installed"}
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        # torch tells in warnings why a back end of its attention was not taken.
        warnings.simplefilter("always")
        try:
            lab.prepare(probe.name)
            worst = max(probe.run(lab), key=lambda measurement: measurement.error / measurement.bound)
            wrong = worst.error > worst.bound
            if wrong:
                lab.surface()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises is the result
            outcome: dict[str, Any] = {
                "state": "fails",
                "error": describe(error, [str(each.message) for each in caught]),
            }
        else:
            outcome = {
                "state": "wrong numbers" if wrong else "works",
                "largest_error": worst.error,
                "bound": worst.bound,
            }
    return {**outcome, "seconds": time.perf_counter() - began}


def installed(package: str) -> bool:
    """Tell whether a package can be found; a folder that an uninstalled one has left behind is none."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


def describe(error: BaseException, remarks: Sequence[str] = ()) -> dict[str, Any]:
    """Give the type of an error, its first line, its number if torch gives one, and all its text with the remarks."""
    text = str(error).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    # torch.compile's errors begin with "backend='inductor' raised:".
    end = next((number for number, line in enumerate(lines) if not line.endswith(":")), len(lines) - 1)
    return {
        "type": type(error).__name__,
        "message": " ".join(lines[: end + 1])[:_LONGEST_TEXT],
        "code": getattr(error, "error_code", None),
        "text": "\n".join([text, *remarks])[:_LONGEST_TEXT],
    }


def in_one_line(error: BaseException) -> str:
    """Give an error's type and first line."""
    told = describe(error)
    return f"{told['type']}: {told['message']}"


if __name__ == "__main__":
    # This file's folder, which Python puts first, would hide packages of the same names as the modules beside it.
    here = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 - pathlib may be hidden
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != here]
    main(sys.argv[1:])
