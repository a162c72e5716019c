"""Floating-point operations of the matrix products of a compiled program."""

import math
import re

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*?\) -> .*? \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_SHAPE = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = \w+\[([\d,]*)\]", re.MULTILINE)
_DOT = re.compile(r"= \w+\[([\d,]*)\]\S* dot\(%?([\w.\-]+), .*lhs_contracting_dims=\{([\d,]*)\}")


def matrix_flops(program: str) -> int:
    """Two for each multiplication of every `dot` in the text of an optimised XLA program, loops as often as they run.

    XLA's own account (`cost_analysis`) counts the body of a loop once, and so one of several layers that are scanned.

    Raises `ValueError` for a loop with products of which the number of turns is not in the program.
    """
    bodies, entry = {}, None
    for first, name, body in _COMPUTATION.findall(program):
        bodies[name] = body
        entry = name if first else entry
    known: dict[str, int] = {}

    def integers(text: str) -> list[int]:
        return [int(n) for n in text.split(",") if n]

    def count(name: str) -> int:
        if name in known:
            return known[name]
        shapes = {variable: integers(shape) for variable, shape in _SHAPE.findall(bodies[name])}
        total = 0
        for line in bodies[name].splitlines():
            if dot := _DOT.search(line):
                contracted = [shapes[dot[2]][axis] for axis in integers(dot[3])]
                total += 2 * math.prod(integers(dot[1])) * math.prod(contracted)
            turns = re.search(r'known_trip_count":\{"n":"(\d+)"', line)
            for called in re.findall(r"(?:calls|body)=%?([\w.\-]+)", line):
                inside = count(called)
                if inside and " while(" in line and not turns:
                    raise ValueError(f"how often does this loop run? {line.strip()[:200]}")
                total += inside * (int(turns[1]) if turns else 1)
        known[name] = total
        return total

    if entry is None:
        raise ValueError("not the text of an XLA program: it has no entry computation")
    return count(entry)
