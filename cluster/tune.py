"""Searches over a model's settings on Ray Tune: random trials steered by Optuna, poor ones stopped early (ASHA).

A search is a job of its own and its result is a file, RUN/search.json; no other job searches unasked. A search whose
driver was killed keeps its finished trials and runs the others again. Small models run as plain trials; where
`on_train` is set each trial is a Ray Train worker, which owns its accelerator and is replaced when it dies.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.executors import Executor, RayExecutor
from cluster.ledger import read_json
from cluster.run import Run
from sciml.core.errors import ConfigError, RunError
from sciml.core.urls import exists, join

SCORE = "score"


@dataclass(frozen=True)
class Search:
    """What is searched.

    space: setting -> how it is drawn, as in `tune_spaces`. function: (config, settings, report) -> None; config also
    has the trial's `device`; it calls `report(score)` after each of at most `steps` steps (epochs, folds); the lowest
    last score of those that took most steps wins. default: settings that are tried first. digest: of all that the
    scores depend on. trials: how many settings are tried. on_train: each trial on a worker of Ray Train.
    """

    name: str
    digest: str
    space: Mapping[str, Sequence[Any]]
    function: Callable[[Mapping[str, Any], Mapping[str, Any], Callable[[float], None]], None]
    config: Mapping[str, Any] = field(default_factory=dict)
    trials: int = 20
    steps: int = 10
    seed: int = 0
    default: Mapping[str, Any] = field(default_factory=dict)
    on_train: bool = False


def search(task: Search, run: Run, executor: Executor) -> dict[str, Any]:
    """Best settings with their score, all trials, and what they cost; the same as under the search's name in
    RUN/search.json, where it is reused.

    As many trials run at once as the executor has workers. Raises RunError where every trial fails.
    """
    url = join(run.url, "search.json")
    before = read_json(url) if exists(url) else {}
    if before.get(task.name, {}).get("digest") == task.digest:
        return dict(before[task.name])
    if not task.space:
        raise ConfigError(f"search {task.name}: the space is empty; give at least one setting to be drawn")
    if not isinstance(executor, RayExecutor):
        raise ConfigError(f"search {task.name}: needs Ray; give --executor ray")
    executor.release()  # its idle workers would keep the CPUs from the trials
    results = _tuner(task, run, executor).fit()
    scored = [result for result in results if result.metrics and SCORE in result.metrics]
    if not scored:
        reason = str(results.errors[0]).strip().splitlines()[-1] if results.errors else "no score was reported"
        raise RunError(
            f"search {task.name}: all {len(results)} trials failed: {reason}; mend the cause and run it again"
        )
    trials = sorted(
        (
            {
                "settings": dict(task.default) | _settings(result.config),
                SCORE: result.metrics[SCORE],
                "steps": int(result.metrics["training_iteration"]),
                "seconds": round(float(result.metrics["time_total_s"]), 1),
            }
            for result in scored
        ),
        key=lambda trial: (-trial["steps"], trial[SCORE]),  # scores of fewer steps are not comparable
    )
    found = {
        "digest": task.digest,
        "space": {setting: list(drawn) for setting, drawn in task.space.items()},
        "best": trials[0],
        "default": next((trial for trial in trials if trial["settings"] == task.default), None),
        "seconds": round(sum(trial["seconds"] for trial in trials), 1),
        "failed": len(results) - len(scored),
        "trials": trials,
    }
    run.write_json("search.json", before | {task.name: found})
    return found


def _tuner(task: Search, run: Run, executor: RayExecutor) -> Any:
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # with verbose=0 the quieter of the two
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Tune would swallow the interrupt and call the rest a result
    import optuna
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def trial(settings: Mapping[str, Any]) -> None:
        config = {**task.config, "device": "cuda" if executor.accelerators else "cpu"}
        task.function(config, settings, lambda score: tune.report({SCORE: float(score)}))

    trainable = tune.with_resources(trial, {"cpu": 1, "gpu": executor.accelerators})
    if task.on_train:  # the trial only waits and must take no CPU from its worker; Ray refuses one that takes nothing
        trainable = tune.with_resources(_on_train(task, run, executor), {"cpu": 0, "memory": 2**20})
    storage, name = join(run.url, ".ray"), f"{task.name}-{task.digest[:12]}"
    path = join(storage, name)
    if tune.Tuner.can_restore(path):
        return tune.Tuner.restore(path, trainable=trainable, resume_unfinished=True, resume_errored=True)
    return tune.Tuner(
        trainable,
        param_space={setting: _domain(setting, drawn) for setting, drawn in task.space.items()},
        tune_config=tune.TuneConfig(
            metric=SCORE,
            mode="min",
            num_samples=task.trials,
            max_concurrent_trials=executor.workers,  # more would wait for CPUs that never come free
            reuse_actors=True,  # a process takes seconds to import everything, often longer than a trial
            scheduler=ASHAScheduler(max_t=task.steps, grace_period=max(1, task.steps // 4), reduction_factor=2),
            search_alg=OptunaSearch(
                sampler=optuna.samplers.TPESampler(seed=task.seed % 2**32, n_startup_trials=max(3, task.trials // 4)),
                points_to_evaluate=_first(task),
            ),
        ),
        run_config=tune.RunConfig(name=name, storage_path=storage, verbose=0),
    )


def _on_train(task: Search, run: Run, executor: RayExecutor) -> Callable[[Mapping[str, Any]], None]:
    """A trial that hands its work to a worker of Ray Train."""

    def trial(settings: Mapping[str, Any]) -> None:
        from ray import train, tune
        from ray.train.torch import TorchConfig, TorchTrainer, get_device
        from ray.tune.integration.ray_train import TuneReportCallback

        def loop(settings: Mapping[str, Any]) -> None:
            config = {**task.config, "device": str(get_device())}
            task.function(config, settings, lambda score: train.report({SCORE: float(score)}))

        share = executor.accelerators
        TorchTrainer(
            loop,
            train_loop_config=dict(settings),
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=train.ScalingConfig(
                num_workers=1, use_gpu=share > 0, resources_per_worker={"CPU": 1} | ({"GPU": share} if share else {})
            ),
            run_config=train.RunConfig(
                name=f"trial-{tune.get_context().get_trial_id()}",
                storage_path=join(run.url, ".ray"),
                failure_config=train.FailureConfig(max_failures=run.config.retries),
                callbacks=[TuneReportCallback()],
            ),
        ).fit()

    return trial


def _first(task: Search) -> list[dict[str, Any]] | None:
    """The default settings as far as they are drawn: the search cannot end worse than where it began."""
    first = {setting: task.default[setting] for setting in task.space if setting in task.default}
    return (
        [first]
        if all(setting in first and _holds(task.space[setting], first[setting]) for setting in task.space)
        else None
    )


def _holds(drawn: Sequence[Any], value: Any) -> bool:
    kind, *ends = drawn
    return value in ends[0] if kind == "choice" else ends[0] <= value <= ends[1]


def _domain(setting: str, drawn: Sequence[Any]) -> Any:
    """Ray's spelling of one entry of a search space."""
    from ray import tune

    match list(drawn):
        case ["choice", values]:
            return tune.choice(list(values))
        case ["uniform", low, high]:
            return tune.uniform(low, high)
        case ["loguniform", low, high]:
            return tune.loguniform(low, high)
        case ["integer", low, high]:
            return tune.randint(low, high + 1)
    raise ConfigError(
        f"search space: {setting} is drawn by {drawn!r}; expected ('choice', [...]), ('uniform', low, high),"
        " ('loguniform', low, high) or ('integer', low, high)"
    )


def _settings(config: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value.item() if hasattr(value, "item") else value for name, value in (config or {}).items()}
