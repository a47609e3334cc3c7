"""How many files are worked on at once, and where."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from .pool import (
    Failed,
    Listener,
    Pool,
    Task,
    Workers,
    count_cores,
    dispatch,
    parse_jobs,
    run_here,
)
from .tasks import Product, Work


@dataclass(frozen=True)
class Parallelism:
    """``jobs`` files at once, None for as many as there is room for; on a ``cluster``, or here.

    Each has so many ``threads``; None leaves it to torch.
    """

    jobs: int | None
    cluster: str | None
    threads: int | None

    @classmethod
    def parse(cls, jobs: str | None, cluster: str | None, threads: int | None) -> "Parallelism":
        """Of ``--jobs``, ``--cluster`` and ``--threads``.

        Beside others a file has one thread unless it was given more: the bytes of a fit depend on
        the number of threads, and must not depend on how many files there happen to be.

        Raises:
            UsageError: if ``jobs`` is neither a number nor ``auto``.
        """
        if jobs is None and cluster is not None:
            jobs = "auto"
        count = parse_jobs(jobs)
        alone = cluster is None and count == 1
        return cls(count, cluster, threads if alone else threads or 1)

    @property
    def several(self) -> bool:
        return self.cluster is not None or self.jobs != 1

    def outcomes(
        self,
        work: Work,
        tasks: Iterator[tuple[int, Task]],
        listener: Listener,
        *,
        total: int,
        device: str,
    ) -> Generator[tuple[int, Product | Failed]]:
        """What became of each task, as they come in."""
        if not self.several:
            return run_here(work, tasks, listener)
        workers: Workers
        if self.cluster is not None:
            from .ray_cluster import Cluster

            on_gpu = device.startswith("cuda")
            threads = self.threads or 1
            workers = Cluster(work, self.cluster, most=self.jobs, threads=threads, on_gpu=on_gpu)
        else:
            workers = Pool(work, min(self.jobs or count_cores(), total))
        return dispatch(workers, tasks, listener)


#: One file after another, in this process.
ONE_AT_A_TIME = Parallelism(1, None, None)
