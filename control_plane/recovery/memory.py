"""What the policy remembers of one collector; plain numbers, so that it can be kept anywhere."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from control_plane.domain.recovery import Circuit


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Times are seconds of a clock that never jumps and goes on while the machine sleeps.

    Attributes:
        episode: Rule that is followed now; empty while nothing is wrong.
        episode_since: When it began.
        attempts: Actions taken in this episode.
        told: Whether a person was told of it.
        restarts: Times of automatic restarts, oldest first, no older than the window.
        circuit: Whether restarts are still believed in.
        circuit_until: When an open one may try again.
        opened: How often it was opened since the last recovery.
        acted_at: Newest action of any kind.
        in_flight: The action that has not ended; empty if none.
        fine_since: Since when nothing is wrong; ``None`` while something is.
        factor: Present reduction of the poll frequency, 1 if none.
        factor_at: When it last changed.
        refused_revision: Configuration that a person has to mend; another one is tried.
    """

    episode: str = ""
    episode_since: float = 0.0
    attempts: int = 0
    told: bool = False
    restarts: tuple[float, ...] = ()
    circuit: Circuit = Circuit.CLOSED
    circuit_until: float = 0.0
    opened: int = 0
    acted_at: float = float("-inf")
    in_flight: str = ""
    fine_since: float | None = None
    factor: float = 1.0
    factor_at: float = 0.0
    refused_revision: str = ""

    def dump(self) -> dict[str, Any]:
        """Return JSON-ready figures."""
        figures = asdict(self)
        figures["acted_at"] = None if self.acted_at == float("-inf") else self.acted_at
        return figures

    @classmethod
    def load(cls, figures: dict[str, Any]) -> Self:
        """Undo :meth:`dump`."""
        values = dict(figures)
        values["restarts"] = tuple(values.get("restarts", ()))
        values["circuit"] = Circuit(values.get("circuit", Circuit.CLOSED))
        if values.get("acted_at") is None:
            values["acted_at"] = float("-inf")
        return cls(**values)

    def moved(self, by_s: float) -> "Memory":
        """Return the same memory on a clock that shows ``by_s`` more, after a reboot say."""
        return replace(
            self,
            episode_since=self.episode_since + by_s,
            restarts=tuple(at + by_s for at in self.restarts),
            circuit_until=self.circuit_until + by_s,
            acted_at=self.acted_at + by_s,
            fine_since=None if self.fine_since is None else self.fine_since + by_s,
            factor_at=self.factor_at + by_s,
        )
