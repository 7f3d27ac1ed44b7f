"""Running statistics of returns."""

from __future__ import annotations

import torch

from trafficrl.nn.normalization import ValueNormalizer


def returns(seed: int, agents: int = 2, samples: int = 500) -> torch.Tensor:
    """Returns (N, S) around 10 and -1000, with a spread of 3 and 200."""
    noise = torch.randn(agents, samples, generator=torch.Generator().manual_seed(seed))
    return noise * torch.tensor([[3.0], [200.0]]) + torch.tensor([[10.0], [-1000.0]])


def test_before_any_update_nothing_changes() -> None:
    normalizer, values = ValueNormalizer(2), returns(0)
    assert torch.equal(normalizer.normalize(values), values)
    assert torch.equal(normalizer.denormalize(values), values)


def test_denormalize_undoes_normalize() -> None:
    normalizer = ValueNormalizer(2)
    for seed in range(3):
        normalizer.update(returns(seed))
    values = returns(9)
    torch.testing.assert_close(normalizer.denormalize(normalizer.normalize(values)), values)


def test_the_first_update_already_gives_mean_0_and_spread_1() -> None:
    normalizer, values = ValueNormalizer(2, decay=0.9), returns(0)
    normalizer.update(values)
    normal = normalizer.normalize(values)
    torch.testing.assert_close(normal.mean(1), torch.zeros(2), rtol=0, atol=1e-3)
    torch.testing.assert_close(normal.std(1, correction=0), torch.ones(2), rtol=1e-3, atol=0)


def test_moments_are_the_debiased_averages() -> None:
    # decay 0.5; updates [1, 3] and [5, 5]: means 2 and 5, squares 5 and 25.
    # Weighted 1/4 and 1/2, over a total weight of 3/4:
    # mean = (0.25 * 2 + 0.5 * 5) / 0.75 = 4, square = (0.25 * 5 + 0.5 * 25) / 0.75 = 55 / 3,
    # variance = 55 / 3 - 16 = 7 / 3.
    normalizer = ValueNormalizer(1, decay=0.5)
    normalizer.update(torch.tensor([[1.0, 3.0]]))
    normalizer.update(torch.tensor([[5.0, 5.0]]))
    torch.testing.assert_close(normalizer.normalize(torch.tensor([[4.0]])), torch.tensor([[0.0]]))
    spread = normalizer.denormalize(torch.tensor([[1.0]])) - 4.0
    torch.testing.assert_close(spread, torch.tensor([[(7 / 3) ** 0.5]]))


def test_agents_do_not_share_statistics() -> None:
    normalizer, alone = ValueNormalizer(2), ValueNormalizer(1)
    for seed in range(3):
        normalizer.update(returns(seed))
        alone.update(returns(seed)[:1])
    values = returns(9)
    torch.testing.assert_close(normalizer.normalize(values)[:1], alone.normalize(values[:1]))


def test_constant_returns_stay_finite() -> None:
    normalizer, values = ValueNormalizer(1), torch.full((1, 10), 7.0)
    normalizer.update(values)
    assert normalizer.normalize(values).abs().max() < 0.1


def test_statistics_survive_saving() -> None:
    normalizer, other = ValueNormalizer(2), ValueNormalizer(2)
    normalizer.update(returns(0))
    other.load_state_dict(normalizer.state_dict())
    assert torch.equal(other.normalize(returns(1)), normalizer.normalize(returns(1)))
