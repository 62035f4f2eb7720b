"""A classifier that knows three errors, and a store of incidents, for where the package has stubs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rig

CLASSIFIER = """
from .diagnosis import Diagnosis, FixStep

KNOWN = (
    ("no kernel image is available", "no_kernel_image", "The library holds no code for this GPU (12.0).", None),
    ("libcudart.so.12", "missing_library", "The loader does not find libcudart.so.12.", "nvidia-cuda-runtime-cu12"),
    ("is not compatible with the current PyTorch", "torch_build_lacks_arch", "This torch lacks code.", None),
)


def classify(text, situation=None):
    for part, category, cause, package in KNOWN:
        if part in text:
            headline = next(line for line in text.splitlines() if part in line)
            culprit = "xformers" if "site-packages/xformers" in text else None
            commands = () if package is None else (f"pip install {package}",)
            fix = (FixStep("Do something.", "It helps.", commands, "", ""),)
            return Diagnosis(category, 0.9, cause, fix=fix, culprit=culprit, headline=headline)
    return Diagnosis("other", 0.0, "Nothing is known of this error.")
"""

INCIDENTS = """
import fcntl, json, os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace


@dataclass
class Recorded:
    incident_id: str | None
    count: int
    speaks: bool
    problem: str | None = None


def folder():
    return Path(os.environ["XDG_STATE_HOME"], "rtx50-autoload", "incidents")


def record(diagnosis, text, situation, *, exception_type=None, redact=str):
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    file = place / (diagnosis.category + ".json")
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        count = 1 + (json.loads(file.read_text())["count"] if file.exists() else 0)
        file.write_text(json.dumps({"count": count, "type": exception_type, "diagnosis": diagnosis.as_json()}))
    return Recorded("0123456789ab", count, count == 1 or "STAND_IN_ALWAYS_SPEAKS" in os.environ)


def load_all():
    def read(file):
        values = json.loads(file.read_text())
        return SimpleNamespace(
            count=values["count"], exception_type=values["type"], diagnosis=SimpleNamespace(**values["diagnosis"])
        )
    return SimpleNamespace(incidents=[read(file) for file in sorted(folder().glob("*.json"))])
"""

OF_THIS_MACHINE = """
Situation.of_this_machine = classmethod(lambda cls: cls("machine"))
"""


def complete(venv: rig.Venv) -> None:
    """Put the stand-ins where the installed package has stubs."""
    room = venv.site_packages / "rtx50_autoload" / "diagnosis"
    for name, source, is_stub in (
        ("classifier.py", CLASSIFIER, "Nothing is known of this error yet" in (room / "classifier.py").read_text()),
        ("incidents.py", INCIDENTS, not (room / "incidents.py").exists()),
        (
            "situation.py",
            (room / "situation.py").read_text() + OF_THIS_MACHINE,
            "of_this_machine" not in (room / "situation.py").read_text(),
        ),
    ):
        if is_stub:
            (room / name).unlink(missing_ok=True)
            (room / name).write_text(source, encoding="utf-8")
