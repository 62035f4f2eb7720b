"""Reads a device's index from what a caller names it by."""

import torch
from torch._utils import _get_device_index as _torch_get_device_index


def _get_device_index(device, optional=False, allow_cpu=False):
    if isinstance(device, int):
        return device
    if isinstance(device, str):
        device = torch.device(device)
    if isinstance(device, torch.device):
        if allow_cpu:
            if device.type not in {"cuda", "cpu"}:
                raise ValueError(f"Expected a cuda or cpu device, but got: {device}")
        elif device.type != "cuda":
            raise ValueError(f"Expected a cuda device, but got: {device}")
    if isinstance(device, torch.cuda.device):
        return device.idx
    return _torch_get_device_index(device, optional, allow_cpu)
