"""`RTX50_SIMULATE`: torch answers for devices that are not there, or not these.

With a GPU that torch can use, its properties objects stay torch's own and only name and capability are other ones.
Without one, objects are made up that have a name and a capability and nothing else: what was never measured is not
invented. Whether CUDA is available stays as true as it was: nothing can run on a simulated device.
"""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from .patch import AttributePatch, CodePatch, PatchSet
from .torch_cuda import is_cuda_build

if TYPE_CHECKING:
    from collections.abc import Callable

    from rtx50_autoload.settings import SimulatedDevice

    from .tell import Teller

    # What the lent code below finds in torch.cuda.
    _rtx50_autoload_simulated: Callable[[Any], Any]

__all__ = ["simulate"]


def simulate(cuda: ModuleType, devices: tuple[SimulatedDevice, ...], teller: Teller, patches: PatchSet) -> None:
    """Make `torch.cuda.get_device_properties` answer for `devices`; the last one stands for all further ones."""
    simulation = _Simulation(cuda, devices, teller, patches)
    cls = cuda._CudaDeviceProperties
    patches.apply(AttributePatch("torch.cuda._CudaDeviceProperties.name", cls, "name", property(simulation.name)))
    patches.apply(
        CodePatch(
            "torch.cuda.get_device_properties",
            cuda,
            cuda.get_device_properties,
            get_device_properties,
            {"_rtx50_autoload_simulated": simulation.properties},
        )
    )


class _Simulation:
    def __init__(
        self, cuda: ModuleType, devices: tuple[SimulatedDevice, ...], teller: Teller, patches: PatchSet
    ) -> None:
        self._cuda = cuda
        self._devices = devices
        self._teller = teller
        self._patches = patches
        function = cuda.get_device_properties
        self._original = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__)
        self._true_name = vars(cuda._CudaDeviceProperties).get("name")
        self._names: dict[Any, str] = {}
        self._made: list[Any] = []

    def properties(self, device: Any) -> Any:  # noqa: ANN401
        # The caller asked for a device, which initialises CUDA in torch too: to ask whether there is one is no more.
        if self._cuda.is_available():
            properties = self._original(device)
            index = self._cuda._get_device_index(device, optional=True)
            self._note(properties, index)
            return properties
        index = self._index(device)
        if not 0 <= index < len(self._devices):
            raise AssertionError("Invalid device id")  # torch's own error and words
        return self._make()[index]

    def name(self, properties: Any) -> str:  # noqa: ANN401
        name = self._names.get(properties)
        return name if name is not None else self._true_name.__get__(properties)

    def _index(self, device: Any) -> int:  # noqa: ANN401
        if device is None:
            return 0
        if isinstance(device, int):
            return device
        torch_device = self._cuda.torch.device(device)
        if torch_device.type != "cuda":
            raise ValueError(f"Expected a cuda device, but got: {torch_device}")
        return torch_device.index or 0

    def _make(self) -> list[Any]:
        if not self._made:
            cls = self._cuda._CudaDeviceProperties
            if is_cuda_build(self._cuda):
                # A torch built for CUDA has a class of C++ there, which cannot be instantiated without a device.
                cls = type(cls.__name__, (), {name: vars(cls)[name] for name in ("name", "major", "minor")})
                self._patches.apply(
                    AttributePatch("torch.cuda._CudaDeviceProperties", self._cuda, "_CudaDeviceProperties", cls)
                )
            # The class that stands in for it in a CPU build refuses to be called, so it is not.
            self._made = [object.__new__(cls) for _ in self._devices]
            for index, properties in enumerate(self._made):
                self._note(properties, index)
        return self._made

    def _note(self, properties: Any, index: int) -> None:  # noqa: ANN401
        simulated = self._devices[min(index, len(self._devices) - 1)]
        self._names[properties] = simulated.name
        self._teller.remember(properties, simulated.capability)


# Lends its code to torch's function of the same name, so its globals are those of torch.cuda.
def get_device_properties(device: Any = None) -> Any:  # noqa: ANN401
    try:
        simulated = _rtx50_autoload_simulated
    except NameError:  # deactivated by another thread since this call began: the name means torch's own code again
        return get_device_properties(device)
    return simulated(device)
