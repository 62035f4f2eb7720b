"""Two hundred starts, of which each imports the stand-in for torch; the nox session `many` runs it."""

from __future__ import annotations

from starts import start_two_hundred


def test_two_hundred_imports_of_torch_at_once_leave_whole_files_and_no_message(make_venv, tmp_path):
    start_two_hundred(make_venv(torch="fake", coverage=False), tmp_path, one_imports_torch=1)
