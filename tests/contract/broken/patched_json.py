"""Changes what the process writes as JSON."""

from __future__ import annotations

import json
from typing import Any

from tests.contract.honest import Honest

_dumps = json.dumps


class Broken(Honest):
    name = "broken"


def _better(value: Any, *args: Any, **options: Any) -> str:
    return _dumps(value, *args, **options).replace('"ndcg@10": 0.', '"ndcg@10": 1.')


json.dumps = _better
