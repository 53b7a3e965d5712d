"""RunConfig: everything that a YAML file or the command line may say about a run, validated.

Each field is documented where it stands; the command line's options are made from the same fields. The `config` of an
invocation in `run.json` is a RunConfig as plain values, so a `run.json` can be given back as `--config`.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from bench.context import TrainingSettings
from bench.errors import BenchError, unknown
from bench.expression import parse, parse_list
from bench.hyperparameters import typed
from bench.records import MEASURES, PRIMARY_MEASURE
from bench.training.budget import SHAPES, STOPS, Budget, parse_amount
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

_WHOLE = ("examples", "steps", "memory")
_COMMA = re.compile(r",(?![^()]*\))")
"""Between the items of a list, not between the parameters of one: `ndcg@10,RBP(p=0.8,rel=2)`."""


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
    timeout: float | None = option(None, "seconds of wall clock after which a fit or cell is ended", metavar="SECONDS")
    executor: str = option("local", "where fits and cells run: local, ray or slurm", metavar="NAME")
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
        if self.timeout is not None and self.timeout <= 0:
            raise ConfigError(f"timeout must be above 0 seconds, got {self.timeout:g}")
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
            BenchError: `set` names a setting that does not exist, or a value of the wrong type.
        """
        known = {field.name: field.default for field in fields(TrainingSettings)}
        changed: dict[str, Any] = {"precision": self.precision, "max_length": self.max_length}
        for name, value in self.overrides(TRAINING).items():
            if name not in known:
                raise unknown("training setting", name, known)
            if name in ("precision", "max_length"):
                raise ConfigError(f"set {TRAINING}.{name}: use --{name.replace('_', '-')}")
            changed[name] = typed(value, known[name], f"{TRAINING}.{name}")
        return TrainingSettings(**changed)

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
        name = str(key).replace("-", "_")
        name = {"strategy_file": "strategy_files", "models": "model", "dataset": "datasets"}.get(name, name)
        try:
            if name == "budget":
                budget |= _budget(value)
            elif name.startswith("budget_"):
                budget |= _budget({name.removeprefix("budget_"): value})
            elif name not in known:
                raise unknown("setting", name, [*known, *(f"budget_{limit}" for limit in (*SHAPES, *STOPS))])
            else:
                values[name] = _value(name, value, str(known[name].type))
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
        ConfigError: the file is not there, is not YAML, or says something that a run does not take; with the line.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        raw = yaml.safe_load(text) or {}
        root = yaml.compose(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not YAML: {getattr(error, 'problem', error)}") from error
    lines: dict[str, int] = {}
    if isinstance(raw, Mapping) and isinstance(raw.get("invocations"), list):
        if not raw["invocations"]:
            raise ConfigError(f"{path}: no invocation in it")
        raw = raw["invocations"][-1].get("config", {})
    elif isinstance(root, yaml.MappingNode):
        lines = {key.value: key.start_mark.line + 1 for key, _ in root.value}
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: expected keys and values such as 'strategies: [frozen, lora]'")
    from_mapping(raw, str(path), lines)
    return dict(raw)


def merged(file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Lay what the command line gives over what a file says: key by key, budgets and `set` limit by limit.

    Where no dataset is named, the embedded one comes with its probe.
    """
    result = {str(key).replace("-", "_"): value for key, value in file.items()}
    budget = dict(result.pop("budget", {}))
    for key in [key for key in result if key.startswith("budget_")]:
        budget[key.removeprefix("budget_")] = result.pop(key)
    for key, value in given.items():
        if key.startswith("budget_"):
            budget[key.removeprefix("budget_")] = value
        elif key == "set":
            result["set"] = _settings(result.get("set", {})) | _settings(value)
        else:
            result[key] = value
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


def _value(name: str, value: Any, kind: str) -> Any:
    """Return `value` as its field takes it; `kind` is the field's annotation."""
    if name == "set":
        return _settings(value)
    if value is None:
        if kind.endswith("| None"):
            return None
        raise ConfigError(f"{name}: a value is missing")
    if name == "strategies":
        texts = [value] if isinstance(value, str) else list(value)
        return tuple(dict.fromkeys(str(found) for text in texts for found in parse_list(str(text))))
    if name == "baseline":
        return str(parse(str(value)))
    if name == "probes" and value in ("", "none"):
        return ()
    if kind == "tuple[int, ...]":
        return tuple(_whole(name, each) for each in _list(value))
    if kind.startswith("tuple"):
        return tuple(dict.fromkeys(str(each) for each in _list(value)))
    if kind == "bool" and not isinstance(value, bool):
        raise ConfigError(f"{name}: {value!r} is neither true nor false")
    if kind == "int":
        return _whole(name, value)
    if kind.startswith("float"):
        return parse_amount(str(value), name)
    return value if isinstance(value, bool) else str(value)


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in _COMMA.split(value) if part.strip()] or [""]
    return list(value) if isinstance(value, Sequence) else [value]


def _whole(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        return int(value)
    except (ValueError, TypeError):
        raise ConfigError(f"{name}: {value!r} is not a whole number") from None


def _budget(value: Any) -> dict[str, tuple[float, ...]]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"budget: expected limits such as 'steps: 150', got {value!r}")
    result = {}
    for key, amounts in value.items():
        name = str(key).replace("-", "_")
        if name not in (*SHAPES, *STOPS):
            raise unknown("budget", name, (*SHAPES, *STOPS))
        numbers = [parse_amount(str(amount), name) for amount in _list(amounts)]
        result[name] = tuple(dict.fromkeys(int(number) if name in _WHOLE else number for number in numbers))
    return result


def _settings(value: Any) -> dict[str, str]:
    """Read `lora.r=16` (one or several) or a mapping, nested (`lora: {r: 16}`) or flat (`lora.r: 16`)."""
    result: dict[str, str] = {}
    for key, each in _pairs(value):
        owner, _, name = key.partition(".")
        if not owner.strip() or not name.strip() or each is None:
            raise ConfigError(
                f"set {key}: expected strategy.option=value, such as lora.r=16, or {TRAINING}.option=value"
            )
        result[f"{owner.strip()}.{name.strip()}"] = str(each).strip()
    return result


def _pairs(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        texts = [value] if isinstance(value, str) else list(value)
        return [(key, each if sign else None) for key, sign, each in (str(text).partition("=") for text in texts)]
    pairs: list[tuple[str, Any]] = []
    for key, inner in value.items():
        nested = inner.items() if isinstance(inner, Mapping) else ()
        pairs += [(f"{key}.{name}", each) for name, each in nested] or [(str(key), inner)]
    return pairs
