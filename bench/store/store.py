"""What a run leaves on disk, and how it is read back: `results/<run>/` as DESIGN.md lays it out.

    run.json                       every invocation
    fits/<fit>/                    fit.json, curve.parquet, model/
    cells/<cell>/                  result.json, per_query.parquet, ranking.trec.gz

`fit.json` and `result.json` are the commit marks: written last, in one put, with the size and SHA-256 of everything
beside them. A folder without its mark does not exist for a reader, so a process may die at any moment and leaves
nothing that could be mistaken for a result. No rename is relied on (object stores have none).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import StoreError
from bench.records import CellResult, CurvePoint, FitRecord
from bench.store.files import (
    MODEL as MODEL,
)
from bench.store.files import (
    ArtefactError,
    DamagedError,
    MissingError,
    Record,
    as_json,
    commit,
    emptied,
    read,
    sha256,
    write_durably,
)

if TYPE_CHECKING:
    import pandas as pd

    from bench.retrieval.ranking import Ranking
    from bench.store.studies import Study

FIT_MARK = "fit.json"
CELL_MARK = "result.json"
RANKING = "ranking.trec.gz"
"""Of a cell; records may be kept without it."""
RUN_FILE = "run.json"
_RUN_COPY = "run.previous.json"


class Store:
    """The folder of one run. Reading never changes it; a folder that is not there reads as an empty store."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    # --- reading --------------------------------------------------------------------------------------------------

    def results(self) -> list[CellResult]:
        """Return the target cells, ordered by name, with the probes of their fit joined into `forgetting`.

        Raises:
            StoreError: a record was written by a newer version of AdaptBench.
        """
        cells = self.cells()
        probes: dict[str, dict[str, dict[str, Any]]] = {}
        for cell in cells:
            if cell.role == "probe":
                probes.setdefault(cell.fit, {}).update(cell.forgetting)
        targets = [cell for cell in cells if cell.role != "probe"]
        for cell in targets:
            cell.forgetting = {**probes.get(cell.fit, {}), **cell.forgetting}
        return targets

    def cells(self) -> list[CellResult]:
        """Return all cells, probes too, ordered by name. Damaged ones are left out: see `problems`."""
        return [record for _, record, _ in self._scan("cells", CELL_MARK, CellResult) if record is not None]

    def fits(self) -> list[FitRecord]:
        """Return all fits, ordered by name. Damaged ones are left out: see `problems`."""
        return [record for _, record, _ in self._scan("fits", FIT_MARK, FitRecord) if record is not None]

    def problems(self) -> list[str]:
        """Return a sentence for each record that is damaged, with its path. A run makes such fits and cells again."""
        found = [problem for _, _, problem in self._scan("fits", FIT_MARK, FitRecord) if problem]
        found += [problem for _, _, problem in self._scan("cells", CELL_MARK, CellResult) if problem]
        try:
            self._read_invocations(RUN_FILE)
        except StoreError as error:
            found.append(str(error))
        return found

    def fit(self, name: str) -> FitRecord:
        """Return one fit.

        Raises:
            StoreError: it is not in the store, or damaged.
        """
        return self._get(self.fit_folder(name) / FIT_MARK, FitRecord)

    def cell(self, name: str) -> CellResult:
        """Return one cell, its own measurements only.

        Raises:
            StoreError: it is not in the store, or damaged.
        """
        return self._get(self.cell_folder(name) / CELL_MARK, CellResult)

    def has_fit(self, name: str) -> bool:
        """Whether the fit stands: its mark can be read, and all it lists is there in the right size."""
        return _stands(self.fit, name)

    def has_artefact(self, fit: str) -> bool:
        """Whether the fit stands with all that `Strategy.load` reads, content checked."""
        try:
            self.artefact(fit)
        except (MissingError, DamagedError, ArtefactError):
            return False
        return True

    def has_cell(self, name: str) -> bool:
        """Whether the cell stands: its mark can be read, and all it lists is there in the right size."""
        return _stands(self.cell, name)

    def per_query(self, cell: str) -> pd.DataFrame:
        """Return one row a judged query: columns `query`, `group`, `seen`, then one column a measure.

        Raises:
            StoreError: the cell has no such file (it failed), or the file is damaged.
        """
        import pandas as pd

        return pd.read_parquet(self._whole(self.cell_folder(cell), self.cell(cell).files, "per_query.parquet"))

    def curve(self, fit: str) -> pd.DataFrame:
        """Return the learning curve of a fit: columns `step, seconds, loss, learning_rate, dev`."""
        import pandas as pd

        record = self.fit(fit)
        if "curve.parquet" not in record.files:
            return pd.DataFrame({field.name: pd.Series(dtype="float64") for field in fields(CurvePoint)})
        return pd.read_parquet(self._whole(self.fit_folder(fit), record.files, "curve.parquet"))

    def ranking(self, cell: str) -> Ranking:
        """Return the ranking of a cell.

        Raises:
            StoreError: the cell has none (it failed, or it is a similarity probe), or the file is damaged.
        """
        from bench.retrieval.ranking import read_trec

        return read_trec(self._whole(self.cell_folder(cell), self.cell(cell).files, RANKING))

    def artefact(self, fit: str) -> Path:
        """Return the folder that `Strategy.load` reads, after checking every file in it against its SHA-256.

        It is empty, or not there at all, for a strategy that adds nothing to the base model.

        Raises:
            StoreError: the fit is not in the store, or a file is missing or damaged.
        """
        folder, record = self.fit_folder(fit), self.fit(fit)
        for name in record.files:
            if name.startswith(f"{MODEL}/"):
                self._whole(folder, record.files, name)
        return folder / MODEL

    def invocations(self) -> list[dict[str, Any]]:
        """Return every invocation that wrote into this run, oldest first."""
        try:
            return self._read_invocations(RUN_FILE)
        except StoreError:
            return self._read_invocations(_RUN_COPY)

    def studies(self) -> list[Study]:
        """Return the studies that chose hyperparameters, ordered by name.

        Raises:
            StoreError: one was written by a newer version, or is damaged.
        """
        from bench.store.studies import studies

        return studies(self.folder)

    # --- writing --------------------------------------------------------------------------------------------------

    def fit_folder(self, name: str) -> Path:
        """Return the folder of a fit, whether it stands or not."""
        return self.folder / "fits" / name

    def cell_folder(self, name: str) -> Path:
        """Return the folder of a cell, whether it stands or not."""
        return self.folder / "cells" / name

    def begin_fit(self, name: str) -> Path:
        """Return the emptied folder of a fit to write into; its artefact goes into `model/` there."""
        folder = emptied(self.fit_folder(name), FIT_MARK)
        (folder / MODEL).mkdir()
        return folder

    def begin_cell(self, name: str) -> Path:
        """Return the emptied folder of a cell to write into."""
        return emptied(self.cell_folder(name), CELL_MARK)

    def put_fit(self, record: FitRecord, curve: Sequence[CurvePoint] = ()) -> None:
        """Write the curve, hash what lies in the fit's folder, then write `fit.json`: from here on the fit exists."""
        folder = self.fit_folder(record.fit)
        folder.mkdir(parents=True, exist_ok=True)
        if curve:
            import pandas as pd

            frame = pd.DataFrame([asdict(point) for point in curve])
            frame.astype(dict.fromkeys(("loss", "learning_rate", "dev"), "float64")).to_parquet(
                folder / "curve.parquet"
            )
        commit(folder, FIT_MARK, record)

    def put_cell(
        self, record: CellResult, per_query: pd.DataFrame | None = None, ranking: Ranking | None = None
    ) -> None:
        """Write the values per query and the ranking, then `result.json`: from here on the cell exists."""
        folder = self.cell_folder(record.cell)
        folder.mkdir(parents=True, exist_ok=True)
        if per_query is not None:
            per_query.to_parquet(folder / "per_query.parquet", index=False)
        if ranking is not None:
            from bench.retrieval.ranking import write_trec

            write_trec(ranking, folder / RANKING, record.strategy.replace(" ", ""))
        commit(folder, CELL_MARK, record)

    def put_invocation(self, invocation: Mapping[str, Any], replace_last: bool = False) -> None:
        """Add an invocation to `run.json`, or write the last one again now that it has ended.

        What stood before is kept in `run.previous.json` until the new file is on disk.
        """
        earlier = self.invocations()
        if replace_last:
            earlier = earlier[:-1]
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / RUN_FILE).exists():
            write_durably(self.folder / _RUN_COPY, as_json({"invocations": earlier}))
        write_durably(self.folder / RUN_FILE, as_json({"invocations": [*earlier, dict(invocation)]}))

    # --- inside ---------------------------------------------------------------------------------------------------

    def _scan(self, kind: str, mark: str, record: type[Record]) -> Iterator[tuple[str, Record | None, str]]:
        """Yield (name, record or None, problem) for each folder that has its mark."""
        root = self.folder / kind
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if not (folder / mark).is_file():
                continue
            try:
                yield folder.name, read(folder / mark, record), ""
            except DamagedError as error:
                yield folder.name, None, str(error)

    def _get(self, mark: Path, record: type[Record]) -> Record:
        if not mark.is_file():
            raise MissingError(f"{mark.parent} is not in the store: it was not finished, or never run")
        return read(mark, record)

    def _whole(self, folder: Path, listed: Mapping[str, Mapping[str, Any]], name: str) -> Path:
        """Return the path of a listed file after comparing its content with the record."""
        if name not in listed:
            raise StoreError(f"{folder.name} has no {name}")
        if not (folder / name).is_file():
            raise ArtefactError(f"{folder / name} is missing: delete {folder} and run again")
        if sha256(folder / name) != listed[name]["sha256"]:
            raise ArtefactError(f"{folder / name} is damaged (its SHA-256 differs): delete {folder} and run again")
        return folder / name

    def _read_invocations(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        if not path.is_file():
            return []
        try:
            return list(json.loads(path.read_text(encoding="utf-8"))["invocations"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path} is damaged: {error}") from error


def _stands(get: Callable[[str], FitRecord | CellResult], name: str) -> bool:
    """Whether a record can be read. One of a newer schema is refused, so that it is not overwritten."""
    try:
        get(name)
    except (MissingError, DamagedError):
        return False
    return True
