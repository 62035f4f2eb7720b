"""What watching costs a call of a library's function while nothing fails, side by side with the function left alone.

Needs torch; where there is none, the stand-in of the tests has all that is asked for (tests/fakes on PYTHONPATH, and
RTX50_SIMULATE=12.0). The function stands for flash_attn's: as many parameters, and a body that does nothing, so that
all of the difference is ours. With RTX50_RESCUE=0 nothing is changed, so both columns are the same function.
"""

from __future__ import annotations

import statistics
import sys
import timeit
from types import ModuleType

import torch

import rtx50_autoload
from rtx50_autoload.activation import current

ROUNDS, CALLS = 15, 50_000
LIMIT = 0.5e-6
MODULE = "flash_attn.flash_attn_interface"
SOURCE = """
def flash_attn_func(
    q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, alibi_slopes=None,
    deterministic=False, return_attn_probs=False,
):
    return q
"""
CASES = {
    "by position": "function(q, q, q)",
    "by name": "function(q, q, q, dropout_p=0.0, softmax_scale=None, causal=True)",
}


def main() -> int:
    """Print a row for each way of calling; fail where the watched function costs more than the limit."""
    rtx50_autoload.activate()
    loader = current()
    if loader is None:
        print("the package is switched off here")
        return 1
    module = ModuleType(MODULE)
    exec(SOURCE, vars(module))  # noqa: S102 - the text above
    function = module.flash_attn_func
    sys.modules[MODULE] = module
    names = {"function": function, "q": object()}
    print(f"torch {torch.__version__}, Python {sys.version.split()[0]}, RTX50_RESCUE={loader.settings.rescue}")
    print(f"{'call':12} {'alone ns':>9} {'watched ns':>11} {'ratio':>6} {'added ns':>9}")
    worst = 0.0
    for name, statement in CASES.items():
        timer = timeit.Timer(statement, globals=names)
        rounds = []
        for _ in range(ROUNDS):
            loader.rescue.restore()
            alone = timer.timeit(CALLS) / CALLS
            loader.rescue.arrived(module)
            rounds.append((alone, timer.timeit(CALLS) / CALLS))
        alone, watched = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(watched / alone for alone, watched in rounds)
        worst = max(worst, watched - alone)
        print(f"{name:12} {alone * 1e9:9.0f} {watched * 1e9:11.0f} {ratio:6.2f} {(watched - alone) * 1e9:9.0f}")
    print(f"watched now: {', '.join(loader.rescue.watched) or 'nothing'}")
    return int(worst >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
