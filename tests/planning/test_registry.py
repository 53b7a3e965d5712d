"""Where strategies come from, and what is said when one cannot be found."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.planning import registry as finding
from bench.planning.registry import Registry, StrategyError
from bench.strategy.base import Strategy

ROOT = Path(__file__).resolve().parents[2]

MINE = """
from bench.encoders.base import BaseEncoder

class Mine(BaseEncoder):
    name = "mine"

class _Shared(BaseEncoder):
    name = "shared"
"""

UNFINISHED = """
from bench.strategy.base import Strategy

class Mine(Strategy):
    name = "mine"
"""


def test_a_file_of_the_package_is_a_strategy_and_its_stem_its_name() -> None:
    registry = Registry()
    stems = {path.stem for path in (ROOT / "strategies").glob("*.py") if not path.stem.startswith("_")}
    assert {name.replace("-", "_") for name in registry.names()} >= stems
    for name in registry.names():
        strategy, preset = registry.get(name), registry.preset(name)
        assert issubclass(strategy, Strategy) and strategy.name == (preset.name if preset else name)
        assert registry.entry(name).origin == "adaptbench"


def test_looking_for_strategies_imports_no_torch() -> None:
    program = (
        "import sys; from bench.planning.registry import Registry; registry = Registry();"
        "[registry.get(name) for name in registry.names()]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_a_file_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    registry = Registry([path])
    assert registry.get("mine").__name__ == "Mine" and registry.entry("mine").origin == str(path)
    assert "shared" not in registry.names(), "a leading underscore keeps a class to itself"
    code = registry.entry("mine").code
    path.write_text(MINE + "\n# edited\n")
    assert len(code) == 64 and Registry([path]).entry("mine").code != code


def test_module_and_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somewhere_else.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    assert Registry().get("somewhere_else:Mine").name == "mine"
    with pytest.raises(BenchError, match="did you mean 'Mine'"):
        Registry().get("somewhere_else:Mien")
    with pytest.raises(StrategyError, match=r"cannot be imported.*--strategy-file"):
        Registry().get("nowhere_at_all:Mine")


def test_entry_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "offered.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("mine", "offered:Mine", finding.STRATEGIES.group)
    monkeypatch.setattr(finding, "entry_points", lambda group: [point] if group == finding.STRATEGIES.group else [])
    assert Registry().get("mine").__module__ == "offered"


def test_a_mistyped_name() -> None:
    with pytest.raises(BenchError, match=r"unknown strategy 'lroa', did you mean 'lora'\? Known: "):
        Registry().get("lroa")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nraise RuntimeError('why')\n", r"mine\.py:2: RuntimeError: why"),
        ("x = = 1\n", r"mine\.py:1: SyntaxError"),
        ("x = 1\n", "no strategy, objective or representation in it"),
        (UNFINISHED, "no strategy, objective or representation in it.*; Mine lacks fit, index, load, save, search"),
        (MINE.replace('name = "mine"', 'name = "lora"'), "'lora' is taken by a strategy of adaptbench"),
        (MINE.replace('name = "mine"', "name = None"), 'a strategy needs a name: name = "mine"'),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(StrategyError, match=message):
        Registry([path])


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(StrategyError, match=r"nowhere\.py does not exist"):
        Registry([Path("nowhere.py")])


def test_somebody_elses_folder_of_the_same_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "__init__.py").write_text("")
    program = (
        "import sys; sys.path.insert(0, '.');"
        "from bench.errors import BenchError; from bench.planning.registry import Registry\n"
        "try:\n    Registry()\nexcept BenchError as error:\n    sys.exit(str(error))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(ROOT)!r}); {program}"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert str(tmp_path / "strategies") in done.stderr and "--strategy-file" in done.stderr
