"""The import hook in a fresh interpreter: what a program can notice of it, and what the handler hears.

The hook is generic, so the modules here are the tests' own: `target` is watched, `handler` is told.
"""

from __future__ import annotations

import dataclasses
import sys
import textwrap
import zipfile
from typing import TYPE_CHECKING, Protocol

import pytest

import rig

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from subprocess import CompletedProcess

HANDLER = """
events = []

def module_loaded(module):
    events.append(("loaded", module.__name__))

def module_failed(module, error):
    events.append(("failed", module.__name__, error))

def torch_ready():
    events.append(("ready",))
"""

PREAMBLE = f"""
import importlib, importlib.machinery, importlib.util, sys
import {rig.HOOK} as hook
hook.handler = "handler"
hook.watched = frozenset({{watched!r}})
from handler import events
fires = lambda: [event[:2] for event in events]
marked = lambda loader: "exec_module" in vars(loader)
"""


class Child(Protocol):
    """What the fixture `child` gives."""

    def __call__(
        self, code: str, *, watched: Iterable[str] = ("target",), faults: bool = False, check: bool = True
    ) -> CompletedProcess[str]:
        """Run code where the hook watches `watched`; faults of the hook fail it unless they are expected."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that children run in, with the modules that they import."""
    (tmp_path / "handler.py").write_text(HANDLER)
    (tmp_path / "target.py").write_text("value = 1\n")
    return tmp_path


@pytest.fixture
def child(installed: rig.Venv, folder: Path) -> Child:
    def run(code, *, watched=("target",), faults=False, check=True, env=None):
        source = PREAMBLE.format(watched=tuple(watched)) + textwrap.dedent(code)
        if not faults:
            source += "\nassert hook.faults == [], hook.faults\n"
        return installed.run_code(source, cwd=folder, check=check, env=env, timeout=60)

    return run


def write_zip(folder: Path, **sources: str) -> None:
    with zipfile.ZipFile(folder / "lib.zip", "w") as archive:
        for name, source in sources.items():
            archive.writestr(f"{name}.py", source)


def test_a_watched_import_tells_the_handler_once(child: Child):
    child("""
        import target
        import target
        assert fires() == [("loaded", "target")], events
    """)


def test_an_unwatched_import_tells_nobody(child: Child, folder: Path):
    (folder / "other.py").write_text("")
    child("""
        import other
        assert events == [] and not marked(other.__spec__.loader)
    """)


def test_looking_for_a_module_neither_imports_it_nor_tells_anybody(child: Child):
    child("""
        assert importlib.util.find_spec("target").name == "target"
        assert "target" not in sys.modules and events == []
    """)


def test_looking_for_a_submodule_tells_only_of_the_parent(child: Child, folder: Path):
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "part.py").write_text("")
    child(
        """
        importlib.util.find_spec("package.part")
        assert fires() == [("loaded", "package")], events
        import package.part
        assert fires() == [("loaded", "package"), ("loaded", "package.part")], events
        """,
        watched=("package", "package.part"),
    )


def test_a_module_that_is_not_there_is_not_found_in_the_usual_words(child: Child):
    child(
        """
        assert importlib.util.find_spec("absent") is None
        try:
            import absent
        except ModuleNotFoundError as error:
            assert (str(error), error.name, error.path) == ("No module named 'absent'", "absent", None)
        else:
            raise SystemExit("found")
        assert events == []
        """,
        watched=("absent",),
    )


def test_the_type_and_the_abilities_of_the_loader_are_its_own(child: Child):
    child("""
        import inspect
        from importlib.machinery import SourceFileLoader
        loader = importlib.util.find_spec("target").loader
        assert type(loader) is SourceFileLoader
        assert loader.get_source("target") == "value = 1\\n"
        assert loader.get_code("target").co_filename == loader.get_filename("target")
        assert loader.get_data(loader.path) == b"value = 1\\n" and not loader.is_package("target")
        import target
        assert target.__loader__ is target.__spec__.loader and inspect.getsource(target) == "value = 1\\n"
    """)


def test_resources_are_read_before_and_after_the_import(child: Child, folder: Path):
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "data.txt").write_text("data")
    child(
        """
        import importlib.resources, pkgutil
        reader = importlib.util.find_spec("package").loader.get_resource_reader("package")
        assert "data.txt" in list(reader.contents())
        assert pkgutil.get_data("package", "data.txt") == b"data"
        assert (importlib.resources.files("package") / "data.txt").read_text() == "data"
        assert fires() == [("loaded", "package")], events
        """,
        watched=("package",),
    )


def test_a_module_runs_as_a_program_as_it_always_did(installed: rig.Venv, folder: Path):
    (folder / "sitecustomize.py").write_text(f"import {rig.HOOK} as h; h.watched, h.handler = {{'target'}}, 'handler'")
    (folder / "target.py").write_text("print(__name__, __spec__.name)")
    result = installed.run("-m", "target", cwd=folder, env={"PYTHONPATH": str(folder)}, check=True)
    assert (result.stdout, result.stderr) == ("__main__ target\n", "")


def test_nothing_of_ours_stays_on_the_loader(child: Child):
    child("""
        import target
        spec = target.__spec__
        hook.uninstall()
        del sys.modules["target"]
        import target
        assert vars(spec.loader) == vars(target.__spec__.loader), vars(spec.loader)
    """)


def test_each_reload_tells_once_more(child: Child):
    child("""
        import target
        for count in (2, 3, 4):
            importlib.reload(target)
            assert fires() == [("loaded", "target")] * count, events
            assert not marked(target.__spec__.loader)
    """)


def test_each_new_import_tells_once_more(child: Child):
    child("""
        for count in (1, 2, 3):
            sys.modules.pop("target", None)
            import target
            assert fires() == [("loaded", "target")] * count, events
    """)


def test_a_spec_that_was_found_twice_tells_once_for_each_execution(child: Child):
    child("""
        first, second = importlib.util.find_spec("target"), importlib.util.find_spec("target")
        for count, spec in enumerate((first, second, first), 1):
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
            assert len(events) == min(count, 2) and not marked(spec.loader), events
    """)


def test_a_module_made_by_hand_is_run_by_its_loader(child: Child):
    child("""
        import types
        module = types.ModuleType("target")
        importlib.util.find_spec("target").loader.exec_module(module)
        assert module.value == 1 and module.__spec__ is None and fires() == [("loaded", "target")]
    """)


def test_a_failing_module_is_reported_with_the_very_error_that_the_program_gets(child: Child, folder: Path):
    (folder / "target.py").write_text("import builtins\nraise builtins.error\n")
    child("""
        import builtins
        class Odd(ImportError):
            def __init__(self, one, two):
                super().__init__(one, two, name="libodd", path="/odd")
        builtins.error = Odd("one", 2)
        try:
            import target
        except Odd as caught:
            assert caught is builtins.error and caught.args == ("one", 2)
            assert (caught.name, caught.path, caught.__cause__, caught.__context__) == ("libodd", "/odd", None, None)
            assert not getattr(caught, "__notes__", [])
        else:
            raise SystemExit("no error")
        assert "target" not in sys.modules
        ((event, name, error),) = events
        assert (event, name) == ("failed", "target") and error is builtins.error
    """)


@pytest.mark.parametrize(
    "source",
    ["1 / 0", "import not_there", "import inner", "def f(:", "raise ImportError('x', name='y')", "raise SystemExit(3)"],
)
def test_the_traceback_of_a_failing_module_is_the_usual_one(child: Child, folder: Path, source: str):
    # On 3.10 a re-raised error gets its stored traceback back, and importlib's own frames, which Python leaves out only
    # where nothing stands between them, show too. They are extra frames; the others have to be there in order.
    (folder / "target.py").write_text(source)
    (folder / "inner.py").write_text("def deep():\n    raise RuntimeError('deep')\n\ndeep()\n")
    child("""
        import traceback
        def attempt():
            for name in ("target", "inner"):
                sys.modules.pop(name, None)
            try:
                import target
            except BaseException as error:
                frames = traceback.extract_tb(error.__traceback__)
                if sys.version_info < (3, 11):
                    frames = [frame for frame in frames if "importlib" not in frame.filename]
                return [tuple(frame)[:4] for frame in frames], traceback.format_exception_only(type(error), error)
        with_hook = attempt()
        assert len(events) == (0 if "SystemExit" in with_hook[1][0] else 1), events
        hook.uninstall()
        assert with_hook == attempt(), (with_hook, attempt())
    """)


def test_a_warning_of_a_module_names_the_line_that_imports_it(child: Child, folder: Path):
    (folder / "target.py").write_text("import warnings\nwarnings.warn('old', stacklevel=2)\n")
    (folder / "importer.py").write_text("import target\n")
    result = child("import importer")
    assert "importer.py:1: UserWarning: old" in result.stderr, rig.describe(result)


@pytest.mark.parametrize("error", ["SystemExit(7)", "KeyboardInterrupt()", "GeneratorExit()"])
def test_a_wish_to_end_is_no_failure_of_the_module(child: Child, folder: Path, error: str):
    (folder / "target.py").write_text(f"raise {error}")
    child(f"""
        try:
            import target
        except BaseException as caught:
            assert type(caught).__name__ == {error!r}.partition("(")[0]
        else:
            raise SystemExit("no error")
        assert events == []
        spec = importlib.util.find_spec("target")
        assert spec is not None
    """)


def test_a_failing_import_succeeds_later_and_is_told_then(child: Child):
    child("""
        import pathlib
        pathlib.Path("target.py").write_text("1 / 0  # longer, so that no byte code of the other one is taken for it")
        importlib.invalidate_caches()
        try:
            import target
        except ZeroDivisionError:
            pass
        pathlib.Path("target.py").write_text("")
        importlib.invalidate_caches()
        import target
        assert [event[0] for event in events] == ["failed", "loaded"], events
    """)


def test_a_module_in_a_zip_is_watched_and_its_sibling_is_left_alone(child: Child, folder: Path):
    (folder / "target.py").unlink()
    write_zip(folder, target="value = 2", sibling="value = 3")
    child("""
        sys.path.insert(0, "lib.zip")
        from zipimport import zipimporter
        spec = importlib.util.find_spec("target")
        assert type(spec.loader) is zipimporter
        import sibling
        assert sibling.value == 3 and events == [] and not marked(sibling.__spec__.loader)
        import target
        assert target.value == 2 and fires() == [("loaded", "target")]
        assert not marked(target.__spec__.loader) and not marked(sibling.__spec__.loader)
        assert target.__spec__.loader.get_source("target") == "value = 2"
    """)


def test_two_modules_of_one_zip_are_told_when_two_threads_import_them(child: Child, folder: Path):
    write_zip(folder, left="import time; time.sleep(.2)", right="import time; time.sleep(.2)", sibling="")
    child(
        """
        import threading
        sys.path.insert(0, "lib.zip")
        start = threading.Barrier(3)
        def run(name):
            start.wait()
            importlib.import_module(name)
        threads = [threading.Thread(target=run, args=(name,)) for name in ("left", "right", "sibling")]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert sorted(fires()) == [("loaded", "left"), ("loaded", "right")], events
        assert not any(marked(sys.modules[name].__spec__.loader) for name in ("left", "right", "sibling"))
        """,
        watched=("left", "right"),
    )


def test_an_extension_module_is_watched(child: Child):
    result = child(
        """
        from importlib.machinery import ExtensionFileLoader
        for name in hook.watched:
            spec = None if name in sys.modules else importlib.util.find_spec(name)
            if spec is not None and isinstance(spec.loader, ExtensionFileLoader):
                module = importlib.import_module(name)
                assert fires() == [("loaded", name)] and not marked(module.__spec__.loader)
                print("done")
                break
        """,
        watched=("_queue", "_csv", "_lsprof", "_elementtree", "_testcapi"),
    )
    if not result.stdout:
        pytest.skip("this Python has no extension module in a file of its own")


def test_a_built_in_module_is_imported_and_its_loader_class_left_alone(child: Child):
    child(
        """
        from importlib.machinery import BuiltinImporter, FrozenImporter
        before = [dict(vars(cls)) for cls in (BuiltinImporter, FrozenImporter)]
        import __hello__ as frozen, _symtable as builtin
        assert before == [dict(vars(cls)) for cls in (BuiltinImporter, FrozenImporter)]
        """,
        watched=("__hello__", "_symtable"),
    )


def test_a_namespace_package_is_imported_without_being_told(child: Child, folder: Path):
    (folder / "space").mkdir()
    (folder / "space" / "part.py").write_text("")
    child(
        """
        import space.part
        assert space.__spec__.submodule_search_locations and fires() == [("loaded", "space.part")], events
        """,
        watched=("space", "space.part"),
    )


@pytest.mark.parametrize("in_zip", [False, True])
def test_a_lazy_module_is_told_when_it_is_first_used_even_if_it_was_looked_for_meanwhile(
    child: Child, folder: Path, in_zip: bool
):
    if in_zip:
        (folder / "target.py").unlink()
        write_zip(folder, target="value = 1", sibling="")
    child("""
        sys.path.insert(0, "lib.zip")
        spec = importlib.util.find_spec("target")
        lazy = importlib.util.LazyLoader(spec.loader)
        spec.loader = lazy
        module = importlib.util.module_from_spec(spec)
        sys.modules["target"] = module
        lazy.exec_module(module)
        assert hook.find_spec("target") is not None
        assert events == []
        assert module.value == 1 and fires() == [("loaded", "target")], events
        assert not marked(module.__spec__.loader)
    """)


@pytest.mark.parametrize("in_zip", [False, True])
def test_a_finder_that_makes_imports_lazy_keeps_them_lazy(child: Child, folder: Path, in_zip: bool):
    if in_zip:
        (folder / "target.py").unlink()
        write_zip(folder, target="value = 1", sibling="")
    child(
        """
        sys.path.insert(0, "lib.zip")
        class Lazy:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name == "target":
                    spec = importlib.machinery.PathFinder.find_spec(name, path, target)
                    spec.loader = importlib.util.LazyLoader(spec.loader)
                    return spec
        sys.meta_path.insert(sys.meta_path.index(hook) + 1, Lazy)
        import target
        assert events == []
        if in_zip:
            import sibling
            assert events == [] and not marked(sibling.__spec__.loader)
        assert target.value == 1 and fires() == [("loaded", "target")], events
    """.replace("if in_zip", f"if {in_zip}")
    )


def test_thirty_two_threads_that_import_at_once_are_told_of_once(child: Child, folder: Path):
    (folder / "target.py").write_text("import time; time.sleep(.1); value = 1")
    child("""
        import threading
        start, values = threading.Barrier(32), []
        def run():
            start.wait()
            import target
            values.append(target.value)
        threads = [threading.Thread(target=run) for _ in range(32)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert values == [1] * 32 and fires() == [("loaded", "target")], (values, events)
    """)


def test_a_subinterpreter_has_a_hook_of_its_own(installed: rig.Venv, folder: Path):
    # The counter of lines is an extension module that not every subinterpreter may load.
    venv = dataclasses.replace(installed, coverage=False)
    inner = PREAMBLE.format(watched=("target",)) + textwrap.dedent("""
        import target
        open("result", "w").write(repr((fires(), hook.faults, sys.meta_path.count(hook))))
    """)
    venv.run_code(
        f"""
        import sys
        sys.path.insert(0, "")
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        interpreter = interpreters.create()
        failure = interpreters.run_string(interpreter, {("import sys; sys.path.insert(0, '')" + inner)!r})
        assert not failure, failure
        interpreters.destroy(interpreter)
        assert "target" not in sys.modules
        """,
        cwd=folder,
    )
    assert (folder / "result").read_text() == repr(([("loaded", "target")], [], 1))


PROXIES = {
    # Takes itself away before the module runs, as wrapt's does.
    "restores itself": """
        class Proxy:
            def __init__(self, wrapped): self.__wrapped__ = wrapped
            def __getattr__(self, name): return getattr(self.__wrapped__, name)
            def exec_module(self, module):
                module.__spec__.loader = module.__loader__ = self.__wrapped__
                self.__wrapped__.exec_module(module)
                seen.append(module.__name__)
    """,
    # Has the loader's attributes, puts back `__loader__` and leaves `__spec__.loader`, as ddtrace's does.
    "stays on the spec": """
        class Proxy:
            def __init__(self, loader): self.loader = loader
            def __getattr__(self, name): return getattr(self.loader, name)
            def exec_module(self, module):
                module.__loader__ = self.loader
                self.loader.exec_module(module)
                seen.append(module.__name__)
    """,
    "hides the loader": """
        class Proxy:
            __slots__ = ("_hidden", "__dict__")
            def __init__(self, loader): self._hidden = loader
            def create_module(self, spec): return self._hidden.create_module(spec)
            def exec_module(self, module):
                self._hidden.exec_module(module)
                seen.append(module.__name__)
    """,
    "leads back to itself": """
        class Proxy:
            def __init__(self, loader): self._hidden = loader
            loader = property(lambda self: self)
            def create_module(self, spec): return self._hidden.create_module(spec)
            def exec_module(self, module):
                self._hidden.exec_module(module)
                seen.append(module.__name__)
    """,
    "has every attribute": """
        class Proxy:
            def __init__(self, loader): vars(self)["_hidden"] = loader
            def __getattr__(self, name): return Proxy(self._hidden)
            def create_module(self, spec): return self._hidden.create_module(spec)
            def exec_module(self, module):
                self._hidden.exec_module(module)
                seen.append(module.__name__)
    """,
}


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("proxy", PROXIES)
def test_another_tools_proxy_around_the_loader_works_and_so_do_we(child: Child, proxy: str, place: str):
    child(
        "seen = []"
        + textwrap.dedent(PROXIES[proxy])
        + textwrap.dedent(f"""
        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name == "target":
                    for finder in sys.meta_path[sys.meta_path.index(self) + 1:]:
                        spec = finder.find_spec(name, path, target)
                        if spec:
                            spec.loader = Proxy(spec.loader)
                            return spec
        sys.meta_path.insert(sys.meta_path.index(hook) + {int(place == "after")}, Finder())
        for count in (1, 2):
            sys.modules.pop("target", None)
            import target
            assert target.value == 1 and seen == ["target"] * count, seen
            assert fires() == [("loaded", "target")] * count, events
        # An older spec whose loader has run, or never runs, does not matter.
        importlib.util.find_spec("target")
        importlib.reload(target)
        assert fires() == [("loaded", "target")] * 3 and len(seen) == 3, events
        """)
    )


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("undone", [False, True])
def test_another_tools_change_of_the_same_loader_works_and_so_do_we(child: Child, place: str, undone: bool):
    child(f"""
        seen = []
        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name == "target":
                    for finder in sys.meta_path[sys.meta_path.index(self) + 1:]:
                        spec = finder.find_spec(name, path, target)
                        if spec:
                            loader, old = spec.loader, spec.loader.exec_module
                            def exec_module(module):
                                old(module)
                                seen.append(module.__name__)
                                if {undone}: del loader.exec_module
                            loader.exec_module = exec_module
                            return spec
        sys.meta_path.insert(sys.meta_path.index(hook) + {int(place == "after")}, Finder())
        import target
        assert target.value == 1 and seen == ["target"] and fires() == [("loaded", "target")], (seen, events)
        loader = target.__spec__.loader
        import {rig.WATCHING} as watching
        assert vars(loader).get("exec_module") is not watching.exec_module and watching._BEFORE_US not in vars(loader)
        assert marked(loader) is not {undone}
    """)


def test_a_loader_whose_methods_are_its_own_attributes_is_run(child: Child):
    child("""
        from importlib.machinery import ModuleSpec
        from types import SimpleNamespace
        run = lambda module: setattr(module, "value", 5)
        loader = SimpleNamespace(create_module=lambda spec: None, exec_module=run)
        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                return ModuleSpec(name, loader) if name == "target" else None
        sys.meta_path.insert(1, Finder)
        for count in (1, 2):
            import target
            assert target.value == 5 and fires() == [("loaded", "target")] * count, events
            assert loader.exec_module is run and set(vars(loader)) == {"create_module", "exec_module"}
            del sys.modules["target"]
    """)


def test_the_other_modules_of_a_loader_that_serves_several_are_not_told(child: Child):
    child("""
        from importlib.machinery import ModuleSpec
        class Both:
            def find_spec(self, name, path=None, target=None):
                return ModuleSpec(name, self) if name in ("target", "other") else None
            def create_module(self, spec): return None
            def exec_module(self, module): module.value = 6
        sys.meta_path.insert(1, Both())
        importlib.util.find_spec("target")
        import other
        assert other.value == 6 and events == [], events
        import target
        assert target.value == 6 and fires() == [("loaded", "target")] and not marked(target.__spec__.loader)
    """)


def test_a_loader_that_takes_no_attribute_is_run_untold(child: Child):
    child(
        """
        from importlib.machinery import ModuleSpec
        class Slotted:
            __slots__ = ()
            def create_module(self, spec): return None
            def exec_module(self, module): module.value = 8
        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                return ModuleSpec(name, Slotted()) if name == "target" else None
        sys.meta_path.insert(1, Finder)
        import target
        assert target.value == 8 and events == []
        assert [type(fault) for fault in hook.faults] == [AttributeError], hook.faults
        """,
        faults=True,
    )


def test_a_spec_can_be_pickled_and_copied(child: Child):
    child("""
        import copy, pickle
        spec = importlib.util.find_spec("target")
        for other in (pickle.loads(pickle.dumps(spec)), copy.deepcopy(spec)):
            assert other == spec and type(other.loader) is type(spec.loader)
    """)


def test_equal_specs_stay_equal(child: Child):
    child("""
        assert importlib.util.find_spec("target") == importlib.util.find_spec("target")
        import target
        hook.uninstall()
        assert importlib.machinery.PathFinder.find_spec("target") == target.__spec__
    """)


def test_a_finder_of_the_old_protocol_has_its_say_as_without_us(child: Child):
    child("""
        import types, warnings
        warnings.simplefilter("ignore")
        class Loader:
            def load_module(self, name):
                module = sys.modules[name] = types.ModuleType(name)
                module.__loader__, module.value = self, "old"
                return module
        class Old:
            def find_module(self, name, path=None):
                return Loader() if name == "target" else None
        sys.meta_path.insert(1, Old())
        import target
        with_hook = target.value
        hook.uninstall()
        del sys.modules["target"]
        import target
        assert with_hook == target.value == ("old" if sys.version_info < (3, 12) else 1), (with_hook, target.value)
    """)


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_error_of_a_finder_reaches_the_program(child: Child, place: str):
    child(f"""
        error = OSError("the network is down")
        class Broken:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name == "target": raise error
        sys.meta_path.insert(sys.meta_path.index(hook) + {int(place == "after")}, Broken)
        try:
            import target
        except OSError as caught:
            assert caught is error
        else:
            raise SystemExit("no error")
        assert events == []
    """)


@pytest.mark.parametrize("name", ["target", "unwatched", "absent"])
def test_every_other_finder_is_asked_in_turn_with_what_it_would_have_got(child: Child, folder: Path, name: str):
    (folder / "unwatched.py").write_text("")
    child(
        f"""
        import {rig.WATCHING}  # they would be asked for it, too: the hook imports it for the first watched module
        asked = []
        class Asked:
            def __init__(self, label): self.label = label
            def find_spec(self, *arguments):
                asked.append((self.label, *arguments))
        sys.meta_path[:0] = [Asked("first"), Asked("second")]
        sys.meta_path.insert(sys.meta_path.index(hook) + 1, Asked("third"))
        def attempt():
            asked.clear()
            try:
                importlib.import_module({name!r})
            except ModuleNotFoundError:
                pass
            sys.modules.pop({name!r}, None)
            # Who finds nothing is asked again by Python itself, after us.
            return list(dict.fromkeys(asked)), len(asked)
        with_hook, times = attempt()
        assert times == (4 if {name!r} == "absent" else 3), asked
        hook.uninstall()
        assert with_hook == attempt()[0] == [(label, {name!r}, None, None) for label in ("first", "second", "third")]
        """,
        watched=("target", "absent"),
    )


def test_a_finder_before_us_that_finds_the_module_has_the_last_word(child: Child):
    child("""
        spec = importlib.machinery.PathFinder.find_spec("target")
        class Own:
            @staticmethod
            def find_spec(name, path=None, target=None):
                return spec if name == "target" else None
        sys.meta_path.insert(0, Own)
        import target
        assert target.__spec__ is spec and events == []
    """)


@pytest.mark.parametrize("event", ["module_loaded", "module_failed", "torch_ready"])
@pytest.mark.parametrize("error", ["ValueError('planted')", "RecursionError()", "ImportError('planted')"])
def test_a_handler_that_raises_changes_neither_output_nor_exit_code(child: Child, folder: Path, event: str, error: str):
    (folder / "handler.py").write_text(HANDLER + f"\ndef {event}(*arguments):\n    raise {error}\n")
    (folder / "target.py").write_text("print('runs')\n" + ("raise KeyError('its own')\n" * (event == "module_failed")))
    program = """
        import atexit
        {first}
        atexit.register(lambda: open("faults", "w").write(repr([type(fault).__name__ for fault in hook.faults])))
        hook.torch_backend()
        {second}
        import target
        print("goes on")
    """
    ours = child(program.format(first="", second=""), faults=True, check=False)
    expected = [error.partition("(")[0]]
    assert (folder / "faults").read_text() == repr(expected)
    without = child(
        program.format(first="hook.handler = 'target'; hook.notify = lambda *_: None", second="hook.uninstall()"),
        faults=True,
        check=False,
    )
    assert (folder / "faults").read_text() == "[]"
    shown = [result.stderr.splitlines() for result in (ours, without)]
    if sys.version_info < (3, 11):
        # Extra frames on 3.10, see above.
        shown = [[line for line in lines if "importlib" not in line and "run(module)" not in line] for lines in shown]
    assert shown[0] == shown[1]
    assert (ours.stdout, ours.returncode) == (without.stdout, without.returncode)
    assert ours.returncode == int(event == "module_failed")


@pytest.mark.parametrize("source", [None, "def broken(:", "raise RuntimeError('planted')", "", "module_loaded = None"])
def test_a_handler_that_is_missing_or_broken_costs_nothing_but_a_recorded_fault(
    child: Child, folder: Path, source: str | None
):
    if source is not None:
        (folder / "elsewhere.py").write_text(source)
    result = child(
        """
        hook.handler = "elsewhere"
        import target
        assert target.value == 1 and len(hook.faults) == 1, hook.faults
        print(type(hook.faults[0]).__name__)
        """,
        faults=True,
    )
    expected = {None: "ModuleNotFoundError", "def broken(:": "SyntaxError", "": "AttributeError"}
    expected |= {"raise RuntimeError('planted')": "RuntimeError", "module_loaded = None": "TypeError"}
    assert (result.stdout.strip(), result.stderr) == (expected[source], "")


def test_a_fault_is_shown_where_debugging_asks_for_it(child: Child, folder: Path):
    (folder / "handler.py").write_text(HANDLER + "\ndef module_loaded(module):\n    raise ValueError('planted')\n")
    result = child("import target", faults=True, env={"RTX50_DEBUG": "1"})
    assert "rtx50-autoload: internal fault" in result.stderr
    assert "ValueError: planted" in result.stderr


def test_switching_off_inside_the_program_before_the_import_is_in_time(child: Child):
    child("""
        import os
        os.environ["RTX50_DISABLE"] = "1"
        assert not marked(importlib.util.find_spec("target").loader)
        import target
        hook.torch_backend()
        assert events == []
        os.environ["RTX50_DISABLE"] = "0"
        importlib.reload(target)
        hook.torch_backend()
        assert fires() == [("loaded", "target"), ("ready",)], events
    """)


def test_installing_again_changes_nothing(child: Child):
    child("""
        before = list(sys.meta_path)
        for _ in range(3):
            hook.install("api")
        assert sys.meta_path == before and sys.meta_path.count(hook) == 1 and hook.door == "pth"
        assert sys.meta_path.index(hook) == 0
    """)


def test_uninstalling_takes_it_away_until_it_is_installed_again(child: Child):
    child("""
        hook.uninstall()
        hook.uninstall()
        assert hook not in sys.meta_path and hook.door is None
        import target
        assert events == [] and target.value == 1
        hook.install("api")
        assert sys.meta_path[0] is hook and hook.door == "api"
        importlib.reload(target)
        assert fires() == [("loaded", "target")]
    """)


def test_the_second_door_installs_the_hook_and_tells_the_handler(child: Child):
    child("""
        hook.torch_backend()
        assert hook.door == "pth" and fires() == [("ready",)]
        hook.uninstall()
        hook.torch_backend()
        assert hook.door == "torch.backends" and hook in sys.meta_path and fires() == [("ready",)] * 2
    """)
