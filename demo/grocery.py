"""Turns the facts of Personalizer's Python quickstart into a scenario: three shoppers, and one product to feature."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, Final

from demo.scenario import Scenario, Visit


def _item(company: str, kind: tuple[str, str], quantity: int, price: int, *diet: str) -> dict[str, Any]:
    """A product's features: who makes it, what it is, and which of the six dietary labels it bears."""
    labels = ("vegan", "low_carb", "high_protein", "vegetarian", "low_fat", "low_sodium")
    return {
        "brand_info": {"company": company},
        "attributes": {"qty": quantity, kind[0]: kind[1], "price": price},
        "dietary_attributes": {label: label in diet for label in labels},
    }


PRODUCTS: Final = {
    "pasta": _item("pasta_inc", ("cuisine", "italian"), 1, 12, "low_fat", "low_sodium"),
    "bbq": _item("ambisco", ("category", "bbq"), 2, 20, "low_carb", "high_protein"),
    "bao": _item("bao_and_co", ("category", "chinese"), 4, 8, "low_carb", "high_protein", "low_fat"),
    "hummus": _item("garbanzo_inc", ("category", "breakfast"), 1, 5, "vegan", "high_protein", "vegetarian"),
    "veg_platter": _item(
        "farm_fresh", ("category", "produce"), 1, 7, "vegan", "low_carb", "vegetarian", "low_fat", "low_sodium"
    ),
}
SHOPPERS: Final = {
    "Bill": {"dietary_preferences": "low_carb", "avg_order_price": "0-20", "browser_type": "edge"},
    "Satya": {"dietary_preferences": "low_sodium", "avg_order_price": "201+", "browser_type": "safari"},
    # The quickstart has a Python set here, which its SDK sends as a string: VW takes no list of strings.
    "Amy": {"dietary_preferences": "vegan, vegetarian", "avg_order_price": "21-50", "browser_type": "edge"},
}
LOCATIONS: Final = ("west", "east", "midwest")
TIMES: Final = ("morning", "afternoon", "evening")
APPLICATIONS: Final = ("edge", "safari", "edge_mobile", "mobile_app")


def _bill_buys(item: dict[str, Any], location: str) -> bool:
    """Bill looks at the price, except in the midwest, where he looks at the carbohydrates."""
    if location == "midwest":
        return bool(item["dietary_attributes"]["low_carb"])
    return bool(item["attributes"]["price"] < 10)


def _satya_buys(item: dict[str, Any], location: str) -> bool:
    """Satya buys what has little sodium."""
    return bool(item["dietary_attributes"]["low_sodium"])


def _amy_buys(item: dict[str, Any], location: str) -> bool:
    """Amy buys what has no meat in it."""
    return bool(item["dietary_attributes"]["vegan"] or item["dietary_attributes"]["vegetarian"])


_BUYS: Final[dict[str, Callable[[dict[str, Any], str], bool]]] = {
    "Bill": _bill_buys,
    "Satya": _satya_buys,
    "Amy": _amy_buys,
}


def _visit(shopper: str, location: str, time: str, application: str) -> Visit:
    context = [
        SHOPPERS[shopper],
        {"location": location},
        {"time_of_day": time},
        {"application_type": application},
    ]
    return Visit(context, {name: float(_BUYS[shopper](item, location)) for name, item in PRODUCTS.items()})


GROCERY: Final = Scenario(
    name="grocery",
    actions=PRODUCTS,
    visits=[_visit(*facts) for facts in product(SHOPPERS, LOCATIONS, TIMES, APPLICATIONS)],
    events=5_000,
    rate=10.0,
)
