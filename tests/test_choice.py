"""Which torch is chosen for a machine: one that serves its GPUs, by the smallest change, none that may not exist."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st
from packaging.version import Version

from rtx50_autoload.diagnosis.situation import Gpu
from rtx50_autoload.evidence.environment.topic import knowledge
from rtx50_autoload.installer.choice import Choice, NoChoice, choose
from rtx50_autoload.installer.facts import load_facts
from rtx50_autoload.installer.machine import Machine, Package
from rtx50_autoload.installer.plan import Goal

RTX_5090 = Gpu("NVIDIA GeForce RTX 5090", (12, 0), "nvidia")
RTX_4090 = Gpu("NVIDIA GeForce RTX 4090", (8, 9), "nvidia")
GTX_1080_TI = Gpu("NVIDIA GeForce GTX 1080 Ti", (6, 1), "nvidia")
GB10 = Gpu("NVIDIA GB10", (12, 1), "nvidia")
RADEON = Gpu("AMD Radeon RX 7900 XTX", None, "amd")
ARC = Gpu("Intel Arc B580", None, "intel")

XFORMERS = Goal("run", "xformers")


def package(text, *requires, origin=None):
    version, _, variant = text.partition("+")
    return Package(version, variant or None, requires, origin)


def machine(*gpus, driver="580.95.05", packages=None, **rest):
    installed = {name: each if isinstance(each, Package) else package(each) for name, each in (packages or {}).items()}
    return Machine(gpus=gpus or (RTX_5090,), driver=driver, packages=installed, **rest)


def chosen(where, *goals):
    """Give what is chosen, as ``{"torch": "2.8.0+cu128"}``; there has to be something."""
    choice = choose(where, goals, load_facts())
    assert isinstance(choice, Choice), choice
    return {pin.package: pin.exact for pin in choice.pins}


def choice_of(where, *goals):
    choice = choose(where, goals, load_facts())
    assert isinstance(choice, Choice), choice
    return choice


def refused(where, *goals):
    choice = choose(where, goals, load_facts())
    assert isinstance(choice, NoChoice), choice
    return choice


# What is installed stays where it serves


@pytest.mark.parametrize(
    ("torch", "gpu", "driver"),
    [
        ("2.8.0+cu128", RTX_5090, "570.124.06"),
        ("2.7.1+cu128", RTX_5090, "580.95.05"),
        ("2.12.1+cu129", RTX_5090, "575.57.08"),
        ("2.15.0+cu132", RTX_5090, "580.95.05"),
        ("2.2.2+cu121", RTX_4090, "535.154"),
        ("2.5.1+cu124", RTX_4090, "560.94"),
        ("2.4.1+cu118", RTX_4090, "470.82"),
        # PyPI's wheels do not say for what they are built: 2.9.1 is for CUDA 12.8 on Linux.
        ("2.9.1", RTX_5090, "570.124.06"),
        # Newer than all that is written down.
        ("2.19.0+cu140", RTX_5090, "640.10"),
        ("2.14.0+cu134", RTX_5090, "610.43"),
    ],
)
def test_a_torch_that_serves_stays(torch, gpu, driver):
    assert chosen(machine(gpu, driver=driver, packages={"torch": torch})) == {}


def test_a_family_that_fits_stays_with_it():
    packages = {
        "torch": "2.9.1+cu128",
        "torchvision": package("0.24.1+cu128", "torch==2.9.1"),
        "torchaudio": package("2.9.1+cu128", "torch==2.9.1"),
        "triton": "3.5.1",
        "xformers": package("0.0.33.post2", "torch==2.9.1", "numpy"),
        "bitsandbytes": package("0.48.2", "torch<3,>=2.3"),
        "numpy": "2.3.4",
    }
    assert chosen(machine(packages=packages), XFORMERS) == {}


@pytest.mark.parametrize(
    "torch", ["2.16.0.dev20261120+cu130", "2.8.0.dev20250501+cu128", "2.9.0a0+git1a2b3c4", "2.9.0rc3"]
)
def test_what_is_no_release_is_never_exchanged(torch):
    answer = choose(machine(packages={"torch": torch}), [], load_facts())
    if isinstance(answer, Choice):
        assert answer.pins == ()
        assert "left alone" in " ".join(answer.reasons)
    else:
        assert answer.kind == "torch"
        assert "left alone" in answer.why


def test_a_nightly_that_does_not_serve_is_left_to_its_owner():
    assert refused(machine(packages={"torch": "2.12.0.dev20260301+cu126"})).kind == "torch"


def test_a_nightly_that_the_driver_does_not_carry_needs_another_driver():
    hindrance = refused(machine(driver="570.124.06", packages={"torch": "2.16.0.dev20261120+cu130"}))
    assert (hindrance.kind, hindrance.driver) == ("driver", 580)


def test_a_nightly_stays_where_a_release_would_serve_an_older_gpu_beside():
    where = machine(GTX_1080_TI, RTX_5090, system="windows", packages={"torch": "2.12.0.dev20260301+cu128"})
    choice = choice_of(where)
    assert choice.pins == ()
    assert choice.leaves == (GTX_1080_TI,)


# The release stays, the variant changes


@pytest.mark.parametrize(
    ("before", "driver", "system", "after"),
    [
        ("2.8.0+cpu", "570.124.06", "linux", "2.8.0+cu128"),
        ("2.7.1+cu126", "580.95.05", "linux", "2.7.1+cu128"),
        ("2.9.1+cu126", "575.57.08", "linux", "2.9.1+cu128"),
        ("2.9.1+cu126", "580.95.05", "linux", "2.9.1+cu130"),
        ("2.9.1+cu130", "576.52", "windows", "2.9.1+cu128"),
        ("2.14.1+cu126", "595.20", "linux", "2.14.1+cu130"),
        # A limited release, for Linux only: better than another release.
        ("2.13.0+cu130", "575.64.03", "linux", "2.13.0+cu129"),
        ("2.13.0+cu130", "576.52", "windows", "2.11.0+cu128"),
        # PyPI's torch for Windows is the build for the CPU, without saying so in its metadata.
        ("2.8.0", "576.88", "windows", "2.8.0+cu128"),
        ("2.8.0+rocm6.4", "570.124.06", "linux", "2.8.0+cu128"),
    ],
)
def test_the_release_stays_where_a_variant_of_it_serves(before, driver, system, after):
    where = machine(driver=driver, system=system, packages={"torch": before})
    assert chosen(where)["torch"] == after


def test_the_family_changes_its_variant_with_torch():
    packages = {
        "torch": "2.7.1+cu126",
        "torchvision": package("0.22.1+cu126", "torch==2.7.1"),
        # From PyPI: for CUDA 12.6, without saying so.
        "torchaudio": package("2.7.1", "torch==2.7.1"),
        "triton": "3.3.1",
    }
    assert chosen(machine(driver="570.124.06", packages=packages)) == {
        "torch": "2.7.1+cu128",
        "torchvision": "0.22.1+cu128",
        "torchaudio": "2.7.1+cu128",
    }


def test_a_torchvision_from_another_index_is_exchanged_alone():
    packages = {"torch": "2.7.1+cu128", "torchvision": package("0.22.1+cu126", "torch==2.7.1")}
    assert chosen(machine(packages=packages)) == {"torchvision": "0.22.1+cu128"}


def test_a_torchvision_on_the_stable_abi_fits_later_releases():
    packages = {"torch": "2.15.0+cu130", "torchvision": package("0.29.1+cu130", "torch>=2.14.0")}
    assert chosen(machine(packages=packages)) == {}


# The release changes


@pytest.mark.parametrize(
    ("driver", "python", "after"),
    [
        ("570.124.06", "3.12", "2.11.0+cu128"),
        ("575.57.08", "3.12", "2.11.0+cu128"),
        ("580.95.05", "3.12", "2.15.0+cu130"),
        ("610.43.02", "3.12", "2.15.0+cu130"),
        (None, "3.12", "2.15.0+cu130"),
        ("580.95.05", "3.10", "2.14.1+cu130"),
        ("580.95.05", "3.13t", "2.12.0+cu130"),
        ("570.124.06", "3.9", "2.8.0+cu128"),
        ("580.95.05", "3.15t", "2.15.0+cu130"),
    ],
)
def test_where_no_variant_serves_the_newest_release_is_taken_that_driver_and_python_allow(driver, python, after):
    where = machine(driver=driver, python=python, packages={"torch": "2.4.1+cu121"})
    assert chosen(where) == {"torch": after}
    assert chosen(dataclasses.replace(where, packages={})) == {"torch": after}


def test_a_package_that_bounds_torch_bounds_the_choice():
    packages = {"torch": "2.6.0+cu124", "audio-toolbox": package("1.0", "torch<2.9,>=2.4")}
    choice = choice_of(machine(packages=packages))
    assert choice.torch == "2.8.0"
    assert choice.conflicts == ()


def test_a_requirement_that_nothing_can_keep_is_named():
    packages = {"torch": "2.1.0+cu121", "audiocraft": package("1.3.0", "torch==2.1.0")}
    choice = choice_of(machine(packages=packages))
    assert choice.torch == "2.15.0"
    assert [(each.package, each.requirement) for each in choice.conflicts] == [("audiocraft", "torch==2.1.0")]


def test_a_requirement_for_another_system_counts_for_nothing():
    packages = {"torch": "2.6.0+cu124", "other": package("1.0", "torch<2.8; sys_platform == 'win32'", "torch>=!?", "x")}
    assert choice_of(machine(packages=packages)).torch == "2.15.0"


def test_torchaudio_ends_with_2_11_and_goes_with_later_releases():
    packages = {"torch": "2.6.0+cu124", "torchaudio": package("2.6.0+cu124", "torch==2.6.0")}
    assert chosen(machine(packages=packages)) == {"torch": "2.15.0+cu130", "torchaudio": "2.11.0+cu130"}


def test_a_variant_without_torchaudio_gives_way_to_one_with_it():
    packages = {"torch": "2.14.1+cu132"}
    assert chosen(machine(packages=packages)) == {}
    wanted = chosen(machine(packages=packages), Goal("run", "torchaudio"))
    assert wanted == {"torch": "2.14.1+cu130", "torchaudio": "2.11.0+cu130"}


def test_what_no_release_has_for_this_python_is_left_out_and_that_is_said():
    choice = choice_of(machine(python="3.15"), Goal("run", "torchaudio"))
    assert choice.torch == "2.15.0"
    assert [remark.package for remark in choice.left_out] == ["torchaudio"]


# Several GPUs


def test_one_build_serves_an_rtx_50_and_an_rtx_40():
    choice = choice_of(machine(RTX_4090, RTX_5090, packages={"torch": "2.8.0+cu126"}))
    assert choice.serves == (RTX_4090, RTX_5090)
    assert choice.leaves == ()


def test_on_linux_no_build_serves_an_rtx_50_and_a_pascal_so_the_rtx_50_is_served():
    choice = choice_of(machine(GTX_1080_TI, RTX_5090, packages={"torch": "2.9.1+cu126"}))
    assert (choice.torch, choice.variant) == ("2.9.1", "cu130")
    assert choice.leaves == (GTX_1080_TI,)
    assert "no build of torch holds code for all GPUs" in choice.reasons[-1]
    assert "CUDA_VISIBLE_DEVICES" in choice.reasons[-1]


def test_on_windows_one_build_serves_both_and_is_taken():
    choice = choice_of(machine(GTX_1080_TI, RTX_5090, system="windows", packages={"torch": "2.11.0+cu128"}))
    assert (choice.torch, choice.variant) == ("2.8.0", "cu128")
    assert choice.leaves == ()


def test_an_older_gpu_is_not_served_at_the_price_of_what_is_installed():
    packages = {"torch": "2.11.0+cu128", "newcomer": package("1.0", "torch>=2.10")}
    choice = choice_of(machine(GTX_1080_TI, RTX_5090, system="windows", packages=packages))
    assert choice.pins == ()
    assert choice.leaves == (GTX_1080_TI,)
    assert "do not fit" in choice.reasons[-1]


def test_a_pascal_alone_gets_the_last_variant_that_knows_it():
    assert chosen(machine(GTX_1080_TI, driver="570.124.06")) == {"torch": "2.14.1+cu126"}


def test_a_gpu_of_another_maker_beside_an_rtx_50_changes_nothing():
    assert chosen(machine(RADEON, RTX_5090, packages={"torch": "2.9.1+cu130"})) == {}


# Platforms


def test_a_gb10_gets_the_builds_for_aarch64():
    where = machine(GB10, processor="aarch64", packages={"torch": "2.9.1"})
    assert chosen(where) == {"torch": "2.9.1+cu130"}


def test_windows_gets_triton_from_pypi():
    packages = {"torch": "2.9.1+cpu", "triton-windows": "3.3.1.post19"}
    choice = choice_of(machine(system="windows", packages=packages))
    triton = next(pin for pin in choice.pins if pin.package == "triton-windows")
    assert (triton.version, triton.index) == ("3.5.1.post24", None)


def test_all_that_is_built_with_torch_comes_from_one_index():
    choice = choice_of(machine(packages={"torch": "2.6.0+cu124", "torchvision": "0.21.0+cu124"}))
    assert {pin.index for pin in choice.pins} == {"https://download.pytorch.org/whl/cu130"} == {choice.index}


# xformers, bitsandbytes, flash-attn, numpy


@pytest.mark.parametrize(
    ("torch", "xformers", "index"),
    [
        ("2.7.0+cu128", "0.0.30", "cu128"),
        ("2.8.0+cu128", "0.0.32.post2", "cu128"),
        ("2.9.1+cu130", "0.0.33.post2", "cu130"),
        ("2.10.0+cu128", "0.0.35", "cu128"),
        ("2.15.0+cu130", "0.0.35", "cu130"),
        # Built with 13.0: the libraries are those of the major version.
        ("2.15.0+cu132", "0.0.35", "cu130"),
        # PyPI's is built with 12.8.
        ("2.12.1+cu129", "0.0.35", None),
    ],
)
def test_the_xformers_for_a_torch_is_the_one_that_was_built_for_it(torch, xformers, index):
    choice = choice_of(machine(packages={"torch": torch}), XFORMERS)
    (pin,) = choice.pins
    assert (pin.package, pin.version) == ("xformers", xformers)
    assert pin.index == (index and f"https://download.pytorch.org/whl/{index}")


def test_an_xformers_for_another_torch_is_exchanged_and_torch_stays():
    packages = {"torch": "2.9.1+cu128", "xformers": package("0.0.29.post3", "torch==2.6.0")}
    assert chosen(machine(packages=packages)) == {"xformers": "0.0.33.post2"}


def test_without_a_wheel_xformers_has_to_be_built():
    choice = choice_of(machine(GB10, processor="aarch64", packages={"torch": "2.9.1+cu130"}), XFORMERS)
    assert choice.pins == ()
    assert [remark.package for remark in choice.builds] == ["xformers"]


@pytest.mark.parametrize(
    ("torch", "bitsandbytes"), [("2.8.0+cu128", "0.50.2"), ("2.15.0+cu132", "0.50.2"), ("2.12.1+cu129", "0.49.2")]
)
def test_bitsandbytes_needs_a_library_for_the_cuda_of_torch(torch, bitsandbytes):
    packages = {"torch": torch, "bitsandbytes": "0.43.3"}
    assert chosen(machine(packages=packages)) == {"bitsandbytes": bitsandbytes}


@pytest.mark.parametrize("kind", ["run", "build"])
def test_flash_attn_is_built(kind):
    choice = choice_of(machine(packages={"torch": "2.9.1+cu130"}), Goal(kind, "flash-attn"))
    assert choice.pins == ()
    assert [remark.package for remark in choice.builds] == ["flash-attn"]
    assert choice.builds[0].version


def test_a_flash_attn_for_another_torch_is_built_again():
    origin = (
        "https://github.com/Dao-AILab/flash-attention/releases/flash_attn-2.7.2.post1+cu12torch2.5cxx11abiFALSE-cp312"
    )
    packages = {"torch": "2.9.1+cu128", "flash-attn": package("2.7.2.post1", "torch", origin=origin)}
    assert [remark.package for remark in choice_of(machine(packages=packages)).builds] == ["flash-attn"]


def test_a_flash_attn_from_before_the_rtx_50_series_is_built_again():
    packages = {"torch": "2.8.0+cu128", "flash-attn": package("2.6.3", "torch")}
    assert [remark.package for remark in choice_of(machine(packages=packages)).builds] == ["flash-attn"]
    assert choice_of(machine(RTX_4090, packages=packages)).builds == ()


def test_a_flash_attn_that_says_nothing_fits_a_torch_that_stays_and_no_other():
    packages = {"torch": "2.9.1+cu128", "flash-attn": package("2.8.3", "torch")}
    assert choice_of(machine(packages=packages)).builds == ()
    packages["torch"] = "2.9.1+cu126"
    assert [remark.package for remark in choice_of(machine(packages=packages)).builds] == ["flash-attn"]


def test_a_torch_from_before_numpy_2_needs_an_older_numpy():
    packages = {"torch": "2.2.2+cu121", "numpy": "2.1.3"}
    assert chosen(machine(RTX_4090, driver="550.144.03", packages=packages)) == {"numpy": "1.26.4"}


def test_what_is_known_to_go_wrong_is_said():
    packages = {"torch": "2.9.1+cu128", "xformers": package("0.0.33.post2", "torch==2.9.1")}
    (caution,) = choice_of(machine(packages=packages)).cautions
    assert caution.startswith("xformers 0.0.33.post2: ")
    assert "FlashAttention-3" in caution
    assert choice_of(machine(RTX_4090, packages=packages)).cautions == ()


def test_sageattention_needs_triton_which_nothing_requires_on_windows():
    packages = {"torch": "2.9.1+cu130"}
    goal = Goal("run", "sageattention")
    assert chosen(machine(packages=packages), goal) == {"sageattention": "1.0.6"}
    on_windows = machine(system="windows", packages=packages)
    assert chosen(on_windows, goal) == {"triton-windows": "3.5.1.post24", "sageattention": "1.0.6"}


def test_a_goal_that_nothing_is_known_of_is_named():
    choice = choice_of(machine(packages={"torch": "2.9.1+cu130"}), Goal("run", "vllm"))
    assert [remark.package for remark in choice.left_out] == ["vllm"]


# Where there is nothing to choose


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        (machine(RADEON), "vendor"),
        (machine(ARC), "vendor"),
        (machine(Gpu("Apple M3 Max", None, "apple"), system="macos", processor="aarch64"), "vendor"),
        (machine(system="macos"), "system"),
        (machine(system="windows", processor="aarch64"), "system"),
        (Machine(), "gpu"),
        (machine(Gpu("NVIDIA Graphics Device", None, "nvidia")), "gpu"),
        (machine(python="3.8"), "python"),
        (machine(python="3.19"), "python"),
        (machine(driver="550.144.03"), "driver"),
        (machine(driver="566.36", system="windows", packages={"torch": "2.8.0+cu128"}), "driver"),
        (machine(Gpu("NVIDIA GeForce GTX 680", (3, 0), "nvidia")), "capability"),
        (machine(Gpu("NVIDIA GeForce RTX 9090", (15, 0), "nvidia")), "capability"),
    ],
)
def test_what_hinders_is_named(where, kind):
    hindrance = refused(where)
    assert hindrance.kind == kind
    assert hindrance.why.endswith(".")
    assert hindrance.next.endswith(".")


def test_the_driver_that_would_do_is_named():
    assert refused(machine(driver="550.144.03")).driver == 570
    assert refused(machine(driver="570.169", python="3.15")).driver == 580
    assert refused(machine(driver="550.144.03", packages={"torch": "2.14.1+cu130"})).driver == 580


def test_the_pythons_that_would_do_are_named():
    pythons = refused(machine(python="3.8")).pythons
    assert "3.12" in pythons
    assert "3.8" not in pythons
    assert all(isinstance(choose(machine(python=python), [], load_facts()), Choice) for python in pythons)


# Any machine

GPUS = st.lists(
    st.sampled_from([RTX_5090, RTX_4090, GTX_1080_TI, GB10, RADEON])
    | st.builds(
        Gpu,
        st.sampled_from([None, "NVIDIA H200"]),
        st.sampled_from([None, (3, 5), (5, 2), (7, 0), (7, 5), (8, 6), (9, 0), (10, 3), (11, 0), (13, 0)]),
        st.sampled_from(["nvidia", None]),
    ),
    max_size=3,
).map(tuple)
DRIVERS = st.sampled_from([None, "440.33", "470.82", "535.154", "566.36", "570.86", "576.88", "580.95", "700.1", "new"])
PYTHONS = st.sampled_from(
    ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.13t", "3.14", "3.14t", "3.15", "3.15t", "4.0"]
)
VARIANTS = [
    "",
    "+cpu",
    "+cu117",
    "+cu118",
    "+cu121",
    "+cu124",
    "+cu126",
    "+cu128",
    "+cu129",
    "+cu130",
    "+cu132",
    "+cu140",
]
RELEASES = [
    "1.13.1",
    *(row["version"] for row in knowledge("versions")["torch"]),
    "2.16.0",
    "3.0.0",
    "2.9.0a0",
    "2.9.0+git1",
]
OTHERS = {
    "torchvision": ["0.15.2", "0.22.1", "0.24.1", "0.29.2", "0.40.0"],
    "torchaudio": ["2.7.1", "2.9.1", "2.11.0", "2.20.0"],
    "triton": ["3.3.1", "3.5.1", "9.0"],
    "triton-windows": ["3.3.1.post19", "nightly"],
    "xformers": ["0.0.23", "0.0.30", "0.0.33.post2", "0.0.35", "0.1.0"],
    "bitsandbytes": ["0.41.0", "0.45.3", "0.49.2", "0.60.0", "?"],
    "flash-attn": ["2.7.4.post1", "2.8.3"],
    "numpy": ["1.26.4", "2.3.4"],
    "something": ["1.0"],
}
REQUIRES = st.lists(
    st.sampled_from(
        ["torch", "torch<2.9", "torch==2.7.1", "torch>=2.10; python_version < '3.12'", "numpy<2", "not one ("]
    ),
    max_size=2,
).map(tuple)


@st.composite
def machines(draw):
    packages = {
        name: draw(
            st.builds(
                Package,
                st.sampled_from(versions),
                st.sampled_from([None, *(variant[1:] for variant in VARIANTS if variant)]),
                REQUIRES,
            )
        )
        for name, versions in OTHERS.items()
        if draw(st.booleans())
    }
    if draw(st.integers(0, 4)):
        packages["torch"] = package(draw(st.sampled_from(RELEASES)) + draw(st.sampled_from(VARIANTS)))
    return Machine(
        gpus=draw(GPUS),
        driver=draw(DRIVERS),
        system=draw(st.sampled_from(["linux", "wsl", "windows", "macos"])),
        processor=draw(st.sampled_from(["x86_64", "x86_64", "aarch64"])),
        python=draw(PYTHONS),
        packages=packages,
    )


GOALS = st.lists(
    st.builds(
        Goal,
        st.sampled_from(["run", "build"]),
        st.sampled_from(
            ["torch", "torchvision", "torchaudio", "xformers", "bitsandbytes", "flash-attn", "sageattention"]
        ),
    ),
    max_size=2,
)


def rows_of(variant, release, platform):
    """Give the rows of the table of builds for a build, read without the code under test."""
    ours = Version(release).release
    return [
        row
        for row in knowledge("versions")["build"]
        if row["variant"] == variant
        and platform in row["platforms"]
        and ours >= Version(row["first"]).release
        and ours[: len(Version(row["last"]).release)] <= Version(row["last"]).release
    ]


@property_settings(max_examples=150, deadline=None)
@given(machines(), GOALS)
def test_no_choice_promises_what_the_tables_do_not_hold(where, goals):
    choice = choose(where, goals, load_facts())
    if isinstance(choice, NoChoice):
        assert choice.why
        assert choice.next
        return
    tables = knowledge("versions")
    platform = f"{'windows' if where.system == 'windows' else 'linux'}-{where.processor}"
    branch = int(where.driver.split(".")[0]) if where.driver and where.driver[0].isdigit() else None
    pins = {pin.package: pin for pin in choice.pins}
    assert len(pins) == len(choice.pins)
    assert choice.serves
    assert {*choice.serves, *choice.leaves} == {
        gpu for gpu in where.gpus if gpu.capability and gpu.vendor in ("nvidia", None)
    }
    assert branch is None or choice.driver <= branch
    assert choice.reasons
    if "torch" in pins:
        (release,) = [row for row in tables["torch"] if row["version"] == choice.torch]
        assert where.python in release["pythons"]
        (build, *_) = rows_of(choice.variant, choice.torch, platform)
        held = [tuple(map(int, text.split("."))) for text in build["capabilities"]]
        for gpu in choice.serves:
            assert any(code[0] == gpu.capability[0] and code <= gpu.capability for code in held)
            if gpu.capability[0] == 12 and branch is not None:
                assert branch >= 570
        (index,) = [row for row in tables["index"] if row["variant"] == choice.variant]
        assert pins["torch"].index == choice.index == index["url"]
        assert index["offered"] != "never"
        assert branch is None or branch >= {11: 450, 12: 525, 13: 580}[int(index["cuda"].split(".")[0])]
        for name in ("torchvision", "torchaudio"):
            if name in pins:
                assert pins[name].version == release[name]
                assert pins[name].index == choice.index
    else:
        assert where.packages["torch"].version == choice.torch


@property_settings(max_examples=100, deadline=None)
@given(machines(), GOALS)
def test_what_was_chosen_is_not_exchanged_again(where, goals):
    choice = choose(where, goals, load_facts())
    if isinstance(choice, NoChoice):
        return
    after = {**where.packages, **{pin.package: Package(pin.version, pin.variant) for pin in choice.pins}}
    again = choose(dataclasses.replace(where, packages=after), goals, load_facts())
    assert isinstance(again, Choice)
    assert [pin.exact for pin in again.pins] == []
