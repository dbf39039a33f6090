"""Text as every database takes it."""


def fit(text: str, characters: int) -> str:
    """Return ``text`` cut to a column's length, without what PostgreSQL cannot store.

    What people and devices send must not keep a line of the audit trail from being written.
    """
    storable = text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    return storable[:characters]
