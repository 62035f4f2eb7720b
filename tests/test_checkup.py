"""`rtx50_autoload.doctor()` in a program and in a notebook."""

from __future__ import annotations

import json

from fake_binaries import container, elf
from fake_distributions import OLD, install

RTX_5090 = {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}


def test_it_tells_what_the_command_tells(installed, tmp_path):
    install(tmp_path, "torch", "2.5.1", {"torch/lib/libtorch_cuda.so": elf([container(*OLD)])})
    code = """
        import json, sys
        before = list(sys.meta_path)
        import rtx50_autoload
        checkup = rtx50_autoload.doctor()
        unchanged = sys.meta_path == before and "importlib_metadata" not in sys.modules
        shown = [repr(checkup), checkup._repr_html_()]
        print(json.dumps([checkup.ok, checkup.libraries, checkup.findings, *shown, unchanged]))
    """
    output = installed.run_code(code, env={**RTX_5090, "PYTHONPATH": str(tmp_path)}).stdout
    ok, libraries, findings, shown, page, unchanged = json.loads(output)
    assert unchanged
    assert not ok
    assert [library["verdict"] for library in libraries] == ["impossible"]
    assert "torch-impossible" in [finding["id"] for finding in findings]
    first, *rest = shown.splitlines()
    assert first.startswith("<Checkup: 1 error")  # and, where this Python is old, a warning
    assert "  torch 2.5.1: impossible, 1 module with nothing that loads on 12.0" in rest
    assert page.startswith("<style>")
    assert "<html" not in page
    assert "torch 2.5.1 cannot run" in page


def test_a_device_can_be_asked_about(installed, tmp_path):
    install(tmp_path, "torch", "2.5.1", {"torch/lib/libtorch_cuda.so": elf([container(*OLD)])})
    code = "import rtx50_autoload; print(rtx50_autoload.doctor('9.0').libraries[0]['verdict'])"
    assert installed.run_code(code, env={"PYTHONPATH": str(tmp_path)}).stdout == "native\n"


def test_what_the_command_cannot_do_is_an_error_of_ours(installed):
    code = """
        import rtx50_autoload
        try:
            rtx50_autoload.doctor("120")
        except rtx50_autoload.RTX50Error as error:
            print(error)
    """
    assert "'120' is not a compute capability" in installed.run_code(code).stdout
