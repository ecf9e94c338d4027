"""Every model of the land surface by name."""

from collections.abc import Mapping

from sciml.land.columns import SCIML
from sciml.land.models import CLOSED, PAPER, Model
from sciml.land.reservoir import LINEAR_RESERVOIR

MODELS: Mapping[str, Model] = {model.name: model for model in (PAPER, CLOSED, SCIML, LINEAR_RESERVOIR)}
