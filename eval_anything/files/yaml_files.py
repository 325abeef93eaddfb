"""YAML files read into types, with every mistake named by its line.

`read_yaml` returns a value of a msgspec type or raises `FileProblemsError`, which lists all mistakes it
could find in one reading: unknown and repeated keys, wrong types, missing keys. A JSON schema could
find them, too, but it does not know what a type's `__post_init__` refuses. Instead, msgspec converts the
document again after each mistake is removed, which needs no other package.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Collection, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
import yaml

from eval_anything.errors import near
from eval_anything.files.json_text import DEEPEST
from eval_anything.files.mistakes import FileProblemsError, Mistakes, Step, mistake
from eval_anything.files.reading import MAX_DOCUMENT, MAX_YAML, read_file

T = TypeVar("T", bound=msgspec.Struct)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Also reads 3e-4 as a number, as YAML 1.2 does."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


_AT = re.compile(r"^(?P<complaint>.*?)(?: - at `(?P<path>.+)`)?$", re.DOTALL)


_OF_KEY = re.compile(r"(unknown|missing required) field `(.+)`")


_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


_MOST_PROBLEMS = 20


_LARGEST = 200_000  # values of a file, with each alias counted as what it stands for


def read_yaml(path: Path, type_: type[T]) -> T:
    """The file as a value of `type_`. FileProblemsError names each mistake and its line."""
    return load_yaml(path, type_)[0]


AboutKey = Callable[[str, bool], str | None]
"""The message for a key that is missing (True) or unknown (False), None for the usual one."""


def load_yaml(
    path: Path,
    type_: type[T],
    about_key: AboutKey = lambda key, is_missing: None,
    edit: Callable[[yaml.Node], None] = lambda node: None,
) -> tuple[T, Mistakes]:
    """The file as `read_yaml` returns it, and an empty collector for mistakes beyond its type.

    `about_key` may have better words for keys at the top of the file; `edit` may change the document
    before it is read, such as old names of keys.
    """
    node, document, repeated = _parse(path, edit)
    mistakes = Mistakes(path, partial(_line, node))
    for key, line in repeated:
        mistakes.add_line(line, f"key {key!r} is given twice: keep one")
    if not isinstance(document, dict):
        raise mistake(path, "must hold keys and values, such as `version: 1`", 1)
    removed: set[tuple[Step, ...]] = set()
    while len(mistakes) < _MOST_PROBLEMS:
        try:
            parsed = msgspec.convert(document, type_)
        except msgspec.ValidationError as error:
            match = _AT.match(str(error))
            assert match is not None
            complaint = match["complaint"]
            steps = _steps(match["path"] or "$", document, type_)
            of_key = _OF_KEY.search(complaint)
            line_steps = [*steps, of_key[2]] if of_key and of_key[1] == "unknown" else steps
            placed = _placed(line_steps, removed)
            if not _is_aftermath(complaint, _placed(steps, removed), removed):
                message = about_key(of_key[2], of_key[1] != "unknown") if of_key and not steps else None
                message = message or _explain(complaint, _placed(steps, removed), type_)
                mistakes.add(message, *(placed or _tag(type_)))
            if not _drop(document, line_steps):
                break  # cannot go on past this one
            removed.add(tuple(placed))
        else:
            if not mistakes:
                return parsed, mistakes
            break
    raise FileProblemsError(mistakes)


def _parse(
    path: Path, edit: Callable[[yaml.Node], None]
) -> tuple[yaml.Node | None, Any, list[tuple[str, int]]]:
    """The file as a node and as a document, and its repeated keys with their lines."""
    try:
        content = read_file(path, MAX_YAML)
        _check_depth(path, content)
        loader = _Loader(content)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, None, []
            _check_size(path, content, node)
            edit(node)
            repeated = _repeated(node)  # before merges (`<<`) put keys of theirs beside the own ones
            return node, loader.construct_document(node), repeated
        finally:
            loader.dispose()
    except FileNotFoundError:
        raise mistake(path, "does not exist") from None
    except OSError as error:
        raise mistake(path, f"cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        text = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise mistake(path, f"not valid YAML: {text}", mark.line + 1 if mark else 0) from None
    except (ValueError, TypeError) as error:  # an impossible date, an unhashable key
        raise mistake(path, f"not valid YAML: {error}") from None


def check_bounds(path: Path) -> None:
    """UserError for YAML of others that no program could read within bounds: nested too deeply, or with
    aliases that make too many values. Other mistakes are left to the program that reads it."""
    with contextlib.suppress(yaml.YAMLError, UnicodeDecodeError):
        content = read_file(path, MAX_DOCUMENT)
        _check_depth(path, content)
        node = yaml.compose(content, _Loader)
        if node is not None:
            _check_size(path, content, node)


def _check_depth(path: Path, content: bytes) -> None:
    """FileProblemsError for deep nesting, which would end the interpreter when it is composed."""
    if _highest_depth(content) <= DEEPEST:
        return
    depth = 0
    for event in yaml.parse(content, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                message = f"is nested more than {DEEPEST} levels deep: write it flatter"
                raise mistake(path, message, event.start_mark.line + 1 if event.start_mark else 0)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _highest_depth(content: bytes) -> float:
    """A depth that a document cannot exceed, told from its characters alone: reading it takes longer.

    A level in brackets has a bracket. Any other begins further to the right than the one around it, or,
    a list in a mapping, as far: behind blanks and marks of lists, keys and values.
    """
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or any(end in content for end in _OTHER_LINE_ENDS):
        return math.inf
    column = max(map(len, _INDENT.findall(content)))
    return 2 * (column + 1) + content.count(b"[") + content.count(b"{")


_INDENT = re.compile(rb"^[ \t?:-]*", re.MULTILINE)


_OTHER_LINE_ENDS = (b"\r", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9")  # CR, NEL, LS, PS


def _check_size(path: Path, content: bytes, node: yaml.Node) -> None:
    can_be_large = len(content) > _LARGEST or b"*" in content  # a value has a character, an alias a star
    if can_be_large and _expanded_size(node) > _LARGEST:
        raise mistake(path, f"aliases and merges make more than {_LARGEST:,} values of it")


def _expanded_size(root: yaml.Node) -> float:
    """The number of values in a document whose aliases are replaced by what they stand for; infinite for
    one that holds itself. It takes time linear in the document as it is written."""
    sizes: dict[int, float] = {}
    stack = [root]
    while stack:
        node = stack[-1]
        children = _children(node)
        if id(node) in sizes:
            stack.pop()
            if sizes[id(node)] == _OPEN:
                sizes[id(node)] = 1 + sum(sizes[id(child)] for child in children)
            continue
        sizes[id(node)] = _OPEN
        if any(sizes.get(id(child)) == _OPEN for child in children):
            return math.inf
        stack.extend(child for child in children if id(child) not in sizes)
    return sizes[id(root)]


_OPEN = -1.0  # the size of a node whose children are being counted


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _repeated(node: yaml.Node) -> list[tuple[str, int]]:
    repeated = []
    stack = [node]
    visited: set[int] = set()  # an alias leads to its anchor's node again
    while stack:
        current = stack.pop()
        if id(current) in visited:
            continue
        visited.add(id(current))
        if isinstance(current, yaml.MappingNode):
            keys: set[str] = set()
            for key, child in current.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in keys:
                        repeated.append((key.value, key.start_mark.line + 1))
                    keys.add(key.value)
                stack.append(child)
        elif isinstance(current, yaml.SequenceNode):
            stack.extend(current.value)
    return repeated


def _steps(path: str, document: Any, type_: Any) -> list[Step]:
    """Keys and indices of a path such as `$.contract.required[0]`. msgspec writes `[...]` for some value
    of a mapping: the first one that does not convert stands for it."""
    steps: list[Step] = []
    for key, index in _STEP.findall(path):
        step = key or index
        if index == "...":
            step = _first_mistaken(document, _type_at(type_, [*steps, ""]))
        if step is None:
            break
        steps.append(int(step) if index.isdecimal() else step)
        try:
            document = document[steps[-1]]
        except (KeyError, IndexError, TypeError):
            break
    return steps


def _first_mistaken(mapping: Any, type_: Any) -> str | None:
    if isinstance(mapping, dict):
        for key, member in mapping.items():
            try:
                msgspec.convert(member, type_)
            except msgspec.ValidationError:
                return str(key)
    return None


def _line(node: yaml.Node | None, steps: Sequence[Step]) -> int:
    """The line of the deepest step that the document has."""
    line = node.start_mark.line + 1 if node is not None else 0
    for step in steps:
        if isinstance(node, yaml.MappingNode):
            pairs = [(k, v) for k, v in node.value if k.value == str(step)]
            if not pairs:
                break
            key, node = pairs[-1]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _tag(type_: type[msgspec.Struct]) -> tuple[Step, ...]:
    """The key that selects one of several types for the file, if there is one: it decides which keys
    are required."""
    field = type_.__struct_config__.tag_field
    return () if field is None else (field,)


def _drop(document: Any, steps: list[Step]) -> bool:
    """Removes the mistaken entry, so that the next conversion finds the next mistake. False if it
    cannot."""
    try:
        for step in steps[:-1]:
            document = document[step]
        del document[steps[-1]]
    except (KeyError, IndexError, TypeError):  # no steps at all is an IndexError
        return False
    return True


def _placed(steps: Sequence[Step], removed: Collection[tuple[Step, ...]]) -> list[Step]:
    """The steps in the file, which lead past entries of lists that were removed from the document.

    Example:
        >>> _placed(["checklist", 1, "id"], {("checklist", 0), ("checklist", 2)})
        ['checklist', 3, 'id']
    """
    placed: list[Step] = []
    for step in steps:
        if isinstance(step, int):
            for gone in sorted(int(index) for *of, index in removed if of == placed):
                step += gone <= step
        placed.append(step)
    return placed


def _is_aftermath(complaint: str, steps: Sequence[Step], removed: Collection[tuple[Step, ...]]) -> bool:
    """Whether a complaint is only about what was removed: a key that is missing since then, or a list
    that has become too short."""
    of_key = _OF_KEY.search(complaint)
    if of_key:
        return (*steps, of_key[2]) in removed
    return " of length " in complaint and any(gone[:-1] == tuple(steps) for gone in removed)


def _explain(complaint: str, steps: list[Step], type_: type) -> str:
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    at = f" in `{where.removeprefix('.')}`" if steps else ""
    of_key = _OF_KEY.search(complaint)
    if of_key and of_key[1] == "unknown":
        struct = _type_at(type_, steps)
        keys = list(struct.__struct_encode_fields__) if _is_struct(struct) else []
        hint = near(of_key[2], keys) or (f" Known keys: {', '.join(keys)}." if keys else "")
        return f"unknown key {of_key[2]!r}{at}: remove it.{hint}"
    if of_key:
        return f"key {of_key[2]!r} is missing{at}: add it"
    enum = re.search(r"Invalid enum value '?(.*?)'?$", complaint)
    if enum:
        options = _options(_type_at(type_, steps))
        return f"{enum[1]!r}{at} is not one of {', '.join(options)}.{near(enum[1], options)}"
    length = re.fullmatch(r"Expected `array` of length (\d+), got (\d+)", complaint)
    if length:
        return f"must be a list of {length[1]} entries, not of {length[2]},{at}"
    no_list = re.fullmatch(r"Expected `array`, got (`.+`)", complaint)
    if no_list:
        return f"must be a list, such as [a, b], not {no_list[1]},{at}"
    return f"{complaint[:1].lower() + complaint[1:]}{at}"


def _options(type_: Any) -> list[str]:
    """The values of an enum or a Literal, also of one inside the type, such as a mapping's keys."""
    if isinstance(type_, type) and issubclass(type_, Enum):
        return [str(member) for member in type_]
    args = get_args(type_)
    return [name for arg in args for name in ([arg] if isinstance(arg, str) else _options(arg))]


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _type_at(type_: Any, steps: list[Step]) -> Any:
    """The type that the steps lead to."""
    for step in steps:
        if _is_struct(type_):
            type_ = get_type_hints(type_).get(str(step))
        else:
            type_ = next((a for a in reversed(get_args(type_)) if a is not type(None)), None)
        options = [a for a in get_args(type_) if _is_struct(a)]
        if options and type(None) in get_args(type_):
            type_ = options[0]
    return type_
