"""The verdict on installed libraries, by the binaries that they really use."""

from __future__ import annotations

import pytest

from fake_binaries import container, elf, image
from fake_distributions import JIT, NATIVE, OLD, OTHER_GPU, install, torch_version
from rtx50_autoload.evidence.arch import JitSwitches
from rtx50_autoload.evidence.imagecache import ImageCache
from rtx50_autoload.evidence.inventory import take_inventory
from rtx50_autoload.evidence.subject import Subject
from rtx50_autoload.evidence.verdict import Target, Verdict


def subject(major, minor, driver=None, **switches):
    return Subject(Target((major, minor), driver, JitSwitches(**switches)), "a GPU", "for the test")


RTX_5090, RTX_4090 = subject(12, 0), subject(8, 9)


@pytest.fixture(autouse=True)
def _no_choice_by_variable(monkeypatch, tmp_path):
    monkeypatch.delenv("BNB_CUDA_VERSION", raising=False)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def library(*images):
    return elf([container(*images)])


def inventory(site, *subjects, **options):
    return take_inventory(subjects or (RTX_5090,), path=[str(site)], **options)


def judged(site, *subjects):
    (found,) = inventory(site, *subjects).libraries
    return found


def verdict(site, *subjects):
    return judged(site, *subjects).worst.judgement.verdict.value


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([NATIVE], "native"),
        ([NATIVE, JIT], "jit"),
        ([NATIVE, OLD], "partial"),
        ([OLD, OLD], "impossible"),
        ([OTHER_GPU], "impossible"),
        ([NATIVE, OTHER_GPU], "native"),
        ([OLD, OTHER_GPU], "impossible"),
    ],
)
def test_a_library_is_judged_by_all_of_its_binaries(site, images, expected):
    install(site, "lib", "1", {f"lib/{index}.so": library(*one) for index, one in enumerate(images)})
    assert verdict(site) == expected


def test_what_fails_in_part_is_named(site):
    install(site, "lib", "1", {"lib/a.so": library(*NATIVE), "lib/b.so": library(*OLD), "lib/c.so": library(*OLD)})
    assert judged(site).worst.judgement.reason == "b.so (1 more like it): 1 module with nothing that loads on 12.0"


def test_what_is_named_is_not_what_was_made_for_other_gpus(site):
    files = {"lib/a.so": library(*OTHER_GPU), "lib/b.so": library(*OLD), "lib/c.so": library(*NATIVE)}
    install(site, "lib", "1", files)
    assert judged(site).worst.judgement.reason.startswith("b.so: ")


def test_a_damaged_or_missing_binary_is_unreadable(site):
    install(site, "lib", "1", {"lib/a.so": library(*NATIVE), "lib/b.so": library(*NATIVE)[:300]})
    assert verdict(site) == "unreadable"
    assert judged(site).worst.judgement.reason.startswith("b.so: ")
    (site / "lib" / "b.so").unlink()
    assert verdict(site) == "unreadable"


def test_libraries_without_gpu_code_are_counted_only(site):
    install(site, "pure", "1", {"pure/a.py": b""})
    install(site, "host", "1", {"host/a.so": elf()})
    install(site, "gpu", "1", {"gpu/a.so": library(*NATIVE)})
    found = inventory(site)
    assert [one.name for one in found.libraries] == ["gpu"]
    assert found.others == 2


def test_torch_without_gpu_code_is_listed(site):
    install(site, "torch", "2.8.0", {"torch/lib/libtorch_cpu.so": elf(), "torch/version.py": torch_version(None)})
    assert verdict(site) == "no_gpu_code"


def test_torch_is_judged_by_its_own_code_and_not_by_what_it_brings_along(site):
    files = {"torch/lib/libtorch_cuda.so": library(*OLD), "torch/lib/libcusparseLt-1.so.0": library(*JIT)}
    install(site, "torch", "2.5.1", files)
    assert verdict(site) == "impossible"
    files["torch/lib/libtorch_cuda.so"] = library(*NATIVE)
    files["torch/lib/libcusparseLt-1.so.0"] = library(*OLD)
    install(site, "torch", "2.5.1", files)
    assert verdict(site) == "native"


def test_the_worst_comes_first_and_torch_before_its_equals(site):
    for name, images in {"a-native": NATIVE, "b-jit": JIT, "apex": OLD, "torch": OLD}.items():
        install(site, name, "1", {f"{name}/libtorch_cuda.so": library(*images)})
    assert [one.name for one in inventory(site).libraries] == ["torch", "apex", "b-jit", "a-native"]


def test_each_device_gets_its_verdict_and_the_worst_stands_for_all(site):
    install(site, "lib", "1", {"lib/a.so": library(*OLD)})
    found = judged(site, RTX_4090, RTX_5090)
    assert found.as_json()["verdicts"] == {"8.9": "native", "12.0": "impossible"}
    assert found.as_json()["verdict"] == "impossible"
    assert found.as_json()["judged_for"] == "12.0"


def test_the_driver_and_the_environment_count(site):
    install(site, "lib", "1", {"lib/a.so": library("sm_80", image("compute_80", isa=(8, 7)))})
    assert verdict(site) == "jit"
    assert verdict(site, subject(12, 0, driver=565)) == "impossible"
    assert verdict(site, subject(12, 0, disabled=True)) == "impossible"


def xformers(site, version, fa3="xformers/flash_attn_3/_C.so"):
    install(site, "xformers", version, {"xformers/_C.so": library(*NATIVE), fa3: library(*JIT)})


def test_a_binary_that_loads_but_is_known_not_to_work_counts_as_failing(site):
    xformers(site, "0.0.32.post2")
    assert verdict(site) == "partial"
    assert "FlashAttention-3" in judged(site).worst.judgement.reason
    assert verdict(site, RTX_4090) == "native"


def test_a_binary_that_is_for_other_gpus_only_is_still_known_bad(site):
    install(
        site,
        "xformers",
        "0.0.30",
        {
            "xformers/_C.so": library(*JIT),
            "xformers/_C_flashattention3.so": library(*OTHER_GPU),
        },
    )
    assert verdict(site) == "partial"


def test_a_known_bad_binary_that_is_not_chosen_spoils_nothing(site):
    xformers(site, "0.0.33.post2")
    assert verdict(site) == "native"
    assert {binary.name: binary.unused is None for binary in judged(site).worst.binaries} == {
        "xformers/_C.so": True,
        "xformers/flash_attn_3/_C.so": False,
    }


@pytest.fixture
def bitsandbytes(site):
    def make(cuda, version="0.50.2"):
        images = {"118": JIT, "126": JIT, "128": NATIVE, "130": NATIVE}
        files = {f"bitsandbytes/libbitsandbytes_cuda{name}.so": library(*held) for name, held in images.items()}
        files["bitsandbytes/libbitsandbytes_cpu.so"] = elf()
        install(site, "bitsandbytes", version, files)
        install(site, "torch", "2.8.0", {"torch/version.py": torch_version(cuda)})
        (found,) = (one for one in inventory(site).libraries if one.name == "bitsandbytes")
        return found.worst

    return make


@pytest.mark.parametrize(
    ("cuda", "version", "expected", "loaded"),
    [
        ("12.8", "0.50.2", "native", "libbitsandbytes_cuda128.so"),
        ("12.6", "0.50.2", "jit", "libbitsandbytes_cuda126.so"),
        ("12.9", "0.50.2", "native", "libbitsandbytes_cuda128.so"),
        ("12.6", "0.49.1", "jit", "libbitsandbytes_cuda126.so"),
    ],
)
def test_bitsandbytes_is_judged_by_the_one_library_that_it_loads(bitsandbytes, cuda, version, expected, loaded):
    assessment = bitsandbytes(cuda, version)
    assert assessment.judgement.verdict.value == expected
    assert assessment.judgement.reason.startswith(f"{loaded} (for torch's CUDA {cuda}): ")
    assert [binary.file_name for binary in assessment.binaries if binary.unused is None] == [loaded]


@pytest.mark.parametrize(("cuda", "version"), [("14.0", "0.50.2"), ("12.9", "0.49.1")])
def test_no_library_for_torchs_cuda_is_impossible(bitsandbytes, cuda, version):
    assessment = bitsandbytes(cuda, version)
    assert assessment.judgement.verdict is Verdict.IMPOSSIBLE
    assert assessment.judgement.reason == f"it has no library for torch's CUDA {cuda}, only for 11.8, 12.6, 12.8, 13.0"


def test_without_torchs_cuda_it_says_what_each_would_be(bitsandbytes):
    assessment = bitsandbytes(None)
    assert assessment.judgement.verdict is Verdict.JIT
    assert assessment.judgement.reason.endswith("native for 12.8, 13.0, jit for 11.8, 12.6")


def test_the_variable_of_the_library_decides_before_torch(bitsandbytes, monkeypatch):
    monkeypatch.setenv("BNB_CUDA_VERSION", "118")
    assert bitsandbytes("12.8").judgement.reason.startswith("libbitsandbytes_cuda118.so (for BNB_CUDA_VERSION=118): ")
    monkeypatch.setenv("BNB_CUDA_VERSION", "119")
    assert bitsandbytes("12.8").judgement.verdict is Verdict.IMPOSSIBLE


def test_nvidias_wheels_for_another_cuda_are_idle(site):
    install(site, "torch", "2.13.0", {"torch/version.py": torch_version("13.0")})
    for name in ("nvidia-cufft-cu12", "nvidia-cufft-cu13"):
        install(site, name, "1", {f"{name}/lib/libcufft.so": library(*OLD)})
    idle = {one.name: one.idle is not None for one in inventory(site).libraries}
    assert idle == {"torch": False, "nvidia-cufft-cu12": True, "nvidia-cufft-cu13": False}


def test_torchs_compiled_extensions_are_libraries_too(site, tmp_path):
    install(site, "torch", "2.8.0", {"torch/version.py": torch_version()})
    (tmp_path / "extensions" / "fused").mkdir(parents=True)
    (tmp_path / "extensions" / "fused" / "fused.so").write_bytes(library(*OLD))
    found = {one.name: one for one in inventory(site).libraries}
    assert found["fused"].origin == "torch_extensions"
    assert found["fused"].worst.judgement.verdict is Verdict.IMPOSSIBLE


def test_a_reader_sees_every_binary_and_the_cache_is_saved(site, tmp_path):
    install(site, "lib", "1", {"lib/a.so": library(*NATIVE), "lib/b.so": elf()})
    seen = []

    def reader(binaries):
        for binary in binaries:
            seen.append(binary[1])
            yield binary

    inventory(site, reader=reader, cache=ImageCache(tmp_path / "images.json"))
    assert seen == ["lib/a.so", "lib/b.so"]
    assert (tmp_path / "images.json").exists()
