import re
from pathlib import Path

import pytest
import role_tables
import yaml
from yolo.cli import main as cli
from yolo.request.inputs import INPUTS, OTHER_VARIABLES, ROLE

PROJECT = Path(__file__).resolve().parents[2]
RUN = PROJECT / "roles/inference_run"
SPECS = role_tables.SPECS
load = role_tables.load


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.parents[1].name)
def test_a_roles_table_is_made_from_its_specs(path):
    readme = (path.parents[1] / "README.md").read_text("utf-8")
    assert role_tables.updated(readme, role_tables.table(load(path))) == readme, "run `make docs`"


def test_the_table_of_a_runs_inputs_is_made_from_the_specs_too():
    readme = (PROJECT / "README.md").read_text("utf-8")
    names = role_tables.asked_names(load(RUN / "defaults/main.yml"))
    assert set(names.values()) == set(INPUTS)
    assert role_tables.updated(readme, role_tables.run_table(load(RUN / role_tables.SPEC), names)) == readme


def test_the_roles_fallbacks_are_what_the_command_takes():
    defaults = load(RUN / "defaults/main.yml")
    for variable, name in role_tables.asked_names(defaults).items():
        (fallback,) = re.fullmatch(r"{{ \w+ \| default\((.*)\) }}", defaults[variable]).groups()
        # One that is computed is a path of the project.
        if "~" not in fallback:
            assert str(yaml.safe_load(fallback)) in (str(INPUTS[name].default), "[]"), name


def test_a_table_that_is_out_of_date_is_seen():
    path = PROJECT / "roles/nfs_client/meta/argument_specs.yml"
    specs = load(path)
    specs["argument_specs"]["main"]["options"]["nfs_client_timeout"]["default"] = 7
    readme = (path.parents[1] / "README.md").read_text("utf-8")
    assert role_tables.updated(readme, role_tables.table(specs)) != readme
    with pytest.raises(ValueError, match="no marks"):
        role_tables.updated("# A role\n", "")


def test_cells():
    option = {"description": ["One V(a|b).", "Two."], "type": "list", "default": []}
    specs = {"argument_specs": {"main": {"options": {"x": option, "y": {"description": "Why.", "required": True}}}}}
    assert role_tables.table(specs).splitlines()[2:] == [
        "| `x` | `[]` | One `a\\|b`. Two. |",
        "| `y` | required | Why. |",
    ]


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.parents[1].name)
def test_defaults_of_specs_are_the_roles_own(path):
    own = path.parents[1] / "defaults/main.yml"
    defaults = (load(own) or {}) if own.exists() else {}
    options = role_tables.options(load(path))
    assert set(defaults) <= set(options)
    for name, option in options.items():
        value = defaults.get(name)
        # One that is computed stands in defaults/main.yml alone.
        if "{{" in str(value):
            continue
        assert ("default" in option) == (name in defaults), name
        if name in defaults:
            assert str(value) == str(option["default"]), name


def test_a_runs_inputs_are_the_same_for_the_role_and_the_command():
    options = role_tables.options(load(PROJECT / "roles/inference_run/meta/argument_specs.yml"))
    named = {ROLE + (entry.variable or name): entry for name, entry in INPUTS.items()}
    assert set(options) == set(named) | {ROLE + name for name in OTHER_VARIABLES}
    for name, entry in named.items():
        if "default" in options[name]:
            assert str(options[name]["default"]) == str(entry.default), name
    variables = (PROJECT / "roles/inference_run/vars/main.yml").read_text("utf-8")
    assert [name for name in INPUTS if not re.search(rf"(?m)^    {name}: ", variables)] == []


def test_every_input_of_a_run_is_on_the_first_page():
    page = (PROJECT / "README.md").read_text("utf-8")
    assert [name for name in INPUTS if f"`{name}`" not in page] == []


def test_every_command_is_on_the_packages_page():
    page = (PROJECT / "files/yolo/README.md").read_text("utf-8")
    assert [name for name in cli.COMMANDS if f"`{name}`" not in page] == []
