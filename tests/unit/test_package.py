import subprocess
import sys
from pathlib import Path

import yolo

#: Modules of the control node and the submit host; these have Python and nothing else.
PLAIN = [
    "amdahl",
    "bundle",
    "choice",
    "clocks",
    "code_id",
    "collect",
    "compare",
    "contents",
    "cost",
    "errors",
    "fsio",
    "hosts",
    "journal",
    "latency",
    "layout",
    "manifest",
    "model",
    "outputs",
    "overlap",
    "pace",
    "plan",
    "prepare_job",
    "queue",
    "records",
    "sniff",
    "sources",
    "submit",
    "summary",
    "unfinished",
    "watch",
    "weights",
]
#: Those of the execute hosts.
OTHERS = [
    "calibrate",
    "choose",
    "detect",
    "difference",
    "draw",
    "engine_onnxruntime",
    "engine_torch",
    "forms",
    "images",
    "letterbox",
    "nms",
    "prepare",
]
#: Those of the control node that need what requirements.txt brings.
PLOTTING = ["plots", "report"]


def test_what_runs_on_the_control_node_and_the_submit_host_needs_the_standard_library_only():
    folder = Path(yolo.__file__).parent
    code = f"import sys; sys.path.insert(0, {str(folder.parent)!r})\n"
    code += "\n".join(f"import yolo.{name}" for name in PLAIN)
    # -S: without any installed package.
    subprocess.run([sys.executable, "-I", "-S", "-B", "-c", code], check=True)


def test_every_module_is_in_one_of_the_lists():
    folder = Path(yolo.__file__).parent
    assert sorted(PLAIN + OTHERS + PLOTTING) == sorted(p.stem for p in folder.glob("*.py") if p.stem != "__init__")


def test_every_module_is_on_the_packages_page():
    page = (Path(yolo.__file__).parent / "README.md").read_text(encoding="utf-8")
    assert [name for name in PLAIN + OTHERS + PLOTTING if f"`{name}`" not in page] == []
