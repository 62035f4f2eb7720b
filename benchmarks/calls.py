"""What a question costs: `torch.cuda.get_device_capability` with us and without us, in one process, side by side.

Needs a GPU that torch can use, and RTX50_MASQUERADE with its capability (RTX50_MASQUERADE=9.0:8.9 on a Hopper), so that
there is somebody to tell something. RTX50_SIMULATE would measure the simulation, too.
"""

from __future__ import annotations

import statistics
import sys
import timeit

import rtx50_autoload

ROUNDS, CALLS = 9, 10_000

CASES = {
    "get_device_capability()": "capability()",
    "get_device_capability(0)": "capability(0)",
    "get_device_properties(0).major": "properties(0).major",
}


def seconds(statement: str, caller: str) -> float:
    """Time one statement, run as code of the module `caller`."""
    import torch

    module = {
        "__name__": caller,
        "capability": torch.cuda.get_device_capability,
        "properties": torch.cuda.get_device_properties,
    }
    return timeit.Timer(statement, globals=module).timeit(CALLS) / CALLS


def main() -> int:
    """Print a row for each call and caller."""
    import torch

    if not torch.cuda.is_available():
        print("needs a GPU that torch can use")
        return 1
    torch.cuda.init()
    print(f"{torch.cuda.get_device_name(0)}, torch {torch.__version__}, Python {sys.version.split()[0]}")
    print(f"{'call':32} {'caller':12} {'stock us':>9} {'with us':>9} {'ratio':>6}")
    for name, statement in CASES.items():
        for caller in ("__main__", "xformers.ops"):
            rounds = []
            for _ in range(ROUNDS):
                rtx50_autoload.deactivate()
                stock = seconds(statement, caller)
                rtx50_autoload.activate()
                rounds.append((stock, seconds(statement, caller)))
            stock, ours = (statistics.median(column) * 1e6 for column in zip(*rounds, strict=True))
            ratio = statistics.median(ours / stock for stock, ours in rounds)
            print(f"{name:32} {caller:12} {stock:9.3f} {ours:9.3f} {ratio:6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
