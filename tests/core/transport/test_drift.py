import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from vgfm_sc.core.neighbours import nearest
from vgfm_sc.core.transport import drift


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cells_of_a_translation_are_carried_to_its_end(dtype):
    """Whatever the masses and however many descendants share them."""
    rng = np.random.default_rng(0)
    x0 = torch.as_tensor(rng.standard_normal((60, 3)), dtype=dtype)
    shift = torch.tensor([2.0, -1.0, 0.5], dtype=dtype)
    plan = csr_array(np.diag(rng.uniform(0.2, 3.0, 60)))
    moved = drift.carried(x0, x0 + shift, plan)
    assert moved.dtype == dtype
    torch.testing.assert_close(moved, x0 + shift)


def test_displacements_are_means_over_neighbours_weighted_by_mass():
    rng = np.random.default_rng(0)
    x0, x1 = rng.standard_normal((50, 2)), rng.standard_normal((70, 2)) + 1
    plan = rng.random((50, 70)) * (rng.random((50, 70)) < 0.2) * rng.uniform(0.1, 5, (50, 1))
    near = nearest(x0, x0, drift.NEIGHBOURS)[1]
    wanted = np.empty_like(x0)
    for i in range(50):
        pairs = plan[near[i]]
        moves = (pairs[:, :, None] * (x1[None] - x0[near[i]][:, None])).sum(axis=(0, 1))
        wanted[i] = x0[i] + moves / pairs.sum()
    found = drift.carried(torch.as_tensor(x0), torch.as_tensor(x1), csr_array(plan))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)


def test_fewer_cells_than_neighbours_share_one_displacement():
    x0 = torch.tensor([[0.0], [1.0], [2.0]])
    moved = drift.carried(x0, torch.tensor([[5.0]]), csr_array(np.ones((3, 1))))
    torch.testing.assert_close(moved, x0 + 4.0)


def test_equally_near_cells_count_whatever_their_order():
    """Between a cell and twenty that stand in one place, as far on the other side."""
    x0 = torch.tensor([[-1.0], [0.0], *[[1.0]] * 20])
    x1 = torch.tensor([[-3.0], [1.0]])
    plan = np.zeros((22, 2))
    plan[0, 0], plan[1:, 1] = 2.0, 0.1
    order = np.random.default_rng(0).permutation(22)
    found, again = drift.carried(x0, x1, csr_array(plan)), drift.carried(x0[order], x1, csr_array(plan[order]))
    torch.testing.assert_close(again, found[order])
    torch.testing.assert_close(drift.carried(x0.flip(0), x1, csr_array(plan[::-1])), found.flip(0))
