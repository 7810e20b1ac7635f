"""The onnxruntime sessions of the two neural networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from cropmark.analysis.models import Models

Tensor = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ModelSession:
    """The session of one network. Its input is an image as 1 x 3 x height x width."""

    session: onnxruntime.InferenceSession = field(repr=False)

    def run(self, pixels: Tensor, *outputs: str) -> tuple[Tensor, ...]:
        """The network's outputs with these names, in their order. Without names, the first output."""
        names = outputs or (self.session.get_outputs()[0].name,)
        return tuple(self.session.run(list(names), {self.session.get_inputs()[0].name: pixels}))


@dataclass(frozen=True, slots=True)
class ModelSessions:
    face: ModelSession
    subject: ModelSession


@lru_cache(maxsize=1)  # a renderer gets one set of models in its lifetime
def open_sessions(models: Models) -> ModelSessions:
    """The sessions of these models. They are created once per process, which takes 0.1 s and 40 MB."""
    return ModelSessions(face=ModelSession(_session(models.face)), subject=ModelSession(_session(models.subject)))


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # there is one renderer per core
    options.inter_op_num_threads = 1
    # With the arena, memory grew to 571 MB: it retains separate blocks for each image size.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
