"""The loaders: shapes, base rates as the sources state them, and nothing sensitive among the features."""

import math
import re

import pytest
import torch

from lossbook.book import data
from tests.tolerances import assert_near


def test_breast_cancer_counts_match_the_source() -> None:
    table = data.breast_cancer()
    assert table.features.shape == (569, 30)
    assert len(table.names) == 30
    assert int((table.signs == 1).sum()) == 212  # Wolberg et al.: 212 malignant, 357 benign
    radius = table.features[:, table.names.index("mean radius")]
    assert radius[table.signs == 1].mean() > radius[table.signs == -1].mean()  # malignant cells are larger: the sign is not reversed


def test_digits_agree_with_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    images, labels = data.digits()
    assert images.shape == (1797, 8, 8)
    assert float(images.min()) == 0.0
    assert float(images.max()) == 1.0
    assert torch.equal(labels, torch.as_tensor(load_digits().target))


def test_sms_counts_match_the_data_note() -> None:
    texts, labels = data.sms_spam()
    assert (len(texts), int(labels.sum())) == (4862, 642)
    claims = torch.tensor([bool(re.search(r"\b(won|claim|prize|free)\b", text, re.IGNORECASE)) for text in texts])
    assert labels[claims].double().mean() > 5 * labels[~claims].double().mean()  # 1 is spam, not ham


def test_adult_base_rates_match_the_data_note() -> None:
    table = data.adult()
    positive = table.signs == 1
    assert table.features.shape[0] == 12000
    assert float(positive.double().mean()) == pytest.approx(0.255, abs=5e-4)
    women = table.groups["sex"] == table.group_names["sex"].index("Female")
    assert float(positive[women].double().mean()) == pytest.approx(0.120, abs=5e-4)
    assert float(positive[~women].double().mean()) == pytest.approx(0.319, abs=5e-4)


def test_german_has_seven_hundred_good_risks() -> None:
    table = data.german()
    assert int((table.signs == 1).sum()) == 700  # Hofmann: 700 good, 300 bad
    young = table.groups["age_group"] == table.group_names["age_group"].index("25 or younger")
    assert 0 < int(young.sum()) < 500


def test_nuclei_are_125() -> None:
    image, instances = data.nuclei()
    assert image.shape == instances.shape == (512, 512)
    assert len(instances.unique()) == 126  # 125 nuclei and the background
    assert image[instances > 0].mean() > image[instances == 0].mean()


@pytest.mark.parametrize("loader", [data.adult, data.german])
def test_features_are_standardised_and_hold_no_sensitive_attribute(loader) -> None:
    table = loader()
    assert table.features.shape[1] == len(table.names)
    torch.testing.assert_close(table.features.mean(dim=0), torch.zeros(len(table.names), dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(table.features.square().mean(dim=0), torch.ones(len(table.names), dtype=torch.float64), atol=1e-9, rtol=0)
    assert not any(name.split("=")[0] in {"sex", "race", "age_group"} for name in table.names)


@pytest.mark.parametrize("value", [3.0, 0.1, -0.7, 1e-30, 1e30, 0.0])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 100])
def test_standardize_turns_a_constant_column_into_zeros(value: float, count: int, dtype: torch.dtype) -> None:
    """The mean of 0.1, 0.1 and 0.1 is not 0.1 in float64: what rounding leaves is no spread."""
    column = torch.full((count, 1), value, dtype=torch.float64).to(dtype).nan_to_num(posinf=6e4)
    assert data.standardize(column).tolist() == [[0.0]] * count
    leaf = torch.cat([column, torch.arange(count)[:, None].to(dtype)], dim=1).requires_grad_()
    data.standardize(leaf).square().sum().backward()
    assert leaf.grad.isfinite().all()
    assert leaf.grad[:, 0].tolist() == [0.0] * count


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1e-30, 1.0, 1e30, 1e200, 1e300])
def test_standardize_in_any_unit_is_scikit_learns(unit: float, real_dtype: torch.dtype, generator: torch.Generator) -> None:
    from sklearn.preprocessing import StandardScaler

    features = torch.randn(40, 3, generator=generator, dtype=torch.float64) + torch.tensor([0.0, 5.0, -1000.0])
    expected = torch.from_numpy(StandardScaler().fit_transform(features.numpy()))
    scaled = (unit * features).to(real_dtype)
    if bool(scaled.isfinite().all() & (scaled != 0).all()):
        found = data.standardize(scaled)
        assert found.dtype == real_dtype
        scale = 1000 if real_dtype == torch.float32 else 1  # a float32 near -1000 is rounded in the fifth place
        assert_near(found / scale, expected / scale, real_dtype)


def test_standardize_sums_half_precision_in_more(dtype: torch.dtype, generator: torch.Generator) -> None:
    """40,000 rows near 450: their sum, and the square of one, are infinite in float16. What comes back is rounded to half precision once."""
    features = (300 + 300 * torch.rand(40_000, 2, generator=generator)).to(dtype)
    found = data.standardize(features)
    wide = features.double()
    assert found.dtype == dtype
    expected = (wide - wide.mean(0)) / wide.std(0, correction=0)
    torch.testing.assert_close(found.double(), expected, rtol=torch.finfo(dtype).eps, atol=1e-12)


def test_standardize_has_the_gradient_of_its_formula(generator: torch.Generator) -> None:
    features = torch.randn(6, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(data.standardize, (features,))
    torch.compiler.reset()
    assert_near(torch.compile(data.standardize, fullgraph=True, backend="aot_eager")(features.detach()), data.standardize(features.detach()))


def test_standardize_hides_no_nan_and_takes_nothing() -> None:
    for odd in (math.nan, math.inf):
        for column in ([odd, 1.0, 2.0], [odd, odd, odd]):
            found = data.standardize(torch.tensor([column, [1.0, 2.0, 3.0]]).T)
            assert found[:, 0].isnan().all()
            assert found[:, 1].isfinite().all()
    for shape in ((0, 3), (3, 0)):
        assert data.standardize(torch.zeros(shape)).shape == shape
    assert data.standardize(torch.full((3, 1), 77.0).as_subclass(type("Named", (torch.Tensor,), {}))).tolist() == [[0.0]] * 3


LOADERS = ("breast_cancer", "digits", "sms_spam", "adult", "german", "nuclei")


def tensors(table: tuple[object, ...]) -> list[torch.Tensor]:
    return [part for part in table if isinstance(part, torch.Tensor)]


@pytest.mark.parametrize("name", LOADERS)
def test_a_loader_gives_tensors_to_train_with_whatever_mode_it_was_first_called_in(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is born in inference mode can't be trained with, ever after; what is born on the device meta has no numbers."""
    monkeypatch.setattr(data._tables, "_READ", {})
    load = getattr(data, name)
    with torch.inference_mode(), torch.device("meta"):
        inside = load()
    for table in (inside, load()):
        for part in tensors(table):
            assert not part.is_inference()
            assert part.device.type == "cpu"
            (part * torch.ones((), requires_grad=True)).sum().backward()


@pytest.mark.parametrize("name", LOADERS)
def test_what_a_caller_does_to_his_tensors_is_his_own(name: str) -> None:
    load = getattr(data, name)
    before = load()
    for part in tensors(load()):
        part.zero_()
    for one, other in zip(tensors(load()), tensors(before), strict=True):
        assert torch.equal(one, other)
        assert one.any()


def test_every_data_set_states_its_licence() -> None:
    loaders = {"adult", "german", "sms_spam", "nuclei", "breast_cancer", "digits"}
    assert set(data.LICENCES) == loaders
    assert all(re.search(r"CC BY 4\.0|CC0", text) for text in data.LICENCES.values())
