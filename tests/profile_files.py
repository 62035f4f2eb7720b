"""Texts of profiles, and packages that bring them, for the tests."""

from __future__ import annotations

import fake_distributions

GROUP = "rtx50_autoload.profiles"


def profile(modules="mylib", report="target", **keys):
    """The text of one profile with one rule; `keys` are lines of its own, as TOML writes them."""
    lines = {"library": f"'{modules}'", "modules": f"['{modules}']", "masquerade": "'target'", **keys}
    own = "".join(f"{key} = {value}\n" for key, value in lines.items())
    return (
        f"[[profile]]\n{own}[[profile.rule]]\nreport = '{report}'\nreason = 'measured by a test'\nsource = 'a test'\n"
    )


def install(site, name, text, *, version="1.0", module=None, points=None, files=None, direct_url=None):  # noqa: PLR0913 - as in RECORD
    """Put a package in place whose module must never be imported, with a file of profiles beside it.

    Args:
        site: the folder in place of site-packages.
        name: the package's, and its module's where `module` is not given.
        text: of the file; None for no such file.
        version: the package's.
        module: the package's module.
        points: the value of its entry point, in the place of the right one.
        files: further files by path.
        direct_url: the content of ``direct_url.json``.

    """
    module = module or name
    contents = {
        f"{module}/__init__.py": f"raise SystemExit('{module} was imported')\n",
        f"{name}-{version}.dist-info/entry_points.txt": f"[{GROUP}]\n{name} = {points or f'{module}:rtx50.toml'}\n",
        **(files or {}),
    }
    if text is not None:
        contents[f"{module}/rtx50.toml"] = text
    fake_distributions.install(site, name, version, contents, direct_url=direct_url)
