"""`krakenws token`: a WebSocket token, fetched with the API key and stored."""

from __future__ import annotations

import os

from krakenws.cli.tables import write_json
from krakenws.errors import UsageError
from krakenws.net.credentials import TOKEN_FILE, store_token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws.cli.context import Context


def run(context: Context) -> int:
    """Fetch a token and store it; return the exit code.

    Raises:
        UsageError: there is no file for a sandbox's token.
        CredentialsError: no key, or the exchange refused it.
        SinkError: it cannot be stored.
    """
    file = context.settings.get("token_file")
    if context.plays and not file:
        raise UsageError(
            f"token: {TOKEN_FILE} is for Kraken's; name another file for the sandbox's with --token-file"
            " (with --sandbox no command needs one)"
        )
    token = context.credentials().renew()
    source = "the sandbox exchange, with the demo key" if context.plays else token.source
    path = os.path.abspath(str(file or TOKEN_FILE))
    store_token(path, token.text)
    if context.output == "json":
        write_json(context, [{"event": "token", "stored": path, "source": source}])
    else:
        context.out.write(f"stored in {path} (from {source}); use it within 15 minutes\n".encode())
    return 0
