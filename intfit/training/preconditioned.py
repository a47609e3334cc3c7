"""Optimizers that see a hidden layer's weight as a matrix: SOAP and Muon.

Both are :class:`.Adam` for all other parameters, and have its interface. They are for networks
whose hidden weights are square and of one shape, as a SIREN's: all layers are worked on in one
batched product, so that a step costs little more than Adam's.
"""

import torch
from torch import Tensor

from ..networks.siren import Siren
from ..plan import Plan
from ..settings import OptimizerName
from .optimizer import BETA1, EPSILON, Adam

#: The memory of the covariances of SOAP's gradients; the steps between two refreshes of its bases.
COVARIANCE_BETA, REFRESH_STEPS = 0.95, 10
#: What the rate of hidden weights is multiplied by.
SOAP_RATE, MUON_RATE = 1.0, 1.0


class _Preconditioned(Adam):
    """Adam, and the hidden weights of a network ``[L, w, w]`` as views of its tensors."""

    def __init__(self, network: Siren, plan: Plan) -> None:
        super().__init__(network.groups(1.0), plan.lr, beta2=plan.beta2, decay=plan.decay)
        self._shape = network.config.depth - 1, network.config.width, network.config.width
        _, (_, gradient) = self._groups
        self._gradient, self._mean, self._square, self._move = (
            self._view(flat)
            for flat in (gradient, self._means[1], self._squares[1], self._spare[1])
        )
        self._products = torch.empty(2, *self._shape, device=gradient.device)

    def _view(self, flat: Tensor) -> Tensor:
        """The hidden weights' part of all of a group: each is followed by its layer's biases."""
        _, width, _ = self._shape
        return flat.as_strided(self._shape, (width * (width + 1), width, 1))


class Soap(_Preconditioned):
    """SOAP (Vyas et al., ICLR 2025): Adam in the eigenbasis of Shampoo's preconditioner.

    The gradient ``G`` of a hidden weight is turned into the eigenvectors of the running means of
    ``G G^T`` and ``G^T G``, Adam's moments are taken there, and its move is turned back. The
    eigenvectors follow the means by a step of orthogonal iteration now and then, between two
    steps, so that all steps are alike and can be recorded.
    """

    def __init__(self, network: Siren, plan: Plan) -> None:
        super().__init__(network, plan)
        self._covariances = torch.zeros(2, *self._shape, device=self._gradient.device)
        self._bases = torch.zeros_like(self._covariances)
        self._since_start = 0
        self._start_bases()

    def restart(self, lr: float) -> None:
        super().restart(lr)
        self._covariances.zero_()
        self._start_bases()

    def _start_bases(self) -> None:
        self._since_start = 0
        self._bases.zero_().diagonal(dim1=-2, dim2=-1).fill_(1)

    def advance(self, lr_share: float, *, decay_share: float = 1.0) -> None:
        super().advance(lr_share, decay_share=decay_share)
        if self._since_start and self._since_start % REFRESH_STEPS == 0:
            self._refresh()
        self._since_start += 1

    @torch.no_grad()
    def _refresh(self) -> None:
        """Let the bases follow the covariances, and turn the mean gradient into the new ones."""
        if self._since_start == REFRESH_STEPS:
            bases = torch.linalg.eigh(self._covariances)[1]
        else:
            bases = torch.linalg.qr(self._covariances @ self._bases)[0]
        left, right = bases.mT @ self._bases
        self._mean.copy_(left @ self._mean @ right.mT)
        self._bases.copy_(bases)

    def _prepare_gradients(self) -> None:
        gradient, (left, right) = self._gradient, self._bases
        for covariance, one, other in (
            (self._covariances[0], gradient, gradient.mT),
            (self._covariances[1], gradient.mT, gradient),
        ):
            covariance.baddbmm_(one, other, beta=COVARIANCE_BETA, alpha=1 - COVARIANCE_BETA)
        half, whole = self._products
        torch.bmm(left.mT, gradient, out=half)
        gradient.copy_(torch.bmm(half, right, out=whole))

    def _change_moves(self) -> None:
        (half, whole), (left, right) = self._products, self._bases
        torch.bmm(left, self._move, out=half)
        torch.bmm(half, right.mT, out=whole)
        torch.mul(whole, SOAP_RATE, out=self._move)


#: Coefficients of the five Newton-Schulz steps of the author's implementation.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


class Muon(_Preconditioned):
    """Muon (Jordan et al., 2024): the mean gradient of a hidden weight, made orthogonal.

    Its singular values are brought near 1 by Newton-Schulz steps. Moves are scaled to the size of
    Adam's, 0.2 of the rate in the root mean square (Liu et al., 2025).
    """

    def __init__(self, network: Siren, plan: Plan) -> None:
        super().__init__(network, plan)
        self._polynomial = torch.empty_like(self._products)
        self._rate = torch.zeros((), device=self._gradient.device)

    def advance(self, lr_share: float, *, decay_share: float = 1.0) -> None:
        super().advance(lr_share, decay_share=decay_share)
        self._rate.fill_(0.2 * self._shape[1] ** 0.5 * MUON_RATE * lr_share * self._lr)

    def _change_moves(self) -> None:
        (x, other), (square, sums) = self._products, self._polynomial
        # Nesterov: the mean as it will be if the next gradient is like this one
        torch.lerp(self._mean, self._gradient, 1 - BETA1, out=x)
        norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
        x.div_(norm.add_(EPSILON))
        first, third, fifth = NEWTON_SCHULZ
        for _ in range(NEWTON_SCHULZ_STEPS):
            torch.bmm(x, x.mT, out=square)
            torch.baddbmm(square, square, square, beta=third, alpha=fifth, out=sums)
            torch.baddbmm(x, sums, x, beta=first, out=other)
            x, other = other, x
        torch.mul(x, self._rate, out=self._move)


_PRECONDITIONED: dict[OptimizerName, type[_Preconditioned]] = {"soap": Soap, "muon": Muon}


def make_optimizer(network: Siren, plan: Plan) -> Adam:
    """The optimizer of ``plan``; Adam where the network has no hidden weights to treat apart."""
    if plan.optimizer == "adam" or network.config.depth == 1:
        return Adam(network.groups(1.0), plan.lr, beta2=plan.beta2, decay=plan.decay)
    return _PRECONDITIONED[plan.optimizer](network, plan)
