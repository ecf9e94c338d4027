"""The tables of parameters, and their refusal."""

import numpy as np
import pytest

from sciml.core.errors import ConfigError, InputError
from sciml.land.models import CLOSED, MODELS, PAPER, Model, check_parameters, with_potential_evaporation


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_tables_agree_with_the_steps(model: Model) -> None:
    for p in model.parameters:
        assert p.low < p.high and p.low <= p.prior <= p.high and p.units
        assert p.low > 0 or not p.log
    names = [p.name for p in model.parameters]
    assert len(set(names)) == len(names)
    assert set(model.budget) == set(model.states)
    assert {flux for budget in model.budget.values() for flux in budget} <= set(model.fluxes)
    assert all(model.row(name) >= 0 for name in model.outputs)
    theta = model.prior(1)[:, 0]
    for step in model.steps.values():
        state, fluxes = step(
            tuple(model.start(1)), tuple(np.full((1,), 5.0) for _ in model.forcings), tuple(theta), 1.0
        )
        assert len(state) == len(model.states) and len(fluxes) == len(model.fluxes)


def test_the_paper_has_its_fifteen_and_alpha() -> None:
    symbols = [p.symbol for p in PAPER.parameters]
    assert symbols == [
        "a",
        "b",
        "T_c",
        "chi",
        "c",
        "d",
        "omega",
        "g",
        "e",
        "y_0",
        "h",
        "k_1",
        "y*",
        "k_2",
        "P*_in",
        "alpha",
    ]
    assert not {"a", "c", "d", "h"} & {p.symbol for p in CLOSED.parameters}


def test_parameters_within_bounds_pass() -> None:
    for model in MODELS.values():
        for end in ("low", "high", "prior"):
            values = np.array([getattr(p, end) for p in model.parameters])
            check_parameters(model, np.broadcast_to(values[:, None, None, None], (len(values), 12, 3, 4)))


def test_a_parameter_out_of_bounds_is_named_with_its_place() -> None:
    theta = PAPER.prior(6, 12)
    theta[PAPER.index("runoff_share"), 2, 4] = 1.25
    with pytest.raises(InputError, match=r"runoff_share \(alpha\).*: 1.25 1 at cell 4, month 3; expected 0 to 1"):
        check_parameters(PAPER, theta)
    theta = PAPER.prior(6)
    theta[PAPER.index("melt_temperature"), 0, 5] = 0.5  # Celsius
    with pytest.raises(
        InputError, match=r"melt_temperature \(T_c\).*: 0.5 K at cell 5; expected 263.15 to 283.15"
    ) as e:
        check_parameters(PAPER, theta)
    assert "month" not in str(e.value) and "\n" not in str(e.value)
    theta[PAPER.index("melt_temperature"), 0, 5] = np.nan
    with pytest.raises(InputError, match=r"nan K at cell 5"):
        check_parameters(PAPER, theta)
    many = np.repeat(PAPER.prior(2)[:, :, None], 3, 2)
    many[0, 0, 1, 1] = 9
    with pytest.raises(InputError, match="at cell 1, candidate 1"):
        check_parameters(PAPER, many)
    with pytest.raises(InputError, match=r"shape \(16, 3, 2\), expected \(16 parameters, 1 or 12 months"):
        check_parameters(PAPER, np.ones((16, 3, 2)))


def test_potential_evaporation_leaves_g_without_a_unit() -> None:
    model = with_potential_evaporation(CLOSED)
    g = model.parameters[model.index("evaporation_rate")]
    assert g.units == "1" and g.high < 10
    assert [p.symbol for p in model.parameters] == [p.symbol for p in CLOSED.parameters]
    with pytest.raises(ConfigError, match="no parameter 'g'"):
        model.index("g")
