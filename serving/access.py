"""Who may ask: bearer tokens with roles, and, where there are none, this machine alone.

Tokens stand in a file, one a line: name, role, sha256 of the token. The tokens themselves are random, shown once and kept nowhere.
Without that file the service answers only what reaches it over loopback, under a loopback name, and from no other site's page.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import SplitResult, urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from models.errors import DosewellError
from serving.faults import error_response

logger = logging.getLogger("dosewell.access")

Role = Literal["score", "admin"]
OPEN_PATHS = ("/", "/docs", "/openapi.json", "/docs.json", "/livez", "/healthz", "/readyz", "/favicon.ico")  # they hold no data
OPEN_FOLDERS = ("/page/", "/static_content/")
SCOPE_KEY = "dosewell.token"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[\w.@-]{1,64}")
_FORWARDED = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"})
_ONCE = ("host", "origin", "authorization")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class Token:
    """Whose token it is, and what it allows: "score" = send plates, see and delete one's own jobs; "admin" = everybody's."""

    name: str
    role: Role
    sha256: str


NOBODY = Token(name="", role="admin", sha256="")
"""Who asks where there are no tokens: the person at this machine."""


def parse_tokens(text: str) -> tuple[Token, ...]:
    """The tokens of a file; blank lines and lines from # on are left out. Raises DosewellError naming the line at fault, not its text."""
    tokens: list[Token] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 3 or not _NAME.fullmatch(words[0]) or words[1] not in get_args(Role) or not re.fullmatch("[0-9a-f]{64}", words[2]):
            raise DosewellError(f"line {number} of the tokens must read: name, {' or '.join(get_args(Role))}, sha256 of the token; "
                                "`dosewell token NAME` writes such a line")
        if words[0] in {token.name for token in tokens}:
            raise DosewellError(f"line {number} of the tokens names '{words[0]}' again; a name has one token")
        tokens.append(Token(name=words[0], role=words[1], sha256=words[2]))  # type: ignore[arg-type]  # one of the roles
    return tuple(tokens)


def add_token(path: Path, *, name: str, role: Role) -> str:
    """Append a new token to the file, which only its owner may read, and return it: it is shown once and cannot be had again.

    Raises DosewellError for a name that is taken or has other characters than letters, digits and . _ @ -.
    """
    text = _text(path) if path.is_file() else ""
    known = parse_tokens(text)
    if not _NAME.fullmatch(name) or name in {token.name for token in known}:
        raise DosewellError(f"'{name}' is taken, or cannot be a name; expected up to 64 letters, digits and . _ @ -")
    secret = secrets.token_urlsafe(32)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
        file.write("" if text.endswith("\n") or not text else "\n")      # an editor may leave the last line without its end
        file.write(f"{name} {role} {hashlib.sha256(secret.encode()).hexdigest()}\n")
    return secret


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")   # of another encoding, so that a line is at fault and not the service


class TokenFile:
    """The tokens of a file, read again when it changes, so that a token is revoked by deleting its line.

    A file that cannot be read lets nobody in; a damaged one leaves the last good state. `needed`: whether tokens are asked for: the file is
    there, or was named.
    """

    def __init__(self, path: Path, *, named: bool = False) -> None:
        self.path = path
        self.needed = named or path.is_file()
        self._stamp: tuple[int, int] = (-1, -1)
        self._tokens: tuple[Token, ...] = ()
        if path.is_file():
            self._tokens, self._stamp = parse_tokens(_text(path)), self._look()
            if path.stat().st_mode & 0o077:
                logger.warning("%s may be read by others than its owner; chmod 600 it", path)

    def find(self, secret: str) -> Token | None:
        """Whose token this is. Takes as long for a wrong one as for any other."""
        self._refresh()
        presented = hashlib.sha256(secret.encode()).hexdigest()
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.sha256, presented):
                found = token
        return found

    def _look(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_mtime_ns, status.st_size

    def _refresh(self) -> None:
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._tokens, self._stamp = self._read(), stamp     # at once: requests ask from several threads
        except OSError as error:
            self._tokens, self._stamp = (), (-1, -1)
            logger.error("the tokens cannot be read, so nobody is let in: %s", error)

    def _read(self) -> tuple[Token, ...]:
        try:
            tokens = parse_tokens(_text(self.path))
        except DosewellError as error:
            logger.error("the changed file of tokens cannot be used; the previous tokens stay valid: %s", error)
            return self._tokens
        logger.info("the tokens were read again: %d", len(tokens))
        return tokens


def require_tokens(host: str, path: Path, *, named: bool) -> None:
    """Raises DosewellError for a service without tokens that others could reach, or whose file of tokens was named and is not there."""
    if named and not path.is_file():
        raise DosewellError(f"DOSEWELL_TOKENS names {path}, which is not there: correct it, or make the first token with "
                            "`dosewell token NAME`; without the variable the service answers this machine alone, without tokens")
    if not is_loopback(host) and not path.is_file():
        raise DosewellError(f"the service would listen at {host}, where others can reach it, and has no tokens: make one with "
                            f"`dosewell token NAME` (it goes to {path}), or listen at 127.0.0.1")


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own. "" is any address, so not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class AccessGuard:
    """ASGI middleware: 401 without a known token, 403 for other sites' pages, and for strangers where there are no tokens."""

    def __init__(self, app: ASGIApp, *, tokens: TokenFile) -> None:
        self.app, self.tokens = app, tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on with the token under SCOPE_KEY, or refuse."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            scope[SCOPE_KEY] = await self._admit(scope, _headers_of(scope))
        except HTTPException as error:
            await error_response(error)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _admit(self, scope: Scope, headers: Mapping[str, str]) -> Token:
        host, origin = headers.get("host", ""), headers.get("origin")
        if origin is not None and _parts(origin).netloc.lower() != host.lower():
            raise HTTPException(403, f"a page of another site may not use this service: the page is of {origin[:100]}, the service was "
                                     f"asked as {host[:100]}; if these are one, the gateway before it must pass the header Host on")
        if scope["type"] != "http":
            raise HTTPException(403, "only HTTP is answered")
        path = scope["path"]
        if _CONTROL.search(path):   # BentoML's routes know no line breaks and would answer with a text
            raise HTTPException(404, "there is nothing at an address with control characters")
        if not self.tokens.needed:
            return _admit_local(scope, host, through={*headers} & _FORWARDED)
        if scope["method"] in ("GET", "HEAD") and (path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)):
            return Token(name="", role="score", sha256="")
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        # in a thread: the file may lie on a disk that is away, for which nobody else should wait
        token = await asyncio.to_thread(self.tokens.find, secret.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise HTTPException(401, "a token is needed: send the header 'Authorization: Bearer <token>'; the service's admin gives tokens",
                                headers={"www-authenticate": 'Bearer realm="dosewell"'})
        return token


def _headers_of(scope: Scope) -> dict[str, str]:
    """The headers. Raises HTTPException where one that is judged here stands twice: a gateway may have judged the other one."""
    found: dict[str, str] = {}
    for name, value in ((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]):
        if name in found and name in _ONCE:
            raise HTTPException(400, f"the header '{name}' is sent more than once; send it once")
        found[name] = value
    return found


def _parts(address: str) -> SplitResult:
    """An address, split. Raises HTTPException for what is none, such as "http://[": that is no name of this service either."""
    try:
        return urlsplit(address)
    except ValueError:
        raise HTTPException(403, f"'{address[:100]}' is no address that can be read") from None


def _admit_local(scope: Scope, host: str, *, through: set[str]) -> Token:
    """Who may ask where there are no tokens: a client on this machine, by the server's loopback address and under a local name. The name is
    checked because a web site can point its own name at 127.0.0.1 and have its visitors' browsers ask. through: headers of a gateway, which
    asks for somebody elsewhere. Raises HTTPException.
    """
    if through:
        raise HTTPException(403, f"this service has no tokens, and a gateway asks it for somebody else ({', '.join(sorted(through))}); "
                                 "`dosewell token NAME` makes one")
    address = (scope.get("server") or ("",))[0]
    if address and not address.startswith("/") and not is_loopback(address):     # a socket file is local, too
        raise HTTPException(403, "this service has no tokens, so it answers on its own machine only; `dosewell token NAME` makes one")
    name = _parts(f"//{host}").hostname or ""
    if name not in _LOCAL_NAMES:
        raise HTTPException(403, f"'{name[:100]}' is no name of this service; without tokens it is asked as 127.0.0.1 or localhost")
    return NOBODY
