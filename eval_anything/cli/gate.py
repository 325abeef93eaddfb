"""`eval-anything gate`: run, plan and init."""

from __future__ import annotations

import sys
from argparse import Namespace

from eval_anything.cli.printing import print_json, show
from eval_anything.cli.schema import schema_of
from eval_anything.errors import Exit, GateExit, UserError
from eval_anything.files.writing import write_atomically
from eval_anything.gating.gate import gate
from eval_anything.gating.plan import GatePlan, plan_gate
from eval_anything.gating.policy import POLICY
from eval_anything.gating.report import text, write_gate
from eval_anything.gating.sequence import SEQUENCE
from eval_anything.output.stdout import print_lines
from eval_anything.output.tables import table


def run_gate(options: Namespace) -> int:
    """Prints the verdict on a candidate and writes the reports; the exit code is the gate's own."""
    try:
        out = options.out if options.out is not None else options.candidate
        sequence = out / SEQUENCE if options.sequential else None
        outcome = gate(options.candidate, options.policy, options.baseline, sequence)
        written = write_gate(outcome, out) if out.is_dir() or options.out is not None else []
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"eval-anything: error: {where}{error.strerror or error}", file=sys.stderr)
        return GateExit.INFRASTRUCTURE
    files = [f"\nwritten: {', '.join(map(str, written))}"] if written else []
    show(options, outcome, text(outcome), *files)
    return outcome.exit_code


def plan(options: Namespace) -> Exit:
    """Prints the loss that the policy's tasks can detect, before money or time is spent."""
    gate_plan = plan_gate(options.policy, options.baseline, options.pilot, options.correlation)
    header = ["metric", "n", "spread of a change", "sees", "margin", "n for the margin"]
    rows = [
        [t.name, str(t.n), f"{t.spread:.3f}", _seen(t.mde), f"{t.margin:.1%}", _count(t.needed)]
        for t in (*gate_plan.tasks, gate_plan.suite)
    ]
    legend = "sees: the loss that is found with 80 % power, in shares of the range; none: no loss is."
    lines = [table(header, rows, right=range(1, 6)), f"\n{gate_plan.basis}", legend]
    return show(options, gate_plan, *lines, *_proofs(gate_plan))


def _proofs(gate_plan: GatePlan) -> list[str]:
    """Lines about what the policy wants proven; none where that is the suite alone."""
    if gate_plan.all_proven is None:
        return []
    header = ["must be proven", "n", "provable", "margin", "n for the margin", "proven in"]
    rows = [
        [p.name, str(p.n), _seen(p.provable), f"{p.margin:.1%}", _count(p.needed), f"{p.power:.0%}"]
        for p in gate_plan.proofs
    ]
    lines = [
        "\n" + table(header, rows, right=range(1, 6)),
        "\nprovable: the loss that an unchanged candidate is shown not to have, in 80 % of cases; "
        "proven in: how often it is shown not to have the margin.",
        f"An unchanged candidate proves all of it in about {gate_plan.all_proven:.0%} of cases.",
    ]
    unlikely = [p for p in gate_plan.proofs if p.power < 0.5]
    for p in unlikely:
        remedy = "no number of samples is enough" if p.needed is None else f"it takes {p.needed}"
        lines.append(
            f"{p.name}: {p.n} samples will hardly prove a margin of {p.margin:.1%}; {remedy}. Widen the "
            "margin, or do not ask for this proof."
        )
    return lines


def init(options: Namespace) -> Exit:
    """Writes a commented policy to start from, or prints the JSON schema of policies."""
    if options.schema:
        print_json(schema_of("policy"))
        return Exit.DONE
    if options.path.exists():
        raise UserError(f"{options.path} exists: choose another name, or delete it")
    write_atomically(options.path, POLICY.encode())
    print_lines(f"written: {options.path}")
    return Exit.DONE


def _seen(mde: float) -> str:
    return "none" if mde > 1 else f"{mde:.2%}"


def _count(needed: int | None) -> str:
    return "" if needed is None else str(needed)
