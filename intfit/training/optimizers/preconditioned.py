"""Optimizers that see a layer's weight as a matrix: SOAP and Muon.

Both are :class:`.Adam` for the other parameters, and have its interface. They are for networks
whose hidden weights are square and of one shape, as a SIREN's: all layers of all networks are
worked on in one batched product, so that a step costs little more than Adam's.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...devices import HostValues
from ...networks.siren import Siren
from ...plan import Plan
from ...settings import OptimizerName
from .adam import BETA1, EPSILON, Adam
from .orthogonal import eigenvectors, orthogonalise

#: The memory of the covariances of SOAP's gradients; the steps between two refreshes of its bases.
COVARIANCE_BETA, REFRESH_STEPS = 0.95, 20


class _Preconditioned(Adam):
    """Adam, and the hidden weights ``[L, n, w, w]`` of ``n`` networks as views of its tensors."""

    def __init__(self, networks: Sequence[Siren], plan: Plan) -> None:
        groups = [network.groups(1.0) for network in networks]
        super().__init__(groups, plan.lr, beta2=plan.beta2, decay=plan.decay)
        config = networks[0].config
        self._shape = config.depth - 1, len(networks), config.width, config.width
        _, (_, gradient) = self._groups
        self._gradient, self._mean, self._move = (
            self._view(flat) for flat in (gradient, self._means[1], self._spare[1])
        )
        self._products = torch.empty(2, *self._shape, device=gradient.device).flatten(1, 2)

    def _view(self, flat: Tensor) -> Tensor:
        """The hidden weights' part of all of a group: each is followed by its layer's biases."""
        width = self._shape[-1]
        return flat.as_strided(self._shape, (width * (width + 1), flat.stride(0), width, 1))


class Soap(_Preconditioned):
    """SOAP (Vyas et al., ICLR 2025): Adam in the eigenbasis of Shampoo's preconditioner.

    The gradient ``G`` of a hidden weight is turned into the eigenvectors of the running means of
    ``G G^T`` and ``G^T G``, Adam's moments are taken there, and its move is turned back; that of
    the last layer's weight ``[c, w]`` on the side of its inputs only. The eigenvectors follow the
    means by a step of orthogonal iteration now and then, between two steps, so that all steps are
    alike and can be recorded.
    """

    def __init__(self, networks: Sequence[Siren], plan: Plan) -> None:
        super().__init__(networks, plan)
        layers, count, width, _ = self._shape
        outputs = len(networks[0].layers[-1].get_parameter("bias"))
        _, (_, gradient) = self._groups
        first = layers * width * (width + 1)
        last = slice(first, first + outputs * width)
        self._last_gradient, self._last_mean, self._last_move = (
            flat[:, last].unflatten(1, (outputs, width))
            for flat in (gradient, self._means[1], self._spare[1])
        )
        self._last_product = torch.empty(count, outputs, width, device=gradient.device)
        # of the hidden layers' outputs, of their inputs, and of the last layer's inputs
        self._covariances = torch.zeros(2 * layers + 1, count, width, width, device=gradient.device)
        self._bases = torch.empty_like(self._covariances)
        self._steps_of_bases = [0] * count
        # networks whose bases are to be refreshed: for the first time, and again
        self._to_begin: list[int] = []
        self._to_refresh: list[int] = []
        for network in range(count):
            self._start_bases(network)

    def restart(self, lr: float, *, network: int = 0) -> None:
        super().restart(lr, network=network)
        self._covariances[:, network].zero_()
        self._start_bases(network)

    def _start_bases(self, network: int) -> None:
        """Begin as Adam, with the parameters' own axes as bases."""
        self._steps_of_bases[network] = 0
        self._bases[:, network].zero_().diagonal(dim1=-2, dim2=-1).fill_(1)

    def advance(self, lr_share: float, *, decay_share: float = 1.0, network: int = 0) -> None:
        if (steps := self._steps_of_bases[network]) and steps % REFRESH_STEPS == 0:
            (self._to_begin if steps == REFRESH_STEPS else self._to_refresh).append(network)
        self._steps_of_bases[network] += 1
        super().advance(lr_share, decay_share=decay_share, network=network)

    def prepare(self) -> None:
        """As Adam's; refreshes bases when it is time."""
        super().prepare()
        for networks, find_bases in (
            (self._to_begin, eigenvectors),
            (self._to_refresh, orthogonalise),
        ):
            if networks:
                self._refresh(networks, find_bases)
                networks.clear()

    @torch.no_grad()
    def _refresh(self, networks: list[int], find_bases: Callable[[Tensor], Tensor]) -> None:
        """Let some networks' bases follow the covariances; turn the mean gradients into them."""
        every = len(networks) == self._shape[1]
        rows = slice(None) if every else torch.tensor(networks, device=self._bases.device)
        before = self._bases[:, rows]
        matrices = self._covariances[:, rows] @ before
        bases = find_bases(matrices.flatten(0, 1)).view_as(matrices)
        left, right, last = self._by_side(bases.mT @ before)
        self._mean[:, rows] = left @ self._mean[:, rows] @ right.mT
        self._last_mean[rows] = self._last_mean[rows] @ last.mT
        self._bases[:, rows] = bases

    def _by_side(self, matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Those of outputs and inputs of hidden layers ``[L, n, w, w]``, the last ``[n, w, w]``."""
        layers = self._shape[0]
        return matrices[:layers], matrices[layers : 2 * layers], matrices[-1]

    def _prepare_gradients(self) -> None:
        # a view of those of one network, and a copy of those of several
        gradient, last_gradient = self._gradient.flatten(0, 1), self._last_gradient
        of_outputs, of_inputs, of_last = self._by_side(self._covariances)
        memory, new = COVARIANCE_BETA, 1 - COVARIANCE_BETA
        of_outputs.flatten(0, 1).baddbmm_(gradient, gradient.mT, beta=memory, alpha=new)
        of_inputs.flatten(0, 1).baddbmm_(gradient.mT, gradient, beta=memory, alpha=new)
        of_last.baddbmm_(last_gradient.mT, last_gradient, beta=memory, alpha=new)
        left, right, last = self._by_side(self._bases)
        half, whole = self._products
        torch.bmm(left.flatten(0, 1).mT, gradient, out=half)
        torch.bmm(half, right.flatten(0, 1), out=whole)
        self._gradient.copy_(whole.view(self._shape))
        last_gradient.copy_(torch.bmm(last_gradient, last, out=self._last_product))

    def _change_moves(self) -> None:
        left, right, last = self._by_side(self._bases)
        half, whole = self._products
        torch.bmm(left.flatten(0, 1), self._move.flatten(0, 1), out=half)
        torch.bmm(half, right.flatten(0, 1).mT, out=whole)
        self._move.copy_(whole.view(self._shape))
        self._last_move.copy_(torch.bmm(self._last_move, last.mT, out=self._last_product))


#: Coefficients of the five Newton-Schulz steps of the author's implementation.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


class Muon(_Preconditioned):
    """Muon (Jordan et al., 2024): the mean gradient of a hidden weight, made orthogonal.

    Its singular values are brought near 1 by Newton-Schulz steps. Moves are scaled to the size of
    Adam's, 0.2 of the rate in the root mean square (Liu et al., 2025).
    """

    def __init__(self, networks: Sequence[Siren], plan: Plan) -> None:
        super().__init__(networks, plan)
        self._polynomial = torch.empty_like(self._products)
        self._rates = HostValues(len(networks), 1, self._gradient.device)

    def advance(self, lr_share: float, *, decay_share: float = 1.0, network: int = 0) -> None:
        self._rates.set(network, 0.2 * self._shape[-1] ** 0.5 * lr_share * self.lrs[network])
        super().advance(lr_share, decay_share=decay_share, network=network)

    def prepare(self) -> None:
        super().prepare()
        self._rates.send()

    def _change_moves(self) -> None:
        (x, other), (square, sums) = self._products, self._polynomial
        # Nesterov: the mean as it will be if the next gradient is like this one
        torch.lerp(self._mean, self._gradient, 1 - BETA1, out=x.view(self._shape))
        norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        x.div_(norm.add_(EPSILON))
        first, third, fifth = NEWTON_SCHULZ
        for _ in range(NEWTON_SCHULZ_STEPS):
            torch.bmm(x, x.mT, out=square)
            torch.baddbmm(square, square, square, beta=third, alpha=fifth, out=sums)
            torch.baddbmm(x, sums, x, beta=first, out=other)
            x, other = other, x
        torch.mul(x.view(self._shape), self._rates.on_device[:, :, None], out=self._move)


_PRECONDITIONED: dict[OptimizerName, type[_Preconditioned]] = {"soap": Soap, "muon": Muon}


def make_optimizer(networks: Sequence[Siren], plan: Plan) -> Adam:
    """The optimizer of ``plan``, for networks of one architecture.

    Adam where they have no hidden weights to treat apart.
    """
    if plan.optimizer == "adam" or networks[0].config.depth == 1:
        groups = [network.groups(1.0) for network in networks]
        return Adam(groups, plan.lr, beta2=plan.beta2, decay=plan.decay)
    return _PRECONDITIONED[plan.optimizer](networks, plan)
