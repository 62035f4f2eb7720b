"""Stands for xformers 0.0.35: what it asks torch for, its switches, and an attention function without an attention."""

import torch


def asked(device=0):
    """Give what this library is told, by both roads."""
    properties = torch.cuda.get_device_properties(device)
    return torch.cuda.get_device_capability(device), (properties.major, properties.minor)
