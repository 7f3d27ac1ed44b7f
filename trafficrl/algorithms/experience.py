"""Real transitions in the order in which they happened, to replay and to learn models from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trafficrl.algorithms.growing import appended, compact
from trafficrl.algorithms.rollout import Links, Rollout, at_steps, flat

BLOCK = 50  # control intervals that are held out together, so that long branches fit in
COLUMNS = ("obs", "action", "reward", "terminated", "ended", "active")


class Experience:
    """The newest ``capacity`` control intervals of all agents, flat: row r is (N, ...).

    Row r + 1 follows row r in time, except where ``last`` says that a rollout
    of a replica, or an episode, ends with row r. What followed is kept for those
    rows that are ``apart`` alone: elsewhere the next row has it.
    """

    def __init__(
        self, capacity: int, held_out: float = 0.0, *, device: torch.device | None = None
    ) -> None:
        self.capacity = capacity
        self.device = device or torch.device("cpu")  # of what is taken over when loaded
        self.held_out_part = held_out
        self.columns: dict[str, Tensor] = {}
        self.links: Links | None = None
        self.final_obs = torch.zeros(0)  # (L, N, O), what followed the L rows that are ``apart``
        self.final_links: Links | None = None  # of final_obs
        self._place = torch.zeros(0)  # (R,), of those rows among the L
        self.rollouts: list[int] = []  # rows of each rollout that is kept
        self.trained = torch.zeros(0, dtype=torch.bool)  # which blocks of rollouts ever were

    def __len__(self) -> int:
        return sum(self.rollouts)

    def add(self, rollout: Rollout, generator: torch.Generator | None = None) -> None:
        """Append a copy of a rollout; with a generator, blocks of it are held out from training."""
        replicas, steps = rollout.active.shape
        new = {name: getattr(rollout, name).flatten(0, 1) for name in COLUMNS}
        last = rollout.ended.clone()
        last[:, -1] = True
        new["last"] = last.flatten()
        new["held_out"] = self._held_out(replicas, steps, generator).to(last.device)
        links, next_links = flat(rollout.links), flat(rollout.next_links)
        next_obs = rollout.next_obs.flatten(0, 1)
        new["apart"] = ends = _apart(new["obs"], next_obs, links, next_links) | new["last"]
        final_obs, final_links = next_obs[ends], at_steps(next_links, ends)
        self.rollouts.append(replicas * steps)
        drop = max(0, len(self) - self.capacity)
        if not self.columns:
            # Copies, as rows are moved in place later: others may hold the rollout.
            self.columns = {name: column[drop:].clone() for name, column in new.items()}
            self.links = _copied(at_steps(links, slice(drop, None)))
            gone = int(ends[:drop].sum())
            self.final_obs = final_obs[gone:]
            self.final_links = at_steps(final_links, slice(gone, None))
        else:
            gone = int(torch.cat([self.columns["apart"], ends])[:drop].sum())
            for name, column in new.items():
                self.columns[name] = appended(self.columns[name], column, drop, self.capacity)
            self.links = _joined(self.links, links, drop, self.capacity)
            self.final_obs = appended(self.final_obs, final_obs, gone, self.capacity)
            self.final_links = _joined(self.final_links, final_links, gone, self.capacity)
        self._place = _places(self.columns["apart"])
        self._forget(drop)

    def next_obs(self, rows: Tensor) -> Tensor:
        """What followed the rows (S,): (S, N, O)."""
        ends, place, after = self._following(rows)
        obs = self.columns["obs"][after]
        return torch.where(ends[:, None, None], self.final_obs[place], obs)

    def next_links(self, rows: Tensor) -> Links:
        """The links of ``next_obs``."""
        assert self.links is not None and self.final_links is not None, "no data yet"
        if self.links.policy[0].dim() == 2:
            return self.links
        ends, place, after = self._following(rows)
        there, final = at_steps(self.links, after), at_steps(self.final_links, place)
        pairs = zip((*final.policy, *final.value), (*there.policy, *there.value), strict=True)
        a, b, c, d = (torch.where(ends[:, None, None], *pair) for pair in pairs)
        return Links((a, b), (c, d))

    def _following(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which rows (S,) are ``apart``, where what followed is if so, and in which row if not."""
        apart = self.columns["apart"]
        return apart[rows], self._place[rows], (rows + 1).clamp(max=len(apart) - 1)

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
        """Everything, for a checkpoint; without copies, and so only until the next ``add``."""
        return {
            "columns": {name: compact(column) for name, column in self.columns.items()},
            "links": _as_list(self.links),
            "final_obs": compact(self.final_obs),
            "final_links": _as_list(self.final_links),
            "rollouts": self.rollouts,
            "trained": self.trained,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        if "final_obs" not in state and state["columns"]:
            state = _of_before(state)
        columns = state["columns"]
        final_obs, final_links = state.get("final_obs", self.final_obs), state.get("final_links")
        self.columns = {name: column.to(self.device) for name, column in columns.items()}
        self.final_obs = final_obs.to(self.device)
        self.links = _as_links(state["links"], self.device)
        self.final_links = _as_links(final_links, self.device)
        if columns:
            self._place = _places(self.columns["apart"])
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


def _joined(first: Links | None, second: Links, drop: int, capacity: int) -> Links:
    """Links of both in a row, without the first ``drop``."""
    assert first is not None
    if first.policy[0].dim() == 2:
        return second
    pairs = zip((*first.policy, *first.value), (*second.policy, *second.value), strict=True)
    a, b, c, d = (appended(*pair, drop, capacity) for pair in pairs)
    return Links((a, b), (c, d))


def _copied(links: Links) -> Links:
    a, b, c, d = (x.clone() for x in (*links.policy, *links.value))
    return Links((a, b), (c, d))


def _apart(obs: Tensor, next_obs: Tensor, links: Links, next_links: Links) -> Tensor:
    """Where what followed is not what the next row has, (R,)."""
    pairs = [(next_obs, obs)]
    if links.policy[0].dim() > 2:
        after, there = (*next_links.policy, *next_links.value), (*links.policy, *links.value)
        pairs += zip(after, there, strict=True)
    apart = torch.ones(len(obs), dtype=torch.bool, device=obs.device)
    apart[:-1] = False
    for following, own in pairs:
        apart[:-1] |= (following[:-1] != own[1:]).flatten(1).any(1)
    return apart


def _places(apart: Tensor) -> Tensor:
    """Of each row that is ``apart``, how many are before it."""
    return (apart.cumsum(0) - 1).clamp(min=0)


def _of_before(state: dict[str, Any]) -> dict[str, Any]:
    """A state as it is now of one that has what followed every row."""
    columns, cpu = dict(state["columns"]), torch.device("cpu")
    links, next_links = (_as_links(state[name], cpu) for name in ("links", "next_links"))
    assert links is not None and next_links is not None
    next_obs = columns.pop("next_obs")
    apart = _apart(columns["obs"], next_obs, links, next_links) | columns["last"]
    return {
        **state,
        "columns": {**columns, "apart": apart},
        "final_obs": next_obs[apart],
        "final_links": _as_list(at_steps(next_links, apart)),
    }


def _as_list(links: Links | None) -> list[Tensor] | None:
    return None if links is None else [compact(x) for x in (*links.policy, *links.value)]


def _as_links(saved: list[Tensor] | None, device: torch.device) -> Links | None:
    if saved is None:
        return None
    a, b, c, d = (one.to(device) for one in saved)
    return Links((a, b), (c, d))
