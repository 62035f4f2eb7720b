"""A machine on disk that lacks nothing: the tests take something away, or put something wrong in its place."""

from __future__ import annotations

import json
import shlex
import textwrap
from dataclasses import replace

from rtx50_autoload.evidence.devices import Device, Survey
from rtx50_autoload.evidence.environment import examination
from rtx50_autoload.evidence.environment.place import Place, Python

RTX_5090 = Device(0, "NVIDIA GeForce RTX 5090", (12, 0), "nvml", "GPU-0")
RTX_4090 = Device(0, "NVIDIA GeForce RTX 4090", (8, 9), "nvml", "GPU-1")

CPP_EXTENSION = """
    named_arches = collections.OrderedDict([
        ('Ampere+Tegra', '8.7'),
        ('Ampere', '8.0;8.6+PTX'),
        ('Blackwell', '10.0;10.3;12.0;12.1+PTX'),
    ])
    supported_arches = ['7.5', '8.0', '8.6', '8.7', '8.9', '9.0', '9.0a', '10.0', '10.3',
                        '12.0', '12.0a', '12.1']
"""


def survey(*devices, driver="580.159.04", reason="NVML names them."):
    return Survey(devices, driver, reason)


class Machine:
    """Files below a temporary folder, and the place that points to them."""

    def __init__(self, folder):
        self.root = folder / "root"
        self.site = folder / "venv" / "site-packages"
        self.bin = folder / "bin"
        self.venv = folder / "venv"
        for each in (self.root, self.site, self.bin, self.venv / "bin", self.venv / "include"):
            each.mkdir(parents=True)
        (self.venv / "include" / "Python.h").touch()
        (self.venv / "bin" / "python").touch()
        self.environ = {"PATH": str(self.bin)}
        self.paths = [self.site]
        self.platform = "linux"
        self.python = Python(
            version=(3, 12, 1),
            free_threaded=False,
            bits=64,
            executable=self.venv / "bin" / "python",
            prefix=self.venv,
            base_prefix=self.venv,
            include=self.venv / "include",
            user_site=None,
        )
        self.survey = survey(RTX_5090)
        self.torch()
        self.toolkit("13.0")
        self.program("g++", "g++ (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright (C) 2022")
        self.program("ninja", "1.11.1")
        self.system("/lib64/libcuda.so.1")

    def write(self, path, text=""):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def system(self, path, text=""):
        return self.write(self.root / path.lstrip("/"), text)

    def program(self, name, output, folder=None):
        path = self.write((folder or self.bin) / name, f"#!/bin/sh\necho {shlex.quote(output)}\n")
        path.chmod(0o755)
        return path

    def toolkit(self, version, home="usr/local/cuda", limit=15):
        home = self.root / home
        output = f"nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release {version}, V{version}.88"
        self.program("nvcc", output, home / "bin")
        self.write(
            home / "include" / "crt" / "host_config.h",
            f"#if __GNUC__ > {limit}\n#if (__clang_major__ >= 21) || (__clang_major__ < 3)\n",
        )
        return home

    def torch(self, version="2.13.0+cu130", cuda="13.0", hip=None, site=None):
        site = site or self.site
        self.write(
            site / "torch" / "version.py",
            f"__version__ = {version!r}\ncuda: Optional[str] = {cuda!r}\nhip: Optional[str] = {hip!r}\n",
        )
        self.write(site / "torch" / "utils" / "cpp_extension.py", CPP_EXTENSION)
        self.install("torch", version.partition("+")[0], site=site, built=version)

    def install(self, name, version, *requires, built=None, url=None, site=None):
        site = site or self.site
        module = name.replace("-", "_")
        for old in site.glob(f"{module}-*.dist-info"):
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
        info = site / f"{module}-{version}.dist-info"
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {each}" for each in requires)]
        self.write(info / "METADATA", "Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
        if url:
            self.write(info / "direct_url.json", json.dumps({"url": url, "archive_info": {}}))
        if built and name != "torch":
            self.write(site / module / "version.py", f"__version__ = {built!r}\n")

    def change_python(self, **changes):
        self.python = replace(self.python, **changes)

    @property
    def place(self):
        return Place(self.python, self.environ, tuple(self.paths), self.root, self.platform, time_limit=30)

    def examine(self):
        return examination.examine(self.survey, self.place)

    def findings(self):
        return {finding.id: finding for finding in self.examine().findings}
