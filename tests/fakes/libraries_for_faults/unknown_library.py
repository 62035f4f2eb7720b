"""Stands for a library that the package knows nothing of."""

import torch


def asked(device=0):
    """Give what this library is told, by both roads."""
    properties = torch.cuda.get_device_properties(device)
    return torch.cuda.get_device_capability(device), (properties.major, properties.minor)
