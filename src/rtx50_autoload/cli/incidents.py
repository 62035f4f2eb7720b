"""``incidents``: the recorded failures; to list, to look at, to remove."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any, Final

from rtx50_autoload.cli.exit_codes import FINDING, OK
from rtx50_autoload.errors import UsageError

if TYPE_CHECKING:
    from rtx50_autoload.cli.command_parser import CommandParser
    from rtx50_autoload.diagnosis.incident import Incident

__all__ = ["add_parser"]

#: The name of the incident that was seen last.
_LAST: Final = "last"


def add_parser(subparsers: argparse._SubParsersAction[CommandParser]) -> None:
    """Add the command to the program's parser; what it parses carries the function to run as ``run``."""
    parser = subparsers.add_parser(
        "incidents",
        help="the errors that were recorded: list, show, clear",
        description="The errors that were recorded on this machine for this user, each once with a counter. Exit "
        "status: 0 done, 1 a file there cannot be read or removed, 2 usage, also an ID that is not known.",
        examples=(
            ("rtx50-autoload incidents", "all of them, the latest first"),
            ("rtx50-autoload incidents show last", "the latest one, and what mends it"),
        ),
    )
    # Without a further word they are listed.
    parser.add_argument("--json", action="store_true", help="the same as JSON on stdout")
    parser.set_defaults(run=_list)
    actions = parser.add_subparsers(metavar="ACTION")

    listing = actions.add_parser(
        "list",
        help="all of them, the latest first (default)",
        examples=(("rtx50-autoload incidents list", "all of them"),),
    )
    _add_json(listing)
    listing.set_defaults(run=_list)

    show = actions.add_parser(
        "show",
        help="one of them, with its diagnosis and the error's text",
        examples=(
            ("rtx50-autoload incidents show last", "the latest one"),
            ("rtx50-autoload incidents show 3f9a", "the one whose id begins so"),
        ),
    )
    show.add_argument("id", metavar="ID", help=f"its id or the beginning of it; '{_LAST}' for the latest")
    _add_json(show)
    show.set_defaults(run=_show)

    clear = actions.add_parser(
        "clear",
        help="remove some, or all",
        examples=(
            ("rtx50-autoload incidents clear 3f9a 81c0", "these two"),
            ("rtx50-autoload incidents clear --all", "all of them"),
        ),
    )
    clear.add_argument("ids", nargs="*", metavar="ID", help=f"as for show, '{_LAST}' too")
    clear.add_argument("--all", action="store_true", help="remove all")
    clear.set_defaults(run=_clear)


def _add_json(action: CommandParser) -> None:
    # Without a default, which would undo what stands before the action's name.
    action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="the same as JSON on stdout")


def _list(arguments: argparse.Namespace) -> int:
    from rtx50_autoload.diagnosis.incidents import folder, load_all  # noqa: PLC0415 - a command imports what it needs

    kept = load_all()
    if arguments.json:
        document = {
            "folder": str(folder()),
            "incidents": [_summary(incident) for incident in kept.incidents],
            "unreadable": [{"file": str(file), "reason": reason} for file, reason in kept.unreadable.items()],
        }
        print(json.dumps(document, indent=2))  # noqa: T201
    else:
        from rtx50_autoload.cli.incidents_console import show_list  # noqa: PLC0415

        show_list(kept)
    return FINDING if kept.unreadable else OK


def _show(arguments: argparse.Namespace) -> int:
    incident = _find(arguments.id)
    if arguments.json:
        print(json.dumps(incident.as_json(), indent=2))  # noqa: T201
    else:
        from rtx50_autoload.cli.incidents_console import show_incident  # noqa: PLC0415

        show_incident(incident)
    return OK


def _clear(arguments: argparse.Namespace) -> int:
    from rtx50_autoload.diagnosis.incidents import clear, load_all  # noqa: PLC0415
    from rtx50_autoload.troubleshooter.kept_answers import forget_answers  # noqa: PLC0415

    if bool(arguments.ids) is arguments.all:
        raise UsageError("`incidents clear` takes the ids of those that are to go, or --all")
    ids = None if arguments.all else [_find(name).id for name in arguments.ids]
    removed = (*clear(ids), *forget_answers(ids))
    for file in removed:
        print(f"Removed {file}")  # noqa: T201
    left = load_all().unreadable if arguments.all else ()
    if not removed and not left:
        print("No incident has been recorded, so none was removed.")  # noqa: T201
    for file in left:
        print(f"Left as it is, for it was not written here: {file}")  # noqa: T201
    return OK


def _find(name: str) -> Incident:
    from rtx50_autoload.diagnosis.incidents import NoSuchIncidentError, latest, load  # noqa: PLC0415

    if name != _LAST:
        return load(name)
    incident = latest()
    if incident is None:
        raise NoSuchIncidentError("no incident has been recorded, so there is no last one")
    return incident


def _summary(incident: Incident) -> dict[str, Any]:
    content = incident.as_json()
    diagnosis = content["diagnosis"]
    return {
        **{name: content[name] for name in ("id", "first_seen", "last_seen", "count", "exception_type", "program")},
        **{name: diagnosis[name] for name in ("category", "culprit", "headline")},
    }
