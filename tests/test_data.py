"""The loaders: shapes, base rates as the sources state them, and nothing sensitive among the features."""

import re

import pytest
import torch

from lossbook import data


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


def test_standardize_turns_a_constant_column_into_zeros() -> None:
    column = torch.full((5, 1), 3.0)
    assert torch.equal(data.standardize(column), torch.zeros(5, 1))


def test_every_data_set_states_its_licence() -> None:
    loaders = {"adult", "german", "sms_spam", "nuclei", "breast_cancer", "digits"}
    assert set(data.LICENCES) == loaders
    assert all(re.search(r"CC BY 4\.0|CC0", text) for text in data.LICENCES.values())
