"""The studies of a plan: what is tuned together, and what makes two studies the same."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from bench.budget import Budget
from bench.config.execution import ExecutionSettings
from bench.expression import Expression
from bench.planning.specs import named
from bench.planning.study_spec import Node, StudySpec
from bench.running.tuning.space import tunable
from bench.store.provenance import machine_class
from bench.training.shape import SIZING

if TYPE_CHECKING:
    from bench.planning.plan import Planner
    from bench.planning.summary import DatasetSummary

_FORMAT = 1
"""Of identities: raised when what is hashed changes."""


def study_of(
    planner: Planner, expression: Expression, facts: DatasetSummary, model: str, axis: str, budget: Budget
) -> StudySpec:
    """Return the study of an expression: one for all seeds, and one for a composite and its parts together.

    Args:
        planner: strategies, options and models of the run.
        expression: what is tuned.
        facts: the target dataset.
        model: the base model in force.
        axis: the run's base model, in whose table the fits stand.
        budget: of each trial's fit.
    """
    root, trains = _node(planner, expression, model, budget, "")
    if not trains and budget.examples is None:
        budget = Budget()  # nothing but the labels that score it can then make two budgets differ
    training = replace(planner.training, max_length=facts.max_length)
    models = {node.model: planner.model(node.model).fingerprint for node in root.walk()}
    identity = {
        "format": _FORMAT,
        "tree": [
            [node.path, node.config, node.tuned, models[node.model], *_code(planner, node)] for node in root.walk()
        ],
        "training": asdict(training),
        "dataset": [facts.name, facts.fingerprint],
        "model": [planner.model(axis).name, models[root.model]],
        "budget": budget.limits | ({"usd_per_hour": budget.usd_per_hour} if budget.usd is not None else {}),
        "split": planner.config.split,
        **({"sizing": SIZING} if budget.trainable_params is not None else {}),
    }
    if budget.machine_bound:
        identity["machine"] = machine_class(ExecutionSettings.of(planner.config).threads, planner.config.device)
    readable = [str(expression), facts.name, *([budget.describe()] if budget.limits else [])]
    return StudySpec(
        name=named("--".join(readable), identity),
        strategy=str(expression),
        root=root,
        dataset=facts.requested,
        dataset_name=facts.name,
        model_name=planner.model(axis).name,
        budget=budget,
        training=training,
        test_split=planner.config.split,
        fingerprints={"dataset": facts.fingerprint, "model": models[root.model]},
    )


def _node(planner: Planner, expression: Expression, model: str, budget: Budget, path: str) -> tuple[Node, bool]:
    """Return what a study varies of an expression and its parts, and whether any of it is fitted to data."""
    strategy = planner.registry.get(expression.name)
    arguments, own_model = planner.arguments(expression, strategy)
    model = own_model or model
    names = [part.name for part in arguments]
    components, trains = [], bool(strategy.needs)
    for number, part in enumerate(arguments, start=1):
        twin = f"-{number}" if names.count(part.name) > 1 else ""
        node, trained = _node(planner, part, model, budget, f"{path}.{part.name}{twin}".lstrip("."))
        components.append(node)
        trains = trains or trained
    fixed = {**planner.config.overrides(strategy.name), **dict(expression.options)}
    config = planner.options(expression, strategy, budget)
    tuned = tunable(strategy, strategy.Config.parse(config), fixed, budget)
    return Node(expression.name, model, config, tuned, path, tuple(components)), trains


def _code(planner: Planner, node: Node) -> list[Any]:
    """Return what besides options decides a strategy's result: version, code outside the project, files."""
    strategy, code = planner.registry.get(node.root), planner.registry.entry(node.root).code
    files = [planner.digest(path) for path in strategy.inputs(strategy.Config.parse(node.config))]
    return [strategy.name, strategy.version, code[:16] if code else "", files]
