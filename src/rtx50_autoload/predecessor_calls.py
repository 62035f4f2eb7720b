"""The predecessor's calls that patch and verify: `patch_torch`, `patch_pytorch_capability` and `verify_cuda`."""

from __future__ import annotations

from rtx50_autoload.activation import activate
from rtx50_autoload.capability import format_capability
from rtx50_autoload.printable import print_lines, printable

__all__ = ["patch_pytorch_capability", "patch_torch", "verify_cuda"]


def patch_torch() -> None:
    """See to it that the package is on in this process, as it is by itself unless it was switched off.

    torch may be imported before or after; it is not imported here. Who is told what, `status` says.
    """
    activate()


def patch_pytorch_capability() -> None:
    """Do what `patch_torch` does, under another name of the predecessor's."""
    patch_torch()


def verify_cuda() -> bool:
    """Compute something on the first GPU, and print its name, its true capability and what came of it.

    This imports torch and initialises CUDA in this process, as every use of the GPU does. No error is raised.

    Returns:
        True where the result is right. That torch finds a GPU is not enough: it may hold no code for it.

    """
    try:
        import torch  # noqa: PLC0415 - the caller asks for it, nobody else does

        if not torch.cuda.is_available():
            print_lines([f"torch {torch.__version__} finds no GPU that it can use. `rtx50-autoload doctor` says why."])
            return False
        # Who asks is this package, which is told the truth.
        capability = format_capability(torch.cuda.get_device_capability(0))
        print_lines([f"GPU: {printable(torch.cuda.get_device_name(0))}, compute capability {capability}"])
        result = (torch.arange(4, device="cuda:0") + 1).tolist()
    except Exception as error:  # noqa: BLE001 - torch's, CUDA's, or that of a library that cannot be loaded
        print_lines([f"{type(error).__name__}: {printable(str(error))}", "`rtx50-autoload doctor` says what mends it."])
        return False
    if result != [1, 2, 3, 4]:
        print_lines([f"It computes wrong numbers: {result} and not [1, 2, 3, 4]."])
        return False
    print_lines(["A computation on it gave the right result."])
    return True
