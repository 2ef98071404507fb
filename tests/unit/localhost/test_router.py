from collections.abc import Sequence

import pytest

from localhost.config import StartError
from localhost.functions import Function, HttpTrigger
from localhost.router import Router


def make(
    name: str, route: str, methods: Sequence[str] = (), *, level: str = "anonymous", disabled: bool = False
) -> Function:
    return Function(
        name=name,
        trigger=HttpTrigger(route, frozenset(methods), level),
        call=lambda req: None,
        argument="req",
        wants_context=False,
        is_async=False,
        returns=True,
        disabled=disabled,
        retry=None,
        directory=".",
    )


def found(router: Router, method: str, path: str) -> tuple[str, dict[str, str]] | None:
    match = router.find(method, path)
    return None if match is None else (match[0].name, match[2])


def test_the_more_specific_route_wins_whatever_the_order() -> None:
    router = Router(
        [
            make("rest", "{*rest}"),
            make("any", "items/{id}"),
            make("int", "items/{id:int}"),
            make("special", "items/special"),
        ]
    )

    assert found(router, "GET", "/items/special") == ("special", {})
    assert found(router, "GET", "/Items/SPECIAL/") == ("special", {})
    assert found(router, "GET", "/items/12") == ("int", {"id": "12"})
    assert found(router, "GET", "/items/x") == ("any", {"id": "x"})
    assert found(router, "GET", "/items/x/y") == ("rest", {"rest": "items/x/y"})
    assert found(router, "GET", "/other") == ("rest", {"rest": "other"})
    assert found(router, "GET", "/") == ("rest", {})


def test_an_unknown_method_is_passed_on_to_the_next_route() -> None:
    router = Router([make("post", "a", ["POST"]), make("get", "{x}", ["GET"])])

    assert found(router, "POST", "/a") == ("post", {})
    assert found(router, "GET", "/a") == ("get", {"x": "a"})
    assert found(router, "PUT", "/a") is None
    assert found(router, "BREW", "/a") is None


def test_no_methods_stand_for_all() -> None:
    router = Router([make("all", "a")])

    methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]

    assert [found(router, method, "/a") for method in methods] == [("all", {})] * len(methods)


@pytest.mark.parametrize(("prefix", "path"), [("", "/a"), ("api", "/api/a"), ("x/y", "/x/y/a")])
def test_prefix(prefix: str, path: str) -> None:
    router = Router([make("a", "a")], prefix)

    assert found(router, "GET", path) == ("a", {})
    assert found(router, "GET", f"/{path}") is None


def test_a_root_route_and_its_level() -> None:
    match = Router([make("root", "", level="admin")]).find("GET", "/")

    assert match is not None
    assert match[1] == "admin"


def test_a_disabled_function_is_not_found() -> None:
    assert found(Router([make("off", "a", disabled=True)]), "GET", "/a") is None


@pytest.mark.parametrize(("first", "second"), [([], []), (["GET"], []), (["GET", "PUT"], ["PUT"])])
def test_one_route_twice_is_refused(first: list[str], second: list[str]) -> None:
    with pytest.raises(StartError, match="one and two have the same route"):
        Router([make("one", "a/{x}", first), make("two", "A/{x}", second)])


def test_one_route_with_different_methods_is_two() -> None:
    router = Router([make("one", "a", ["GET"]), make("two", "a", ["PUT"])])

    assert found(router, "PUT", "/a") == ("two", {})


@pytest.mark.parametrize("route", ["admin", "Admin/x", "administrators", "runtime/webhooks"])
def test_what_the_host_reserves_is_refused(route: str) -> None:
    with pytest.raises(StartError, match="reserved"):
        Router([make("f", route)], "prefix")
