"""RunConfig: everything that a YAML file, the command line or Python may say about a run, validated by pydantic.

Each field is documented where it stands; the command line's options are made from the same fields. The `config` of an
invocation in `run.json` is a RunConfig as plain values, so a `run.json` can be given back as `--config`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bench.budget import SHAPES, STOPS, Budget
from bench.config.reader import read_yaml
from bench.config.values import (
    Amount,
    Budgets,
    Device,
    Flag,
    Limits,
    MeasureName,
    MeasureNames,
    Overrides,
    StrategyText,
    StrategyTexts,
    Text,
    TextChecked,
    Texts,
    TextsOrNone,
    Trackers,
    Whole,
    Wholes,
    limits_of,
    settings_of,
)
from bench.data.text import without_surrogates
from bench.errors import BenchError, unknown
from bench.models.quantisation import BaseWeights
from bench.records import MEASURES, PRIMARY_MEASURE
from bench.strategy.hyperparameters import typed
from bench.strategy.settings import TrainingSettings

BASELINE = "frozen"
"""The strategy that the other strategies are tested against by default."""
STRATEGIES = ("bm25", "frozen", "prior", "hybrid(frozen)", "full", "lora")
"""What `run` compares by default."""
SPEED_STRATEGIES = ("bm25", "frozen", "full", "lora")
"""What `speed` measures beside the plain library by default."""
DATASETS = ("pydocs",)
PROBES = ("general",)
"""The probes when neither datasets nor probes are named: small, and part of the package."""
BUDGET: Limits = {"steps": (60,)}
"""The default budget of a fit. It is small, so that `run` without arguments ends within minutes."""
DEFAULT_OUT = "results/default"
TRAINING = "train"
"""`--set train.batch_size=64` changes `TrainingSettings`; any other prefix is a strategy."""
_SPELLINGS = {"strategy_file": "strategy_files", "models": "model", "dataset": "datasets"}


class ConfigError(BenchError):
    """A configuration cannot be used; the text names the file and line, or the option."""

    def __init__(self, text: str, setting: str = "") -> None:
        super().__init__(text)
        self.setting = setting
        """The field, or `budget_` limit, that is wrong; empty where several do not go together."""


def _option(section: str, default: Any, help: str, metavar: str = "") -> Any:
    """Declare a field of `RunConfig` with its help text, and the section of the help in which it stands."""
    return Field(default, description=help, json_schema_extra={"section": section, "metavar": metavar})


STOPPING = "Budget limits that stop a fit (a list is swept)"
SHAPING = "Budget limits that shape a fit (they need one that stops it)"
_compared, _tuned, _measured, _placed, _left = (
    partial(_option, section)
    for section in ("What is compared", "Tuning", "What is measured", "How it runs", "What it leaves")
)


class RunConfig(BaseModel):
    """What to run. Lists are axes: every strategy on every dataset, model, budget and seed.

    Raises:
        ConfigError: a setting is not known, or its value cannot be used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)

    strategies: StrategyTexts = _compared(STRATEGIES, "strategies to compare, such as bm25,frozen,hybrid(lora)")
    baseline: StrategyText = _compared(BASELINE, "strategy that the other strategies are tested against", "STRATEGY")
    datasets: Texts = _compared(
        DATASETS, "target datasets: folders, or names that 'list datasets' shows; a+b searches a's queries in both"
    )
    probes: TextsOrNone = _compared((), "datasets outside the domain, on which forgetting is measured; or none")
    data_dir: Text | None = _compared(None, "folder that holds dataset folders", "DIR")
    model: Texts = _compared(("",), "base models: folders or hub names  [default: all-MiniLM-L6-v2]")
    seeds: Wholes = _compared((0,), "random seeds; every strategy that trains is fitted once for each")
    set: Overrides = _compared(
        {}, "a hyperparameter (lora.r=16) or a training setting (train.batch_size=64)", "NAME.OPTION=VALUE"
    )
    strategy_files: TextsOrNone = _compared((), "a Python file with strategies of your own", "FILE")
    trust_remote_code: Flag = _compared(False, "run code that comes with a model from the hub")
    budget: Budgets = _option(STOPPING, BUDGET, "what a fit may use")
    usd_per_hour: Amount | None = _option(STOPPING, None, "price of this machine in an hour", "USD")
    tune_trials: Annotated[Whole, Field(ge=0)] = _tuned(
        0, "trials of tuning on development data for each strategy; the first tries the defaults", "N"
    )
    primary: MeasureName = _measured(PRIMARY_MEASURE, "the measure that decides; it is always measured", "MEASURE")
    measures: MeasureNames = _measured(
        MEASURES, "measures, such as ndcg@10,mrr@10; any name of ir_measures is understood"
    )
    equivalence_margin: Amount = _measured(
        0.02, "margin for calling two strategies equivalent, declared before the run", "X"
    )
    min_gain: Amount = _measured(0.02, "gain over the baseline that 'how many labels do I need?' asks for", "X")
    split: Text = _measured("test", "split to measure on", "NAME")
    top_k: Annotated[Whole, Field(ge=100)] = _measured(100, "documents to retrieve for a query, at least 100", "N")
    precision: TextChecked[Literal["auto", "bf16", "fp32"]] = _placed(
        "auto", "bf16, fp32, or auto: bf16 where the hardware computes it faster", "NAME"
    )
    base_weights: TextChecked[BaseWeights] = _placed(
        "fp32",
        "fp32, or nf4: 4-bit weights of the base model's linear layers (QLoRA), on CUDA with bitsandbytes",
        "NAME",
    )
    max_length: Annotated[Whole, Field(ge=0)] = _placed(
        0, "tokens a text is cut to; 0 takes the dataset's limit, or else the model's", "N"
    )
    device: Device = _placed("auto", "auto, cpu, cuda or mps", "NAME")
    threads: Annotated[Whole, Field(ge=0)] = _placed(
        0, "CPU threads of a fit or cell; 0 is OMP_NUM_THREADS, or else a job's share of the cores", "N"
    )
    jobs: Annotated[Whole, Field(ge=1)] = _placed(
        1, "fits and cells that run at the same time; timings are only sound with 1", "N"
    )
    processes_per_fit: Annotated[Whole, Field(ge=1)] = _placed(
        1, "processes that take each training step of a fit together, with one GPU each", "N"
    )
    timeout: Amount | None = _placed(None, "end a fit or cell after this time, such as 90 (seconds), 10m or 2h", "TIME")
    checkpoint_every: Amount = _placed(
        "10m", "longest time between two checkpoints, from which a long fit resumes; 0 writes none", "TIME"
    )
    executor: Text = _placed(
        "local", "where fits and cells run: local, ray(gpus=1) or slurm(partition=gpu, hours=4)", "NAME"
    )
    out: Text = _left(DEFAULT_OUT, "folder or URL of the run; the same command again resumes an interrupted run", "DIR")
    overwrite: TextChecked[Literal["never", "failed", "always"]] = _left(
        "never", "completed work to run again: never, failed or always", "WHAT"
    )
    report_to: Trackers = _left((), "trackers that follow each training, such as tensorboard or mlflow")
    no_report: Flag = _left(False, "write no report")
    dry_run: Flag = _left(False, "show the plan with an estimate of its time, and run nothing")

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Validate, and turn pydantic's report into one sentence about the first mistake."""
        try:
            return handler(values)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            raise ConfigError(_sentence(problem), _setting(problem)) from None

    @field_validator("measures")
    @classmethod
    def _measure_primary(cls, measures: tuple[str, ...], checked: ValidationInfo) -> tuple[str, ...]:
        """Return the measures with the primary one among them."""
        return tuple(dict.fromkeys([*measures, checked.data.get("primary", measures[0])]))

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        self.budgets()
        settings = self.training()
        if self.processes_per_fit > settings.batch_size:
            raise ConfigError(
                f"processes_per_fit is {self.processes_per_fit}, more than the {settings.batch_size} pairs of a batch",
                "processes_per_fit",
            )
        return self

    def budgets(self) -> list[Budget]:
        """Return one budget for each combination of the limits given.

        Raises:
            BudgetError: a combination makes no sense.
        """
        limits: dict[str, Any] = dict(self.budget)
        combinations = itertools.product(*limits.values())
        return [
            Budget(**dict(zip(limits, amounts, strict=True)), usd_per_hour=self.usd_per_hour)
            for amounts in combinations
        ]

    def training(self) -> TrainingSettings:
        """Return the training settings that all strategies of this run share.

        Raises:
            BenchError: `set` names a setting that does not exist, or a value of the wrong type or range.
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
        """Return what `set` changes for one strategy, or for the training settings."""
        return {key.partition(".")[2]: value for key, value in self.set.items() if key.partition(".")[0] == prefix}

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with other values.

        Raises:
            ConfigError: a setting is not known, or its value cannot be used.
        """
        return type(self).model_validate({**dict(self), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON, which `from_mapping` takes back."""
        return self.model_dump(mode="json")


def _setting(problem: Mapping[str, Any]) -> str:
    """Return the field that pydantic found a problem in, or the limit of a budget as `budget_steps`."""
    return "_".join(str(part) for part in problem["loc"][: 2 if problem["loc"][:1] == ("budget",) else 1])


def _sentence(problem: Mapping[str, Any]) -> str:
    """Return a problem that pydantic found as a sentence that says what to write instead."""
    name, value, context = _setting(problem), problem["input"], problem.get("ctx", {})
    match problem["type"]:
        case _ if value is None:
            return f"{name}: a value is missing"
        case "extra_forbidden":
            return str(unknown("setting", name, [*RunConfig.model_fields, *_budget_settings()]))
        case "literal_error":
            return str(unknown(name, value, re.findall(r"'(\w+)'", context["expected"])))
        case "greater_than_equal":
            return f"{name} must be at least {context['ge']}, got {value}"
        case "too_short":
            return f"{name}: at least one is needed"
        case "bool_type":
            return f"{name}: {value!r} is neither true nor false"
        case "value_error":
            return str(context["error"])
    return f"{name}: {problem['msg']}"


def _budget_settings() -> list[str]:
    return [f"budget_{limit}" for limit in (*SHAPES, *STOPS)]


def from_mapping(raw: Mapping[str, Any], source: str = "", lines: Mapping[str, int] | None = None) -> RunConfig:
    """Build a configuration from keys and values as YAML, JSON or the command line give them.

    Args:
        raw: key -> value; text is split at commas where a field is a list. `budget_steps` is `budget: {steps: ...}`.
        source: the file, for messages.
        lines: key -> line in that file.

    Raises:
        ConfigError: a key is not known, or a value is not what its field takes.
    """
    keys: dict[str, str] = {}
    values: dict[str, Any] = {}
    setting = ""
    try:
        for key, value in raw.items():
            setting = str(key)
            for name, each in _flat(key, value):
                if name in keys:
                    raise ConfigError(f"{name} is set twice, here as {key!r}: remove one")
                _require_text(name, each)
                keys[name], values[name] = setting, each
        setting = ""
        return RunConfig.model_validate(_nested(values))
    except BenchError as error:
        setting = keys.get(getattr(error, "setting", ""), setting)
        line = f"{lines[setting]}:" if lines and setting in lines else ""
        raise ConfigError(f"{source}:{line} {error}" if source else str(error)) from error


def _require_text(name: str, value: Any) -> None:
    """Refuse texts that cannot be written as UTF-8.

    Raises:
        ConfigError: there is one.
    """
    if isinstance(value, str):
        if without_surrogates(value) != value:
            raise ConfigError(f"{name[:60]}: {value[:60]!a} holds bytes that are no text in UTF-8")
    elif isinstance(value, Mapping):
        for key, each in value.items():
            _require_text(name, key)
            _require_text(name, each)
    elif isinstance(value, list | tuple):
        for each in value:
            _require_text(name, each)


def _flat(key: Any, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of `RunConfig` that a key sets, each limit of a budget as `budget_steps`."""
    name = str(key).replace("-", "_")
    name = _SPELLINGS.get(name, name)
    if name != "budget":
        yield name, value
        return
    for limit, amounts in limits_of(name, value).items():
        yield f"budget_{limit}", amounts


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of `RunConfig`'s fields, the limits of a budget together in one."""
    limits = {name: name.removeprefix("budget_") for name in _budget_settings() if name in values}
    result = {name: value for name, value in values.items() if name not in limits}
    return result | ({"budget": {limit: values[name] for name, limit in limits.items()}} if limits else {})


def load(path: Path) -> dict[str, Any]:
    """Read a YAML file, or the `run.json` of an earlier run (its latest invocation), as checked keys and values.

    Raises:
        ConfigError: the file cannot be read, or holds a setting that a run does not take; with the line.
    """
    try:
        raw, lines = read_yaml(path)
    except BenchError as error:
        raise ConfigError(str(error)) from error
    if isinstance(raw, Mapping) and isinstance(raw.get("invocations"), list):
        if not raw["invocations"]:
            raise ConfigError(f"{path}: there is no invocation in it")
        latest = raw["invocations"][-1]
        raw, lines = latest.get("config", {}) if isinstance(latest, Mapping) else None, {}
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: expected keys and values such as 'strategies: [frozen, lora]'")
    from_mapping(raw, str(path), lines)
    return dict(raw)


def merged(file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a file with those of the command line over them, budgets and `set` limit by limit.

    Where no dataset is named, the embedded one comes with its probe.
    """
    result: dict[str, Any] = {}
    for key, value in (*file.items(), *given.items()):
        for name, each in _flat(key, value):
            result[name] = result.get(name, {}) | settings_of(name, each) if name == "set" else each
    if "datasets" not in result:
        result.setdefault("probes", PROBES)
    return result
