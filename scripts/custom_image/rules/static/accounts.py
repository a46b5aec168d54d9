"""Users of an image, and what they may read."""

from __future__ import annotations

from dataclasses import dataclass

from custom_image.engines import ImageFile
from custom_image.rules.context import Context

ROOT_ID = 0
ACCOUNTS_FILE = "/etc/passwd"
_MOST_DIGITS = 10  # of a 32-bit id


@dataclass(frozen=True)
class Account:
    """One line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str = ""

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid} ({self.name})" if self.name else f"{self.uid}:{self.gid}"


def accounts(context: Context) -> list[Account]:
    """Return the accounts of an image; none where it has no /etc/passwd."""
    return parse_accounts(context.read_file(ACCOUNTS_FILE) or b"")


def parse_accounts(content: bytes) -> list[Account]:
    """Return the accounts that an /etc/passwd holds."""
    found = []
    for line in content.decode(errors="replace").splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and _is_id(fields[2]) and _is_id(fields[3]):
            found.append(Account(fields[0], int(fields[2]), int(fields[3]), fields[5]))
    return found


def start_user(context: Context) -> Account:
    """Return whom the image starts as, from USER in its configuration: a name or ids."""
    return account_of(context.image.user, accounts(context))


def account_of(declared: str, known: list[Account]) -> Account:
    """Return whom a USER means, a name or ids, among the accounts of the image."""
    user, _, group = (declared or str(ROOT_ID)).partition(":")
    for account in known:
        if user in (account.name, str(account.uid)):
            gid = int(group) if _is_id(group) else account.gid
            return Account(account.name, account.uid, gid, account.home)
    uid = int(user) if _is_id(user) else ROOT_ID
    return Account("", uid, int(group) if _is_id(group) else ROOT_ID)


def can_read(account: Account, file: ImageFile) -> bool:
    """Tell whether the mode of a file lets an account read it. Directories are not looked at."""
    if account.uid == ROOT_ID:
        return True
    if account.uid == file.uid:
        return bool(file.mode & 0o400)
    return bool(file.mode & (0o040 if account.gid == file.gid else 0o004))


def _is_id(text: str) -> bool:
    # An image may hold digits that Python cannot convert: a superscript, or thousands of them.
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
