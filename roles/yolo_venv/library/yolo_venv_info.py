#!/usr/bin/python
"""Ansible module: what a virtual environment holds and what is wrong with it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: yolo_venv_info
short_description: State of a pinned virtual environment
description:
  - Compares a virtual environment with its pins, and each installed file with the size that pip
    recorded for it.
  - Changes nothing. It reads files only, unless it has to ask another interpreter than Ansible's
    for its version, so it is quick also on hosts where starting a process is slow.
options:
  path: {description: The virtual environment., type: path, required: true}
  python: {description: The interpreter that it is to be made with., type: path, required: true}
  system_site_packages:
    description: Whether it is to see the system's packages.
    type: bool
    required: true
  pins:
    description: What it is to hold, as C(name==version).
    type: list
    elements: str
    required: true
  marker:
    description: Name of the file in I(path) that tells whose environment it is.
    type: str
    required: true
  receipt:
    description: Name of the file in I(path) that is written after everything was verified.
    type: str
    required: true
  files:
    description: Names of other files that its folder for packages is to hold.
    type: list
    elements: str
    default: []
"""
EXAMPLES = r"""
- name: Inspect the virtual environment
  yolo_venv_info:
    path: /opt/yolo/venv
    python: /usr/bin/python3
    system_site_packages: true
    pins: [openvino==2026.4.1]
    marker: yolo_venv.requirements.txt
    receipt: yolo_venv.receipt
"""
RETURN = r"""
python_version:
  description: Version of I(python), such as C(3.13.5); empty if there is no such program.
  type: str
foreign: {description: Whether something else than our environment is in the way., type: bool}
built: {description: Whether there is an environment that pip can install into., type: bool}
broken:
  description: Why the environment can only be made anew.
  type: list
  elements: str
outdated: {description: Pins that are not met., type: list, elements: str}
extra: {description: Installed packages that are not pinned., type: list, elements: str}
receipt: {description: Contents of the receipt; empty if there is none., type: str}
"""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from ansible.module_utils.basic import AnsibleModule

# More would not help the reader of a message.
MOST_REASONS = 5


class Wanted(NamedTuple):
    """What the environment is to be."""

    python: Path
    python_version: str
    system_site_packages: bool
    pins: list[str]
    files: list[str]


class Distribution(NamedTuple):
    """One installed package.

    Attributes:
        version: Its version.
        damaged: Files, relative to the folder for packages, that are gone or of another size than
            pip recorded.
    """

    version: str
    damaged: list[str]


def normalise(name: str) -> str:
    """Package name as indexes compare it: ``Foo_Bar`` is ``foo-bar``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def damaged_files(site: Path, record: Path) -> list[str]:
    """Files of a package that are gone or of another size than its RECORD says."""
    if not record.is_file():
        return [f"{record.parent.name}/RECORD"]
    damaged = []
    with record.open(encoding="utf-8", newline="") as lines:
        for row in csv.reader(lines):
            name, size = row[0], row[2] if len(row) > 2 else ""
            if not size:
                continue  # Compiled files and RECORD itself: pip states no size.
            try:
                intact = os.stat(site / name).st_size == int(size)
            except OSError:
                intact = False
            if not intact:
                damaged.append(name)
    return damaged


def distributions(site: Path) -> dict[str, Distribution]:
    """Packages installed in one folder, by normalised name."""
    found = {}
    for info in sorted(site.glob("*.dist-info")):
        name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
        found[normalise(name)] = Distribution(version, damaged_files(site, info / "RECORD"))
    return found


def read_config(path: Path) -> dict[str, str]:
    """The settings in a ``pyvenv.cfg``; empty if it does not exist."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def is_built(venv: Path) -> bool:
    """Whether the environment was made to the end: this is the last file that venv writes."""
    return (venv / "bin" / "activate").exists()


def why_broken(venv: Path, wanted: Wanted, installed: dict[str, Distribution]) -> list[str]:
    """Reasons why the environment can't be mended by installing into it."""
    if not is_built(venv):
        # venv has not run, or was interrupted: it can run again, unless it left half a pip.
        return [f"{name} is damaged" for name, found in installed.items() if found.damaged]
    config = read_config(venv / "pyvenv.cfg")
    minor = ".".join(wanted.python_version.split(".")[:2])
    reasons = []
    if config.get("version", "").rpartition(".")[0] != minor:
        made_with = config.get("version", "unknown")
        reasons.append(f"it was made with Python {made_with}, wanted is {minor}")
    interpreter = (venv / "bin" / "python").resolve()
    if interpreter != wanted.python.resolve():
        reasons.append(f"its Python is {interpreter}, wanted is {wanted.python.resolve()}")
    flag = str(wanted.system_site_packages).lower()
    if config.get("include-system-site-packages", "").lower() != flag:
        reasons.append(f"include-system-site-packages is not {flag}")
    if "pip" not in installed:
        reasons.append("pip is missing")
    for name, found in installed.items():
        if found.damaged:
            others = f" and {len(found.damaged) - 1} other files" if len(found.damaged) > 1 else ""
            reasons.append(f"{name} is damaged: {found.damaged[0]}{others}")
    return reasons


def compare(pins: list[str], installed: dict[str, Distribution]) -> tuple[list[str], list[str]]:
    """Compare pins with what is installed.

    Args:
        pins: ``name==version`` each.
        installed: By normalised name.

    Returns:
        What is missing or of another version, in words; names of packages that no pin mentions,
        pip excepted.
    """
    split = (pin.partition("==") for pin in pins)
    wanted = {normalise(name): version for name, _, version in split}
    outdated = []
    for name, version in wanted.items():
        have = installed[name].version if name in installed else "missing"
        if have != version:
            outdated.append(f"{name} is {have}, wanted is {version}")
    return outdated, sorted(installed.keys() - wanted.keys() - {"pip"})


def is_foreign(venv: Path, marker: str) -> bool:
    """Whether something is there that this role did not make, and must leave alone."""
    if not venv.exists():
        return venv.is_symlink()
    return not venv.is_dir() or (any(venv.iterdir()) and not (venv / marker).exists())


def python_version(python: Path) -> str:
    """Version of an interpreter, such as ``3.13.5``; empty if it does not run."""
    if python.resolve() == Path(sys.executable).resolve():
        return ".".join(map(str, sys.version_info[:3]))
    code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    try:
        result = subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip()


def inspect(venv: Path, wanted: Wanted) -> dict[str, list[str]]:
    """The environment's broken, outdated and extra parts, see RETURN."""
    minor = ".".join(wanted.python_version.split(".")[:2])
    site = venv / "lib" / f"python{minor}" / "site-packages"
    installed = distributions(site)
    outdated, extra = compare(wanted.pins, installed)
    outdated += [f"{name} is missing" for name in wanted.files if not (site / name).is_file()]
    broken = why_broken(venv, wanted, installed)
    return {"broken": broken[:MOST_REASONS], "outdated": outdated, "extra": extra}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "python": {"type": "path", "required": True},
            "system_site_packages": {"type": "bool", "required": True},
            "pins": {"type": "list", "elements": "str", "required": True},
            "marker": {"type": "str", "required": True},
            "receipt": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    venv = Path(module.params["path"])
    python = Path(module.params["python"])
    version = python_version(python)
    wanted = Wanted(
        python,
        version,
        module.params["system_site_packages"],
        module.params["pins"],
        module.params["files"],
    )
    receipt = venv / module.params["receipt"]
    try:
        module.exit_json(
            changed=False,
            python_version=version,
            foreign=is_foreign(venv, module.params["marker"]),
            built=is_built(venv),
            receipt=receipt.read_text(encoding="utf-8") if receipt.is_file() else "",
            **inspect(venv, wanted),
        )
    except (OSError, ValueError) as error:
        module.fail_json(msg=f"Failed to read the virtual environment {venv}: {error}")


if __name__ == "__main__":
    main()
