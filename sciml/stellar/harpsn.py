"""HARPS-N where stellar parameters are read: orders 121 to 114 of its grating, 5026 to 5395 A (Cosentino et al. 2012).

The wavelengths are a thorium calibration's third-degree polynomials; the blaze is HARPS's, the twin's, by polynomials
of sixth degree (to 0.8 % of its peak; order 115, which HARPS lacks, lies between its neighbours).
"""

import functools

import numpy as np
from numpy.polynomial.legendre import legval

from sciml.stellar.instrument import HARPS_POWER, Spectrograph

PIXELS = 4096
# order -> Legendre coefficients along it, first pixel -1, last 1: of wavelength in air [A], of the blaze
_ORDERS = {
    121: (
        (5055.9401877, 28.2921924, -1.5520959, -0.0015116),
        (0.6977, 0.0474, -0.5176, 0.0153, 0.1001, -0.0099, -0.0138),
    ),
    120: (
        (5098.0581763, 28.5278776, -1.5650254, -0.0015241),
        (0.6992, 0.0425, -0.5128, 0.0180, 0.0984, -0.0089, -0.0147),
    ),
    119: (
        (5140.8850402, 28.7675295, -1.5781726, -0.0015369),
        (0.7003, 0.0391, -0.5073, 0.0183, 0.0963, -0.0080, -0.0151),
    ),
    118: (
        (5184.4359140, 29.0112329, -1.5915421, -0.0015500),
        (0.7029, 0.0352, -0.5005, 0.0214, 0.0941, -0.0093, -0.0175),
    ),
    117: (
        (5228.7322763, 29.2591079, -1.6051404, -0.0015632),
        (0.7058, 0.0402, -0.4995, 0.0200, 0.0932, -0.0105, -0.0155),
    ),
    116: (
        (5273.7921934, 29.5112556, -1.6189731, -0.0015767),
        (0.7092, 0.0451, -0.4942, 0.0175, 0.0900, -0.0094, -0.0150),
    ),
    115: (
        (5319.6337274, 29.7677772, -1.6330457, -0.0015904),
        (0.7111, 0.0517, -0.4922, 0.0153, 0.0907, -0.0106, -0.0157),
    ),
    114: (
        (5366.2812886, 30.0288091, -1.6473658, -0.0016043),
        (0.7130, 0.0583, -0.4901, 0.0130, 0.0913, -0.0118, -0.0164),
    ),
}


@functools.cache
def harpsn() -> Spectrograph:
    """8 orders of 4096 pixels."""
    u = np.linspace(-1.0, 1.0, PIXELS)
    wave, blaze = (np.array([legval(u, row[part]) for row in _ORDERS.values()]) for part in (0, 1))
    return Spectrograph("HARPS-N", np.array(list(_ORDERS)), wave, blaze / blaze.max(1, keepdims=True), HARPS_POWER)
