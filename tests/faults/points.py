"""Turns a storage call, and the functions that it is made for, into the name of the step that it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_WORDS = {
    "<loop>": "[0-9a-f]{32}",
    "<day>": "[0-9]{8}",
    "<window>": r"loops/[0-9a-f]{32}/joined/year=.*/[0-9]{10}-[0-9]{10}(\.[0-9]+)?",
    "<version>": "loops/[0-9a-f]{32}/models/[^/]+",
}


@dataclass(frozen=True, slots=True)
class Point:
    """A step that touches storage.

    Attributes:
        name: what tests call it.
        call: the calls it makes, as `_spell` spells them: a pattern with the words of `_WORDS` in it.
        within: the function, by its qualified name, on whose behalf the call is made; any if empty.
        needs: the point behind which an end makes this one come about, if it does not come about by itself.
    """

    name: str
    call: str
    within: str = ""
    needs: str = ""


USUAL = (
    Point("clock.probe", "put clock clock"),
    Point("deployment.read", "(get|get_changed) deployment.json"),
    Point("deployment.found", "put deployment.json", "Loops._found"),
    Point("deployment.write", "put deployment.json"),
    Point("settings.found", "put loops/<loop>/settings.json", "Loops._found"),
    Point("settings.create", "put loops/<loop>/settings.json", "Loops.create"),
    Point("settings.write", "put loops/<loop>/settings.json"),
    Point("settings.read", "get loops/<loop>/settings.json"),
    # Rank, reward, activate
    Point("pointer.poll", "get_changed loops/<loop>/models/current.json"),
    Point("model.load", "get <version>/model.vw", "_Entry._look"),
    Point("subject.read", "get loops/<loop>/subject.key"),
    Point("subject.key", "put loops/<loop>/subject.key"),
    Point("activity.note", "put activity join"),
    Point("journal.overflow", "put journal/(rank|obs)<loop><day>/.*"),
    Point("journal.write.rank", "put rank<loop><day> .*"),
    Point("journal.write.obs", "put obs<loop><day> .*"),
    Point("calls.write", "put calls<loop><day> .*"),
    # Join
    Point("activity.read", "query activity join"),
    Point("activity.forget", "delete activity join"),
    Point("activity.joined", "put activity train", "note_joined"),
    Point("join.checkpoint", "get loops/<loop>/join.json", "Joiner.run"),
    Point("join.count", "query rank<loop><day> .*", "Joiner._cut"),
    Point("join.read.marks", "query rank<loop><day> .* PartitionKey,RowKey,h"),
    Point("join.read.rank", "query rank<loop><day> .*"),
    Point("join.read.obs", "query obs<loop><day> .*"),
    Point("join.read.overflow", "get journal/.*", "Joiner._join"),
    Point("join.output", "put <window>.dsjson.zst"),
    Point("join.output.check", "get <window>.dsjson.zst", "Joiner._carry_out", needs="join.output"),
    Point("join.observations", "put <window>.observations.zst"),
    Point("join.observations.check", "get <window>.observations.zst", "Joiner._carry_out", needs="join.observations"),
    Point("join.index", "put <window>.index", "Joiner._carry_out"),
    Point("series.fold.read", "get loops/<loop>/series/<day>.(minutes|actions)", "Series.fold"),
    Point("series.fold", "put loops/<loop>/series/<day>.(minutes|actions)", "Series.fold"),
    Point("checkpoint.move", "put loops/<loop>/join.json", "Joiner._carry_out"),
    Point("checkpoint.plan", "put loops/<loop>/join.json", "Joiner.run"),
    Point("journal.prune", "delete (rank|obs)<loop><day> .*"),
    # Train
    Point("activity.grown", "query activity sweep"),
    Point("activity.trained", "delete activity train", "trained"),
    Point("activity.put_off", "put activity train", "put_off"),
    # Examination, whose steps are named before those of training, as they are less
    Point("examine.read", "get loops/<loop>/examined.json"),
    Point("examine.checkpoint", "get loops/<loop>/join.json", "Examiner.run"),
    Point("examine.list", "(names|folders) loops/<loop>/joined/.*", "Examiner._examine"),
    Point("examine.window.read", "get <window>.dsjson.zst", "Examiner._examine"),
    Point("examine.move", "put loops/<loop>/examined.json", "Examiner.run"),
    Point("train.checkpoint", "get loops/<loop>/join.json", "Training.run"),
    Point("evaluate.look", "folders loops/<loop>/evaluating/"),
    Point("weigh.look", "names loops/<loop>/weighing/"),
    Point("train.list", "(names|folders) loops/<loop>/joined/.*", "windows"),
    Point("train.read", "get <window>.dsjson.zst", "Trainer._extend"),
    Point("vet.read", "get <window>.dsjson.zst", "Vetter._recent"),
    Point("renewal.read", "get loops/<loop>/renewal.json"),
    Point("renewal.move", "put loops/<loop>/renewal.json"),
    Point("renewal.sizes", "(sizes|folders) loops/<loop>/joined/.*", "plan"),
    Point("job.read", "get loops/<loop>/jobs/.*"),
    Point("job.write", "put loops/<loop>/jobs/.*"),
    Point("job.list", "names loops/<loop>/jobs/"),
    Point("piece.list", "names loops/<loop>/pieces/.*"),
    Point("piece.window", "get <window>.dsjson.zst", "Pieces._do"),
    Point("piece.write", "put loops/<loop>/pieces/.*"),
    Point("piece.read", "get loops/<loop>/pieces/.*"),
    Point("piece.delete", "delete loops/<loop>/pieces/.*"),
    Point("thin.pointer", "get loops/<loop>/models/current.json", "thin"),
    Point("pointer.read", "get loops/<loop>/models/current.json"),
    Point("model.check", "get <version>/model.vw", "store", needs="model.write"),
    Point("model.read", "get <version>/model.vw", "Trainer._extend"),
    Point("vet.model", "get <version>/model.vw", "Vetter._stored"),
    Point("model.write", "put <version>/model.vw"),
    Point("version.write", "put <version>/version.json"),
    Point("version.read", "get <version>/version.json"),
    Point("model.rebuild", "get <version>/model.vw", "Rebuilder._stored"),
    Point("pointer.change", "put loops/<loop>/models/current.json", "change"),
    Point("pointer.move", "put loops/<loop>/models/current.json", "Publisher.publish"),
    # Sweep: retention, and what deleted loops have left
    Point("sweep.turn", "put activity sweep"),
    Point("retention.checkpoint", "get loops/<loop>/join.json", "expire"),
    Point("retention.move", "put loops/<loop>/join.json", "expire"),
    Point("erase.forget", "delete activity train", "forget_loop"),
    Point("erase.tables", "names (rank|obs|calls)<loop>", "erase"),
    Point("erase.drop", "drop (rank|obs|calls)<loop><day>", "erase"),
    Point("erase.list", "names loops/<loop>/"),
    Point("erase.delete", "delete loops/<loop>/[a-z]+.(json|key)"),
    Point("thin.checkpoint", "get loops/<loop>/join.json", "thin"),
    Point("thin.read", "get loops/<loop>/models/thinned.json"),
    Point("thin.list", "names loops/<loop>/models/.*", "thin"),
    Point("versions.list", "names loops/<loop>/models/.*"),
    Point("versions.checkpoint", "get loops/<loop>/join.json", "_bytes"),
    Point("pin.checkpoint", "get loops/<loop>/join.json", "unpin"),
    Point("thin.move", "put loops/<loop>/models/thinned.json"),
    Point("calls.tables", "names calls<loop>", "fold"),
    Point("calls.cleared", "get loops/<loop>/join.json", "fold"),
    Point("calls.read", "query calls<loop><day> .*"),
    Point("series.read", "get loops/<loop>/series/<day>.(minutes|actions)"),
    Point("series.write", "put loops/<loop>/series/<day>.minutes"),
    Point("series.list", "names loops/<loop>/series/"),
    Point("series.delete", "delete loops/<loop>/series/.*"),
    Point("retention.tables", "names (rank|obs|calls)<loop>"),
    Point("retention.drop", "drop (rank|obs|calls)<loop><day>"),
    Point("retention.overflow", "names journal/(rank|obs)<loop>"),
    Point("retention.overflow.delete", "delete journal/.*"),
    Point("retention.folders", "folders loops/<loop>/(joined|parquet/[a-z]+)/.*", "_prune"),
    Point("retention.slices", "names loops/<loop>/slices/"),
    Point("retention.list", "names loops/<loop>/(joined|parquet/[a-z]+)/year=.*"),
    Point("retention.delete", "delete (<window>|loops/<loop>/(parquet|index)/).*"),
    # Work
    Point("work.send", "send rankloop-work"),
)
"""What comes about all the time, in order of the day."""
LATER = (
    # Erasures: what is asked for
    Point("erasing.ask.read", "get loops/<loop>/join.json", "ask"),
    Point("erasing.ask", "put loops/<loop>/join.json", "ask"),
    Point("erasing.note", "put activity sweep-erasures", "_erase"),
    Point("erasing.find", "get loops/<loop>/join.json", "find"),
    Point("erasing.list", "names loops/<loop>/erasures/", "newest"),
    Point("erasing.list.checkpoint", "get loops/<loop>/join.json", "newest"),
    Point("erasing.record.read", "get loops/<loop>/erasures/.*.json"),
    # A pass: what it begins and ends with
    Point("erasing.note.again", "put activity sweep-erasures", "expire"),
    Point("erasing.put_off", "put activity sweep-erasures", "erased"),
    Point("erasing.forget", "delete activity sweep-erasures", "erased"),
    Point("erasing.tidy", "names loops/<loop>/erasures/", "tidy"),
    Point("erasing.tidy.checkpoint", "get loops/<loop>/join.json", "tidy"),
    Point("erasing.tidy.delete", "delete loops/<loop>/erasures/.*.marks", "tidy"),
    Point("erasing.marks", "put loops/<loop>/erasures/.*.marks", "commit"),
    Point("erasing.commit.read", "get loops/<loop>/join.json", "commit"),
    Point("erasing.commit", "put loops/<loop>/join.json", "commit"),
    Point("erasing.record", "put loops/<loop>/erasures/.*.json", "close"),
    Point("erasing.close.read", "get loops/<loop>/join.json", "close"),
    Point("erasing.close", "put loops/<loop>/join.json", "close"),
    Point("erasing.progress", "get loops/<loop>/erasing.json"),
    Point("erasing.save", "put loops/<loop>/erasing.json", "_Kept.save"),
    Point("erasing.hour.note", "put loops/<loop>/erasing.json", "_Kept.note"),
    Point("join.known", "get loops/<loop>/erasures/.*.marks", "Joiner._join"),
    Point("erasing.known", "get loops/<loop>/erasures/.*.marks"),
    # A pass: rows of the journal, and mail
    Point("erasing.tables", "names (rank|obs)<loop>", "Scan.places"),
    Point("erasing.rows", "query (rank|obs)<loop><day> .*", "Scan._partitions"),
    Point("erasing.row.read", "query rank<loop><day> .*", "Scan._row"),
    Point("erasing.row", "replace (rank|obs)<loop><day> .*", "_replace"),
    Point("erasing.row.delete", "delete (rank|obs)<loop><day> .*", "_replace"),
    Point("erasing.overflow", "put journal/.*", "_replace"),
    Point("erasing.overflow.delete", "delete journal/.*", "_replace"),
    Point("erasing.overflow.read", "get journal/.*", "Scan._row"),
    Point("erasing.orphans", "names journal/.*", "orphans"),
    Point("erasing.orphans.rows", "query (rank|obs)<loop><day> .*", "orphans"),
    Point("erasing.orphans.delete", "delete journal/.*", "orphans", needs="erasing.row.delete"),
    Point("erasing.mail.list", "names loops/<loop>/slices/", "Scan.places"),
    Point("erasing.slice.read", "get loops/<loop>/slices/.*.ranks", "ranks"),
    Point("erasing.slice.rows", "query rank<loop><day> .*", "ranks"),
    Point("erasing.slice", "put loops/<loop>/slices/.*.ranks", "ranks"),
    Point("erasing.mail.read", "get loops/<loop>/slices/.*.mail", "mail"),
    Point("erasing.mail.checkpoint", "get loops/<loop>/join.json", "Scan._slice"),
    Point("erasing.mail", "put loops/<loop>/slices/.*.mail", "mail"),
    # A pass: windows, and hours
    Point("erasing.windows", "sizes loops/<loop>/joined/", "Scan.places"),
    Point("erasing.window.look", "get_range <window>.index", "Scan._holds_none"),
    Point("erasing.window.table", "get <window>.index", "table_of"),
    Point("erasing.window.events", "get <window>.dsjson.zst", "events"),
    Point("erasing.window.read", "get <window>.(dsjson|observations).zst", "window"),
    Point("erasing.window", "put <window>.dsjson.zst", "window"),
    Point("erasing.window.observations", "put <window>.observations.zst", "window"),
    Point("erasing.window.index", "put <window>.index", "window"),
    Point("erasing.window.delete", "delete <window>.*", "window"),
    Point("erasing.window.outdated", "delete <window>.*", "Scan._window", needs="erasing.window.index"),
    Point("erasing.hour.read", "get loops/<loop>/hours.json", "rewrite"),
    Point("erasing.hour.fence", "put loops/<loop>/hours.json", "rewrite"),
    Point("erasing.hour.checkpoint", "get loops/<loop>/join.json", "rewrite"),
    Point("erasing.hour.folders", "folders loops/<loop>/joined/.*", "rewrite"),
    Point("erasing.hour.list", "sizes loops/<loop>/joined/.*", "rewrite"),
    Point("erasing.hour.window", "get <window>.(observations|dsjson).zst", "rewrite"),
    Point("erasing.hour.index", "put loops/<loop>/index/.*", "rewrite"),
    Point("erasing.hour.table", "put loops/<loop>/parquet/.*", "rewrite"),
    Point("erasing.hour.files", "names loops/<loop>/(index|parquet)/.*", "rewrite"),
    Point("erasing.hour.delete", "delete loops/<loop>/(index|parquet)/.*", "renew"),
    Point("erasing.hour.days", "sizes loops/<loop>/index/", "rewrite"),
    Point("erasing.hour.older", "names loops/<loop>/(index|parquet)/.*", "Eraser._pass"),
    Point("erasing.imports", "names loops/<loop>/imports/", "Scan.places"),
    Point("erasing.checkpoint", "get loops/<loop>/join.json", "Eraser.run"),
    Point("erasing.examined.checkpoint", "get loops/<loop>/join.json", "App._carry_out"),
    Point("erasing.examined", "put loops/<loop>/examined.json", "forget"),
    # Long waits
    Point("route.cut", "query (rank|obs)<loop><day> .*", "Router._cut"),
    Point("route.pass", "put loops/<loop>/join.json", "Router.carry_out"),
    Point("route.plan", "put loops/<loop>/join.json", "Joiner._slice"),
    Point("route.ranks.list", "names loops/<loop>/slices/.*.ranks", "Router._write_ranks"),
    Point("route.ranks.read", "query rank<loop><day> .*", "Router._write_ranks"),
    Point("route.ranks", "put loops/<loop>/slices/.*.ranks"),
    Point("route.mail.read", "query obs<loop><day> .*", "Router._write_mail"),
    Point("route.mail.list", "names loops/<loop>/slices/", "Router._write_mail"),
    Point("route.mail.events", "get loops/<loop>/slices/.*.ranks", "Router._write_mail"),
    Point("route.mail", "put loops/<loop>/slices/.*.mail", "Router._write_mail"),
    Point("route.noted", "put activity join", "routed"),
    Point("route.window.list", "names loops/<loop>/slices/", "Router.window"),
    Point("route.window", "get_range loops/<loop>/slices/.*.ranks", "Router.window"),
    Point("route.events.list", "names loops/<loop>/slices/", "Router.routed"),
    Point("route.events", "get_range loops/<loop>/slices/.*.ranks", "Router.routed"),
    Point("route.inbox.list", "names loops/<loop>/slices/", "Router.mail"),
    Point("route.inbox.places", "get_range loops/<loop>/slices/.*.mail", "read_places"),
    Point("route.inbox", "get_range loops/<loop>/slices/.*.mail", "Router._read_part"),
    Point("route.drop.list", "names loops/<loop>/slices/", "Joiner._carry_out"),
    Point("route.drop", "delete loops/<loop>/slices/.*"),
    # Closed hours
    Point("hours.read", "get loops/<loop>/hours.json"),
    Point("hours.checkpoint", "get loops/<loop>/join.json", "Hours.run"),
    Point("hours.days", "sizes loops/<loop>/index/"),
    Point("hours.folders", "folders loops/<loop>/joined/.*", "Hours.run"),
    Point("hours.list", "sizes loops/<loop>/joined/.*", "Hours.run"),
    Point("hours.index.read", "(get|get_range) (<window>|loops/<loop>/index/.*).index"),
    Point("hours.window.read", "get <window>.(observations|dsjson).zst", "Hours._pass"),
    Point("hours.index", "put loops/<loop>/index/.*"),
    Point("hours.table", "put loops/<loop>/parquet/.*"),
    Point("hours.older", "names loops/<loop>/(index|parquet)/.*"),
    Point("hours.move", "put loops/<loop>/hours.json"),
)
"""What comes about when minutes or hours have passed: erasures, long waits, closed hours."""
DAYS = (
    Point("hours.day.list", "sizes loops/<loop>/joined/.*", "write_day"),
    Point("hours.day", "put loops/<loop>/index/.*", "write_day"),
    Point("hours.day.delete", "delete loops/<loop>/index/.*", "merge_days"),
    Point("thin.model", "delete <version>/model.vw", "Thinner._thin"),
    Point("forget.model", "delete <version>/model.vw", "Thinner._forget"),
    Point("forget.record", "delete <version>/version.json", "Thinner._forget"),
)
"""What comes about when days have passed: tables of days, versions thinned and forgotten."""
EVALUATED = (
    Point("evaluate.checkpoint", "get loops/<loop>/join.json", "_create"),
    Point("evaluate.sizes", "(sizes|folders) loops/<loop>/joined/.*", "sizes"),
    Point("evaluate.sample", "get <window>.dsjson.zst", "sample"),
    Point("evaluate.plan", "put loops/<loop>/evaluating/[^/]+/plan.json", "Evaluator.begin"),
    Point("evaluate.sent", "put loops/<loop>/evaluating/[^/]+/plan.json"),
    Point("evaluate.plan.read", "get loops/<loop>/evaluating/[^/]+/plan.json"),
    Point("evaluate.state", "names loops/<loop>/evaluating/.*"),
    Point("evaluate.round", "put loops/<loop>/evaluating/[^/]+/round.[0-9]+"),
    Point("evaluate.round.read", "get loops/<loop>/evaluating/[^/]+/round.[0-9]+"),
    Point("evaluate.piece.checkpoint", "get loops/<loop>/join.json", "Scorings._task"),
    Point("evaluate.piece.window", "get <window>.dsjson.zst", "Scorings._stretches"),
    Point("evaluate.piece", "put loops/<loop>/evaluating/.*"),
    Point("evaluate.piece.read", "get loops/<loop>/evaluating/.*"),
    Point("evaluate.clear", "delete loops/<loop>/evaluating/.*"),
    Point("evaluation.read", "get loops/<loop>/evaluations/.*.json"),
    Point("evaluation.write", "put loops/<loop>/evaluations/.*.json"),
    Point("evaluation.delete", "delete loops/<loop>/evaluations/.*.json"),
    Point("evaluation.list", "names loops/<loop>/evaluations/"),
    Point("evaluation.bins", "put loops/<loop>/evaluations/.*.bins"),
    Point("evaluation.bins.read", "get loops/<loop>/evaluations/.*.bins"),
    Point("evaluation.bins.delete", "delete loops/<loop>/evaluations/.*.bins"),
    Point("optimize.read", "get loops/<loop>/optimizing.json"),
    Point("optimize.checkpoint", "get loops/<loop>/join.json", "Optimization.run"),
    Point("optimize.move", "put loops/<loop>/optimizing.json"),
)
"""What comes about where somebody asks for an evaluation, or a loop is old enough to be optimized.

tests/unit/evaluation/test_evaluator.py ends evaluations at them, as the traffic of these tests does not ask."""
WEIGHED = (
    Point("weigh.checkpoint", "get loops/<loop>/join.json", "gather"),
    Point("weigh.sizes", "(sizes|folders) loops/<loop>/joined/.*", "gather"),
    Point("weigh.window", "get <window>.dsjson.zst", "gather"),
    Point("weigh.asked", "put loops/<loop>/weighing/.*", "Importances.begin"),
    Point("weigh.sent", "put loops/<loop>/weighing/.*"),
    Point("weigh.read", "get loops/<loop>/weighing/.*"),
    Point("weigh.forget", "delete loops/<loop>/weighing/.*"),
    Point("importance.read", "get loops/<loop>/importances/.*"),
    Point("importance.write", "put loops/<loop>/importances/.*"),
    Point("importance.delete", "delete loops/<loop>/importances/.*"),
    Point("importance.list", "names loops/<loop>/importances/"),
)
"""The same of feature importances; tests/unit/evaluation/test_importances.py ends them at all that write."""
SELDOM = (
    Point("erasing.overflow.old", "get journal/.*", "_replace"),
    Point("settings.checkpoint", "get loops/<loop>/join.json", "Loops._waits"),
    Point("join.twins.list", "(sizes|folders) loops/<loop>/joined/.*", "Twins._logged"),
    Point("join.twins", "(get|get_range) <window>.index", "Twins._logged"),
    Point("join.twins.read", "query rank<loop><day> .*", "Twins.join"),
)
"""What comes about where a wait is changed, which the traffic of these tests does once, where an event is repeated from
one window to the next, and where a row is erased that needs a blob since: which a run may not have."""
POINTS = (*SELDOM, *DAYS, *LATER, *USUAL, *EVALUATED, *WEIGHED)
"""Of those that a call fits, the first counts."""
PRUNING = frozenset({"journal.prune"})
"""Where journal rows are deleted as soon as they are joined, and nowhere else."""
ASKED = frozenset({"work.send", *(point.name for point in (*EVALUATED, *WEIGHED))})
"""Where somebody asks for long work, as the traffic of these tests does not."""


def _pattern(call: str) -> re.Pattern[str]:
    call = call.replace(".", r"\.").replace(r"\.*", ".*")
    for word, meaning in _WORDS.items():
        call = call.replace(word, meaning)
    return re.compile(call)


_PATTERNS = tuple((point, _pattern(point.call)) for point in POINTS)


def point_of(call: str, functions: Sequence[str]) -> Point | None:
    """The point of a storage call.

    Args:
        call: see `_spell`.
        functions: the qualified names of those of the product that are under way, the innermost first.
    """
    for point, pattern in _PATTERNS:
        if pattern.fullmatch(call) and (not point.within or point.within in functions):
            return point
    return None
