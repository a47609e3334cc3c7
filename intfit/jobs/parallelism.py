"""How many files are worked on at once, and where."""

from collections.abc import Callable, Generator, Iterator
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
from .together import has_cuda

#: Does tasks as one computation of a GPU; yields the position and the outcome of each.
Together = Callable[[Iterator[tuple[int, Task]], Listener], Generator[tuple[int, Product | Failed]]]


@dataclass(frozen=True)
class Parallelism:
    """How many files are worked on at once, and where.

    ``jobs`` files at once, None for one a core; on the ``cluster`` at an address, or None for this
    machine. Each is decoded on so many CPU ``threads``; None leaves it to torch. (How many a fit
    has follows from its sizes alone, unless they are given.)
    """

    jobs: int | None
    cluster: str | None
    threads: int | None

    @classmethod
    def parse(cls, jobs: str | None, cluster: str | None, threads: int | None) -> "Parallelism":
        """Read ``--jobs``, ``--cluster`` and ``--threads``.

        A file that is worked on beside others has one thread unless ``threads`` says more.

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
        """Whether several files may be worked on at once."""
        return self.cluster is not None or self.jobs != 1

    def run_tasks(
        self,
        work: Work,
        tasks: Iterator[tuple[int, Task]],
        listener: Listener,
        *,
        total: int,
        device: str,
        together: Together | None = None,
    ) -> Generator[tuple[int, Product | Failed]]:
        """Do ``work`` for ``total`` tasks; yields the position and the outcome of each as it ends.

        Where the number of files is left to intfit and the device is CUDA, ``together`` does it, if
        there is such a way: processes would only take turns on the GPU.

        Raises:
            UsageError: if there is to be a cluster, and Ray is not installed.
            IntfitError: if the cluster cannot be joined.
        """
        if not self.several:
            return run_here(work, tasks, listener)
        alone = self.jobs is None and self.cluster is None and total > 1
        if together is not None and alone and has_cuda(device):
            return together(tasks, listener)
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
