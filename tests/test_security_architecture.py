"""What the source never does, and the few places where it may start a process."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import _rtx50_autoload_importlib_bootstrap as hook
import rtx50_autoload

SOURCE = Path(rtx50_autoload.__file__).parent
FILES = sorted([*SOURCE.rglob("*.py"), Path(hook.__file__)])
#: Calls that run text, read objects that run code when they are read, or leave a gap for another user.
FORBIDDEN = {
    *"eval exec compile os.system os.popen os.execv os.execve os.execvp os.spawnv os.startfile pty.spawn".split(),  # noqa: SIM905 - one a line would fill a page
    *"pickle.load pickle.loads marshal.load marshal.loads shelve.open dill.load joblib.load torch.load".split(),  # noqa: SIM905 - one a line would fill a page
    *"yaml.load tempfile.mktemp tarfile.open shutil.unpack_archive shutil.which webbrowser.open".split(),  # noqa: SIM905 - one a line would fill a page
    *"subprocess.getoutput subprocess.getstatusoutput subprocess.call subprocess.check_output".split(),  # noqa: SIM905 - one a line would fill a page
    *"asyncio.create_subprocess_shell urllib.request.urlopen ssl._create_unverified_context".split(),  # noqa: SIM905 - one a line would fill a page
}
#: Where code of our own is compiled; nothing from outside is in it.
COMPILED = {
    "evidence/byte_code.py": "a source of ours, to compare byte code with; the code is not run",
    "cli/demo_child.py": "one constant function in the name of each caller",
    "rescue/replacing.py": "a function with the parameters of the one that it stands for",
}
FORBIDDEN_NAMES = {"extractall", "extract_all", "create_subprocess_shell"}
#: Where a process may be started: the file, how many calls, and what is started.
STARTS = {
    "check_at_import.py": (1, "this Python: the check beside the program"),
    "checkup.py": (1, "this Python: doctor"),
    "cli/demo.py": (1, "this Python: the demo"),
    "cli/scripts.py": (1, "this Python: doctor after a script"),
    "evidence/environment/place.py": (1, "compilers and tools, asked for their versions"),
    "evidence/nvml_aside.py": (1, "this Python: the driver's answer"),
    "evidence/probe_process.py": (1, "this Python: the probes"),
    "fleet/examination.py": (1, "this Python: what speaks with Ray"),
    "fleet/on_node.py": (1, "a node's Python: doctor"),
    "installer/build_check.py": (1, "this Python: loads what was built"),
    "installer/check.py": (1, "this Python: the check"),
    "installer/running.py": (2, "pip and uv"),
    "installer/shadow.py": (1, "pip and uv, dry"),
    "installer/verification.py": (1, "this Python: doctor and plan"),
    "process_groups.py": (2, "taskkill, and the shell that kills a group"),
    "smart_installer.py": (1, "this Python: fix, after a yes"),
    "troubleshooter/child.py": (1, "an assistant, after consent"),
    "troubleshooter/scripts/runner.py": (1, "a script, after a yes"),
    "troubleshooter/scripts/syntax.py": (1, "shells that read a script and do not run it"),
}
MCP_STARTS = {"mcp_server/ask.py"}
#: What speaks over a network, to loopback addresses; and what takes one function from such a module.
NETWORK = {"troubleshooter/exchange.py", "troubleshooter/local_servers.py"}
HARMLESS = {"evidence/installed.py", "evidence/installations.py"}


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ".".join(["?", *reversed(parts)])


@pytest.fixture(scope="module")
def calls():
    found = []
    for file in FILES:
        name = file.relative_to(SOURCE).as_posix() if file.is_relative_to(SOURCE) else file.name
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found += [(name, dotted(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return found


def test_nothing_runs_text_or_reads_objects_that_run(calls):
    found = [
        (file, name, node.lineno)
        for file, name, node in calls
        if name in FORBIDDEN or name.rpartition(".")[2] in FORBIDDEN_NAMES
    ]
    assert {file for file, name, _ in found if name in {"exec", "compile"}} == {*COMPILED}
    assert not [each for each in found if each[0] not in COMPILED]


def test_a_process_is_started_in_known_places_alone_and_never_by_a_shell(calls):
    started, shells = {}, []
    for file, name, node in calls:
        if name.startswith("subprocess.") and name not in {"subprocess.list2cmdline", "subprocess.CompletedProcess"}:
            started[file] = started.get(file, 0) + 1
            shells += [(file, node.lineno) for each in node.keywords if each.arg in {"shell", "executable", None}]
    shells = [each for each in shells if each[0] != "check_at_import.py"]
    assert not shells
    assert started == {file: count for file, (count, _) in STARTS.items()}
    ways = {"open_process", "run_process", "create_subprocess_exec", "fork", "posix_spawn"}
    others = {file for file, name, _ in calls if name.rpartition(".")[2] in ways}
    assert others == MCP_STARTS
    print(f"places that start a process: {sum(started.values()) + 1} calls in {len(started) + 1} files")  # noqa: T201


def test_no_command_asks_python_for_a_module_in_the_working_directory():
    # ``python -m`` and ``python -c`` look there first; commands that a person types are texts.
    for file in FILES:
        # The last one takes the working directory off `sys.path` before it imports anything from a file.
        if file.name in {"commands.py", "installer_commands.py", "on_node.py"} or "diagnosis" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.List, ast.Tuple)) and len(node.elts) > 1 and file.name != "own_python.py":
                first = node.elts[0]
                runs_python = isinstance(first, ast.Attribute) and dotted(first) == "sys.executable"
                words = [each.value for each in node.elts[1:] if isinstance(each, ast.Constant)]
                # With -I it looks there never.
                assert not (runs_python and {"-m", "-c"} & {*words} and "-I" not in words), (file, node.lineno)


def test_two_modules_alone_speak_over_a_network():
    modules = {*"socket ssl http urllib requests httpx ftplib smtplib aiohttp websockets".split()}  # noqa: SIM905 - likewise
    found = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = (
                [each.name for each in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom) and not node.level
                else []
            )
            if {name.partition(".")[0] for name in names} & modules and names != ["urllib.parse"]:
                found.add(file.relative_to(SOURCE).as_posix())
    assert found == NETWORK | HARMLESS
