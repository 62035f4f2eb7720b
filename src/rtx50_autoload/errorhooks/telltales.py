"""Which errors are worth a diagnosis: what every other one is spared, told by its type and a few words of its text.

The classifier decides what an error means; here is decided that it is asked at all. So the words are broad, and the
test is cheap: it imports nothing, compiles nothing and looks at no more than the ends of a text.
"""

from __future__ import annotations

from typing import Final

__all__ = ["concerns"]

#: Types that never lead to a diagnosis, though a base of theirs may be looked into.
_NEVER: Final = (ConnectionError, FileExistsError, RecursionError)

#: Types that are looked into, with all that derive from them: NotImplementedError and torch.AcceleratorError are
#: RuntimeErrors, UnicodeError is a ValueError.
_LOOKED_INTO: Final = (
    ImportError,
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    AssertionError,
    AttributeError,
    NameError,
    SystemError,
)

#: The same for types of others, which are not imported for it, by the name of the class: subprocess, torch, Triton,
#: NCCL, CUTLASS, Numba, CuPy, TensorFlow, ONNX Runtime; and Python's Exception itself.
_LOOKED_INTO_BY_NAME: Final = frozenset(
    {
        "BackendCompilerFailed",
        "CalledProcessError",
        "CompilationError",
        "CompileException",
        "CUDADriverError",
        "CUDARuntimeError",
        "CudaAPIError",
        "CudaSupportError",
        "DeferredCudaCallError",
        "Exception",
        "InductorError",
        "InternalError",
        "LinkerError",
        "MissingCUDAException",
        "NVRTCError",
        "NvvmError",
        "NvvmSupportError",
        "OpError",
        "OutOfResources",
        "PTXASError",
        "RuntimeException",
        "TimeoutExpired",
        "ncclUnhandledCudaError",
    }
)

#: One of these stands, in small letters, in every text that is worth a diagnosis.
_WORDS: Final = (
    "cuda",
    "cublas",
    "cudnn",
    "cufft",
    "cusolver",
    "cusparse",
    "cutlass",
    "nccl",
    "nvrtc",
    "nvcc",
    "nvvm",
    "nvidia",
    "ninja",
    "ptx",
    "sm_",
    "sm8",
    "sm9",
    "sm1",
    "triton",
    "gpu",
    "torch",
    "xformers",
    "flash",
    "passmanager",
    "kernel",
    "capability",
    "architecture",
    "shared object",
    "shared memory",
    "undefined symbol",
    "glibc",
    "could not find module",
    "dll load failed",
    "winerror",
    ".dll",
    "numpy",
    "no operator",
    "operator ",
    "_opnamespace",
    "'_c'",
    "extension",
    "compil",
    "dynamo",
    "cannot install on python",
    "c++",
    "'cl'",
    "visual studio",
    "bitsandbytes",
    "8bit",
    "quantize",
    "bare_metal_version",
    "out of resource",
)

#: How much of a text is looked at, at each of its ends.
_LENGTH: Final = 4096


def concerns(error: BaseException) -> bool:
    """Tell whether an error may be one that the classifier knows."""
    if type(error).__name__ not in _LOOKED_INTO_BY_NAME and (
        not isinstance(error, _LOOKED_INTO) or isinstance(error, _NEVER)
    ):
        return False
    if isinstance(error, ModuleNotFoundError) and not _is_part_of_a_package(error.name or ""):
        return False
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - others write what stands behind it; without words there is nothing to diagnose
        return False
    if len(text) > 2 * _LENGTH:
        text = text[:_LENGTH] + text[-_LENGTH:]
    text = text.lower()
    return any(word in text for word in _WORDS)


def _is_part_of_a_package(module: str) -> bool:
    """Tell whether a missing module is one that an installed package should have: another is just not installed."""
    return "." in module or module.endswith("_cuda")
