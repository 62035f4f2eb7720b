"""The probes' machinery, on tables of probes that misbehave in every way; the real probes run on the CPU's torch."""

import json
import math
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from rtx50_autoload.evidence import known_errors, probe_child
from rtx50_autoload.evidence import probe as probe_module
from rtx50_autoload.evidence.arch import JitSwitches
from rtx50_autoload.evidence.devices import Device, Survey
from rtx50_autoload.evidence.finding import Severity
from rtx50_autoload.evidence.probe import run_probes
from rtx50_autoload.evidence.probe_findings import findings
from rtx50_autoload.evidence.probe_report import ProbeError, ProbeReport, ProbeResult, State

# A child program: the real one with a table and a lab of its own.
PROGRAM = """
import importlib.util, json, math, os, signal, subprocess, sys, time
from pathlib import Path

folder = Path(__file__).parent
spec = importlib.util.spec_from_file_location("child", {child!r})
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
good, bad = [child.Measurement(0.5, 1.0)], [child.Measurement(2.0, 1.0)]

class Lab:
    well = True
    def about(self):
        return {{"torch": "2.13.0", "cuda": "13.0", "device": "A GPU", "capability": [12, 0]}}
    def prepare(self, name):
        pass
    def surface(self):
        pass
    def healthy(self):
        return self.well

lab = Lab()

def start_another():
    "Start a process that would outlive this one, and note its number."
    code = "import time; time.sleep(600)"
    (folder / "started").write_text(str(subprocess.Popen([sys.executable, "-c", code]).pid))

def opens(index):
    return lab

{body}

child.main(
    sys.argv[1:],
    [child.Probe(name, "what " + name, "lib", run, **{{"requires": "json", **more}}) for name, run, more in table],
    opens,
)
"""


class RunTable:
    """Runs a table of probes, given as the source of functions and of a list named `table`."""

    def __init__(self, folder):
        self.folder = folder

    def write(self, body):
        program = self.folder / "program.py"
        program.write_text(PROGRAM.format(child=probe_child.__file__, body=textwrap.dedent(body)), encoding="utf-8")
        return program

    def __call__(self, body, time_limit=60.0, start_limit=60.0, **options):
        return run_probes(self.write(body), time_limit, start_limit=start_limit, **options)

    def has_left_a_process(self):
        """Tell whether the process that `start_another` has started is still there."""
        number = int((self.folder / "started").read_text())
        for _ in range(100):
            try:
                # What has ended is a zombie until whoever adopted it has looked.
                if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                    return False
            except FileNotFoundError:
                return False
            time.sleep(0.1)
        return True


@pytest.fixture
def run_table(tmp_path, monkeypatch):
    # What NVML says is kept for the process, where other tests ask too; and a GPU here is not the table's.
    monkeypatch.setattr(probe_module, "survey", lambda: Survey((), None, "No NVML."))
    return RunTable(tmp_path)


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows ends no process by a signal")


def states(report):
    return {result.name: result.state for result in report.results}


def test_each_probe_is_reported_as_it_went(run_table):
    report = run_table("""
        class AcceleratorError(RuntimeError):
            error_code = 209
        def raises(lab):
            raise AcceleratorError("CUDA error: no kernel image is available\\nSearch for it")
        def nan(lab):
            return [child.Measurement(math.inf, 1.0)]
        def one_of_two(lab):
            return good + bad
        table = [
            ("works", lambda lab: good, {}),
            ("raises", raises, {}),
            ("wrong", lambda lab: bad, {}),
            ("one-of-two", one_of_two, {}),
            ("nan", nan, {}),
            ("absent", raises, {"requires": "no_such_package"}),
            ("leaves", lambda lab: sys.exit("bye"), {}),
            ("last", lambda lab: good, {}),
        ]
    """)
    assert report.usable
    assert states(report) == {
        "works": State.WORKS,
        "raises": State.FAILS,
        "wrong": State.WRONG_NUMBERS,
        "one-of-two": State.WRONG_NUMBERS,
        "nan": State.WRONG_NUMBERS,
        "absent": State.NOT_INSTALLED,
        "leaves": State.FAILS,
        "last": State.WORKS,
    }
    works, raises, wrong, _, nan, absent, leaves, _ = report.results
    assert (works.largest_error, works.bound, works.error, works.why) == (0.5, 1.0, None, "")
    assert works.seconds >= 0
    assert raises.error == ProbeError(
        "AcceleratorError",
        "CUDA error: no kernel image is available",
        209,
        "CUDA error: no kernel image is available\nSearch for it",
    )
    assert "neither machine code (SASS) for this GPU nor PTX" in raises.why
    assert "a build of lib made for this GPU" in raises.next
    assert (wrong.largest_error, wrong.bound) == (2.0, 1.0)
    assert nan.largest_error == math.inf
    assert absent.seconds is None
    assert (leaves.error.type, leaves.error.message) == ("SystemExit", "bye")


def test_the_report_is_strict_json(run_table):
    report = run_table("""
        def fails(lab):
            raise RuntimeError("no")
        table = [("inf", lambda lab: [child.Measurement(math.inf, 1.0)], {}), ("fails", fails, {"one_of": "group"})]
    """)
    told = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert told["usable"]
    assert told["results"][0]["state"] == "wrong numbers"
    assert told["results"][0]["largest_error"] == "inf"
    assert told["results"][1]["error"] == {"type": "RuntimeError", "message": "no", "code": None, "text": "no"}
    assert told["results"][1]["one_of"] == "group"
    assert set(told) >= {"reason", "obstacle", "device", "capability", "driver", "torch", "cuda", "date"}


def test_the_report_says_where_it_ran(run_table):
    report = run_table('table = [("works", lambda lab: good, {})]')
    assert (report.device, report.capability, report.torch, report.cuda) == ("A GPU", (12, 0), "2.13.0", "13.0")
    assert report.reason == "Run on A GPU (12.0), torch 2.13.0, CUDA 13.0."
    assert str(report).splitlines()[2].startswith("works  works, ")


def test_the_true_device_is_named_where_the_child_is_told_another(run_table, monkeypatch):
    h200 = Device(0, "NVIDIA H200", (9, 0), "nvml", None)
    monkeypatch.setattr(probe_module, "survey", lambda: Survey((h200,), "580.95.05", ""))
    report = run_table('table = [("works", lambda lab: good, {})]')
    assert (report.device, report.capability, report.driver) == ("NVIDIA H200", (9, 0), "580.95.05")
    assert report.reason == "Run on NVIDIA H200 (9.0), torch 2.13.0, CUDA 13.0, driver 580.95.05."


@needs_signals
def test_a_crash_does_not_hide_what_comes_after_it(run_table):
    report = run_table("""
        def crashes(number):
            def run(lab):
                print("the last words", file=sys.stderr, flush=True)
                os.kill(os.getpid(), number)
                time.sleep(600)
            return run
        table = [
            ("before", lambda lab: good, {}),
            ("crashes", crashes(signal.SIGSEGV), {}),
            ("killed", crashes(signal.SIGKILL), {}),
            ("exits", lambda lab: os._exit(3), {}),
            ("after", lambda lab: good, {}),
        ]
    """)
    before, crashes, killed, exits, after = report.results
    assert before.state is after.state is State.WORKS
    assert crashes.state is killed.state is exits.state is State.FAILS
    assert crashes.error == ProbeError("SIGSEGV", "the last words", text="the last words")
    assert "crashed" in crashes.why
    assert killed.error.type == "SIGKILL"
    assert "ran out of memory" in killed.why
    assert exits.error.type == "exit code 3"


def test_a_hang_is_ended_and_the_rest_runs(run_table):
    report = run_table(
        """
        table = [
            ("before", lambda lab: good, {}),
            ("hangs", lambda lab: time.sleep(600), {}),
            ("after", lambda lab: good, {}),
        ]
        """,
        time_limit=3.0,
    )
    assert states(report) == {"before": State.WORKS, "hangs": State.HANGS, "after": State.WORKS}
    assert report.results[1].why == "it gave no answer within 3 seconds"
    assert report.results[1].seconds is None


@needs_signals
def test_a_process_that_ignores_signals_and_holds_the_gil_is_ended(run_table):
    report = run_table(
        """
        import re
        def hangs(lab):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            re.match("(a*)*b", "a" * 60)
        table = [("hangs", hangs, {}), ("after", lambda lab: good, {})]
        """,
        time_limit=3.0,
    )
    assert states(report) == {"hangs": State.HANGS, "after": State.WORKS}


@needs_proc
@pytest.mark.parametrize(
    ("ending", "state"),
    [
        ("time.sleep(600)", State.HANGS),
        ("os.kill(os.getpid(), signal.SIGSEGV)", State.FAILS),
        ("return good", State.WORKS),
    ],
)
def test_nothing_is_left_running(run_table, ending, state):
    report = run_table(
        f"""
        def run(lab):
            start_another()
            {ending}
        table = [("run", run, {{}})]
        """,
        time_limit=3.0,
    )
    assert states(report) == {"run": state}
    assert not run_table.has_left_a_process()


@needs_proc
def test_nothing_is_left_running_where_the_caller_gives_up(run_table):
    def gives_up(result):
        raise KeyboardInterrupt(result.name)

    with pytest.raises(KeyboardInterrupt, match="first"):
        run_table(
            """
            def run(lab):
                start_another()
                return good
            table = [("first", run, {}), ("second", lambda lab: time.sleep(600), {})]
            """,
            on_result=gives_up,
        )
    assert not run_table.has_left_a_process()


@needs_proc
def test_a_crash_is_no_hang_though_a_forked_process_keeps_the_output_open(run_table):
    report = run_table(
        """
        def run(lab):
            number = os.fork()
            if number == 0:
                time.sleep(600)
            (folder / "started").write_text(str(number))
            os._exit(3)
        table = [("run", run, {}), ("after", lambda lab: good, {})]
        """,
        time_limit=3.0,
    )
    assert states(report) == {"run": State.FAILS, "after": State.WORKS}
    assert report.results[0].error.type == "exit code 3"
    assert not run_table.has_left_a_process()


def test_the_child_ends_itself_where_nobody_does(run_table):
    """As where the parent was killed: the parent's clock is gone, the child's own is left."""
    program = run_table.write("child._MARGIN = 1.0\ntable = [('hangs', lambda lab: time.sleep(600), {})]")
    result = subprocess.run(
        [sys.executable, str(program), "60", "1", "0"], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 1
    assert json.loads(result.stdout.splitlines()[-1]) == {"event": "start", "name": "hangs"}


def test_what_a_probe_prints_is_not_taken_for_a_result(run_table):
    told = []
    report = run_table(
        """
        lie = json.dumps({"event": "result", "name": "after", "state": "wrong numbers"})
        def prints(lab):
            print(lie)
            os.write(1, lie.encode() + b"\\n\\xff\\x00[[[[")
            subprocess.run([sys.executable, "-c", f"print({lie!r})"])
            return good
        table = [("prints", prints, {}), ("after", lambda lab: good, {})]
        """,
        on_result=told.append,
    )
    assert states(report) == {"prints": State.WORKS, "after": State.WORKS}
    assert tuple(told) == report.results


def test_what_start_up_files_print_is_passed_over(run_table):
    report = run_table("""
        sys.stdout.write('[1]\\n{}\\n{"event": "unheard-of"}\\n' + "[" * 100_000 + "\\nno end of line")
        table = [("works", lambda lab: good, {})]
    """)
    assert states(report) == {"works": State.WORKS}


def test_a_flood_of_output_stops_nothing(run_table):
    report = run_table("""
        def floods(lab):
            for number in (1, 2):
                for _ in range(300):
                    os.write(number, b"x" * 65536)
            os._exit(3)
        table = [("floods", floods, {}), ("after", lambda lab: good, {})]
    """)
    floods, after = report.results
    assert (floods.state, after.state) == (State.FAILS, State.WORKS)
    assert set(floods.error.text) == {"x"}
    assert len(floods.error.text) <= 4000


def test_what_leaves_cuda_unusable_does_not_reach_the_next_probe(run_table):
    report = run_table("""
        def breaks(lab):
            lab.well = False
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        def next_one(lab):
            return good if lab.well else bad
        table = [("breaks", breaks, {}), ("next", next_one, {})]
    """)
    assert states(report) == {"breaks": State.FAILS, "next": State.WORKS}
    assert "broke while it ran" in report.results[0].why


def test_an_error_that_harms_nothing_costs_no_new_interpreter(run_table):
    report = run_table("""
        def raises(lab):
            lab.seen = True
            raise NotImplementedError("(too new)")
        def next_one(lab):
            return good if lab.seen else bad
        table = [("raises", raises, {}), ("next", next_one, {})]
    """)
    assert states(report) == {"raises": State.FAILS, "next": State.WORKS}


def test_after_wrong_numbers_memory_is_not_trusted(run_table):
    report = run_table("""
        def wrong(lab):
            lab.seen = True
            return bad
        def next_one(lab):
            return bad if hasattr(lab, "seen") else good
        table = [("wrong", wrong, {}), ("next", next_one, {})]
    """)
    assert states(report) == {"wrong": State.WRONG_NUMBERS, "next": State.WORKS}


def test_an_error_that_nobody_looked_at_is_the_reason_of_wrong_numbers(run_table):
    report = run_table("""
        def surfaces():
            raise RuntimeError("CUDA error: no kernel image is available")
        lab.surface = surfaces
        table = [("unchecked", lambda lab: bad, {})]
    """)
    assert states(report) == {"unchecked": State.FAILS}


def test_warnings_before_an_error_belong_to_it(run_table):
    report = run_table("""
        import warnings
        def refuses(lab):
            for _ in range(2):
                warnings.warn("Flash attention kernel not used because:", stacklevel=1)
            raise RuntimeError("No available kernel. Aborting execution.")
        table = [("refuses", refuses, {})]
    """)
    error = report.results[0].error
    assert error.message == "No available kernel. Aborting execution."
    assert error.text.splitlines()[1:] == ["Flash attention kernel not used because:"] * 2


def test_results_are_told_as_they_come(run_table):
    told = []
    report = run_table(
        """
        def exits(lab):
            os._exit(1)
        absent = {"requires": "no_such_package"}
        table = [("a", lambda lab: good, {}), ("b", exits, {}), ("c", lambda lab: good, absent)]
        """,
        on_result=told.append,
    )
    assert tuple(told) == report.results
    assert [result.name for result in told] == ["a", "b", "c"]


def test_the_device_asked_for_reaches_the_child(run_table):
    report = run_table(
        """
        def opens(index):
            raise child.Unusable("no-cuda", f"there is no device {index}")
        table = []
        """,
        device=3,
    )
    assert report.reason == "Nothing was run on a GPU: there is no device 3."
    assert report.obstacle == "no-cuda"


@pytest.mark.parametrize(
    ("body", "obstacle", "reason"),
    [
        ("raise ImportError('libtorch is damaged')", "child-ended", "ImportError: libtorch is damaged"),
        ("os._exit(5)", "child-ended", "(exit code 5)"),
        ("time.sleep(600)", "hangs", "took over 2 seconds"),
    ],
)
def test_a_child_that_never_gets_ready_is_the_reason(run_table, body, obstacle, reason):
    report = run_table(body, start_limit=2.0 if obstacle == "hangs" else 60.0)
    assert not report.usable
    assert report.results == ()
    assert report.obstacle == obstacle
    assert reason in report.reason


def test_a_child_without_probes_ends_the_run(run_table):
    report = run_table("table = []")
    assert not report.usable
    assert "without running anything" in report.reason


def test_what_could_not_run_any_more_fails(run_table):
    report = run_table("""
        def opens(index):
            flag = folder / "flag"
            if flag.exists():
                raise child.Unusable("no-cuda", "the GPU is lost")
            flag.touch()
            return lab
        table = [("exits", lambda lab: os._exit(3), {}), ("a", lambda lab: good, {}), ("b", lambda lab: good, {})]
    """)
    assert states(report) == {"exits": State.FAILS, "a": State.FAILS, "b": State.FAILS}
    assert report.results[2].error.message == "the GPU is lost"
    assert report.results[2].why == "CUDA could not be used any more"


def test_an_interpreter_that_cannot_be_run_is_the_reason(run_table, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    report = run_table("table = []")
    assert (report.usable, report.obstacle) == (False, "no-child")
    assert "a child interpreter cannot be run" in report.reason


def test_a_machine_without_a_place_for_temporary_files_is_the_reason(run_table, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "no-folder"))
    report = run_table("table = []")
    assert (report.usable, report.obstacle) == (False, "no-folder")


def test_an_error_of_the_caller_reaches_the_caller(run_table):
    def cannot_print(_):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run_table('table = [("works", lambda lab: good, {})]', on_result=cannot_print)


def test_compilers_caches_are_the_runs_own_and_removed(run_table):
    report = run_table("""
        def compiles(lab):
            places = [os.environ["TRITON_CACHE_DIR"], os.environ["TORCHINDUCTOR_CACHE_DIR"]]
            Path(places[0]).mkdir(parents=True)
            (folder / "places").write_text(json.dumps(places))
            return good
        table = [("compiles", compiles, {})]
    """)
    assert states(report) == {"compiles": State.WORKS}
    for place in json.loads((run_table.folder / "places").read_text()):
        assert not Path(place).parent.exists()


def test_modules_beside_the_child_do_not_hide_packages(installed, tmp_path):
    """Run as a file, the child has its own folder first on the path, and in it `wheel.py`, `arch.py`, `devices.py`."""
    fake = "import wheel\nraise RuntimeError(wheel.__file__)\n"
    (tmp_path / "torch.py").write_text(fake, encoding="utf-8")
    (tmp_path / "wheel.py").write_text("", encoding="utf-8")
    code = "from rtx50_autoload.evidence.probe import probe; print(probe().reason)"
    said = installed.run_code(code, env={"PYTHONPATH": str(tmp_path)}).stdout
    assert str(tmp_path / "wheel.py") in said


def result(name, state, library="torch", **more):
    return ProbeResult(name, library, "what", state, **more)


def report_of(*results, **more):
    return ProbeReport(results, "Run.", "2026-01-01T00:00:00+00:00", device="NVIDIA GeForce RTX 5090", **more)


def test_all_that_works_is_no_finding():
    assert findings(report_of(result("a", State.WORKS), result("b", State.NOT_INSTALLED))) == []


def test_a_library_is_one_finding_for_each_way_of_failing():
    error = ProbeError("AcceleratorError", "CUDA error: no kernel image", 209)
    found = findings(
        report_of(
            result("elementwise", State.FAILS, error=error, why="it holds nothing", next="Update torch."),
            result("matmul", State.FAILS, error=error, why="it holds nothing", next="Update torch."),
            result("conv", State.HANGS, why="no answer"),
            result("works", State.WORKS),
            result("absent", State.NOT_INSTALLED),
            result("flash-attn", State.WRONG_NUMBERS, "flash_attn"),
        )
    )
    assert [(each.id, each.severity) for each in found] == [
        ("probe-torch-fails", Severity.ERROR),
        ("probe-torch-hangs", Severity.ERROR),
        ("probe-flash-attn-wrong-numbers", Severity.ERROR),
    ]
    assert found[0].what == "torch fails on NVIDIA GeForce RTX 5090: elementwise, matmul (2 of 4 computations tried)."
    assert found[0].why == "AcceleratorError 209: CUDA error: no kernel image - it holds nothing."
    assert found[0].next == "Update torch."
    assert found[1].why == "No answer."
    assert found[2].next.startswith("Update flash_attn, or")


def test_a_probe_with_an_alternative_that_works_is_a_warning():
    refused = result("sdpa-cudnn", State.FAILS, one_of="sdpa")
    works = result("sdpa-math", State.WORKS, one_of="sdpa")
    wrong = result("sdpa-flash", State.WRONG_NUMBERS, one_of="sdpa")
    elementwise = result("elementwise", State.FAILS)
    found = findings(report_of(refused, works, wrong, elementwise))
    assert [(each.id, each.severity) for each in found] == [
        ("probe-torch-wrong-numbers", Severity.ERROR),
        ("probe-torch-fails", Severity.ERROR),
        ("probe-sdpa-fails", Severity.WARNING),
    ]
    assert [each.severity for each in findings(report_of(refused, elementwise))] == [Severity.ERROR]


@pytest.mark.parametrize("obstacle", ["no-torch", "hangs", "something-new"])
def test_what_could_not_be_run_is_said_once(obstacle):
    [found] = findings(ProbeReport((), "Nothing was run on a GPU: why.", "", obstacle=obstacle))
    assert (found.id, found.severity) == ("probe-not-run", Severity.INFO)
    assert found.why == "Nothing was run on a GPU: why."
    assert found.next


NO_SWITCHES, FORCED = JitSwitches(), JitSwitches(forced=True)


@pytest.mark.parametrize(
    ("type_", "text", "code", "switches", "known"),
    [
        (
            "AcceleratorError",
            "CUDA error: no kernel image is available for execution",
            209,
            NO_SWITCHES,
            "no-kernel-image",
        ),
        ("AcceleratorError", "CUDA error: no kernel image is available for execution", 209, FORCED, "ptx-jit-forced"),
        ("RuntimeError", "CUDA error: no kernel image is available", None, NO_SWITCHES, "no-kernel-image"),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling", None, FORCED, "ptx-jit-forced"),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_INTERNAL_ERROR when calling", None, NO_SWITCHES, "cublas"),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling", None, NO_SWITCHES, "out-of-memory"),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_NOT_SUPPORTED", None, NO_SWITCHES, "cublas-architecture"),
        ("OutOfMemoryError", "CUDA out of memory. Tried to allocate", None, NO_SWITCHES, "out-of-memory"),
        ("AcceleratorError", "CUDA error: an illegal memory access was encountered", 700, NO_SWITCHES, "kernel-broke"),
        (
            "RuntimeError",
            "GET was unable to find an engine to execute this computation",
            None,
            NO_SWITCHES,
            "no-cudnn-engine",
        ),
        (
            "NotImplementedError",
            "requires <= (9, 0) but your GPU has capability (12, 0) (too new)",
            None,
            NO_SWITCHES,
            "too-new",
        ),
        ("NotImplementedError", "xFormers wasn't build with CUDA support", None, NO_SWITCHES, "xformers-without-cuda"),
        ("NotImplementedError", "No operator found", None, NO_SWITCHES, "not-implemented"),
        ("ImportError", "libcudart.so.12: cannot open shared object file", None, NO_SWITCHES, "missing-library"),
        (
            "ImportError",
            "flash_attn_2_cuda.so: undefined symbol: _ZN3c105Error",
            None,
            NO_SWITCHES,
            "built-for-another-torch",
        ),
        ("InductorError", "RuntimeError: Failed to find C compiler.", None, NO_SWITCHES, "no-compiler"),
        (
            "CalledProcessError",
            "main.c:5:10: fatal error: Python.h: No such file",
            None,
            NO_SWITCHES,
            "no-python-headers",
        ),
        ("OutOfResources", "out of resource: shared memory, Required: 131072", None, NO_SWITCHES, "shared-memory"),
        ("SIGSEGV", "", None, NO_SWITCHES, "crash"),
        ("0xC0000005", "", None, NO_SWITCHES, "crash"),
        ("RuntimeError", "something else", None, NO_SWITCHES, None),
    ],
)
def test_known_errors_are_explained(type_, text, code, switches, known):
    found = known_errors.explain(type_, text, code, switches)
    assert (found and found.id) == known


def test_every_known_error_is_told_in_words_and_has_a_source():
    known = known_errors.load_known_errors()
    assert len({each.id for each in known}) == len(known)
    for each in known:
        assert each.why
        assert each.source
        assert not each.why.endswith(".")
        assert each.next.endswith(".")
        assert each.codes or each.types or each.texts
        assert each.switch in {"", *JitSwitches.__dataclass_fields__}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ""),
        ("one\ntwo", "one"),
        (
            "backend='inductor' raised:\nRuntimeError: no compiler\n\nSet TORCHDYNAMO_VERBOSE=1",
            "backend='inductor' raised: RuntimeError: no compiler",
        ),
        ("\n\n  CUDA SETUP ERROR:  \n", "CUDA SETUP ERROR:"),
    ],
)
def test_the_first_line_of_an_error_says_something(text, message):
    assert probe_child.describe(RuntimeError(text))["message"] == message


def test_what_an_uninstalled_package_has_left_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "left_over").mkdir()
    (tmp_path / "there.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not probe_child.installed("left_over")
    assert probe_child.installed("there")


REPORT = """
import json
from rtx50_autoload.evidence.probe import probe
from rtx50_autoload.evidence.probe_findings import findings
report = probe()
print(json.dumps([report.as_json(), [finding.id for finding in findings(report)]]))
"""


def said(venv, **env):
    told, ids = json.loads(venv.run_code(REPORT, env=env).stdout)
    assert ids == ["probe-not-run"]
    return told["obstacle"], told["reason"]


def test_without_torch_it_says_so(installed):
    assert said(installed) == ("no-torch", "Nothing was run on a GPU: torch is not installed.")


def test_a_torch_without_cuda_is_named(either_torch):
    obstacle, reason = said(either_torch)
    assert obstacle == "no-cuda-build"
    assert "is built without CUDA" in reason


def test_a_torch_that_cannot_initialise_cuda_is_quoted(with_fake_torch):
    obstacle, reason = said(with_fake_torch, FAKE_TORCH_DEVICES="")
    assert obstacle == "no-cuda"
    assert reason.startswith("Nothing was run on a GPU: CUDA cannot be initialised (")


def test_a_torch_that_cannot_be_imported_is_quoted(installed, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13: cannot open shared object file')\n")
    obstacle, reason = said(installed, PYTHONPATH=str(tmp_path))
    assert obstacle == "broken-torch"
    assert "(ImportError: libcudart.so.13: cannot open shared object file)" in reason


ON_THE_CPU = """
import json
import torch
from rtx50_autoload.evidence import probe_child as child

lab = child.Lab(torch, "cpu")
run = {probe.name: probe for probe in child.PROBES}
for name in ("elementwise", "matmul-fp32", "matmul-bf16", "conv-fp32", "conv-fp16", "sdpa-math", "sdpa-flash"):
    outcome = child.attempt(run[name], lab)
    assert outcome["state"] == "works", (name, outcome)
    # The bounds stand well above rounding, and no wrong result is anywhere near them.
    assert outcome["largest_error"] < outcome["bound"] / 4, (name, outcome)

x = lab.normal(64, 64)
for wrong in (torch.zeros_like(x), torch.full_like(x, torch.nan), x.flip(0), x * 1.1):
    for bound in child.BOUNDS:
        error = lab.measure(wrong, x.double(), bound)
        assert error.error > error.bound or (bound == "nf4" and torch.equal(wrong, x * 1.1)), (wrong, bound, error)

# Attention in the layout of xformers and flash_attn, whose kernels need a GPU.
def tokens_first(q, k, v):
    scores = torch.einsum("bqhc,bkhc->bhqk", q.double(), k.double()) / q.shape[-1] ** 0.5
    return torch.einsum("bhqk,bkhc->bqhc", scores.softmax(-1), v.double()).to(q.dtype)
[measurement] = child._attention(lab, tokens_first, "float16", "float16", tokens_first=True)
assert measurement.error < measurement.bound / 4

lab.prepare("a")
first = lab.normal(8)
lab.prepare("b")
assert not torch.equal(first, lab.normal(8))
assert child.attempt(run["sdpa-cudnn"], lab)["state"] == "fails"
print("done")
"""


def test_the_real_probes_compute_the_same_on_the_cpu(with_torch):
    assert with_torch.run_code(ON_THE_CPU).stdout == "done\n"
