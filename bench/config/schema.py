"""RunConfig: everything that a YAML file or the command line may say about a run, validated.

Each field is documented where it stands; the command line's options are made from the same fields. The `config` of an
invocation in `run.json` is a RunConfig as plain values, so a `run.json` can be given back as `--config`.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from bench.budget import SHAPES, STOPS, Budget
from bench.config.reader import read_settings
from bench.config.values import amounts_of, canonical, limits_of, settings_of, value_of
from bench.errors import BenchError, unknown
from bench.models.device import check_name
from bench.records import MEASURES, PRIMARY_MEASURE
from bench.strategy.hyperparameters import typed
from bench.strategy.settings import TrainingSettings
from bench.training.tracking import TRACKERS

BASELINE = "frozen"
"""What the others are tested against unless told otherwise."""
STRATEGIES = ("bm25", "frozen", "prior", "full", "lora")
"""What `run` compares when nothing is named."""
SPEED_STRATEGIES = ("bm25", "frozen", "full", "lora")
"""What `speed` measures beside the plain library when nothing is named."""
DATASETS = ("pydocs",)
PROBES = ("general",)
"""What forgetting is measured on when neither datasets nor probes are named: small, and shipped."""
BUDGET: Mapping[str, tuple[float, ...]] = {"steps": (60,)}
"""What a fit may use when no budget is given. Small on purpose: `run` without arguments ends within minutes."""
OVERWRITE = ("never", "failed", "always")
DEFAULT_OUT = "results/default"
TRAINING = "train"
"""`--set train.batch_size=64` changes `TrainingSettings`; any other prefix is a strategy."""


class ConfigError(BenchError):
    """A configuration cannot be used; the text names the file and line, or the option."""


def option(default: Any, help: str, flag: str = "", metavar: str = "") -> Any:
    """Declare a field of `RunConfig` with what the command line says of it."""
    metadata = {"help": help, "flag": flag, "metavar": metavar}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class RunConfig:
    """What to run. Lists are axes: every strategy on every dataset, model, budget and seed."""

    strategies: tuple[str, ...] = option(STRATEGIES, "strategies to compare, such as bm25,frozen,hybrid(lora)")
    datasets: tuple[str, ...] = option(DATASETS, "target datasets: names (see 'list datasets') or folders")
    data_dir: str | None = option(None, "folder that holds dataset folders", metavar="DIR")
    model: tuple[str, ...] = option(("",), "base models: a folder or a hub name; nothing is all-MiniLM-L6-v2")
    budget: dict[str, tuple[float, ...]] = option(dict(BUDGET), "what a fit may use; lists sweep and multiply")
    usd_per_hour: float | None = option(None, "price of this machine, for budgets in usd", metavar="USD")
    seeds: tuple[int, ...] = option((0,), "seeds of what trains")
    probes: tuple[str, ...] = option((), "datasets outside the domain, on which forgetting is measured; none for none")
    measures: tuple[str, ...] = option(MEASURES, "measures such as ndcg@10,mrr@10, or names of ir_measures")
    baseline: str = option(BASELINE, "strategy that the others are tested against", metavar="STRATEGY")
    tune_trials: int = option(
        0, "trials of tuning on development data, the default among them; the same number for all", metavar="N"
    )
    min_gain: float = option(0.02, "gain over the baseline that 'how many labels do I need?' asks for", metavar="X")
    set: dict[str, str] = option({}, "hyperparameters (lora.r=16) and training settings (train.batch_size=64)")
    split: str = option("test", "split to measure on", metavar="NAME")
    top_k: int = option(100, "documents to retrieve for a query, at least 100", metavar="N")
    precision: str = option("auto", "auto (bf16 where the hardware computes it faster), bf16 or fp32", metavar="NAME")
    max_length: int = option(
        0, "tokens a text is cut to; 0 is the dataset's own limit, or else the model's", metavar="N"
    )
    device: str = option("auto", "auto, cpu, cuda or mps", metavar="NAME")
    threads: int = option(0, "CPU threads of a fit or cell; 0 shares the machine's cores among the jobs", metavar="N")
    jobs: int = option(1, "fits and cells at a time on this machine; timings are only sound with 1", metavar="N")
    timeout: float | None = option(
        None, "wall clock after which a fit or cell is ended, in seconds, or as 10m or 2h", metavar="TIME"
    )
    executor: str = option("local", "where fits and cells run: local, the only one of this version", metavar="NAME")
    strategy_files: tuple[str, ...] = option((), "a Python file with strategies of your own", "strategy-file", "FILE")
    trust_remote_code: bool = option(False, "run code that comes with a model from the hub")
    out: str = option(DEFAULT_OUT, "folder of the run; the same command goes on where it stopped", metavar="DIR")
    overwrite: str = option("never", "what to run again although it stands: never, failed or always", metavar="WHAT")
    report_to: tuple[str, ...] = option((), "trackers that follow each training, such as tensorboard or mlflow")
    no_report: bool = option(False, "leave the report out")
    dry_run: bool = option(False, "show the plan and an estimate of its time, and run nothing")

    def __post_init__(self) -> None:
        for name in ("strategies", "datasets", "model", "seeds", "measures"):
            if not getattr(self, name):
                raise ConfigError(f"{name}: at least one is needed")
        for name, known in (("overwrite", OVERWRITE), ("precision", ("auto", "bf16", "fp32"))):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        for name, least in (("top_k", 100), ("tune_trials", 0), ("max_length", 0), ("threads", 0), ("jobs", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for tracker in self.report_to:
            if tracker not in TRACKERS:
                raise unknown("tracker", tracker, TRACKERS)
        for name in ("timeout", "min_gain", "usd_per_hour"):
            amount = getattr(self, name)
            if amount is not None and not 0 < amount < math.inf:
                raise ConfigError(f"{name} must be above 0 and finite, got {amount:g}")
        check_name(self.device)
        self.budgets()
        self.training()

    def budgets(self) -> list[Budget]:
        """Return one budget for each combination of the limits given.

        Raises:
            BudgetError: a combination makes no sense.
        """
        names = list(self.budget)
        combinations = itertools.product(*(self.budget[name] for name in names))
        limits: list[dict[str, Any]] = [dict(zip(names, each, strict=True)) for each in combinations]
        return [Budget(**each, usd_per_hour=self.usd_per_hour) for each in limits]

    def training(self) -> TrainingSettings:
        """Return the training settings that all strategies of this run share.

        Raises:
            BenchError: `set` names a setting that does not exist, or a value of the wrong type or of no meaning.
        """
        known = {field.name: field.default for field in fields(TrainingSettings)}
        changed: dict[str, Any] = {"precision": self.precision, "max_length": self.max_length}
        for name, value in self.overrides(TRAINING).items():
            if name not in known:
                raise unknown("training setting", name, known)
            if name in ("precision", "max_length"):
                raise ConfigError(f"set {TRAINING}.{name}: use --{name.replace('_', '-')}")
            changed[name] = typed(value, known[name], f"{TRAINING}.{name}")
        return TrainingSettings(**changed).checked()

    def overrides(self, prefix: str) -> dict[str, str]:
        """Return what `set` says of one strategy, or of the training settings."""
        return {key.partition(".")[2]: value for key, value in self.set.items() if key.partition(".")[0] == prefix}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON, which `from_mapping` takes back."""
        return json.loads(json.dumps(asdict(self)))


def from_mapping(raw: Mapping[str, Any], source: str = "", lines: Mapping[str, int] | None = None) -> RunConfig:
    """Build a configuration from keys and values as YAML, JSON or the command line give them.

    Args:
        raw: key -> value; text is split at commas where a field is a list. `budget_steps` is `budget: {steps: ...}`.
        source: the file, for messages.
        lines: key -> line in that file.

    Raises:
        ConfigError: a key is not known, or a value is not what its field takes.
    """
    known = {field.name: field for field in fields(RunConfig)}
    values: dict[str, Any] = {}
    budget: dict[str, Any] = {}
    for key, value in raw.items():
        where = f"{source}:{lines[key]}: " if lines and key in lines else f"{source}: " if source else ""
        name = canonical(key)
        try:
            if name == "budget" or name.startswith("budget_"):
                more = amounts_of(value if name == "budget" else {name.removeprefix("budget_"): value})
                if twice := sorted(more.keys() & budget.keys()):
                    raise BenchError(f"budget: {twice[0]} is said twice: keep one")
                budget |= more
            elif name in values:
                raise BenchError(f"{name} is said twice, here as {key!r}: keep one")
            elif name not in known:
                raise unknown("setting", name, [*known, *(f"budget_{limit}" for limit in (*SHAPES, *STOPS))])
            else:
                values[name] = value_of(name, value, str(known[name].type))
        except BenchError as error:
            raise ConfigError(f"{where}{error}") from error
    if budget:
        values["budget"] = budget
    try:
        return RunConfig(**values)
    except BenchError as error:
        raise ConfigError(f"{source}: {error}" if source else str(error)) from error


def load(path: Path) -> dict[str, Any]:
    """Read a YAML file, or the `run.json` of an earlier run (its latest invocation), as checked keys and values.

    Raises:
        ConfigError: the file cannot be read, or says something that a run does not take; with the line.
    """
    try:
        raw, lines = read_settings(path)
    except BenchError as error:
        raise ConfigError(str(error)) from error
    if isinstance(raw, Mapping) and isinstance(raw.get("invocations"), list):
        if not raw["invocations"]:
            raise ConfigError(f"{path}: no invocation in it")
        raw, lines = raw["invocations"][-1].get("config", {}), {}
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: expected keys and values such as 'strategies: [frozen, lora]'")
    from_mapping(raw, str(path), lines)
    return dict(raw)


def merged(file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Lay what the command line gives over what a file says: key by key, budgets and `set` limit by limit.

    Where no dataset is named, the embedded one comes with its probe.
    """
    result: dict[str, Any] = {}
    budget: dict[str, Any] = {}
    for key, value in (*file.items(), *given.items()):
        name = canonical(key)
        if name == "budget":
            budget |= limits_of(value)
        elif name.startswith("budget_"):
            budget |= limits_of({name.removeprefix("budget_"): value})
        elif name == "set":
            result["set"] = result.get("set", {}) | settings_of(value)
        else:
            result[name] = value
    if "datasets" not in result:
        result.setdefault("probes", PROBES)
    return result | ({"budget": budget} if budget else {})


def with_measures(config: RunConfig) -> RunConfig:
    """Return the configuration with measures under their canonical names, the primary one always among them.

    Raises:
        BenchError: a measure is not known.
    """
    from bench.evaluation.measures import parse_measure

    keys = [parse_measure(name).key for name in config.measures]
    return replace(config, measures=tuple(dict.fromkeys([*keys, PRIMARY_MEASURE])))
