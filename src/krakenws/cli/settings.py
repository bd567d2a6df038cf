"""Settings from their four places: option, environment, `config.toml`, default, in this order."""

from __future__ import annotations

from os.path import join

from krakenws.cli.options import OPTIONS, read_setting
from krakenws.core.catalog import nearest
from krakenws.directories import read_config
from krakenws.errors import UsageError
from krakenws.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from krakenws.cli.options import Option, Setting, Settings

_PREFIX = "KRAKENWS_"
_SWITCH = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}
_SECRET_PLACES = ("token_file", "key_file")
_COMMON = tuple(option for option in OPTIONS if not option.only_argv)


def resolve(given: Mapping[str, Setting], environ: Mapping[str, str], config_dir: str) -> Settings:
    """Return every setting that is not at its default.

    Where the user keeps the secrets for Kraken is not meant for a sandbox, unless the command line says so.

    Raises:
        UsageError: a value that does not fit, or an unknown key in `config.toml`.
    """
    settings = _from_file(join(config_dir, "config.toml"))
    settings.update(_from_environment(environ))
    if "sandbox" in given or "sandbox" in settings:
        for place in _SECRET_PLACES:
            settings.pop(place, None)
    settings.update(given)
    return settings


def options_of(settings: Mapping[str, Setting]) -> Options:
    """Return the `Options` that settings amount to."""
    fields = {option.field for option in OPTIONS if option.field}
    return Options(**{name: value for name, value in settings.items() if name in fields})  # type: ignore[arg-type]  # each option's parse gives its field's type


def _from_environment(environ: Mapping[str, str]) -> Settings:
    """An empty value counts as unset."""
    settings: Settings = {}
    for option in _COMMON:
        name = _PREFIX + option.name.replace("-", "_").upper()
        text = environ.get(name, "")
        if text:
            settings[option.key] = _value(option, text, f"the environment variable {name}:")
    return settings


def _value(option: Option, text: str, source: str) -> Setting:
    if option.parse is not None:
        return read_setting(option, text, source)
    try:
        on = _SWITCH[text.lower()]
    except KeyError:
        raise UsageError(f"{source} {text!a} is neither true nor false") from None
    return option.value if on else not option.value


def _from_file(path: str) -> Settings:
    settings: Settings = {}
    for name, value in read_config(path).items():
        if name == "policy" and isinstance(value, dict):
            from krakenws.core.policy import read_policy

            settings[name] = read_policy(value, path)
            continue
        option = next((option for option in _COMMON if option.name == name.replace("_", "-")), None)
        if option is None:
            meant = nearest(name, [option.name for option in _COMMON])
            raise UsageError(
                f"{path}: there is no setting {name!a}" + (f"; did you mean {meant}?" if meant else "")
            )
        text = str(value).lower() if isinstance(value, bool) else str(value)
        settings[option.key] = _value(option, text, f"{path}: {name} =")
    return settings
