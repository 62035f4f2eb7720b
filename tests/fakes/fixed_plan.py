"""The command line with a planner that always makes one plan: `python fixed_plan.py PLAN.json fix --apply --yes`.

Of the machine, what the plan file says besides is put in the place of what is true.
"""

import dataclasses
import json
import sys
import types

from rtx50_autoload.installer import here, plan

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
planner.make_plan = lambda machine, *goals: made
sys.modules["rtx50_autoload.installer.planner"] = planner
true_machine = here.machine_here
here.machine_here = lambda: dataclasses.replace(true_machine(), **document.get("machine", {}))

from rtx50_autoload.cli.main import main  # noqa: E402

sys.exit(main(sys.argv[2:]))
