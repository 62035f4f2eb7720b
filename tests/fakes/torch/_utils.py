"""The helpers that `torch.cuda` uses."""

import torch


def _get_device_index(device: object, optional: bool = False, allow_cpu: bool = False) -> int:
    if isinstance(device, str):
        device = torch.device(device)
    device_idx = None
    if isinstance(device, torch.device):
        if not allow_cpu and device.type == "cpu":
            raise ValueError(f"Expected a non cpu device, but got: {device}")
        device_idx = -1 if device.type == "cpu" else device.index
    if isinstance(device, int):
        device_idx = device
    if device_idx is None:
        if not optional:
            raise ValueError(f"Expected a torch.device with a specified index or an integer, but got:{device}")
        device_idx = torch.cuda.current_device() if torch.cuda.is_available() else None
    return device_idx


def _dummy_type(name: str) -> type:
    def get_err_fn(is_init: bool):
        def err_fn(obj, *args, **kwargs):  # noqa: ARG001
            class_name = obj.__class__.__name__ if is_init else obj.__name__
            raise RuntimeError(f"Tried to instantiate dummy base class {class_name}")

        return err_fn

    return type(name, (object,), {"__init__": get_err_fn(True), "__new__": get_err_fn(False)})
