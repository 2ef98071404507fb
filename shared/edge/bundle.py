"""Turns the sources of a module of the page into that one module: so the first view takes few requests, and no build.

A source imports what others of the same module export from the module's own address, as anybody else does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_IMPORT = re.compile(rb'^import \{([^}]*)\} from "([^"]+)";\n', re.MULTILINE)


def bundle(sources: Iterable[bytes], address: str) -> bytes:
    """The module that is made of some sources, in their order.

    What they import from elsewhere is imported once, since a module may declare a name but once; what they import
    from one another is there already.

    Args:
        sources: modules whose imports stand on lines of their own, as `import { a, b } from "…";`. No two declare the
            same name.
        address: of the module that is made.
    """
    imported: dict[bytes, set[bytes]] = {}
    rest = []
    for source in sources:
        for names, origin in _IMPORT.findall(source):
            imported.setdefault(origin, set()).update(name.strip() for name in names.split(b",") if name.strip())
        rest.append(_IMPORT.sub(b"", source))
    imported.pop(address.encode(), None)
    lines = [b'import { %b } from "%b";\n' % (b", ".join(sorted(names)), name) for name, names in imported.items()]
    return b"".join((*lines, *rest))
