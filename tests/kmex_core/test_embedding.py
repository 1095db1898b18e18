from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kmex_core.base.errors import InputError, KMExError
from kmex_core.base.progress import Event
from kmex_core.networks import architectures, splitting
from kmex_core.networks.arithmetic import MIXED, Arithmetic
from kmex_core.networks.extraction import extract
from kmex_core.networks.memory import out_of_memory
from tests.helpers.noise import batches


@pytest.fixture
def parts() -> splitting.SplitModel:
    torch.manual_seed(0)
    return splitting.split(architectures.build("resnet20", 10, 16))


@pytest.mark.parametrize("total", [0, 23])
def test_embeddings_are_what_the_encoder_gives(parts: splitting.SplitModel, total: int) -> None:
    found = extract(parts.encoder, parts.head, batches(), total)
    parts.encoder.eval()
    with torch.no_grad():
        one_by_one = torch.cat([parts.encoder(image[None]) for images, _ in batches() for image in images])
    np.testing.assert_allclose(found.z, one_by_one.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.labels, np.arange(23) % 10)
    np.testing.assert_array_equal(found.black_box, parts.head(one_by_one).argmax(1).numpy())
    assert found.z.dtype == np.float32


def test_the_networks_mode_and_statistics_are_left_alone(parts: splitting.SplitModel) -> None:
    parts.encoder.train()
    before = splitting.fingerprint(parts.encoder)
    extract(parts.encoder, parts.head, batches())
    assert parts.encoder.training
    assert splitting.fingerprint(parts.encoder) == before


class Tight(nn.Module):
    """Has memory for `most` images only."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        self.seen.append(images)
        return images.mean((2, 3))


@pytest.mark.parametrize("most", [1, 3, 8, 100])
def test_out_of_memory_halves_the_batch(most: int) -> None:
    encoder, head = Tight(most), nn.Linear(3, 10)
    found = extract(encoder, head, batches(), 23)
    np.testing.assert_allclose(found.z, torch.cat([i.mean((2, 3)) for i, _ in batches()]).numpy(), rtol=1e-6)
    assert max(map(len, encoder.seen)) <= most


def test_no_memory_for_one_image_is_an_error_that_says_so() -> None:
    with pytest.raises(KMExError, match="Not enough memory on .* for one image"):
        extract(Tight(0), nn.Linear(3, 10), batches())


def test_other_errors_of_torch_are_not_swallowed() -> None:
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        extract(nn.Sequential(nn.Flatten(), nn.Linear(5, 3)), nn.Linear(3, 2), batches())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_noticed(parts: splitting.SplitModel, value: float) -> None:
    with torch.no_grad():
        parts.encoder.get_parameter("model.conv1.weight")[0, 0, 0, 0] = value
    with pytest.raises(InputError, match="8 of the first 8 images are not finite"):
        extract(parts.encoder, parts.head, batches())


def test_no_images_and_a_wrong_count_are_errors(parts: splitting.SplitModel) -> None:
    with pytest.raises(InputError, match="no images"):
        extract(parts.encoder, parts.head, [])
    with pytest.raises(InputError, match="Expected 30 images, got 23"):
        extract(parts.encoder, parts.head, batches(), 30)


def test_mixed_precision_only_when_asked_for(parts: splitting.SplitModel) -> None:
    exact = extract(parts.encoder, parts.head, batches())
    mixed = extract(parts.encoder, parts.head, batches(), arithmetic=Arithmetic(MIXED))
    assert mixed.z.dtype == np.float32
    assert 0 < np.abs(mixed.z - exact.z).max() < 0.2


def test_progress_counts_images_and_can_cancel(parts: splitting.SplitModel) -> None:
    seen: list[tuple[int, int]] = []
    extract(parts.encoder, parts.head, batches(), 23, progress=lambda event: seen.append((event.done, event.total)))
    assert seen == [(8, 23), (16, 23), (23, 23)]

    class Cancelled(Exception):
        pass

    def cancel(event: Event) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        extract(parts.encoder, parts.head, batches(), progress=cancel)
