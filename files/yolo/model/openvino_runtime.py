"""OpenVINO itself: import it without its usage statistics, run a request, read its errors."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from ..share.errors import one_line

if TYPE_CHECKING:
    import numpy as np
    import openvino


def import_openvino(*, tools: bool = False) -> ModuleType:
    """Import OpenVINO without its usage statistics.

    Merely importing it writes ``~/intel`` and, where it reaches the internet, reports home, unless
    the package that does so cannot be imported.

    Args:
        tools: Whether its converters are needed, by ultralytics' exporter; to import them takes as long
            as a quarter of the rest.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    if not tools:
        sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    import openvino

    if tools and not hasattr(openvino, "convert_model"):
        # Imported without them before.
        del sys.modules["openvino.tools.ovc"]
        from openvino.tools.ovc import convert_model

        openvino.convert_model = convert_model
    module: ModuleType = openvino
    return module


def run_request(request: openvino.InferRequest, batch: np.ndarray) -> np.ndarray:
    """Run a model of one input and one output.

    Not ``request.infer``: with a single thread OpenVINO (2026.4) does not report what goes wrong
    inside, and the answer to the previous image would be taken for this one's.

    Returns:
        A view of the answer, valid until the request runs again.

    Raises:
        RuntimeError: OpenVINO failed.
    """
    request.start_async([batch], share_inputs=True)
    request.wait()
    output: np.ndarray = request.get_output_tensor(0).data
    return output


def openvino_reason(error: RuntimeError) -> str:
    """Return what went wrong from an error of OpenVINO, in one line.

    Its text begins with places in OpenVINO's own source; the cause stands in the last line.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else type(error).__name__)[:300]
