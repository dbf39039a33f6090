"""``python -m simulators FILE``: serve one simulator file until SIGTERM or SIGINT."""

import argparse
import asyncio
import importlib
import logging
import os
import signal
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from simulators.config import AnySimulator
from simulators.log import start_json_logging
from simulators.problems import LANGUAGES, SimulatorFileError, load_simulator, sentence
from simulators.tcp import CannotListen
from simulators.truth import TruthLog

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: a restart cannot help."""

logger = logging.getLogger("simulators")


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code."""
    options = _parser().parse_args(arguments)
    language = options.lang or _language_of_environment()
    try:
        config = load_simulator(options.file)
    except SimulatorFileError as exc:
        return _fail(exc.lines(language), EXIT_CONFIG)
    if options.port is not None:
        config = config.model_copy(update={"port": options.port})
    try:
        truth = TruthLog(options.truth)
    except OSError as exc:
        unwritable = {"path": options.truth, "reason": exc.strerror}
        return _fail([sentence("truth_unwritable", unwritable, language)], EXIT_FAILED)
    start_json_logging(options.file.stem)
    try:
        with truth:
            asyncio.run(_serve(config, truth))
    except CannotListen as exc:
        code = "port_in_use" if exc.in_use else "cannot_listen"
        params = {"host": config.host, "port": config.port, "reason": exc.reason}
        return _fail([sentence(code, params, language)], EXIT_FAILED)
    return EXIT_OK


async def _serve(config: AnySimulator, truth: TruthLog) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _server(config, truth) as port:
        facts = {"protocol": config.protocol, "host": config.host, "port": port}
        logger.info("listening", extra=facts)
        await stop.wait()
    truth.flush()


def _server(config: AnySimulator, truth: TruthLog) -> AbstractAsyncContextManager[int]:
    # Imported on demand: asyncua alone takes a second and 25 MB.
    module = importlib.import_module(f"simulators.{config.protocol}")
    server: AbstractAsyncContextManager[int] = module.serving(config, truth)
    return server


def _fail(lines: list[str], code: int) -> int:
    for line in lines:
        print(line, file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulators", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="simulator file (TOML)")
    parser.add_argument("--truth", type=Path, metavar="PATH", help="append what is served to PATH")
    parser.add_argument("--port", type=_port, help="listen here instead; 0: any free port")
    parser.add_argument("--lang", choices=LANGUAGES, help="language of error messages")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port; use 0 to 65535")
    return int(text)


def _language_of_environment() -> str:
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG", "")
    return "zh-CN" if locale.startswith("zh") else "en"


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is closed. A regular exit would free asyncua's address space object by object,
    # which takes 0.4 s on an idle machine.
    os._exit(exit_code)
