"""``trafficrl export``."""

from __future__ import annotations

from pathlib import Path

import click

from .evaluation_options import checkpoint_option

ONNX = ".onnx"


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    type=click.Choice(["torch", "onnx"]),
    help="Weights for this package, or a graph for any runtime (extra 'onnx')  "
    f"[default: onnx for FILEs that end in {ONNX}]",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    required=True,
    help="File to write",
)
@checkpoint_option
def export(run: Path, format_: str | None, output: Path, checkpoint: str) -> None:
    """Write the policy of RUN to a file that says what goes in and what comes out.

    It is compared with the original on random input before it is written.
    """
    from trafficrl.deployment.files import export_policy
    from trafficrl.deployment.policy import Policy
    from trafficrl.evaluation.files import output_file
    from trafficrl.training.run_directory import RunDirectory

    chosen = format_ or ("onnx" if output.suffix.lower() == ONNX else "torch")
    policy = Policy.of_run(RunDirectory.open(run), checkpoint)
    with output_file(output, binary=True) as stream:
        check = export_policy(policy, stream, chosen)
    card = policy.card
    who = "one policy that all share" if card.policies == 1 else f"{card.policies} policies"
    click.echo(f"{output}: {who}, {card.algorithm} on {card.scenario}, {chosen}")
    for item in card.observation:
        click.echo(f"  in   {item.feature}, {item.unit}")
    click.echo(f"  out  {card.action_unit}: {card.action_meaning}")
    click.echo(
        f"largest difference from the run over {check.vehicles:,} random vehicles: "
        f"{check.difference:.2g} {card.action_unit}"
    )
