"""Searches of one problem, written plainly, to compare the lockstep engine with."""

from __future__ import annotations

import heapq

import numpy as np

from stepward.core.interfaces import Status
from stepward.testing import Tables


def best_first(tables: Tables, expansions: int, num_solutions: int, deduplicate: bool) -> tuple[list, int]:
    """Solutions as (node, expansions when found) in order, and expansions spent; a path's value is its last score."""
    queue, serial, seen = [], 0, {0}
    solutions: list[tuple[int, int]] = []
    if tables.status[0] == Status.COMPLETE:
        solutions.append((0, 0))
    elif tables.status[0] == Status.OPEN:
        heapq.heappush(queue, (0.0, serial, 0))
    spent = 0
    while queue and spent < expansions and len(solutions) < num_solutions:
        _, _, node = heapq.heappop(queue)
        spent += 1
        for child in tables.children[node]:
            if deduplicate:
                if child in seen:
                    continue
                seen.add(child)
            serial += 1
            if tables.status[child] == Status.COMPLETE:
                solutions.append((int(child), spent))
            elif tables.status[child] == Status.OPEN:
                heapq.heappush(queue, (-tables.score[child], serial, int(child)))
    return solutions, spent


def beam(tables: Tables, width: int, depth: int) -> list[int]:
    """Complete nodes that a beam by last score meets, in order, without deduplication or an early end."""
    level = [0] if tables.status[0] == Status.OPEN else []
    found = [0] if tables.status[0] == Status.COMPLETE else []
    for _ in range(depth):
        children = [int(child) for node in level for child in tables.children[node]]
        found += [child for child in children if tables.status[child] == Status.COMPLETE]
        alive = [child for child in children if tables.status[child] == Status.OPEN]
        level = sorted(alive, key=lambda child: -tables.score[child])[:width]  # sorted() keeps the order of equals
    return found


def dvts(tables: Tables, depth: int) -> int | None:
    """Where one greedy tree ends: its solution, or None."""
    node = 0
    for _ in range(depth):
        if tables.status[node] != Status.OPEN:
            break
        node = max((int(child) for child in tables.children[node]), key=lambda child: tables.score[child])
    return node if tables.status[node] == Status.COMPLETE else None


def all_paths(tables: Tables, depth: int) -> list[list[int]]:
    """Every path from the root to a complete node."""
    done, growing = [], [[0]]
    for _ in range(depth + 1):
        done += [path for path in growing if tables.status[path[-1]] == Status.COMPLETE]
        growing = [
            [*path, int(child)]
            for path in growing
            if tables.status[path[-1]] == Status.OPEN
            for child in tables.children[path[-1]]
        ]
    return done


def random_tables(rng: np.random.Generator, branching: int, depth: int, ties: bool) -> Tables:
    """A full tree whose nodes are randomly open, complete or dead, with scores that often tie."""
    levels = [branching**d for d in range(depth + 1)]
    num = sum(levels)
    children = np.zeros((num, branching), np.int64)
    first_leaf = num - levels[-1]
    children[:first_leaf] = np.arange(1, num).reshape(first_leaf, branching)
    score = rng.integers(0, 4, num) / 4.0 if ties else rng.random(num)
    status = rng.choice([Status.OPEN, Status.COMPLETE, Status.DEAD], size=num, p=[0.7, 0.2, 0.1])
    status[first_leaf:] = rng.choice([Status.COMPLETE, Status.DEAD], size=num - first_leaf)
    return Tables(children, score, status.astype(np.int8))
