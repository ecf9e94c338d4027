"""Parts of a training, and what the page says of them."""

import pytest

from sciml.stellar.labels import LABELS
from sciml.stellar.learning import PARTS, learning_section, part_of, seen
from sciml.stellar.networks import PRESETS

RATIOS = tuple(f"informed_ratio_{label}" for label in LABELS)


@pytest.mark.parametrize("preset", ["small", "generated"])
def test_a_part_sees_that_part_of_everything(preset: str) -> None:
    whole = PRESETS[preset]
    for part in PARTS:
        found = part_of(whole, part)
        assert seen(found) == pytest.approx(part * seen(whole), rel=1e-6)
        assert part * whole.bank <= found.bank <= whole.bank and found.bank >= 2 * whole.components
        assert found.estimating.epochs == whole.estimating.epochs and found.components == whole.components


@pytest.mark.parametrize(("last", "said"), [(1.2, "within the 1.3"), (1.5, "above the 1.3 asked for in Teff")])
def test_the_page_says_whether_what_was_asked_is_reached(last: float, said: str) -> None:
    def summary(ratio: float) -> dict:
        return dict.fromkeys(RATIOS, ratio) | {f"{key}_ci": [1, 9] for key in RATIOS}

    section = learning_section("snr20", {100: summary(5.0), 1600: summary(last)}, {"chi2": summary(1.05)})
    assert said in section.paragraphs[0] and "100, 1,600 spectra" in section.paragraphs[0]
    assert section.blocks[0].name == "snr20-learning"
