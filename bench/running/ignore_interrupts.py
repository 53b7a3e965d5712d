"""Importing this module makes a process ignore Ctrl-C. A fork server imports it first, before the slow libraries.

Processes that it forks ignore Ctrl-C too. The command handles it, and ends them by other signals.
"""

from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
