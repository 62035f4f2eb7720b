"""`torch.cuda`: device queries and lazy initialisation, in the shape and with the words of torch 2.13.0."""

import threading
import traceback
import warnings

import torch
import torch._C
from torch._utils import _dummy_type

from ._utils import _get_device_index

_initialized = False
_tls = threading.local()
_initialization_lock = threading.Lock()
_queued_calls = []
_is_in_bad_fork = getattr(torch._C, "_cuda_isInBadFork", lambda: False)
_cached_device_count = None

if hasattr(torch._C, "_CudaDeviceProperties"):
    _CudaDeviceProperties = torch._C._CudaDeviceProperties
else:
    _CudaDeviceProperties = _dummy_type("_CudaDeviceProperties")


class DeferredCudaCallError(Exception):
    """A call that was put off until CUDA is initialised has failed."""


AcceleratorError = torch._C.AcceleratorError
OutOfMemoryError = torch._C.OutOfMemoryError


class device:  # noqa: N801 - torch's name
    """Selects a device for a block; here it only knows its index."""

    def __init__(self, device) -> None:
        self.idx = _get_device_index(device, optional=True)


def _is_compiled():
    return hasattr(torch._C, "_cuda_getDeviceCount")


def is_available():
    return _is_compiled() and torch._C._cuda_getDeviceCount() > 0


def is_initialized():
    return _initialized and not _is_in_bad_fork()


def _lazy_call(callable, **kwargs):  # noqa: A002, ARG001
    with _initialization_lock:
        if is_initialized():
            callable()
        else:
            _queued_calls.append((callable, traceback.format_stack()))


def _check_capability():
    """Ask for every device's capability, as torch does when CUDA comes up; torch then warns of old devices."""
    for d in range(device_count()):
        get_device_capability(d)


def _check_cubins():
    incompatible_device_warn = """
{} with CUDA capability sm_{} is not compatible with the current PyTorch installation.
The current PyTorch install supports CUDA capabilities {}.
If you want to use the {} GPU with PyTorch, please check the instructions at https://pytorch.org/get-started/locally/
"""
    arch_list = get_arch_list()
    supported_sm = [int(arch.split("_")[1].rstrip("af")) for arch in arch_list if "sm_" in arch]
    for idx in range(device_count()):
        cap_major, cap_minor = get_device_capability(idx)
        if not any(sm // 10 == cap_major for sm in supported_sm):
            device_name = get_device_name(idx)
            warnings.warn(
                incompatible_device_warn.format(
                    device_name, cap_major * 10 + cap_minor, " ".join(arch_list), device_name
                ),
                stacklevel=2,
            )


_lazy_call(_check_capability)
_lazy_call(_check_cubins)


def init():
    _lazy_init()


def _lazy_init():
    global _initialized  # noqa: PLW0603
    if is_initialized() or hasattr(_tls, "is_initializing"):
        return
    with _initialization_lock:
        if is_initialized():
            return
        if _is_in_bad_fork():
            raise RuntimeError(
                "Cannot re-initialize CUDA in forked subprocess. To use CUDA with "
                "multiprocessing, you must use the 'spawn' start method"
            )
        if not hasattr(torch._C, "_cuda_getDeviceCount"):
            raise AssertionError("Torch not compiled with CUDA enabled")
        torch._C._cuda_init()
        _tls.is_initializing = True
        try:
            for queued_call, orig_traceback in _queued_calls:
                try:
                    queued_call()
                except Exception as e:
                    msg = (
                        f"CUDA call failed lazily at initialization with error: {e!s}\n\n"
                        f"CUDA call was originally invoked at:\n\n{''.join(orig_traceback)}"
                    )
                    raise DeferredCudaCallError(msg) from e
        finally:
            delattr(_tls, "is_initializing")
        _initialized = True


def set_device(device):
    device = _get_device_index(device)
    if device >= 0:
        torch._C._cuda_setDevice(device)


def get_device_name(device=None):
    return get_device_properties(device).name


def get_device_capability(device=None):
    prop = get_device_properties(device)
    return prop.major, prop.minor


def get_device_properties(device=None):
    _lazy_init()  # will define _get_device_properties
    device = _get_device_index(device, optional=True)
    if device < 0 or device >= device_count():
        raise AssertionError("Invalid device id")
    return _get_device_properties(device)  # noqa: F821


def device_count():
    global _cached_device_count  # noqa: PLW0603
    if not _is_compiled():
        return 0
    if _cached_device_count is not None:
        return _cached_device_count
    r = torch._C._cuda_getDeviceCount()
    if _initialized:
        _cached_device_count = r
    return r


def get_arch_list():
    if not _is_compiled():
        return []
    return torch._C._cuda_getArchFlags().split()


def current_device():
    _lazy_init()
    return torch._C._cuda_getDevice()
