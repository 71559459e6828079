"""The exact solution of the one-dimensional Riemann problem of an ideal gas, Toro (2009), chapter 4; for tests."""

import numpy as np
from scipy.optimize import brentq


def _pressure_function(p, rho, pressure, sound, gamma):
    """Velocity change across the wave between ``pressure`` and ``p`` (Toro, eqs. 4.6 and 4.7)."""
    if p > pressure:  # shock
        a, b = 2.0 / ((gamma + 1.0) * rho), (gamma - 1.0) / (gamma + 1.0) * pressure
        return (p - pressure) * np.sqrt(a / (p + b))
    return 2.0 * sound / (gamma - 1.0) * ((p / pressure) ** ((gamma - 1.0) / (2.0 * gamma)) - 1.0)


def _side(speed, rho, velocity, pressure, p_star, u_star, gamma):
    """Density at ``speed`` = x / t on the left of the contact (velocities mirrored for the right)."""
    sound = np.sqrt(gamma * pressure / rho)
    g = (gamma - 1.0) / (gamma + 1.0)
    ratio = p_star / pressure
    if p_star > pressure:
        shock = velocity - sound * np.sqrt((gamma + 1.0) / (2 * gamma) * ratio + (gamma - 1.0) / (2 * gamma))
        return np.where(speed < shock, rho, rho * (ratio + g) / (g * ratio + 1.0))
    tail = u_star - sound * ratio ** ((gamma - 1.0) / (2.0 * gamma))
    base = np.maximum(2.0 / (gamma + 1.0) + g / sound * (velocity - speed), 0.0)
    fan = rho * base ** (2.0 / (gamma - 1.0))
    return np.where(speed < velocity - sound, rho, np.where(speed < tail, fan, rho * ratio ** (1.0 / gamma)))


def exact_density(left, right, speed, gamma=1.4):
    """Density at x / t = ``speed`` of the Riemann problem between (rho, u, p) ``left`` and ``right``."""
    sounds = [np.sqrt(gamma * p / rho) for rho, _, p in (left, right)]

    def mismatch(p):
        waves = [_pressure_function(p, s[0], s[2], c, gamma) for s, c in zip((left, right), sounds, strict=True)]
        return sum(waves) + right[1] - left[1]

    p_star = brentq(mismatch, 1e-10, 1e3, xtol=1e-14)
    u_star = left[1] - _pressure_function(p_star, left[0], left[2], sounds[0], gamma)
    from_left = _side(speed, *left, p_star, u_star, gamma)
    from_right = _side(-speed, right[0], -right[1], right[2], p_star, -u_star, gamma)
    return np.where(speed < u_star, from_left, from_right)
