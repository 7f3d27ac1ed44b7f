"""The other end of a worker's calls: what was asked of a shard comes to an answer or an error."""

from __future__ import annotations

import traceback
from typing import Any

import torch

from trafficrl.config import ScenarioConfig
from trafficrl.training.channel import pack, unpack
from trafficrl.training.shard import Shard


class ShardServer:
    """A shard in the process of a worker; it is made by the first request but ``close``."""

    def __init__(self, scenario: str, index: int) -> None:
        """``scenario`` is JSON."""
        self._scenario, self._index = scenario, index
        self._shard: Shard | None = None

    def answer(self, request: bytes) -> bytes:
        """What calling ``method`` with ``arguments`` came to, or the error that it raised.

        Before that the shard goes on from ``state``, if there is one.
        """
        answer: dict[str, Any] = {}
        try:
            call = unpack(request)
            if self._shard is None and call["method"] != "close":
                config = ScenarioConfig.model_validate_json(self._scenario)
                torch.set_num_threads(config.training.torch_threads)
                self._shard = Shard(config, self._index)
            if self._shard is not None and call["state"] is not None:
                self._shard.load_state_dict(call["state"])
            answer["value"] = self._shard and getattr(self._shard, call["method"])(
                **call["arguments"]
            )
        except Exception as error:
            answer = {"error": type(error).__name__, "text": str(error)}
            answer["traceback"] = traceback.format_exc()
        return pack(answer)
