"""The two networks, ready to run: onnxruntime sessions made from bytes."""

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
    """One network: a picture of 1 x 3 x height x width in, arrays by name out."""

    session: onnxruntime.InferenceSession = field(repr=False)

    def run(self, picture: Tensor, *outputs: str) -> tuple[Tensor, ...]:
        """The outputs of those names, in that order; the first one where none is named."""
        names = outputs or (self.session.get_outputs()[0].name,)
        return tuple(self.session.run(list(names), {self.session.get_inputs()[0].name: picture}))


@dataclass(frozen=True, slots=True)
class ModelSessions:
    face: ModelSession
    subject: ModelSession


@lru_cache(maxsize=1)  # a renderer is handed one set of models in its life
def opened(models: Models) -> ModelSessions:
    """The networks behind these bytes, made once in a process (0.1 s, 40 MB)."""
    return ModelSessions(face=ModelSession(_session(models.face)), subject=ModelSession(_session(models.subject)))


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a renderer is one of as many as there are cores
    options.inter_op_num_threads = 1
    # With the arena on, memory grew to 571 MB: every size of picture leaves its own blocks behind.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
