"""Every function of ours that runs in a user's process is made to fail, in turn: the program does not notice.

The functions, methods and lambdas are found in the source text of the installed package, and an error is raised at
the first statement of each that can fail (tests/fault_planting.py). It is raised whenever the function is called, not
once: an error that stays is the harder case. Compared are stdout, stderr and the exit code of programs
(tests/fault_programs.py) with what they are without us. The rule (`fault_injection.lost`):

- the exit code is the same, and so is each line of stdout;
- stderr is the same when the lines of ours, which begin with ``rtx50-autoload:``, are left out; each of those is
  whole. They may be fewer, or say less, than without the fault;
- the program ends. What holds a lock for ever is found by that.

What xformers is told is the truth or the target, which is what a fault may cost; programs print whether it is one of
these. Where an attention function of a library cannot work at all, its answer is the library's error, as without us,
or the stand-in's, as with us.

A function is tried in the first program that calls it: every third function, another third on the next Python.
``RTX50_TEST_FAULTS=functions`` tries all of them, ``statements`` every
statement that can fail, before it has done anything and, at the end of a block, after it has done what it does; and
``all`` beside it every function in every program that calls it, with each of the four errors.
"""

from __future__ import annotations

import ast
import os
import sys
from typing import TYPE_CHECKING

import pytest

import rig
from fault_injection import ERRORS, Bench, Result, lost, rotate, sources
from fault_planting import PROGRAMS_OWN, first_places, functions
from fault_programs import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="each run is a fork, watched as Linux can")

WANTED = os.environ.get("RTX50_TEST_FAULTS", "some")
#: Where only some functions are to fail: every third one, from another one on each Python.
SHARE = 3
PARTS = 6

#: The rooms whose functions the outside calls, and those between these and the first `try`. Behind it, in the diagnosis
#: and the evidence, one function is caught like any other.
ENTRIES = (
    *(
        "_rtx50",
        "activation",
        "autoloader",
        "batman",
        "check_at_import",
        "errorhooks",
        "job",
        "knowledge",
        "masquerading",
        "predecessor",
        "voice",
    ),
    *("rescue.functions", "rescue.providing", "rescue.replacing", "rescue.stepping_in", "rescue.watched"),
)
#: What fails first where a second fault is tried.
FIRST_FAULTS = ("rtx50_autoload.masquerading.tell:Teller._answer", "rtx50_autoload.autoloader:Autoloader.arrived")
#: Their functions that no program calls, or that hold nothing that can fail.
UNCALLED = {
    f"rtx50_autoload.{name}"
    for name in (
        "activation:current",
        "check_at_import:_Running.end",
        # They only keep what they are given.
        "errorhooks.attendant:Finding.__init__",
        "masquerading.patch:AttributePatch.__init__",
        "masquerading.patch:CodePatch.__init__",
        "masquerading.patch:PatchSet.__init__",
        "masquerading.patch:_Entry.__init__",
        # For `status`.
        "errorhooks.hooks:ErrorHooks.installed",
        "masquerading.patch:PatchSet.report",
        "rescue.stepping_in:SteppingIn._state",
        "rescue.stepping_in:SteppingIn.report",
        "rescue.watched:Watched.reasons",
        # After a fault: test_what_a_fault_leads_to_may_fail_too.
        "masquerading.tell:Teller._truth",
        # A torch without CUDA, whose properties are made up; a torch without `compiler`.
        "masquerading.torch_cuda:_reader.<lambda>",
        "rescue.watched:Watched.__post_init__.<lambda>",
        # They look at types and values only.
        "masquerading.profile_schema:_is_table",
        "masquerading.profiles:Origin.__str__",
        "rescue.providing:_lacks_its_extension",
        "rescue.watched:Watched.clean",
        # Traced by torch.compile, where a `try` of ours cannot stand: a fault there is not caught yet.
        "rescue.watched:Watched.fails_traced",
        "rescue.watched:Watched.loads",
        "rescue.watched:Watched.traced",
        "rescue.watched:Watched._try",
        "rescue.watched:Watched._probed",
        # What a program names us for: a mistake there is told to it.
        "activation:_block",
        "activation:deactivate",
        "activation:guard",
        "activation:masquerade",
        "activation:truth",
        "predecessor:_Loader.exec_module.<lambda>",
        "predecessor:_value",
        # A simulated device, and what only calls that which catches.
        "masquerading.simulation:_Simulation.__init__",
        "masquerading.simulation:_Simulation._index",
        "masquerading.simulation:_Simulation._make",
        "masquerading.simulation:_Simulation._note",
        "masquerading.simulation:_Simulation.name",
        "masquerading.simulation:_Simulation.properties",
        "masquerading.simulation:get_device_properties",
        # xformers before 0.0.33.
        "rescue.stepping_in:_is_built",
    )
}


class Recorded:
    """The programs, each with what it says without us and with us, and the places that it passes."""

    def __init__(self, benches: dict[str, Bench]) -> None:
        self.benches = benches
        self.without: dict[str, Result] = {}
        self.sound: dict[str, Result] = {}
        self.places: dict[str, list[str]] = {}
        for name, bench in benches.items():
            self.without[name] = bench.run(variables={"RTX50_DISABLE": "1"})
            self.sound[name] = bench.run(record=True)
            asked_for = PROGRAMS[name].asked_for
            self.places[name] = [
                place for place in self.sound[name].places if not any(part in place for part in asked_for)
            ]

    def once(self, *, statements: bool) -> list[tuple[str, str]]:
        """Give each place, or the first of each function, with the first program that passes it."""
        first: dict[str, tuple[str, str]] = {}
        for name, places in self.places.items():
            for place in places if statements else first_places(places):
                first.setdefault(place if statements else function_of(place), (name, place))
        return list(first.values())

    def place_of(self, name: str, function: str) -> str:
        """Give the first place of a function, as a program passes it."""
        return next(place for place in self.places[name] if function_of(place) == function)

    def lost(self, name: str, place: str, error: str, also: str | None = None) -> str | None:
        """Tell what a program loses by an error at a place, beside one that there is already."""
        got = self.benches[name].run(place=place, error=error, also=also)
        what = lost(PROGRAMS[name], self.without[name], self.sound[name], got)
        return None if what is None else f"{name}: {error} at {place}: {what}"


def function_of(place: str) -> str:
    """Give the module and the function of a place."""
    return ":".join(place.split(":")[:2])


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """The stand-in for NVIDIA's management library, where it can be built."""
    return rig.build_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="module")
def recorded(with_fake_torch, driver, tmp_path_factory) -> Iterator[Recorded]:
    cache = tmp_path_factory.mktemp("planted")
    benches = {
        name: Bench(with_fake_torch, program, tmp_path_factory.mktemp("program"), cache, driver)
        for name, program in PROGRAMS.items()
    }
    yield Recorded(benches)
    for bench in benches.values():
        bench.close()


@pytest.mark.parametrize("name", PROGRAMS)
def test_without_a_fault_the_program_is_what_it_is_without_us(recorded, name):
    assert lost(PROGRAMS[name], recorded.without[name], recorded.sound[name], recorded.sound[name]) is None


@pytest.mark.parametrize("part", range(PARTS))
def test_every_function_may_fail(recorded, part):
    jobs = rotate(recorded.once(statements=False))
    if WANTED == "some":
        jobs = jobs[sys.version_info.minor % SHARE :: SHARE]
    found = [recorded.lost(*job, error) for job, error in jobs[part::PARTS]]
    print(f"\n{len(jobs[part::PARTS])} of {len(jobs)} functions have failed, each in one program")
    assert [what for what in found if what] == []


@pytest.mark.parametrize("first", FIRST_FAULTS)
def test_what_a_fault_leads_to_may_fail_too(recorded, first):
    name = "capabilities"
    first_place = recorded.place_of(name, first)
    passed = recorded.benches[name].run(record=True, also=first_place).places
    later = [place for place in first_places(passed) if place not in recorded.places[name]]
    assert any(function_of(place) == f"{rig.HOOK}:record" for place in later)
    found = [recorded.lost(name, place, error, first_place) for place, error in rotate(later)]
    print(f"\n{len(later)} functions have failed after {first}")
    assert [what for what in found if what] == []


@pytest.mark.skipif(WANTED in ("some", "functions"), reason="takes minutes: nox -s faults -- statements")
@pytest.mark.parametrize("part", range(PARTS))
def test_every_statement_may_fail(recorded, part):
    jobs = rotate(recorded.once(statements=True))
    found = [recorded.lost(*job, error) for job, error in jobs[part::PARTS]]
    print(f"\n{len(jobs[part::PARTS])} of {len(jobs)} places have failed, each in one program")
    assert [what for what in found if what] == []


@pytest.mark.skipif(WANTED != "all", reason="takes an hour: nox -s faults -- all")
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_function_may_fail_in_every_program_with_every_error(recorded, name):
    places = first_places(recorded.places[name])
    found = [recorded.lost(name, place, error) for place in places for error in ERRORS]
    print(f"\n{name}: {len(found)} runs, {len(places)} functions with {len(ERRORS)} errors")
    assert [what for what in found if what] == []


def test_no_function_where_errors_enter_is_left_out(recorded, with_fake_torch):
    files = sources(with_fake_torch)
    existing = {
        f"{module}:{name.rpartition(':')[0]}"
        for module, file in files.items()
        for name in functions(file.read_text(encoding="utf-8"))
    }
    called = {function_of(place) for places in recorded.places.values() for place in places}
    loaded = {name.partition(":")[0] for name in called}
    uncalled = {name for name in existing - called if name.partition(":")[0] in loaded}
    print(
        f"\n{len(existing)} functions in {len(files)} modules; {len(existing & called)} have failed, with "
        f"the bodies of {len(loaded)} modules; {len(uncalled)} others of these modules are not called or cannot fail; "
        f"{len(existing) - len(existing & called) - len(uncalled)} are in modules that no program loads"
    )
    entered = {name for name in uncalled if name.removeprefix("rtx50_autoload.").startswith(ENTRIES)}
    assert entered == UNCALLED


def test_the_statements_that_call_what_is_the_programs_are_there(with_fake_torch):
    files = sources(with_fake_torch)
    for module, statements in PROGRAMS_OWN.items():
        lines = {
            ast.unparse(node)
            for node in ast.walk(ast.parse(files[module].read_text(encoding="utf-8")))
            if isinstance(node, ast.stmt)
        }
        assert set(statements) <= lines
