"""Run by `demo` in an interpreter of its own: import torch, ask in the name of each caller, print JSON.

Like a user's program it imports torch first and knows nothing of this package; what the package says of itself is
asked only after the last answer.
"""

import json
import sys

# A module's code as the caller sees it: only its `__name__` tells who asks.
ASK = """
def ask():
    properties = torch.cuda.get_device_properties(0)
    return torch.cuda.get_device_capability(), (properties.major, properties.minor)
"""


def answers(callers: "list[str]") -> "dict[str, object]":
    """Ask torch in the name of each caller."""
    try:
        import torch
    except ImportError:
        return {"torch": None, "capability": {}, "properties": {}}
    seen = {}
    for caller in callers:
        module = {"__name__": caller, "torch": torch}
        exec(ASK, module)  # noqa: S102 - the text above
        try:
            seen[caller] = module["ask"]()
        except (AssertionError, RuntimeError):
            # Switched off, so that nothing is simulated, on a machine without a GPU.
            seen[caller] = (None, None)
    return {
        "torch": torch.__version__,
        "capability": {caller: seen[caller][0] for caller in callers},
        "properties": {caller: seen[caller][1] for caller in callers},
    }


def explain(result: "dict[str, object]", callers: "list[str]") -> "None":
    """Add what the package says: whether it is on, why each caller got its answer, or would without torch."""
    from rtx50_autoload.state import decisions_for, status

    state = status()
    decisions = decisions_for(callers)
    result.update(
        active=state["active"],
        reason=state["reason"],
        door=state["door"],
        reasons={caller: decision.reason for caller, (_, decision) in decisions.items()},
    )
    if result["torch"] is None:
        plan = {caller: decision.reported or true for caller, (true, decision) in decisions.items()}
        result.update(capability=plan, properties=plan)


if __name__ == "__main__":
    result = answers(sys.argv[1:])
    explain(result, sys.argv[1:])
    print(json.dumps(result))
