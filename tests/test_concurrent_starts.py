"""Many starts at once; the nox session `many` has all of them import torch."""

from __future__ import annotations

from starts import start_two_hundred


def test_two_hundred_starts_at_once_leave_whole_files_and_no_message(make_venv, tmp_path):
    start_two_hundred(make_venv(torch="fake", coverage=False), tmp_path, one_imports_torch=5)
