"""The committed picture of every resource graph: one text per stack, each line with the combinations it holds in.

A file for each combination would say the same thing a hundred times, and a change would touch them all. Here a line
appears once; behind it stand the choices in which it is there, in brackets, unless it always is. The graph of any one
combination is the lines whose brackets fit it: `lines_of` reads it back, and a test compares it with the real one.
"""

import argparse
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import validate_graph as graph
import validate_provisioning as provisioning
from validate_combinations import DIMENSIONS

Names = tuple[str, ...]
"""The choice in each dimension."""
Places = frozenset[Names]
"""The combinations in which something is so."""

ALTERNATIVE = " or "


def pictures() -> dict[str, str]:
    """The text of every file, by its name."""
    every = provisioning.combinations()
    graphs = {combination.name: _lines(provisioning.stacks_of(combination)) for combination in every}
    matrix = {names: lines for names, lines in graphs.items() if len(names) > 1}
    texts = {f"{stack}.txt": _picture(stack, matrix) for stack in (graph.ROOT, *provisioning.STACKS[:-1])}
    extras = {names[0]: lines for names, lines in graphs.items() if len(names) == 1}
    return texts | {"extras.txt": _extras(extras, set(matrix["standard", "iam", "endpoints", "on-demand"]))}


def lines_of(texts: Mapping[str, str], names: Names) -> set[str]:
    """The graph of one combination of the dimensions, read back from the pictures."""
    found = set()
    for file, text in texts.items():
        for line in text.splitlines():
            statement, _, brackets = line.partition("  [")
            if file != "extras.txt" and _fits(brackets.rstrip("]"), names):
                found.add(f"{file.removesuffix('.txt')} {statement}")
    return found


def _lines(stacks: graph.Stacks) -> list[str]:
    lines = []
    for stack, template in stacks.items():
        for name, resource in template["Resources"].items():
            lines.append(f"{stack} {name} {resource['Type']}")
            lines += [f"{stack} {name} -> {edge}" for edge in sorted(graph.edges(resource))]
    return lines


def _picture(stack: str, graphs: Mapping[Names, Sequence[str]]) -> str:
    everywhere = frozenset(graphs)
    places: dict[str, set[Names]] = {}
    for names, lines in graphs.items():
        for line in lines:
            places.setdefault(line, set()).add(names)
    chosen = sorted(line for line in places if line.startswith(f"{stack} "))
    brackets = {line: _brackets(frozenset(places[line]), everywhere) for line in chosen}
    return "".join(f"{line.removeprefix(f'{stack} ')}{brackets[line]}\n" for line in chosen)


def _brackets(places: Places, everywhere: Places) -> str:
    clauses = describe(places, everywhere)
    return "" if clauses == [""] else f"  [{ALTERNATIVE.join(clauses)}]"


def describe(places: Places, everywhere: Places) -> list[str]:
    """Clauses such as `login=scram pollers=on-demand`, of which any one being true puts a combination among the places.

    A clause is enough where the places are all combinations of some choices; else they are taken apart by the first
    dimension whose choices differ.
    """
    choices = [{names[index] for names in places} for index in range(len(DIMENSIONS))]
    if all(names in places for names in everywhere if _within(names, choices)):
        every = [{names[index] for names in everywhere} for index in range(len(choices))]
        parts = zip(DIMENSIONS, choices, every, strict=True)
        return [" ".join(_clause(dimension, chosen) for dimension, chosen, all_ in parts if chosen != all_)]
    index = next(index for index, chosen in enumerate(choices) if len(chosen) > 1)
    taken_apart = (frozenset(n for n in places if n[index] == choice) for choice in _in_order(index, choices[index]))
    return list(itertools.chain.from_iterable(describe(part, everywhere) for part in taken_apart))


def _clause(dimension: str, chosen: set[str]) -> str:
    order = list(DIMENSIONS[dimension])
    return f"{dimension}={'|'.join(sorted(chosen, key=order.index))}"


def _in_order(index: int, chosen: Iterable[str]) -> list[str]:
    order = list(list(DIMENSIONS.values())[index])
    return sorted(chosen, key=order.index)


def _within(names: Names, choices: Sequence[set[str]]) -> bool:
    return all(name in chosen for name, chosen in zip(names, choices, strict=True))


def _fits(brackets: str, names: Names) -> bool:
    chosen = dict(zip(DIMENSIONS, names, strict=True))
    clauses = [dict(part.split("=") for part in clause.split()) for clause in brackets.split(ALTERNATIVE)]
    return any(all(chosen[key] in values.split("|") for key, values in clause.items()) for clause in clauses)


def _extras(extras: Mapping[str, Sequence[str]], usual: set[str]) -> str:
    parts = []
    for name, lines in extras.items():
        more, less = sorted(set(lines) - usual), sorted(usual - set(lines))
        parts.append("".join([f"{name}\n", *(f"  + {line}\n" for line in more), *(f"  - {line}\n" for line in less)]))
    return "Against standard, iam, endpoints, on-demand:\n\n" + "\n".join(parts)


def main() -> None:
    """Rewrite the pictures."""
    parser = argparse.ArgumentParser(description="Rewrite the pictures of the platform's resource graphs.")
    parser.add_argument("folder", type=Path, help="where they are: tests/template/snapshots")
    folder = parser.parse_args().folder
    for name, text in pictures().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
