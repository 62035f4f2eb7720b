"""What the first `import torch` waits for: where nobody is told anything, as little of ours as that takes."""

from __future__ import annotations

from rtx50_autoload import autoloader
from rtx50_autoload.rescue.functions import load_libraries

#: What takes long to import, and only some programs need.
COSTLY = {
    "tomllib",
    "tomli",
    "rtx50_autoload.diagnosis",
    "rtx50_autoload.evidence.devices",
    "rtx50_autoload.evidence.nvml_library",
    "rtx50_autoload.masquerading.policy",
    "rtx50_autoload.masquerading.simulation",
    "rtx50_autoload.rescue",
}
LOADED = f"import sys, torch; print(sorted(sys.modules.keys() & {COSTLY}))"


def test_where_nobody_is_told_anything_none_of_that_is_loaded(with_fake_torch, tmp_path):
    # No library of a driver, whichever machine this is.
    code = f"from rtx50_autoload.evidence import driver; driver.is_absent = lambda: True; {LOADED}"
    ours = with_fake_torch.run_code(code, cwd=tmp_path).stdout
    # The counter of lines may have loaded something itself.
    assert ours == with_fake_torch.run_code(LOADED, cwd=tmp_path, env={"RTX50_DISABLE": "1"}).stdout


def test_where_somebody_is_told_something_it_is(with_fake_torch):
    loaded = with_fake_torch.run_code(LOADED, env={"RTX50_SIMULATE": "12.0"}).stdout
    assert "rtx50_autoload.masquerading.simulation" in loaded


def test_the_packages_that_bring_the_stand_ins_along_are_those_that_they_stand_in_for():
    assert {library.module.partition(".")[0] for library in load_libraries()} == autoloader._STOOD_IN_FOR
