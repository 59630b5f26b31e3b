"""The commands and their options."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from millrace.cli.console import Console, number, table
from millrace.errors import MillraceError, Misconfigured

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

_EPILOG = """\
Without --endpoint and --stack a command talks to the local platform that `millrace up` started.
Exit code: 0 success, 1 the run or the request failed, 2 wrong usage.
"""


def run(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments, run the command and return the exit code."""
    arguments = build_parser().parse_args(argv)
    console = Console(as_json=getattr(arguments, "json", False))
    try:
        code: int = arguments.command(arguments, console)
    except MillraceError as error:
        console.say(f"millrace: {error}")
        if console.as_json:
            console.answer(_failure(arguments, error.code, str(error)), "")
        return EXIT_FAILED
    except KeyboardInterrupt:
        console.say("millrace: interrupted")
        return 130
    except BrokenPipeError:
        # The reader of our output has left; what it wanted, it has.
        sys.stderr.close()
        return EXIT_FAILED
    except OSError as error:  # a file of this computer that cannot be read or written
        console.say(f"millrace: {error}")
        if console.as_json:
            console.answer(_failure(arguments, "file-access", str(error)), "")
        return EXIT_FAILED
    return code


def _failure(arguments: argparse.Namespace, code: str, message: str) -> dict[str, Any]:
    """Return what ``--json`` prints for a command that failed, with the names that a success has."""
    error = {"error": {"code": code, "message": message}}
    if arguments.name in ("train", "retrain", "score"):
        absent = (
            "run",
            "state",
            "model",
            "version",
            "rows_read",
            "rows_kept",
            "rows_rejected",
            "rows_trained",
            "rows_scored",
        )
        return {**dict.fromkeys(absent), "metrics": {}, "warnings": [], **error}
    return error


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="millrace",
        description="A CSV in a bucket becomes a tested model behind POST /predict.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    from millrace import __version__

    parser.add_argument("--version", action="version", version=f"millrace {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="name")

    add = commands.add_parser("up", help="start the local platform with the stack, and keep it running")
    add.set_defaults(command=_up)
    add = commands.add_parser("down", help="stop the local platform; its state stays")
    add.set_defaults(command=_down)
    add = commands.add_parser("demo", help="two real tables, the whole way, on the local platform")
    add.set_defaults(command=_demo)

    add = _remote(commands, "train", "upload a CSV file and train a model on it", _train)
    add.add_argument(
        "file", type=_existing, metavar="FILE", help="a CSV file, plain or packed (gzip, zstd, zip)"
    )
    add.add_argument("--dataset", help="the dataset, and the model's name (default: the file's name)")
    add.add_argument(
        "--target", metavar="COLUMN", help="the column to predict (default: `target`, else the last)"
    )
    add.add_argument("--spec", type=_existing, metavar="FILE", help="a spec.json: target, task, metric, ...")
    add.add_argument("--force", action="store_true", help="train even if nothing has changed")
    add.add_argument("--wait", action="store_true", help="follow the run until it has ended")

    add = _remote(commands, "retrain", "train a dataset again on the file that it has", _retrain)
    add.add_argument("dataset", metavar="DATASET", help="the dataset")
    add.add_argument("--wait", action="store_true", help="follow the run until it has ended")

    add = _remote(commands, "predict", "predict the rows of a CSV file", _predict)
    add.add_argument("model", metavar="MODEL", help="the model's name")
    add.add_argument("--csv", type=_existing, metavar="FILE", required=True, help="the rows, with a header")
    add.add_argument("--output", type=Path, metavar="FILE", help="where to write (default: standard output)")

    add = _remote(commands, "score", "score a whole CSV file, however long", _score)
    add.add_argument("model", metavar="MODEL", help="the model's name")
    add.add_argument(
        "file", type=_existing, metavar="FILE", help="a CSV file, plain or packed (gzip, zstd, zip)"
    )
    which = add.add_mutually_exclusive_group()
    which.add_argument(
        "--version", type=int, metavar="N", help="the version that scores (default: the live one)"
    )
    which.add_argument("--alias", metavar="NAME", help="the alias that names the version")
    add.add_argument("--format", choices=["csv", "parquet"], help="of the result (default: csv)")
    add.add_argument(
        "--keep", nargs="*", metavar="COLUMN", help="columns of the file to keep (default: all of them)"
    )
    add.add_argument("--strict", action="store_true", help="reject what would otherwise be a warning")
    add.add_argument("--output", type=Path, metavar="PATH", help="wait, and write the result there")
    add.add_argument("--wait", action="store_true", help="follow the run until it has ended")

    add = commands.add_parser("cost", help="estimate what ingesting and training on a file will cost")
    add.add_argument("file", type=_existing, metavar="FILE", help="a CSV file, plain or compressed")
    add.add_argument("--spec", type=_existing, metavar="FILE", help="the spec.json that goes with it")
    add.add_argument(
        "--shards", type=int, default=1, metavar="N", help="shards of the stack's stream (default: 1)"
    )
    add.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    add.set_defaults(command=_cost)

    add = _remote(commands, "runs", "list runs, or show one", _runs)
    add.add_argument("id", nargs="?", metavar="ID", help="a run")
    add.add_argument("--wait", action="store_true", help="with a run: follow it until it has ended")
    add = _remote(commands, "rejects", "show the records that a run rejected, and why", _rejects)
    add.add_argument("id", metavar="RUN", help="a run")
    add.add_argument(
        "--output", type=Path, metavar="FILE", help="write them there as CSV, to correct and upload again"
    )
    add = _remote(commands, "models", "list models, or show one", _models)
    add.add_argument("model", nargs="?", metavar="MODEL", help="the model's name")
    add = _remote(commands, "compare", "say what differs between two versions of a model", _compare)
    add.add_argument("model", metavar="MODEL", help="the model's name")
    add.add_argument("version", type=int, nargs="?", metavar="VERSION", help="one (default: the newest)")
    add.add_argument("other", type=int, nargs="?", metavar="OTHER", help="another (default: the live one)")
    add = _remote(commands, "promote", "let a version of a model answer", _promote)
    add.add_argument("model", metavar="MODEL", help="the model's name")
    add.add_argument("version", type=int, metavar="VERSION", help="the version's number")
    _moves(add)
    add = _remote(commands, "rollback", "let the version before the live one answer again", _rollback)
    add.add_argument("model", metavar="MODEL", help="the model's name")
    _moves(add)
    add = _remote(commands, "delete", "delete a version of a model that no alias names", _delete)
    add.add_argument("model", metavar="MODEL", help="the model's name")
    add.add_argument("version", type=int, metavar="VERSION", help="the version's number")
    add.add_argument("--reason", metavar="TEXT", help="why; kept with the version's record")

    add = _on_bucket(
        commands, "export", "write a version as an ONNX model, checked against its plan", _export
    )
    add.add_argument("model", metavar="MODEL", help="the model's name")
    add.add_argument("--version", type=int, metavar="N", help="the version (default: the live one)")
    add.add_argument(
        "--output", type=Path, metavar="FILE", required=True, help="where to write the ONNX model"
    )
    add.add_argument(
        "--rows", type=_existing, metavar="FILE", help="a CSV file to compare on (default: held-out rows)"
    )
    add = _on_bucket(commands, "register", "register an ONNX model as a version of a model", _register)
    add.add_argument("model", metavar="MODEL", help="the model's name")
    add.add_argument("file", type=_existing, metavar="FILE", help="the ONNX model")
    add.add_argument(
        "--signature", type=_existing, metavar="FILE", required=True, help="JSON: its fields, task and output"
    )
    add.add_argument("--promote", action="store_true", help="let it answer at once")

    add = commands.add_parser("invoke", help="run one handler with one event in a sandbox, without Docker")
    add.add_argument("function", metavar="FUNCTION", help="its name in template.yaml, as IngestFunction")
    add.add_argument("event", type=_existing, metavar="EVENT", help="a JSON file, as those in events/")
    add.set_defaults(command=_invoke)
    return parser


def _remote(commands: Any, name: str, help_text: str, command: Any) -> argparse.ArgumentParser:
    """Add a command that talks to a deployment."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=help_text)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--endpoint", type=_address, metavar="URL", help="the address of a deployment's HTTP interface"
    )
    where.add_argument(
        "--stack", metavar="NAME", help="a deployed stack; requests are signed for its gateway"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.set_defaults(command=command)
    return parser


def _moves(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--alias", default="live", metavar="NAME", help="the alias to move (default: live)")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why; kept in the alias's history")


def _on_bucket(commands: Any, name: str, help_text: str, command: Any) -> argparse.ArgumentParser:
    """Add a command that works on a deployment's artifact bucket."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=help_text)
    parser.add_argument(
        "--stack", metavar="NAME", help="a deployed stack; its bucket is reached as any of yours"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.set_defaults(command=command)
    return parser


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not match, a port that is no number
        usable = False
    if not usable:
        raise argparse.ArgumentTypeError(f"{text} is no address such as http://127.0.0.1:4566")
    return text


def _existing(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return path


def _connect(arguments: argparse.Namespace) -> Any:
    from millrace.cli.target import connect

    return connect(arguments.endpoint, arguments.stack)


def _train(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.train import train

    return train(
        _connect(arguments),
        console,
        arguments.file,
        dataset=arguments.dataset,
        target=arguments.target,
        spec=arguments.spec,
        force=arguments.force,
        wait=arguments.wait,
    )


def _retrain(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.train import retrain

    return retrain(_connect(arguments), console, arguments.dataset, wait=arguments.wait)


def _predict(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.predict import predict

    return predict(_connect(arguments), console, arguments.model, arguments.csv, arguments.output)


def _score(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.score import score

    asked = {name: getattr(arguments, name) for name in ("version", "alias", "format", "keep")}
    options = {name: value for name, value in asked.items() if value is not None}
    return score(
        _connect(arguments),
        console,
        arguments.model,
        arguments.file,
        options | ({"strict": True} if arguments.strict else {}),
        output=arguments.output,
        wait=arguments.wait,
    )


def _rejects(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.rejects import rejects

    return rejects(_connect(arguments), console, arguments.id, output=arguments.output)


def _cost(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.cost import cost

    return cost(console, arguments.file, arguments.spec, arguments.shards)


def _runs(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.http import quote
    from millrace.cli.train import answer, describe

    api = _connect(arguments)
    if arguments.id is not None:
        found = api.get(f"/runs/{quote(arguments.id)}")
        if arguments.wait:
            return answer(api, console, found, wait=True)
        console.answer(found, describe(found))
        return EXIT_OK
    page = api.get("/runs")
    rows = [
        [
            run["run"],
            run.get("kind", "train"),
            run.get("source", "upload"),
            run["state"].lower(),
            run["created_at"],
            _version(run),
            number(run.get("rows_scored") if run.get("kind") == "score" else run.get("rows_kept")),
        ]
        for run in page["runs"]
    ]
    console.answer(page, table(["run", "kind", "source", "state", "created", "version", "rows"], rows))
    return EXIT_OK


def _version(run: dict[str, Any]) -> str:
    return "-" if run.get("version") is None else str(run["version"])


def _models(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.http import quote

    api = _connect(arguments)
    if arguments.model is None:
        page = api.get("/models")
        rows = [[model["model"], str(model.get("live") or "-")] for model in page["models"]]
        console.answer(page, table(["model", "live version"], rows))
        return EXIT_OK
    model = api.get(f"/models/{quote(arguments.model)}")
    rows = [
        [
            str(version["version"]),
            "live" if version["version"] == model.get("live") else "",
            version["created_at"],
            ", ".join(f"{name} {number(value)}" for name, value in version["metrics"].items()),
        ]
        for version in model["versions"]
    ]
    shown = table(["version", "", "created", "on held-out rows"], rows)
    moves = [
        [move["at"], move.get("alias", "live"), move["action"], str(move["version"]), move["by"], move["why"]]
        for move in model["history"]
    ]
    shown += "\n\n" + table(["at", "alias", "what", "version", "by", "why"], moves) if moves else ""
    console.answer(model, shown)
    return EXIT_OK


def _compare(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.http import quote

    api = _connect(arguments)
    path = f"/models/{quote(arguments.model)}/compare"
    found = api.get(path, version=arguments.version, other=arguments.other)
    new, old = (str(found[which]) for which in ("version", "other"))
    metrics = [
        [name, number(pair["other"]), number(pair["version"]), str(pair["better"] or "equal")]
        for name, pair in found["metrics"].items()
    ]
    facts = [[fact["what"], _fact(fact["other"]), _fact(fact["version"])] for fact in found["differences"]]
    parts = [table(["on held-out rows", old, new, "better"], metrics)]
    parts += ["\n".join(change["says"] for change in found["changes"])] if found["changes"] else []
    parts += [table(["", old, new], facts)] if facts else []
    console.answer(found, "\n\n".join(parts))
    return EXIT_OK


def _fact(value: Any) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _promote(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.http import quote

    asked = {"version": arguments.version, "alias": arguments.alias, "reason": arguments.reason}
    moved = _connect(arguments).post(f"/models/{quote(arguments.model)}/promote", asked)
    console.answer(moved, f"{arguments.model}: version {arguments.version} is {arguments.alias}")
    return EXIT_OK


def _rollback(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.http import quote

    asked = {"alias": arguments.alias, "reason": arguments.reason}
    moved = _connect(arguments).post(f"/models/{quote(arguments.model)}/rollback", asked)
    console.answer(moved, f"{arguments.model}: version {moved['version']} is {arguments.alias} again")
    return EXIT_OK


def _delete(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.http import quote

    path = f"/models/{quote(arguments.model)}/versions/{arguments.version}"
    note = _connect(arguments).delete(path, reason=arguments.reason)
    console.answer(note, f"{arguments.model}: version {arguments.version} is deleted")
    return EXIT_OK


def _export(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.target import artifacts

    store = artifacts(arguments.stack)
    return _onnx().export(  # type: ignore[no-any-return]
        store, console, arguments.model, arguments.version, arguments.output, arguments.rows
    )


def _register(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.target import artifacts

    store = artifacts(arguments.stack)
    return _onnx().register(  # type: ignore[no-any-return]
        store, console, arguments.model, arguments.file, arguments.signature, promote=arguments.promote
    )


def _onnx() -> Any:
    try:
        import millrace.cli.onnx as room
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"The package {error.name} is not installed",
            code="onnx-missing",
            remedy='Install the extra: pip install "millrace[onnx]".',
        ) from None
    return room


def _up(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.local import platform

    running = platform.up()
    console.say(f"The embedded AWS answers at {running.endpoint}; deploying the stack ...")
    outputs = running.deploy()
    console.say(f"HTTP interface  {running.api_url()}")
    console.say(f"Uploads         s3://{outputs['DataBucket']}/datasets/<dataset>/")
    console.say(f"Files to score  s3://{outputs['DataBucket']}/score/<model>/")
    return EXIT_OK


def _down(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.local import platform

    console.say("stopped" if platform.down() else "nothing was running")
    return EXIT_OK


def _demo(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.cli.demo import demo

    return demo(console)


def _invoke(arguments: argparse.Namespace, console: Console) -> int:
    from millrace.local.invoke import main

    return main([arguments.function, str(arguments.event)])
