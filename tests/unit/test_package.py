import subprocess
import sys
from pathlib import Path

import yolo

PACKAGE = Path(yolo.__file__).parent

#: What the control node and the submit host run with Python alone. Only results/report needs more.
PLAIN = ["share", "request", "pool", "results", "cli"]
#: Of the model, what the submit host reads.
DESCRIPTIONS = ["yolo.model.info", "yolo.model.selection"]


def modules(folder):
    for path in sorted((PACKAGE / folder).glob("*.py")):
        yield ".".join(("yolo", folder, path.stem)).removesuffix(".__init__")


def test_what_runs_on_the_control_node_and_the_submit_host_needs_the_standard_library_only():
    names = [name for folder in PLAIN for name in modules(folder)] + DESCRIPTIONS
    assert len(names) > 30
    code = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
    code += "\n".join(f"import {name}" for name in names)
    # -S: without any installed package.
    subprocess.run([sys.executable, "-I", "-S", "-B", "-c", code], check=True)


def test_every_package_is_on_the_packages_page():
    page = (PACKAGE / "README.md").read_text(encoding="utf-8")
    folders = sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__")
    assert [name for name in folders if f"`{name}`" not in page] == []
