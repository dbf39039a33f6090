"""``python -m simulators``: serve a file until SIGTERM or SIGINT, or command one that runs."""

import asyncio
import json
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from simulators.certificates import CertificateError
from simulators.cli import COMMANDS, Options, language_of, parse_options
from simulators.config import AnySimulator
from simulators.control_cli import control_file_of, run_command
from simulators.listener import CannotListen
from simulators.log import start_json_logging
from simulators.problems import SimulatorFileError, load_simulator, sentence
from simulators.process import serving
from simulators.truth import TruthLog

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: a restart cannot help."""

logger = logging.getLogger("simulators")


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] in COMMANDS:
        return run_command(words, language_of(words, os.environ))
    options = parse_options(words, language_of(words, os.environ))
    try:
        config = load_simulator(options.file)
        truth = TruthLog(options.truth, max_bytes=options.truth_max_bytes)
    except SimulatorFileError as exc:
        return _fail(exc.lines(options.language), EXIT_CONFIG)
    except OSError as exc:
        unwritable = {"path": options.truth, "reason": exc.strerror}
        return _fail([sentence("truth_unwritable", unwritable, options.language)], EXIT_FAILED)
    start_json_logging(options.file.stem)
    try:
        with truth:
            asyncio.run(_serve(_with(config, options), truth, _control_file(config, options)))
    except CertificateError as exc:
        unusable = {"path": exc.path, "reason": exc.reason}
        return _fail([sentence("certificate", unusable, options.language)], EXIT_CONFIG)
    except CannotListen as exc:
        code = "port_in_use" if exc.in_use else "cannot_listen"
        params = {"host": exc.host, "port": exc.port, "reason": exc.reason}
        return _fail([sentence(code, params, options.language)], EXIT_FAILED)
    return EXIT_OK


def _with(config: AnySimulator, options: Options) -> AnySimulator:
    """Return ``config`` with the ports of the command line in it."""
    changed: dict[str, object] = {}
    if options.control_port is not None:
        changed["control_port"] = options.control_port
    if options.port is not None:
        first, *others = config.devices
        changed["devices"] = (first.model_copy(update={"port": options.port}), *others)
    return config.model_copy(update=changed)


def _control_file(config: AnySimulator, options: Options) -> Path | None:
    """Return where the file's own choice of a control port is told; None if it is not needed."""
    if options.control_port is not None or config.control_port is None:
        return None
    return control_file_of(options.file)


async def _serve(config: AnySimulator, truth: TruthLog, control_file: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(config, truth) as running:
        facts = {"protocol": config.protocol} | running.facts()
        if control_file is not None:
            _tell(control_file, facts)
        logger.info("listening", extra=facts)
        await stop.wait()
    truth.flush()
    if control_file is not None:
        with suppress(OSError):
            control_file.unlink()


def _tell(path: Path, facts: dict[str, object]) -> None:
    try:
        path.write_text(json.dumps({"control_port": facts["control_port"]}) + "\n")
    except OSError as exc:
        logger.warning("cannot tell the control port", extra={"reason": exc.strerror})


def _fail(lines: list[str], code: int) -> int:
    for line in lines:
        print(line, file=sys.stderr)
    return code


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is closed. A regular exit would free asyncua's address space object by object,
    # which takes 0.4 s on an idle machine.
    os._exit(exit_code)
