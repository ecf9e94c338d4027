"""The emulator's section: limits kept and missed, biases by temperature."""

import numpy as np

from sciml.stellar.emulator_check import EmulatorErrors
from sciml.stellar.emulator_page import BANDS, emulator_section


def errors(everywhere: float, bias: float) -> EmulatorErrors:
    parameters = np.tile([5500.0, 4.0, 0.0, 5.0, 2.0, 0.0, 0.0], (40, 1))
    parameters[:, 0] = np.linspace(3500, 9750, 40)
    parameters[20:, 4] = 1.3
    return EmulatorErrors(parameters, np.zeros((40, 3)), np.full((40, 4), bias), everywhere, 0.01, 0.01)


def test_limits_of_the_emulator() -> None:
    kept = emulator_section(errors(0.002, 0.1), 2500.0)
    assert "within all its limits" in kept.paragraphs[0] and "GPU" not in kept.paragraphs[0]
    missed = emulator_section(errors(0.006, -0.4), 1500.0, 2e5)
    assert all(part in missed.paragraphs[0] for part in ("pixel's error", "label", "CPU"))
    assert "GPU" not in missed.paragraphs[0]
    assert [row[-1].text for row in missed.blocks[0].rows] == ["missed", "–", "missed", "kept", "missed"]


def test_biases_are_told_by_temperature_and_kind() -> None:
    rows = emulator_section(errors(0.002, -0.2), 2500.0).blocks[1].rows
    assert sum(int(row[1].text) for row in rows) == 40
    assert len(rows) > len(BANDS) and all(row[2].text == "0.20 σ" for row in rows)
