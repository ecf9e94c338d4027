"""One thread for the numbers of a worker: parallelism is by workers."""

import sys

from threadpoolctl import threadpool_limits


class OneThread:
    """Sums split over threads differ in their last bits; one thread of torch and of BLAS gives one answer."""

    def __enter__(self) -> None:
        self.blas = threadpool_limits(limits=1)
        self.torch = sys.modules.get("torch")
        if self.torch:
            self.threads = self.torch.get_num_threads()
            self.torch.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        if self.torch:
            self.torch.set_num_threads(self.threads)
        self.blas.restore_original_limits()
