"""A function of a library that is watched: when its stand-in answers, and that it is otherwise what it was.

Without torch: what stands for it here has what the watching asks for. With the real one: test_rescue_stepping_in.py.
"""

from __future__ import annotations

import inspect
import pickle
import sys
import threading
import traceback
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pytest

from rtx50_autoload.rescue.functions import Library
from rtx50_autoload.rescue.replacing import copy_of, patch_for
from rtx50_autoload.rescue.watched import Surroundings, Watched

MODULE = "library_of_the_tests"
STAND_INS = "stand_ins_of_the_tests"
NO_IMAGE = "CUDA error: no kernel image is available for execution on the device"
SOURCE = '''
def attend(q, k, v, scale=1.0, *, mode=None, newer=None):
    """Attend."""
    return compute(q, k, v, scale, mode)
'''


class Device(NamedTuple):
    type: str = "cuda"
    index: int = 0


@dataclass
class Tensor:
    dtype: str = "float16"
    device: Device = field(default_factory=Device)
    shape: tuple[int, ...] = (1, 16, 2, 64)
    requires_grad: bool = False
    is_cuda: bool = True

    @property
    def ndim(self) -> int:
        return len(self.shape)


class OutOfMemoryError(RuntimeError):
    """torch's."""


class Scene:
    """A watched function, the kernel behind it and what was told of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, foreseen: dict[tuple[int, object], str] | None = None) -> None:
        self.fails: Any = lambda _q: True
        self.error: Exception = RuntimeError(NO_IMAGE)
        self.cannot: Exception | None = None
        self.kernel_calls = 0
        self.capturing = self.compiling = False
        self.stepped_in: list[tuple[int, str]] = []
        self.refused: list[tuple[Exception, str]] = []
        self.module = ModuleType(MODULE)
        monkeypatch.setitem(sys.modules, MODULE, self.module)
        exec(SOURCE, vars(self.module))  # noqa: S102 - the text above
        vars(self.module)["compute"] = self.compute
        stand_ins: Any = ModuleType(STAND_INS)
        stand_ins.attend = self.stand_in()
        monkeypatch.setitem(sys.modules, STAND_INS, stand_ins)
        torch: Any = SimpleNamespace(
            Tensor=Tensor,
            OutOfMemoryError=OutOfMemoryError,
            is_grad_enabled=lambda: True,
            cuda=SimpleNamespace(is_current_stream_capturing=lambda: self.capturing, OutOfMemoryError=OutOfMemoryError),
            compiler=SimpleNamespace(is_dynamo_compiling=lambda: self.compiling),
        )
        library = Library("library", "library", MODULE, MODULE, STAND_INS, "", ("attend",), "nothing", broken=())
        self.function = self.module.attend
        self.code = self.function.__code__
        self.watched = Watched(
            library,
            "attend",
            self.function,
            copy_of(self.function),
            torch,
            Surroundings(
                lambda _index: (12, 0),
                lambda _watched, index, reason, _error: self.stepped_in.append((index, reason)),
                lambda error, why: self.refused.append((error, why)),
            ),
            foreseen or {},
        )
        self.patch = patch_for(self.module, self.watched)
        self.patch.apply()

    def compute(self, q, k, v, scale, mode):
        self.kernel_calls += 1
        if self.fails(q):
            raise self.error
        return "kernel", q, k, v, scale, mode

    def stand_in(self):
        def attend(q, k, v, scale=1.0, mode=None):
            if self.cannot is not None:
                raise self.cannot
            return "stand-in", q, k, v, scale, mode

        return attend

    def __call__(self, tensor: Tensor | None = None, **options):
        tensor = Tensor() if tensor is None else tensor
        return self.function(tensor, 2, 3, **options)[0]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_the_first_call_is_rescued_and_the_second_costs_no_exception(scene: Scene):
    assert scene() == "stand-in"
    tried = scene.kernel_calls
    assert scene() == "stand-in"
    assert scene.kernel_calls == tried
    assert scene.stepped_in == [(0, "its binary holds no code for this GPU")]
    assert scene.watched.calls == 2


def test_arguments_reach_the_stand_in_by_name_and_a_newer_one_only_where_it_is_used(scene: Scene):
    q = Tensor()
    assert scene.function(q, v=3, k=2, scale=0.5, mode="m") == ("stand-in", q, 2, 3, 0.5, "m")
    with pytest.raises(RuntimeError, match="no kernel image"):
        scene(newer=1)
    ((error, why),) = scene.refused
    assert error is scene.error
    assert "newer" in why


def test_a_kernel_that_works_is_still_used_for_the_calls_that_it_answers(scene: Scene):
    scene.fails = lambda q: q.dtype == "float32"
    calls = {"float16": "kernel", "float32": "stand-in"}
    assert {dtype: scene(Tensor(dtype)) for dtype in (*calls, *calls)} == calls


def test_another_gpu_of_the_machine_keeps_its_kernel(scene: Scene):
    scene.fails = lambda q: q.device.index == 1
    old, new = Tensor(device=Device(index=0)), Tensor(device=Device(index=1))
    assert [scene(tensor) for tensor in (new, old, new, old)] == ["stand-in", "kernel"] * 2
    assert scene.stepped_in == [(1, "its binary holds no code for this GPU")]


def test_each_reason_is_told_once(scene: Scene):
    scene(), scene(Tensor("bfloat16"))
    scene.error = RuntimeError("CUDA error: device kernel image is invalid")
    scene(Tensor("float32")), scene(Tensor("float64"))
    assert [reason for _, reason in scene.stepped_in] == [
        "its binary holds no code for this GPU",
        "its binary holds code that the driver cannot use on this GPU",
    ]


@pytest.mark.parametrize("error", [ValueError("shapes"), RuntimeError("CUDA error: illegal"), KeyboardInterrupt()])
def test_another_error_passes_untouched(scene: Scene, error: BaseException):
    error.__cause__ = OSError("before")
    scene.error = error  # type: ignore[assignment]
    with pytest.raises(type(error)) as caught:
        scene()
    assert caught.value is error
    assert isinstance(error.__cause__, OSError)
    assert (scene.stepped_in, scene.refused, scene.kernel_calls) == ([], [], 1)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 puts a frame back that was taken out")
def test_the_traceback_of_another_error_is_what_it_is_without_us(scene: Scene):
    def frames() -> list[tuple[str, str]]:
        try:
            scene.function(Tensor(), 2, 3)
        except ValueError as error:
            return [(frame.filename, frame.name) for frame in traceback.extract_tb(error.__traceback__)]
        raise AssertionError

    scene.error = ValueError("shapes")
    ours = frames()
    scene.patch.restore()
    scene.error = ValueError("shapes")
    assert ours == frames()


def test_what_cannot_be_rendered_raises_the_original_error(scene: Scene):
    scene.cannot = NotImplementedError("torch has no such mask")
    for _ in range(2):
        with pytest.raises(RuntimeError) as caught:
            scene()
        assert caught.value is scene.error
    assert scene.refused == [(scene.error, "torch has no such mask")] * 2
    assert scene.stepped_in == []


def test_where_the_stand_in_answers_a_call_that_is_wrong_raises_the_librarys_own_error(scene: Scene):
    scene()
    scene.cannot = RuntimeError("the stand-in's words")
    scene.error = ValueError("the library's words")
    with pytest.raises(ValueError, match="the library's words"):
        scene()
    assert scene.refused == []


def test_a_stand_in_that_runs_out_of_memory_says_so(scene: Scene):
    scene.cannot = OutOfMemoryError("CUDA out of memory")
    for _ in range(2):
        with pytest.raises(OutOfMemoryError):
            scene()


def test_an_error_that_somebody_else_has_left_behind_is_not_swallowed(scene: Scene):
    # CUDA reports an unchecked launch at the next call that asks; asked again, this one's own kernel runs.
    scene.fails = lambda _q: scene.kernel_calls == 1
    with pytest.raises(RuntimeError) as caught:
        scene()
    assert caught.value is scene.error
    assert scene() == "kernel"
    assert scene.stepped_in == []


def test_while_a_cuda_graph_is_captured_the_error_stands_and_says_what_to_do(scene: Scene):
    scene.capturing = True
    with pytest.raises(RuntimeError, match="no kernel image"):
        scene()
    assert scene.kernel_calls == 1
    assert "call the function once before" in scene.refused[0][1]
    scene.capturing = False
    scene()
    scene.capturing = True
    assert scene() == "stand-in"


def test_a_kernel_that_would_end_the_process_is_not_tried(monkeypatch: pytest.MonkeyPatch):
    scene = Scene(monkeypatch, {(0, "float16"): "it is known to fail here"})
    scene.fails = lambda _q: False
    assert [scene(), scene(), scene(Tensor("float32"))] == ["stand-in", "stand-in", "kernel"]
    assert scene.kernel_calls == 1
    assert scene.stepped_in == [(0, "it is known to fail here")]


def test_a_call_without_a_tensor_is_none_of_ours(scene: Scene):
    scene.fails = lambda _q: True
    with pytest.raises(RuntimeError, match="no kernel image"):
        scene.function(1, 2, 3)
    assert scene.stepped_in == []


def test_threads_that_fail_at_once_are_all_answered_and_told_of_once(scene: Scene):
    barrier, answers = threading.Barrier(8), []

    def run() -> None:
        barrier.wait(timeout=30)
        answers.extend(scene() for _ in range(50))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert answers == ["stand-in"] * 400
    assert len(scene.stepped_in) == 1


def test_a_fault_of_ours_leaves_the_librarys_error(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    faults = []
    monkeypatch.setattr("_rtx50_autoload_importlib_bootstrap.record", faults.append)
    monkeypatch.setattr(scene.watched, "_failure", None)
    with pytest.raises(RuntimeError) as caught:
        scene()
    assert caught.value is scene.error
    assert isinstance(faults[0], TypeError)


def test_the_function_is_the_same_object_with_the_same_signature_and_source(scene: Scene):
    assert scene.module.attend is scene.function
    assert str(inspect.signature(scene.function)) == "(q, k, v, scale=1.0, *, mode=None, newer=None)"
    assert (scene.function.__doc__, scene.function.__name__, scene.function.__qualname__) == (
        "Attend.",
        "attend",
        "attend",
    )
    assert scene.function.__code__.co_firstlineno == scene.code.co_firstlineno
    assert pickle.loads(pickle.dumps(scene.function)) is scene.function  # noqa: S301 - our own
    with pytest.raises(TypeError, match=r"attend\(\) got an unexpected keyword argument 'wrong'"):
        scene.function(1, 2, 3, wrong=1)
    with pytest.raises(TypeError, match=r"attend\(\) missing 1 required positional argument: 'v'"):
        scene.function(1, 2)


def test_on_the_way_back_the_code_is_the_very_same_object(scene: Scene):
    assert scene.function.__code__ is not scene.code
    scene.patch.restore()
    assert scene.function.__code__ is scene.code
    assert not [name for name in vars(scene.module) if "rtx50" in name]
    with pytest.raises(RuntimeError, match="no kernel image"):
        scene()


def test_a_call_that_has_begun_before_the_way_back_ends_well(scene: Scene):
    scene.fails = lambda _q: False
    template = scene.function.__code__
    scene.patch.restore()
    begun = copy_of(scene.function)
    begun.__code__ = template
    assert begun(Tensor(), 2, 3)[0] == "kernel"


@pytest.mark.parametrize("source", ["def attend(*args): pass", "def attend(q, /): pass", "attend = len"])
def test_a_function_whose_arguments_have_no_names_is_left_alone(scene: Scene, source: str):
    exec(source, vars(scene.module))  # noqa: S102 - the texts above
    with pytest.raises(TypeError):
        patch_for(scene.module, scene.watched)
