"""Sources of a module of the page as one: what they import is imported once, and not from themselves."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from shared.edge.bundle import bundle
from shared.edge.page import FILES

STATIC = Path(__file__).parents[3] / "ui_fn" / "static"
_DECLARED = re.compile(r"^(?:export )?(?:default )?(?:async )?(?:const|let|function|class|var) (\w+)", re.MULTILINE)


def test_what_is_imported_is_imported_once_and_the_rest_stays_in_order() -> None:
    one = b'// one\nimport { a, b } from "/page/x.js";\nimport {\n  c,\n} from "/page/y.js";\nconst d = a + b + c;\n'
    two = b'import { b, e } from "/page/x.js";\nimport { d } from "/page/m.js";\nexport const f = b + d + e;\n'

    joined = bundle([one, two], "/page/m.js")

    assert joined == (
        b'import { a, b, e } from "/page/x.js";\nimport { c } from "/page/y.js";\n'
        b"// one\nconst d = a + b + c;\nexport const f = b + d + e;\n"
    )


@pytest.mark.parametrize("name", [name for name, parts in FILES.items() if name.endswith(".js") and len(parts) > 1])
def test_no_two_sources_of_a_module_declare_the_same_name(name: str) -> None:
    sources = [(STATIC / part).read_text() for part in FILES[name]]

    names = Counter(declared for source in sources for declared in _DECLARED.findall(source))

    assert [declared for declared, times in names.items() if times > 1] == []
