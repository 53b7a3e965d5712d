"""Follow a run on a live web page: what runs where, curves, cost so far, failures, the report so far.

Only the folder is read, and nothing is written into it. The folder may not exist yet. The page has no password: beyond
this machine, whoever reaches the port can read it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.commands._options import command, flag, json_flag, option, run_folder

if TYPE_CHECKING:
    from bench.store.places import Place


@command(__doc__)
@run_folder
@option("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen at; 0.0.0.0 is all of this machine")
@option("--port", type=click.IntRange(0, 65535), default=8421, help="port to listen at; 0 takes a free one")
@option(
    "--allow-host", multiple=True, metavar="NAME", help="another host name that browsers may use, such as a proxy's"
)
@flag("--no-report", help="make no reports while the run works")
@flag("--no-texts", help="leave the texts of the data out of reports")
@json_flag("print the addresses of the page and of its state as JSON")
def main(
    folder: Place | None,
    host: str,
    port: int,
    allow_host: tuple[str, ...],
    no_report: bool,
    no_texts: bool,
    as_json: bool,
) -> int:
    """Serve the page until Ctrl-C."""
    from bench.commands._console import console, emit_json, err_console
    from bench.config.schema import DEFAULT_OUT
    from bench.errors import BenchError
    from bench.store.mirror import working_copy
    from bench.store.places import is_url
    from bench.watching.server import watch_server

    if folder is not None and is_url(folder):
        raise BenchError(
            f"serve follows a folder. On the machine that works on {folder}, name the working copy of the run: "
            f"{working_copy(str(folder))}"
        )
    path = Path(folder if folder is not None else DEFAULT_OUT)
    with watch_server(path, host, port, allow_host, not no_report, not no_texts) as server:
        if not server.is_loopback:
            err_console().print(
                f"Whoever reaches {server.url} can read this run: there is no password. A tunnel is safer: "
                f"ssh -L {server.server_port}:localhost:{server.server_port} HOST, with the default --host there.",
                style="yellow", markup=False,
            )  # fmt: skip
        if not path.is_dir():
            err_console().print(f"{path} is not there yet. The page shows the run when it begins.", markup=False)
        if as_json:
            emit_json({"folder": str(path), "page": server.url, "state": f"{server.url}status.json"})
        else:
            console().print(f"{path}: {server.url} (Ctrl-C ends)", markup=False, highlight=False)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0
