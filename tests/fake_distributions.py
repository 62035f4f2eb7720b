"""Puts distributions into a folder as an installer would, and builds of torch that are only a version file."""

from __future__ import annotations

import json

NATIVE, JIT, OLD, OTHER_GPU = ["sm_120"], ["sm_80", "compute_80"], ["sm_80", "sm_90"], ["sm_90a"]


def install(site, name, version, files=None, *, recorded=None, direct_url=None):  # noqa: PLR0913 - as in RECORD
    """Write the files of a distribution and its metadata.

    Args:
        site: the folder in place of site-packages.
        name: the distribution's.
        version: likewise.
        files: contents by path; bytes or text.
        recorded: paths in RECORD beside those of `files`.
        direct_url: the content of ``direct_url.json``.

    """
    files = {path: data.encode() if isinstance(data, str) else data for path, data in (files or {}).items()}
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    if direct_url is not None:
        files[f"{info}/direct_url.json"] = json.dumps(direct_url).encode()
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, *(recorded or ()))).encode()
    for path, data in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(data)


def torch_version(cuda="12.8", version="2.8.0", hip=None):
    """The text of ``torch/version.py``."""
    return (
        "from typing import Optional\n"
        f"__version__ = '{version}'\ndebug = False\n"
        f"cuda: Optional[str] = {cuda!r}\nhip: Optional[str] = {hip!r}\n"
    )
