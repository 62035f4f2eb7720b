"""All targets, by name."""

from __future__ import annotations

import binary_targets
import file_targets
import machine_targets
import script_targets
import text_targets

__all__ = ["TARGETS"]

TARGETS = {
    target.name: target
    for module in (binary_targets, text_targets, script_targets, file_targets, machine_targets)
    for target in module.TARGETS
}
