"""Where a collector keeps its boot ledger, which limits how often it restarts by itself."""

from pathlib import Path


def ledger_path(home: Path, collector: str) -> Path:
    """Return the ledger of ``collector`` below ``DAQ_HOME``.

    Whoever starts a collector on somebody's request removes it first: what crashed before was
    seen by a person.
    """
    return home / "run" / "ledger" / f"{collector}.json"
