"""Lets tests import what Ansible would put in its place when it runs a module."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils

ROLES = Path(__file__).resolve().parents[2] / "roles"

# A role's module_utils/x.py is ansible.module_utils.x for the role's modules.
for folder in sorted(ROLES.glob("*/module_utils")):
    ansible.module_utils.__path__.append(str(folder))
