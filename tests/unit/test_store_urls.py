"""DAQ_STORES names stores by URL; what cannot be used is said with the remedy, without secrets."""

import re
from pathlib import Path

import pytest

from collectors.contract.store_urls import StoreUrlError, parse_stores, reader_of

_INFLUX = "influx2+https://db.example:8086/?org=works&bucket=plant&token_env=INFLUX_TOKEN"


def test_the_embedded_store_is_the_default() -> None:
    (store,) = parse_stores("")
    assert (store.name, store.kind) == ("embedded", "embedded")


def test_several_stores_have_names_that_follow_from_their_urls() -> None:
    text = f"embedded:, {_INFLUX} vm+http://127.0.0.1:8428"
    stores = parse_stores(text)
    assert [store.name for store in stores] == [
        "embedded",
        "influx2-db.example-8086-plant",
        "vm-127.0.0.1-8428",
    ]
    assert (stores[1].url, stores[1].org) == ("https://db.example:8086", "works")
    assert stores[2].read_url == stores[2].url == "http://127.0.0.1:8428"
    assert reader_of(stores, "").name == "embedded"
    assert reader_of(stores, "vm-127.0.0.1-8428") is stores[2]


def test_names_stay_apart_and_short_whatever_buckets_are_called() -> None:
    url = "influx2+http://[::1]:8086/?org=o&bucket="
    names = [parse_stores(url + bucket)[0].name for bucket in ("压机", "水泵", "b" * 300, "a/b")]
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,110}", name) for name in names)


def test_a_cluster_is_written_and_read_at_different_places() -> None:
    (store,) = parse_stores(
        "vm+http://insert:8480/insert/0/influx?read=http://select:8481/select/0/prometheus"
    )
    assert store.name == "vm-insert-8480-insert-0-influx"
    assert store.url == "http://insert:8480/insert/0/influx"
    assert store.read_url == "http://select:8481/select/0/prometheus"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sqlite:///x", "is no store; use one of: embedded:, influx2"),
        ("influx2+ftp://host/", "is no store"),
        ("vm+http://", "is no store"),
        ("influx2+http://host:8086/?org=works", "lacks bucket"),
        ("influx2+http://host:8086/", "lacks org and bucket"),
        ("vm+http://host:99999", "out of range"),
        ("vm+http://host:8428?bukket=x", "unknown 'bukket'; known are read"),
        ("vm+http://me:secret@host:8428", "token_file="),
        ("influx2+http://host/?org=o&bucket=b&token=secret", "unknown 'token'"),
        ("embedded: embedded:", "names embedded twice"),
    ],
)
def test_a_url_that_cannot_be_used_is_explained_without_its_secrets(text: str, words: str) -> None:
    with pytest.raises(StoreUrlError) as caught:
        parse_stores(text)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_reader_that_is_no_store_is_explained() -> None:
    with pytest.raises(StoreUrlError, match="use one of: embedded"):
        reader_of(parse_stores(""), "vm")


def test_tokens_come_from_a_variable_or_a_file(tmp_path: Path) -> None:
    (store,) = parse_stores(_INFLUX)
    assert store.token({"INFLUX_TOKEN": "secret\n"}) == "secret"
    with pytest.raises(StoreUrlError, match="INFLUX_TOKEN has no token"):
        store.token({})
    path = tmp_path / "token"
    (store,) = parse_stores(f"vm+http://host:8428?token_file={path}")
    with pytest.raises(StoreUrlError, match="No such file"):
        store.token({})
    path.write_text("secret\n")
    assert store.token({}) == "secret"
    assert "secret" not in repr(store)
