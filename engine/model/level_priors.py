"""What each level's latents cost in the ELBO and are drawn from: a standard normal, a mixture or a flow, by name.

R rows of a level (pieces, phrases or bars), Z its width, C components. Knows nothing of bars or their order.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.errors import MorphonyError
from engine.model.latents import LEVELS, Normal, kl_to_standard, log_prob

APART = 0.1  # deviation of the mixture's first means: components differ, their sum is nearly a standard normal
LOGVAR_BOUND = 8.0
SCALE_BOUND = 2.0  # nats by which one coupling layer may stretch a dimension


class Prior(nn.Module):
    """p(z) of one level. A new prior is one registered class with `log_prob` and `sample`."""

    def __init__(self, c: ModelConfig, z: int) -> None:
        super().__init__()
        self.z = z

    def log_prob(self, z: Tensor) -> Tensor:
        """(R,) log density of (R, Z), in nats."""
        raise NotImplementedError

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """(n, Z); `temperature` scales every deviation."""
        raise NotImplementedError

    def divergence(self, q: Normal, z: Tensor) -> Tensor:
        """(R, D) nats of q above the prior, by dimension (D = Z) or, as here, in total from one sample z of q (D = 1).

        log q(z) - log p(z) is unbiased and may be negative in a single row. Where z is the mean of q instead, it is the
        density ratio at the mean: not the divergence but, for a q much narrower than the prior, about Z / 2 nats more.
        """
        return (log_prob(q, z) - self.log_prob(z))[:, None]


REGISTRY: dict[str, type[Prior]] = {}


def register(name: str) -> Callable[[type[Prior]], type[Prior]]:
    """Add a prior under a name configurations can use."""

    def add(cls: type[Prior]) -> type[Prior]:
        REGISTRY[name] = cls
        return cls

    return add


@register("gaussian")
class Standard(Prior):
    """N(0, 1) in every dimension: nothing to learn, and a divergence in closed form."""

    def log_prob(self, z: Tensor) -> Tensor:
        """(R,) log density."""
        return log_prob(Normal(torch.zeros_like(z), torch.zeros_like(z)), z)

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """(n, Z)."""
        return temperature * _noise(n, self.z, generator)

    def divergence(self, q: Normal, z: Tensor) -> Tensor:
        """(R, Z) exact; z is not looked at."""
        return kl_to_standard(q)


@register("mixture")
class Mixture(Prior):
    """Diagonal Gaussians with learned weights, means and variances (Dilokthanakul et al. 2016)."""

    def __init__(self, c: ModelConfig, z: int) -> None:
        super().__init__(c, z)
        self.weight = nn.Parameter(torch.zeros(c.prior_components))
        self.mean = nn.Parameter(torch.randn(c.prior_components, z) * APART)
        self.logvar = nn.Parameter(torch.zeros(c.prior_components, z))

    def components(self) -> Normal:
        """(C, Z), variances bounded softly so that none collapses onto a point."""
        return Normal(self.mean, LOGVAR_BOUND * torch.tanh(self.logvar / LOGVAR_BOUND))

    def log_prob(self, z: Tensor) -> Tensor:
        """(R,) log density."""
        each = log_prob(self.components(), z[:, None])  # (R, C)
        return torch.logsumexp(torch.log_softmax(self.weight, 0) + each, -1)

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """(n, Z); at temperature 0 the mean of a component."""
        odds = torch.softmax(self.weight, 0)
        chosen = torch.multinomial(_beside(odds, generator), n, replacement=True, generator=generator).to(odds.device)
        p = self.components()
        noise = _noise(n, self.z, generator).to(odds.device)
        return p.mean[chosen] + temperature * noise * (p.logvar[chosen] / 2).exp()


@register("flow")
class Flow(Prior):
    """Affine couplings from latents to a standard normal, exact either way (RealNVP, Dinh et al. 2017)."""

    def __init__(self, c: ModelConfig, z: int) -> None:
        super().__init__(c, z)
        self.layers = nn.ModuleList(Coupling(z, i) for i in range(c.prior_flows))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(R, Z) where the normal has it, and (R,) the log-determinant of the way there."""
        stretched = z.new_zeros(len(z))
        for layer in self.layers:
            z, more = layer(z)
            stretched = stretched + more
        return z, stretched

    def inverse(self, x: Tensor) -> Tensor:
        """(R, Z) the way back."""
        for layer in reversed(self.layers):
            assert isinstance(layer, Coupling)
            x = layer.inverse(x)
        return x

    def log_prob(self, z: Tensor) -> Tensor:
        """(R,) log density."""
        x, stretched = self(z)
        out: Tensor = log_prob(Normal(torch.zeros_like(x), torch.zeros_like(x)), x) + stretched
        return out

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """(n, Z); at temperature 0 what the middle of the normal became."""
        at = next(self.parameters()).device
        return self.inverse(temperature * _noise(n, self.z, generator).to(at))


class Coupling(nn.Module):
    """Some dimensions scaled and shifted by what the others say. Layers take turns by the binary digits of an index."""

    def __init__(self, z: int, layer: int) -> None:
        super().__init__()
        digits = max((z - 1).bit_length(), 1)
        digit = (torch.arange(z) >> (layer // 2 % digits)) & 1
        self.moved: Tensor
        self.register_buffer("moved", (digit == layer % 2).float(), persistent=False)
        hidden = max(z, 64)
        last = nn.Linear(hidden, 2 * z)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # so that the flow begins as the identity
        self.net = nn.Sequential(nn.Linear(z, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), last)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(R, Z) moved, and (R,) the log-determinant."""
        scale, shift = self._said(z)
        return z * scale.exp() + shift, scale.sum(-1)

    def inverse(self, x: Tensor) -> Tensor:
        """(R, Z) as it was."""
        scale, shift = self._said(x)
        return (x - shift) * (-scale).exp()

    def _said(self, z: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.net(z * (1 - self.moved)).chunk(2, -1)
        return SCALE_BOUND * torch.tanh(scale / SCALE_BOUND) * self.moved, shift * self.moved


class Nothing(Prior):
    """Of a level that is switched off: zeros, which cost nothing and have no dimension to cost anything in."""

    def log_prob(self, z: Tensor) -> Tensor:
        """(R,) zeros."""
        return z.new_zeros(len(z))

    def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """(n, Z) zeros."""
        return torch.zeros(n, self.z)

    def divergence(self, q: Normal, z: Tensor) -> Tensor:
        """(R, 0)."""
        return z.new_zeros(len(z), 0)


class LevelPriors(nn.Module):
    """p(z) of each level, as `ModelConfig.prior` says. The Gaussian has no parameters."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        if c.prior not in REGISTRY:
            raise MorphonyError(f"There is no prior called {c.prior!r}; choose one of {sorted(REGISTRY)}.")
        width = {"global": c.global_dim, "local": c.local_dim, "fine": c.latent_dim}
        kind = {level: REGISTRY[c.prior] if level == "fine" or c.use_hierarchical else Nothing for level in LEVELS}
        self.levels = nn.ModuleDict({level: kind[level](c, width[level]) for level in LEVELS})

    def of(self, level: str) -> Prior:
        """The prior of "global", "local" or "fine"."""
        found = self.levels[level]
        assert isinstance(found, Prior)
        return found

    def log_prob(self, level: str, z: Tensor) -> Tensor:
        """(R,) log density of latents (R, Z) of a level, in nats."""
        return self.of(level).log_prob(z)

    def sample(self, level: str, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
        """(n, Z) new latents of a level; `temperature` scales every deviation."""
        return self.of(level).sample(n, generator, temperature)

    def divergence(self, level: str, q: Normal, z: Tensor) -> Tensor:
        """(R,) nats of q above the prior of a level: exact for the Gaussian, else from `z`, a sample of q."""
        return self.by_dimension(level, q, z).sum(-1)

    def by_dimension(self, level: str, q: Normal, z: Tensor) -> Tensor:
        """(R, D) the same for each dimension where the prior tells them apart; D is 1 where it does not."""
        return self.of(level).divergence(q, z)


def _noise(n: int, z: int, generator: torch.Generator | None) -> Tensor:
    """(n, z) normal numbers where the generator is, so that a seed means the same on every device."""
    return torch.randn(n, z, generator=generator, device=None if generator is None else generator.device)


def _beside(x: Tensor, generator: torch.Generator | None) -> Tensor:
    return x if generator is None else x.to(generator.device)
