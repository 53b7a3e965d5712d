"""Serves an exported embedding model: the functions that SageMaker's Hugging Face containers call.

A request is `{"inputs": "text" or ["text", ...], "task": "query" or "document"}`. The default task is `document`. The
answer is `{"embeddings": [[...], ...]}`, one vector for each text. The archive holds this file, so it imports nothing
from AdaptBench.
"""

from __future__ import annotations

from typing import Any

from sentence_transformers import SentenceTransformer


def model_fn(model_dir: str, resources: Any = None) -> SentenceTransformer:
    """Load the model from the unpacked archive."""
    return SentenceTransformer(model_dir)


def predict_fn(data: dict[str, Any], model: SentenceTransformer, resources: Any = None) -> dict[str, Any]:
    """Embed the texts of a request.

    Raises:
        ValueError: the request has no texts, or a task that is neither `query` nor `document`.
    """
    texts, task = data.get("inputs"), data.get("task", "document")
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("'inputs' must be a text or a list of texts")
    if task not in ("query", "document"):
        raise ValueError(f"'task' must be 'query' or 'document', not {task!r}")
    encode = model.encode_query if task == "query" else model.encode_document
    return {"embeddings": encode(texts, show_progress_bar=False).tolist()}
