"""Optimizers that see a layer's weight as a matrix: SOAP and Muon.

Both are :class:`.Adam` for the other parameters, and have its interface. They are for networks
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
COVARIANCE_BETA, REFRESH_STEPS = 0.95, 20


class _Preconditioned(Adam):
    """Adam, and the hidden weights of a network ``[L, w, w]`` as views of its tensors."""

    def __init__(self, network: Siren, plan: Plan) -> None:
        super().__init__(network.groups(1.0), plan.lr, beta2=plan.beta2, decay=plan.decay)
        self._shape = network.config.depth - 1, network.config.width, network.config.width
        _, (_, gradient) = self._groups
        self._gradient, self._mean, self._move = (
            self._view(flat) for flat in (gradient, self._means[1], self._spare[1])
        )
        self._products = torch.empty(2, *self._shape, device=gradient.device)

    def _view(self, flat: Tensor) -> Tensor:
        """The hidden weights' part of all of a group: each is followed by its layer's biases."""
        _, width, _ = self._shape
        return flat.as_strided(self._shape, (width * (width + 1), width, 1))


class Soap(_Preconditioned):
    """SOAP (Vyas et al., ICLR 2025): Adam in the eigenbasis of Shampoo's preconditioner.

    The gradient ``G`` of a hidden weight is turned into the eigenvectors of the running means of
    ``G G^T`` and ``G^T G``, Adam's moments are taken there, and its move is turned back; that of
    the last layer's weight ``[c, w]`` on the side of its inputs only. The eigenvectors follow the
    means by a step of orthogonal iteration now and then, between two steps, so that all steps are
    alike and can be recorded.
    """

    def __init__(self, network: Siren, plan: Plan) -> None:
        super().__init__(network, plan)
        layers, width, _ = self._shape
        outputs = network.config.out_features
        _, (_, gradient) = self._groups
        self._last_gradient, self._last_mean, self._last_move = (
            flat[layers * width * (width + 1) :][: outputs * width].view(outputs, width)
            for flat in (gradient, self._means[1], self._spare[1])
        )
        self._last_product = torch.empty_like(self._last_gradient)
        # of the hidden layers' outputs, of their inputs, and of the last layer's inputs
        self._covariances = torch.zeros(2 * layers + 1, width, width, device=gradient.device)
        self._bases = torch.empty_like(self._covariances)
        self._start_bases()

    def restart(self, lr: float) -> None:
        super().restart(lr)
        self._covariances.zero_()
        self._start_bases()

    def _start_bases(self) -> None:
        """Begin as Adam, with the parameters' own axes as bases."""
        self._steps_of_bases = 0
        self._bases.zero_().diagonal(dim1=-2, dim2=-1).fill_(1)

    def advance(self, lr_share: float, *, decay_share: float = 1.0) -> None:
        """As Adam's; refreshes the bases when it is time."""
        super().advance(lr_share, decay_share=decay_share)
        if self._steps_of_bases and self._steps_of_bases % REFRESH_STEPS == 0:
            self._refresh()
        self._steps_of_bases += 1

    @torch.no_grad()
    def _refresh(self) -> None:
        """Let the bases follow the covariances, and turn the mean gradients into the new ones."""
        first = self._steps_of_bases == REFRESH_STEPS
        matrices = self._covariances if first else self._covariances @ self._bases
        if matrices.device.type == "mps":  # which has no decompositions
            matrices = matrices.cpu()
        bases = torch.linalg.eigh(matrices)[1] if first else torch.linalg.qr(matrices)[0]
        bases = bases.to(self._bases.device)
        left, right, last = self._by_side(bases.mT @ self._bases)
        self._mean.copy_(left @ self._mean @ right.mT)
        self._last_mean.copy_(self._last_mean @ last.mT)
        self._bases.copy_(bases)

    def _by_side(self, matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Those of hidden layers' outputs and inputs ``[L, w, w]``, and the last's ``[w, w]``."""
        layers, _, _ = self._shape
        return matrices[:layers], matrices[layers : 2 * layers], matrices[-1]

    def _prepare_gradients(self) -> None:
        gradient, last_gradient = self._gradient, self._last_gradient
        of_outputs, of_inputs, of_last = self._by_side(self._covariances)
        memory, new = COVARIANCE_BETA, 1 - COVARIANCE_BETA
        of_outputs.baddbmm_(gradient, gradient.mT, beta=memory, alpha=new)
        of_inputs.baddbmm_(gradient.mT, gradient, beta=memory, alpha=new)
        of_last.addmm_(last_gradient.T, last_gradient, beta=memory, alpha=new)
        left, right, last = self._by_side(self._bases)
        half, whole = self._products
        torch.bmm(left.mT, gradient, out=half)
        gradient.copy_(torch.bmm(half, right, out=whole))
        last_gradient.copy_(torch.mm(last_gradient, last, out=self._last_product))

    def _change_moves(self) -> None:
        left, right, last = self._by_side(self._bases)
        half, whole = self._products
        torch.bmm(left, self._move, out=half)
        self._move.copy_(torch.bmm(half, right.mT, out=whole))
        self._last_move.copy_(torch.mm(self._last_move, last.T, out=self._last_product))


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
        self._rate.fill_(0.2 * self._shape[1] ** 0.5 * lr_share * self._lr)

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
