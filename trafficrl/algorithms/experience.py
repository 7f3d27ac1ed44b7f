"""Real transitions in the order in which they happened, to replay and to learn models from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trafficrl.algorithms.rollout import Links, Rollout, at_steps

BLOCK = 50  # control intervals that are held out together, so that long branches fit in
COLUMNS = ("obs", "action", "reward", "next_obs", "terminated", "ended", "active")


class Experience:
    """The newest ``capacity`` control intervals of all agents, flat: row r is (N, ...).

    Row r + 1 follows row r in time, except where ``last`` says that a rollout
    of a replica, or an episode, ends with row r.
    """

    def __init__(
        self, capacity: int, held_out: float = 0.0, *, device: torch.device | None = None
    ) -> None:
        self.capacity = capacity
        self.device = device or torch.device("cpu")  # of what is taken over when loaded
        self.held_out_part = held_out
        self.columns: dict[str, Tensor] = {}
        self.links: Links | None = None
        self.next_links: Links | None = None
        self.rollouts: list[int] = []  # rows of each rollout that is kept
        self.trained = torch.zeros(0, dtype=torch.bool)  # which blocks of rollouts ever were

    def __len__(self) -> int:
        return sum(self.rollouts)

    def add(self, rollout: Rollout, generator: torch.Generator | None = None) -> None:
        """Append a rollout; with a generator, blocks of it are held out from training."""
        replicas, steps = rollout.active.shape
        new = {name: getattr(rollout, name).flatten(0, 1) for name in COLUMNS}
        last = rollout.ended.clone()
        last[:, -1] = True
        new["last"] = last.flatten()
        new["held_out"] = self._held_out(replicas, steps, generator).to(last.device)
        links, next_links = _flat(rollout.links), _flat(rollout.next_links)
        if self.columns:
            new = {name: torch.cat([self.columns[name], column]) for name, column in new.items()}
            assert self.links is not None and self.next_links is not None
            links, next_links = _joined(self.links, links), _joined(self.next_links, next_links)
        self.rollouts.append(replicas * steps)
        drop = max(0, len(self) - self.capacity)
        self.columns = {name: column[drop:] for name, column in new.items()}
        keep = slice(drop, None)
        self.links, self.next_links = at_steps(links, keep), at_steps(next_links, keep)
        self._forget(drop)

    def rows(self, newest: int | None = None) -> Tensor:
        """Rows that count (an episode was under way), of the ``newest`` rollouts or of all."""
        active = self.columns["active"]
        found = active.nonzero()[:, 0]
        if newest is None:
            return found
        return found[found >= len(self) - sum(self.rollouts[-newest:])]

    def windows(self, length: int, held_out: bool) -> Tensor:
        """First rows of the stretches of ``length`` rows within one episode and one part."""
        fits = self.columns["active"] & (self.columns["held_out"] == held_out)
        goes_on = ~self.columns["last"]
        count = len(fits) - length + 1
        if count <= 0:
            return fits.nonzero()[:0, 0]
        good = fits[:count].clone()
        for step in range(1, length):
            good &= fits[step : step + count] & goes_on[step - 1 : step - 1 + count]
        return good.nonzero()[:, 0]

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        return {
            "columns": self.columns,
            "links": _as_list(self.links),
            "next_links": _as_list(self.next_links),
            "rollouts": self.rollouts,
            "trained": self.trained,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self.columns = {name: column.to(self.device) for name, column in state["columns"].items()}
        self.links, self.next_links = (
            _as_links(state[name], self.device) for name in ("links", "next_links")
        )
        self.rollouts = list(state["rollouts"])
        self.trained = state["trained"].clone()

    def _held_out(self, replicas: int, steps: int, generator: torch.Generator | None) -> Tensor:
        """Whole blocks, drawn, but none of a phase that was never trained on.

        Else a model that has not seen how episodes begin could be judged by it.
        Of the first rollout the last whole block is held out.
        """
        blocks = -(-steps // BLOCK)
        if generator is None or self.held_out_part == 0.0:
            return torch.zeros(replicas * steps, dtype=torch.bool)
        draws = torch.rand(replicas, blocks, generator=generator, device=generator.device).cpu()
        missing = torch.zeros(max(0, blocks - len(self.trained)), dtype=torch.bool)
        self.trained = torch.cat([self.trained, missing])
        chosen = (draws < self.held_out_part) & self.trained[:blocks]
        if not self.columns and blocks > 1:
            chosen[0, max(1, steps // BLOCK - 1)] = True
        self.trained[:blocks] |= ~chosen.all(0)
        return chosen.repeat_interleave(BLOCK, dim=1)[:, :steps].flatten()

    def _forget(self, rows: int) -> None:
        """Take ``rows`` off the counts of the oldest rollouts."""
        while rows > 0:
            gone = min(rows, self.rollouts[0])
            self.rollouts[0] -= gone
            rows -= gone
            if self.rollouts[0] == 0:
                self.rollouts.pop(0)


def _flat(links: Links) -> Links:
    """(B, T, N, K) to (B*T, N, K); fixed ones stay."""
    if links.policy[0].dim() == 2:
        return links
    a, b, c, d = (x.flatten(0, 1) for x in (*links.policy, *links.value))
    return Links((a, b), (c, d))


def _joined(first: Links, second: Links) -> Links:
    if first.policy[0].dim() == 2:
        return second
    pairs = zip((*first.policy, *first.value), (*second.policy, *second.value), strict=True)
    a, b, c, d = (torch.cat(pair) for pair in pairs)
    return Links((a, b), (c, d))


def _as_list(links: Links | None) -> list[Tensor] | None:
    return None if links is None else [*links.policy, *links.value]


def _as_links(saved: list[Tensor] | None, device: torch.device) -> Links | None:
    if saved is None:
        return None
    a, b, c, d = (one.to(device) for one in saved)
    return Links((a, b), (c, d))
