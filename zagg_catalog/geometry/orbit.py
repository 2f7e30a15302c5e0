"""Circular orbits over a turning Earth: ground tracks and the edges of swaths, vectorized."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from zagg_catalog.cycles import TRACKS
from zagg_catalog.geometry.sphere import EARTH_RADIUS, Floats, to_latlon, to_xyz, wrap_longitude

# WGS84: an orbit is geocentric, latitudes in metadata are geodetic.
_ECCENTRICITY_SQUARED = 0.00669437999014
# WGS84 and EGM96: the gravitational parameter, m³/s², the equatorial radius, m, the oblateness.
_GRAVITY, _EQUATOR, _J2 = 3.986004418e14, 6_378_137.0, 1.08262668e-3
_SIDEREAL_DAY = 86_164.0905  # s


@dataclass(frozen=True, kw_only=True)
class Orbit:
    """A circular orbit."""

    inclination: float
    """Degrees."""
    shift: float
    """Degrees of longitude by which the ascending node moves in one orbit, negative to the west."""

    @classmethod
    def of_period(cls, inclination: float, period: float) -> Orbit:
        """Return the orbit of a period.

        Parameters
        ----------
        inclination : float
            Degrees.
        period : float
            From node to node, seconds.

        Notes
        -----
        The Earth turns under the orbit, whose plane turns by the oblateness of the Earth; the
        usual first-order term of J2 (Vallado, Fundamentals of Astrodynamics, 9.4).
        """
        motion = 2.0 * np.pi / period
        axis = (_GRAVITY / motion**2) ** (1.0 / 3.0)
        plane = -1.5 * motion * _J2 * (_EQUATOR / axis) ** 2 * np.cos(np.radians(inclination))
        shift = np.degrees(plane) * period - 360.0 * period / _SIDEREAL_DAY
        return cls(inclination=inclination, shift=float(shift))

    def phase_of_latitude(self, lat: ArrayLike, ascending: ArrayLike) -> Floats:
        """Return the phase at which the orbit crosses a latitude.

        Parameters
        ----------
        lat : array_like of float
            Geodetic latitude, degrees; clipped to the turning point of the orbit.
        ascending : array_like of bool
            Whether the satellite climbs north there.

        Returns
        -------
        ndarray of float64
            Degrees along the orbit from the ascending node, in [0, 360), broadcast shape.
        """
        geocentric = np.arctan((1.0 - _ECCENTRICITY_SQUARED) * np.tan(np.radians(lat)))
        sine = np.clip(np.sin(geocentric) / np.sin(np.radians(self.inclination)), -1.0, 1.0)
        phase = np.degrees(np.arcsin(sine))
        found: Floats = np.where(ascending, phase, 180.0 - phase) % 360.0
        return found

    def ground_track(
        self, node: ArrayLike, phase: ArrayLike, orbits: ArrayLike = 0.0
    ) -> tuple[Floats, Floats]:
        """Return points of the ground track.

        Parameters
        ----------
        node : array_like of float
            Longitude of an ascending node, degrees.
        phase : array_like of float
            Degrees along the orbit from its ascending node.
        orbits : array_like of float
            Number of whole orbits after the one of `node`. All are broadcast.

        Returns
        -------
        lats, lons : ndarray of float64
            Geodetic latitudes and longitudes in [-180, 180), degrees, broadcast shape.
        """
        u, tilt = np.radians(phase), np.radians(self.inclination)
        geocentric = np.arcsin(np.sin(tilt) * np.sin(u))
        lats = np.degrees(np.arctan(np.tan(geocentric) / (1.0 - _ECCENTRICITY_SQUARED)))
        inertial = np.degrees(np.arctan2(np.cos(tilt) * np.sin(u), np.cos(u)))
        turns = np.asarray(orbits, dtype=np.float64) + np.asarray(phase) / 360.0
        lons = wrap_longitude(node + inertial + self.shift * turns)
        shape = np.broadcast_shapes(lats.shape, lons.shape)
        return np.broadcast_to(lats, shape), np.broadcast_to(lons, shape)

    def offset_track(
        self,
        node: ArrayLike,
        phase: ArrayLike,
        offset_km: ArrayLike,
        orbits: ArrayLike = 0.0,
    ) -> tuple[Floats, Floats]:
        """Return points at a distance from the ground track, perpendicular to the flight.

        Parameters
        ----------
        node, phase, orbits : array_like
            As in `ground_track`.
        offset_km : array_like of float
            Kilometres to the right of the direction of flight, negative to the left; on the
            sphere of `zagg_catalog.geometry.sphere`. Broadcast against the others.

        Returns
        -------
        lats, lons : ndarray of float64
            Degrees, broadcast shape.
        """
        here, step = np.asarray(phase, dtype=np.float64), 1e-3
        position = to_xyz(*self.ground_track(node, here, orbits))
        motion = to_xyz(*self.ground_track(node, here + step, orbits)) - to_xyz(
            *self.ground_track(node, here - step, orbits)
        )
        right = np.cross(motion, position)
        right /= np.linalg.norm(right, axis=-1, keepdims=True)
        angle = np.asarray(offset_km, dtype=np.float64)[..., None] * 1000.0 / EARTH_RADIUS
        return to_latlon(np.cos(angle) * position + np.sin(angle) * right)


# ICESat-2 repeats exactly: 1,387 orbits in 91 turns of the Earth under the orbit plane.
ICESAT2 = Orbit(inclination=92.0, shift=-360.0 * 91 / TRACKS)
