"""What a base model's files say about loading and comparing it. A model that is not understood is refused.

No weights are loaded. Planning calls `model_notes` for each model of a run, so that no fit fails for these reasons.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from bench.errors import ModelError
from bench.models.architectures import FAMILIES, Architecture, family_name, known_family
from bench.models.weight_faults import weights_problem
from bench.models.weight_files import header, tensor_names

_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_LIBRARY = "sentence_transformers."
_NORMALIZE = ".Normalize"
_SIMILARITIES = ("cosine", "dot")
_DISTANCES = ("euclidean", "manhattan")
_ADAPTER = "adapter_config.json"
_SETTINGS = "config_sentence_transformers.json"
_TRANSFORMER = "sentence_bert_config.json"
_GIVE_TOKENS = (".Transformer", ".Dropout", ".Normalize", ".WordEmbeddings", ".LSTM", ".CNN", ".WordWeights")
"""Modules that give vectors of tokens, or change what another module gives."""
_PROMPTS = ("query", "document", "passage", "corpus")
"""Names of prompts that the library's `encode_query` and `encode_document` look for."""


class ModelFolder(Protocol):
    """A base model on disk, as `BaseModel` describes it."""

    @property
    def name(self) -> str:
        """The name that messages give."""
        ...

    @property
    def path(self) -> Path:
        """The folder."""
        ...

    @property
    def pooling(self) -> str | None:
        """A pooling that replaces the model's own."""
        ...

    @property
    def trust_remote_code(self) -> bool:
        """Whether code that comes with the model may run."""
        ...


def model_notes(model: ModelFolder) -> list[str]:
    """Return what the user must know about a base model before it is compared.

    Raises:
        ModelError: the model cannot be measured as its authors meant it. The message says what to do.
    """
    if not model.path.is_dir():  # a model behind an endpoint
        return []
    try:
        require_loadable(model)
        if problem := weights_problem(model.path):
            raise ModelError(f"model {model.name!r}: {problem}")
        _require_plain_weights(model)
        _require_lengths(model)
        _require_settings(model)
        return [*_similarity_notes(model), *_pooling_notes(model), *_prompt_notes(model), *_length_notes(model)]
    except (OSError, ValueError, TypeError, AttributeError) as error:  # a path or a header that is none
        raise ModelError(f"model {model.name!r} cannot be read: {str(error)[:200]}") from error


def gives_token_vectors(model: ModelFolder) -> bool:
    """Return whether a base model shows a vector for each token: no endpoint and no static model does."""
    return model.path.is_dir() and _has_transformer(model)


def has_language_model_head(model: ModelFolder) -> bool:
    """Return whether a checkpoint may hold a masked-language-model head.

    True for a family that is not known: loading the head decides.
    """
    folder = _transformer_folder(model)
    family = FAMILIES.get(_family_name(model))
    if family is None:
        return True
    names = (name for path in folder.glob("*.safetensors") for name in tensor_names(path))
    head = family.language_model_head
    return bool(head) and any(name.startswith(f"{head}.") for name in names)


def architecture_of(model: ModelFolder) -> Architecture | None:
    """Return the architecture of a base model's transformer from its files; None where it has none.

    Raises:
        NotApplicableError: the family is unknown. The message lists the known ones.
    """
    if not gives_token_vectors(model) or not (_transformer_folder(model) / "config.json").is_file():
        return None
    return known_family(_family_name(model))


def has_biases(model: ModelFolder) -> bool:
    """Return whether a base model of a known family has biases, in its transformer or in a module behind it."""
    architecture = architecture_of(model)
    config = _mapping(_transformer_folder(model) / "config.json")
    if architecture is None or architecture.has_biases or config.get("attention_bias") or config.get("mlp_bias"):
        return True
    behind = [model.path / str(module.get("path", "")) for module in _modules(model)[1:]]
    files = (path for folder in behind for path in folder.glob("*.safetensors"))
    return any(name.endswith(".bias") for path in files for name in tensor_names(path))


def drops_out(model: ModelFolder) -> bool:
    """Return whether a base model of a known family drops activations out in training, by its configuration."""
    architecture = architecture_of(model)
    if architecture is None:
        return True
    config = _mapping(_transformer_folder(model) / "config.json")
    rates = [rate for name, rate in config.items() if "dropout" in name and not name.startswith("classifier")]
    return not architecture.is_decoder and (not rates or any(isinstance(rate, float) and rate > 0 for rate in rates))


def _family_name(model: ModelFolder) -> str:
    """Return the name of the family that a transformer's configuration gives."""
    config = _mapping(_transformer_folder(model) / "config.json")
    return family_name(str(config.get("model_type")), str(config.get("feed_forward_proj")).startswith("gated"))


def require_loadable(model: ModelFolder) -> None:
    """Refuse files that loading would execute or unpickle, and modules that lie outside the model's folder.

    Raises:
        ModelError: there is such a file or module.
    """
    root = model.path.resolve()
    for module in _modules(model):
        kind, folder = str(module.get("type", "")), (root / str(module.get("path", ""))).resolve()
        if not folder.is_relative_to(root):
            raise ModelError(f"model {model.name!r}: modules.json names {module.get('path')!r}, outside of its folder")
        if not kind.startswith(_LIBRARY) and not model.trust_remote_code:
            raise ModelError(
                f"model {model.name!r} has the module {kind!r}, which is code of its own: --trust-remote-code runs it"
            )
        _require_safetensors(model, folder, recursive=folder != root)
    if not _modules(model):
        _require_safetensors(model, root, recursive=False)


def _require_safetensors(model: ModelFolder, folder: Path, recursive: bool) -> None:
    """Refuse a folder whose weights are in a format that is not safetensors."""
    if not folder.is_dir():
        return
    folders = [folder, *(each for each in folder.rglob("*") if each.is_dir())] if recursive else [folder]
    for each in folders:
        files = [path for path in each.iterdir() if path.is_file()]
        pickled = sorted(path.name for path in files if path.suffix in _PICKLED)
        if pickled and not any(path.suffix == ".safetensors" for path in files):
            raise ModelError(
                f"model {model.name!r}: {each / pickled[0]} is not in the safetensors format, and other formats are "
                "not loaded. Load the model with sentence-transformers where you trust it, and save it again"
            )


def _require_lengths(model: ModelFolder) -> None:
    """Refuse a module that reads the number of words of a text where no module before it counts them."""
    kinds = [str(module.get("type", "")) for module in _modules(model)]
    for place, kind in enumerate(kinds):
        if kind.endswith(".LSTM") and not any(each.endswith(".WordEmbeddings") for each in kinds[:place]):
            raise ModelError(
                f"model {model.name!r}: its LSTM needs WordEmbeddings before it. sentence-transformers cannot encode "
                "with it either"
            )


def _require_plain_weights(model: ModelFolder) -> None:
    """Refuse an adapter without its base model, a model of another type, and a tokenizer that cannot pad."""
    folders = [model.path, *(model.path / str(module.get("path", "")) for module in _modules(model))]
    for folder in folders:
        if (folder / _ADAPTER).is_file():
            base = _mapping(folder / _ADAPTER).get("base_model_name_or_path", "BASE")
            raise ModelError(
                f"model folder {model.path} holds a PEFT adapter ({_ADAPTER}), which training would discard. Merge it "
                "first, in Python: from sentence_transformers import SentenceTransformer; from peft import PeftModel; "
                f"model = SentenceTransformer({str(base)!r}); model[0].model = PeftModel.from_pretrained("
                f"model[0].model, {str(folder)!r}).merge_and_unload(); model.save('merged')"
            )
    kind = _mapping(model.path / _SETTINGS).get("model_type") or "SentenceTransformer"
    if kind != "SentenceTransformer":
        raise ModelError(f"model {model.name!r} is a {kind}. A base model is a SentenceTransformer: one vector a text")
    if _has_transformer(model) and not _can_pad(model):
        raise ModelError(
            f"model {model.name!r}: its tokenizer has no pad token, so texts cannot be put into one batch. Set one and "
            f"save it, in Python: from transformers import AutoTokenizer; tokenizer = AutoTokenizer.from_pretrained("
            f"{str(_transformer_folder(model))!r}); tokenizer.pad_token = tokenizer.eos_token; "
            f"tokenizer.save_pretrained({str(_transformer_folder(model))!r})"
        )


def _require_settings(model: ModelFolder) -> None:
    """Refuse settings that no model can have: lengths and dimensions below 1, prompts that are no texts."""
    places = ((_transformer_folder(model) / _TRANSFORMER, "max_seq_length"), (model.path / _SETTINGS, "truncate_dim"))
    for path, key in places:
        value = _mapping(path).get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ModelError(f"{path}: {key} is {str(value)[:40]}, not a whole number above 0")
    prompts = _mapping(model.path / _SETTINGS).get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise ModelError(f"{model.path / _SETTINGS}: prompts is not a mapping of names to texts")


def _prompt_notes(model: ModelFolder) -> list[str]:
    """Return a note where a model has prompts, but none for queries and documents under the library's names."""
    prompts = {name for name, text in (_mapping(model.path / _SETTINGS).get("prompts") or {}).items() if text}
    if not prompts or prompts.intersection(_PROMPTS):
        return []
    return [
        f"model {model.name!r} has the prompts {', '.join(sorted(prompts))}, and none is called query or document: "
        f"texts get no prompt, as in the library's encode_query. Where they are meant, rename them in its {_SETTINGS}"
    ]


def _length_notes(model: ModelFolder) -> list[str]:
    """Return a note where a model's maximum length is beyond its learned positions."""
    folder = _transformer_folder(model)
    length = _mapping(folder / _TRANSFORMER).get("max_seq_length") or 0
    shapes = [
        tensor["shape"][0]
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in header(path).items()
        if name.endswith("position_embeddings.weight")
    ]
    if not shapes or length <= min(shapes):
        return []
    return [f"model {model.name!r} has {min(shapes)} positions, and max_seq_length is {length}: positions limit a text"]


def _similarity_notes(model: ModelFolder) -> list[str]:
    """Return a note where a distance ranks as the inner product does. Refuse other functions than cosine and dot."""
    name = _mapping(model.path / _SETTINGS).get("similarity_fn_name") or "cosine"
    if name in _SIMILARITIES:
        return []
    modules = _modules(model)
    if name == "euclidean" and modules and str(modules[-1].get("type", "")).endswith(_NORMALIZE):
        return [
            f"model {model.name!r} compares by Euclidean distance. Its vectors have unit length: cosine ranks alike"
        ]
    known = "the distance" if name in _DISTANCES else "the function"
    raise ModelError(
        f"model {model.name!r} compares by {known} {name!r} (config_sentence_transformers.json), and AdaptBench "
        f"searches by {' or '.join(_SIMILARITIES)}. Scores by another function would not be this model's"
    )


def _pooling_notes(model: ModelFolder) -> list[str]:
    """Return a note where the files do not say how token embeddings become one vector."""
    modules = _modules(model)
    pooling = next((module for module in modules if str(module.get("type", "")).endswith(".Pooling")), None)
    kinds = [str(module.get("type", "")) for module in modules]
    if kinds and pooling is None and all(kind.endswith(_GIVE_TOKENS) for kind in kinds) and not _names_output(model):
        raise ModelError(
            f"model {model.name!r} has no module that makes one vector of a text: modules.json lacks a Pooling"
        )
    described = pooling is None or (model.path / str(pooling.get("path", "")) / "config.json").is_file()
    if model.pooling is not None or (modules and described) or not (model.path / "config.json").is_file():
        return []
    architectures = _mapping(model.path / "config.json").get("architectures") or [""]
    mode = "last-token" if str(architectures[0]).endswith("ForCausalLM") else "mean"
    return [
        f"model {model.name!r} has no pooling configuration: {mode} pooling is assumed. Where its card names another "
        "one, scores are too low: save it with its pooling by sentence-transformers"
    ]


def _names_output(model: ModelFolder) -> bool:
    """Return whether the transformer's settings say that it gives one vector a text."""
    return "sentence_embedding" in json.dumps(_mapping(_transformer_folder(model) / _TRANSFORMER))


def _has_transformer(model: ModelFolder) -> bool:
    modules = _modules(model)
    return not modules or str(modules[0].get("type", "")).endswith(".Transformer")


def _transformer_folder(model: ModelFolder) -> Path:
    modules = _modules(model)
    return model.path / str(modules[0].get("path", "")) if modules else model.path


def _can_pad(model: ModelFolder) -> bool:
    """Return whether the tokenizer has a pad token. It is loaded only where its files name none."""
    folder = _transformer_folder(model)
    files = [folder / name for name in ("tokenizer_config.json", "special_tokens_map.json", "tokenizer.json")]
    if not any(file.is_file() for file in files) or any(_mapping(file).get("pad_token") for file in files[:2]):
        return True  # without a tokenizer, loading says what is missing
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=model.trust_remote_code
        )
    except Exception as error:  # the library raises whatever a damaged file leads to
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise ModelError(f"model {model.name!r}: the tokenizer in {folder} cannot be loaded: {reason}") from error
    return tokenizer.pad_token is not None


def _modules(model: ModelFolder) -> list[dict[str, Any]]:
    """Return the modules of a sentence-transformers model in their order; empty for a bare transformer."""
    path = model.path / "modules.json"
    modules = _json(path) if path.is_file() else []
    listed = isinstance(modules, list) and all(isinstance(module, dict) for module in modules)
    if not listed or (not modules and path.is_file()):
        raise ModelError(f"{path}: expected a list of modules")
    return modules


def _mapping(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file; empty where there is no file."""
    content = _json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected an object")
    return content


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
