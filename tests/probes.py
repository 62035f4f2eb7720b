"""Programs that the tests run in fresh interpreters, and what they print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subprocess import CompletedProcess

#: Defines `asks(name)`: what code of a module of this name is told, by each road.
ASKS = """
import json, sys

MODULE = '''
import torch
from torch.cuda import get_device_capability as bound_function, get_device_properties as bound_properties

def ask(device=0):
    properties = torch.cuda.get_device_properties(device)
    return {
        "function": torch.cuda.get_device_capability(device),
        "function, default device": torch.cuda.get_device_capability(),
        "properties": (properties.major, properties.minor),
        "bound function": bound_function(device),
        "bound properties": (bound_properties(device).major, bound_properties(device).minor),
    }
'''

def asks(name, device=0):
    module = {"__name__": name}
    exec(MODULE, module)
    return module["ask"](device)
"""

#: Prints what the modules named on the command line are told.
ASK_ALL = ASKS + "print(json.dumps({name: asks(name) for name in sys.argv[1:]}))\n"

#: Functions for torch.compile that ask by each road; called with 0 on a device of 12.0, each gives 1200.
ASKING_FUNCTIONS = """
import torch, rtx50_autoload
capability, properties = torch.cuda.get_device_capability, torch.cuda.get_device_properties

def by_attribute(x):
    return x + torch.cuda.get_device_capability()[0] * 100 + torch.cuda.get_device_capability(0)[1]

def by_properties(x):
    return x + torch.cuda.get_device_properties(0).major * 100 + torch.cuda.get_device_properties().minor

def by_reference(x):
    return x + capability(0)[0] * 100 + properties(0).minor
"""


def answers(result: CompletedProcess[str]) -> dict[str, set[tuple[int, int]]]:
    """Give the distinct answers of each caller: one if all roads agree."""
    told: dict[str, dict[str, Any]] = json.loads(result.stdout.splitlines()[-1])
    return {name: {tuple(value) for value in roads.values()} for name, roads in told.items()}
