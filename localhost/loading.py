"""Turns the directory of a function app into its functions and its hooks."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import azure.functions as func

from localhost.config import StartError
from localhost.functions import Function, read_function

Drain = Callable[[], Awaitable[object]]
Leave = Callable[[], None]
Admit = Callable[[str, int | None], Leave | func.HttpResponse]


@dataclass(frozen=True, slots=True)
class App:
    """The functions of an app, what to await before the process ends, and what lets a request in."""

    functions: tuple[Function, ...]
    drain: Drain | None = None
    admit: Admit | None = None


def put_last_on_path(app_dir: Path) -> None:
    """Make `app_dir` the last entry of sys.path, as in Azure, where an installed package hides ours of the same name.

    The directory that `python -m` was started in, and the one that this package lies in, go: Azure has no such entries.
    """
    home = Path(__file__).resolve().parents[1]
    unwanted = {app_dir.resolve(), Path.cwd()} | (
        {home} if home.name not in ("site-packages", "dist-packages") else set()
    )
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in unwanted]
    sys.path.append(str(app_dir))


def load_app(app_dir: Path, environ: Mapping[str, str]) -> App:
    """Import the app's script (function_app.py unless PYTHON_SCRIPT_FILE_NAME says otherwise) and read its functions.

    Two functions at the top level of the script are ours, not Azure's. The coroutine function `drain` is awaited before
    the process ends, after the last invocation. `admit` is asked for each request, by its path and the length of its
    body where that is known, before the body is read: it returns what to call when the request was answered, or the
    answer itself, which had better be the same for all. Raises `StartError` where the app cannot be imported or is not
    one that Azure would take.
    """
    script = environ.get("PYTHON_SCRIPT_FILE_NAME") or "function_app.py"
    if not (app_dir / script).is_file():
        raise StartError(f"there is no {script} in {app_dir}")
    try:
        module = importlib.import_module(Path(script).stem)
        if module.__file__ is None or Path(module.__file__).resolve().parent != app_dir.resolve():
            raise StartError(f"{script} is hidden by {module.__file__}, which comes earlier on sys.path")
        apps = [value for value in vars(module).values() if isinstance(value, func.FunctionRegister)]
        if len({id(app) for app in apps}) != 1:
            raise StartError(f"{script}: one FunctionApp is needed at its top level; it has {len(apps)}")
        # The library refuses a second call of get_functions with a misleading error.
        definitions = apps[0].get_functions()
    except StartError:
        raise
    except Exception as error:
        raise StartError(f"{script}: {type(error).__name__}: {_first_line(error)}{_place(error, app_dir)}") from error
    drain = getattr(module, "drain", None)
    if drain is not None and not inspect.iscoroutinefunction(drain):
        raise StartError(f"{script}: drain must be a coroutine function")
    admit = getattr(module, "admit", None)
    if admit is not None and not inspect.isfunction(admit):
        raise StartError(f"{script}: admit must be a function")
    functions = tuple(read_function(definition, str(app_dir), environ) for definition in definitions)
    if not functions:
        raise StartError(f"{script}: the FunctionApp has no functions")
    return App(functions, drain, admit)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


def _place(error: Exception, app_dir: Path) -> str:
    """Return where in the app the error came from, as far as that is known."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}, line {error.lineno})" if "line" not in str(error) else ""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(app_dir)
    ]
    return f" ({Path(frames[-1].filename).relative_to(app_dir)}, line {frames[-1].lineno})" if frames else ""
