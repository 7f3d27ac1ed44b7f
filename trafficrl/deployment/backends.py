"""What computes actions: the trained weights, or a file that needs nothing of this package."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from trafficrl.algorithms.rollout import Links
from trafficrl.deployment.card import PolicyCard
from trafficrl.graph import Neighbourhood
from trafficrl.training.trained import TrainedPolicies
from trafficrl.types import FloatArray, IntArray

Memory = NDArray[np.float32]


class Network(Protocol):
    """Actions of N vehicles."""

    def act(
        self, raw: FloatArray, hood: Neighbourhood, memory: Memory, dealt: IntArray
    ) -> tuple[NDArray[Any], Memory]:
        """Actions (N, A), or (N,) choices, and the new memory (N, M).

        ``raw`` (N, O) are features in SI units, ``hood`` (N, K) whom each hears, ``dealt``
        (N,) the policy of each.
        """


class TorchNetwork:
    """The weights of a run, as they act in its evaluation. A ``Network``."""

    def __init__(self, card: PolicyCard, trained: TrainedPolicies) -> None:
        self.card = card
        self.trained = trained

    def act(
        self, raw: FloatArray, hood: Neighbourhood, memory: Memory, dealt: IntArray
    ) -> tuple[NDArray[Any], Memory]:
        columns = [item.normalised(raw[:, i]) for i, item in enumerate(self.card.observation)]
        obs = torch.from_numpy(np.stack(columns, axis=-1).astype(np.float32))
        heard = torch.from_numpy(hood.index), torch.from_numpy(hood.mask)
        done = self.trained.act(
            obs[None], Links(heard, heard), torch.from_numpy(memory)[None], dealt
        )
        return done.action[0].numpy(), done.memory[0].numpy()


class OnnxNetwork:
    """An ONNX file in onnxruntime, on the CPU. A ``Network``."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs = {item.name for item in session.get_inputs()}

    def act(
        self, raw: FloatArray, hood: Neighbourhood, memory: Memory, dealt: IntArray
    ) -> tuple[NDArray[Any], Memory]:
        values = {
            "features": raw.astype(np.float32),
            "neighbours": hood.index,
            "present": hood.mask,
            "memory": memory,
            "policy": dealt,
        }
        given = {name: value for name, value in values.items() if name in self._inputs}
        action, *kept = self._session.run(None, given)
        return action, kept[0] if kept else memory
