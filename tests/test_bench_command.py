"""`bench` as a person types it, how it measures, and what it says where a GPU is missing or wrong."""

from __future__ import annotations

import json
import math
import sys
from types import SimpleNamespace

import pytest

from rtx50_autoload.benchmarking import comparing
from rtx50_autoload.benchmarking.engine import TorchEngine
from rtx50_autoload.benchmarking.numbers import three_digits
from rtx50_autoload.benchmarking.payback import Payback
from rtx50_autoload.benchmarking.results import About, Measurement, WorkResult
from rtx50_autoload.benchmarking.timing import Method, Timing, measure
from rtx50_autoload.benchmarking.work import BOUNDS, DTYPES, WORKS
from rtx50_autoload.cli.main import main
from rtx50_autoload.errors import UsageError

SHORT = Method(warm_up_seconds=0, rounds=2, seconds=0, round_seconds=0, longest_call=60)


class FakeEngine:
    """Numbers for tensors: every task is 1, every result is that number or what the test says of a place."""

    def __init__(self, obstacle="", results=None, *, simulated=False):
        self._obstacle = obstacle
        self._results = results or {}
        self._simulated = simulated
        self.computed = []

    def about(self, place):
        assert place.startswith("cuda:")
        versions = {"rtx50-autoload": "1.0", "python": "3.11", "torch": "2.11.0+cu130", "cuda": "13.0"}
        return About("NVIDIA Test", "580.0", self._simulated, "Test CPU", 4, versions, "highest")

    def obstacle(self, place):
        if place == "cuda:7":
            raise UsageError("there is no device cuda:7: torch sees 1, numbered from cuda:0")
        return self._obstacle

    def task(self, kind, size):
        self.computed.append((kind, dict(size)))
        return 1.0

    def on(self, task, place, dtype):
        result = self._results.get((place, dtype), task)

        def call():
            if isinstance(result, Exception):
                raise result
            return result

        return call

    def synchronise(self, place):
        pass

    def distance(self, result, expected):
        return abs(result - expected)


@pytest.fixture
def bench(monkeypatch, capsys):
    """Run the command with an engine that is none, and next to no time for each measurement."""
    monkeypatch.setattr(comparing, "Method", lambda: SHORT)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments, engine=None):
        engine = engine or FakeEngine()
        monkeypatch.setattr("rtx50_autoload.benchmarking.engine.TorchEngine", lambda: engine)
        try:
            code = main(["bench", *map(str, arguments)])
        except SystemExit as error:
            code = error.code
        out, err = capsys.readouterr()
        return code, " ".join(out.split()) if "--json" not in arguments else json.loads(out), err

    return run


def test_a_gpu_that_says_what_the_cpu_says_is_0(bench):
    code, out, err = bench()
    assert code == 0
    assert "GPU: NVIDIA Test (cuda:0), driver 580.0" in out
    assert "CPU: Test CPU, 4 threads" in out
    for work in WORKS:
        assert work.describe(work.sizes[-1]) in out
    assert "GPU float32 GPU bfloat16" in out
    assert "Next:" not in out
    assert err == ""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("wrong", [2.0, math.inf, math.nan])
def test_a_result_that_is_not_the_cpus_is_a_finding_and_has_no_speed_up(bench, dtype, wrong):
    engine = FakeEngine(results={("cuda:0", dtype): wrong})
    code, document, _ = bench("--json", engine=engine)
    assert code == 1
    assert not document["ok"]
    for work in document["works"]:
        rows = {row["dtype"]: row for row in work["gpu"]}
        assert rows[dtype]["wrong"]
        assert rows[dtype]["timing"] is rows[dtype]["speed_up"] is None
        (other,) = set(DTYPES) - {dtype}
        assert not rows[other]["wrong"]
        assert rows[other]["speed_up"] > 0
    _, out, _ = bench(engine=engine)
    assert f"matrix multiplication, GPU {dtype}: the result is not the CPU's" in out
    assert "Next: `rtx50-autoload doctor`" in out


def test_rounding_is_no_finding(bench):
    close = {("cuda:0", dtype): 1 + bound / 2 for dtype, bound in BOUNDS.items()}
    assert bench(engine=FakeEngine(results=close))[0] == 0


def test_an_error_on_the_gpu_is_a_finding_and_the_rest_is_measured(bench):
    error = RuntimeError("CUDA error: no kernel image is available\nCompile with ...")
    engine = FakeEngine(results={("cuda:0", "bfloat16"): error})
    code, out, err = bench(engine=engine)
    assert code == 1
    assert "embeddings, GPU bfloat16: RuntimeError: CUDA error: no kernel image is available" in out
    assert "Compile with" not in out
    assert "failed" in out
    assert err == ""


def test_without_a_gpu_the_cpu_is_measured_and_the_next_step_named(bench):
    engine = FakeEngine(obstacle="this torch (2.13.0+cpu) is built without CUDA")
    code, out, _ = bench(engine=engine)
    assert code == 1
    assert "transformer inference" in out
    assert "Nothing was measured on a GPU: this torch (2.13.0+cpu) is built without CUDA." in out
    assert "Next: `rtx50-autoload doctor`" in out
    assert "GPU float32" not in out
    assert "RTX50_SIMULATE" not in out
    _, document, _ = bench("--json", engine=engine)
    assert [work["gpu"] for work in document["works"]] == [[], [], []]
    assert all(work["cpu"]["timing"]["median"] > 0 for work in document["works"])


def test_a_simulated_device_is_no_gpu(bench):
    code, out, _ = bench(engine=FakeEngine(obstacle="torch finds no GPU", simulated=True))
    assert code == 1
    assert "RTX50_SIMULATE names devices that are no GPUs" in out


def test_the_json_holds_what_a_table_needs(bench):
    code, document, _ = bench("--json", "--device", "cuda", "--card-price", "2000", "--cloud-price", "1.2")
    assert code == 0
    assert document["place"] == "cuda:0"
    assert document["payback"]["hours_per_day"] == 24
    assert document["method"]["rounds"] == 2
    assert {"gpu", "driver", "cpu", "threads", "versions", "float32_precision", "date"} <= set(document)
    work = document["works"][0]
    assert work["name"] == "matrix multiplication"
    assert work["operations"] == 2 * work["size"]["rows"] ** 3
    assert not work["reduced"]
    assert set(work["cpu"]["timing"]) == {"median", "lower", "upper", "rounds", "calls_per_round"}
    assert [row["dtype"] for row in work["gpu"]] == ["float32", "bfloat16"]


def test_a_slow_cpu_gets_a_smaller_size_and_the_gpu_the_same(monkeypatch, bench):
    # Each call takes longer than the next larger size would be allowed to.
    monkeypatch.setattr(comparing, "Method", lambda: Method(0, 2, 0, 0, longest_call=0))
    engine = FakeEngine()
    code, document, _ = bench("--json", engine=engine)
    assert code == 0
    assert [work["size"] for work in document["works"]] == [work.sizes[0] for work in WORKS]
    assert all(work["reduced"] for work in document["works"])
    assert len(engine.computed) == len(WORKS)
    assert "Smaller than usual" in bench(engine=engine)[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--card-price", "2000"], "go together"),
        (["--cloud-price", "2"], "go together"),
        (["--hours-per-day", "8"], "only with"),
        (["--card-price", "0", "--cloud-price", "2"], "no number above 0"),
        (["--card-price", "-5", "--cloud-price", "2"], "no number above 0"),
        (["--card-price", "nan", "--cloud-price", "2"], "no number above 0"),
        (["--card-price", "2,5", "--cloud-price", "2"], "no number above 0"),
        (["--card-price", "1", "--cloud-price", "inf"], "no number above 0"),
        (["--card-price", "1", "--cloud-price", "1", "--hours-per-day", "25"], "more than a day has"),
        (["--device", "cpu"], "is no GPU"),
        (["--device", "cuda:-1"], "is no GPU"),
        (["--device", "cuda:7"], "there is no device cuda:7"),
        (["--plot", "speed.jpg"], "has to end in one of .png, .svg, .pdf"),
        (["--plot", "no/such/folder/speed.png"], "cannot be written"),
    ],
)
def test_wrong_usage_is_2_and_nothing_is_measured(bench, arguments, words):
    engine = FakeEngine()
    code, _, err = bench(*arguments, engine=engine)
    assert code == 2
    assert words in err
    assert engine.computed == []


def test_the_days_are_the_price_by_what_a_day_of_rent_costs():
    assert Payback(2000, 1.25, 8).days == 200
    assert Payback(2400, 50, 24).days == 2


def test_payback_says_what_it_assumes_also_without_a_gpu(bench):
    prices = ("--card-price", "2000", "--cloud-price", "1.25", "--hours-per-day", "8")
    for engine in (FakeEngine(), FakeEngine(obstacle="torch finds no GPU")):
        _, out, _ = bench(*prices, engine=engine)
        assert "after 200 days: 2000 / (1.25 an hour x 8 hours a day)" in out
        assert "Electricity" in out
    assert "paid" not in bench()[1]


@pytest.mark.parametrize("width", [60, 80])
def test_no_line_is_wider_than_the_terminal(monkeypatch, bench, capsys, width):
    bench()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(comparing, "measure", lambda *_: Timing(0.0123, 0.0119, 0.0131, 9, 1))
    main(["bench", "--card-price", "2000", "--cloud-price", "1.25"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert sum("12.3 ms" in line for line in lines) == len(WORKS)
    assert sum("11.9 - 13.1" in line for line in lines) == len(WORKS)
    assert sum(line.count("1.00x") for line in lines) == 2 * len(WORKS)


class Clock:
    """Time that passes only where the test says so; what is queued has to be waited for."""

    def __init__(self):
        self.now = 0.0
        self.queued = 0.0

    def __call__(self):
        return self.now

    def synchronise(self):
        self.now += self.queued
        self.queued = 0.0


def test_a_gpu_is_waited_for():
    clock = Clock()

    def call():
        clock.queued += 0.004

    timing = measure(call, clock.synchronise, Method(0.1, 5, 1.0, 0.02), clock)
    assert timing.median == pytest.approx(0.004)
    assert timing.calls_per_round == 5
    assert timing.rounds == 50


def test_the_first_calls_do_not_count():
    clock = Clock()
    costs = iter([9.0, 0.3] + [0.1] * 100)

    def call():
        clock.now += next(costs)

    timing = measure(call, clock.synchronise, Method(9.2, 5, 0.0, 0.0), clock)
    assert (timing.lower, timing.upper) == (pytest.approx(0.1), pytest.approx(0.1))
    assert timing.rounds == 5


def test_a_slow_round_moves_neither_median_nor_range_far():
    clock = Clock()
    costs = iter([1.0, 1.0, 1.1, 0.9, 50.0, 1.0])

    def call():
        clock.now += next(costs)

    timing = measure(call, clock.synchronise, Method(0, 5, 0, 0), clock)
    assert timing.median == pytest.approx(1.0)
    assert (timing.lower, timing.upper) == (pytest.approx(1.0), pytest.approx(1.1))


def test_the_speed_up_is_that_of_the_medians():
    def timing(median):
        return Timing(median, 0.0, 9.0, 5, 1)

    gpu = Measurement("cuda:0", "float32", timing(0.02), 0.0, 1e-3)
    work = WorkResult(
        "work", "it", {}, reduced=False, operations=1, cpu=Measurement("cpu", "float32", timing(1)), gpu=(gpu,)
    )
    assert work.speed_up(gpu) == pytest.approx(50)
    assert work.as_json()["gpu"][0]["speed_up"] == pytest.approx(50)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.5, "0.50"), (9.994, "9.99"), (9.996, "10.0"), (37.04, "37.0"), (99.96, "100"), (1234.4, "1234")],
)
def test_numbers_have_three_digits(number, text):
    assert three_digits(number) == text


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_sizes_grow(work):
    operations = [work.operations(size) for size in work.sizes]
    assert operations == sorted(set(operations))


def test_without_torch_the_next_step_is_named(installed):
    result = installed.run(installed.script("rtx50-autoload"), "bench")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "torch cannot be imported" in result.stderr
    assert "`rtx50-autoload plan`" in result.stderr
    assert "Traceback" not in result.stderr


def test_without_matplotlib_the_command_that_installs_it_is_named_before_anything_else(installed):
    result = installed.run(installed.script("rtx50-autoload"), "bench", "--plot", "speed.png")
    assert result.returncode == 2
    assert "pip install 'rtx50-autoload[plot]'" in result.stderr
    assert "torch" not in result.stderr


@pytest.fixture
def plotted(bench, tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib, which the tests do not require")
    return lambda file, **options: bench("--plot", tmp_path / file, **options)


@pytest.mark.parametrize(("file", "begins"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.PDF", b"%PDF")])
def test_a_picture_is_drawn(plotted, tmp_path, file, begins):
    assert plotted(file)[0] == 0
    assert (tmp_path / file).read_bytes().startswith(begins)


def test_without_a_speed_up_no_picture_is_drawn_and_that_is_said(plotted, tmp_path):
    code, _, err = plotted("a.png", engine=FakeEngine(obstacle="torch finds no GPU"))
    assert code == 1
    assert "no picture is drawn" in err
    assert list(tmp_path.iterdir()) == []


class FakeTorch:
    """What `TorchEngine` asks torch of a GPU: `count` of them, each raising `error` where something is computed."""

    __version__ = "2.11.0+cu130"

    def __init__(self, count, cuda="13.0", error=None):
        self.waited_for = []
        self.version = SimpleNamespace(cuda=cuda)
        self.cuda = SimpleNamespace(
            is_available=lambda: count > 0, device_count=lambda: count, synchronize=self.waited_for.append
        )
        self._error = error

    def device(self, place):
        return SimpleNamespace(index=int(place.removeprefix("cuda:")))

    def ones(self, _count, device):
        assert device == "cuda:0"
        if self._error:
            raise self._error
        return SimpleNamespace(sum=lambda: SimpleNamespace(item=lambda: 8.0))


@pytest.fixture
def engine(monkeypatch):
    def make(torch):
        monkeypatch.setitem(sys.modules, "torch", torch)
        monkeypatch.setitem(sys.modules, "rtx50_autoload.benchmarking.networks", SimpleNamespace())
        return TorchEngine()

    return make


@pytest.mark.parametrize(
    ("torch", "reason"),
    [
        (FakeTorch(1), ""),
        (FakeTorch(0), "torch finds no GPU that it can use, with CUDA 13.0"),
        (FakeTorch(0, cuda=None), "this torch (2.11.0+cu130) is built without CUDA"),
        (FakeTorch(1, error=RuntimeError("no kernel image\nCompile with")), "cuda:0 cannot compute: no kernel image"),
    ],
)
def test_why_a_gpu_cannot_be_used_is_said(engine, torch, reason):
    assert engine(torch).obstacle("cuda:0") == reason


def test_a_device_that_is_not_there_is_wrong_usage(engine):
    with pytest.raises(UsageError, match="there is no device cuda:2: torch sees 2, numbered from cuda:0"):
        engine(FakeTorch(2)).obstacle("cuda:2")


def test_only_a_gpu_has_to_be_waited_for(engine):
    torch = FakeTorch(1)
    for place in ("cpu", "cuda:0"):
        engine(torch).synchronise(place)
    assert torch.waited_for == ["cuda:0"]


REAL = """
    import json
    from rtx50_autoload.benchmarking.comparing import compare
    from rtx50_autoload.benchmarking.engine import TorchEngine
    from rtx50_autoload.benchmarking.timing import Method
    from rtx50_autoload.benchmarking.work import WORKS

    engine = TorchEngine()
    found = {}
    for work in WORKS:
        size = {**work.sizes[0], "rows": 64, "batch": 2, "tokens": 16, "vocabulary": 100}
        first, again = engine.task(work.kind, size), engine.task(work.kind, size)
        expected = engine.on(first, "cpu", "float32")()
        off = {dtype: engine.distance(engine.on(again, "cpu", dtype)(), expected) for dtype in ("float32", "bfloat16")}
        off["nan"] = engine.distance(expected * float("nan"), expected) == float("inf")
        off["other"] = engine.distance(expected.roll(1, 0), expected)
        off["shape"] = list(expected.shape)
        found[work.name] = off
    short = Method(warm_up_seconds=0, rounds=2, seconds=0, round_seconds=0, longest_call=0)
    document = compare(engine, "cuda:0", works=WORKS[:1], method=short).as_json()
    print(json.dumps({"found": found, "document": document}))
"""


def test_with_the_real_torch_bounds_tell_rounding_from_wrong_results(with_torch):
    result = with_torch.run_code(REAL, env={"RTX50_SIMULATE": "12.0", "CUDA_VISIBLE_DEVICES": ""})
    answer = json.loads(result.stdout)
    shapes = {"matrix multiplication": [64, 64], "embeddings": [2, 384], "transformer inference": [2, 100]}
    for name, off in answer["found"].items():
        assert off["shape"] == shapes[name]
        assert off["float32"] == 0
        assert 0 < off["bfloat16"] < BOUNDS["bfloat16"] / 2
        assert off["other"] > 2 * BOUNDS["bfloat16"]
        assert off["nan"]
    document = answer["document"]
    assert not document["ok"]
    assert document["simulated"]
    assert document["no_gpu"]
    assert document["float32_precision"] == "highest"
    assert document["threads"] > 0
    assert document["works"][0]["cpu"]["timing"]["median"] > 0
