//! The image as a hyperbolic tangent, which keeps it in the box, pixel by pixel on the host.

/// The pixel at a place.
pub(crate) fn squash(place: f32) -> f32 {
    f32::midpoint(place.tanh(), 1.0)
}

/// The place of a pixel.
pub(crate) fn unsquash(pixel: f32) -> f32 {
    // A little less than the box, so that black and white are at finite places.
    ((2.0 * pixel - 1.0) * (1.0 - 1e-6)).atanh()
}
