"""Coming from rtx50-compat: its own test script, and `import rtx50_compat` where that package is not installed."""

from __future__ import annotations

import json
import os
import zipfile

import pytest

import rig
from desk import Desk, questions
from fake_distributions import install

posix = pytest.mark.skipif(os.name == "nt", reason="the stand-ins for assistants are programs of POSIX")

RTX_5090 = {"RTX50_SIMULATE": "NVIDIA GeForce RTX 5090:12.0"}
#: No assistant is to be found, whoever runs the tests.
ALONE = {"PATH": "", "OLLAMA_HOST": "127.0.0.1:9"}
WARNING = "DeprecationWarning: rtx50_compat is not installed: rtx50-autoload stands in for it."
BATMAN = "rtx50-autoload: Batman mode"

# The predecessor's test script, word for word.

FRESH = "import rtx50_compat; rtx50_compat.check_install()"
WITH_TORCH = "import rtx50_compat; import torch; print(torch.cuda.is_available())"
TORCH_FIRST = "import torch; import rtx50_compat"

ASSISTANTS = """
# Comprehensive AI test
from rtx50_compat import AIAssistant, SmartInstaller

# Test detection
print("=== AI Detection ===")
assistants = AIAssistant.detect_assistants()
print(f"Found: {assistants}")

# Test prompt generation
print("\\n=== Prompt Generation ===")
error = "CUDA error: no kernel image is available for execution on the device"
prompt = AIAssistant.create_troubleshooting_prompt(error, {"gpu": "RTX 5090"})
print(f"Generated prompt length: {len(prompt)} chars")
print("Prompt preview:", prompt[:200])

# Test SmartInstaller flow
print("\\n=== Smart Installation ===")
installer = SmartInstaller()
installer.install_with_ai_help()

# Test error help
print("\\n=== Error Help ===")
from rtx50_compat import get_ai_help_for_error
common_errors = [
    "ImportError: libcudnn_ops_infer.so.8: cannot open shared object file",
    "RuntimeError: CUDA error: no kernel image is available",
    "OSError: CUDA_HOME environment variable is not set",
    "BuildError: Microsoft Visual C++ 14.0 or greater is required"
]

for error in common_errors:
    help_text = get_ai_help_for_error(error)
    print(f"\\nError: {error[:50]}...")
    print(f"AI provided help: {'Yes' if help_text != 'No AI assistants found. Install claude or gemini CLI.' else 'No'}")
"""  # noqa: E501 - its own line

CHECK = """
# Simulate what happens when a user tries to use Stable Diffusion
import os
import sys

# Remove rtx50_compat from sys.modules to simulate fresh import
if 'rtx50_compat' in sys.modules:
    del sys.modules['rtx50_compat']

# Set environment to trigger SmartInstaller
os.environ['RTX50_CHECK_INSTALL'] = '1'

# This should trigger the full AI-assisted flow
try:
    import rtx50_compat
    print("✅ SmartInstaller completed")
except Exception as e:
    print(f"❌ SmartInstaller failed: {e}")
"""

BATMAN_MODE = """
import os
os.environ['RTX50_BATMAN_MODE'] = '1'
import importlib
import rtx50_compat
importlib.reload(rtx50_compat)
# Should print Batman message
"""

#: A program that ends waits only some seconds for its check.
STAY = """
import threading
for thread in threading.enumerate():
    if thread.name == "rtx50-autoload check":
        thread.join(120)
"""

# It prints a character that not every console has.
UTF_8 = {"PYTHONUTF8": "1"}


def of_ours(result):
    """Give the lines of stderr that are not those of the warning."""
    return [line for line in result.stderr.splitlines() if line.startswith("rtx50-autoload: ")]


def warned(result):
    return result.stderr.count(WARNING)


def test_it_installs_into_a_fresh_environment_and_checks_it(installed):
    result = installed.run_code(FRESH, env=ALONE | RTX_5090)
    assert "- torch is not installed" in result.stdout
    assert warned(result) == 1
    assert of_ours(result) == []


def test_it_installs_beside_a_torch(either_torch):
    result = either_torch.run_code(WITH_TORCH, env=ALONE)
    assert result.stdout == "False\n"
    assert warned(result) == 1
    assert of_ours(result) == []


def test_the_other_order_of_imports_warns_as_well_and_costs_nothing(either_torch):
    ask = """
library = {"__name__": "flash_attn", "torch": torch}
exec("told = torch.cuda.get_device_capability(0)", library)
print(library["told"])
"""
    environment = ALONE | RTX_5090 | {"RTX50_MODE": "masquerade"}
    for order in (TORCH_FIRST, WITH_TORCH):
        result = either_torch.run_code(f"{order}{ask}", env=environment)
        assert result.stdout.splitlines()[-1] == "(9, 0)"
        assert warned(result) == 1


def test_its_assistants_installer_and_errors_answer_without_an_assistant(installed):
    result = installed.run_code(ASSISTANTS, env=ALONE | RTX_5090)
    lines = result.stdout.splitlines()
    assert "Found: {}" in lines
    assert "- torch is not installed in this environment" in result.stdout
    assert lines.count("AI provided help: No") == 4
    [length] = [line for line in lines if line.startswith("Generated prompt length: ")]
    assert int(length.split()[3]) > 200
    assert warned(result) == 1


@posix
def test_its_four_errors_get_help_where_an_assistant_was_chosen(installed, tmp_path):
    desk = Desk(installed, tmp_path)
    llm = desk.put("llm")
    result = desk.run_python("-c", ASSISTANTS, RTX50_AI="auto", RTX50_ASSISTANT="llm", **RTX_5090)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "Found: {'llm': True}" in lines
    assert lines.count("AI provided help: Yes") == 4
    for error in ("libcudnn_ops_infer.so.8", "no kernel image", "CUDA_HOME", "Microsoft Visual C++ 14.0"):
        assert any(error in question for question in questions(llm))


def test_its_check_of_the_installation_runs_beside_the_program(installed):
    result = installed.run_code(CHECK + STAY, env=ALONE | RTX_5090 | UTF_8)
    assert result.stdout == "✅ SmartInstaller completed\n"
    assert "rtx50-autoload: RTX50_CHECK_INSTALL: " in of_ours(result)[0]
    assert warned(result) == 1


def test_its_batman_says_it_once_and_on_stderr(installed):
    result = installed.run_code(BATMAN_MODE, env=ALONE)
    assert result.stdout == ""
    assert [line.startswith(BATMAN) for line in of_ours(result)] == [True]
    assert warned(result) == 1


def test_the_whole_script_runs_in_one_process_and_warns_once(either_torch):
    script = f"{TORCH_FIRST}\n{WITH_TORCH}\n{FRESH}\n{ASSISTANTS}\n{CHECK}\n{BATMAN_MODE}\n{STAY}"
    result = either_torch.run_code(script, env=ALONE | RTX_5090 | UTF_8)
    assert "✅ SmartInstaller completed" in result.stdout
    assert sum(line.startswith(BATMAN) for line in of_ours(result)) == 1
    assert sum("RTX50_CHECK_INSTALL: " in line for line in of_ours(result)) == 1
    assert warned(result) == 1


# The stand-in


def test_no_file_of_ours_could_be_taken_for_the_predecessors(wheel):
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("rtx50_compat")]


def test_the_names_are_there_and_are_our_own(installed):
    code = """
        import rtx50_autoload, rtx50_compat
        from rtx50_compat import *
        for name in ("AIAssistant", "SmartInstaller", "check_install", "get_ai_help_for_error", "__version__"):
            assert getattr(rtx50_compat, name) is getattr(rtx50_autoload, name), name
        assert all(map(callable, (patch_torch, patch_pytorch_capability, verify_cuda)))
        assert sorted(dir(rtx50_compat)) == sorted(rtx50_compat.__all__)
        assert not hasattr(rtx50_compat, "log_file")
        print(rtx50_compat.__doc__)
    """
    assert "This is not rtx50_compat: rtx50-autoload stands in for it" in installed.run_code(code).stdout


def test_the_warning_names_the_line_that_imports_and_comes_once(installed, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        "import importlib, sys\n\nimport rtx50_compat\nimportlib.reload(rtx50_compat)\n"
        "del sys.modules['rtx50_compat']\nimport rtx50_compat\nprint(rtx50_compat.verify_cuda.__name__)\n"
    )
    result = installed.run("-W", "always", script, check=True)
    assert result.stdout == "verify_cuda\n"
    assert warned(result) == 1
    assert f"{script}:3: {WARNING}" in result.stderr
    assert result.stderr.splitlines()[1:] == ["  import rtx50_compat"]


def test_the_import_of_a_library_warns_nobody_by_default(installed, tmp_path):
    (tmp_path / "library.py").write_text("import rtx50_compat\n")
    result = installed.run_code("import library", env={"PYTHONPATH": str(tmp_path)})
    assert (result.stdout, result.stderr) == ("", "")


def test_where_warnings_are_errors_the_import_is_one_each_time(installed):
    code = """
        for _ in range(2):
            try:
                import rtx50_compat
            except DeprecationWarning as warning:
                print(warning)
    """
    result = installed.run_code(code, "-W", "error")
    assert result.stdout.count("rtx50-autoload stands in for it") == 2
    assert result.stderr == ""


def test_who_only_looks_whether_it_is_there_finds_it_and_hears_nothing(installed):
    code = """
        import importlib.metadata, importlib.util, sys
        assert importlib.util.find_spec("rtx50_compat").origin == "rtx50-autoload"
        assert "rtx50_compat" not in sys.modules
        assert not [one for one in importlib.metadata.distributions() if one.name == "rtx50-compat"]
    """
    assert installed.run_code(code, "-W", "always").stderr == ""


@pytest.mark.parametrize("way", ["variable", "file", "deactivated"])
def test_where_we_are_off_there_is_no_such_module(make_venv, installed, way):
    venv, environment, before = installed, {}, ""
    if way == "variable":
        environment = {"RTX50_DISABLE": "1"}
    elif way == "file":
        venv = make_venv()
        (venv.root / "rtx50-autoload.toml").write_text("disable = true\n")
    else:
        before = "import rtx50_autoload; rtx50_autoload.deactivate()\n"
    result = venv.run_code(f"{before}import rtx50_compat", env=environment, check=False)
    assert result.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'rtx50_compat'"


def test_where_everyone_is_told_the_truth_the_calls_are_there_all_the_same(with_fake_torch):
    code = "import rtx50_compat, torch\nrtx50_compat.patch_torch()\nprint(torch.cuda.get_device_capability(0))"
    environment = RTX_5090 | {"RTX50_MODE": "observe"}
    assert with_fake_torch.run_code(code, env=environment).stdout == "(12, 0)\n"


@pytest.mark.parametrize("found", ["file", "package"])
def test_one_that_is_installed_is_what_the_program_gets(installed, tmp_path, found):
    file = tmp_path / ("rtx50_compat.py" if found == "file" else "rtx50_compat/__init__.py")
    file.parent.mkdir(exist_ok=True)
    file.write_text("print('the real one', __spec__.loader.exec_module.__self__ is __spec__.loader)\n")
    code = """
        import sys, rtx50_compat
        print([name for name in sys.modules if name.startswith("rtx50_autoload")])
    """
    result = installed.run_code(code, env={"PYTHONPATH": str(tmp_path)})
    assert result.stdout == "the real one True\n[]\n"
    assert result.stderr == ""


def test_a_fault_of_ours_is_a_module_that_is_not_there(installed):
    code = f"""
        import sys
        from rtx50_autoload import predecessor
        predecessor._HOME = None
        try:
            import rtx50_compat
        except ModuleNotFoundError as error:
            print(error.name)
        print(len(sys.modules["{rig.HOOK}"].faults))
    """
    assert installed.run_code(code).stdout == "rtx50_compat\n1\n"


def test_patching_brings_back_what_was_switched_off(with_fake_torch):
    code = """
        import rtx50_compat, rtx50_autoload, torch
        rtx50_autoload.deactivate()
        assert not rtx50_autoload.status()["patches"]
        assert rtx50_compat.{call}() is None
        assert rtx50_autoload.status()["patches"]
    """
    for call in ("patch_torch", "patch_pytorch_capability"):
        with_fake_torch.run_code(code.format(call=call), env=RTX_5090)


def test_patching_does_not_import_torch(with_fake_torch):
    code = "import sys, rtx50_compat\nrtx50_compat.patch_torch()\nprint('torch' in sys.modules)"
    assert with_fake_torch.run_code(code).stdout == "False\n"


# verify_cuda

VERIFY = "import rtx50_compat\nprint(rtx50_compat.verify_cuda())"
#: The fake torch computes nothing.
COMPUTING = """
import torch
class Tensor:
    def __add__(self, _):
        return self
    def tolist(self):
        return {result}
torch.arange = lambda *_, **__: Tensor()
"""


def test_without_a_gpu_or_without_torch_nothing_is_verified_and_it_says_why(installed, either_torch):
    result = either_torch.run_code(VERIFY)
    assert result.stdout.startswith("torch 2.13.0")
    assert result.stdout.endswith("finds no GPU that it can use. `rtx50-autoload doctor` says why.\nFalse\n")
    lines = installed.run_code(VERIFY).stdout.splitlines()
    assert lines[0] == "ModuleNotFoundError: No module named 'torch'"
    assert lines[-1] == "False"


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("[1, 2, 3, 4]", ["A computation on it gave the right result.", "True"]),
        ("[0, 0, 0, 0]", ["It computes wrong numbers: [0, 0, 0, 0] and not [1, 2, 3, 4].", "False"]),
        ("1 / 0", ["ZeroDivisionError: division by zero", "`rtx50-autoload doctor` says what mends it.", "False"]),
    ],
)
def test_with_a_gpu_the_true_capability_and_a_computation_are_told(with_fake_torch, result, said):
    environment = {"FAKE_TORCH_DEVICES": "12.0", "RTX50_MODE": "masquerade"} | RTX_5090
    lines = with_fake_torch.run_code(COMPUTING.format(result=result) + VERIFY, env=environment).stdout.splitlines()
    assert lines[0].startswith("GPU: ")
    assert lines[0].endswith(", compute capability 12.0")
    assert lines[1:] == said


# Batman


@pytest.mark.parametrize("module", ["rtx50_autoload", "rtx50_compat"])
def test_a_reload_says_it_once_and_only_where_it_is_asked_for(installed, module):
    code = f"import importlib, {module}\nfor _ in range(3): importlib.reload({module})"
    for variables, times in (
        ({"RTX50_BATMAN_MODE": "1"}, 1),
        ({}, 0),
        ({"RTX50_BATMAN_MODE": "1", "RTX50_QUIET": "1"}, 0),
    ):
        result = installed.run_code(code, "-W", "ignore", env=variables)
        assert (result.stdout, result.stderr.count("Batman")) == ("", times)
    off = {"RTX50_BATMAN_MODE": "1", "RTX50_DISABLE": "1"}
    assert "Batman" not in installed.run_code(code, env=off, check=False).stderr


def test_an_import_alone_says_nothing(installed):
    code = "import rtx50_autoload, rtx50_compat; rtx50_autoload.status()"
    assert installed.run_code(code, "-W", "ignore", env={"RTX50_BATMAN_MODE": "1"}).stderr == ""


# What doctor says where the predecessor is


def test_doctor_says_what_an_installed_one_does_to_a_process(installed, tmp_path):
    install(tmp_path, "rtx50-compat", "3.0.2", {"rtx50_compat.py": b""})
    code = """
        import sys
        from rtx50_autoload.cli.main import main
        sys.exit(main(["doctor", "--json"]))
    """
    result = installed.run_code(code, env={"PYTHONPATH": str(tmp_path)} | RTX_5090, check=False)
    findings = {finding["id"]: finding for finding in json.loads(result.stdout)["findings"]}
    finding = findings["rtx50-compat-installed"]
    for text in ("CUDA_VISIBLE_DEVICES=0", "TORCH_CUDA_ARCH_LIST=9.0", "silences every warning"):
        assert text in finding["why"]
    assert result.returncode == 1
