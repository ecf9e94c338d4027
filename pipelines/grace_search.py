"""The search of `grace_downscale`: settings of its networks by cross-validation within the training years."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import yaml

from cluster.executors import RayExecutor
from cluster.job import Engine, Plan
from cluster.plan import PlanRow
from cluster.stages import Stage
from cluster.tune import Search, search
from pipelines import grace_basins, grace_gridded
from sciml.core.digest import digest
from sciml.core.errors import ConfigError
from sciml.core.urls import read_bytes
from sciml.grace import search_report
from sciml.grace.basins import report
from sciml.grace.config import SEARCHED, GraceConfig
from sciml.grace.gridded import report as gridded_report
from sciml.grace.search import (
    BasinGlobalJudge,
    BasinJudge,
    GlobalJudge,
    Judge,
    LocalJudge,
    Objective,
    Validate,
    VariantItem,
    checked_space,
    defaults,
    require_known,
    score,
    template,
    variants,
)
from sciml.report.results import Finding, write_report
from tune_spaces import grace_global_lstm, grace_lstm

Spaces = Mapping[str, Mapping[str, Sequence[Any]]]
SPACES: Spaces = {"lstm": grace_lstm.SPACE, "global_lstm": grace_global_lstm.SPACE}
BASIN_SPACES: Spaces = {"lstm": grace_lstm.SPACE, "global_lstm": grace_global_lstm.BASINS}
SECONDS_PER_TRIAL = 20.0


def job(config: GraceConfig, engine: Engine) -> str:
    """Search every model that has a space, judge best and default, write RUN/search.json and the report."""
    spaces = _spaces(config)
    subject = _subject(config, engine)
    findings = [_finding(config, engine, subject, model, space) for model, space in spaces.items()]
    facts = subject.facts(engine.run.stores)
    return write_report(engine.run.url, config.pipeline, "GRACE downscaling: search", [_joined(findings)], facts)


def plan(config: GraceConfig, planned: Plan) -> None:
    """The trials; what judges the best afterwards is as many again at most."""
    spaces = _spaces(config)
    _subject(config, planned)
    for model in spaces:
        planned.rows.append(
            PlanRow(f"search_{model}", config.search_trials, 0, int(3e8), SECONDS_PER_TRIAL * config.search_trials)
        )


@dataclass(frozen=True)
class Subject:
    """What is searched on: judges by model, names of predictors, what the scores depend on, the axis of the scores."""

    judges: Mapping[str, Judge]
    names: tuple[str, ...]
    inputs: Mapping[str, Any]
    months: np.ndarray
    facts: Callable[[Mapping[str, str]], Mapping[str, Any]]


def _subject(config: GraceConfig, engine: Engine | Plan) -> Subject:
    if config.source == "basins":
        setup, inputs = grace_basins.setup_of(config)
        ready = setup.prepare()
        inputs |= config.result_fields("twsa_variable", "predictor_family")
        facts = partial(report.facts, config, ready)
        judges: dict[str, Judge] = {"lstm": BasinJudge(setup), "global_lstm": BasinGlobalJudge(setup)}
        return Subject(judges, setup.fluxes, inputs, ready.data.months, facts)
    problem, predictors = grace_gridded.first_problem(config, engine)
    judges = {"lstm": LocalJudge(problem), "global_lstm": GlobalJudge(problem)}
    inputs = {"predictors": predictors, "target": problem.name}
    facts = partial(gridded_report.facts, config, problem)
    return Subject(judges, problem.names, inputs, problem.windows.month, facts)


def _spaces(config: GraceConfig) -> dict[str, Mapping[str, Sequence[Any]]]:
    """Search space of each model that is named and has one."""
    shipped = BASIN_SPACES if config.source == "basins" else SPACES
    spaces = _from_yaml(config.search_space) if config.search_space else shipped
    models = [model for model in config.models if model in SEARCHED[config.source]]
    found: dict[str, Mapping[str, Sequence[Any]]] = {model: spaces[model] for model in models if model in spaces}
    if not found:
        raise ConfigError(
            f"--search: the search space is empty: none for {', '.join(config.models)}; there are some for"
            f" {', '.join(spaces) or 'no model'}"
        )
    for model, space in found.items():  # before any work
        checked_space(model, space, _defaults(config, model, ()))
    return found


def _defaults(config: GraceConfig, model: str, names: Sequence[str]) -> dict[str, Any]:
    return defaults(model, names, config.members, config.lags, basins=config.source == "basins")


def _from_yaml(url: str) -> Mapping[str, Mapping[str, Sequence[Any]]]:
    try:
        spaces = yaml.safe_load(read_bytes(url)) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"--search-space {url}: not a YAML file: {error}") from error
    if not isinstance(spaces, dict) or not all(isinstance(space, dict) for space in spaces.values()):
        raise ConfigError(f"--search-space {url}: expected model: setting: [kind, values...]; see tune_spaces")
    for model in spaces:
        require_known(f"--search-space {url}", str(model), SPACES)
    return spaces


def _finding(
    config: GraceConfig,
    engine: Engine,
    subject: Subject,
    model: str,
    space: Mapping[str, Sequence[Any]],
) -> Finding:
    default = _defaults(config, model, subject.names)
    judge, inputs = subject.judges[model], subject.inputs
    fields = config.result_fields("seed", "train_first", "train_last", "folds", "search_trials")
    drawn = checked_space(model, space, default)
    found = search(
        Search(
            model,
            digest([fields, inputs, drawn, default]),
            drawn,
            Objective(judge, default),
            trials=config.search_trials,
            steps=config.folds,
            seed=config.seed,
            default=default,
            on_train=_on_train(config, engine, model),
        ),
        engine.run,
        engine.executor,
    )
    tried = variants(default, found["best"]["settings"], subject.names)
    stage = Stage(
        f"judged_{model}",
        1,
        [VariantItem(number, number + 1) for number in range(len(tried))],
        template(len(tried), len(subject.months)),
        Validate(judge, tried),
        config=fields | {"variants": [[v.name, v.settings, v.other_blocks] for v in tried]},
        inputs=inputs,
    )
    store = engine.stage(stage)
    return search_report.finding(model, found, tried, store.url, subject.months, score(judge.climatology()))


def _on_train(config: GraceConfig, engine: Engine, model: str) -> bool:
    """Whether trials are workers of Ray Train, which takes seconds for each: a network that owns an accelerator is."""
    accelerated = isinstance(engine.executor, RayExecutor) and engine.executor.accelerators > 0
    return config.search_on_train or (model == "global_lstm" and accelerated)


def _joined(findings: Sequence[Finding]) -> Finding:
    """One experiment of several models."""
    return Finding(
        "search",
        pd.concat([finding.table for finding in findings], ignore_index=True),
        {model: scores for finding in findings for model, scores in finding.scores.items()},
        [section for finding in findings for section in finding.sections],
    )
