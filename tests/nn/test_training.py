"""The plain loop: same seed, same bits; resumed equals uninterrupted; ranks share the work."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sciml.core.errors import ConfigError, InputError
from sciml.nn.checkpoint import load_checkpoint, save_checkpoint
from sciml.nn.training import Samples, TensorSamples, TrainingConfig, evaluate, fit, learning_rate_at, seeded

CONFIG = TrainingConfig(epochs=6, batch_size=16, learning_rate=1e-2, weight_decay=1e-3, clip_norm=1.0)
SCALING = {"mean": torch.tensor([1.0, 2.0])}


def samples(count: int = 70, seed: int = 3) -> TensorSamples:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 2, generator=generator)
    y = x[:, 0] - 2.0 * x[:, 1] + 0.1 * torch.randn(count, generator=generator)
    weight = torch.ones(count)
    y[::9], weight[::9] = torch.nan, 0.0
    return TensorSamples((x,), y, weight)


class Net(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(-1)


def net(width: int = 8) -> Net:
    with seeded(11):
        return Net(width)


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a["model"][name], b["model"][name]) for name in a["model"])


def test_learns_the_planted_line_and_ignores_missing_targets() -> None:
    model = net()
    before = evaluate(model, samples())
    fit(model, samples(), replace(CONFIG, epochs=60), seed=1)
    assert evaluate(model, samples()) < 0.1 * before


def test_same_seed_same_bits_whatever_the_global_generator() -> None:
    torch.manual_seed(1)
    first = fit(net(), samples(), CONFIG, seed=5)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = fit(net(), samples(), CONFIG, seed=5)
    assert torch.equal(before, torch.get_rng_state())
    assert same(first, second)
    assert not same(first, fit(net(), samples(), CONFIG, seed=6))


@pytest.mark.parametrize("stop", [1, 4])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_resumed_equals_uninterrupted(tmp_path, stop: int, schedule: str) -> None:
    config = replace(CONFIG, schedule=schedule)
    url = str(tmp_path / "checkpoint.pt")

    def save(epoch: int, metrics: dict, state: dict) -> None:
        if epoch == stop:
            save_checkpoint(url, state)

    whole = fit(net(), samples(), config, seed=5, report=save, scaling=SCALING)
    stored = load_checkpoint(url)
    untouched = copy.deepcopy(stored)
    epochs = []
    with seeded(99):
        other_start = Net()
    resumed = fit(
        other_start, samples(), config, seed=5, resume=stored, scaling=SCALING, report=lambda e, m, s: epochs.append(e)
    )
    assert epochs == list(range(stop + 1, 7))
    assert same(whole, resumed)
    for key, entry in whole["optimiser"]["state"].items():
        assert all(torch.equal(entry[name], resumed["optimiser"]["state"][key][name]) for name in entry)
    assert torch.equal(untouched["optimiser"]["state"][0]["exp_avg"], stored["optimiser"]["state"][0]["exp_avg"])


def test_a_finished_state_resumes_to_itself() -> None:
    done = fit(net(), samples(), CONFIG, seed=5)
    assert same(done, fit(net(), samples(), CONFIG, seed=5, resume=done))


def test_another_number_of_workers_may_resume() -> None:
    states = []
    fit(net(), samples(), CONFIG, seed=5, report=lambda epoch, metrics, state: states.append(copy.deepcopy(state)))
    epochs = []
    fit(net(), samples(), CONFIG, seed=5, resume=states[2], world_size=2, report=lambda e, m, s: epochs.append(e))
    assert epochs == [4, 5, 6]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config": replace(CONFIG, learning_rate=0.5)}, "learning_rate"),
        ({"seed": 6}, "seed"),
        ({"data": samples(50)}, "samples"),
        ({"model": net(9)}, r"body.0.bias.*\(8,\).*\(9,\)"),
        ({"scaling": {"mean": torch.tensor([1.0, 2.5])}}, "scaling of mean"),
        ({"scaling": {}}, "scaling 'mean'"),
    ],
)
def test_a_foreign_checkpoint_is_refused_in_one_line(change: dict, words: str) -> None:
    state = fit(net(), samples(), CONFIG, seed=5, scaling=SCALING)
    run = {"model": net(), "data": samples(), "config": CONFIG, "seed": 5, "scaling": SCALING, **change}
    with pytest.raises(ConfigError, match=words) as caught:
        fit(run.pop("model"), run.pop("data"), run.pop("config"), resume=state, **run)
    assert "\n" not in str(caught.value)


def test_checkpoint_round_trip_and_damage(tmp_path) -> None:
    url = str(tmp_path / "a" / "checkpoint.pt")
    state = fit(net(), samples(), CONFIG, seed=5, scaling=SCALING)
    save_checkpoint(url, state)
    stored = load_checkpoint(url)
    assert stored.keys() == state.keys()
    assert stored["epoch"] == 6 and torch.equal(stored["scaling"]["mean"], SCALING["mean"])
    assert all(torch.equal(stored["model"][name], value) for name, value in state["model"].items())

    data = (tmp_path / "a" / "checkpoint.pt").read_bytes()
    for name, content in {"cut": data[: len(data) // 2], "text": b"hello", "empty": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            load_checkpoint(str(tmp_path / name))
    torch.save({"weights": torch.ones(2)}, tmp_path / "other")
    with pytest.raises(InputError, match="other"):
        load_checkpoint(str(tmp_path / "other"))


def test_a_checkpoint_cannot_execute_code(tmp_path) -> None:
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"format": "sciml-checkpoint-1", "model": Trap()}, tmp_path / "trap")
    with pytest.raises(InputError, match="trap"):
        load_checkpoint(str(tmp_path / "trap"))
    assert not (tmp_path / "sprung").exists()


class Recorder:
    """Samples that remember what was asked of them."""

    def __init__(self, data: Samples) -> None:
        self.data, self.asked = data, []

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, index: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        self.asked.append(index)
        return self.data.batch(index)


@pytest.mark.parametrize(("count", "world", "batch"), [(70, 2, 16), (71, 3, 16), (5, 4, 2), (70, 2, 0), (2, 4, 0)])
def test_ranks_take_equally_many_steps_and_every_sample(count: int, world: int, batch: int) -> None:
    config = replace(CONFIG, epochs=2, batch_size=batch)
    asked, reports = [], []
    for rank in range(world):
        data, seen = Recorder(samples(count)), []
        fit(net(), data, config, seed=5, rank=rank, world_size=world, report=lambda e, m, s, seen=seen: seen.append(e))
        asked.append(data.asked)
        reports.append(seen)
    assert len({len(steps) for steps in asked}) == 1 and len(asked[0]) % 2 == 0
    assert reports == [[1, 2]] * world
    first_epoch = [index for steps in asked for index in steps[: len(asked[0]) // 2]]
    assert sorted(set(torch.cat(first_epoch).tolist())) == list(range(count))
    assert all(len(index) > 0 and (batch == 0 or len(index) <= batch) for index in first_epoch)


def test_gradients_averaged_over_two_ranks_equal_one_process(tmp_path) -> None:
    """A stand-in for DDP: both ranks' gradients are averaged by hand, with equal weights and full batches."""
    data = samples(40)
    data = TensorSamples(data.inputs, torch.nan_to_num(data.target), torch.ones(40))
    plain = nn.Linear(2, 1)
    start = copy.deepcopy(plain.state_dict())

    def score(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        return (weight * (output.squeeze(-1) - target) ** 2).sum() / weight.sum()

    config = TrainingConfig(epochs=1, batch_size=0, learning_rate=1e-2)
    whole = fit(plain, data, config, seed=1, loss=score)
    gradients = []
    for rank in range(2):
        model = nn.Linear(2, 1)
        model.load_state_dict(start)
        fit(model, data, config, seed=1, loss=score, rank=rank, world_size=2)
        gradients.append(model.weight.grad)
    reference = nn.Linear(2, 1)
    reference.load_state_dict(start)
    score(reference(data.inputs[0]), data.target, data.weight).backward()
    assert torch.allclose((gradients[0] + gradients[1]) / 2, reference.weight.grad, atol=1e-5)
    assert whole["epoch"] == 1


def test_reports_carry_metrics_and_wrap_sees_the_model_once() -> None:
    wrapped, rows = [], []
    fit(
        net(),
        samples(),
        replace(CONFIG, epochs=3),
        seed=1,
        validation=samples(30, seed=4),
        wrap=lambda model: wrapped.append(model) or model,
        report=lambda epoch, metrics, state: rows.append((epoch, metrics, state["epoch"])),
    )
    assert len(wrapped) == 1
    assert [(a, c) for a, _, c in rows] == [(1, 1), (2, 2), (3, 3)]
    assert rows[0][1].keys() == {"loss", "learning_rate", "validation_loss"}


def test_schedules_start_and_end_where_they_should() -> None:
    for schedule in ("cosine", "one_cycle"):
        config = TrainingConfig(schedule=schedule, learning_rate=1.0)
        rates = [learning_rate_at(step, 1000, config) for step in range(1000)]
        assert max(rates) == pytest.approx(1.0, abs=1e-3) and rates[-1] < 1e-4
    assert learning_rate_at(7, 10, TrainingConfig(schedule="constant", learning_rate=0.3)) == 0.3


def test_the_last_epochs_take_a_tenth_of_the_step() -> None:
    config = TrainingConfig(epochs=750, schedule="constant", learning_rate=1e-4, last_epochs=50)
    steps = 7 * config.epochs
    rates = [learning_rate_at(step, steps, config) for step in range(steps)]
    assert rates[: 7 * 700] == [1e-4] * (7 * 700)
    assert rates[7 * 700 :] == pytest.approx([1e-5] * (7 * 50), rel=1e-12)


def test_checkpoints_made_before_there_were_last_epochs_resume() -> None:
    state = fit(net(), samples(), CONFIG, seed=5)
    assert "last_epochs" not in state["identity"]
    with pytest.raises(ConfigError, match="last_epochs"):
        fit(net(), samples(), replace(CONFIG, last_epochs=2), seed=5, resume=state)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 3, "last_epochs": 4},
        {"epochs": 0},
        {"batch_size": -1},
        {"learning_rate": 0.0},
        {"schedule": "warm"},
        {"weight_decay": -1.0},
    ],
)
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        TrainingConfig(**wrong)
