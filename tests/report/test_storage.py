"""The section on bytes and quality: which strategies are compressions, and how much of the quality each one keeps."""

from __future__ import annotations

from typing import Any

import pytest

from bench.report.analysis import Analysis
from bench.report.build import build
from bench.report.load import load_run
from bench.report.plots import draw
from bench.report.sections import storage

BYTES = 5000 * 1536


@pytest.fixture
def analysis(planter: Any, plant: Any, untrained: Any) -> Analysis:
    """Plant `base` with two compressions, a fusion that takes more bytes, and `lora` with none."""
    planter.run({"base": untrained(index_bytes=BYTES), "lora": plant(gains=(0.05,), index_bytes=BYTES)})
    (base,) = (fit.fit for fit in planter.store.fits() if fit.strategy == "base")
    planter.run(
        {
            "compress(base)": untrained(gains=(0.0,), components=(base,), index_bytes=BYTES // 4),
            "compress(base, store=binary)": untrained(gains=(-0.2,), components=(base,), index_bytes=BYTES // 32),
            "hybrid(base)": untrained(gains=(0.1,), components=(base,), index_bytes=2 * BYTES),
        }
    )
    return Analysis(load_run(planter.store))


def test_only_what_takes_fewer_bytes_than_its_component_is_a_compression(analysis: Analysis) -> None:
    (comparison,) = analysis.run.comparisons
    found = storage.families(analysis, comparison)
    assert found == {"base": ["compress(base)", "compress(base, store=binary)"]}


def test_the_table_says_what_each_format_loses(analysis: Analysis) -> None:
    tables = [block for block in storage.section(analysis).blocks if hasattr(block, "rows")]
    rows = {str(row[0].value): row for row in tables[0].rows}
    assert list(rows) == ["base", "compress(base)", "compress(base, store=binary)"]
    assert [row[1].text for row in rows.values()] == ["1,536", "384", "48"]
    assert [row[2].text for row in rows.values()] == ["100%", "25%", "3.1%"]
    lost = rows["compress(base, store=binary)"]
    assert lost[4].value == pytest.approx(-0.2, abs=0.01) and lost[5].text == "worse"
    assert rows["compress(base)"][5].text in ("equivalent", "inconclusive")


def test_the_section_and_its_plot_are_there_only_with_compressions(
    analysis: Analysis, planter_type: Any, plant: Any, untrained: Any, tmp_path: Any
) -> None:
    assert "storage" in [section.name for section in build(analysis).sections]
    assert "storage-1" in [plot.name for plot in draw(analysis)]
    without = planter_type(tmp_path / "without")
    without.run({"base": untrained(), "lora": plant()})
    plain = Analysis(load_run(without.store))
    assert "storage" not in [section.name for section in build(plain).sections]
    assert "storage-1" not in [plot.name for plot in draw(plain)]
