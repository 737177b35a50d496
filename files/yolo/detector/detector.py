"""Find objects in an image: from pixels to boxes."""

from __future__ import annotations

import numpy as np

from ..model.engines import Engine
from ..model.info import ModelInfo
from ..share.errors import BadImage
from ..share.records import Detection
from ..vision import nms
from ..vision.letterbox import letterbox, scale_boxes, to_tensor
from .settings import Settings


class Detector:
    """Finds objects in images: from BGR pixels to boxes in the image's own coordinates.

    Args:
        info: Description of the model.
        engine: What runs it.
        settings: Thresholds, input size and classes.

    Raises:
        YoloError: The model cannot do what the settings ask for.
    """

    def __init__(self, info: ModelInfo, engine: Engine, settings: Settings) -> None:
        self._info, self._engine, self._settings = info, engine, settings
        #: (height, width) that images are fitted into.
        self.size = info.input_size(settings.imgsz)
        self._classes = info.class_ids(settings.classes)

    def detect(self, image: np.ndarray) -> nms.Detections:
        """Find the objects of one image.

        Args:
            image: uint8 (height, width, 3), BGR.

        Returns:
            Detections in pixels of ``image``, best first.

        Raises:
            BadImage: The model's output holds values that are not numbers.
        """
        boxed = letterbox(image, self.size, rectangular=self._engine.dynamic, stride=self._info.stride)
        found = nms.detect(
            self._engine.infer(to_tensor(boxed)),
            self._info.layout,
            conf=self._settings.conf,
            iou=self._settings.iou,
            classes=self._classes,
            max_det=self._settings.max_det,
        )
        boxes = scale_boxes(found.boxes, boxed.shape[:2], image.shape)
        if not np.isfinite(boxes).all():
            raise BadImage("the model answered with boxes that are not numbers")
        return nms.Detections(boxes, found.scores, found.classes)


def to_detections(found: nms.Detections) -> tuple[Detection, ...]:
    """Turn arrays into what records hold.

    A float32 is written with the fewest digits that read back as the same float32.
    """
    detections = []
    for index, score, box in zip(found.classes, found.scores, found.boxes, strict=True):
        x1, y1, x2, y2 = (float(str(value)) for value in box)
        detections.append(Detection(int(index), float(str(score)), (x1, y1, x2, y2)))
    return tuple(detections)
