"""A reader behind a chat endpoint on loopback: it dies in the middle, and is resumed without paying twice."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.answering.answer import AnswerSettings, answer
from bench.cli import main
from bench.config.schema import RunConfig
from bench.errors import ModelError
from bench.models.chat_endpoint import ChatEndpoint
from bench.models.endpoint import KEY, OPENAI_KEY
from bench.models.openai_client import ATTEMPTS
from bench.readers.locate import reader_of
from bench.report.load import load_run
from bench.store.answers import answer_records
from bench.store.store import Store
from tests.loopback import serving
from tests.toy_answers import add_answers

SECRET = "sk-secret/key"


@dataclass
class Service:
    """A chat server: it answers with the last word of the prompt, unless it is told to do otherwise."""

    url: str = ""
    answered: list[str] = field(default_factory=list)
    """The prompts that got an answer."""
    requests: int = 0
    lives: int | None = None
    """Answers after which it only fails. None is without end."""
    limited: int = 0
    """Requests that are refused at first, with a rate limit."""
    bodies: list[str] = field(default_factory=list)
    """The next answers, in place of proper ones."""
    waits: list[float] = field(default_factory=list)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A chat endpoint on loopback."""
    monkeypatch.setenv(KEY, SECRET)
    monkeypatch.delenv(OPENAI_KEY, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    found, lock = Service(), threading.Lock()
    monkeypatch.setattr("openai._base_client.time", SimpleNamespace(sleep=found.waits.append, time=time.time))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                found.requests += 1
                status, headers, text = self.reply(body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def reply(self, body: dict[str, Any]) -> tuple[int, dict[str, str], str]:
            if self.path != "/v1/chat/completions" or body["temperature"] != 0:
                return 404, {}, "{}"
            if found.limited:
                found.limited -= 1
                return 429, {"retry-after": "1"}, "{}"
            if found.lives == 0:
                return 500, {}, json.dumps({"error": {"message": f"out of memory, {self.headers['authorization']}"}})
            if found.lives is not None:
                found.lives -= 1
            found.answered.append(json.dumps(body["messages"]))
            if found.bodies:
                return 200, {}, found.bodies.pop(0)
            message = {"message": {"content": " " + body["messages"][-1]["content"].split()[-3] + "\nmore"}}
            return 200, {}, json.dumps({"choices": [message], "usage": {"prompt_tokens": 30, "completion_tokens": 2}})

        def log_message(self, *args: Any) -> None: ...

    with serving(Handler) as address:
        found.url = f"{address}/v1"
        yield found


@pytest.fixture
def finished(
    tmp_path: Path, beir_folder: Path, toy_config: Callable[..., RunConfig], run_inline: Callable[[RunConfig], Any]
) -> Path:
    """The folder of a run of two strategies on a dataset with answers."""
    add_answers(beir_folder)
    run_inline(toy_config(strategies="words,toy(bonus=1.0)", baseline="words"))
    return tmp_path / "run"


def test_an_endpoint_that_dies_is_resumed_without_paying_twice(service: Service, finished: Path) -> None:
    run, reader = load_run(Store(finished)), reader_of(f"openai:{service.url}#some/model")
    service.lives = 7
    with pytest.raises(ModelError, match="HTTP 500: out of memory") as error:
        answer(run, reader, AnswerSettings())
    assert SECRET not in str(error.value) and "[key]" in str(error.value)
    assert len(service.answered) == 7 and answer_records(run.store) == ([], [])
    service.lives = None
    (record,) = answer(run, reader, AnswerSettings())
    assert set(Counter(service.answered).values()) == {1}
    assert (record.paid["reused"], record.paid["readings"]) == (7, len(service.answered) - 7)
    requests = service.requests
    answer(run, reader, AnswerSettings())
    assert service.requests == requests
    assert record.contexts["none"].prompt_tokens == 30 * record.n_queries
    assert "log_likelihood" not in record.contexts["gold"].metrics and "f1" in record.contexts["gold"].metrics


def test_a_rate_limit_is_waited_for(service: Service) -> None:
    service.limited = 3
    made = dict(reader_of(f"openai:{service.url}#m").write([(("user", "one two three four"),)], 5))
    assert (made[0].text, made[0].prompt_tokens, made[0].tokens) == ("two", 30, 2)
    assert service.requests == 4 and service.waits == [1.0] * 3 and ATTEMPTS > 3


@pytest.mark.parametrize("body", ["{}", "[]", "no", '{"choices": []}', '{"choices": [{"message": {"content": null}}]}'])
def test_an_answer_of_another_form_is_refused(body: str, service: Service) -> None:
    service.bodies = [body]
    with pytest.raises(ModelError, match="not one of a chat endpoint"):
        ChatEndpoint.parse(f"openai:{service.url}/chat/completions#m").complete([("user", "hello")], 5)


def test_half_a_pair_of_utf_16_becomes_a_sign_that_can_be_stored(service: Service) -> None:
    service.bodies = [json.dumps({"choices": [{"message": {"content": "tea \ud83d"}}]})]
    ((_, made),) = reader_of(f"openai:{service.url}#m").write([(("user", "hello"),)], 5)
    assert (made.text, made.prompt_tokens) == ("tea \ufffd", 0)


def test_a_server_that_is_not_there_is_named(service: Service) -> None:
    url = "http://127.0.0.1:9/v1"
    with pytest.raises(ModelError, match=f"model 'm' at {url}: no answer after {ATTEMPTS} attempts"):
        list(reader_of(f"openai:{url}#m").write([(("user", "hello"),)], 5))


def test_the_command_reads_and_writes_the_report(service: Service, finished: Path, capsys: Any) -> None:
    options = [str(finished), "--reader", f"openai:{service.url}#m", "--queries", "4"]
    assert main(["answer", *options, "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["answers"]
    assert made["n_queries"] == 4 and made["settings"]["top"] == 1
    assert "Answers of `m`" in (finished / "report.md").read_text(encoding="utf-8")
    assert main(["answer", *options]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "m read 4 queries, up to 1 passages each. 0 readings were made" in printed and "report.md" in printed
    assert main(["answer", *options, "--generate", "0"]) == 2
    assert "gives no likelihoods" in capsys.readouterr().err


def test_the_command_measures_with_a_judge_and_prices(
    service: Service, finished: Path, tmp_path: Path, capsys: Any
) -> None:
    """The service answers with the third word from the end of the prompt: `yes` to the judge's question."""
    (tmp_path / "prompt.toml").write_text(
        'with_context = "{context} {question} mill or not"\nwithout_context = "{question} mill or not"'
    )
    options = [str(finished), "--reader", f"openai:{service.url}#m", "--prompt", str(tmp_path / "prompt.toml")]
    options += ["--queries", "3", "--abstention", "never said"]
    judge = ["--judge", f"openai:{service.url}#judge", "--usd-per-million-tokens", "1000,2000"]
    assert main(["answer", *options, *judge, "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["answers"]
    assert made["judge"]["name"] == "judge" and "{context}" in made["judge"]["prompt"]["user"]
    assert made["judge"]["unreadable"] == 0 and made["abstentions"] == ["never said"]
    assert made["contexts"]["gold"]["metrics"]["faithfulness"] == 1
    assert made["judge"]["paid"]["prompt_tokens"] == 30 * made["judge"]["paid"]["readings"] > 0
    assert made["paid"]["usd"] == pytest.approx(made["paid"]["readings"] * (30 * 1000 + 2 * 2000) / 1e6)
    (tmp_path / "judge.toml").write_text('user = "{context} {question} {answer} maybe not sure"')
    assert main(["answer", *options, *judge, "--judge-prompt", str(tmp_path / "judge.toml")]) == 0
    assert "They cost 0 USD" in " ".join(capsys.readouterr().out.split())
    (record,) = answer_records(load_run(Store(finished)).store)[0]
    assert record.judge is not None and record.judge.unreadable > 0
    assert "replies were no verdict" in (finished / "report.md").read_text(encoding="utf-8")
    for odd, message in (
        (["--judge-prompt", str(tmp_path / "judge.toml")], "name it with --judge"),
        (["--bert-score-layer", "2"], "name it with --bert-score"),
        (["--judge", "nobody/nothing"], "unknown reader 'nobody/nothing'"),
    ):
        assert main(["answer", *options, *odd]) != 0
        assert message in " ".join(capsys.readouterr().err.split())
