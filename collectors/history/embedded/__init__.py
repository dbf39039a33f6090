"""The store that needs no server: SQLite files, one a UTC day, and the reader of them."""
