"""BM25 leaves the GPU to the encoders."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
from bench.data.dataset import Corpus
from bench.retrieval.lexical import build_lexical
index = build_lexical(Corpus(["a", "b"], ["the crane of the harbour", "a kiln for clay"]))
print([doc for doc, _ in index.search({"q": "kiln"}, 1)["q"]])
import jax
"""


def test_bm25_does_not_start_jax(tmp_path: Path) -> None:
    """bm25s starts JAX where it is installed, which takes three quarters of a GPU's memory for every process."""
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("print('jax was imported')\n", encoding="utf-8")
    (tmp_path / "jax" / "lax.py").write_text("top_k = lambda scores, k: None\n", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path), str(Path.cwd())])
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['b']", "jax was imported"]  # the latter by the script itself, afterwards
