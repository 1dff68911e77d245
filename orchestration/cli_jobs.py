"""The commands that talk to a Ray cluster's job server: submit, and jobs list | status | logs | stop."""

import click

from orchestration.cli_options import address_option, debug_option, example, json_option, root_option

ADDRESS = "http://127.0.0.1:8265"


@click.command(
    epilog=example(
        "openwit submit demo --address http://127.0.0.1:8265",
        "openwit submit demo --address http://head:8265 --root /shared/runs --set train.workers=8",
    )
)
@click.argument("recipe")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change one value of the recipe.")
@click.option("--insecure-cluster", is_flag=True, help="Send it even to a cluster that asks nobody for a token.")
@address_option
@root_option
@json_option
@debug_option
def submit(recipe: str, sets: tuple[str, ...], insecure_cluster: bool, address: str, root: str, as_json: bool) -> None:
    """Send a recipe to a cluster as a Ray Job.

    The token is read as Ray reads it: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token.
    """
    from orchestration import job_server, show

    with show.stdout_kept_clean(as_json):
        job = job_server.submit(recipe, sets, address=address, root=root, insecure=insecure_cluster)
    if as_json:
        show.print_json(job)
    else:
        show.facts(show.plain(job))


@click.group(epilog=example(f"openwit jobs list --address {ADDRESS}", f"openwit jobs logs JOB -f --address {ADDRESS}"))
def jobs() -> None:
    """List, follow and stop the jobs of a cluster."""


@jobs.command("list", epilog=example(f"openwit jobs list --address {ADDRESS}"))
@address_option
@json_option
@debug_option
def list_jobs(address: str, as_json: bool) -> None:
    """Every job the cluster remembers, newest first."""
    from orchestration import job_server, show

    with show.stdout_kept_clean(as_json):
        found = show.plain(job_server.jobs_list(address))
    if as_json:
        show.print_json(found)
    else:
        headings = list(found[0]) if found else ["job", "status"]
        show.rows(headings, [[job[heading] for heading in headings] for job in found])


@jobs.command(epilog=example(f"openwit jobs status JOB --address {ADDRESS}"))
@click.argument("job")
@address_option
@json_option
@debug_option
def status(job: str, address: str, as_json: bool) -> None:
    """One job: its state, and why it is in it."""
    from orchestration import job_server, show

    with show.stdout_kept_clean(as_json):
        found = show.plain(job_server.jobs_status(address, job))
    if as_json:
        show.print_json(found)
    else:
        show.facts(found)


@jobs.command(epilog=example(f"openwit jobs logs JOB -f --address {ADDRESS}"))
@click.argument("job")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends; the exit code is then the job's.")
@address_option
@debug_option
def logs(job: str, follow: bool, address: str) -> int:
    """Print what a job has printed."""
    from orchestration import job_server

    return job_server.jobs_logs(address, job, follow=follow)


@jobs.command(epilog=example(f"openwit jobs stop JOB --address {ADDRESS}"))
@click.argument("job")
@address_option
@json_option
@debug_option
def stop(job: str, address: str, as_json: bool) -> None:
    """Stop a job; the same recipe submitted again goes on where it ended."""
    from orchestration import job_server, show

    with show.stdout_kept_clean(as_json):
        found = show.plain(job_server.jobs_stop(address, job))
    if as_json:
        show.print_json(found)
    else:
        show.facts(found)
