"""What there is to ask and to configure, described without an installation."""

import json
import tempfile

import click

from control_plane.cli.root import cli
from control_plane.settings import console_language, load_settings
from control_plane.texts import Text, texts_in

_t: Text = texts_in(console_language())


@cli.command(help=_t("cli.help.openapi"))
def openapi() -> None:
    # Flask and all routes are not what other commands should wait for.
    from control_plane.api.app import create_app  # noqa: PLC0415
    from control_plane.api.openapi import openapi_document  # noqa: PLC0415
    from control_plane.bootstrap import running  # noqa: PLC0415

    with (
        tempfile.TemporaryDirectory(prefix="daq-openapi-") as home,
        running(load_settings({"DAQ_HOME": home})) as plane,
    ):
        document = openapi_document(create_app(plane))
    click.echo(json.dumps(document, indent=1, ensure_ascii=False))


@cli.command("config-reference", help=_t("cli.help.config_reference"))
def config_reference() -> None:
    from control_plane import config_reference as reference  # noqa: PLC0415  # as above

    click.echo(reference.config_reference(), nl=False)
