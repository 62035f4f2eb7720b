"""The command line with a planner that always makes one plan: `python fixed_plan.py PLAN.json fix --apply --yes`.

The plan file may say more: `machine`, what is put in the place of what is true; `die_at`, `pause_at` and `spoil_at`,
the number of the step before which this process is killed, waits for a line, or removes the file `spoil`;
`ignore_broken`, that no requirement counts; `way`, how files are kept; `verify`, that doctor is really asked.
"""

import dataclasses
import json
import os
import signal
import sys
import types

from rtx50_autoload.installer import application, here, plan, shadow, verification

document = json.loads(open(sys.argv[1], encoding="utf-8").read())  # noqa: PTH123, SIM115
steps = tuple(
    plan.Step(
        **{
            **step,
            "commands": tuple(plan.Command(tuple(command)) for command in step.get("commands", ())),
            "by_hand": tuple(step.get("by_hand", ())),
        }
    )
    for step in document["steps"]
)
made = plan.Plan((), "steps" if steps else "nothing", document.get("summary", "Some steps."), "2026-11-22", steps)
planner = types.ModuleType("rtx50_autoload.installer.planner")
planner.make_plan = lambda *_: made
sys.modules["rtx50_autoload.installer.planner"] = planner
true_machine = here.machine_here
here.machine_here = lambda: dataclasses.replace(true_machine(), **document.get("machine", {}))

if document.get("ignore_broken"):
    shadow.UvShadow.broken = shadow.PipShadow.broken = lambda _: ()

if "way" in document:
    application.way_of_keeping = lambda *_: (document["way"], 1)
if not document.get("verify"):
    verification.examine = lambda *_, **__: {}

from rtx50_autoload.cli import fix_progress  # noqa: E402
from rtx50_autoload.cli.main import main  # noqa: E402

true_begin = fix_progress.Progress.begin


def begin(self, number, count, step):
    true_begin(self, number, count, step)
    if document.get("pause_at") == number:
        sys.stdin.readline()
    if document.get("spoil_at") == number:
        os.unlink(document["spoil"])  # noqa: PTH108
    if document.get("die_at") == number:
        os.kill(os.getpid(), signal.SIGKILL)


fix_progress.Progress.begin = begin

sys.exit(main(sys.argv[2:]))
