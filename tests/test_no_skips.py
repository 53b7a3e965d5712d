"""`pytest --no-skips` fails what would be skipped, and nothing else."""

from __future__ import annotations

import pytest

MODULE = """
import pytest

def test_passes():
    pass

@pytest.mark.skip(reason="no browser")
def test_marked():
    pass

def test_skips_itself():
    pytest.importorskip("no_such_module")

@pytest.mark.xfail(strict=True)
def test_expected_failure():
    assert False
"""


OUTCOMES = ("passed", "failed", "errors", "xfailed")


@pytest.mark.parametrize(
    ("options", "outcomes"),
    [
        ([], {"passed": 1, "skipped": 2, "xfailed": 1}),
        (["--no-skips"], {"passed": 1, "failed": 1, "errors": 1, "xfailed": 1}),
    ],
)
def test_skips_become_failures_on_request(
    pytester: pytest.Pytester, options: list[str], outcomes: dict[str, int]
) -> None:
    pytester.makepyfile(MODULE)
    result = pytester.runpytest_inprocess("-p", "tests.no_skips", *options)
    result.assert_outcomes(**outcomes)
    if options:
        result.stdout.fnmatch_lines(["*test_marked: *no browser (--no-skips)*"])


def test_a_module_that_skips_itself_becomes_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile('import pytest\npytest.importorskip("no_such_module")')
    pytester.runpytest_inprocess("-p", "tests.no_skips", "--no-skips").assert_outcomes(errors=1)
