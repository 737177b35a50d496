"""Write the tables of inputs, the roles' and those of a run, from `meta/argument_specs.yml`: `make docs`.

docs/role_tables.py            write them
docs/role_tables.py --check    write nothing; exit code 1 and a list where one is out of date
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[1]
ROLES = PROJECT / "roles"
SPEC = "meta/argument_specs.yml"
SPECS = sorted(ROLES.glob(f"*/{SPEC}"))
BEGIN = "<!-- Made from meta/argument_specs.yml by `make docs`. -->"
END = "<!-- End of what is made. -->"


def load(path: Path) -> Any:
    """Return what a YAML file holds."""
    return yaml.safe_load(path.read_text("utf-8"))


def options(specs: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the inputs of a role's entry points, each once, in their order."""
    found: dict[str, Mapping[str, Any]] = {}
    for entry in specs["argument_specs"].values():
        found |= {name: option for name, option in (entry.get("options") or {}).items() if name not in found}
    return found


def plain(description: str | list[str]) -> str:
    """Return a description as one cell of Markdown."""
    text = description if isinstance(description, str) else " ".join(description)
    text = re.sub(r"\b[CVOM]\(([^)]*)\)", r"`\1`", text)
    return " ".join(text.split()).replace("|", "\\|")


def default_of(option: Mapping[str, Any]) -> str:
    """Return what stands in the column of defaults."""
    if option.get("required"):
        return "required"
    if "default" not in option:
        return "see `defaults/main.yml`"
    value = option["default"]
    if value in ("", None):
        return "empty"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def table(specs: Mapping[str, Any]) -> str:
    """Return the table of a role's inputs."""
    rows = [f"| `{name}` | {default_of(o)} | {plain(o['description'])} |" for name, o in options(specs).items()]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def asked_names(defaults: Mapping[str, Any]) -> dict[str, str]:
    """Return what a user gives with `-e` in place of a role's variables, by variable, and its fallback.

    Args:
        defaults: The role's `defaults/main.yml`, where `x_conf: "{{ conf | default('') }}"` names `conf`.
    """
    found = {name: re.match(r"{{ (\w+) \| default\(", str(value)) for name, value in defaults.items()}
    return {name: match[1] for name, match in found.items() if match}


def run_table(specs: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Return the table of a run's inputs, by the names that a user gives."""
    rows = [
        f"| `{names[name]}` | {default_of(o) if 'default' in o else 'see right'} | {plain(o['description'])} |"
        for name, o in options(specs).items()
        if name in names
    ]
    return "\n".join(["| `-e` | default | what it is |", "|---|---|---|", *rows])


def updated(readme: str, made: str) -> str:
    """Return a README with the table in place of what was between the marks.

    Raises:
        ValueError: It has no marks.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no marks for the table; expected the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Run the command line; see the module's text."""
    made = {path.parents[1] / "README.md": table(load(path)) for path in SPECS if options(load(path))}
    run = ROLES / "inference_run"
    made[PROJECT / "README.md"] = run_table(load(run / SPEC), asked_names(load(run / "defaults/main.yml")))
    stale = []
    for readme, rows in made.items():
        text = readme.read_text("utf-8")
        new = updated(text, rows)
        if new != text:
            stale.append(str(readme.relative_to(PROJECT)))
            if "--check" not in arguments:
                readme.write_text(new, "utf-8")
    if stale and "--check" in arguments:
        print(f"out of date: {', '.join(stale)}. Run `make docs`.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
