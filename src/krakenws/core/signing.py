"""The signature of Kraken's private REST calls: made by the client, checked by the sandbox exchange."""

from __future__ import annotations

from krakenws.errors import CredentialsError

SECRET_BYTES = 64


def sign(secret_base64: str, path: str, nonce: str, body: str | bytes) -> str:
    """Return the `API-Sign` header of a private call: 88 characters.

    Args:
        secret_base64: the private key as Kraken shows it.
        path: from `/0` on, without host and query.
        nonce: the same decimal text that stands in `body`.
        body: exactly what is posted.

    Raises:
        CredentialsError: the secret is not base64 of 64 bytes.

    Source: auth.md section 2, docs.kraken.com/api/docs/guides/spot-rest-auth.
    """
    import base64
    import hashlib
    import hmac

    data = body.encode() if isinstance(body, str) else body
    digest = hashlib.sha256(nonce.encode() + data).digest()
    mac = hmac.digest(secret_bytes(secret_base64), path.encode() + digest, "sha512")
    return base64.b64encode(mac).decode()


def secret_bytes(secret_base64: str) -> bytes:
    """Return the private key itself, 64 bytes; white space that pasting adds is dropped.

    Raises:
        CredentialsError: it cannot be what Kraken issues.
    """
    import base64

    try:
        secret = base64.b64decode("".join(secret_base64.split()), validate=True)
    except ValueError:
        raise CredentialsError(
            "the API secret is not base64: copy Kraken's private key again, all of it"
        ) from None
    if len(secret) != SECRET_BYTES:
        raise CredentialsError(
            f"the API secret has {len(secret)} bytes instead of {SECRET_BYTES}:"
            " copy Kraken's private key again, all of it"
        )
    return secret
