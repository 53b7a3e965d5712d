"""What a run leaves on disk in `results/<run>/`, and how it is read back.

    run.json                       every invocation
    fits/<fit>/                    fit.json, curve.parquet, train_relevant.parquet, model/
    cells/<cell>/                  result.json, per_query.parquet, ranking.trec.gz
    tuning/<study>/                study.json, trials.jsonl

`fit.json` and `result.json` are the commit marks. They are written last and in one put, and list the size and SHA-256
of every file beside them. A folder without its mark does not exist for a reader. So a process may die at any moment,
and what it leaves is never taken for a result. Nothing relies on renaming, which object stores cannot do.

A run may also be packed into one archive (`bench.store.packed`). It is then read like any other. A run at a URL has a
working copy, which is such a folder, and a mirror (`bench.store.mirror`), which copies records to and fro.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.files import named_in_errors
from bench.errors import StoreError
from bench.records import CellResult, CurvePoint, FitRecord, StoredFile
from bench.store.files import (
    CELL_MARK as CELL_MARK,
)
from bench.store.files import (
    FIT_MARK as FIT_MARK,
)
from bench.store.files import (
    MODEL as MODEL,
)
from bench.store.files import (
    ArtefactError,
    DamagedError,
    MissingError,
    RecordType,
    commit,
    emptied,
    read,
    sha256,
)
from bench.store.invocations import (
    RUN_COPY,
    RUN_FILE,
    latest_invocations,
    read_invocations,
    write_invocations,
)
from bench.store.packed import records_folder, require_unpacked

if TYPE_CHECKING:
    import pandas as pd

    from bench.retrieval.ranking import Ranking
    from bench.store.lease import Lease
    from bench.store.mirror import Mirror
    from bench.store.studies import Study

RANKING = "ranking.trec.gz"
"""The ranking of a cell. A cell may be kept without it."""
PER_QUERY = "per_query.parquet"
CURVE = "curve.parquet"
TRAIN_RELEVANT = "train_relevant.parquet"
INTERRUPTED = 130
"""The exit code of an invocation that the user stopped."""
_KINDS = (("fits", FIT_MARK), ("cells", CELL_MARK), ("tuning", "study.json"))


class Store:
    """The folder of one run. Reading never changes it. A folder that does not exist reads as an empty store."""

    def __init__(self, folder: Path, lease: Lease | None = None, mirror: Mirror | None = None) -> None:
        """Open the folder of a run. `bench.store.places.open_store` opens a folder or a URL.

        Args:
            folder: the folder.
            lease: the right to write, for the process of a job; None checks none.
            mirror: puts the records of this folder at a URL and fetches them; None for a run that is kept in a folder.
        """
        self.folder = Path(folder)
        self.mirror = mirror
        self._lease = lease

    @property
    def place(self) -> str:
        """Where the run is kept, for people: its folder or its URL."""
        return self.mirror.url if self.mirror is not None else str(self.folder)

    @property
    def records(self) -> Path:
        """The folder that holds the records: `folder` itself, or a temporary copy of a packed run."""
        return records_folder(self.folder)

    # --- reading --------------------------------------------------------------------------------------------------

    def results(self) -> list[CellResult]:
        """Return the target cells, ordered by name, with the probes of their fit joined into `forgetting`.

        Damaged cells are left out: see `problems`.

        Raises:
            StoreError: a newer version of AdaptBench wrote a record.
        """
        cells = self.cells()
        probes: dict[str, dict[str, dict[str, Any]]] = {}
        for cell in cells:
            if cell.role == "probe":
                probes.setdefault(cell.fit, {}).update(cell.forgetting)
        targets = [cell for cell in cells if cell.role == "target"]
        for cell in targets:
            cell.forgetting = {**probes.get(cell.fit, {}), **cell.forgetting}
        return targets

    def cells(self) -> list[CellResult]:
        """Return all cells, probes included, ordered by name. Damaged ones are left out: see `problems`."""
        return [record for _, record, _ in self._scan("cells", CELL_MARK, CellResult) if record is not None]

    def fits(self) -> list[FitRecord]:
        """Return all fits, ordered by name. Damaged ones are left out: see `problems`."""
        return [record for _, record, _ in self._scan("fits", FIT_MARK, FitRecord) if record is not None]

    def problems(self) -> list[str]:
        """Return a sentence for each damaged record, with its path. A run makes such fits and cells again.

        The content of every file beside a record is checked, but for the weights of fits: `artefact` checks these.
        """
        from bench.store.studies import damaged_studies

        problems = [*self._damaged("fits", FIT_MARK, FitRecord), *self._damaged("cells", CELL_MARK, CellResult)]
        problems += damaged_studies(self.records)
        try:
            read_invocations(self.records / RUN_FILE)
        except StoreError as error:
            problems.append(str(error))
        return problems

    def unreadable(self) -> list[str]:
        """Return a sentence for each record of a fit or cell that cannot be read. `problems` checks more."""
        fits, cells = self._scan("fits", FIT_MARK, FitRecord), self._scan("cells", CELL_MARK, CellResult)
        return [problem for _, _, problem in (*fits, *cells) if problem]

    def missing(self) -> list[str]:
        """Return a sentence for each record that an invocation planned, or another record names, and that is not there.

        Damaged records are there: see `problems`. Older versions recorded the number of planned cells and no names.
        What an interrupted invocation planned does not count once a later one has ended: the user changed the plan.
        """
        fits, cells, studies = (self._names(*kind) for kind in _KINDS)
        has_run_file = (self.records / RUN_FILE).is_file()
        calls = self.invocations() if has_run_file or (self.records / RUN_COPY).is_file() else []
        absent: dict[str, str] = {}
        for position, call in enumerate(calls):
            planned = {} if _is_superseded(call, calls[position + 1 :]) else call.get("planned") or {}
            absent |= {f"fits/{name}": "planned" for name in planned.get("fits", ()) if name not in fits}
            absent |= {f"cells/{name}": "planned" for name in planned.get("cells", ()) if name not in cells}
        for fit in self.fits():
            absent |= {f"fits/{name}": f"part of {fit.fit}" for name in fit.components if name not in fits}
            study = fit.tuning.get("study")
            if study and study not in studies:
                absent[f"tuning/{study}"] = f"what chose the hyperparameters of {fit.fit}"
        absent |= {f"fits/{cell.fit}": f"measured in {cell.cell}" for cell in self.cells() if cell.fit not in fits}
        sentences = [f"{self.folder / path} is missing: it is {why}" for path, why in sorted(absent.items())]
        sentences += self._missing_trials()
        counted = max((_planned_cells(call) for call in calls), default=0)
        if counted > len(cells):
            sentences.append(f"{self.folder / 'cells'}: {counted} cells were planned, and {len(cells)} are there")
        if not has_run_file and (fits or cells):
            sentences.append(f"{self.folder / RUN_FILE} is missing: it holds the run's configuration")
        return sentences

    def fit(self, name: str) -> FitRecord:
        """Return one fit.

        Raises:
            StoreError: the fit is not in the store, or it is damaged.
        """
        return self._get(self.fit_folder(name) / FIT_MARK, FitRecord)

    def cell(self, name: str) -> CellResult:
        """Return one cell with its own measurements, without those of the probes of its fit.

        Raises:
            StoreError: the cell is not in the store, or it is damaged.
        """
        return self._get(self.cell_folder(name) / CELL_MARK, CellResult)

    def has_fit(self, name: str) -> bool:
        """Whether the fit is complete: its record can be read, and every listed file is there in the right size."""
        return _is_complete(self.fit, name)

    def is_whole_fit(self, name: str) -> bool:
        """Whether the fit is complete, and every file beside its record but the weights has its recorded content."""
        return self.has_fit(name) and not self._changed(self.fit_folder(name), self.fit(name))

    def is_whole_cell(self, name: str) -> bool:
        """Whether the cell is complete, and every file beside its record has its recorded content."""
        return self.has_cell(name) and not self._changed(self.cell_folder(name), self.cell(name))

    def has_artefact(self, fit: str) -> bool:
        """Whether the fit is complete and every file that `Strategy.load` reads has the content that was written."""
        try:
            self.artefact(fit)
        except (MissingError, DamagedError, ArtefactError):
            return False
        return True

    def has_cell(self, name: str) -> bool:
        """Whether the cell is complete: its record can be read, and every listed file is there in the right size."""
        return _is_complete(self.cell, name)

    def per_query(self, cell: str) -> pd.DataFrame:
        """Return one row for each judged query: columns `query`, `group`, `seen`, then one column for each measure.

        Raises:
            StoreError: the cell has no such file (it failed), or the file is damaged.
        """
        import pandas as pd

        return pd.read_parquet(self._checked(self.cell_folder(cell), self.cell(cell).files, PER_QUERY))

    def curve(self, fit: str) -> pd.DataFrame:
        """Return the learning curve of a fit: columns `step, seconds, loss, learning_rate, dev`.

        Raises:
            StoreError: the fit is not in the store, or the file is damaged.
        """
        import pandas as pd

        record = self.fit(fit)
        if CURVE not in record.files:
            return pd.DataFrame({name: pd.Series(dtype="float64") for name in CurvePoint.model_fields})
        return pd.read_parquet(self._checked(self.fit_folder(fit), record.files, CURVE))

    def train_relevant(self, fit: str) -> list[str]:
        """Return the documents that were a positive in training, sorted: they define the seen stratum.

        What a component was trained on counts too, if it was on the same dataset.

        Raises:
            StoreError: the fit or a component is not in the store, or a file is damaged.
        """
        import pandas as pd

        record = self.fit(fit)
        found = set(record.train_relevant)
        if TRAIN_RELEVANT in record.files:
            frame = pd.read_parquet(self._checked(self.fit_folder(fit), record.files, TRAIN_RELEVANT))
            found |= set(frame["document"])
        for component in record.components:
            if self.fit(component).dataset == record.dataset:
                found |= set(self.train_relevant(component))
        return sorted(found)

    def ranking(self, cell: str) -> Ranking:
        """Return the ranking of a cell.

        Raises:
            StoreError: the cell has none (it failed, or it is a similarity probe), or the file is damaged.
        """
        from bench.retrieval.ranking import read_trec

        return read_trec(self._checked(self.cell_folder(cell), self.cell(cell).files, RANKING))

    def artefact(self, fit: str) -> Path:
        """Return the folder that `Strategy.load` reads, after checking every file in it against its SHA-256.

        The folder is empty or missing for a strategy that adds nothing to the base model.

        Raises:
            StoreError: the fit is not in the store, or a file is missing or damaged.
        """
        folder, record = self.fit_folder(fit), self.fit(fit)
        if self.mirror is not None:
            self.mirror.fetch_weights(fit)
        for name in record.files:
            if name.startswith(f"{MODEL}/"):
                self._checked(folder, record.files, name)
        return folder / MODEL

    def invocations(self) -> list[dict[str, Any]]:
        """Return every invocation that wrote into this run, oldest first."""
        return latest_invocations(self.records)

    def studies(self) -> list[Study]:
        """Return the studies that chose hyperparameters, ordered by name. Damaged ones are left out: see `problems`.

        Raises:
            StoreError: a newer version of AdaptBench wrote one.
        """
        from bench.store.studies import studies

        return studies(self.records)

    # --- writing --------------------------------------------------------------------------------------------------

    def fit_folder(self, name: str) -> Path:
        """Return the folder of a fit, whether the fit exists or not."""
        return self.records / "fits" / name

    def cell_folder(self, name: str) -> Path:
        """Return the folder of a cell, whether the cell exists or not."""
        return self.records / "cells" / name

    def require_writable(self) -> None:
        """Refuse to write into a packed run, or on behalf of a job that was given up.

        Raises:
            StoreError: the run is packed, or the lease of this process has ended.
        """
        require_unpacked(self.folder)
        if self._lease is not None:
            self._lease.require()

    def begin_fit(self, name: str) -> Path:
        """Return the emptied folder of a fit to write into. The artefact goes into its subfolder `model/`."""
        self.require_writable()
        folder = emptied(self.fit_folder(name), FIT_MARK)
        (folder / MODEL).mkdir()
        return folder

    def begin_cell(self, name: str) -> Path:
        """Return the emptied folder of a cell to write into."""
        self.require_writable()
        return emptied(self.cell_folder(name), CELL_MARK)

    def put_fit(
        self, record: FitRecord, curve: Sequence[CurvePoint] = (), train_relevant: Collection[str] = ()
    ) -> None:
        """Write the files of a fit, then `fit.json`, which lists them. From here on the fit exists.

        Args:
            record: the fit; its artefact lies in `model/` already.
            curve: its learning curve.
            train_relevant: the documents that were a positive in training.
        """
        self.require_writable()
        folder = self.fit_folder(record.fit)
        folder.mkdir(parents=True, exist_ok=True)
        if curve or train_relevant:
            import pandas as pd
        if curve:
            frame = pd.DataFrame([point.model_dump() for point in curve])
            with named_in_errors(folder / CURVE):
                frame.astype(dict.fromkeys(("loss", "learning_rate", "dev"), "float64")).to_parquet(folder / CURVE)
        if train_relevant:
            with named_in_errors(folder / TRAIN_RELEVANT):
                pd.DataFrame({"document": sorted(train_relevant)}).to_parquet(folder / TRAIN_RELEVANT, index=False)
        commit(folder, FIT_MARK, record, self.require_writable)

    def put_cell(
        self, record: CellResult, per_query: pd.DataFrame | None = None, ranking: Ranking | None = None
    ) -> None:
        """Write the values per query and the ranking, then `result.json`. From here on the cell exists."""
        self.require_writable()
        folder = self.cell_folder(record.cell)
        folder.mkdir(parents=True, exist_ok=True)
        if per_query is not None:
            with named_in_errors(folder / PER_QUERY):
                per_query.to_parquet(folder / PER_QUERY, index=False)
        if ranking is not None:
            from bench.retrieval.ranking import write_trec

            with named_in_errors(folder / RANKING):
                write_trec(ranking, folder / RANKING, record.strategy.replace(" ", ""))
        commit(folder, CELL_MARK, record, self.require_writable)

    def put_invocation(self, invocation: Mapping[str, Any], replace_last: bool = False) -> None:
        """Add an invocation to `run.json`, or replace the last one when it has ended.

        `run.previous.json` keeps the earlier content until the new file is on the disk.
        """
        require_unpacked(self.folder)
        earlier = self.invocations()
        if replace_last:
            earlier = earlier[:-1]
        write_invocations(self.folder, [*earlier, dict(invocation)], earlier)

    def publish(self, files: Sequence[Path] = ()) -> list[str]:
        """Put files of the folder, and what else lies beside the records, at the URL of the run, where it has one.

        Args:
            files: pages, plots and other files for people. No process reads them back.

        Returns:
            Where people find these files: their paths or URLs.

        Raises:
            StoreError: a file could not be put.
        """
        return [str(path) for path in files] if self.mirror is None else self.mirror.publish(files)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _scan(
        self, kind: str, mark: str, record_type: type[RecordType]
    ) -> Iterator[tuple[str, RecordType | None, str]]:
        """Yield (name, record or None, problem) for each folder that has its mark."""
        root = self.records / kind
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if (folder / mark).exists():
                record, problem = self._load(folder / mark, record_type)
                yield folder.name, record, problem

    def _load(self, mark: Path, record_type: type[RecordType]) -> tuple[RecordType | None, str]:
        """Return a record, or None and why it cannot be read."""
        try:
            return _own(mark, record_type), ""
        except DamagedError as error:
            return None, str(error)

    def _damaged(self, kind: str, mark: str, record_type: type[RecordType]) -> Iterator[str]:
        """Yield a sentence for each record that is damaged, or that stands beside a damaged file."""
        for name, record, problem in self._scan(kind, mark, record_type):
            if problem:
                yield problem
            elif record is not None:
                yield from self._changed(self.records / kind / name, record)

    def _changed(self, folder: Path, record: FitRecord | CellResult) -> list[str]:
        """Return a sentence for each file beside a record whose content has changed. Weights are left out."""
        return [
            f"{folder / name} is damaged (its SHA-256 differs): run again to repair it"
            for name, listed in record.files.items()
            if not name.startswith(f"{MODEL}/") and sha256(folder / name) != listed.sha256
        ]

    def _missing_trials(self) -> Iterator[str]:
        """Yield a sentence for each study with fewer trials than a fit was chosen from."""
        trials = {study.study: len(study.trials) for study in self.studies()}
        chosen = {fit.tuning.get("study"): fit.tuning.get("trials") or 0 for fit in self.fits()}
        for study, count in chosen.items():
            if study in trials and trials[study] < count:
                path = self.folder / "tuning" / str(study) / "trials.jsonl"
                yield f"{path} is cut short: {count} trials were made, and {trials[study]} are there"

    def _names(self, kind: str, mark: str) -> set[str]:
        """Return the names of the records of a kind, damaged ones included."""
        return {path.parent.name for path in (self.records / kind).glob(f"*/{mark}")}

    def _get(self, mark: Path, record_type: type[RecordType]) -> RecordType:
        if not mark.is_file():
            raise MissingError(f"{mark.parent} is not in the store: it was not finished, or never run")
        return _own(mark, record_type)

    def _checked(self, folder: Path, files: Mapping[str, StoredFile], name: str) -> Path:
        """Return the path of a listed file after comparing its content with the record."""
        if name not in files:
            raise StoreError(f"{folder.name} has no {name}")
        if not (folder / name).is_file():
            if self.records != self.folder:
                file = f"{folder.name}/{name}"
                raise ArtefactError(f"{self.folder} is packed without {file}: run again in another folder")
            raise ArtefactError(f"{folder / name} is missing: delete {folder} and run again")
        if sha256(folder / name) != files[name].sha256:
            repair = f"delete {folder} and run again" if name.startswith(f"{MODEL}/") else "run again to repair it"
            raise ArtefactError(f"{folder / name} is damaged (its SHA-256 differs): {repair}")
        return (folder / name).absolute()  # pandas takes `ab:/c` for a URL


def _is_superseded(invocation: Mapping[str, Any], later: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the user interrupted an invocation, and let a later one run to its end."""
    ends = [each["exit_code"] for each in later if "exit_code" in each]
    return invocation.get("exit_code") == INTERRUPTED and any(end != INTERRUPTED for end in ends)


def _planned_cells(invocation: Mapping[str, Any]) -> int:
    """Return the number of cells that an invocation planned, where it did not record their names; else 0."""
    plan, command = invocation.get("plan") or {}, list(invocation.get("command") or ())
    return 0 if "planned" in invocation or command[3:4] == ["tune"] else int(plan.get("cells") or 0)


def _own(mark: Path, record_type: type[RecordType]) -> RecordType:
    """Return the record of a folder.

    Raises:
        DamagedError: it cannot be read, or it is the record of another folder: one of the two was moved or copied.
    """
    record = read(mark, record_type)
    name = getattr(record, "fit" if mark.name == FIT_MARK else "cell")
    if name != mark.parent.name:
        raise DamagedError(f"{mark.parent} holds the record of {name}: it was moved or copied. Give it its own name")
    return record


def _is_complete(get: Callable[[str], FitRecord | CellResult], name: str) -> bool:
    """Whether a record can be read. A record of a newer schema raises, so that nothing overwrites it."""
    try:
        get(name)
    except (MissingError, DamagedError):
        return False
    return True
