"""Switches of libraries that are set beside the masquerade, and set back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .patch import AttributePatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = ["ADJUSTMENTS", "Adjustment"]


_LIMIT = "CUDA_MAXIMUM_COMPUTE_CAPABILITY"


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One switch.

    Attributes:
        module: whose execution makes the switch settable.
        what: what it does, for people.
        set: sets it and gives the function that sets it back.

    """

    module: str
    what: str
    set: Callable[[ModuleType], Callable[[], None]]


def _flash_attention_3_off(dispatch: Any) -> Callable[[], None]:  # noqa: ANN401 - a module with these two functions
    before = dispatch._get_use_fa3()
    dispatch._set_use_fa3(False)  # noqa: FBT003 - the parameter's name differs between versions

    def set_back() -> None:
        # What the program has switched on meanwhile is the program's.
        if dispatch._get_use_fa3() is False:
            dispatch._set_use_fa3(before)

    return set_back


def _cutlass_limit_lifted(cutlass: Any) -> Callable[[], None]:  # noqa: ANN401 - a module with these two classes
    # The backward class copies the limit when it is made, so both have one.
    patches = [
        AttributePatch(f"{cutlass.__name__}.{op.__name__}.{_LIMIT}", op, _LIMIT, None)
        for op in (cutlass.FwOp, cutlass.BwOp)
    ]
    for patch in patches:
        patch.apply()

    def set_back() -> None:
        for patch in patches:
            patch.restore()

    return set_back


#: By the names that `profiles.toml` uses.
ADJUSTMENTS = {
    "xformers-fa3-off": Adjustment(
        "xformers.ops.fmha.dispatch", "FlashAttention-3 off (_set_use_fa3(False))", _flash_attention_3_off
    ),
    # Beside telling 9.0, because code that torch.compile traces asks in torch's own name and is told the truth.
    "xformers-cutlass-limit-lifted": Adjustment(
        "xformers.ops.fmha.cutlass", f"cutlass attention without an upper limit ({_LIMIT})", _cutlass_limit_lifted
    ),
}
