"""The search of `grace_downscale`: settings of its networks by cross-validation within the training years."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import yaml

from cluster.job import Engine, Plan
from cluster.plan import PlanRow
from cluster.stages import Stage
from cluster.tune import Search, search
from pipelines import grace_gridded
from sciml.core.digest import digest
from sciml.core.errors import ConfigError
from sciml.core.urls import read_bytes
from sciml.grace import gridded_report, search_report
from sciml.grace.config import GraceConfig
from sciml.grace.search import (
    GlobalJudge,
    Judge,
    LocalJudge,
    Objective,
    Validate,
    VariantItem,
    checked_space,
    climatology_crps,
    defaults,
    require_known,
    score,
    template,
    variants,
)
from sciml.grace.steps import Problem
from sciml.report.results import Finding, write_report
from tune_spaces import grace_global_lstm, grace_lstm

SPACES: Mapping[str, Mapping[str, Sequence[Any]]] = {"lstm": grace_lstm.SPACE, "global_lstm": grace_global_lstm.SPACE}
JUDGES: Mapping[str, type[LocalJudge] | type[GlobalJudge]] = {"lstm": LocalJudge, "global_lstm": GlobalJudge}
SECONDS_PER_TRIAL = 20.0


def job(config: GraceConfig, engine: Engine) -> str:
    """Search every model that has a space, judge best and default, write RUN/search.json and the report."""
    spaces = _spaces(config)
    problem, predictors = grace_gridded.first_problem(config, engine)
    findings = [_finding(config, engine, problem, predictors, model, space) for model, space in spaces.items()]
    facts = gridded_report.facts(config, problem, engine.run.stores)
    return write_report(engine.run.url, config.pipeline, "GRACE downscaling: search", [_joined(findings)], facts)


def plan(config: GraceConfig, planned: Plan) -> None:
    """The trials; what judges the best afterwards is as many again at most."""
    spaces = _spaces(config)
    grace_gridded.first_problem(config, planned)
    for model in spaces:
        planned.rows.append(
            PlanRow(f"search_{model}", config.search_trials, 0, int(3e8), SECONDS_PER_TRIAL * config.search_trials)
        )


def _spaces(config: GraceConfig) -> dict[str, Mapping[str, Sequence[Any]]]:
    """Search space of each model that is named and has one."""
    spaces = _from_yaml(config.search_space) if config.search_space else SPACES
    found: dict[str, Mapping[str, Sequence[Any]]] = {model: spaces[model] for model in config.models if model in spaces}
    if not found:
        raise ConfigError(
            f"--search: the search space is empty: none for {', '.join(config.models)}; there are some for"
            f" {', '.join(spaces) or 'no model'}"
        )
    return found


def _from_yaml(url: str) -> Mapping[str, Mapping[str, Sequence[Any]]]:
    try:
        spaces = yaml.safe_load(read_bytes(url)) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"--search-space {url}: not a YAML file: {error}") from error
    if not isinstance(spaces, dict) or not all(isinstance(space, dict) for space in spaces.values()):
        raise ConfigError(f"--search-space {url}: expected model: setting: [kind, values...]; see tune_spaces")
    for model in spaces:
        require_known(f"--search-space {url}", str(model), JUDGES)
    return spaces


def _finding(
    config: GraceConfig,
    engine: Engine,
    problem: Problem,
    predictors: str,
    model: str,
    space: Mapping[str, Sequence[Any]],
) -> Finding:
    default = defaults(model, problem.names, config.members, config.lags)
    judge: Judge = JUDGES[model](problem)
    fields = config.result_fields("seed", "train_first", "train_last", "folds", "search_trials")
    drawn = checked_space(model, space, default)
    inputs = {"predictors": predictors, "target": problem.name}
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
        ),
        engine.run,
        engine.executor,
    )
    tried = variants(default, found["best"]["settings"], problem.names)
    stage = Stage(
        f"judged_{model}",
        1,
        [VariantItem(number, number + 1) for number in range(len(tried))],
        template(len(tried), len(problem.windows)),
        Validate(judge, tried),
        config=fields | {"variants": [[v.name, v.settings, v.other_blocks] for v in tried]},
        inputs=inputs,
    )
    store = engine.stage(stage)
    other = score(climatology_crps(problem))
    return search_report.finding(model, found, tried, store.url, problem.windows.month, other)


def _joined(findings: Sequence[Finding]) -> Finding:
    """One experiment of several models."""
    return Finding(
        "search",
        pd.concat([finding.table for finding in findings], ignore_index=True),
        {model: scores for finding in findings for model, scores in finding.scores.items()},
        [section for finding in findings for section in finding.sections],
    )
