"""`--tls self`: a certificate for this machine, of an authority that lives as long as the server."""

from __future__ import annotations

from contextlib import contextmanager
from os.path import join
from tempfile import TemporaryDirectory

from krakenws.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SELF = "self"


@contextmanager
def serving_with(tls: object) -> Iterator[tuple[tuple[str, str] | None, str]]:
    """Give the PEM files of a server's chain and key, or None, and that of an authority made for it, or "".

    Args:
        tls: what `--tls` was set to: two paths, `self` and nothing, or None. What is made for `self` is valid
            for localhost, 127.0.0.1 and ::1, and is deleted on leaving.

    Raises:
        UsageError: the package that makes certificates is not installed.
    """
    if not isinstance(tls, tuple) or tls[0] != SELF:
        yield tls if isinstance(tls, tuple) else None, ""
        return
    try:
        import trustme
    except ImportError:
        raise UsageError("--tls self needs one more package: pip install 'krakenws[sandbox-tls]'") from None
    with TemporaryDirectory(prefix="krakenws-tls-") as directory:
        authority_path, chain_path, key_path = (
            join(directory, name) for name in ("ca.pem", "chain.pem", "key.pem")
        )
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost", "127.0.0.1", "::1")
        authority.cert_pem.write_to_path(authority_path)
        certificate.private_key_pem.write_to_path(key_path)
        for at, pem in enumerate(certificate.cert_chain_pems):
            pem.write_to_path(chain_path, append=at > 0)
        yield (chain_path, key_path), authority_path


def authority_line(path: str) -> str:
    """Return the line that says whom the clients of a server have to trust, if there is one."""
    return f"CA: {path}\n" if path else ""
