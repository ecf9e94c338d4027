"""The well part of `grace_downscale`: groundwater level at wells and in years left out together."""

from cluster.job import Engine, Plan
from cluster.stages import Stage, StoreRef
from sciml.core.digest import fingerprint
from sciml.grace.config import GraceConfig
from sciml.grace.wells import models as well_models
from sciml.grace.wells import report
from sciml.grace.wells.steps import Assemble, Fold, LeaveOut, Model, fold_template, members_template
from sciml.grace.wells.table import WellSetup
from sciml.report.results import write_report

SECONDS_PER_NET = 0.5  # measured on one core with 32 wells


def job(config: GraceConfig, engine: Engine) -> str:
    """All stages, scores, report."""
    setup, models, folds, members = _stages(config, engine)
    wells = setup.prepare()
    finding = report.finding(wells, models, folds.url, members.url)
    facts = report.facts(config, wells, engine.run.stores)
    return write_report(engine.run.url, config.pipeline, "Groundwater at wells", [finding], facts)


def plan(config: GraceConfig, planned: Plan) -> None:
    """Everything but the scores, which take seconds."""
    _stages(config, planned)


def _stages(config: GraceConfig, engine: Engine | Plan) -> tuple[WellSetup, tuple[str, ...], StoreRef, StoreRef]:
    setup = WellSetup(config.wells, config.folds)
    wells, models = setup.prepare(), well_models.models_of(config.models)
    for note in wells.notes:
        print(note, flush=True)
    count, inputs = len(wells.cells), {"wells": fingerprint(config.wells)}
    fields = config.result_fields("seed", "folds", "global_members") | {"models": models}
    nets = config.global_members + len(wells.inner_cells(wells.cells[0]))
    folds = engine.stage(
        Stage(
            "wells_left_out",
            2,
            [Fold(number) for number in range(count)],
            fold_template(wells, models),
            LeaveOut(setup, models, config.global_members, config.seed),
            config=fields,
            inputs=inputs,
            seconds=2.0 + SECONDS_PER_NET * nets * ("global_lstm" in models),
        )
    )
    members = engine.stage(
        Stage(
            "members_wells",
            1,
            [Model(number) for number in range(len(models))],
            members_template(wells, models),
            Assemble(setup, folds.url, config.seed),
            config=fields,
            inputs=inputs | {"wells_left_out": folds.digest},
            seconds=1.0,
        )
    )
    return setup, models, folds, members
