"""Tests of a model behind an OpenAI-compatible endpoint, with a server on loopback."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.errors import BenchError, ModelError
from bench.expression import parse
from bench.models.endpoint import KEY, OPENAI_KEY, TEXTS_PER_REQUEST, Endpoint
from bench.models.endpoint_model import EndpointModel
from bench.models.locate import base_model
from bench.models.openai_client import ATTEMPTS, open_client
from bench.retrieval.cache import VectorCache
from bench.strategy.resources import Resources
from bench.strategy.settings import TrainingSettings
from tests.loopback import serving

WIDTH = 16


def vector(text: str) -> list[float]:
    """Words at places: enough that a text is nearest to those that share its words."""
    row = [0.0] * WIDTH
    for word in text.lower().split():
        row[zlib.crc32(word.strip("?.,").encode()) % WIDTH] += 1.0
    return row


@dataclass
class Service:
    """A server, the requests it received, and what it answers before it answers properly."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    refusals: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    """Status, headers and body of the next answers. Status 0 cuts the connection inside the body."""
    waits: list[float] = field(default_factory=list)
    """Seconds that the client waited before it tried again."""

    def endpoint(self, **options: Any) -> Endpoint:
        return replace(Endpoint(self.url, "words"), **options)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """An endpoint on loopback."""
    for name in (KEY, OPENAI_KEY):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    found = Service()
    clock = SimpleNamespace(sleep=found.waits.append, time=time.time)
    monkeypatch.setattr("openai._base_client.time", clock)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.requests.append(body | {"path": self.path})
            found.headers.append({name.lower(): value for name, value in self.headers.items()})
            rows = [{"index": n, "embedding": vector(text)} for n, text in enumerate(body["input"])]
            status, headers, answer = (
                found.refusals.pop(0) if found.refusals else (200, {}, json.dumps({"data": rows[::-1]}))
            )
            self.send_response(status or 200)
            if not status:
                self.send_header("Content-Length", "1000")
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *args: Any) -> None: ...

    with serving(Handler) as address:
        found.url = f"{address}/v1"
        yield found


# --- the name -------------------------------------------------------------------------------------------------------


def test_a_name_holds_address_and_model() -> None:
    assert Endpoint.parse("openai:http://127.0.0.1:8000/v1#some/model") == Endpoint(
        "http://127.0.0.1:8000/v1", "some/model"
    )
    assert Endpoint.parse("openai:http://a:1/v1/embeddings?dimensions=64&tokens=512#m") == Endpoint(
        "http://a:1/v1", "m", dimensions=64, tokens=512
    )
    assert Endpoint.parse("openai:#text-embedding-3-small").url == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("openai:http://127.0.0.1:8000/v1", "write the model's name after"),
        ("openai:127.0.0.1#m", "is not an address"),
        ("openai:ftp://host/v1#m", "is not an address"),
        ("openai:http://host/v1?dimension=5#m", "did you mean 'dimensions'"),
        ("openai:http://host/v1?tokens=many#m", "tokens is 'many', not a whole number"),
    ],
)
def test_a_malformed_name_is_refused_before_any_request(name: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        base_model(name)


def test_the_name_survives_in_an_expression() -> None:
    text = 'frozen("openai:http://127.0.0.1:80/v1?tokens=512#a/b")'
    assert parse(str(parse(text))).arguments[0].name == "openai:http://127.0.0.1:80/v1?tokens=512#a/b"


def test_address_and_name_identify_the_weights() -> None:
    names = ("http://a/v1#m", "http://a/v1/#m", "http://b/v1#m", "http://a/v1#n", "http://a/v1?dimensions=8#m")
    first, same, *others = (base_model(f"openai:{name}").fingerprint for name in names)
    assert first == same and len({first, *others}) == 4


# --- requests -------------------------------------------------------------------------------------------------------


def test_vectors_come_in_the_order_of_the_texts_in_requests_of_bounded_size(service: Service) -> None:
    texts = [f"text {number}" for number in range(2 * TEXTS_PER_REQUEST + 1)]
    found = service.endpoint().embed(texts)
    np.testing.assert_array_equal(found, np.array([vector(text) for text in texts], dtype=np.float32))
    assert [len(body["input"]) for body in service.requests] == [TEXTS_PER_REQUEST, TEXTS_PER_REQUEST, 1]
    assert {body["path"] for body in service.requests} == {"/v1/embeddings"}
    assert {body["model"] for body in service.requests} == {"words"}


def test_dimensions_are_sent_and_an_empty_text_is_not_sent_empty(service: Service) -> None:
    service.endpoint(dimensions=WIDTH).embed([""])
    assert service.requests[0]["dimensions"] == WIDTH and service.requests[0]["input"] == [" "]


def test_a_temporary_refusal_is_tried_again_after_a_wait(service: Service) -> None:
    service.refusals = [(503, {}, "busy"), (429, {"Retry-After": "7"}, "slow down"), (500, {}, "")]
    assert len(service.endpoint().embed(["a"])) == 1
    assert service.waits == [pytest.approx(0.5, rel=0.25), 7.0, pytest.approx(2.0, rel=0.25)]


def test_the_number_of_attempts_is_bounded(service: Service) -> None:
    service.refusals = [(503, {}, json.dumps({"error": {"message": "model is loading"}}))] * 9
    with pytest.raises(ModelError, match="HTTP 503: model is loading"):
        service.endpoint().embed(["a"])
    assert len(service.requests) == ATTEMPTS


def test_a_final_refusal_is_not_tried_again(service: Service) -> None:
    service.refusals = [(400, {}, json.dumps({"error": {"message": "input is too long"}}))]
    with pytest.raises(ModelError, match=r"model .words. at http://127.* HTTP 400: input is too long"):
        service.endpoint().embed(["a"])
    assert len(service.requests) == 1 and not service.waits


def test_a_connection_that_is_cut_inside_an_answer_is_tried_again(service: Service) -> None:
    service.refusals = [(0, {}, '{"data": [')]
    assert len(service.endpoint().embed(["a"])) == 1
    assert len(service.requests) == 2
    service.refusals = [(0, {}, '{"data": [')] * 9
    with pytest.raises(ModelError, match=f"no answer after {ATTEMPTS} attempts: .*(incomplete|closed)"):
        service.endpoint().embed(["a"])


@pytest.mark.parametrize(
    "answers",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"dat',
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"data":\r\n',
        b"nonsense\r\n\r\n",
    ],
)
@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_is_cut_anywhere_is_tried_again(service: Service, answers: bytes, reset: bool) -> None:
    """Closed or reset, before, inside and after the head of an answer."""
    cut = socket.create_server(("127.0.0.1", 0))
    taken: list[int] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = cut.accept()
            except OSError:
                return
            taken.append(len(connection.recv(65536)))
            connection.sendall(answers)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    with cut, pytest.raises(ModelError, match=f"no answer after {ATTEMPTS} attempts"):
        service.endpoint(url=f"http://127.0.0.1:{cut.getsockname()[1]}/v1").embed(["a"])
    assert len(taken) == ATTEMPTS and len(service.waits) == ATTEMPTS - 1


def test_an_answer_is_bounded_in_size_and_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.models.openai_client.MAX_ANSWER_BYTES", 50)
    with pytest.raises(ModelError, match="more than 50 bytes"):
        service.endpoint().embed(["a"])
    monkeypatch.setattr("bench.models.openai_client.MAX_ANSWER_BYTES", 10**6)
    monkeypatch.setattr("bench.models.openai_client._ANSWER_SECONDS", -1.0)
    with pytest.raises(ModelError, match="took more than"):
        service.endpoint().embed(["a"])
    assert len(service.requests) == 2


def test_an_address_where_nobody_answers(service: Service) -> None:
    with pytest.raises(ModelError, match=f"no answer after {ATTEMPTS} attempts: .*refused"):
        service.endpoint(url="http://127.0.0.1:9/v1").embed(["a"])


def test_a_redirect_is_not_followed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "secret")
    service.refusals = [(302, {"Location": f"{service.url}/elsewhere"}, "")]
    with pytest.raises(ModelError, match="HTTP 302"):
        service.endpoint().embed(["a"])
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "<html>",
        "[]",
        '{"data": [{"embedding": [1, 2]}]}',
        '{"data": [{"index": 0, "embedding": [1, 2]}]}',
        '{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [1]}]}',
        '{"data": [{"index": 0, "embedding": [1, NaN]}, {"index": 1, "embedding": [1, 2]}]}',
        '{"data": [{"index": 0, "embedding": "AAAA"}, {"index": 1, "embedding": "AAAA"}]}',
        '{"data": [{"index": 1, "embedding": [1, 2]}, {"index": 1, "embedding": [1, 2]}]}',
        '{"data": [{"index": "a", "embedding": [1, 2]}, {"index": 1, "embedding": [1, 2]}]}',
        '{"data": [{"index": false, "embedding": [1, 2]}, {"index": true, "embedding": [1, 2]}]}',
        '{"data": [{"index": -1, "embedding": [1, 2]}, {"index": 0, "embedding": [1, 2]}]}',
        '{"data": [{"index": 0, "embedding": []}, {"index": 1, "embedding": []}]}',
        '{"data": [{"index": 0, "embedding": [0, 0]}, {"index": 1, "embedding": [1, 2]}]}',
        '{"data": [{"index": 0, "embedding": [1e300, 2]}, {"index": 1, "embedding": [1, 2]}]}',
        '{"data": [{"index": 0, "embedding": [' + "9" * 5000 + ', 2]}, {"index": 1, "embedding": [1, 2]}]}',
        "[" * 100_000,
    ],
)
def test_an_answer_without_a_vector_for_each_text_is_refused(service: Service, answer: str) -> None:
    service.refusals = [(200, {}, answer)]
    with pytest.raises(ModelError, match=r"not one of an embedding endpoint|the answer (to 2 texts )?holds"):
        service.endpoint().embed(["a", "b"])


def test_the_key_is_read_from_the_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "mine")
    service.endpoint().embed(["a"])
    assert service.headers[0]["authorization"] == "Bearer mine"


def test_a_key_that_the_server_echoes_is_not_in_the_message(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "very-secret")
    for status, body in ((400, {"error": {"message": "bad key very-secret"}}), (200, {"very-secret": 1})):
        service.refusals = [(status, {}, json.dumps(body))]
        with pytest.raises(ModelError, match=r"\[key\]") as caught:
            service.endpoint().embed(["a"])
        shown = "".join(traceback.format_exception(caught.value))
        assert "very-secret" not in shown.replace('KEY, "very-secret"', "")


def test_a_key_that_is_echoed_in_another_form_is_not_in_the_message(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "Se/cret+Key")
    for body in (
        "SE/CRET+KEY is bad",
        "?key=Se%2Fcret%2BKey",
        '{"error": {"message": "Se\\u002fcret+Key"}}',
        "[" * 9000,
    ):
        service.refusals = [(400, {}, body)]
        with pytest.raises(ModelError) as caught:
            service.endpoint().embed(["a"])
        assert not {"se/cret+key", "se%2fcret"} & {part.lower() for part in str(caught.value).split()}
        assert "cret" not in str(caught.value).lower().replace("[key]", "")


def test_a_key_that_is_echoed_in_a_broken_header_is_not_in_the_message(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "very-secret")
    service.refusals = [(200, {"bad name very-secret": "x"}, "{}")] * 9
    with pytest.raises(ModelError) as caught:
        service.endpoint().embed(["a"])
    shown = "".join(traceback.format_exception(caught.value))
    assert "very-secret" not in shown.replace('KEY, "very-secret"', "").replace('{"bad name very-secret"', "")


def test_another_length_than_the_requested_one_is_refused(service: Service) -> None:
    with pytest.raises(ModelError, match=f"8 dimensions were requested, and its vectors have {WIDTH}"):
        service.endpoint(dimensions=8).embed(["a"])


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ModelError, match="environment variable") as caught:
        base_model("openai:http://user:pass-word@127.0.0.1:1/v1#m")
    assert "pass-word" not in str(caught.value)


def test_nothing_of_openais_environment_goes_to_other_servers(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "secret-value")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Secret: secret-value")
    open_client.cache_clear()
    service.endpoint().embed(["a"])
    assert "secret-value" not in str(service.headers)


def test_the_key_for_openai_goes_to_nobody_else(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPENAI_KEY, "theirs")
    service.endpoint().embed(["a"])
    assert "authorization" not in service.headers[0]
    assert Endpoint("https://api.openai.com/v1", "m")._key == "theirs"
    assert Endpoint("https://openai.com.example.org/v1", "m")._key == ""
    service.refusals = [(401, {}, "no")]
    with pytest.raises(ModelError, match=f"read from the environment variable {KEY}"):
        service.endpoint().embed(["a"])


# --- as a model -----------------------------------------------------------------------------------------------------


def model_at(service: Service, **options: Any) -> EndpointModel:
    return EndpointModel("words", Path("nowhere"), endpoint=service.endpoint(**options))


def test_its_vectors_are_cached_like_others(service: Service, tmp_path: Path) -> None:
    def encode(texts: list[str]) -> np.ndarray:
        resources = Resources(
            model_at(service, dimensions=WIDTH),
            cache=VectorCache(tmp_path),
            training=TrainingSettings(precision="fp32"),
        )
        return np.asarray(resources.encoder.documents(texts)[0])

    first = encode(["a harbour", "a kiln"])
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1.0, rtol=1e-6)
    before = len(service.requests)
    again = encode(["a kiln", "a harbour", "a lens"])
    np.testing.assert_array_equal(again[:2], first[::-1])
    assert [body["input"] for body in service.requests[before:]] == [["a lens"]]


def test_texts_are_cut_at_four_characters_a_token(service: Service) -> None:
    resources = Resources(model_at(service), training=TrainingSettings(precision="fp32", max_length=5))
    resources.encoder.uncached(["x" * 100], "document")
    assert service.requests[-1]["input"] == ["x" * 20]


def test_it_is_compared_untouched_and_cannot_be_trained(
    service: Service, tmp_path: Path, beir_folder: Path, tiny_folder: Callable[[str], Path], monkeypatch: Any
) -> None:
    from bench.config.schema import from_mapping
    from bench.running.run import Run
    from tests.toy_runs import InProcess, Silent

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    name = f"openai:{service.url}#words"
    shared = {"datasets": str(beir_folder), "device": "cpu", "precision": "fp32", "budget_steps": 2}
    model = str(tiny_folder("bert"))
    compared = from_mapping(
        {**shared, "strategies": f'frozen,frozen("{name}"),hybrid(frozen("{name}"))', "model": model}
    )
    trained = from_mapping({**shared, "strategies": "lora", "baseline": "lora", "model": name})
    found = {}
    for config in (compared, trained):
        result = Run.prepare(config.replace(out=str(tmp_path / "run"))).execute(Silent(), InProcess)
        found |= {cell.strategy: cell for cell in result.store.results()}
    theirs = found[f"frozen({name})"]
    assert theirs.status == "ok" and theirs.model == "tiny-bert", theirs.reason
    assert theirs.metrics["ndcg@10"] > found["frozen"].metrics["ndcg@10"]
    assert theirs.cost["total_params"] is None and theirs.cost["query_ms_p50"] > 0
    assert found[f"hybrid(frozen({name}))"].status == "ok"
    assert found["lora"].status == "not_applicable"
    assert "lora changes weights, and words shows none" in found["lora"].reason
